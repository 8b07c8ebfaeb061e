"""The share of a teacher's lead that an imitator closes, with its interval."""

from __future__ import annotations

import dataclasses
import math

from evals.stats import Contrast

__all__ = ["CLUSTERS_FOR_RATIO", "gap_closed"]

CLUSTERS_FOR_RATIO = 20
"""No interval of a ratio from fewer clusters."""


def gap_closed(
    difference: Contrast, lead: Contrast, *, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Return the share of the teacher's lead that a difference closes, and its interval.

    Undefined where the lead may be none; without an interval under `CLUSTERS_FOR_RATIO` clusters.
    Where hardly any cluster differs, resamples show too little: the interval then reaches at least
    as far as that of the difference over the lead.

    Source: expanded percentiles of the joint draws, as in `Contrast.quantile`.

    Args:
        difference: Imitator minus base.
        lead: Teacher minus base, from the same draws; it has no training seeds.
        level: Of the interval.
    """
    undefined = math.nan, math.nan
    low, high = lead.interval(level)
    if low <= 0 <= high:
        return math.nan, undefined
    value = difference.value / lead.value
    if lead.n_clusters < CLUSTERS_FOR_RATIO:
        return value, undefined
    is_same_sign = lead.draws * lead.value > 0  # all but a stray few
    ratio = dataclasses.replace(
        difference,
        value=value,
        draws=difference.draws[is_same_sign] / lead.draws[is_same_sign],
        is_sparse=False,
        seed_error=difference.seed_error / abs(lead.value),
    )
    low, high = ratio.interval(level)
    if difference.is_sparse:
        ends = [bound / lead.value for bound in difference.interval(level)]
        low, high = min(low, *ends), max(high, *ends)
    return value, (low, high)
