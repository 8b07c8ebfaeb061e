"""People as judges: attention, majority, agreement, position and win rates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from evals.errors import RecordError
from evals.estimates import share_estimate
from evals.judges.pairs import Pair
from evals.judges.raters import (
    MAJORITY,
    NO_MAJORITY,
    check_attention,
    first_shown,
    majority_judgements,
    measure_agreement,
    measure_votes,
    measure_win_rate,
)
from evals.records import Judgement

EXAMPLE = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
"""Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C."""


def vote(item: int | str, value: float, *, rater: str = "x", order: int = 0) -> Judgement:
    return Judgement(str(item), f"human:{rater}", "arm", value, "other", order)


def said(values: Sequence[float | None], rater: str = "x") -> list[Judgement]:
    return [vote(i, value, rater=rater) for i, value in enumerate(values) if value is not None]


def own_clusters(n: int) -> dict[str, str]:
    return {str(i): f"c{i}" for i in range(n)}


def test_alpha_is_that_of_the_published_example() -> None:
    rows = [[None if cell == "." else float(cell) for cell in row.split()] for row in EXAMPLE]
    found = measure_agreement([said(row) for row in rows], own_clusters(12))
    assert found.nominal.value == pytest.approx(0.743, abs=5e-4)
    assert found.ordinal.value == pytest.approx(0.815, abs=5e-4)
    assert found.nominal.n == 11  # of the twelfth there is one rating


def test_alpha_is_one_for_twins_and_near_nothing_for_dice() -> None:
    rng = np.random.default_rng(0)
    rolls = rng.choice([0.0, 0.5, 1.0], (2, 400)).tolist()
    same = measure_agreement([said(rolls[0]), said(rolls[0])], own_clusters(400))
    assert same.nominal.value == same.nominal.low == same.ordinal.high == 1
    dice = measure_agreement(map(said, rolls), own_clusters(400)).nominal
    assert dice.low < 0 < dice.high
    assert dice.high - dice.low < 0.25


def test_alpha_takes_a_tie_for_half_a_disagreement_only_where_it_is_ordinal() -> None:
    one = [1.0, 0.0] * 20
    near = [0.5 if i % 4 == 0 else value for i, value in enumerate(one)]
    found = measure_agreement([said(one), said(near)], own_clusters(40))
    assert found.ordinal.value > found.nominal.value + 0.1


def test_alpha_interval_resamples_clusters() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.choice([0.0, 1.0], (2, 20)).repeat(10, axis=1).tolist()
    whole = {str(i): f"c{i // 10}" for i in range(200)}
    apart = measure_agreement([said(one), said(other)], own_clusters(200)).nominal
    together = measure_agreement([said(one), said(other)], whole).nominal
    assert together.value == apart.value
    assert together.high - together.low > 2 * (apart.high - apart.low)


@pytest.mark.parametrize(
    "raters", [[said([1, 0])], [said([1, None]), said([None, 0])], [said([1, 1]), said([1, 1])], []]
)
def test_alpha_is_undefined_without_two_ratings_or_two_values(
    raters: list[list[Judgement]],
) -> None:
    assert math.isnan(measure_agreement(raters, own_clusters(2)).nominal.value)


@pytest.mark.parametrize(
    ("votes", "value", "text"),
    [
        ([1, 1, 0], 1, ""),
        ([0.5, 0.5, 1], 0.5, ""),
        ([1, 0], 0.5, NO_MAJORITY),
        ([1, 0, 0.5], 0.5, NO_MAJORITY),
        ([1, 1, 0, 0], 0.5, NO_MAJORITY),
        ([1, 1, 0, 0.5], 0.5, NO_MAJORITY),
        ([0], 0, ""),
    ],
)
def test_majority_is_more_than_half_or_a_tie_that_says_so(
    votes: list[float], value: float, text: str
) -> None:
    raters = [[vote("i", one, rater=str(n), order=1)] for n, one in enumerate(votes)]
    expected = Judgement("i", MAJORITY, "arm", value, "other", 1, text=text)
    assert majority_judgements(raters) == [expected]


def test_majority_refuses_two_orders_and_two_votes_of_one_rater() -> None:
    with pytest.raises(RecordError, match="raters saw the answers to i in different orders"):
        majority_judgements([[vote("i", 1)], [vote("i", 1, order=1)]])
    with pytest.raises(RecordError, match="human:x judged a pair twice"):
        majority_judgements([[vote("i", 1), vote("i", 0)]])


def test_attention_is_the_share_of_answered_checks_with_its_exact_interval() -> None:
    expected = {"p": 1.0, "q": 0.5, "r": 0.0, "s": 1.0}
    passed = check_attention(expected | {"pair": 0.0}, expected, bound=0.75)
    assert (passed.n_passed, passed.rate.value, passed.rate.n) == (4, 1, 4)
    assert passed.rate.low == pytest.approx(0.025 ** (1 / 4))  # Clopper and Pearson at k = n
    assert not passed.is_inattentive
    at_bound = check_attention(expected | {"s": 0.5}, expected, bound=0.75)
    under = check_attention(expected | {"s": 0.5, "r": 0.5}, expected, bound=0.75)
    assert (at_bound.is_inattentive, under.is_inattentive) == (False, True)
    assert not check_attention({"q": 0.5}, expected, bound=0.75).is_inattentive


def test_who_answered_no_check_counts_as_inattentive_where_there_were_any() -> None:
    assert check_attention({}, {"p": 1.0}, bound=0.75).is_inattentive
    assert not check_attention({}, {}, bound=0.75).is_inattentive


def test_position_bias_is_seen_over_pairs_in_random_order() -> None:
    rng = np.random.default_rng(2)
    orders = rng.integers(0, 2, 300)
    always_first = [vote(i, float(order == 0), order=int(order)) for i, order in enumerate(orders)]
    assert first_shown(always_first, own_clusters(300)).value == 1
    always_arm = [vote(i, 1.0, order=int(order)) for i, order in enumerate(orders)]
    fair = first_shown(always_arm, own_clusters(300))
    assert fair.low < 0.5 < fair.high


def test_win_rate_counts_ties_half_and_clusters_items() -> None:
    values = [1.0, 0.5, 0.0, 1.0] * 10
    clusters = [f"c{i // 2}" for i in range(40)]
    pairs = [
        Pair(str(i), "?", "a", "b", "arm", "other", cluster_id=c) for i, c in enumerate(clusters)
    ]
    found = measure_win_rate([*pairs, Pair("open", "?", "a", "b", "arm", "other")], said(values))
    assert (found.wins, found.ties, found.losses) == (20, 10, 10)
    assert (found.rate.value, found.rate.n) == (0.625, 40)
    assert found.rate == share_estimate(values, clusters)
    assert found.rate.low < share_estimate(values, [str(i) for i in range(40)]).low


def test_votes_of_all_raters_weigh_alike() -> None:
    both = [*said([1, 1, 0], "x"), *said([1, 0, 0], "y")]
    assert measure_votes(both, own_clusters(3)).value == 0.5
