"""A number with its interval, by prompt: shares, and statistics that are no plain mean.

In: values in [0, 1] or a statistic of chosen rows, and the cluster of every row. Out: the value
and its 95 % interval; none where fewer than `MIN_CLUSTERS` clusters stand behind it.

Glossary: N rows; C clusters (prompts); R resamples; S sums that a statistic is a function of.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from evals.power import MIN_CLUSTERS
from evals.stats import (
    CELLS_AT_ONCE,
    cluster_sums,
    excess_kurtosis,
    freedom_of_variance,
    resampled_counts,
    share_interval,
)

__all__ = [
    "Estimate",
    "bootstrap_estimate",
    "expanded_interval",
    "mean_over_seeds",
    "resampled_totals",
    "rows_by_cluster",
    "share_estimate",
    "totals_estimate",
]

FloatArray = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval, and the number of rows behind it; NaN where undefined."""

    value: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, Any]:
        """Return it as `value`, `ci95` and `n`; null where it is undefined."""
        is_defined = not math.isnan(self.value)
        has_interval = is_defined and not math.isnan(self.low)
        return {
            "value": self.value if is_defined else None,
            "ci95": [self.low, self.high] if has_interval else None,
            "n": self.n,
        }

    def as_text(self, scale: float, digits: int) -> str:
        """Return `value [low, high]`, scaled; `-` where it is undefined."""
        if math.isnan(self.value):
            return "-"
        value = f"{scale * self.value:.{digits}f}"
        if math.isnan(self.low):
            return value
        return f"{value} [{scale * self.low:.{digits}f}, {scale * self.high:.{digits}f}]"


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
    few clusters ask for are those of `expanded_interval`. How heavy the tails are is seen by
    leaving out every cluster once.

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
    drawn = (rng.integers(0, len(rows), len(rows)) for _ in range(resamples))
    draws = [statistic(chosen) for chosen in _rows_of_clusters(rows, drawn)]
    others = (np.delete(np.arange(len(rows)), one) for one in range(len(rows)))
    left = np.array([statistic(chosen) for chosen in _rows_of_clusters(rows, others)])
    return Estimate(value, *expanded_interval(draws, len(rows), left), len(clusters))


def totals_estimate(
    statistic: Callable[[FloatArray], FloatArray],
    rows: FloatArray,
    clusters: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return a function of sums over rows with its interval: `bootstrap_estimate`, all at once.

    Args:
        statistic: Maps (..., S) sums to (...) numbers, NaN where undefined.
        rows: (N, S) what each row adds to the sums.
        clusters: (N,) the cluster of every row.
        resamples: R, the same resamples that `bootstrap_estimate` draws.
        seed: Seed of the resampling.
    """
    value = float(statistic(rows.sum(axis=0))) if len(clusters) else math.nan
    members = rows_by_cluster(clusters)
    if len(members) < MIN_CLUSTERS or math.isnan(value):
        return Estimate(value, math.nan, math.nan, len(clusters))
    totals = np.array([rows[one].sum(axis=0) for one in members])
    draws = statistic(
        resampled_totals(totals, [np.arange(len(members))], resamples=resamples, seed=seed)
    )
    left = statistic(totals.sum(axis=0) - totals)
    return Estimate(value, *expanded_interval(draws, len(members), left), len(clusters))


def resampled_totals(
    totals: FloatArray, strata: Sequence[NDArray[np.int64]], *, resamples: int, seed: int
) -> FloatArray:
    """Return (R, S) sums over clusters drawn anew, those of each stratum among themselves.

    Args:
        totals: (C, S) the sums of every cluster.
        strata: The clusters of every stratum, 0 to C - 1.
        resamples: R.
        seed: Seed of the resampling.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // len(totals))
    found = np.zeros((resamples, totals.shape[1]))
    for start in range(0, resamples, at_once):
        rows = found[start : start + at_once]
        for part in strata:
            if len(part):
                rows += resampled_counts(rng, len(rows), len(part)) @ totals[part]
    return found


def expanded_interval(
    draws: ArrayLike, n_clusters: int, left_out: ArrayLike = ()
) -> tuple[float, float]:
    """Return the 95 % expanded percentile interval of draws over so many resampled clusters.

    Source: Hesterberg (2015), as in `Contrast.quantile`. NaN draws are left out.

    Args:
        draws: (R,) the statistic under resampling.
        n_clusters: C.
        left_out: (C,) the statistic without each of the clusters; shows how heavy the tails are of
            what clusters add (`freedom_of_variance`), which are taken as normal if not given.
    """
    defined, known = (row[~np.isnan(row)] for row in map(np.asarray, (draws, left_out)))
    if n_clusters < MIN_CLUSTERS or not len(defined):
        return math.nan, math.nan
    widening = (n_clusters / (n_clusters - 1)) ** 0.5
    freedom = n_clusters - 1.0
    if len(known):
        freedom = float(freedom_of_variance(freedom, n_clusters, excess_kurtosis(known)))
    levels = ndtr(stdtrit(freedom, (0.025, 0.975)) * widening)
    low, high = np.quantile(defined, levels, method="weibull")
    return float(low), float(high)


def share_estimate(values: ArrayLike, clusters: Sequence[str]) -> Estimate:
    """Return the mean of values in [0, 1] with an interval that stays in there, by cluster."""
    if not len(clusters):
        return Estimate(math.nan, math.nan, math.nan, 0)
    sample = cluster_sums(np.asarray(values, dtype=np.float64), np.asarray(clusters))
    is_enough = sample.n_clusters >= MIN_CLUSTERS
    value = float(sample.values[0])
    n_most = _worth(np.asarray(values, dtype=np.float64), clusters)
    low, high = share_interval(sample, n_most=n_most) if is_enough else (math.nan, math.nan)
    return Estimate(value, low, high, len(clusters))


def mean_over_seeds(values: Sequence[float]) -> Estimate:
    """Return the mean of one number a seed, with its t interval; none for fewer than two seeds."""
    n = len(values)
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Estimate(mean, math.nan, math.nan, n)
    reach = float(stdtrit(n - 1, 0.975)) * float(np.std(values, ddof=1)) / n**0.5
    return Estimate(mean, mean - reach, mean + reach, n)


def _worth(values: FloatArray, clusters: Sequence[str]) -> float:
    """Return how many independent 0/1 values of the same mean have the error of these.

    More than there are only where that error is well seen: in `MIN_CLUSTERS` clusters or more that
    have anything but the most common value.
    """
    is_known = ~np.isnan(values)
    kept, names = values[is_known], np.asarray(clusters)[is_known]
    found, counts = np.unique(kept, return_counts=True)
    if not len(kept) or len(set(names[kept != found[counts.argmax()]])) < MIN_CLUSTERS:
        return float(len(kept))
    return len(kept) * max(1.0, float(kept.mean() * (1 - kept.mean()) / kept.var()))


def rows_by_cluster(clusters: Sequence[str]) -> list[NDArray[np.int64]]:
    """Return the rows of every cluster, clusters in the order of their names."""
    if not len(clusters):
        return []
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def _rows_of_clusters(
    rows: Sequence[NDArray[np.int64]], drawn: Iterable[NDArray[np.int64]]
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of every draw of clusters, cluster after cluster."""
    order = np.concatenate(rows)
    sizes = np.array([len(one) for one in rows])
    starts = sizes.cumsum() - sizes
    for chosen in drawn:
        lengths = sizes[chosen]
        ends = lengths.cumsum()
        yield order[np.arange(ends[-1]) + np.repeat(starts[chosen] - ends + lengths, lengths)]
