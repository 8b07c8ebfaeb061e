"""A number with its interval, by resampling prompts: for statistics that are no plain mean.

In: a statistic of chosen rows and the cluster of every row. Out: its value, and the 2.5 and 97.5
percentiles over resampled clusters. Means of Scores have better tools in `evals.stats`.

Glossary: N rows; C clusters (prompts); R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "bootstrap_estimate"]

FEWEST_CLUSTERS = 3


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
    """Return a statistic with its percentile interval over resampled clusters.

    Clusters are taken in sorted order, so that the order of the rows decides nothing.

    Source: Davison and Hinkley (1997), section 5.3.1, with clusters as the unit.

    Args:
        statistic: Maps row indices, repeated ones included, to a number, NaN where undefined.
        clusters: (N,) the cluster of every row.
        resamples: R; resamples in which the statistic is undefined are left out.
        seed: Seed of the resampling.
    """
    rows = _rows_by_cluster(clusters)
    value = statistic(np.concatenate(rows)) if rows else math.nan
    if len(rows) < FEWEST_CLUSTERS or math.isnan(value):
        return Estimate(value, math.nan, math.nan, len(clusters))
    rng = np.random.default_rng(seed)
    draws = [
        statistic(np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))]))
        for _ in range(resamples)
    ]
    defined = [draw for draw in draws if not math.isnan(draw)]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined else (math.nan, math.nan)
    return Estimate(value, float(low), float(high), len(clusters))


def _rows_by_cluster(clusters: Sequence[str]) -> list[NDArray[np.int64]]:
    """Return the rows of every cluster, clusters in the order of their names."""
    if not len(clusters):
        return []
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
