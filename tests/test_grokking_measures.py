"""The probe's measures against closed forms: a network built by hand, spikes, a table of chance."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from evals.probes.grokking.fourier import (
    FrequencyRule,
    basis,
    by_frequency,
    gini,
    key_frequencies,
    neuron_shares,
)
from evals.probes.grokking.measures import (
    Frequencies,
    Measures,
    Split,
    find_frequencies,
    logits_by_sum,
    look_up,
    measure_weights,
    spectra,
)
from evals.probes.grokking.network import Weights, read_weights
from evals.probes.grokking.operations import make_table
from evals.probes.grokking.phases import (
    Outcome,
    Passage,
    Phases,
    check_order,
    epoch_interval,
    find_phases,
)
from evals.probes.grokking.saturation import data_bits, find_onset, held_bits
from evals.probes.grokking.shape import NAMES, Shape
from evals.probes.grokking.training import Network, Recipe, train_side_by_side

P = 11
KEYS = (2, 4)
SCALE = 3.0


def built_by_hand(p: int = P, keys: tuple[int, ...] = KEYS) -> Weights:
    """Return a network whose logits are SCALE times the sum over keys of cos(w(a + b - c)).

    The embedding is the number a itself; all heads look at all tokens alike, so that the stream
    holds (a + b) / 3; a ReLU at every whole number lets the readout draw any curve through them.
    """
    width, n_neurons = p + 1, 2 * p
    state = {
        NAMES[name]: torch.zeros(size, dtype=torch.float64)
        for name, size in Shape(p, width, 1, n_neurons).tensors.items()
    }
    state[NAMES["W_E"]][:p, 0] = torch.arange(p, dtype=torch.float64)
    state[NAMES["W_V"]][0, 0, 0] = 1
    state[NAMES["W_O"]][0, 0, 0] = 3
    state[NAMES["W_in"]][0] = 1
    state[NAMES["b_in"]] = 1 - torch.arange(n_neurons, dtype=torch.float64)
    total = np.arange(n_neurons)
    wanted = SCALE * sum(
        np.cos(2 * np.pi * k * (total[:, None] - np.arange(p)[None, :]) / p) for k in keys
    )
    # ReLU(s + 1 - t), t = 0, 1, ...: second differences of the wanted curve, from -1 on at 0
    padded = np.concatenate([np.zeros((2, p)), wanted])
    bends = padded[2:] - 2 * padded[1:-1] + padded[:-2]
    state[NAMES["W_out"]][:, 1:] = torch.from_numpy(bends)
    state[NAMES["W_U"]][1:, :p] = torch.eye(p, dtype=torch.float64)
    return read_weights(state)


def known_loss(p: int = P, keys: tuple[int, ...] = KEYS) -> float:
    logits = SCALE * sum(np.cos(2 * np.pi * k * np.arange(p) / p) for k in keys)
    return float(np.log(np.exp(logits).sum()) - logits[0])


# --- a network built by hand ----------------------------------------------------------------------


def test_network_built_by_hand_is_the_formula() -> None:
    table = make_table("a+b", P, 0.4, 0)
    found = measure_weights(built_by_hand(), table, KEYS)
    assert found.fit == pytest.approx(1, abs=1e-12)
    for loss in (found.loss, found.restricted, found.restricted_terms):
        assert dataclasses.astuple(loss) == pytest.approx([known_loss()] * 3, rel=1e-9)
    assert found.fit_loss == pytest.approx(known_loss(), rel=1e-9)
    assert found.accuracy == Split(1, 1, 1)


def test_without_its_frequencies_it_knows_nothing() -> None:
    found = measure_weights(built_by_hand(), make_table("a+b", P, 0.4, 0), KEYS)
    chance = math.log(P)
    assert found.excluded == pytest.approx(chance)
    assert found.excluded_any == pytest.approx(chance)
    for one in (*found.excluded_each, *found.ablated_each):
        assert known_loss() < one < chance
    other = known_loss(keys=KEYS[1:])
    assert found.ablated_each[0] == pytest.approx(other, rel=1e-9)


def test_its_readout_has_two_directions_a_frequency() -> None:
    found = measure_weights(built_by_hand(), make_table("a+b", P, 0.4, 0), KEYS)
    assert found.in_directions == pytest.approx(known_loss(), rel=1e-6)
    assert found.off_directions == pytest.approx(math.log(P), rel=1e-6)


def test_its_key_frequencies_are_found_in_the_readout() -> None:
    weights, table = built_by_hand(), make_table("a+b", P, 0.4, 0)
    assert find_frequencies(weights, table).by(FrequencyRule.READOUT) == KEYS
    assert find_frequencies(weights, table).embedding == ()  # a saw-tooth has them all
    readout = spectra(weights, table).readout
    assert readout is not None
    assert np.flatnonzero(readout > 1e-9 * readout.max()).tolist() == [k - 1 for k in KEYS]
    by_sum = logits_by_sum(weights, table)
    assert by_sum is not None
    assert (by_sum.argmax(axis=1) == np.arange(P)).all()


# --- closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 12, 13, 113])
def test_basis_is_orthonormal(n: int) -> None:
    assert basis(n) @ basis(n).T == pytest.approx(np.eye(n), abs=1e-12)


def test_gini_of_spikes_is_as_computed_by_hand() -> None:
    for k, n in ((1, 113), (5, 113), (113, 113)):
        values = np.zeros(n)
        values[:k] = 2.5
        assert gini(values) == pytest.approx(1 - k / n)
    assert gini(np.array([1.0, 3.0])) == pytest.approx(0.25)
    assert math.isnan(gini(np.zeros(4)))


def test_key_frequencies_stand_out_or_there_are_none() -> None:
    norms = np.array([0.1, 5.0, 0.9, 1.1, 0.2, 0.0, 0.3])
    assert key_frequencies(norms) == (2, 4)
    assert key_frequencies(np.ones(7)) == ()
    assert key_frequencies(np.zeros(7)) == ()
    assert by_frequency(np.array([9.0, 3.0, 4.0, 0.0, 2.0])).tolist() == [5.0, 2.0]


@pytest.mark.parametrize("n", [11, 12])
def test_neuron_of_one_frequency_is_found_with_its_share(n: int) -> None:
    x = 2 * np.pi * np.arange(n) / n
    one = np.cos(3 * x)[:, None] * np.sin(3 * x)[None, :] + 0.5 * np.cos(3 * x)[:, None]
    mixed = one + np.cos(2 * x)[None, :] * np.linalg.norm(one) / np.linalg.norm(
        np.tile(np.cos(2 * x), (n, 1))
    )
    shares = neuron_shares(np.stack([one + 7, mixed, np.zeros((n, n))], axis=-1))
    assert shares[2] == pytest.approx([1, 0.5, 0], abs=1e-9)
    assert shares[1] == pytest.approx([0, 0.5, 0], abs=1e-9)


# --- a table without a rule -----------------------------------------------------------------------


def test_excluded_equals_the_loss_of_a_memorised_table() -> None:
    """Six directions of 961 hold hardly anything of what is stored."""
    table = make_table("random", 31, 0.5, 0)
    shape, recipe = Shape(31, 64, 4, 256), Recipe(epochs=220, checkpoint_every=130)
    network = Network("chance", table, 0, weight_decay=0.0)
    snapshots = list(train_side_by_side([network], shape, recipe))
    early, late = (measure_weights(one.weights, table, (1, 5, 7)) for one in snapshots[1:])
    assert early.accuracy.train > 0.99
    assert early.accuracy.test < 0.1
    assert early.excluded == pytest.approx(early.loss.train, rel=0.05)
    assert early.restricted.all > math.log(31)
    # small losses are told apart by their logarithm, and there it is within 5 % as well
    assert late.loss.train < 0.01
    assert math.log(late.excluded) == pytest.approx(math.log(late.loss.train), rel=0.05)
    assert find_frequencies(snapshots[-1].weights, table) == Frequencies()


def test_measures_without_coordinates_or_keys_are_undefined() -> None:
    weights = next(
        train_side_by_side(
            [Network("x", make_table("a+b", 7, 0.5, 0), 0)], Shape(7, 16, 2, 32), Recipe(epochs=1)
        )
    ).weights
    square = measure_weights(weights, make_table("a^2+b^2", 7, 0.5, 0), (1,))
    assert math.isnan(square.restricted.all)
    assert math.isnan(square.gini_embedding)
    assert square.squared_weights > 0
    bare = measure_weights(weights, make_table("a+b", 7, 0.5, 0))
    assert math.isnan(bare.excluded)
    assert 0 < bare.gini_embedding < 1
    assert find_frequencies(weights, make_table("a^2+b^2", 7, 0.5, 0)) == Frequencies()


@pytest.mark.parametrize("operation", ["a*b", "a/b"])
def test_products_are_measured_by_logarithms(operation: str) -> None:
    table = make_table(operation, 13, 0.5, 0)
    first = next(
        train_side_by_side([Network("x", table, 0)], Shape(13, 16, 2, 32), Recipe(epochs=1))
    ).weights
    found = measure_weights(first, table, (1, 6))
    assert found.restricted.all > 0
    assert 0 <= found.fit <= 1
    assert len(found.ablated_each) == 2


# --- rows that a mirror answers -------------------------------------------------------------------


def test_fresh_rows_have_no_mirror_among_those_trained_on() -> None:
    table = make_table("a+b", 7, 0.4, 0)
    seen = {tuple(pair) for pair in table.pairs[table.is_train].tolist()}
    for (a, b), is_fresh in zip(table.pairs.tolist(), table.is_fresh, strict=True):
        assert is_fresh == ((a, b) not in seen and (b, a) not in seen)
    assert table.is_fresh.sum() < (~table.is_train).sum()
    for operation in ("a-b", "a/b", "a^3+ab", "random"):
        other = make_table(operation, 7, 0.4, 0)
        assert (other.is_fresh == ~other.is_train).all()


def test_network_that_stores_mirrors_is_right_on_no_fresh_row() -> None:
    table = make_table("a+b", P, 0.4, 0)
    found = measure_weights(built_by_hand(), table)
    assert found.fresh_accuracy == 1
    assert found.fresh_loss == pytest.approx(known_loss(), rel=1e-9)
    every = dataclasses.replace(table, is_train=table.pairs[:, 0] <= table.pairs[:, 1])
    assert math.isnan(measure_weights(built_by_hand(), every).fresh_accuracy)


def test_look_up_table_has_some_of_every_sum() -> None:
    """Averaged over x + y, what is stored of a sum reaches the sum's other rows."""
    table = make_table("a+b", 31, 0.4, 0)
    few, many = look_up(table, (2,)), look_up(table, tuple(range(1, 16)))
    assert many < few < math.log(31)
    assert math.isnan(look_up(make_table("a^2+b^2", 7, 0.5, 0), (1,)))
    assert math.isnan(look_up(table, ()))


