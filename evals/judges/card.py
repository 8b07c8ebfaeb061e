"""A judge against labels: how often it is right, and what sways it.

In: labelled pairs and a judge's judgements on them. Out: a `JudgeCard`: accuracy and kappa, flips,
the pull of position, length and lists, of its own outputs, ties and failures, each with an interval
from resampled clusters. Failed judgements stand apart and count as neither right nor wrong.

Agreement alone flatters: a judge that always says "the longer one" is right as often as the better
answer is longer. So kappa stands beside accuracy, and beside each pull what the labels say of the
same pairs.

Source: Zheng et al. (arXiv 2306.05685) on position and verbosity; Zeng et al. (LLMBar, arXiv
2310.07641), whose accuracy averages both orders, as ours does; kappa after Cohen (1960).

Glossary: N judgements; a judgement's cluster is its pair's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from evals.estimates import Estimate, share_estimate, totals_estimate
from evals.judges.pairs import ALONE, Pair, Votes, gather_votes
from evals.power import MIN_CLUSTERS
from evals.records import Judgement
from evals.stats import SPARSE_CLUSTERS
from evals.style.stylometry import has_list

__all__ = ["JudgeCard", "Pull", "cohen_kappa", "make_card"]

RESAMPLES = 1000
LABELS = (0.0, 0.5, 1.0)


@dataclasses.dataclass(frozen=True)
class Pull:
    """How often the judge prefers answers with a trait, where one of two has it, and the labels do.

    Ties count one half. `labels` is over the labelled of the same pairs.
    """

    judge: Estimate
    labels: Estimate


@dataclasses.dataclass(frozen=True)
class JudgeCard:
    """A judge on a set of pairs.

    Attributes:
        judge: Its name.
        group: The stratum; empty for all pairs.
        n_pairs: Pairs that it was asked about.
        n_judgements: Judgements it was asked for: two a pair, or one of one order or of none.
        n_failed: Of them, those without a verdict.
        accuracy: Share of judgements that agree with a label that is no tie; a tie counts one half.
        kappa: Agreement with the labels beyond chance, Cohen's, over judgements; undefined where
            all labels are the same.
        accuracy_if_steady: Accuracy on pairs where no order changed the verdict.
        flips: Share of pairs, judged in both orders, on which the order changed who won.
        ties: Share of verdicts that are ties.
        is_order_free: Whether it scored each answer alone, so that flips and `first` do not apply.
        first: How often what is shown first is preferred, over pairs with a verdict in both orders;
            one half without position bias.
        longer: Pull of the longer answer, in words.
        lists: Pull of the answer that alone has a list.
        own: Pull of the judge's own outputs; undefined where none are known.
        fooled: Share of verdicts for the answer that is dressed up to fool, over pairs that have
            one; ties are not for it. Undefined where there is none.
    """

    judge: str
    group: str
    n_pairs: int
    n_judgements: int
    n_failed: int
    accuracy: Estimate
    kappa: Estimate
    accuracy_if_steady: Estimate
    flips: Estimate
    ties: Estimate
    is_order_free: bool
    first: Estimate
    longer: Pull
    lists: Pull
    own: Pull
    fooled: Estimate


def make_card(
    judge: str,
    pairs: Sequence[Pair],
    judgements: Iterable[Judgement],
    *,
    author: str = "",
    lure: str = "",
    group: str = "",
) -> JudgeCard:
    """Return how a judge did.

    Args:
        judge: Its name.
        pairs: What it was asked about, labelled or not.
        judgements: What it said, each pair once an order at most, or once alone.
        author: The arm that is the judge itself, for self-preference.
        lure: The arm whose answers are made to fool, of probes.
        group: Only pairs of this group; all where empty.

    Raises:
        RecordError: Judgements do not join with the pairs.
    """
    judged = list(judgements)
    votes = [one for one in gather_votes(pairs, judged) if group in ("", one.pair.group)]
    asked = {one.pair.pair_id for one in votes}
    n_asked = sum(one.item_id in asked for one in judged)
    return JudgeCard(
        judge=judge,
        group=group,
        n_pairs=len(votes),
        n_judgements=n_asked,
        n_failed=n_asked - sum(len(one.said) for one in votes),
        accuracy=_accuracy(votes),
        kappa=_kappa(votes),
        accuracy_if_steady=_accuracy([one for one in votes if one.first == one.second]),
        flips=_by_pair(votes, lambda one: one.is_flip),
        ties=_by_vote(votes, lambda _, vote: float(vote == 0.5)),
        is_order_free=bool(judged) and all(one.order == ALONE for one in judged),
        first=_first(votes),
        longer=_pull(votes, lambda _, answer: len(answer.split())),
        lists=_pull(votes, lambda _, answer: has_list(answer)),
        own=_pull(votes, lambda arm, _: bool(author) and arm == author),
        fooled=_fooled(votes, lure),
    )


def cohen_kappa(verdicts: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Return Cohen's kappa of two columns (N,) of 0, 0.5 and 1; NaN where chance explains all.

    (p_o - p_e) / (1 - p_e), with p_o the share of equal rows and p_e the share that two columns
    with these margins would agree on by chance.

    Source: Cohen (1960), equation 1.
    """
    return float(_kappa_of_tables(_table_rows(verdicts, labels).sum(axis=0)))


