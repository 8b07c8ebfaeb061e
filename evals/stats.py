"""Paired, clustered statistics on plain arrays: joint bootstrap, intervals, tests, error control.

In: scores as arrays with the cluster and task of every item. Out: contrasts between arms with
their errors, bounds and p-values. Nothing here knows of models, records or verdicts.

Glossary and shapes:
    A  arms; N  items; C  clusters (the unit of randomisation); K  tasks; R  resamples
    values  (A, N) float in [0, 1], NaN where an item failed
    sums    (C, K, A) sums of values; counts (C, K) number of items
    draws   (R, A) axis values under resampling
    weights (A,) of a contrast, such as +1 imitator, -1 base

The *axis value* of an arm is the mean over tasks of its mean over the items of the task. Tasks are
fixed: another run would ask the same tasks about other clusters. Clusters are resampled within
their task, and items travel with their cluster. Tasks that share clusters (one entity asked about
in two tasks) form one *stratum*, within which clusters are resampled for all its tasks at once.

Missing values are handled in one way: `cluster_sums` drops an item that is NaN in any of the arms
it is given, so that all these arms are compared on the same items, and counts what it dropped.

All values, differences and errors are shares in [0, 1] or [-1, 1], never points or percent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr, stdtrit

__all__ = [
    "ClusterSums",
    "Contrast",
    "add_published",
    "average_over_seeds",
    "cluster_sums",
    "contrast",
    "equivalence_p",
    "excess_kurtosis",
    "freedom_of_variance",
    "guarded_equivalence_p",
    "holm",
    "joint_bootstrap",
    "mcnemar_p",
    "resampled_counts",
    "share_interval",
    "sign_flip_p",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CELLS_AT_ONCE = 50_000
"""Resamples times clusters held at once, 400 kB: small enough for the cache."""

SPARSE_CLUSTERS = 5
"""Fewer clusters than this off the most common difference: a bootstrap sees too little."""


@dataclasses.dataclass(frozen=True, eq=False)
class ClusterSums:
    """All that a cluster bootstrap needs to know of A arms on one axis.

    Attributes:
        sums: (C, K, A) sums of values by cluster and task.
        counts: (C, K) number of items by cluster and task, the same for every arm.
        strata: (C,) the stratum of each cluster, 0 to S - 1.
        n_dropped: Items left out because an arm failed on them.
    """

    sums: FloatArray
    counts: FloatArray
    strata: IntArray
    n_dropped: int

    @property
    def n_items(self) -> int:
        """The number of items on which every arm has a value."""
        return int(self.counts.sum())

    @property
    def n_clusters(self) -> int:
        """The number of clusters with at least one such item."""
        return len(self.counts)

    @cached_property
    def values(self) -> FloatArray:
        """(A,) axis values: means over tasks of means over items."""
        by_task: FloatArray = self.sums.sum(axis=0) / self.counts.sum(axis=0)[:, None]
        return np.asarray(by_task.mean(axis=0))

    @cached_property
    def influence(self) -> FloatArray:
        """(C, A) what each cluster adds to an axis value, to first order; columns sum to 0.

        Source: Taylor linearisation of a ratio of totals, Särndal, Swensson and Wretman (1992),
        section 5.5; averaged over tasks.
        """
        totals = self.counts.sum(axis=0)
        means = self.sums.sum(axis=0) / totals[:, None]
        residuals = self.sums - self.counts[:, :, None] * means
        return np.asarray((residuals / totals[:, None]).mean(axis=1))

    @cached_property
    def clusters_in_effect(self) -> float:
        """Clusters, as if each weighed as much as one of the thinnest stratum.

        All of them where strata weigh by their clusters; fewer where a task of few clusters weighs
        as much as one of many.
        """
        weight = (self.counts / self.counts.sum(axis=0)).sum(axis=1) / self.counts.shape[1]
        return float((np.bincount(self.strata) / np.bincount(self.strata, weights=weight)).min())

    @cached_property
    def small_sample(self) -> tuple[FloatArray, FloatArray]:
        """By stratum: the factor that undoes the bias of the raw variance, degrees of freedom.

        Source: clusters that share one variance and weigh w (sum 1): the squared residuals of
        their weighted mean add up to 1 - 2 sum w^3 / sum w^2 + sum w^2 of the truth (Bell and
        McCaffrey 2002, specialised to a mean), with Kish's 1 / sum w^2 clusters in effect. For
        equal clusters C / (C - 1) and C - 1.
        """
        share = (self.counts / self.counts.sum(axis=0)).sum(axis=1)
        share /= np.bincount(self.strata, weights=share)[self.strata]
        second, third = (np.bincount(self.strata, weights=share**power) for power in (2, 3))
        kept = 1 - 2 * third / second + second
        return 1 / np.maximum(kept, 1e-9), np.maximum(1 / second - 1, 1e-9)


def cluster_sums(
    values: FloatArray, clusters: npt.ArrayLike, tasks: npt.ArrayLike | None = None
) -> ClusterSums:
    """Return the sums by cluster and task of (A, N) values, on items that no arm failed.

    Args:
        values: (A, N) or (N,) scores; NaN marks a failed item.
        clusters: (N,) cluster ids of any sortable kind.
        tasks: (N,) task ids; one task if not given.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    is_complete = ~np.isnan(values).any(axis=0)
    kept = values[:, is_complete]
    cluster = _codes(np.asarray(clusters)[is_complete])
    task = _codes(np.zeros(len(cluster)) if tasks is None else np.asarray(tasks)[is_complete])
    n_clusters, n_tasks = (int(codes.max(initial=-1)) + 1 for codes in (cluster, task))
    cell, n_cells = cluster * n_tasks + task, n_clusters * n_tasks
    counts = np.bincount(cell, minlength=n_cells).reshape(n_clusters, n_tasks).astype(np.float64)
    by_arm = [np.bincount(cell, weights=row, minlength=n_cells) for row in kept]
    sums = np.asarray(np.stack(by_arm, axis=-1), dtype=np.float64)
    return ClusterSums(
        sums=sums.reshape(n_clusters, n_tasks, len(values)),
        counts=counts,
        strata=_strata(counts > 0),
        n_dropped=int((~is_complete).sum()),
    )


