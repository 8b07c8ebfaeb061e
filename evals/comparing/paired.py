"""Paired tasks -> differences with everything that a sceptic asks for.

In: a `Pairing` of two results, or of two and a teacher. Out: per task, and for the mean over
tasks, the difference with its clustered interval, a test of no difference, a test of equivalence
within a margin, and the smallest difference that this many items would have shown. p-values of
the tasks are Holm-corrected: those of no difference as one family, those of equivalence as another.

Source: Miller (2024), arXiv 2411.00640, sections 2 to 4: paired, clustered errors; the intervals
are those of `evals.stats`. Where a result is the mean of several training seeds, the spread of the
seeds' differences is added to the error (`average_over_seeds`).

Glossary: L results: first, second, and the teacher if there is one; N items; R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from evals.comparing.logs import PairedTask, Pairing
from evals.errors import RecordError
from evals.gap import gap_closed
from evals.power import MIN_CLUSTERS, minimal_detectable_effect
from evals.stats import (
    Contrast,
    FloatArray,
    average_over_seeds,
    cluster_sums,
    contrast,
    guarded_equivalence_p,
    holm,
    joint_bootstrap,
    mcnemar_p,
    sign_flip_p,
)

__all__ = [
    "Compared",
    "Comparison",
    "Finding",
    "Rule",
    "compare_paired",
]


class Finding(StrEnum):
    """What the numbers allow to say of the second result against the first.

    `EQUIVALENT` is a difference that is shown to be within the margin, `TOO_FEW` are clusters.
    """

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNRESOLVED = "unresolved"
    TOO_FEW = "too few"


@dataclasses.dataclass(frozen=True)
class Rule:
    """How differences are judged.

    Attributes:
        margin: Largest difference that counts as none, as a share.
        level: Of the intervals; tests reject below 1 - level.
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
        n_seeds: Training seeds that a result is the mean of; 1 where both are one network's.
        n_failed: Items left out because a call failed.
        first: Score of the first, as a share.
        second: Score of the second.
        difference: Second minus first.
        standard_error: Of the difference, clustered, that of training seeds included.
        ci: Its interval; none under `MIN_CLUSTERS` clusters.
        test: Which test gave `p`.
        p: Two-sided p of no difference.
        p_holm: The same, Holm-corrected over the tasks.
        p_equivalent: p of the two one-sided tests: the difference is within the margin.
        p_equivalent_holm: The same, Holm-corrected over the tasks.
        detectable: Smallest true difference that these items show; none over seeds.
        n_better: Items on which the second scores higher.
        n_worse: Items on which it scores lower.
        finding: What these numbers allow to say.
        teacher: The teacher's score.
        lead: Teacher minus first.
        lead_ci: Its interval.
        gap_closed: (second - first) / (teacher - first), where the teacher surely leads.
        gap_ci: Its interval; none under `gap.CLUSTERS_FOR_RATIO` clusters, nor where the first is
            the mean of several seeds.
    """

    task: str
    metric: str
    n_items: int
    n_clusters: int
    n_seeds: int
    n_failed: int
    first: float
    second: float
    difference: float
    standard_error: float
    ci: tuple[float, float]
    test: str
    p: float
    p_holm: float
    p_equivalent: float
    p_equivalent_holm: float
    detectable: float
    n_better: int
    n_worse: int
    finding: Finding = Finding.TOO_FEW
    teacher: float = math.nan
    lead: float = math.nan
    lead_ci: tuple[float, float] = (math.nan, math.nan)
    gap_closed: float = math.nan
    gap_ci: tuple[float, float] = (math.nan, math.nan)


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """All tasks, and the mean of those of each group that has several.

    In a mean each task weighs the same.
    """

    pairing: Pairing
    rule: Rule
    tasks: tuple[Compared, ...]
    means: tuple[Compared, ...]


def compare_paired(pairing: Pairing, rule: Rule) -> Comparison:
    """Return second minus first, task by task and on the mean of tasks.

    Raises:
        RecordError: Every item of a task failed in one of the results.
    """
    tasks = [_compare(one.task, one.metric, [one], rule) for one in pairing.tasks]
    groups: dict[str, list[PairedTask]] = {}
    for one in pairing.tasks:
        groups.setdefault(one.group, []).append(one)
    means = [_mean(group, those, rule) for group, those in groups.items() if len(those) > 1]
    return Comparison(pairing, rule, tuple(_corrected(tasks, rule)), tuple(_corrected(means, rule)))


def _corrected(family: Sequence[Compared], rule: Rule) -> list[Compared]:
    """Return one family of comparisons with Holm's p-values, and what they allow to say."""
    p_holm = _holm([one.p for one in family])
    p_equivalent_holm = _holm([one.p_equivalent for one in family])
    corrected = [
        dataclasses.replace(one, p_holm=p, p_equivalent_holm=p_equivalent)
        for one, p, p_equivalent in zip(family, p_holm, p_equivalent_holm, strict=True)
    ]
    return [dataclasses.replace(one, finding=_finding(one, rule)) for one in corrected]


def _holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's p-values; NaN stays NaN, and counts for no test."""
    adjusted = holm({str(i): p for i, p in enumerate(p_values) if not math.isnan(p)})
    return [adjusted.get(str(i), math.nan) for i in range(len(p_values))]