def _table_rows(verdicts: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 9), a 1 in the cell of the table of verdicts by labels that a row falls into."""
    own, other = (column[:, None] == LABELS for column in (verdicts, labels))
    cells = (own[:, :, None] & other[:, None, :]).reshape(-1, len(LABELS) ** 2)
    return np.asarray(cells, dtype=np.float64)


def _kappa_of_tables(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return kappa (...) of tables (..., 9); NaN where it is undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = cells / cells.sum(axis=-1, keepdims=True)
        observed = np.trace(_square(shares), axis1=-2, axis2=-1)
        by_chance = _agreement_by_chance(shares)
        kappa = (observed - by_chance) / (1 - by_chance)
    return np.asarray(np.where(by_chance < 1, kappa, np.nan))


def _agreement_by_chance(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (...) the sum over labels of both columns' shares of it, from tables (..., 9)."""
    table = _square(shares)
    return np.asarray((table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1))


def _square(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    return cells.reshape(*cells.shape[:-1], len(LABELS), len(LABELS))


def _accuracy(votes: Sequence[Votes]) -> Estimate:
    labelled = [one for one in votes if one.pair.label in (0.0, 1.0)]
    return _by_vote(labelled, lambda pair, vote: 1 - abs(vote - _label(pair)))


def _kappa(votes: Sequence[Votes]) -> Estimate:
    """Return kappa; without an interval where hardly a cluster has an unusual label or verdict.

    Resamples of few disagreements show too little: there the interval is at least as wide as that
    of the agreement p_o makes it, by kappa = 1 - (1 - p_o) / (1 - p_e) at the p_e of the data.
    """
    rows = [(one.pair, vote) for one in votes if one.pair.label is not None for vote in one.said]
    verdicts = np.array([vote for _, vote in rows])
    labels = np.array([_label(pair) for pair, _ in rows])
    if len(set(labels.tolist())) < 2:  # labels that never change leave nothing to agree on
        return Estimate(math.nan, math.nan, math.nan, len(rows))
    clusters = [pair.cluster for pair, _ in rows]
    table = _table_rows(verdicts, labels)
    found = totals_estimate(_kappa_of_tables, table, clusters, resamples=RESAMPLES)
    if math.isnan(found.low):
        return found
    if min(_n_unusual(column, clusters) for column in (verdicts, labels)) < SPARSE_CLUSTERS:
        return dataclasses.replace(found, low=math.nan, high=math.nan)
    agrees = (verdicts == labels).astype(np.float64)
    if _n_unusual(agrees, clusters) >= MIN_CLUSTERS:
        return found
    agreement = share_estimate(agrees, clusters)
    scale = 1 - float(_agreement_by_chance(table.mean(axis=0)))
    low, high = (1 - (1 - bound) / scale for bound in (agreement.low, agreement.high))
    return dataclasses.replace(found, low=min(low, found.low), high=max(high, found.high))


def _n_unusual(column: NDArray[np.float64], clusters: Sequence[str]) -> int:
    """Return in how many clusters a column has anything but its most common value."""
    values, counts = np.unique(column, return_counts=True)
    return len({clusters[row] for row in np.flatnonzero(column != values[counts.argmax()])})


def _first(votes: Sequence[Votes]) -> Estimate:
    """Return the preference for the place shown first, over pairs with a vote in both orders."""
    both = [one for one in votes if one.first is not None and one.second is not None]
    values = [(one.first + 1 - one.second) / 2 for one in both]  # type: ignore[operator]
    return share_estimate(values, [one.pair.cluster for one in both])


def _pull(votes: Sequence[Votes], trait: Callable[[str, str], int]) -> Pull:
    """Return the pull of the answer that has more of a trait, told by its arm and its text."""
    signs = {}
    for pair in (one.pair for one in votes):
        own, other = trait(pair.arm, pair.answer), trait(pair.against, pair.other_answer)
        signs[pair.pair_id] = (own > other) - (own < other)
    chosen = [one for one in votes if signs[one.pair.pair_id] and one.said]
    labelled = [one for one in chosen if one.pair.label is not None]

    def towards(pair: Pair, preference: float) -> float:
        return preference if signs[pair.pair_id] > 0 else 1 - preference

    labels = [towards(one.pair, _label(one.pair)) for one in labelled]
    return Pull(
        _by_vote(chosen, towards),
        share_estimate(labels, [one.pair.cluster for one in labelled]),
    )


def _fooled(votes: Sequence[Votes], lure: str) -> Estimate:
    lured = [one for one in votes if lure and lure in (one.pair.arm, one.pair.against)]
    return _by_vote(lured, lambda pair, vote: float(vote == float(pair.arm == lure)))


def _by_vote(votes: Sequence[Votes], value: Callable[[Pair, float], float]) -> Estimate:
    rows = [(one.pair, vote) for one in votes for vote in one.said]
    return share_estimate([value(*row) for row in rows], [pair.cluster for pair, _ in rows])


def _by_pair(votes: Sequence[Votes], value: Callable[[Votes], bool | None]) -> Estimate:
    rows = [(one.pair, told) for one in votes if (told := value(one)) is not None]
    return share_estimate([float(told) for _, told in rows], [pair.cluster for pair, _ in rows])


def _label(pair: Pair) -> float:
    assert pair.label is not None, pair.pair_id
    return pair.label
