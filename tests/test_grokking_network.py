"""The probe's tables and network: known answers, the plain model, other people's weights."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from evals.errors import DataError, ModelError
from evals.probes.grokking import training
from evals.probes.grokking.network import (
    Weights,
    answer_logits,
    draw_weights,
    read_weights,
)
from evals.probes.grokking.operations import OPERATIONS, make_table
from evals.probes.grokking.shape import NAMES, Shape
from evals.probes.grokking.training import (
    DivergedError,
    Network,
    Recipe,
    row_losses,
    train_side_by_side,
)

SHAPE = Shape(7, width=16, n_heads=2, n_neurons=32)


def benchmark() -> ModuleType:
    """Return the benchmark's module, which has the published model written plainly."""
    folder = Path(__file__).parents[1] / "benchmarks"
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location(
            "grokking_epochs", folder / "grokking_epochs.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("a+b", (5 + 4) % 7),
        ("a-b", (5 - 4) % 7),
        ("a*b", 5 * 4 % 7),
        ("a/b", 5 * 2 % 7),  # 4 * 2 = 1 mod 7
        ("a^2+b^2", (25 + 16) % 7),
        ("a^2+ab+b^2", (25 + 20 + 16) % 7),
        ("a^2+ab+b^2+a", (25 + 20 + 16 + 5) % 7),
        ("a^3+ab", (125 + 20) % 7),
        ("a^3+ab^2+b", (125 + 80 + 4) % 7),
    ],
)
def test_operations_are_what_they_say(operation: str, answer: int) -> None:
    table = make_table(operation, 7, 0.5, seed=0)
    row = (table.pairs == [5, 4]).all(axis=1)
    assert table.answers[row].tolist() == [answer]


def test_every_operation_is_listed_and_its_share_is_trained_on() -> None:
    for operation in OPERATIONS:
        table = make_table(operation, 11, 0.3, seed=1)
        assert table.is_train.sum() == int(0.3 * len(table.pairs))
        assert table.answers.min() >= 0
        assert table.answers.max() < 11
    assert len(make_table("a/b", 11, 0.3, 0).pairs) == 110
    published = make_table("a+b", 113, 0.3, 0)
    assert (int(published.is_train.sum()), int((~published.is_train).sum())) == (3_830, 8_939)


@pytest.mark.parametrize("operation", ["a+b", "a-b", "a*b", "a/b"])
def test_coordinates_make_the_operation_a_sum(operation: str) -> None:
    table = make_table(operation, 13, 0.4, seed=0)
    where = table.coordinates
    assert where is not None
    answers = {tuple(pair): c for pair, c in zip(table.pairs.tolist(), table.answers, strict=True)}
    for x, a in enumerate(where.first):
        for y, b in enumerate(where.second):
            assert answers[int(a), int(b)] == where.answer[(x + y) % where.order]
    assert where.order == (12 if operation in {"a*b", "a/b"} else 13)


def test_polynomials_have_no_coordinates() -> None:
    assert make_table("a^2+ab+b^2", 7, 0.5, 0).coordinates is None


