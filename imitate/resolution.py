"""What a config's items can tell apart, before anything is computed: by axis and by task.

In: a config; no data is read. Out: per axis and mix, and per task, the smallest difference that the
planned items and training seeds show, and the items that the declared margin asks for.

Assumed are the rates of `EXPECTED` and that arms share half of an item's luck. A cluster counts as
one item where that is known from the config; where the data decide, every item is taken for its own
cluster, and so the numbers are the least that it may take.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from evals.joint import SEEDS_FOR_RECIPE
from evals.power import (
    MIN_CLUSTERS,
    PlannedAxis,
    contrast_deviation,
    items_to_resolve,
    minimal_detectable_effect,
)
from evals.records import Axis
from imitate.analyse import IN_SUPPORT, axis_tasks
from imitate.config import Config, FileItems, ItemSource, LabItems, TaskConfig

__all__ = ["Resolution", "plan_json", "resolution_table", "resolve_plan"]

POWER = 0.8
"""Chance with which the smallest effect is seen."""

SEED_SPREAD = 0.01
"""Assumed standard deviation of a score between training seeds: one point."""

SHARED_CLUSTERS = {"chat", "facts", "facts_unrecorded", "two_hop"}
"""Tasks of the lab in which a person or a topic may come more than once."""

EXPECTED = {
    Axis.STYLE: PlannedAxis(base=0.05, gap=0.9, effect=0.8),
    Axis.FACTUALITY: PlannedAxis(),
    Axis.CAPABILITY: PlannedAxis(),
}
"""What imitation is expected to do, and so what the items must be able to show."""


@dataclasses.dataclass(frozen=True)
class Resolution:
    """What the items of an axis, or of one task, can tell apart.

    Attributes:
        axis: Its name, capability split by whether a mix covers the task.
        mixes: The mixes that are judged by these tasks and have these seeds.
        n_seeds: Training seeds of these mixes.
        n_items: Scored items, at most.
        n_clusters: Clusters; None where only the data tell.
        task: The task; empty for the axis as a whole.
        effect_points: Smallest difference to the base seen in four of five cases, in points; None
            where there are too few items for any.
        expected: The decision that the assumptions make true.
        needed: Items, spread evenly over the tasks, for that decision; None where no number does.
        is_enough: Whether there are as many.
    """

    axis: str
    mixes: tuple[str, ...]
    n_seeds: int
    n_items: int
    n_clusters: int | None
    task: str = ""
    effect_points: float | None = None
    expected: str = "refused"
    needed: int | None = None
    is_enough: bool = False


def resolve_plan(config: Config) -> list[Resolution]:
    """Return the axes of every group of mixes that is judged alike, each followed by its tasks."""
    found = []
    for axis, tasks, n_seeds, mixes in _groups(config):
        if tasks or axis != IN_SUPPORT:
            found.append(_resolve(config, axis, tasks, n_seeds, mixes))
        for task in tasks:
            alone = _resolve(config, axis, [task], n_seeds, mixes)
            found.append(dataclasses.replace(alone, task=task.name))
    return found


def resolution_table(config: Config) -> Table:
    """Return the resolutions as a table, with the assumptions under it."""
    rule = config.analysis
    table = Table(title="what the planned items can resolve", title_justify="left")
    table.add_column("axis and task")
    for column in ("seeds", "items", "clusters", "smallest effect (points)"):
        table.add_column(column, justify="right")
    table.add_column("expected")
    table.add_column("needs items", justify="right")
    for one in resolve_plan(config):
        table.add_row(*_cells(one, len(one.mixes) == len(config.mixes)))
    table.caption = (
        "assumed: style 5 % to 95 % with most of it copied, substance 40 % to 70 % with nothing "
        "gained, half of an arm's luck shared, every item its own cluster (m items a cluster with "
        "correlation r: 1 + (m - 1) r times the items; ? where the data decide); margin "
        f"{rule.margin_points:g} points, one-sided {rule.confidence:.0%}; the effect is seen 4 "
        "times in 5, and with the items needed an axis is decided 99 times in 100, fewer where "
        f"arms answer more alike; from {SEEDS_FOR_RECIPE} seeds on a spread of "
        f"{100 * SEED_SPREAD:g} point between them is in the effect"
    )
    return table


def plan_json(config: Config) -> str:
    """Return the resolutions, the rule and the assumptions as JSON."""
    assumed = {axis.value: dataclasses.asdict(planned) for axis, planned in EXPECTED.items()}
    told: dict[str, Any] = {
        "name": config.name,
        "rule": config.analysis.model_dump(mode="json"),
        "assumed": assumed | {"power": POWER, "seed_spread": SEED_SPREAD},
        "resolutions": [dataclasses.asdict(one) for one in resolve_plan(config)],
    }
    return json.dumps(told, indent=2)


def _groups(config: Config) -> list[tuple[str, list[TaskConfig], int, list[str]]]:
    """Return axis, tasks, number of seeds and mixes of all that is judged by the same tasks."""
    by_name = {task.name: task for task in config.tasks}
    found: dict[tuple[str, tuple[str, ...], int], list[str]] = {}
    for name, mix in config.mixes.items():
        for axis, tasks in axis_tasks(config.tasks, name).items():
            found.setdefault((axis, tuple(tasks), len(mix.seeds)), []).append(name)
    return [
        (axis, [by_name[name] for name in names], n_seeds, mixes)
        for wanted in axis_tasks([], None)
        for (axis, names, n_seeds), mixes in found.items()
        if axis == wanted
    ]


def _resolve(
    config: Config, axis: str, tasks: Sequence[TaskConfig], n_seeds: int, mixes: Sequence[str]
) -> Resolution:
    """Return what some tasks of an axis tell apart."""
    rule, planned = config.analysis, EXPECTED[Axis(axis.split("_")[0])]
    alpha, n_even = 1 - rule.confidence, _evenly_spread(tasks)
    found = Resolution(
        axis=axis,
        mixes=tuple(mixes),
        n_seeds=n_seeds,
        n_items=sum(task.n_items for task in tasks),
        n_clusters=_n_clusters(tasks),
    )
    if n_even < MIN_CLUSTERS:
        return found
    needed = items_to_resolve(
        planned, margin=rule.margin_points / 100, share=rule.closed_share, alpha=alpha
    )
    return dataclasses.replace(
        found,
        effect_points=100 * _smallest_effect(n_even, n_seeds, planned, alpha),
        expected=needed.decision,
        needed=needed.n_items,
        is_enough=needed.n_items is not None and n_even >= needed.n_items,
    )


def _evenly_spread(tasks: Sequence[TaskConfig]) -> int:
    """Return how many items, spread evenly over the tasks, have the error of these.

    Tasks weigh the same whatever their size: K^2 / sum of 1 / n.
    """
    if not tasks:
        return 0
    return int(len(tasks) ** 2 / sum(1 / task.n_items for task in tasks) + 1e-9)


def _smallest_effect(n: int, n_seeds: int, planned: PlannedAxis, alpha: float) -> float:
    """Return the smallest effect of the mean over seeds, as a share.

    Seeds enter as in `evals.stats.average_over_seeds`: from three on, in quadrature.
    """
    rates = planned.base, *([planned.base + planned.effect] * n_seeds)
    weights = -1.0, *([1 / n_seeds] * n_seeds)
    deviation = contrast_deviation(rates, weights, overlap=planned.overlap)
    of_items = minimal_detectable_effect(n, deviation, alpha=alpha, power=POWER)
    if n_seeds < SEEDS_FOR_RECIPE:
        return of_items
    of_seeds = minimal_detectable_effect(n_seeds, SEED_SPREAD, alpha=alpha, power=POWER)
    return math.hypot(of_items, of_seeds)


def _n_clusters(tasks: Sequence[TaskConfig]) -> int | None:
    """Return the clusters where each item is its own; None where the data decide."""
    if any(_shares_clusters(task.source) for task in tasks):
        return None
    return sum(task.n_items for task in tasks)


def _shares_clusters(source: ItemSource) -> bool:
    if isinstance(source, LabItems):
        return source.task in SHARED_CLUSTERS
    if isinstance(source, FileItems):
        return source.cluster_column is not None
    return source.cluster_field is not None


def _cells(one: Resolution, is_alone: bool) -> list[str]:
    name = f"  {one.task}" if one.task else one.axis.replace("_", " ")
    name += "" if is_alone or one.task else f" ({', '.join(one.mixes)})"
    if one.effect_points is None:
        why = "-" if not one.n_items else f"refused: fewer than {MIN_CLUSTERS}"
        return [name, str(one.n_seeds), f"{one.n_items:,}", "-", "-", why, "-"]
    needed = "no number" if one.needed is None else f"{one.needed:,}"
    return [
        name,
        str(one.n_seeds),
        f"{one.n_items:,}",
        "?" if one.n_clusters is None else f"{one.n_clusters:,}",
        f"{one.effect_points:.1f}",
        one.expected,
        needed + ("" if one.is_enough else " (too few)"),
    ]
