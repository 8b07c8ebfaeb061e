"""People as judges: do they read what they rate, do they agree, whom do they prefer.

In: the `Judgement`s of several raters on the same pairs, each pair shown once, in an order that a
coin decided. Out: attention, the majority, Krippendorff's alpha, the pull of the place shown first
and win rates, each with an interval.

A judgement's `item_id` is its pair's, as `meeting_id` names it. Intervals are over clusters of
items: they hold the luck of the items and not that of the raters, of whom there are too few to
resample.

Glossary: N pairs; K raters; a vote is the preference for a pair's `arm`: 1, 0, or 0.5 for a tie.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evals.errors import RecordError
from evals.estimates import Estimate, bootstrap_estimate, share_estimate
from evals.judges.pairs import Order, Pair, gather_votes
from evals.records import Judgement

__all__ = [
    "MAJORITY",
    "NO_MAJORITY",
    "Agreement",
    "Attention",
    "WinRate",
    "check_attention",
    "first_shown",
    "majority_judgements",
    "measure_agreement",
    "measure_votes",
    "measure_win_rate",
]

MAJORITY = "human:majority"
NO_MAJORITY = "no majority"
RESAMPLES = 1000

Level = Literal["nominal", "ordinal"]


@dataclasses.dataclass(frozen=True)
class Attention:
    """How a rater did on pairs whose answer is known.

    Attributes:
        n_passed: Checks that were answered as they must be.
        rate: Share of the checks answered that were passed, with its exact binomial interval.
        is_inattentive: Whether that share is under the bound, or checks were there and none was
            answered: who has shown nothing has not shown attention.
    """

    n_passed: int
    rate: Estimate
    is_inattentive: bool


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha over pairs that two raters or more have rated; NaN where undefined.

    Attributes:
        nominal: With every disagreement alike.
        ordinal: With a tie between the two answers.
    """

    nominal: Estimate
    ordinal: Estimate


@dataclasses.dataclass(frozen=True)
class WinRate:
    """How one arm did against another.

    Attributes:
        wins: Pairs that it won.
        ties: Pairs that are ties.
        losses: Pairs that it lost.
        rate: Its share of the pairs; a tie counts one half.
    """

    wins: int
    ties: int
    losses: int
    rate: Estimate


def check_attention(
    answers: Mapping[str, float], expected: Mapping[str, float], *, bound: float
) -> Attention:
    """Return how a rater did on the checks.

    Source: Clopper and Pearson (1934) for the interval: checks are few, and independent.

    Args:
        answers: By id, what the rater said; ids of no check are passed over.
        expected: By id, what must be said.
        bound: Share of checks under which a rater counts as inattentive.
    """
    from scipy.stats import binomtest

    answered = [check for check in expected if check in answers]
    n_passed = sum(answers[check] == expected[check] for check in answered)
    if not answered:
        return Attention(0, Estimate(math.nan, math.nan, math.nan, 0), bool(expected))
    found = binomtest(n_passed, len(answered)).proportion_ci(0.95, method="exact")
    rate = Estimate(n_passed / len(answered), float(found.low), float(found.high), len(answered))
    return Attention(n_passed, rate, rate.value < bound)


def majority_judgements(raters: Iterable[Sequence[Judgement]]) -> list[Judgement]:
    """Return one judgement a pair: the vote that more than half of its raters gave.

    A tie is a vote like the others. Where no vote has more than half, as with two raters who
    differ, the pair is a tie, and the judgement's text says that there was no majority.

    Raises:
        RecordError: One rater judged a pair twice, or two saw it in different orders.
    """
    found: dict[str, list[Judgement]] = {}
    for judgements in raters:
        for pair_id, one in _by_pair(judgements).items():
            found.setdefault(pair_id, []).append(one)
    return [_majority(judgements) for judgements in found.values()]


def measure_agreement(
    raters: Iterable[Sequence[Judgement]], clusters: Mapping[str, str]
) -> Agreement:
    """Return how far the raters agree beyond chance.

    Source: Krippendorff (2019), Content Analysis, 4th ed., chapter 12, as `evalica` computes it.
    Where all ratings are the same, chance explains everything and alpha is undefined; `evalica`
    says 1 there. The interval is that of `bootstrap_estimate` over items, where Krippendorff
    resamples disagreements.

    Args:
        raters: What each said; not everyone need have rated everything.
        clusters: The cluster of every pair.
    """
    votes = [_by_pair(judgements) for judgements in raters]
    counts = Counter(pair_id for said in votes for pair_id in said)
    rated = [pair_id for pair_id, count in counts.items() if count > 1]
    table = np.array([[_value(said.get(pair_id)) for pair_id in rated] for said in votes])
    names = [clusters[pair_id] for pair_id in rated]
    return Agreement(
        nominal=_alpha_estimate(table, names, "nominal"),
        ordinal=_alpha_estimate(table, names, "ordinal"),
    )


def first_shown(judgements: Sequence[Judgement], clusters: Mapping[str, str]) -> Estimate:
    """Return how often what was shown first is preferred; one half without position bias.

    A pair is shown once, so a single vote tells nothing; over many pairs the coin that decided the
    order leaves one half to either place.
    """
    values = [one.value if one.order == Order.FIRST else 1 - one.value for one in judgements]
    return share_estimate(values, [clusters[one.item_id] for one in judgements])


def measure_votes(judgements: Sequence[Judgement], clusters: Mapping[str, str]) -> Estimate:
    """Return the mean preference for `arm` over all votes, each weighing the same."""
    values = [one.value for one in judgements]
    return share_estimate(values, [clusters[one.item_id] for one in judgements])


def measure_win_rate(pairs: Sequence[Pair], judgements: Iterable[Judgement]) -> WinRate:
    """Return how the arm of the pairs did, over the votes of one judge.

    Raises:
        RecordError: Judgements do not join with the pairs.
    """
    votes = [(one.pair, vote) for one in gather_votes(pairs, judgements) for vote in one.said]
    values = [vote for _, vote in votes]
    return WinRate(
        wins=values.count(1.0),
        ties=values.count(0.5),
        losses=values.count(0.0),
        rate=share_estimate(values, [pair.cluster for pair, _ in votes]),
    )


def _by_pair(judgements: Sequence[Judgement]) -> dict[str, Judgement]:
    found = {one.item_id: one for one in judgements}
    if len(found) < len(judgements):
        raise RecordError(f"{judgements[0].judge} judged a pair twice")
    return found


def _majority(judgements: Sequence[Judgement]) -> Judgement:
    first = judgements[0]
    if any(one.order != first.order for one in judgements):
        raise RecordError(f"raters saw the answers to {first.item_id} in different orders")
    value, count = Counter(one.value for one in judgements).most_common(1)[0]
    is_clear = 2 * count > len(judgements)
    return dataclasses.replace(
        first,
        judge=MAJORITY,
        value=value if is_clear else 0.5,
        text="" if is_clear else NO_MAJORITY,
    )


def _value(judgement: Judgement | None) -> float:
    return math.nan if judgement is None else judgement.value


def _alpha_estimate(table: NDArray[np.float64], clusters: Sequence[str], level: Level) -> Estimate:
    return bootstrap_estimate(
        lambda chosen: _alpha(table[:, chosen], level), clusters, resamples=RESAMPLES
    )


def _alpha(table: NDArray[np.float64], level: Level) -> float:
    """Return alpha of (K, N) votes, NaN where a rater has none; NaN where all are the same."""
    import evalica
    import pandas as pd

    if len(np.unique(table[~np.isnan(table)])) < 2:
        return math.nan
    return float(evalica.alpha(pd.DataFrame(table), level).alpha)
