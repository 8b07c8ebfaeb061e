"""A number with its interval, by prompt: shares, and statistics that are no plain mean.

In: values in [0, 1] or a statistic of chosen rows, and the cluster of every row. Out: the value
and its 95 % interval; none where fewer than `MIN_CLUSTERS` clusters stand behind it.

Glossary: N rows; C clusters (prompts); R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from evals.power import MIN_CLUSTERS
from evals.stats import cluster_sums, share_interval

__all__ = [
    "Estimate",
    "bootstrap_estimate",
    "expanded_interval",
    "rows_by_cluster",
    "share_estimate",
]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval, and the number of rows behind it; NaN where undefined."""

    value: float
    low: float
    high: float
    n: int


def bootstrap_estimate(
    statistic: Callable[[NDArray[np.int64]], float],
    clusters: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return a statistic with its expanded percentile interval over resampled clusters.

    Clusters are taken in sorted order, so that the order of the rows decides nothing.

    Source: Davison and Hinkley (1997), section 5.3.1, with clusters as the unit; the levels that
    few clusters ask for are those of `expanded_interval`.

    Args:
        statistic: Maps row indices, repeated ones included, to a number, NaN where undefined.
        clusters: (N,) the cluster of every row.
        resamples: R; resamples in which the statistic is undefined are left out.
        seed: Seed of the resampling.
    """
    rows = rows_by_cluster(clusters)
    value = statistic(np.concatenate(rows)) if rows else math.nan
    if len(rows) < MIN_CLUSTERS or math.isnan(value):
        return Estimate(value, math.nan, math.nan, len(clusters))
    rng = np.random.default_rng(seed)
    draws = [
        statistic(np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))]))
        for _ in range(resamples)
    ]
    return Estimate(value, *expanded_interval(draws, len(rows)), len(clusters))


def expanded_interval(draws: Sequence[float], n_clusters: int) -> tuple[float, float]:
    """Return the 95 % expanded percentile interval of draws over so many resampled clusters.

    Source: Hesterberg (2015), as in `Contrast.quantile`. NaN draws are left out.
    """
    defined = [draw for draw in draws if not math.isnan(draw)]
    if n_clusters < MIN_CLUSTERS or not defined:
        return math.nan, math.nan
    widening = (n_clusters / (n_clusters - 1)) ** 0.5
    levels = ndtr(stdtrit(n_clusters - 1, (0.025, 0.975)) * widening)
    low, high = np.quantile(defined, levels)
    return float(low), float(high)


def share_estimate(values: ArrayLike, clusters: Sequence[str]) -> Estimate:
    """Return the mean of values in [0, 1] with an interval that stays in there, by cluster."""
    if not len(clusters):
        return Estimate(math.nan, math.nan, math.nan, 0)
    sample = cluster_sums(np.asarray(values, dtype=np.float64), np.asarray(clusters))
    is_enough = sample.n_clusters >= MIN_CLUSTERS
    low, high = share_interval(sample) if is_enough else (math.nan, math.nan)
    return Estimate(float(sample.values[0]), low, high, len(clusters))


def rows_by_cluster(clusters: Sequence[str]) -> list[NDArray[np.int64]]:
    """Return the rows of every cluster, clusters in the order of their names."""
    if not len(clusters):
        return []
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