@pytest.mark.parametrize(
    ("operation", "p", "fraction", "message"),
    [
        ("a+b", 8, 0.5, "`p` must be odd and at least 5, got 8"),
        ("a+b", 3, 0.5, "`p` must be odd and at least 5, got 3"),
        ("a^b", 7, 0.5, "no operation `a\\^b`: there are a\\+b"),
        ("a/b", 9, 0.5, "`a/b` needs a prime p, got 9"),
        ("a*b", 15, 0.5, "`a\\*b` needs a prime p, got 15"),
        ("a+b", 7, 1.0, "leaves nothing to test"),
        ("a+b", 7, 0.01, "leaves nothing to train on"),
    ],
)
def test_unfit_tables_are_refused(operation: str, p: int, fraction: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_table(operation, p, fraction, seed=0)


# --- network --------------------------------------------------------------------------------------


def test_last_position_equals_the_model_that_computes_all() -> None:
    plain = benchmark().PlainTransformer(draw_weights(SHAPE, 0), torch.float64)
    table = make_table("a+b", 7, 0.5, 0)
    pairs = torch.from_numpy(table.pairs)
    tokens = torch.cat([pairs, torch.full((len(pairs), 1), 7)], dim=1)
    ours = answer_logits(read_weights(plain.state_dict()), pairs[None, :, 0], pairs[None, :, 1])
    assert torch.allclose(ours[0], plain(tokens)[:, -1, :-1], rtol=1e-12, atol=1e-12)


def test_training_equals_the_plain_model_epoch_by_epoch() -> None:
    found = benchmark()
    network = Network("one", make_table("a+b", 7, 0.5, 0), 0)
    assert found.worst_difference(network, Shape(7), epochs=100) < 1e-9


def test_networks_side_by_side_learn_as_they_do_alone() -> None:
    networks = [
        Network("decay", make_table("a+b", 7, 0.5, 0), 0, weight_decay=1.0),
        Network("none", make_table("a-b", 7, 0.5, 1), 1, weight_decay=0.0),
    ]
    recipe = Recipe(epochs=30, checkpoint_every=10)
    together = list(train_side_by_side(networks, SHAPE, recipe, dtype=torch.float64))
    for place, one in enumerate(networks):
        alone = list(train_side_by_side([one], SHAPE, recipe, dtype=torch.float64))
        assert [s.epoch for s in alone] == [0, 10, 20, 30]
        for ours, own in zip(together, alone, strict=True):
            assert torch.allclose(ours.losses[:, place], own.losses[:, 0], rtol=1e-9)


def test_training_goes_on_from_a_snapshot_as_if_it_had_not_stopped() -> None:
    networks = [Network("one", make_table("a+b", 7, 0.5, 0), 0)]
    recipe = Recipe(epochs=45, checkpoint_every=20)
    whole = list(train_side_by_side(networks, SHAPE, recipe))
    assert [s.epoch for s in whole] == [0, 20, 40, 45]
    rest = list(train_side_by_side(networks, SHAPE, recipe, start=whole[1]))
    assert [s.epoch for s in rest] == [40, 45]
    for name, tensor in whole[-1].weights.items():
        assert torch.equal(tensor, rest[-1].weights[name]), name


def test_loss_that_is_no_number_stops_with_its_epoch() -> None:
    networks = [Network("the steep one", make_table("a+b", 7, 0.5, 0), 0)]
    steep = Recipe(epochs=200, checkpoint_every=10, learning_rate=1e30, warmup=3)
    epochs: list[int] = []
    with pytest.raises(DivergedError, match=r"finite number any more: the steep one at epoch \d+"):
        epochs.extend(one.epoch for one in train_side_by_side(networks, SHAPE, steep))
    assert epochs[0] == 0
    assert len(epochs) < 20


def test_last_step_is_looked_at_too() -> None:
    networks = [Network("the steep one", make_table("a+b", 7, 0.5, 0), 0)]
    steep = Recipe(epochs=2, checkpoint_every=2, learning_rate=1e30, warmup=1)
    with pytest.raises(DivergedError, match="at epoch 2"):
        list(train_side_by_side(networks, SHAPE, steep))


def test_network_that_diverges_leaves_the_others_alone() -> None:
    sound = Network("sound", make_table("a+b", 7, 0.5, 0), 0)
    wild = Network("wild", make_table("a+b", 7, 0.5, 1), 1, weight_decay=1e35)
    recipe = Recipe(epochs=40, checkpoint_every=20)
    together = list(train_side_by_side([wild, sound], SHAPE, recipe, dtype=torch.float64))
    alone = list(train_side_by_side([sound], SHAPE, recipe, dtype=torch.float64))
    assert list(together[-1].diverged) == [0]
    assert 0 < together[-1].diverged[0] <= 20
    assert torch.allclose(together[-1].losses[:, 1], alone[-1].losses[:, 0], rtol=1e-9)


def test_networks_of_other_sizes_cannot_share_a_program() -> None:
    networks = [
        Network("half", make_table("a+b", 7, 0.5, 0), 0),
        Network("third", make_table("a+b", 7, 0.3, 0), 0),
    ]
    with pytest.raises(
        DataError, match="as many rows: there are p = 7 with 14 rows, p = 7 with 24"
    ):
        next(train_side_by_side(networks, SHAPE, Recipe(epochs=1)))


# --- other people's weights -----------------------------------------------------------------------


def transformer_lens(shape: Shape) -> dict[str, torch.Tensor]:
    state = {NAMES[name]: one[0] for name, one in draw_weights(shape, 3).items()}
    state["blocks.0.attn.mask"] = torch.ones(3, 3)
    state["blocks.0.attn.b_Q"] = torch.zeros(2, 8)
    state["unembed.b_U"] = torch.zeros(shape.p + 1)
    return state


def test_published_layout_is_turned_round() -> None:
    state = transformer_lens(SHAPE)
    turned = dict(state)
    for name in ("embed.W_E", "blocks.0.mlp.W_in", "blocks.0.mlp.W_out"):
        turned[name] = state[name].T
    for name in ("W_Q", "W_K", "W_V"):
        turned[f"blocks.0.attn.{name}"] = state[f"blocks.0.attn.{name}"].transpose(1, 2)
    turned["blocks.0.attn.W_O"] = state["blocks.0.attn.W_O"].flatten(0, 1).T
    ours, theirs = read_weights(state), read_weights(turned)
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_unembedding_may_leave_the_last_token_out() -> None:
    state = transformer_lens(SHAPE)
    state["unembed.W_U"] = state["unembed.W_U"][:, :-1]
    first = second = torch.zeros(1, 1, dtype=torch.int64)
    assert answer_logits(read_weights(state), first, second).shape == (1, 1, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.0.mlp.b_in": None}, "the weights lack blocks.0.mlp.b_in"),
        ({"unembed.b_U": torch.ones(8)}, "has no unembed.b_U, and here they are not 0"),
        ({"blocks.0.mlp.b_in": torch.zeros(5)}, r"blocks.0.mlp.b_in is \(5,\), not \(32,\)"),
        ({"embed.W_E": torch.zeros(8)}, "weights of another architecture"),
    ],
)
def test_weights_of_another_shape_are_refused(
    change: dict[str, torch.Tensor | None], message: str
) -> None:
    changed = transformer_lens(SHAPE) | change
    state = {name: tensor for name, tensor in changed.items() if tensor is not None}
    with pytest.raises(ModelError, match=message):
        read_weights(state)
    with pytest.raises(ModelError, match="another shape"):
        read_weights(transformer_lens(SHAPE), p=9)