def joint_bootstrap(sample: ClusterSums, *, resamples: int, seed: int) -> FloatArray:
    """Return (R, A) axis values of all arms under the same resampled clusters.

    Items travel with their cluster. Resampling them again would count their variance twice: a
    nominal 95 % interval then covers 97 to 98 % (docs/verdict.md).

    A resample that holds no item of a task (possible only where tasks share clusters) is left out.

    Source: Davison and Hinkley (1997), section 3.8, strategy 1; Field and Welsh (2007). Clusters
    are drawn within strata, because tasks are fixed.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // sample.n_clusters)
    rows = [
        _resampled_values(sample, rng, min(at_once, resamples - start))
        for start in range(0, resamples, at_once)
    ]
    draws: FloatArray = np.concatenate(rows)
    return draws[np.isfinite(draws).all(axis=1)]


def resampled_counts(rng: np.random.Generator, rows: int, n: int) -> FloatArray:
    """Return (rows, n) how often each of n clusters is drawn in n draws with replacement."""
    drawn = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
    times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
    return np.asarray(times, dtype=np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Contrast:
    """A weighted sum of axis values with its errors.

    Attributes:
        value: The contrast in the data.
        standard_error: Clustered, corrected for the number of clusters and their sizes.
        degrees_of_freedom: Satterthwaite's, over strata, less where few clusters carry it.
        draws: (R,) the contrast under resampling, in the order of `joint_bootstrap`.
        widening: Standard error over the one that the bootstrap estimates, at least 1.
        n_clusters: Clusters behind it.
        clusters_in_effect: `ClusterSums.clusters_in_effect`.
        is_sparse: Nearly all clusters agree on it, so that resampling shows too little.
        seed_error: Standard error from the training seeds; 0 where they do not enter.
        n_seeds: Training seeds averaged over.
    """

    value: float
    standard_error: float
    degrees_of_freedom: float
    draws: FloatArray
    widening: float
    n_clusters: int
    clusters_in_effect: float
    is_sparse: bool = False
    seed_error: float = 0.0
    n_seeds: int = 1

    def lower(self, alpha: float) -> float:
        """The one-sided 1 - alpha lower confidence bound."""
        return self.value - self._reach(self.value - self.quantile(alpha), alpha)

    def upper(self, alpha: float) -> float:
        """The one-sided 1 - alpha upper confidence bound."""
        return self.value + self._reach(self.quantile(1 - alpha) - self.value, alpha)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The two-sided confidence interval of a level."""
        alpha = (1 - level) / 2
        return self.lower(alpha), self.upper(alpha)

    def one_sided_p(self, null: float = 0.0) -> float:
        """The p of "not above `null`", from t on the clustered standard error.

        Where every cluster is alike, the exact p of seeing none of the clusters that would take the
        value down to `null`: those of `_reach`, and never less than that of all signs agreeing.
        Over training seeds the least alpha at which the lower bound lies above `null`, if that is
        larger.
        """
        if self.standard_error == 0:
            unseen = min(1.0, max(0.0, self.value - null))
            p = float(max((1 - unseen) ** self.clusters_in_effect, 2.0**-self.n_clusters))
        else:
            p = float(stdtr(self.degrees_of_freedom, (null - self.value) / self.standard_error))
        return p if self.n_seeds == 1 else max(p, self._least_alpha(null))

    def two_sided_p(self) -> float:
        """The p of a zero contrast."""
        mirrored = dataclasses.replace(self, value=-self.value, draws=-self.draws)
        return min(1.0, 2 * min(self.one_sided_p(), mirrored.one_sided_p()))

    def quantile(self, probability: float) -> float:
        """The quantile of the draws at the level that the number of clusters asks for.

        Source: Hesterberg (2015), "What teachers should know about the bootstrap", the expanded
        percentile interval. With strata and unequal clusters, the ratio of the corrected to the
        bootstrap's own standard error replaces sqrt(C / (C - 1)), and Satterthwaite's degrees of
        freedom replace C - 1. Of R draws in order, the (R + 1) p-th (Davison and Hinkley 1997,
        section 2.4.1): the R p-th leaves 0.2 points more outside where R is 999.
        """
        if self.standard_error == 0:
            return self.value
        level = float(ndtr(stdtrit(self.degrees_of_freedom, probability) * self.widening))
        ranked = self._ranked_draws
        place = level * (len(ranked) + 1) - 1
        below, part = divmod(min(max(place, 0.0), len(ranked) - 1), 1)
        pair = ranked[int(below)], ranked[min(int(below) + 1, len(ranked) - 1)]
        return float(pair[0] + part * (pair[1] - pair[0]))

    def _least_alpha(self, null: float) -> float:
        """The least alpha, up to a half, at which `lower` lies above a value."""
        least, most = 0.0, 0.5
        for _ in range(40):
            alpha = (least + most) / 2
            least, most = (least, alpha) if self.lower(alpha) > null else (alpha, most)
        return most

    @cached_property
    def _ranked_draws(self) -> FloatArray:
        return np.sort(self.draws)

    def _reach(self, distance: float, alpha: float) -> float:
        """The distance from value to bound, with sparse data and training seeds accounted for.

        Sources: the exact bound on a rate of which none of C clusters shows an instance,
        1 - alpha^(1/C), "the rule of three" (Hanley and Lippman-Hand 1983). Over strata, with
        rates p_s and weights w_s, it holds with the least C_s / w_s: -log(1 - p) is convex, so that
        of sum w_s p_s is at most the sum of w_s times that of p_s (Jensen). Banerjee (1961):
        sqrt(t1^2 s1^2 + t2^2 s2^2) covers at least the nominal share.
        """
        if self.is_sparse:
            distance = max(distance, 1 - alpha ** (1 / self.clusters_in_effect))
        if self.n_seeds == 1:
            return distance
        return float(np.hypot(distance, stdtrit(self.n_seeds - 1, alpha) * self.seed_error))


