"""What a judge says of many pairs, corrected by what it says of the labelled ones among them.

In: a judge's preferences on all pairs, and labels of some. Out: the share of pairs on which the arm
is better, as the judge says it, corrected by its sensitivity and specificity, and by
prediction-powered inference. A judge that errs shifts a mean however many pairs it judges: its
plain interval is about the judge, and not about the arm.

Both corrections hold if the labelled pairs are like the others: labelled at random.

Sources: Rogan and Gladen (1978), equation 2, for the prevalence behind an imperfect test;
Angelopoulos et al., PPI++ (arXiv 2311.01453), section 3, for the power-tuned mean. Intervals of
both resample clusters, labelled and unlabelled apart, and correct anew in every resample, so the
calibration's error is in them. Plain shares have Wilson's, as everywhere.

Glossary: N pairs; L labelled pairs; R resamples; C clusters; S sums over pairs, of which both
corrections are functions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evals.estimates import (
    Estimate,
    expanded_interval,
    resampled_totals,
    rows_by_cluster,
    share_estimate,
)
from evals.power import MIN_CLUSTERS
from evals.stats import SPARSE_CLUSTERS

__all__ = ["CorrectedMean", "correct_mean", "powered_mean", "rogan_gladen"]

FloatArray = NDArray[np.float64]
Statistic = Callable[["_Sums"], FloatArray]

ROUNDING = 1e-12
"""A variance below it is that of a constant."""


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
    rows, members = _rows(said, truth), rows_by_cluster(clusters)
    whole, drawn = _Sums(rows.sum(axis=0)), _resampled(rows, members, truth, resamples, seed)

    def estimate(statistic: Statistic, chosen: NDArray[np.bool_]) -> Estimate:
        value, n = float(statistic(whole)), int(chosen.sum())
        if math.isnan(value) or drawn is None:
            return Estimate(value, math.nan, math.nan, n)
        n_clusters = sum(bool(chosen[one].any()) for one in members)
        return Estimate(value, *expanded_interval(statistic(drawn), n_clusters), n)

    def share(values: FloatArray, chosen: NDArray[np.bool_]) -> Estimate:
        kept = np.flatnonzero(chosen)
        return share_estimate(values[kept], [clusters[row] for row in kept])

    is_labelled = ~np.isnan(truth)
    labelled = share(truth, is_labelled)
    return CorrectedMean(
        raw=share(said, np.ones(len(said), np.bool_)),
        by_errors=estimate(_by_errors, is_labelled),
        powered=_allow_for_unseen(estimate(_powered, is_labelled), labelled, truth, members),
        labelled=labelled,
        sensitivity=share(said, truth == 1),
        specificity=share(1 - said, truth == 0),
        note=_note(drawn),
    )


def _allow_for_unseen(
    powered: Estimate,
    labelled: Estimate,
    truth: FloatArray,
    members: Sequence[NDArray[np.int64]],
) -> Estimate:
    """Return the powered mean, no surer than the labels alone where nearly all of them agree."""
    n_unusual = min(
        sum(bool((truth[one] == label).any()) for one in members) for label in (0.0, 1.0)
    )
    if n_unusual >= SPARSE_CLUSTERS or math.isnan(powered.low):
        return powered
    moved = powered.value - labelled.value
    low, high = min(powered.low, labelled.low + moved), max(powered.high, labelled.high + moved)
    return dataclasses.replace(powered, low=low, high=high)


def rogan_gladen(judged: FloatArray, labels: FloatArray) -> float:
    """Return the share of pairs that the arm wins, from the judge's share and its two error rates.

    (p + specificity - 1) / (sensitivity + specificity - 1), not clipped; NaN where the judge tells
    nothing apart or an outcome has no label.
    """
    return float(_by_errors(_Sums(_rows(judged, labels).sum(axis=0))))


def powered_mean(judged: FloatArray, labels: FloatArray) -> float:
    """Return the mean label: of the labelled pairs, moved by what the judge says of the others.

    mean(labels) + lambda (mean(judged, unlabelled) - mean(judged, labelled)), with the lambda of
    least variance: cov(labels, judged) / (var(judged) (1 + L / U)) for L labelled and U unlabelled
    pairs. With lambda 0 it is the labels' mean.
    """
    return float(_powered(_Sums(_rows(judged, labels).sum(axis=0))))


class _Sums:
    """What the corrections need to know of many pairs, (...) each, from sums (..., S).

    Undefined ratios are NaN, without a warning.
    """

    def __init__(self, sums: FloatArray) -> None:
        by_name = np.moveaxis(sums, -1, 0)
        self.n, self.judged, self.judged_squared = by_name[:3]
        self.n_labelled, self.labels, self.judged_labelled, self.product = by_name[3:7]
        self.n_better, self.judged_better, self.n_worse, self.judged_worse = by_name[7:]


def _rows(judged: FloatArray, labels: FloatArray) -> FloatArray:
    """Return (N, S) what each pair adds to the sums of `_Sums`, in its order."""
    has_label, label = ~np.isnan(labels), np.nan_to_num(labels)
    columns = [np.ones(len(judged)), judged, judged**2]
    columns += [has_label, label, judged * has_label, judged * label]
    columns += [labels == 1, judged * (labels == 1), labels == 0, judged * (labels == 0)]
    return np.stack(columns, axis=-1).astype(np.float64)


def _by_errors(sums: _Sums) -> FloatArray:
    power = _sensitivity(sums) + _specificity(sums) - 1
    corrected = (sums.judged / sums.n + _specificity(sums) - 1) / np.where(power > 0, power, np.nan)
    return np.asarray(corrected)


def _powered(sums: _Sums) -> FloatArray:
    n_rest = sums.n - sums.n_labelled
    with np.errstate(divide="ignore", invalid="ignore"):
        known, seen = sums.labels / sums.n_labelled, sums.judged_labelled / sums.n_labelled
        spread = sums.judged_squared / sums.n - (sums.judged / sums.n) ** 2
        shared = (sums.product - known * sums.judged_labelled) / (sums.n_labelled - 1)
        weight = shared / (spread * (1 + sums.n_labelled / n_rest))
        moved = known + weight * ((sums.judged - sums.judged_labelled) / n_rest - seen)
    tells_nothing = (n_rest == 0) | (spread < ROUNDING)
    return np.where(sums.n_labelled < 2, np.nan, np.where(tells_nothing, known, moved))


def _sensitivity(sums: _Sums) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums.judged_better / sums.n_better)


def _specificity(sums: _Sums) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.asarray(1 - sums.judged_worse / sums.n_worse)


def _note(drawn: _Sums | None) -> str:
    if drawn is None:
        return f"fewer than {MIN_CLUSTERS} clusters: no interval can be trusted"
    power = _sensitivity(drawn) + _specificity(drawn) - 1
    known = power[~np.isnan(power)]
    if len(known) < 0.99 * len(power) or not np.quantile(known, 0.025) > 0:
        return (
            "the judge cannot be shown to tell better from worse: its error rates correct nothing"
        )
    return ""


def _resampled(
    rows: FloatArray,
    members: Sequence[NDArray[np.int64]],
    truth: FloatArray,
    resamples: int,
    seed: int,
) -> _Sums | None:
    """Return sums (R,) over clusters drawn anew, those with a label and those without apart."""
    if len(members) < MIN_CLUSTERS:
        return None
    is_bare = np.array([bool(np.isnan(truth[one]).all()) for one in members])
    strata = [np.flatnonzero(~is_bare), np.flatnonzero(is_bare)]
    totals = np.array([rows[one].sum(axis=0) for one in members])
    return _Sums(resampled_totals(totals, strata, resamples=resamples, seed=seed))