# --- phases ---------------------------------------------------------------------------------------


def curves(
    test: list[float],
    fresh: list[float],
    *,
    train: list[float] | None = None,
    excluded: list[float] | None = None,
    restricted: list[float] | None = None,
    gini: list[float] | None = None,
) -> list[Measures]:
    n = len(test)
    right = train or [0.0] + [1.0] * (n - 1)
    lost = excluded or [math.nan] * n
    kept = restricted or [math.nan] * n
    uneven = gini or [0.1] * n
    return [
        Measures(
            loss=Split(1e-6, test[place], test[place]),
            accuracy=Split(right[place], fresh[place], fresh[place]),
            fresh_accuracy=fresh[place],
            squared_weights=100.0 - 5 * place,
            logit_scale=1.0,
            gini_embedding=uneven[place],
            restricted=Split(kept[place], kept[place], kept[place]),
            excluded=lost[place],
        )
        for place in range(n)
    ]


EPOCHS = [100 * n for n in range(10)]
TEST = [5, 9, 10, 9.8, 9.5, 1, 1e-2, 1e-5, 1e-6, 1e-6]
FRESH = [0, 0.1, 0.1, 0.1, 0.2, 0.5, 0.95, 1, 1, 1]
EXCLUDED = [5, 0.1, 0.05, 0.1, 0.5, 2, 4, 5, 5, 5]
RESTRICTED = [5, 3, 1, 0.01, 1e-4, 1e-6, 1e-7, 1e-7, 1e-7, 1e-7]
GINI = [0.1, 0.11, 0.12, 0.13, 0.14, 0.3, 0.4, 0.5, 0.6, 0.6]
GROKKED = curves(TEST, FRESH, excluded=EXCLUDED, restricted=RESTRICTED, gini=GINI)


