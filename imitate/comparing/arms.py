"""An arm of a finished run -> a `ScoreLog`, from the run's records.

In: `RUN:ARM`, such as `runs/quickstart:medium/broad-2000-s0`; without `-s0`, all its training
seeds. Out: its scores by task, development items left out, repeated samples averaged. Style is told
against a base, so such a task is named after it: arms of two bases share none.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from evals.axisdata import best_format
from evals.comparing.logs import ScoredItem, ScoreLog, TaskLog
from evals.errors import DataError, RecordError
from evals.records import Axis, Format, Item, Outcome, Score, read_records

__all__ = ["RunArm", "best_formats", "find_arm", "is_run", "read_arm"]

SHOWN_ARMS = 30


@dataclasses.dataclass(frozen=True)
class RunArm:
    """One arm of one run, or a recipe's arms over training seeds; they are known to have scores.

    Attributes:
        folder: The run.
        name: Of the arm, or of the recipe.
        arms: The arm itself, or one a seed.
        seeds: Training seeds of the arms; empty where nothing trained it.
        base: What it was trained from.
        mix: What it was trained on; empty where nothing trained it.
    """

    folder: Path
    name: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...] = ()
    base: str = ""
    mix: str = ""

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean of several training seeds."""
        return len(self.arms) > 1


def is_run(path: Path) -> bool:
    """Return whether a folder is that of a run."""
    return (path / "results.json").is_file() and (path / "plan.json").is_file()


def find_arm(name: str) -> RunArm | None:
    """Return the arm, or the recipe, that `RUN:ARM` names; None where the name has no such form.

    Raises:
        DataError: The run has no records, or no such arm; those that are there are listed.
    """
    folder, colon, arm = name.rpartition(":")
    if not colon or Path(name).exists() or not Path(folder).is_dir():
        return None
    there = list(dict.fromkeys(_arm_of(score) for score in _scores(Path(folder))))
    entries: list[dict[str, Any]] = _results(Path(folder)).get("arms") or []
    about = {entry["arm"]: entry for entry in entries if entry["arm"] in there}
    seeded = {entry["seed"]: name for name, entry in about.items() if _recipe(entry) == arm}
    if arm not in there and seeded:
        seeds = tuple(sorted(seeded))
        first = about[seeded[seeds[0]]]
        arms = tuple(seeded[seed] for seed in seeds)
        return RunArm(Path(folder), arm, arms, seeds, first["base"], first["mix"])
    if arm not in there:
        rest = f" and {len(there) - SHOWN_ARMS} more" if len(there) > SHOWN_ARMS else ""
        raise DataError(
            f"no arm `{arm}` in {folder}",
            where=folder,
            hint=f"there are: {', '.join(there[:SHOWN_ARMS])}{rest}",
        )
    own = about.get(arm) or {}
    seeds = () if own.get("seed") is None else (own["seed"],)
    return RunArm(Path(folder), arm, (arm,), seeds, own.get("base") or "", own.get("mix") or "")


def best_formats(arm: RunArm, form: Format | None) -> dict[Axis, Format]:
    """Return the format to read on each axis: the one asked for, or the arm's best.

    The best is chosen on development items, which never score; the plain one if they tie.

    Raises:
        RecordError: The arm answered in two formats, and no development items choose one.
    """
    if form is not None:
        return dict.fromkeys(Axis, form) | {Axis.STYLE: Format.CHAT}
    by_axis: dict[Axis, list[Score]] = {}
    for score in _mine(arm):
        by_axis.setdefault(score.axis, []).append(dataclasses.replace(score, arm=arm.name))
    try:
        return {axis: best_format(scores, arm.name) for axis, scores in by_axis.items()}
    except RecordError as error:
        raise RecordError(
            error.message, where=str(arm.folder), hint="choose with --format plain or chat"
        ) from None


def read_arm(arm: RunArm, forms: Mapping[Axis, Format], mixes: Collection[str]) -> ScoreLog:
    """Return an arm's scores, on each axis in the given format.

    Args:
        arm: Which.
        forms: The format of each axis.
        mixes: What the arms that are compared were trained on: a task in support of one of them is
            not held out.

    Raises:
        RecordError: The arm has no scores in these formats.
    """
    results = _results(arm.folder)
    about = {task["name"]: task for task in results.get("tasks") or []}
    items = read_records(_records(arm.folder, "items.parquet"), Item)
    prompts = {item.item_id: item.prompt for item in items}
    found: dict[tuple[str, str], dict[str, list[Score]]] = {}
    for score in _mine(arm):
        if score.is_development or forms.get(score.axis, score.format) is not score.format:
            continue
        of_task = found.setdefault((_task_name(score, arm), score.task), {})
        of_task.setdefault(score.item_id, []).append(score)
    if not found:
        told = ", ".join(f"{axis} in {form}" for axis, form in forms.items())
        raise RecordError(f"`{arm.name}` has no scores on {told}", where=str(arm.folder))
    whole = {task: _of_all_arms(arm, by_item) for task, by_item in found.items()}
    tasks = {
        name: _task(arm, by_item, prompts, about.get(task, {}), mixes, results)
        for (name, task), by_item in whole.items()
        if by_item
    }
    seeds = f", mean of training seeds {', '.join(map(str, arm.seeds))}" if arm.is_mean else ""
    return ScoreLog(arm.name, tasks, f"arm {arm.name} of the run {arm.folder}{seeds}")