def contrast(sample: ClusterSums, draws: FloatArray, weights: npt.ArrayLike) -> Contrast:
    """Return a weighted sum of the arms' axis values with its errors.

    Args:
        sample: The arms' data.
        draws: (R, A) what `joint_bootstrap` made of the same data.
        weights: (A,) such as +1 for the imitator, -1 for the base, 0 for the others.

    Source: cluster-robust variance of a mean within each stratum, small samples as in
    `ClusterSums.small_sample`; degrees of freedom over strata, Satterthwaite (1946), less where
    what clusters add has heavy tails. Where hardly any cluster adds anything, the exact bound of
    `Contrast` stands in for that.
    """
    row = np.asarray(weights, dtype=np.float64)
    scores = sample.influence @ row
    raw = np.asarray(np.bincount(sample.strata, weights=scores**2), dtype=np.float64)
    factor, freedom = sample.small_sample
    is_sparse = _is_sparse(sample, row)
    if not is_sparse:
        tails = excess_kurtosis(_on_one_scale(sample, scores, raw))
        freedom = freedom_of_variance(freedom, np.bincount(sample.strata), tails)
    corrected = raw * factor
    total, naive = float(corrected.sum()), float(raw.sum())
    spread = float((corrected**2 / freedom).sum())
    return Contrast(
        value=float(sample.values @ row),
        standard_error=total**0.5,
        degrees_of_freedom=total**2 / spread if spread > 0 else float(freedom.sum()),
        draws=draws @ row,
        widening=(total / naive) ** 0.5 if naive > 0 else 1.0,
        n_clusters=sample.n_clusters,
        clusters_in_effect=sample.clusters_in_effect,
        is_sparse=is_sparse,
    )


