"""Planning: how many items decide an axis, and what a number of items can tell apart.

In: assumptions about rates, clustering and how alike the arms answer. Out: numbers of items and
clusters, or the smallest difference that they show. Light to import: `imitate check` uses it.

Glossary: C clusters; m items per cluster; N = C m items; rates and differences are shares in
[0, 1]; `alpha` is one-sided; `power` is the chance that one axis is decided as it truly is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

__all__ = [
    "DEFAULT_POWER",
    "ItemsNeeded",
    "PlannedAxis",
    "clusters_for",
    "contrast_deviation",
    "items_to_resolve",
    "minimal_detectable_effect",
]

DEFAULT_POWER = 0.99
"""Chance that one axis is decided as it is. A verdict rests on three and should be right in 95 %:
with 0.98 "closed both" is at 94.5 to 95.3 % in the simulations of docs/verdict.md."""

MIN_CLUSTERS = 10
"""Fewer are refused: no interval can be trusted."""

PLANNED_CLUSTERS = 30
"""Never plan for fewer: their intervals lean on small-sample theory."""

_FORMATS = ("plain", "chat")  # a loss must show in both


@dataclasses.dataclass(frozen=True)
class PlannedAxis:
    """What is assumed of one axis before any item is answered.

    Attributes:
        base: Share of items that the base answers rightly.
        gap: Teacher minus base.
        effect: Imitator minus base: 0 where imitation is expected to add nothing.
        overlap: How alike arms answer: 0 independently, 1 one arm's right answers hold the other's.
        icc: Intra-cluster correlation of an item's differences between arms.
        items_per_cluster: Mean number of items in a cluster.
    """

    base: float = 0.4
    gap: float = 0.3
    effect: float = 0.0
    overlap: float = 0.5
    icc: float = 0.1
    items_per_cluster: float = 1.0


@dataclasses.dataclass(frozen=True)
class ItemsNeeded:
    """How many items decide an axis; None where no number does.

    Attributes:
        n_items: Items, in whole clusters.
        n_clusters: Clusters.
        decision: What the assumptions make true: closed, gain, no gain or loss.
        limited_by: Which comparison asks for the most items.
    """

    n_items: int | None
    n_clusters: int | None
    decision: str
    limited_by: str


@dataclasses.dataclass(frozen=True)
class _Comparison:
    name: str
    distance: float  # from the truth to the hypothesis that must be rejected
    weights: tuple[float, float, float]  # of base, imitator, teacher
    alpha: float


def items_to_resolve(
    planned: PlannedAxis,
    *,
    margin: float,
    share: float,
    alpha: float = 0.05,
    power: float = DEFAULT_POWER,
) -> ItemsNeeded:
    """Return how many items decide an axis as the assumptions make it.

    Args:
        planned: The assumptions.
        margin: Smallest difference that counts, as a share (0.05 for 5 points).
        share: Part of the gap that counts as closing it.
        alpha: One-sided error of each bound.
        power: Chance of the true decision.
    """
    decision, options = _comparisons(planned, margin, share, alpha)
    rates = (planned.base, planned.base + planned.effect, planned.base + planned.gap)
    clusters, limited_by = min(
        max((_clusters_of(c, rates, planned, power, len(all_of)), c.name) for c in all_of)
        for all_of in options
    )
    if math.isinf(clusters):
        return ItemsNeeded(None, None, decision, limited_by)
    n_clusters = max(PLANNED_CLUSTERS, int(clusters))
    return ItemsNeeded(
        math.ceil(n_clusters * planned.items_per_cluster), n_clusters, decision, limited_by
    )


def clusters_for(distance: float, deviation: float, *, alpha: float, power: float) -> int:
    """Return how many clusters show that a mean is off a hypothesis by `distance`.

    Args:
        distance: Truth minus hypothesis.
        deviation: Standard deviation of a cluster's mean.
        alpha: One-sided error.
        power: Chance of showing it.

    Source: the least C with (t_alpha + t_power) deviation / sqrt(C) <= distance, t with C - 1
    degrees of freedom; within a few clusters of the non-central t of statsmodels'
    `tt_solve_power`.
    """
    normal = float(stdtrit(math.inf, alpha) + stdtrit(math.inf, 1 - power))
    n_clusters = max(2, math.ceil((normal * deviation / distance) ** 2))
    while minimal_detectable_effect(n_clusters, deviation, alpha=alpha, power=power) > distance:
        n_clusters += 1
    return n_clusters


def minimal_detectable_effect(
    n_clusters: int, deviation: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest true difference that C clusters show with the given power.

    Args:
        n_clusters: Clusters.
        deviation: Standard deviation of a cluster's mean (`contrast_deviation`).
        alpha: One-sided error.
        power: Chance of showing it.
    """
    reach = -float(stdtrit(n_clusters - 1, alpha)) - float(stdtrit(n_clusters - 1, 1 - power))
    return float(reach * deviation / n_clusters**0.5)


def contrast_deviation(
    rates: Sequence[float],
    weights: Sequence[float],
    *,
    overlap: float,
    icc: float = 0.0,
    items_per_cluster: float = 1.0,
) -> float:
    """Return the standard deviation of a cluster's mean contrast between 0/1 scores.

    Arms share an item's luck with probability `overlap`, which unlike a correlation is feasible
    for any two rates: cov(a, b) = overlap (min(p_a, p_b) - p_a p_b).

    Source: design effect 1 + (m - 1) icc, Kish (1965).
    """
    p, w = np.asarray(rates, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    covariance = overlap * (np.minimum.outer(p, p) - np.outer(p, p))
    np.fill_diagonal(covariance, p * (1 - p))
    variance = float(w @ covariance @ w) * (1 + (items_per_cluster - 1) * icc) / items_per_cluster
    return float(variance**0.5)


def _clusters_of(
    comparison: _Comparison,
    rates: tuple[float, float, float],
    planned: PlannedAxis,
    power: float,
    n_together: int,
) -> float:
    """Clusters for one of `n_together` comparisons that all must succeed; inf if it cannot."""
    if comparison.distance <= 0:
        return math.inf
    deviation = contrast_deviation(
        rates,
        comparison.weights,
        overlap=planned.overlap,
        icc=planned.icc,
        items_per_cluster=planned.items_per_cluster,
    )
    each = 1 - (1 - power) / n_together  # Bonferroni: all succeed with at least `power`
    return clusters_for(comparison.distance, deviation, alpha=comparison.alpha, power=each)


def _comparisons(
    planned: PlannedAxis, margin: float, share: float, alpha: float
) -> tuple[str, list[list[_Comparison]]]:
    """The true decision, and the sets of comparisons of which one set must succeed whole."""
    effect, gap = planned.effect, planned.gap
    informative = _Comparison("teacher over base", gap - 2 * margin, (-1, 0, 1), alpha)
    closed = _Comparison("closed", effect - share * gap, (share - 1, 1, -share), alpha)
    gain = _Comparison("gain", effect, (-1, 1, 0), alpha / 2)  # either of two axes makes "partly"
    no_gain = _Comparison("no gain", margin - effect, (-1, 1, 0), alpha)
    losses = [_Comparison(f"loss, {f}", -margin - effect, (-1, 1, 0), alpha) for f in _FORMATS]
    if closed.distance > 0 and informative.distance > 0:
        return "closed", [[closed, informative]]
    if effect >= margin:
        return "gain", [[gain]]
    if effect > 0:  # true gain, smaller than what counts: either statement is true
        return "gain below the margin", [[gain], [no_gain, informative]]
    if effect < -margin:
        return "loss", [losses]
    return "no gain", [[no_gain, informative]]
