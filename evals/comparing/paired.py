"""Paired tasks -> differences with everything that a sceptic asks for.

In: `PairedTask`s of two results, or of two and a teacher. Out: per task, and for the mean over
tasks, the difference with its clustered interval, a test of no difference, a test of equivalence
within a margin, and the smallest difference that this many items would have shown. p-values of
the tasks are Holm-corrected as one family.

Source: Miller (2024), arXiv 2411.00640, sections 2 to 4: paired, clustered errors; the intervals
are those of `evals.stats`.

Glossary: L results: first, second, and the teacher if there is one; N items; R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from evals.comparing.logs import PairedTask
from evals.power import MIN_CLUSTERS, minimal_detectable_effect
from evals.stats import (
    Contrast,
    FloatArray,
    cluster_sums,
    contrast,
    equivalence_p,
    holm,
    joint_bootstrap,
    mcnemar_p,
    sign_flip_p,
)

__all__ = ["Compared", "Comparison", "Rule", "compare_paired"]

CLUSTERS_FOR_RATIO = 20
"""No interval of a ratio from fewer clusters."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """How differences are judged.

    Attributes:
        margin: Largest difference that counts as none, as a share.
        level: Of the intervals.
        power: Chance with which the minimal detectable effect would be seen.
        resamples: R.
        seed: Seed of the resampling.
    """

    margin: float = 0.05
    level: float = 0.95
    power: float = 0.8
    resamples: int = 4000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Compared:
    """Second minus first on one task, or on the mean of all. NaN where undefined.

    Attributes:
        task: Its name.
        metric: What was measured.
        n_items: Items on which all results have a score.
        n_clusters: Clusters of them.
        n_failed: Items left out because a call failed.
        first: Score of the first, as a share.
        second: Score of the second.
        difference: Second minus first.
        ci: Its interval; none under `MIN_CLUSTERS` clusters.
        test: Which test gave `p`.
        p: Two-sided p of no difference.
        p_holm: The same, Holm-corrected over the tasks.
        p_equivalent: p of the two one-sided tests: below 0.05, the difference is within the margin.
        detectable: Smallest true difference that these items show.
        n_better: Items on which the second scores higher.
        n_worse: Items on which it scores lower.
        teacher: The teacher's score.
        gap_closed: (second - first) / (teacher - first), where teacher and first surely differ.
        gap_ci: Its interval.
    """

    task: str
    metric: str
    n_items: int
    n_clusters: int
    n_failed: int
    first: float
    second: float
    difference: float
    ci: tuple[float, float]
    test: str
    p: float
    p_holm: float
    p_equivalent: float
    detectable: float
    n_better: int
    n_worse: int
    teacher: float = math.nan
    gap_closed: float = math.nan
    gap_ci: tuple[float, float] = (math.nan, math.nan)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All tasks, and their mean where there are several: each task weighs the same."""

    tasks: tuple[Compared, ...]
    overall: Compared | None


def compare_paired(tasks: Sequence[PairedTask], rule: Rule) -> Comparison:
    """Return second minus first, task by task and on the whole.

    Args:
        tasks: Two results each, or three with the teacher last.
        rule: How differences are judged.
    """
    found = [_compare(one.task, one.metric, [one], rule) for one in tasks]
    adjusted = holm({one.task: one.p for one in found if not math.isnan(one.p)})
    found = [dataclasses.replace(one, p_holm=adjusted.get(one.task, math.nan)) for one in found]
    overall = _compare("all tasks", "mean of tasks", tasks, rule) if len(tasks) > 1 else None
    return Comparison(tuple(found), overall)


def _compare(name: str, metric: str, tasks: Sequence[PairedTask], rule: Rule) -> Compared:
    values = np.concatenate([one.values for one in tasks], axis=1)
    clusters = [cluster for one in tasks for cluster in one.clusters]
    labels = [one.task for one in tasks for _ in one.clusters]
    sample = cluster_sums(values, clusters, labels)
    draws = joint_bootstrap(sample, resamples=rule.resamples, seed=rule.seed)
    weights = np.zeros(len(values))
    weights[:2] = -1, 1
    difference = contrast(sample, draws, weights)
    is_enough = sample.n_clusters >= MIN_CLUSTERS
    test, p = _test(values, clusters, difference, rule, is_one_task=len(tasks) == 1)
    moved = values[1] - values[0]
    compared = Compared(
        task=name,
        metric=metric,
        n_items=sample.n_items,
        n_clusters=sample.n_clusters,
        n_failed=sample.n_dropped,
        first=float(sample.values[0]),
        second=float(sample.values[1]),
        difference=difference.value,
        ci=difference.interval(rule.level) if is_enough else (math.nan, math.nan),
        test=test,
        p=p,
        p_holm=p,
        p_equivalent=equivalence_p(difference, rule.margin) if is_enough else math.nan,
        detectable=_detectable(difference, rule) if is_enough else math.nan,
        n_better=int((moved > 0).sum()),
        n_worse=int((moved < 0).sum()),
    )
    if len(values) < 3:
        return compared
    lead = contrast(sample, draws, [-1, 0, 1])
    gap_closed, gap_ci = _gap(draws, sample.values, lead, rule)
    teacher = float(sample.values[2])
    return dataclasses.replace(compared, teacher=teacher, gap_closed=gap_closed, gap_ci=gap_ci)


def _test(
    values: FloatArray,
    clusters: Sequence[str],
    difference: Contrast,
    rule: Rule,
    *,
    is_one_task: bool,
) -> tuple[str, float]:
    """Return the name of the test of no difference, and its p.

    McNemar's exact test of 0/1 scores where every item is its own cluster; else signs flipped by
    cluster; over several tasks, which weigh the same whatever their size, t on the clustered error.
    """
    if not is_one_task:
        return "clustered t", difference.two_sided_p()
    pair = values[:2, ~np.isnan(values).any(axis=0)]
    is_binary = bool(np.isin(pair, (0.0, 1.0)).all())
    if is_binary and len(set(clusters)) == len(clusters):
        return "McNemar", mcnemar_p(values[0], values[1])
    resamples = max(rule.resamples, 9999)
    p = sign_flip_p(values[1] - values[0], clusters, resamples=resamples, seed=rule.seed)
    return "sign flip", p


def _detectable(difference: Contrast, rule: Rule) -> float:
    deviation = difference.standard_error * difference.n_clusters**0.5
    alpha = (1 - rule.level) / 2
    return minimal_detectable_effect(
        difference.n_clusters, deviation, alpha=alpha, power=rule.power
    )


def _gap(
    draws: FloatArray, values: FloatArray, lead: Contrast, rule: Rule
) -> tuple[float, tuple[float, float]]:
    """Return the share of the teacher's lead that the second closes, where there surely is one."""
    low, high = lead.interval(rule.level)
    if low <= 0 <= high:
        return math.nan, (math.nan, math.nan)
    value = float((values[1] - values[0]) / (values[2] - values[0]))
    if lead.n_clusters < CLUSTERS_FOR_RATIO:
        return value, (math.nan, math.nan)
    tail = (1 - rule.level) / 2
    shares = (draws[:, 1] - draws[:, 0]) / (draws[:, 2] - draws[:, 0])
    return value, (float(np.quantile(shares, tail)), float(np.quantile(shares, 1 - tail)))
