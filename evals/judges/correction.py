"""What a judge says of many pairs, corrected by what it says of the labelled ones among them.

In: a judge's preferences on all pairs, and labels of some. Out: the share of pairs on which the arm
is better, as the judge says it, corrected by its sensitivity and specificity, and by
prediction-powered inference. A judge that errs shifts a mean however many pairs it judges: its
plain interval is about the judge, and not about the arm.

Both corrections hold if the labelled pairs are like the others: labelled at random.

Sources: Rogan and Gladen (1978), equation 2, for the prevalence behind an imperfect test;
Angelopoulos et al., PPI++ (arXiv 2311.01453), section 3, for the power-tuned mean. Intervals of all
three resample clusters, labelled and unlabelled apart, and correct anew in every resample, so the
calibration's error is in them.

Glossary: N pairs; L labelled pairs; R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evals.estimates import Estimate, expanded_interval, rows_by_cluster
from evals.power import MIN_CLUSTERS

__all__ = ["CorrectedMean", "correct_mean", "powered_mean", "rogan_gladen"]

FloatArray = NDArray[np.float64]
Statistic = Callable[[FloatArray, FloatArray], float]


@dataclasses.dataclass(frozen=True)
class CorrectedMean:
    """The share of pairs on which an arm is better, three ways.

    Attributes:
        raw: As the judge says, over all pairs.
        by_errors: Corrected by sensitivity and specificity; undefined where the judge cannot tell.
        powered: By prediction-powered inference.
        labelled: By the labels alone.
        sensitivity: How much of a win the judge gives to an arm that is better.
        specificity: The same where the other is better.
        note: Why a correction cannot be trusted; empty where it can.
    """

    raw: Estimate
    by_errors: Estimate
    powered: Estimate
    labelled: Estimate
    sensitivity: Estimate
    specificity: Estimate
    note: str = ""


def correct_mean(
    judged: ArrayLike,
    labels: ArrayLike,
    clusters: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> CorrectedMean:
    """Return a judge's mean preference for an arm, plain and corrected.

    Args:
        judged: (N,) the judge's preference for the arm, in [0, 1]: of a pair judged in both orders
            their mean.
        labels: (N,) 1 where the arm is better, 0 where the other is; NaN unlabelled.
        clusters: (N,) unit of randomisation of every pair.
        resamples: R.
        seed: Seed of the resampling.
    """
    said, truth = np.asarray(judged, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    draws = _resampled(truth, clusters, resamples, seed)

    def estimate(statistic: Statistic, rows: NDArray[np.bool_]) -> Estimate:
        values = [statistic(said[chosen], truth[chosen]) for chosen in draws]
        names = {cluster for cluster, kept in zip(clusters, rows, strict=True) if kept}
        value, n = statistic(said, truth), int(rows.sum())
        interval = (
            (math.nan, math.nan) if math.isnan(value) else expanded_interval(values, len(names))
        )
        return Estimate(value, *interval, n)

    is_labelled = ~np.isnan(truth)
    found = CorrectedMean(
        raw=estimate(lambda one, _: float(one.mean()), np.ones(len(said), np.bool_)),
        by_errors=estimate(rogan_gladen, is_labelled),
        powered=estimate(powered_mean, is_labelled),
        labelled=estimate(lambda _, other: float(np.nanmean(other)), is_labelled),
        sensitivity=estimate(_sensitivity, truth == 1),
        specificity=estimate(_specificity, truth == 0),
    )
    return dataclasses.replace(found, note=_note(said, truth, draws))


def rogan_gladen(judged: FloatArray, labels: FloatArray) -> float:
    """Return the share of pairs that the arm wins, from the judge's share and its two error rates.

    (p + specificity - 1) / (sensitivity + specificity - 1), not clipped; NaN where the judge tells
    nothing apart or an outcome has no label.
    """
    power = _sensitivity(judged, labels) + _specificity(judged, labels) - 1
    if not power > 0:
        return math.nan
    return float((judged.mean() + _specificity(judged, labels) - 1) / power)


def powered_mean(judged: FloatArray, labels: FloatArray) -> float:
    """Return the mean label: of the labelled pairs, moved by what the judge says of the others.

    mean(labels) + lambda (mean(judged, unlabelled) - mean(judged, labelled)), with the lambda of
    least variance: cov(labels, judged) / (var(judged) (1 + L / U)) for L labelled and U unlabelled
    pairs. With lambda 0 it is the labels' mean.
    """
    is_labelled = ~np.isnan(labels)
    known, seen, rest = labels[is_labelled], judged[is_labelled], judged[~is_labelled]
    if len(known) < 2:
        return math.nan
    spread = float(judged.var())
    if not len(rest) or spread == 0:
        return float(known.mean())
    shared = float(np.cov(known, seen)[0, 1])
    weight = shared / (spread * (1 + len(known) / len(rest)))
    return float(known.mean() + weight * (rest.mean() - seen.mean()))


def _sensitivity(judged: FloatArray, labels: FloatArray) -> float:
    rows = labels == 1
    return float(judged[rows].mean()) if rows.any() else math.nan


def _specificity(judged: FloatArray, labels: FloatArray) -> float:
    rows = labels == 0
    return float(1 - judged[rows].mean()) if rows.any() else math.nan


def _note(said: FloatArray, truth: FloatArray, draws: Sequence[NDArray[np.int64]]) -> str:
    power = [
        _sensitivity(said[one], truth[one]) + _specificity(said[one], truth[one]) - 1
        for one in draws
    ]
    if not draws:
        return f"fewer than {MIN_CLUSTERS} clusters: no interval can be trusted"
    if not np.nanquantile(power, 0.025) > 0 or np.isnan(power).mean() > 0.01:
        return (
            "the judge cannot be shown to tell better from worse: its error rates correct nothing"
        )
    return ""


def _resampled(
    truth: FloatArray, clusters: Sequence[str], resamples: int, seed: int
) -> list[NDArray[np.int64]]:
    """Return rows of resampled clusters, those with a label and those without drawn apart."""
    rows = rows_by_cluster(clusters)
    if len(rows) < MIN_CLUSTERS:
        return []
    strata = [
        [one for one in rows if bool(np.isnan(truth[one]).all()) is is_bare]
        for is_bare in (False, True)
    ]
    rng = np.random.default_rng(seed)
    return [
        np.concatenate(
            [part[i] for part in strata if part for i in rng.integers(0, len(part), len(part))]
        )
        for _ in range(resamples)
    ]
