"""One joint bootstrap over imitator, base and teacher in every format, asked for contrasts.

In: the data of one axis and who plays which role. Out: `JointAxis`, which answers with any
weighted sum of the roles and its errors; and the reasons for which nothing should be asked.

Glossary: N items, A cells (an arm in a format), R resamples. Values are shares in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from evals.axisdata import AxisData, Roles
from evals.power import MIN_CLUSTERS
from evals.records import Format
from evals.stats import (
    Contrast,
    FloatArray,
    add_published,
    average_over_seeds,
    cluster_sums,
    contrast,
    joint_bootstrap,
)

__all__ = ["SEEDS_FOR_RECIPE", "JointAxis", "why_not_asked", "why_refused"]

SEEDS_FOR_RECIPE = 3
"""From here on a verdict is about the recipe, and its bounds hold the seeds' spread."""
"""From so many training seeds on, their spread enters, and the recipe is spoken of."""

MIN_CLUSTERS_OF_TASK = 3
"""With 5 tasks of 2 clusters each, a 95 % interval covers 87 %; with 3 clusters each, 94 %."""


class JointAxis:
    """The joint bootstrap of one axis: contrasts between roles by name."""

    def __init__(self, data: AxisData, roles: Roles, *, resamples: int, seed: int) -> None:
        self.data, self.roles = data, roles
        self.resamples, self.seed = resamples, seed
        self.published = data.published.get(roles.teacher or "")
        asked = [*roles.imitator, roles.base]
        if roles.teacher is not None and self.published is None:
            asked.append(roles.teacher)
        cells = [(arm, f) for arm in asked for f in data.formats_of(arm)]
        self.column = {cell: index for index, cell in enumerate(cells)}
        rows = [data.values[f][data.arms.index(arm)] for arm, f in cells]
        self.sample = cluster_sums(np.stack(rows), data.clusters, data.tasks)

    @cached_property
    def draws(self) -> FloatArray:
        """(R, cells) axis values of every arm and format, under the same resamples."""
        return joint_bootstrap(self.sample, resamples=self.resamples, seed=self.seed)

    @cached_property
    def shared_formats(self) -> tuple[Format, ...]:
        """Formats in which base and every imitator answered."""
        arms = (*self.roles.imitator, self.roles.base)
        return tuple(f for f in self.data.values if all((a, f) in self.column for a in arms))

    def of(
        self, *, imitator: float = 0, base: float = 0, teacher: float = 0, at: Format | None = None
    ) -> Contrast:
        """A contrast of the roles, each in its best format, or all in the format `at`."""
        weights = np.zeros(len(self.column))
        seeds = [self._cell(arm, at) for arm in self.roles.imitator]
        np.add.at(weights, seeds, imitator / len(seeds))
        weights[self._cell(self.roles.base, at)] += base
        if teacher and self.published is None:
            assert self.roles.teacher is not None
            weights[self._cell(self.roles.teacher, at)] += teacher
        result = contrast(self.sample, self.draws, weights)
        if teacher and self.published is not None:
            result = add_published(
                result, teacher, self.published.value, self.published.n, seed=self.seed + 1
            )
        if imitator and len(seeds) >= SEEDS_FOR_RECIPE:
            result = average_over_seeds(result, list(imitator * self.sample.values[seeds]))
        return result

    @cached_property
    def same_format(self) -> dict[Format, Contrast]:
        """Imitator minus base, both in the same format, by format."""
        return {f: self.of(imitator=1, base=-1, at=f) for f in self.shared_formats}

    def value_of(self, arms: Sequence[str], at: Format | None = None) -> float:
        """The axis value of a role, averaged over its arms."""
        return float(self.sample.values[[self._cell(arm, at) for arm in arms]].mean())

    def teacher_value(self, at: Format | None = None) -> float | None:
        """The teacher's axis value; None where it has none."""
        teacher = self.roles.teacher
        if self.published is not None:
            return self.published.value if at is None else None
        if teacher is None or (at is not None and (teacher, at) not in self.column):
            return None
        return self.value_of([teacher], at)

    def best_formats(self) -> dict[str, Format]:
        """By role, the format chosen on development items."""
        roles, chosen = self.roles, self.data.best_format
        named = {"base": roles.base, "imitator": roles.imitator[0], "teacher": roles.teacher}
        return {role: chosen[arm] for role, arm in named.items() if arm in chosen and arm}

    def _cell(self, arm: str, at: Format | None) -> int:
        return self.column[arm, at or self.data.best_format[arm]]


def why_not_asked(data: AxisData, roles: Roles) -> str:
    """Why the axis cannot be decided for want of scores; empty where it can."""
    needed = [*roles.imitator, roles.base]
    if roles.teacher is not None and roles.teacher not in data.published:
        needed.append(roles.teacher)
    for arm in needed:
        if not data.formats_of(arm):
            return f"`{arm}` has no score on {data.axis}"
        if data.best_format[arm] not in data.formats_of(arm):
            return f"`{arm}` has no score in its chosen format, {data.best_format[arm]}"
    return ""


def why_refused(joint: JointAxis) -> str:
    """Why there are too few data to decide anything; empty where there are enough."""
    sample = joint.sample
    if sample.n_clusters < MIN_CLUSTERS:
        return (
            f"{sample.n_clusters} clusters on which every arm has a score; "
            f"no interval can be trusted under {MIN_CLUSTERS}"
        )
    n_lost = len(np.unique(joint.data.tasks)) - sample.counts.shape[1]
    if n_lost:
        return f"{n_lost} tasks have no item on which every arm has a score"
    n_thin = int((np.bincount(sample.strata) < MIN_CLUSTERS_OF_TASK).sum())
    if n_thin:
        return (
            f"{n_thin} tasks have fewer than {MIN_CLUSTERS_OF_TASK} clusters, which say too little "
            "about its error"
        )
    return ""