def freedom_of_variance(
    freedom: npt.ArrayLike, n: npt.ArrayLike, excess_kurtosis: float
) -> FloatArray:
    """Return the degrees of freedom of a variance estimated from n scores with heavy tails.

    2 / (2 / freedom + excess kurtosis / n), with the freedom of normal scores, such as n - 1. Where
    few clusters carry a mean, as near 0 and 100 %, its variance is known less well than that of
    normal scores. Light tails change nothing.

    Source: the variance of a sample variance and the chi-square that matches it, O'Neill (2014),
    "Some useful moment results in sampling problems".
    """
    normal, size = np.asarray(freedom, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return np.asarray(2 / (2 / normal + max(0.0, excess_kurtosis) / size))


def excess_kurtosis(scores: FloatArray) -> float:
    """Return the excess kurtosis of scores (N,): 0 where they are normal, or all alike."""
    centred = scores - scores.mean()
    variance = float((centred**2).mean())
    return float((centred**4).mean()) / variance**2 - 3 if variance > 0 else 0.0


def average_over_seeds(mean: Contrast, by_seed: Sequence[float]) -> Contrast:
    """Return the contrast of the mean over training seeds, with the spread of the seeds added.

    The spread of seeds over the same items holds some of the items' error too, which counts twice:
    at 300 items a nominal 95 % interval covers 98 to 99 % where seeds hardly differ, and 96 to 97 %
    where they do. Subtracting that part was tried: 93 to 96 %.
    """
    error = float(np.std(by_seed, ddof=1)) / len(by_seed) ** 0.5
    return dataclasses.replace(mean, seed_error=error, n_seeds=len(by_seed))


def add_published(base: Contrast, weight: float, share: float, n: int, *, seed: int) -> Contrast:
    """Return the contrast plus `weight` times an independent published share of n items.

    Source: Jeffreys draws, Beta(x + 1/2, n - x + 1/2) (Brown, Cai and DasGupta 2001): the
    binomial error of a share, and still one where the share is 0 or 1. Welch-Satterthwaite df.
    """
    right = share * n
    drawn = np.random.default_rng(seed).beta(right + 0.5, n - right + 0.5, len(base.draws))
    variance = weight**2 * (right + 0.5) * (n - right + 0.5) / ((n + 1) ** 2 * (n + 2))
    own, total = base.standard_error**2, base.standard_error**2 + variance
    naive = own / base.widening**2 + variance
    shrunk = base.degrees_of_freedom * (total / own) ** 2 if own > 0 else np.inf
    return dataclasses.replace(
        base,
        value=base.value + weight * share,
        standard_error=total**0.5,
        degrees_of_freedom=shrunk,
        draws=base.draws + weight * drawn,
        widening=(total / naive) ** 0.5,
    )


def equivalence_p(difference: Contrast, margin: float) -> float:
    """Return the p of the equivalence test: is the difference within the margin both ways?

    Source: two one-sided tests, Schuirmann (1987), on the clustered standard error.
    """
    mirrored = dataclasses.replace(difference, value=-difference.value, draws=-difference.draws)
    return max(difference.one_sided_p(-margin), mirrored.one_sided_p(-margin))


def guarded_equivalence_p(difference: Contrast, margin: float) -> float:
    """Return the larger of `equivalence_p` and the least alpha at which both bounds are within.

    Where few clusters differ, as near 0 or 100 %, the t-test takes a difference at the margin for
    none in 8 to 12 %: errors are smallest just where the difference happens to be small. The bounds
    see the skew, and allow for what resamples do not show.
    """
    least, most = 0.0, 0.5
    for _ in range(24):
        alpha = (least + most) / 2
        is_within = -margin < difference.lower(alpha) and difference.upper(alpha) < margin
        least, most = (least, alpha) if is_within else (alpha, most)
    return max(most, equivalence_p(difference, margin))


def sign_flip_p(
    differences: npt.ArrayLike, clusters: npt.ArrayLike, *, resamples: int, seed: int
) -> float:
    """Return the two-sided p of a zero mean of paired differences, signs flipped by cluster.

    Exact under a symmetric null whatever the number of clusters; pairs with NaN are dropped.

    Source: Fisher's randomisation test; (1 + hits) / (1 + R) of Phipson and Smyth (2010).
    """
    values = np.asarray(differences, dtype=np.float64)
    is_complete = ~np.isnan(values)
    codes = _codes(np.asarray(clusters)[is_complete])
    sums = np.bincount(codes, weights=values[is_complete])
    rng, at_once = np.random.default_rng(seed), max(1, CELLS_AT_ONCE // max(1, len(sums)))
    n_hits = 0
    for start in range(0, resamples, at_once):
        n_rows = min(at_once, resamples - start)
        signs = rng.choice([-1.0, 1.0], size=(n_rows, len(sums)))
        n_hits += int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12).sum())
    return (1 + n_hits) / (1 + resamples)