def test_phases_of_a_run_that_groks() -> None:
    assert find_phases(EPOCHS, GROKKED) == Phases(
        Outcome.GROKKED, fitted=100, generalised=700, memorised=200, formed=400, cleaned=800
    )


def test_order_is_told_by_epochs_on_the_same_rows() -> None:
    order = check_order(EPOCHS, GROKKED, find_phases(EPOCHS, GROKKED))
    assert order is not None
    # ln 5 to ln 1e-7 is 17.7: 5 % are passed at a loss of 2.06, half at 7e-4, 95 % at 2.4e-7
    assert order.restricted == Passage(begun=100, half=400, done=600)
    assert order.test == Passage(begun=400, half=700, done=800)
    assert order.excluded_ratio == pytest.approx(0.5 / 0.1)
    assert order.gini_early == pytest.approx(1000 * 0.02 / 200)
    assert order.gini_late == pytest.approx(1000 * 0.46 / 400)
    assert order.restricted_leads
    assert order.excluded_rose
    assert order.gini_jumped


@pytest.mark.parametrize(
    ("change", "statement"),
    [
        ({"restricted": TEST}, "restricted_leads"),
        ({"excluded": [5, 4, 0.05, 0.06, 0.5, 2, 4, 5, 5, 5]}, "excluded_rose"),
        ({"gini": [0.1, 0.2, 0.3, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]}, "gini_jumped"),
        ({"gini": [0.5, 0.5, 0.5, 0.4, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1]}, "gini_jumped"),
    ],
)
def test_each_statement_on_the_order_can_be_false(
    change: dict[str, list[float]], statement: str
) -> None:
    parts = {"excluded": EXCLUDED, "restricted": RESTRICTED, "gini": GINI} | change
    measured = curves(TEST, FRESH, **parts)
    order = check_order(EPOCHS, measured, find_phases(EPOCHS, measured))
    assert order is not None
    assert not getattr(order, statement)


