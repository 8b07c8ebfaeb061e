"""What networks hold, against closed forms; the rules for plateau and peak; data of the probe."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from evals.errors import DataError
from evals.memorization.codes import CodedTokens
from evals.probes.capacity.curve import Point, find_capacity, fit_capacities
from evals.probes.capacity.descent import expected_peak, find_descent
from evals.probes.capacity.measures import hold_text, hold_uniform
from evals.probes.capacity.sequences import cut_windows, draw_sequences, find_ceiling

# --- sequences ------------------------------------------------------------------------------------


def test_smaller_data_are_the_beginning_of_larger() -> None:
    few, many = (draw_sequences(n, 8, 100, seed=3) for n in (5, 50))
    assert torch.equal(few, many[:5])
    assert not torch.equal(few, draw_sequences(5, 8, 100, seed=4))


def test_drawn_tokens_are_uniform() -> None:
    counts = torch.bincount(draw_sequences(5_000, 20, 10, seed=0).flatten(), minlength=10)
    assert counts.numpy() == pytest.approx(10_000, rel=0.05)


@pytest.mark.parametrize("sizes", [(0, 8, 10), (5, 0, 10), (5, 8, 0)])
def test_no_data_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match="no data"):
        draw_sequences(*sizes, seed=0)


def test_ceilings_are_those_behind_the_published_values() -> None:
    """N = 4,096, V = 2,048: with the first token free 1.744e5, 3.547e5, 7.151e5 and 1.436e6."""
    found = [find_ceiling(draw_sequences(4096, s, 2048, 0), 2048).uncharged for s in (4, 8, 16, 32)]
    assert found == pytest.approx([1.744e5, 3.547e5, 7.151e5, 1.436e6], rel=1e-3)


def test_ceiling_by_hand() -> None:
    """Two sequences begin alike, the third alone: one bit each for the two, none for it."""
    ceiling = find_ceiling(torch.tensor([[0, 1, 1], [0, 2, 3], [1, 0, 0]]), 4)
    assert ceiling.uncharged == 3 * 3 * 2 - 2
    assert ceiling.charged == 3 * 2 * 2 - 2


def test_sequences_that_are_the_same_need_not_be_told_apart() -> None:
    ceiling = find_ceiling(torch.tensor([[0, 1], [0, 1], [0, 1], [0, 0]]), 2)
    assert ceiling.uncharged == pytest.approx(8 - 3 * math.log2(4 / 3) - 2)


def test_endless_text_with_few_different_windows_is_given_up() -> None:
    with pytest.raises(DataError, match="2 different sequences of 2 tokens and 3 are asked for"):
        cut_windows((np.array([n % 2, 0]) for n in itertools.count()), 2, 3)


def test_windows_are_cut_short_and_then_compared() -> None:
    documents = [np.array(row) for row in ([1, 2, 3, 4], [1, 2, 3, 9], [1, 2], [5, 6, 7])]
    found = cut_windows(documents, 3, 2)
    assert found.tokens.tolist() == [[1, 2, 3], [5, 6, 7]]
    assert (found.n_duplicates, found.n_short) == (1, 1)


def test_text_with_fewer_windows_than_asked_for_is_refused_with_the_counts() -> None:
    documents = [np.array([1, 2, 3]), np.array([1, 2, 3]), np.array([4])]
    with pytest.raises(DataError, match=r"1 different sequences of 3 tokens and 2 .*1 documents"):
        cut_windows(documents, 3, 2)


# --- held -----------------------------------------------------------------------------------------


def test_who_knows_nothing_of_uniform_tokens_holds_nothing() -> None:
    tokens = draw_sequences(10, 5, 8, seed=0)
    held = hold_uniform(10 * 4 * 3.0, tokens, 8)
    assert held.data_bits == 150
    assert held.charged == 0
    assert held.uncharged == 30  # the first tokens, which cost nothing


def test_who_knows_all_of_uniform_tokens_holds_the_ceiling() -> None:
    tokens = draw_sequences(10, 5, 8, seed=0)
    alike = torch.bincount(tokens[:, 0], minlength=8)[tokens[:, 0]].double()
    held = hold_uniform(float(alike.log2().sum()), tokens, 8)
    assert held.charged == pytest.approx(held.ceiling.charged)
    assert held.uncharged == pytest.approx(held.ceiling.uncharged)


def coded(bits: list[list[float]], right: bool) -> CodedTokens:
    found = np.array(bits)
    return CodedTokens(found, np.full(found.shape, right))


def test_bits_of_text_fall_apart_into_memorised_and_generalised() -> None:
    """Of 8 tokens two are predicted: blind 6 bits, the reference 4, the network 1 and 5."""
    held = hold_text(
        coded([[0.5, 0.5], [2.5, 2.5]], right=True),
        coded([[3.0, 2.0], [3.0, 4.0]], right=False),
        np.array([4.0, 4.0]),
        np.array([4.0, 3.0]),
        vocabulary=8,
        n_parameters=100,
        prefixes=[1, 2],
    )
    assert held.data_bits == 8
    assert held.unintended == 3
    assert held.untruncated == 2
    assert held.generalized == 3  # 5 + 1 in all, less what is its own
    assert held.reference_loss == 1.75
    assert (held.extracted, held.completed) == ({1: 1.0, 2: 1.0}, {1: 0.0, 2: 0.0})
    assert held.membership.auc == 0.75 + 0.125


# --- capacity -------------------------------------------------------------------------------------


def points(*rows: tuple[float, float, bool], seed: int = 0) -> list[Point]:
    return [Point(seed, ceiling, held, 5.0, converged) for ceiling, held, converged in rows]


FLAT = points((50, 50, True), (150, 97, True), (200, 100, True), (400, 98, True))


def test_capacity_is_the_most_held_and_a_plateau_where_more_data_are_not() -> None:
    found = find_capacity(FLAT, 25)
    assert found.bits.value == 100
    assert found.per_parameter.value == 4
    assert found.uncharged.value == 105 / 25
    assert found.is_plateau


@pytest.mark.parametrize(
    "rows",
    [
        [(50, 50, True), (90, 90, True)],  # nothing but the rise
        [(50, 50, True), (150, 97, True), (400, 98, False)],  # one of two has not converged
        [(50, 50, True), (150, 80, True), (400, 100, True)],  # it still rises
        [(50, 50, True), (150, 96, True), (400, 100, True)],  # slowly
        [(150, 99, True), (180, 100, True)],  # as good as one size of data
        [(150, 99, True), (150, 100, True)],
        [(150, 99, True), (400, 100, True), (900, 60, False)],  # the most data were not learned
    ],
)
def test_no_plateau_is_claimed_without_two_networks_on_it(
    rows: list[tuple[float, float, bool]],
) -> None:
    assert not find_capacity(points(*rows), 25).is_plateau


def test_every_seed_has_to_show_the_plateau() -> None:
    rising = points((50, 50, True), (150, 120, True), seed=1)
    found = find_capacity([*FLAT, *rising], 10)
    assert not found.is_plateau
    assert found.bits.value == 110
    assert found.bits.n == 2
    assert found.bits.high - found.bits.value == pytest.approx(12.706 * 10, rel=1e-3)


def test_line_through_sizes() -> None:
    found = fit_capacities([10, 20, 40], [41.0, 81.0, 161.0])
    assert found is not None
    assert found.slope.value == pytest.approx(4)
    assert found.intercept == pytest.approx(1)
    assert found.slope.high - found.slope.low == pytest.approx(0, abs=1e-6)
    assert fit_capacities([10, 10], [1.0, 2.0]) is None


# --- descent --------------------------------------------------------------------------------------


def test_peak_of_the_test_loss() -> None:
    found = find_descent([10, 20, 40, 80], [5.0, 9.0, 6.0, 4.0])
    assert (found.peak, found.above, found.below, found.fall) == (20, 10, 40, 5.0)


def test_a_loss_that_is_higher_still_at_an_end_hides_no_peak() -> None:
    assert find_descent([10, 20, 40, 80], [9.0, 5.0, 7.0, 4.0]).peak == 40


@pytest.mark.parametrize("losses", [[9.0, 5.0, 4.0], [4.0, 5.0, 9.0], [4.0, 5.0, 5.0]])
def test_the_highest_loss_at_an_end_is_no_peak(losses: list[float]) -> None:
    assert math.isnan(find_descent([10, 20, 40], losses).peak)


def test_the_peak_is_expected_where_the_bits_of_the_data_are_the_capacity() -> None:
    assert expected_peak([10, 30], [100.0, 300.0], 250.0) == 25
