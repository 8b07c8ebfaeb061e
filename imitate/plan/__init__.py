"""A config -> the arms that are compared, and the cells of work in the order in which they can run.

Cells name what they read: other cells, models, files. What those contain becomes part of a
fingerprint only when it is known (`imitate.fingerprints`), so a change that leaves an input's
content alone recomputes nothing. Cells know settings and never arm names: two arms with the same
adapter share all their work.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

from imitate.config import Config, TaskConfig
from imitate.plan.answering import (
    N_STYLE_EXAMPLES,
    imitated_mix,
    measure_cells,
    style_cells,
    unasked_formats,
)
from imitate.plan.arms import Arm, ArmKind, group_of, list_arms
from imitate.plan.cells import RUN, TEACHER, Cell, Stage, source_params
from imitate.plan.gathering import data_cells, distill_cells, item_cells
from imitate.plan.preferring import prefer_cells
from imitate.plan.training import (
    N_PROVED,
    memorise_cells,
    prove_cells,
    reference_cells,
    train_cells,
    used_adapters,
)

__all__ = [
    "N_PROVED",
    "N_STYLE_EXAMPLES",
    "RUN",
    "TEACHER",
    "Arm",
    "ArmKind",
    "Cell",
    "Plan",
    "Stage",
    "build_plan",
    "imitated_mix",
    "source_params",
    "unasked_formats",
]

_READ_BY_ANALYSIS = set(Stage) - {Stage.DISTILL, Stage.ANALYSE}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Arms and cells of one run; every cell stands after its inputs."""

    config: Config
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]

    @functools.cached_property
    def by_name(self) -> dict[str, Cell]:
        """Cells by name."""
        return {cell.name: cell for cell in self.cells}

    def arm_cells(self, arm: Arm, task: TaskConfig, stage: Stage) -> list[Cell]:
        """Return the cells of one stage that hold an arm's answers or scores on a task."""
        prefix = f"{stage}/{arm.name}/{task.name}"
        return [c for c in self.cells if c.name == prefix or c.name.startswith(prefix + "/")]

    def task(self, name: str) -> TaskConfig:
        """Return a task by name."""
        return next(task for task in self.config.tasks if task.name == name)


def build_plan(config: Config) -> Plan:
    """Return the plan of a config; nothing is read from disk."""
    arms = tuple(list_arms(config))
    cells: list[Cell] = []
    cells += item_cells(config)
    cells += distill_cells(config)
    cells += data_cells(config)
    for group in (TEACHER, *(base.name for base in config.bases)):
        cells += train_cells(config, group)
        members = [arm for arm in arms if group_of(arm) == group]
        adapters = used_adapters(config, group, members)
        cells += reference_cells(config, group, adapters)
        cells += prove_cells(config, group, adapters)
        cells += _unique(cell for arm in members for cell in measure_cells(config, arm))
        cells += memorise_cells(config, group)
    cells += style_cells(config, arms)
    cells += prefer_cells(config, arms)
    everything = tuple(cell.name for cell in cells if cell.stage in _READ_BY_ANALYSIS)
    analysis = {
        "analysis": config.analysis.model_dump(mode="json"),
        "tasks": [_task_params(task) for task in config.tasks],
        "arms": [dataclasses.asdict(arm) for arm in arms],
        "planted": [name for name, mix in config.mixes.items() if mix.is_planted],
        "tuned": [base.name for base in config.bases if base.is_tuned],
        "teacher": config.teacher.model_dump(mode="json", exclude={"path", "api_key_env", "model"}),
        "seed": config.seed,
        "name": config.name,
    }
    cells.append(Cell(Stage.ANALYSE, "analyse", params=analysis, inputs=everything))
    return Plan(config, arms, tuple(cells))


def _task_params(task: TaskConfig) -> dict[str, Any]:
    return task.model_dump(mode="json") | {"source": source_params(task.source)}


def _unique(cells: Iterable[Cell]) -> list[Cell]:
    return list({cell.name: cell for cell in cells}.values())
