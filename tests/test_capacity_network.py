"""The capacity probe's networks against transformers, its training against what must come out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

from evals.errors import DataError, ModelError
from evals.probes.capacity.network import (
    draw_weights,
    mean_losses,
    next_token_logits,
    split_weights,
)
from evals.probes.capacity.readout import LOGITS_AT_ONCE, mean_cross_entropy
from evals.probes.capacity.sequences import draw_sequences, find_ceiling
from evals.probes.capacity.shape import Shape
from evals.probes.capacity.stopping import Check, Lane, Patience, Standing, add_check
from evals.probes.capacity.training import (
    Network,
    Recipe,
    State,
    batches,
    code_sequences,
    train_side_by_side,
)

SMALL = Shape(layers=2, width=64, vocabulary=50, positions=12)


def gpt2(shape: Shape, seed: int) -> GPT2LMHeadModel:
    """Return transformers' model of a shape, without dropout."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=shape.vocabulary,
        n_positions=shape.positions,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    return GPT2LMHeadModel(config).eval()


def row_of(model: GPT2LMHeadModel, shape: Shape) -> Tensor:
    """Return a model's weights as one row."""
    state = model.state_dict()
    return torch.cat([state[f"transformer.{name}"].flatten() for name in shape.tensors])


# --- network --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "width", "published"),
    [(1, 32, 8.04e4), (1, 128, 4.69e5), (2, 128, 6.67e5), (4, 256, 3.70e6), (8, 256, 6.86e6)],
)
def test_parameters_are_as_many_as_published(layers: int, width: int, published: float) -> None:
    d = width
    n_parameters = Shape(layers, width).n_parameters
    assert n_parameters == 2048 * d + 64 * d + layers * (12 * d**2 + 13 * d) + 2 * d
    assert n_parameters == pytest.approx(published, rel=2e-3)