@pytest.mark.parametrize(
    ("test", "fresh", "outcome"),
    [
        ([5, 9, 10, 10, 10], [0, 0.1, 0.1, 0.1, 0.1], Outcome.MEMORISED),
        ([5, 0.1, 1e-3, 1e-4, 1e-5], [0, 0.95, 1, 1, 1], Outcome.AT_ONCE),
        ([5, 9, 8, 1, 0.5], [0, 0.1, 0.3, 0.8, 0.93], Outcome.UNFINISHED),
        ([5, 9, 8, 1, 0.5], [0, 0.1, 1, 0.2, 0.2], Outcome.UNFINISHED),
    ],
)
def test_phases_are_not_invented(test: list[float], fresh: list[float], outcome: Outcome) -> None:
    measured = curves(test, fresh)
    found = find_phases(EPOCHS[:5], measured)
    assert found == Phases(outcome, fitted=100)
    assert check_order(EPOCHS[:5], measured, found) is None


def test_run_that_does_not_fit_has_no_phases() -> None:
    measured = curves(TEST, FRESH, train=[0.5] * 10)
    assert find_phases(EPOCHS, measured) == Phases(Outcome.UNFIT)


@pytest.mark.parametrize("spike", [8, 9])
def test_spike_of_the_optimiser_decides_nothing(spike: int) -> None:
    """Of 20 snapshots, one near the end is wrong on all rows."""
    epochs = [100 * n for n in range(20)]
    stretched = {
        "test": TEST + [1e-6] * 10,
        "fresh": FRESH + [1.0] * 10,
        "train": [0.0] + [1.0] * 19,
        "excluded": EXCLUDED + [5.0] * 10,
        "restricted": RESTRICTED + [1e-7] * 10,
    }
    calm = find_phases(epochs, curves(**stretched))
    assert calm.outcome is Outcome.GROKKED
    for name in ("fresh", "train"):
        stretched[name][10 + spike] = 0.5
    assert find_phases(epochs, curves(**stretched)) == calm


