"""Cells in which judges say whose answers are better, and those that weigh what they said."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evals.judges.meetings import Meeting
from evals.records import Axis
from imitate.config import (
    Config,
    JudgementsJudge,
    ModelJudge,
    ReviewsJudge,
    RunJudge,
    TaskConfig,
)
from imitate.plan.answering import chat_cells
from imitate.plan.arms import Arm, ArmKind
from imitate.plan.cells import JUDGE, RUN, TEACHER, Cell, Stage, dump

__all__ = ["prefer_cells", "reviewed_arms"]

_HIDDEN = {"api_key_env", "price", "files", "path", "author"}
_TOKENS_OF_A_JUDGEMENT = 700


def prefer_cells(config: Config, arms: Sequence[Arm]) -> Iterator[Cell]:
    """Yield two cells for each judge, base and style task: what it said, and what follows."""
    for name, judge in config.preference.judges.items():
        for base in config.bases:
            members = [arm for arm in arms if arm.base == base.name or arm.kind is ArmKind.TEACHER]
            for task in (task for task in config.tasks if task.axis is Axis.STYLE):
                meetings = _meetings(config, judge, members, task)
                if meetings:
                    yield from _pair_of_cells(config, name, base.name, task, members, meetings)


def reviewed_arms(members: Sequence[Arm]) -> dict[str, str]:
    """Return the arms of a base that recorded reviews may name, by the name that they use."""
    named = {arm.mix: arm.name for arm in members if arm.mix and arm.amount is None}
    whole = {arm.name: arm.name for arm in members if arm.kind in (ArmKind.BASE, ArmKind.TEACHER)}
    return {**named, **whole}


def _meetings(
    config: Config,
    judge: RunJudge,
    members: Sequence[Arm],
    task: TaskConfig,
) -> list[Meeting]:
    """Return who meets whom: what was reviewed, all that may have met, or what is to be asked."""
    if isinstance(judge, ReviewsJudge):
        known = reviewed_arms(members)
        reviewed = [(one.first, one.second) for one in judge.files]
        return _once((known[a], known[b]) for a, b in reviewed if a in known and b in known)
    there = [arm for arm in members if arm.kind is not ArmKind.SWEEP]
    there = [arm for arm in there if any(chat_cells(config, arm, task))]
    names = [arm.name for arm in there]
    if isinstance(judge, JudgementsJudge):
        return list(itertools.combinations(names, 2))
    base = next(arm.name for arm in there if arm.kind is ArmKind.BASE)
    against = [{"teacher": TEACHER, "base": base}[role] for role in config.preference.against]
    return _once((arm, other) for other in against if other in names for arm in names)


def _once(meetings: Iterable[Meeting]) -> list[Meeting]:
    """Return the meetings of two arms, each once, whichever stood first."""
    found: list[Meeting] = []
    for arm, against in meetings:
        if arm != against and not {(arm, against), (against, arm)} & set(found):
            found.append((arm, against))
    return found


def _pair_of_cells(
    config: Config,
    name: str,
    base: str,
    task: TaskConfig,
    members: Sequence[Arm],
    meetings: list[Meeting],
) -> Iterator[Cell]:
    judge = config.preference.judges[name]
    is_model = isinstance(judge, ModelJudge)
    n_items = min(task.n_items, config.preference.n_items or task.n_items)
    answers = [cell.name for arm in members for cell in chat_cells(config, arm, task)]
    params: dict[str, Any] = {
        "name": name,
        "judge": dump(judge, *_HIDDEN),
        "arms": [arm.name for arm in members],
        "meetings": [list(meeting) for meeting in meetings],
        "task": task.name,
        "base": base,
        "n_items": config.preference.n_items,
    }
    if isinstance(judge, ReviewsJudge):
        params["reviews"] = [[review.first, review.second] for review in judge.files]
    is_asked = not isinstance(judge, ReviewsJudge | JudgementsJudge)
    anchors = config.preference.anchors if is_asked else None
    if anchors:
        params["anchors"] = dump(anchors, "path")
        if anchors.pairs:
            params["anchors"]["pairs"] = dump(anchors.pairs, "path")
    judged = Cell(
        Stage.JUDGE,
        f"judge/{name}/{base}/{task.name}",
        JUDGE if is_model else RUN,
        params | ({"serve": config.serve.deciding} if is_model else {}),
        inputs=(f"items/{task.name}", *answers),
        models=(judge.model,) if isinstance(judge, ModelJudge) else (),
        files=(*_files(judge), *((anchors.pairs.path,) if anchors and anchors.pairs else ())),
        tokens=2 * n_items * len(meetings) * _TOKENS_OF_A_JUDGEMENT if is_model else 0,
    )
    yield judged
    yield Cell(
        Stage.PREFER,
        f"prefer/{name}/{base}/{task.name}",
        RUN,
        params
        | {
            "author": reviewed_arms(members).get(judge.author or "", judge.author),
            "resamples": config.preference.resamples,
            "seed": config.seed,
        },
        inputs=(*judged.inputs, judged.name),
    )


def _files(judge: RunJudge) -> tuple[Path, ...]:
    """Return what a judge's verdicts are read from: its reviews, or what it is told."""
    if isinstance(judge, ReviewsJudge):
        return tuple(review.path for review in judge.files)
    if isinstance(judge, JudgementsJudge):
        return (judge.path,)
    from evals.judges.rubric import rubric_path

    return (rubric_path(judge.rubric),)