def _of_all_arms(arm: RunArm, by_item: Mapping[str, Sequence[Score]]) -> dict[str, Sequence[Score]]:
    """Return the items that every training seed has a score of."""
    return {
        item_id: scores
        for item_id, scores in by_item.items()
        if {_arm_of(score) for score in scores} == set(arm.arms)
    }


def _task(
    arm: RunArm,
    by_item: Mapping[str, Sequence[Score]],
    prompts: Mapping[str, str],
    about: Mapping[str, Any],
    mixes: Collection[str],
    results: Mapping[str, Any],
) -> TaskLog:
    first = next(iter(by_item.values()))[0]
    items = tuple(
        _item(arm, scores, prompts.get(item_id, "")) for item_id, scores in by_item.items()
    )
    n_samples = max(map(len, by_item.values())) // len(arm.arms)
    return TaskLog(
        metric=f"{first.axis.value}, {first.format.value} format",
        items=items,
        settings={
            "format": first.format.value,
            "few-shot examples": json.dumps(about.get("few_shot")),
            **_discriminator(first, results),
        },
        notes=(f"each score is the mean of {n_samples} samples",) if n_samples > 1 else (),
        group=_group(first, about, mixes),
        seeds=arm.seeds,
    )


def _item(arm: RunArm, scores: Sequence[Score], prompt: str) -> ScoredItem:
    """Return an item's score, the mean over the arms; none where a call of one of them failed."""
    by_arm = [[score for score in scores if _arm_of(score) == name] for name in arm.arms]
    by_seed = tuple(map(_mean, by_arm))
    value = sum(by_seed) / len(by_seed)
    first = scores[0]
    return ScoredItem(
        first.item_id, value, first.cluster_id, prompt, by_seed if arm.is_mean else ()
    )


def _discriminator(score: Score, results: Mapping[str, Any]) -> dict[str, str]:
    """Return what identifies the classifier of a style score: other ones hear other voices."""
    if score.axis is not Axis.STYLE:
        return {}
    prints: Mapping[str, str] = (results.get("provenance") or {}).get("fingerprints") or {}
    base = score.arm.partition("|")[2] or _base_of(score.arm, results)
    cell = f"style/{base}/{score.task}"
    return {"discriminator": prints[cell]} if cell in prints else {}


def _base_of(arm: str, results: Mapping[str, Any]) -> str:
    return next((one["base"] for one in results.get("arms") or [] if one["arm"] == arm), "")


def _group(score: Score, about: Mapping[str, Any], mixes: Collection[str]) -> str:
    """Return which tasks a task may be averaged with: those of its axis, as the verdict does."""
    if not about.get("in_verdict", True):
        return f"{score.task}, outside the verdict"
    if score.axis is not Axis.CAPABILITY:
        return score.axis.value
    is_supported = not set(mixes).isdisjoint(about.get("in_support_of") or ())
    return "capability in support" if is_supported else "held-out capability"


def _mean(scores: Sequence[Score]) -> float:
    values = [score.value for score in scores if score.outcome is not Outcome.FAILED]
    return sum(values) / len(values) if values else math.nan


def _task_name(score: Score, arm: RunArm) -> str:
    if score.axis is not Axis.STYLE:
        return score.task
    return f"{score.task} (told from {score.arm.partition('|')[2] or arm.base})"


def _mine(arm: RunArm) -> list[Score]:
    """Return an arm's scores."""
    return [score for score in _scores(arm.folder) if _arm_of(score) in arm.arms]


def _arm_of(score: Score) -> str:
    """Return whose score it is; a teacher's style stands under `teacher|BASE`."""
    return score.arm.partition("|")[0]


def _recipe(entry: Mapping[str, Any]) -> str:
    """Return what an arm is called without its training seed; "" if it has none."""
    seed = entry.get("seed")
    return "" if seed is None else entry["arm"].removesuffix(f"-s{seed}")


def _results(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return results


def _scores(folder: Path) -> tuple[Score, ...]:
    path = _records(folder, "scores.parquet")
    return _read_scores(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read_scores(path: Path, version: int) -> tuple[Score, ...]:
    """Return the scores of a run, which is read once for all its arms, unless it changes."""
    return tuple(read_records(path, Score))


def _records(folder: Path, name: str) -> Path:
    path = folder / "records" / name
    if not path.is_file():
        raise DataError(
            f"no records in {folder}",
            where=str(path),
            hint="a finished run has them; give an older one again, which reuses all else",
        )
    return path