@pytest.mark.parametrize(
    "losses", [[5.0] * 10, [math.inf] * 10, [math.nan] * 10, [5.0] * 9 + [6.0], [0.0] * 10]
)
def test_test_loss_that_never_falls_gives_no_phases(losses: list[float]) -> None:
    measured = curves(losses, FRESH, excluded=EXCLUDED, restricted=RESTRICTED)
    found = find_phases(EPOCHS, measured)
    assert found == Phases(Outcome.UNFINISHED, fitted=100)


def test_losses_of_nought_are_rounding() -> None:
    measured = curves(
        [5, 9, 10, 9.8, 9.5, 1, 1e-2, 0, 0, 0],
        FRESH,
        excluded=[5, 0, 0, 0.1, 0.5, 2, 4, 5, 5, 5],
        restricted=[5, 3, 1, 0.01, 1e-4, 0, 0, 0, 0, 0],
    )
    found = find_phases(EPOCHS, measured)
    assert (found.formed, found.cleaned) == (400, 700)
    order = check_order(EPOCHS, measured, found)
    assert order is not None
    assert math.isfinite(order.excluded_ratio)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_snapshots_do_not_crash(n: int) -> None:
    measured = GROKKED[-n:]
    found = find_phases(EPOCHS[:n], measured)
    assert found.outcome in (Outcome.UNFIT, Outcome.AT_ONCE)
    assert check_order(EPOCHS[:n], measured, found) is None


def test_interval_over_seeds_is_that_of_t() -> None:
    found = epoch_interval([1000, 1200, 1400])
    assert (found.mean, found.n) == (1200, 3)
    assert found.high - found.mean == pytest.approx(4.302653 * 200 / 3**0.5)
    assert math.isnan(epoch_interval([1000]).low)


# --- saturation -----------------------------------------------------------------------------------


def test_bits_held_of_a_table_without_a_rule() -> None:
    assert held_bits(100, 8, 0.0) == data_bits(100, 8) == 300
    assert held_bits(100, 8, math.log(8)) == pytest.approx(0)
    assert held_bits(100, 8, math.log(2)) == pytest.approx(200)


@pytest.mark.parametrize(
    ("learned", "share", "failed"),
    [
        ({0.1: False, 0.2: False, 0.4: True, 0.8: True}, 0.4, 0.2),
        ({0.1: True, 0.2: False, 0.4: True}, 0.4, 0.2),  # luck below a failure is no onset
        ({0.2: True, 0.4: True}, 0.2, math.nan),
        ({0.2: False, 0.4: False}, math.nan, 0.4),
    ],
)
def test_onset_is_the_least_share_from_which_all_are_learned(
    learned: dict[float, bool], share: float, failed: float
) -> None:
    found = find_onset(learned)
    assert (found.share, found.failed) == pytest.approx((share, failed), nan_ok=True)
