"""What a result says of each item, whoever measured it; and two results paired item by item.

In: `ScoreLog`s. Out: a `Pairing`, whose tasks hold the same items of both, or an error that shows
why the two cannot be compared. Scores of one question under two prompts are no pair: a gain might
be the prompt's.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evals.errors import RecordError

__all__ = ["PairedTask", "Pairing", "ScoreLog", "ScoredItem", "TaskLog", "pair_logs"]

FloatArray = NDArray[np.float64]

_SHOWN_LINES = 12
_SHOWN_CHARACTERS, _SHOWN_BEFORE = 300, 40
_SHOWN_NAMES = 8


@dataclasses.dataclass(frozen=True)
class ScoredItem:
    """One item's score.

    Attributes:
        item_id: The same in every result that asked it: a hash of the document, or an id.
        value: Score in [0, 1]; NaN where the call failed.
        cluster: Unit of randomisation.
        prompt: What the model was shown, as far as the log tells; "" if it does not.
        by_seed: Score by training seed, of which `value` is the mean; empty for one seed.
    """

    item_id: str
    value: float
    cluster: str
    prompt: str = ""
    by_seed: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class TaskLog:
    """One metric of one task: its items, and the settings that must be equal to compare.

    Attributes:
        metric: What `value` measures.
        items: Each with another id.
        settings: By name, what decides a score beside the model.
        notes: What a reader of the numbers must know, such as "mean of 3 epochs".
        group: Tasks of one group have a mean that means something.
        seeds: Training seeds of what was measured; empty where none trained it, or on no record.
    """

    metric: str
    items: tuple[ScoredItem, ...]
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    group: str = ""
    seeds: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class ScoreLog:
    """All that one result holds: tasks by name. `source` says what was read, and where."""

    name: str
    tasks: Mapping[str, TaskLog]
    source: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class PairedTask:
    """The same items of several results.

    Attributes:
        task: Its name.
        metric: What was measured.
        values: (L, N) scores of the L results on N items; NaN where one failed.
        clusters: (N,) unit of randomisation.
        unpaired: By result, ids of items that not all have.
        notes: What a reader of the numbers must know.
        group: Tasks of one group have a mean that means something.
        by_seed: `values` of each training seed, a result of one network the same in each; empty
            where no result has several.
    """

    task: str
    metric: str
    values: FloatArray
    clusters: tuple[str, ...]
    unpaired: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()
    group: str = ""
    by_seed: tuple[FloatArray, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Pairing:
    """Two results, and a teacher's if there is one, item by item.

    Attributes:
        names: Of the results: first, second, teacher.
        tasks: What both have; a task that the teacher lacks holds two results only.
        left_out: By result, tasks that the first or the second lacks.
        sources: By result, what was read.
    """

    names: tuple[str, ...]
    tasks: tuple[PairedTask, ...]
    left_out: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, str]


def pair_logs(logs: Sequence[ScoreLog]) -> Pairing:
    """Return the tasks that the first two results have, with the items that all have.

    Args:
        logs: Two results; a third is the teacher's, one network's, and may lack tasks.

    Raises:
        RecordError: No task is in both, or a task's settings, metric, training seeds or prompts
            differ; the difference is shown.
    """
    first, second = logs[:2]
    shared = [task for task in first.tasks if task in second.tasks]
    if not shared:
        raise _nothing_shared([first, second])
    if not any(task in log.tasks for log in logs[2:] for task in shared) and logs[2:]:
        raise _nothing_shared(logs)
    return Pairing(
        names=tuple(log.name for log in logs),
        tasks=tuple(_pair(task, [log for log in logs if task in log.tasks]) for task in shared),
        left_out={
            log.name: tuple(task for task in log.tasks if task not in shared)
            for log in (first, second)
        },
        sources={log.name: log.source for log in logs},
    )


def _nothing_shared(logs: Sequence[ScoreLog]) -> RecordError:
    told = "; ".join(f"{log.name}: {_listed(list(log.tasks))}" for log in logs)
    return RecordError(
        f"no task is in all results ({told})",
        hint="tasks pair by name: are these results of the same evaluation?",
    )


def _listed(names: Sequence[str]) -> str:
    rest = [f"{len(names) - _SHOWN_NAMES} more"] if len(names) > _SHOWN_NAMES else []
    return ", ".join([*names[:_SHOWN_NAMES], *rest]) or "none"


def _pair(task: str, logs: Sequence[ScoreLog]) -> PairedTask:
    names, found = [log.name for log in logs], [log.tasks[task] for log in logs]
    for name, log in zip(names[1:], found[1:], strict=True):
        _check_alike(task, (names[0], name), (found[0], log))
    by_id = [_index(task, name, log) for name, log in zip(names, found, strict=True)]
    ids = [one.item_id for one in found[0].items if all(one.item_id in have for have in by_id)]
    if not ids:
        raise RecordError(
            f"`{task}`: no item is in all results, which have "
            + ", ".join(str(len(have)) for have in by_id),
            hint="items pair by a hash of the document or by their ids: were the same asked?",
        )
    n_seen = 0
    for name, have in zip(names[1:], by_id[1:], strict=True):
        n_seen += _check_prompts(task, (names[0], name), by_id[0], have, ids)
    kept = set(ids)
    return PairedTask(
        task=task,
        metric=found[0].metric,
        values=np.array([[have[item_id].value for item_id in ids] for have in by_id]),
        clusters=tuple(by_id[0][item_id].cluster for item_id in ids),
        unpaired={
            name: tuple(item_id for item_id in have if item_id not in kept)
            for name, have in zip(names, by_id, strict=True)
        },
        notes=_notes(names, found, n_unseen=(len(names) - 1) * len(ids) - n_seen),
        group=found[0].group,
        by_seed=_by_seed(by_id, ids),
    )


def _by_seed(
    logs: Sequence[Mapping[str, ScoredItem]], ids: Sequence[str]
) -> tuple[FloatArray, ...]:
    """Return the (L, N) scores of each training seed; none where no result is a mean of several."""
    n_seeds = max(len(log[ids[0]].by_seed) for log in logs)
    by_result = [
        [log[item_id].by_seed or (log[item_id].value,) * n_seeds for item_id in ids] for log in logs
    ]
    return tuple(np.array(by_result).transpose(2, 0, 1))


def _notes(names: Sequence[str], logs: Sequence[TaskLog], *, n_unseen: int) -> tuple[str, ...]:
    said = [f"{name}: {note}" for name, log in zip(names, logs, strict=True) for note in log.notes]
    if n_unseen:
        said.append(
            f"{n_unseen:,} pairs have no prompt on record, so that nobody can see whether both "
            "were asked alike"
        )
    if not all(log.settings for log in logs):
        said.append("settings such as the number of examples are not on record for all")
    return tuple(said)


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
        f"{key}: {_contrasted(first.settings[key], second.settings[key])}"
        for key in first.settings
        if key in second.settings and first.settings[key] != second.settings[key]
    ]
    is_mean = max(len(first.seeds), len(second.seeds)) > 1
    if is_mean and first.seeds and second.seeds and first.seeds != second.seeds:
        differing.append(f"training seeds: {_told(first.seeds)} against {_told(second.seeds)}")
    if first.metric != second.metric:
        differing.insert(0, f"metric: {first.metric} against {second.metric}")
    if differing:
        raise RecordError(
            f"`{task}` was measured differently in {names[0]} and {names[1]}: "
            + "; ".join(differing),
            hint="a difference of scores could be the setting's: measure both alike",
        )


def _told(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _contrasted(first: str, second: str) -> str:
    """Return two settings, long ones cut to where they part."""
    parting = next(
        (i for i, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]),
        min(len(first), len(second)),
    )
    start = max(0, parting - _SHOWN_BEFORE)
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    shown = [
        (ellipsis if start else "")
        + one[start : start + _SHOWN_CHARACTERS]
        + (ellipsis if len(one) > start + _SHOWN_CHARACTERS else "")
        for one in (first, second)
    ]
    return " against ".join(shown)


def _check_prompts(
    task: str,
    names: tuple[str, str],
    first: Mapping[str, ScoredItem],
    second: Mapping[str, ScoredItem],
    ids: Sequence[str],
) -> int:
    """Return how many pairs have a prompt in both, and see that these are equal."""
    seen = [i for i in ids if first[i].prompt and second[i].prompt]
    differing = [i for i in seen if first[i].prompt != second[i].prompt]
    if not differing:
        return len(seen)
    shown = differing[0]
    lines = list(
        difflib.unified_diff(
            first[shown].prompt.splitlines(),
            second[shown].prompt.splitlines(),
            *names,
            lineterm="",
            n=1,
        )
    )
    others = f", and {len(differing) - 1} others" if len(differing) > 1 else ""
    raise RecordError(
        f"`{task}`: item {shown}{others} was asked with two prompts:\n"
        + "\n".join(line[:_SHOWN_CHARACTERS] for line in lines[:_SHOWN_LINES]),
        hint="a difference of scores could be the prompt's: measure both alike",
    )