def mcnemar_p(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the exact two-sided McNemar p of two paired 0/1 scores; pairs with NaN are dropped.

    It takes items as independent: with clusters, use `sign_flip_p`.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    pair = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)])
    a, b = pair[:, ~np.isnan(pair).any(axis=0)] > 0.5
    table = [[int((a & b).sum()), int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
    return float(mcnemar(table, exact=True).pvalue)


def share_interval(
    sample: ClusterSums, *, level: float = 0.95, n_most: float | None = None
) -> tuple[float, float]:
    """Return the interval of the first arm's axis value, a share: never outside [0, 1].

    Source: Wilson's interval at the number of independent items that would have the clustered
    standard error, p (1 - p) / se^2, scaled for its degrees of freedom by (z / t)^2 (Korn and
    Graubard 1998; with Wilson's interval Franco, Little, Louis and Slud 2019). At most all items;
    where every item is alike, and so no error is seen, the clusters count.

    Args:
        sample: The arm's data.
        level: Of the interval.
        n_most: The most independent 0/1 items that the items are worth: all of them if not given,
            more where scores between 0 and 1 vary less than 0/1 scores would.
    """
    from statsmodels.stats.proportion import proportion_confint

    value = min(1.0, max(0.0, float(sample.values[0])))
    first = np.zeros(len(sample.values))
    first[0] = 1
    found = contrast(sample, np.empty((0, len(first))), first)
    tail = (1 - level) / 2
    scale = float(ndtri(tail) / stdtrit(found.degrees_of_freedom, tail)) ** 2
    n_independent = sample.clusters_in_effect
    if found.standard_error > 0:
        n_independent = min(n_most or sample.n_items, value * (1 - value) / found.standard_error**2)
    low, high = proportion_confint(
        value * n_independent * scale, n_independent * scale, alpha=1 - level, method="wilson"
    )
    return max(0.0, min(value, float(low))), min(1.0, max(value, float(high)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm-adjusted p-values of one declared family, by claim."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return {}
    adjusted = multipletests(list(p_values.values()), method="holm")[1]
    return dict(zip(p_values, map(float, adjusted), strict=True))


def _codes(ids: npt.NDArray[np.generic]) -> IntArray:
    return np.asarray(np.unique(ids, return_inverse=True)[1], dtype=np.int64)


def _strata(is_asked: npt.NDArray[np.bool_]) -> IntArray:
    """(C,) strata from (C, K) "cluster has items in task": tasks that share clusters are linked."""
    is_linked = is_asked.T.astype(np.int64) @ is_asked > 0
    label = np.arange(is_asked.shape[1])
    while True:
        smallest = np.where(is_linked, label, len(label)).min(axis=1, initial=len(label))
        if (smallest == label).all():
            break
        label = smallest
    return _codes(label[is_asked.argmax(axis=1)]) if len(label) else np.zeros(0, dtype=np.int64)


def _resampled_values(sample: ClusterSums, rng: np.random.Generator, rows: int) -> FloatArray:
    """(rows, A) axis values of resampled clusters."""
    n_tasks, n_arms = sample.sums.shape[1:]
    total = np.zeros((rows, n_arms))
    for stratum in range(sample.strata.max(initial=-1) + 1):
        members = np.flatnonzero(sample.strata == stratum)
        tasks = np.flatnonzero(sample.counts[members].any(axis=0))
        times = resampled_counts(rng, rows, len(members))
        counts = times @ sample.counts[np.ix_(members, tasks)]
        sums = times @ sample.sums[np.ix_(members, tasks)].reshape(len(members), -1)
        with np.errstate(invalid="ignore"):
            total += (sums.reshape(rows, len(tasks), n_arms) / counts[:, :, None]).sum(axis=1)
    return np.asarray(total / n_tasks)


def _on_one_scale(sample: ClusterSums, scores: FloatArray, squares: FloatArray) -> FloatArray:
    """Return (C,) what clusters add, as if their sizes and the spread of their strata were alike.

    By the square root of their items: a sum over items that hardly correlate grows like it.
    """
    share = (sample.counts / sample.counts.sum(axis=0)).sum(axis=1)
    spread = np.maximum(squares, np.finfo(np.float64).tiny)[sample.strata]
    weight = share / np.bincount(sample.strata, weights=share)[sample.strata]
    return np.asarray(scores / (spread * weight) ** 0.5)


def _is_sparse(sample: ClusterSums, weights: FloatArray) -> bool:
    """Whether fewer than SPARSE_CLUSTERS clusters differ from the most common contrast."""
    means = (sample.sums @ weights).sum(axis=1) / sample.counts.sum(axis=1)
    most_common = np.unique(means.round(9), return_counts=True)[1].max()
    return bool(len(means) - most_common < SPARSE_CLUSTERS)
