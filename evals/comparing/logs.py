"""What a result says of each item, whoever measured it; and two results paired item by item.

In: `ScoreLog`s. Out: `PairedTask`s, which hold the same items of both, or an error that shows why
the two cannot be compared. Scores of one question under two prompts are no pair: a gain might be
the prompt's.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evals.errors import RecordError

__all__ = ["PairedTask", "ScoreLog", "ScoredItem", "TaskLog", "pair_logs"]

FloatArray = NDArray[np.float64]

_SHOWN_LINES = 12


@dataclasses.dataclass(frozen=True)
class ScoredItem:
    """One item's score.

    Attributes:
        item_id: The same in every result that asked it: a hash of the document, or an id.
        value: Score in [0, 1]; NaN where the call failed.
        cluster: Unit of randomisation.
        prompt: What the model was shown, as far as the log tells; "" if it does not.
    """

    item_id: str
    value: float
    cluster: str
    prompt: str = ""


@dataclasses.dataclass(frozen=True)
class TaskLog:
    """One metric of one task: its items, and the settings that must be equal to compare."""

    metric: str
    items: tuple[ScoredItem, ...]
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ScoreLog:
    """All that one result holds: tasks by name."""

    name: str
    tasks: Mapping[str, TaskLog]


@dataclasses.dataclass(frozen=True, eq=False)
class PairedTask:
    """The same items of several results.

    Attributes:
        task: Its name.
        metric: What was measured.
        values: (L, N) scores of the L results on N items; NaN where one failed.
        clusters: (N,) unit of randomisation.
        unpaired: By result, ids of items that not all have.
    """

    task: str
    metric: str
    values: FloatArray
    clusters: tuple[str, ...]
    unpaired: Mapping[str, tuple[str, ...]]


def pair_logs(logs: Sequence[ScoreLog]) -> list[PairedTask]:
    """Return the tasks that all results have, each with the items that all of them have.

    Raises:
        RecordError: No task is in all of them, or a task's settings, metric or prompts differ; the
            difference is shown.
    """
    names = [log.name for log in logs]
    shared = [task for task in logs[0].tasks if all(task in log.tasks for log in logs)]
    if not shared:
        told = "; ".join(f"{log.name}: {', '.join(log.tasks) or 'none'}" for log in logs)
        raise RecordError(f"no task is in all results ({told})")
    return [_pair(task, names, [log.tasks[task] for log in logs]) for task in shared]


def _pair(task: str, names: Sequence[str], logs: Sequence[TaskLog]) -> PairedTask:
    for name, log in zip(names[1:], logs[1:], strict=True):
        _check_alike(task, (names[0], name), (logs[0], log))
    by_id = [_index(task, name, log) for name, log in zip(names, logs, strict=True)]
    ids = [one.item_id for one in logs[0].items if all(one.item_id in found for found in by_id)]
    if not ids:
        raise RecordError(
            f"`{task}`: no item is in all results, which have "
            + ", ".join(str(len(found)) for found in by_id),
            hint="items pair by a hash of the document or by their ids: were the same asked?",
        )
    for item_id in ids:
        for name, found in zip(names[1:], by_id[1:], strict=True):
            _check_prompt(task, (names[0], name), by_id[0][item_id], found[item_id])
    values = np.array([[found[item_id].value for item_id in ids] for found in by_id])
    kept = set(ids)
    return PairedTask(
        task=task,
        metric=logs[0].metric,
        values=values,
        clusters=tuple(by_id[0][item_id].cluster for item_id in ids),
        unpaired={
            name: tuple(item_id for item_id in found if item_id not in kept)
            for name, found in zip(names, by_id, strict=True)
        },
    )


def _index(task: str, name: str, log: TaskLog) -> dict[str, ScoredItem]:
    found = {one.item_id: one for one in log.items}
    if len(found) < len(log.items):
        raise RecordError(
            f"`{task}` of {name}: {len(log.items) - len(found)} items have an id that another has",
            hint="with several samples an item, give one value each, such as their mean",
        )
    return found


def _check_alike(task: str, names: tuple[str, str], logs: tuple[TaskLog, TaskLog]) -> None:
    first, second = logs
    differing = [
        f"{key}: {first.settings[key]} against {second.settings[key]}"
        for key in first.settings
        if key in second.settings and first.settings[key] != second.settings[key]
    ]
    if first.metric != second.metric:
        differing.insert(0, f"metric: {first.metric} against {second.metric}")
    if differing:
        raise RecordError(
            f"`{task}` was measured differently in {names[0]} and {names[1]}: "
            + "; ".join(differing),
            hint="a difference of scores could be the setting's: measure both alike",
        )


def _check_prompt(task: str, names: tuple[str, str], first: ScoredItem, second: ScoredItem) -> None:
    if not first.prompt or not second.prompt or first.prompt == second.prompt:
        return
    lines = list(
        difflib.unified_diff(
            first.prompt.splitlines(), second.prompt.splitlines(), *names, lineterm="", n=1
        )
    )
    shown = "\n".join(lines[:_SHOWN_LINES])
    raise RecordError(
        f"`{task}`: item {first.item_id} was asked with two prompts:\n{shown}",
        hint="a difference of scores could be the prompt's: measure both alike",
    )