def test_networks_side_by_side_are_transformers_gpt2() -> None:
    models = [gpt2(SMALL, seed) for seed in (0, 1)]
    assert sum(one.numel() for one in models[0].parameters()) == SMALL.n_parameters
    with torch.no_grad():
        for model in models:  # biases and scales that do something
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    weights = split_weights(torch.stack([row_of(model, SMALL) for model in models]), SMALL)
    tokens = torch.randint(SMALL.vocabulary, (2, 5, 12))
    with torch.no_grad():
        ours = next_token_logits(weights, SMALL, tokens)
        theirs = torch.stack(
            [model(own).logits[:, :-1] for model, own in zip(models, tokens, strict=True)]
        )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_transformers() -> None:
    model = gpt2(SMALL, 0).train()
    tokens = torch.randint(SMALL.vocabulary, (1, 4, 12))
    model(tokens[0], labels=tokens[0]).loss.backward()
    weights = {
        name: tensor.requires_grad_()
        for name, tensor in split_weights(row_of(model, SMALL).detach()[None], SMALL).items()
    }
    mean_losses(weights, SMALL, tokens).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.transformer.named_parameters():
        ours = weights[name].grad
        assert ours is not None
        assert parameter.grad is not None
        torch.testing.assert_close(ours[0], parameter.grad, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("spread", [1, 100])  # of logits: most chances below e^-80, or none
@pytest.mark.parametrize("at_once", [1, 60 * 40, 2**19])
def test_losses_by_parts_and_their_gradients_are_those_of_all_rows_at_once(
    monkeypatch: pytest.MonkeyPatch, at_once: int, spread: int
) -> None:
    monkeypatch.setitem(LOGITS_AT_ONCE, "cpu", at_once)
    generator = torch.Generator().manual_seed(0)
    sizes = ((2, 70, 5), (2, 30, 5), (2, 30))
    given = [
        (spread * torch.randn(*size, generator=generator, dtype=torch.float64)).requires_grad_()
        for size in sizes
    ]
    rows, readout, bias = given
    wanted = torch.randint(30, (2, 70), generator=generator)
    factor = torch.tensor([1.0, 3.0], dtype=torch.float64)
    ours = mean_cross_entropy(rows, readout, bias, wanted)
    logits = rows @ readout.transpose(1, 2) + bias.unsqueeze(1)
    plain = torch.stack(
        [functional.cross_entropy(*one) for one in zip(logits, wanted, strict=True)]
    )
    torch.testing.assert_close(ours, plain)
    for own, theirs in zip(
        torch.autograd.grad((factor * ours).sum(), given),
        torch.autograd.grad((factor * plain).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(own, theirs)


def test_first_weights_are_spread_as_transformers_draws_them() -> None:
    shape = Shape(2, 128, 500, 64)
    theirs = dict(gpt2(shape, 0).transformer.state_dict())
    for name, ours in split_weights(draw_weights(shape, 0)[None], shape).items():
        spread = float(theirs[name].std())
        assert float(ours.std()) == pytest.approx(spread, rel=0.06, abs=1e-9), name
        assert float(ours.mean()) == pytest.approx(float(theirs[name].mean()), abs=2e-3), name


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot share a width of 48"):
        Shape(1, 48)


# --- training -------------------------------------------------------------------------------------

TINY = Shape(layers=1, width=16, vocabulary=16, positions=8)
FAST = Recipe(
    learning_rate=1e-2,
    cut=0.3,
    batch=16,
    warmup=10,
    betas=(0.9, 0.99),
    epsilon=1e-8,
    check_every=20,
    patience=Patience(window=3, least_rise=0.01, cuts=2, max_steps=200),
)


def given(**patience: float) -> Recipe:
    """Return the recipe with another patience."""
    return dataclasses.replace(FAST, patience=dataclasses.replace(FAST.patience, **patience))  # type: ignore[arg-type]


def networks(*counts: int) -> list[Network]:
    return [
        Network(f"{n} sequences", draw_sequences(n, 8, 16, seed=place), seed=place)
        for place, n in enumerate(counts)
    ]


def last(trained: list[Network], recipe: Recipe, start: State | None = None) -> State:
    """Return the state at the end."""
    *_, state = train_side_by_side(trained, TINY, recipe, start=start)
    return state


def test_a_network_large_enough_holds_all_that_it_can() -> None:
    recipe = dataclasses.replace(given(window=4, max_steps=3000), check_every=50)
    (network,) = networks(24)
    state = last([network], recipe)
    (lane,) = state.lanes
    assert lane.standing is Standing.CONVERGED
    ceiling = find_ceiling(network.tokens, 16).charged
    held = 24 * 7 * 4 - lane.checks[-1].bits
    assert 0.99 * ceiling < held <= ceiling


def test_a_check_says_what_the_weights_hold() -> None:
    (network,) = networks(20)
    state = last([network], FAST)
    coded = code_sequences(state.rows[0], TINY, network.tokens)
    assert math.fsum(coded.bits_after(1)) == pytest.approx(state.lanes[0].checks[-1].bits)
    weights = split_weights(state.rows[:1], TINY)
    nats = 20 * 7 * float(mean_losses(weights, TINY, network.tokens[None]))
    assert nats / math.log(2) == pytest.approx(state.lanes[0].checks[-1].bits, rel=1e-5)


def test_side_by_side_learns_what_each_learns_alone() -> None:
    """Whether others have fewer sequences, more, or stopped already."""
    trained = networks(16, 30, 90)
    recipe = given(max_steps=300, least_rise=0.3, window=2, cuts=1)
    together = last(trained, recipe)
    stopped = {lane.checks[-1].step for lane in together.lanes}
    assert len(stopped) > 1
    for place, network in enumerate(trained):
        alone = last([network], recipe).lanes[0]
        ours = together.lanes[place]
        assert [check.step for check in ours.checks] == [check.step for check in alone.checks]
        assert ours.standing is alone.standing
        np.testing.assert_allclose(
            [check.bits for check in ours.checks], [check.bits for check in alone.checks], rtol=2e-3
        )


def test_going_on_from_any_check_ends_in_the_same_bits() -> None:
    trained = networks(20, 40)
    states = list(train_side_by_side(trained, TINY, FAST))
    for start in (states[0], states[4]):
        again = last(trained, FAST, start)
        assert torch.equal(again.rows, states[-1].rows)
        assert again.lanes == states[-1].lanes


def lane_of(bits: list[float], patience: Patience, prior: float = 1000.0) -> Lane:
    """Return where a network stands after these checks, or as many as it got."""
    lane = Lane((Check(0, prior, 0),))
    for place, one in enumerate(bits, 1):
        if lane.standing is Standing.GOING:
            lane = add_check(lane, Check(place, one, lane.cuts), prior, patience)
    return lane


WAIT = Patience(window=2, least_rise=0.1, cuts=1, max_steps=100)


def test_the_rate_is_cut_and_then_training_stops_when_bits_rise_no_more() -> None:
    lane = lane_of([500, 480, 470, 465, 463, 462, 461], WAIT)
    assert [check.cuts for check in lane.checks] == [0, 0, 0, 1, 1, 1]
    assert lane.standing is Standing.CONVERGED


def test_a_rise_is_measured_on_what_is_left_where_that_is_less() -> None:
    """From 60 to 50 of 1,000 is a rise of one in a hundred of what is held, a fifth of the rest."""
    assert lane_of([100, 80, 60, 50], WAIT).cuts == 0
    assert lane_of([100, 52, 51, 50], WAIT).cuts == 1


def test_what_is_left_of_hardly_anything_does_not_go_on_for_ever() -> None:
    lane = lane_of([1.0 / 2**n for n in range(20)], WAIT)
    assert lane.standing is Standing.CONVERGED


def test_who_has_not_begun_to_learn_has_not_converged() -> None:
    lane = lane_of([1000.0] * 99 + [995.0], WAIT)
    assert (lane.cuts, lane.standing) == (0, Standing.UNFINISHED)


def test_who_gets_worse_again_has_not_converged() -> None:
    lane = lane_of([300, 250, 250, 250, 300, 350, 400, 450], WAIT)
    assert (lane.cuts, lane.standing) == (1, Standing.GOING)


def test_who_still_rises_at_the_last_step_has_not_converged() -> None:
    recipe = given(least_rise=1e-9, max_steps=50)
    (lane,) = last(networks(30), recipe).lanes
    assert lane.standing is Standing.UNFINISHED
    assert lane.checks[-1].step == 50


def test_a_network_that_diverges_keeps_its_last_good_weights_and_the_others_go_on() -> None:
    good, bad = networks(10, 10)
    start = next(train_side_by_side([good, bad], TINY, FAST))
    start.rows[1] *= 1e30
    state = last([good, bad], FAST, start)
    assert state.lanes[1].standing is Standing.DIVERGED
    assert torch.equal(state.rows[1], start.rows[1])
    assert state.lanes[0].standing is not Standing.DIVERGED
    assert state.rows[0].isfinite().all()


def test_others_are_watched_and_not_learned() -> None:
    (network,) = networks(10)
    watched = dataclasses.replace(network, others=draw_sequences(30, 8, 16, seed=9))
    lane, plain = last([watched], FAST).lanes[0], last([network], FAST).lanes[0]
    assert [check.bits for check in lane.checks] == [check.bits for check in plain.checks]
    others = [check.other_bits for check in lane.checks]
    assert None not in others
    assert others[-1] > 30 * 7 * 4  # type: ignore[operator]  # worse than a blind guess
    assert plain.checks[-1].other_bits is None


def test_bfloat16_learns_as_well() -> None:
    (lane,) = last(networks(10), dataclasses.replace(FAST, is_bfloat16=True)).lanes
    (other,) = last(networks(10), FAST).lanes
    assert lane.checks[-1].bits != other.checks[-1].bits
    assert lane.checks[-1].bits < 0.9 * lane.checks[0].bits


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(0, 8, dtype=torch.int64), "no sequence to train on"),
        (torch.full((3, 8), 16), "do not fit a vocabulary of 16"),
        (torch.zeros(3, 9, dtype=torch.int64), "9 tokens do not fit 8 positions"),
        (torch.zeros(3, 1, dtype=torch.int64), "1 tokens do not fit 8 positions"),
    ],
)
def test_sequences_that_do_not_fit_are_refused(tokens: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        next(train_side_by_side([Network("n", tokens, 0)], TINY, FAST))


def test_sequences_of_two_lengths_are_refused() -> None:
    mixed = [Network("a", draw_sequences(4, n, 16, 0), 0) for n in (7, 8)]
    with pytest.raises(DataError, match="one length"):
        next(train_side_by_side(mixed, TINY, FAST))


def test_batches_of_two_sizes_are_refused() -> None:
    with pytest.raises(DataError, match=r"batches of one size, got \[10, 16\]"):
        next(train_side_by_side(networks(10, 20), TINY, FAST))


def test_few_sequences_are_each_seen_once_a_step() -> None:
    (network,) = networks(10)
    for _, batch in zip(range(3), batches(network, FAST), strict=False):
        assert sorted(batch.tolist()) == sorted(network.tokens.tolist())