def test_first_weights_have_the_published_spread() -> None:
    weights = draw_weights(Shape(113), 0)
    embedded, attended, neurons = 2 * 114 * 128 + 3 * 128, 4 * 128 * 128, 2 * 128 * 512 + 512 + 128
    assert Shape(113).n_parameters == embedded + attended + neurons == 226_816
    for name, spread in (("W_E", 128**-0.5), ("W_O", 128**-0.5), ("W_U", 114**-0.5)):
        assert float(weights[name].std()) == pytest.approx(spread, rel=0.02)
    assert not weights["b_in"].any()


def test_gradients_of_learned_rows_hold_nothing_below_the_normal_range() -> None:
    """What float32 keeps below 1e-38 slows products tenfold, and moves no weight."""
    table = make_table("a+b", 7, 0.5, seed=0)
    first, second = (torch.from_numpy(side.copy())[None] for side in table.pairs.T)
    wanted = torch.from_numpy(table.answers.copy())[None]
    start = draw_weights(SHAPE, 0)
    learned = dict(start)
    learned["W_U"] = 300 * start["W_U"]  # margins of hundreds, as nothing trained has
    gradients = []
    for losses in (row_losses, plain_losses):
        weights = {name: one.clone().requires_grad_() for name, one in learned.items()}
        losses(weights, first, second, wanted).mean().backward()
        gradients.append({name: one.grad for name, one in weights.items()})
    for name, ours in gradients[0].items():
        assert ours is not None
        torch.testing.assert_close(ours, gradients[1][name], rtol=1e-5, atol=1e-12, msg=name)


def plain_losses(weights: Weights, first: Tensor, second: Tensor, wanted: Tensor) -> Tensor:
    """Return the losses without anything left out of their gradients."""
    logits = answer_logits(weights, first, second).double()
    return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")


def test_specks_of_a_gradient_are_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.tensor([[[0.0, 60.0, 80.0, 100.0]]], requires_grad=True)
    monkeypatch.setattr(training, "answer_logits", lambda *_: logits)
    none = torch.zeros(1, 1, dtype=torch.int64)
    row_losses({}, none, none, torch.tensor([[3]])).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    chances = [0.0, math.exp(-40), math.exp(-20)]  # exp(-100) = 4e-44 is a speck
    assert logits.grad[0, 0, :3].tolist() == pytest.approx(chances, rel=1e-5, abs=0)