def _mean(group: str, tasks: Sequence[PairedTask], rule: Rule) -> Compared:
    """Return the mean of a group's tasks; with the teacher only where it has a score on all."""
    n_results = min(len(one.values) for one in tasks)
    cut = [
        dataclasses.replace(
            one,
            values=one.values[:n_results],
            by_seed=tuple(values[:n_results] for values in one.by_seed),
        )
        for one in tasks
    ]
    name = f"{len(tasks)} tasks" + (f" of {group}" if group else "")
    return _compare(name, "mean of tasks", cut, rule)


def _finding(one: Compared, rule: Rule) -> Finding:
    if math.isnan(one.ci[0]):
        return Finding.TOO_FEW
    if one.p_holm < 1 - rule.level:
        return Finding.BETTER if one.difference > 0 else Finding.WORSE
    return Finding.EQUIVALENT if one.p_equivalent_holm < 1 - rule.level else Finding.UNRESOLVED


def _compare(name: str, metric: str, tasks: Sequence[PairedTask], rule: Rule) -> Compared:
    values = np.concatenate([one.values for one in tasks], axis=1)
    is_complete = ~np.isnan(values).any(axis=0)
    clusters = np.array([cluster for one in tasks for cluster in one.clusters])[is_complete]
    labels = np.array([one.task for one in tasks for _ in one.clusters])[is_complete]
    _check_scored(tasks, labels)
    values = values[:, is_complete]
    sample = cluster_sums(values, clusters, labels)
    draws = joint_bootstrap(sample, resamples=rule.resamples, seed=rule.seed)
    by_seed = [
        cluster_sums(np.concatenate(each, axis=1)[:, is_complete], clusters, labels).values
        for each in zip(*(one.by_seed for one in tasks), strict=True)
    ]

    def weighted(weights: Sequence[float]) -> Contrast:
        found = contrast(sample, draws, weights)
        if not by_seed:
            return found
        return average_over_seeds(found, [float(np.dot(weights, own)) for own in by_seed])

    difference = weighted([-1, 1, 0][: len(values)])
    is_enough = sample.n_clusters >= MIN_CLUSTERS
    is_one_task = len(tasks) == 1
    test, p = _test(values, clusters.tolist(), difference, rule, is_one_task=is_one_task)
    p_equivalent = guarded_equivalence_p(difference, rule.margin) if is_enough else math.nan
    compared = Compared(
        task=name,
        metric=metric,
        n_items=sample.n_items,
        n_clusters=sample.n_clusters,
        n_seeds=difference.n_seeds,
        n_failed=int((~is_complete).sum()),
        first=float(sample.values[0]),
        second=float(sample.values[1]),
        difference=difference.value,
        standard_error=math.hypot(difference.standard_error, difference.seed_error),
        ci=difference.interval(rule.level) if is_enough else (math.nan, math.nan),
        test=test,
        p=p,
        p_holm=p,
        p_equivalent=p_equivalent,
        p_equivalent_holm=p_equivalent,
        detectable=_detectable(difference, rule) if is_enough else math.nan,
        n_better=int((values[1] > values[0]).sum()),
        n_worse=int((values[1] < values[0]).sum()),
    )
    if len(values) < 3:
        return compared
    return _with_teacher(compared, difference, weighted([-1, 0, 1]), rule)


def _check_scored(tasks: Sequence[PairedTask], labels: NDArray[np.str_]) -> None:
    scored = set(labels.tolist())
    for one in tasks:
        if one.task not in scored:
            raise RecordError(
                f"`{one.task}`: on each of {len(one.clusters)} items one of the results failed",
                hint="a failed call is no score: run the failed items again",
            )


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
    Over training seeds the least level at which the interval, of items and seeds, excludes 0.
    """
    if difference.n_seeds > 1:
        return "interval over seeds", difference.two_sided_p()
    if not is_one_task:
        return "clustered t", difference.two_sided_p()
    is_binary = bool(np.isin(values[:2], (0.0, 1.0)).all())
    if is_binary and len(set(clusters)) == len(clusters):
        return "McNemar", mcnemar_p(values[0], values[1])
    resamples = max(rule.resamples, 9999)
    p = sign_flip_p(values[1] - values[0], clusters, resamples=resamples, seed=rule.seed)
    return "sign flip", p


def _detectable(difference: Contrast, rule: Rule) -> float:
    if difference.standard_error == 0 or difference.n_seeds > 1:
        return math.nan  # all items alike say nothing of how much they scatter, nor items of seeds
    deviation = difference.standard_error * difference.n_clusters**0.5
    alpha = (1 - rule.level) / 2
    return minimal_detectable_effect(
        difference.n_clusters, deviation, alpha=alpha, power=rule.power
    )


def _with_teacher(compared: Compared, difference: Contrast, lead: Contrast, rule: Rule) -> Compared:
    """Return the same with the teacher's lead, and the share of it that the second makes up.

    There is none where the lead's interval does not lie above 0: a ratio to nearly nothing says
    nothing.
    """
    is_enough = lead.n_clusters >= MIN_CLUSTERS
    lead_ci = lead.interval(rule.level) if is_enough else (math.nan, math.nan)
    told = dataclasses.replace(
        compared, teacher=compared.first + lead.value, lead=lead.value, lead_ci=lead_ci
    )
    if not lead_ci[0] > 0:
        return told
    value, interval = gap_closed(difference, lead, level=rule.level)
    if lead.n_seeds > 1:
        return dataclasses.replace(told, gap_closed=value)
    return dataclasses.replace(told, gap_closed=value, gap_ci=interval)
