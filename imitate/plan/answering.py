"""Cells in which arms answer and are scored, and those that listen to how they sound."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals.records import Axis, Format
from imitate.config import (
    Config,
    EndpointTeacher,
    LmEvalItems,
    OracleTeacher,
    OutputsTeacher,
    TaskConfig,
)
from imitate.plan.arms import Arm, ArmKind, group_of, recorded_outputs, teacher_answers
from imitate.plan.cells import (
    RUN,
    TEACHER,
    Cell,
    Stage,
    all_items,
    base_config,
    dump,
    source_files,
    source_params,
    teacher_models,
    teacher_params,
    template_files,
)

__all__ = [
    "N_STYLE_EXAMPLES",
    "chat_cells",
    "imitated_mix",
    "measure_cells",
    "style_cells",
    "unasked_formats",
]

N_STYLE_EXAMPLES = 3
"""Examples of the teacher's that the `style_prompt` control shows."""

_FREE_CONTROLS = {"null", "length_padded"}


def measure_cells(config: Config, arm: Arm) -> Iterator[Cell]:
    """Yield the cells in which one arm answers every task, and those that score it."""
    for task in config.tasks:
        if not _is_measured(config, arm, task):
            continue
        if task.axis is Axis.CAPABILITY:
            yield from _capability_cells(config, arm, task)
            continue
        generated = list(_generate_cells(config, arm, task))
        yield from generated
        if task.axis is Axis.FACTUALITY:
            inputs = (f"items/{task.name}", *(cell.name for cell in generated))
            yield Cell(Stage.SCORE, f"score/{arm.name}/{task.name}", RUN, inputs=inputs)
            if arm.kind is ArmKind.BASE:
                yield from _knowledge_cells(config, arm, task)


def _is_measured(config: Config, arm: Arm, task: TaskConfig) -> bool:
    if recorded_outputs(config, arm):
        return task.axis is Axis.STYLE
    if arm.control == "null":
        return task.axis is not Axis.CAPABILITY
    if arm.control == "length_padded":
        return task.axis is Axis.STYLE and teacher_answers(config)
    return bool(_formats(config, arm, task))


def unasked_formats(config: Config, task: TaskConfig) -> dict[Format, str]:
    """Return the formats in which the teacher is not asked, each with the reason."""
    is_endpoint = isinstance(config.teacher, EndpointTeacher) and not config.teacher.completions
    if not is_endpoint or task.axis is Axis.STYLE or Format.PLAIN not in task.formats:
        return {}
    return {Format.PLAIN: "the teacher's server takes chats alone (`teacher.completions` is false)"}


def _capability_cells(config: Config, arm: Arm, task: TaskConfig) -> Iterator[Cell]:
    params: dict[str, Any] = {"seed": config.seed, "shard_items": config.serve.shard_items}
    files: tuple[Path, ...] = ()
    if isinstance(task.source, LmEvalItems):  # lm-eval reads the task again
        params["source"], files = source_params(task.source), source_files(task.source)
    for format_ in _formats(config, arm, task):
        cell = _answering(
            config,
            arm,
            Stage.CAPABILITY,
            f"capability/{arm.name}/{task.name}/{format_}",
            {**_task_params(task, format_), **params},
            inputs=(f"items/{task.name}",),
            tokens=_answer_tokens(task, format_, task.n_items + task.n_development),
        )
        yield dataclasses.replace(cell, files=(*cell.files, *files))


def _generate_cells(config: Config, arm: Arm, task: TaskConfig) -> Iterator[Cell]:
    total, size = task.n_items + task.n_development, config.serve.shard_items
    samples = _n_samples(config, arm, task)
    for format_ in _formats(config, arm, task):
        for sample in range(samples):
            for shard in range(math.ceil(total / size)):
                params = {
                    **_task_params(task, format_),
                    "sample": sample,
                    "shard": shard,
                    "shard_items": size,
                    "seed": config.seed,
                    "control": arm.control,
                }
                inputs: tuple[str, ...] = (f"items/{task.name}",)
                if arm.control == "length_padded":
                    inputs += (
                        f"generate/{arm.base}/{task.name}/{format_}/{sample}-{shard}",
                        f"generate/{TEACHER}/{task.name}/{format_}/{sample}-{shard}",
                    )
                yield _answering(
                    config,
                    arm,
                    Stage.GENERATE,
                    f"generate/{arm.name}/{task.name}/{format_}/{sample}-{shard}",
                    params,
                    inputs=inputs,
                    tokens=_answer_tokens(task, format_, min(size, total - shard * size)),
                )


def _n_samples(config: Config, arm: Arm, task: TaskConfig) -> int:
    """Two of a teacher that can be asked: the first trains the discriminator, the second scores."""
    is_asked = arm.kind is ArmKind.TEACHER and not recorded_outputs(config, arm)
    return 2 if is_asked and task.axis is Axis.STYLE else 1


def _answering(
    config: Config,
    arm: Arm,
    stage: Stage,
    name: str,
    params: dict[str, Any],
    *,
    inputs: tuple[str, ...],
    tokens: int,
) -> Cell:
    if arm.control == "style_prompt":
        inputs += (f"data/{imitated_mix(config)}",)
        params = params | {"control": arm.control}
    teacher = config.teacher if arm.kind is ArmKind.TEACHER else None
    is_free = arm.control in _FREE_CONTROLS or isinstance(teacher, OracleTeacher)
    models: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    if recorded := recorded_outputs(config, arm):
        is_free, files = True, (recorded.path,)
        columns = dump(recorded)
        params = params | {"recorded": {n: columns[n] for n in columns if n.endswith("_column")}}
    elif teacher:
        params = params | {
            "teacher": teacher_params(teacher),
            "distill": dump(config.distill, "backend"),
        }
        models = teacher_models(teacher)
    elif base_config(config, group_of(arm)).model:
        models = (base_config(config, group_of(arm)).checkpoint,)
        files = template_files(config, group_of(arm))
    return Cell(
        stage,
        name,
        RUN if is_free else group_of(arm),
        params | {"serve": config.serve.deciding},
        inputs=(*inputs, *((arm.trained_by,) if arm.trained_by else ())),
        models=models,
        files=files,
        examples=N_STYLE_EXAMPLES if arm.control == "style_prompt" else None,
        adapter=arm.trained_by,
        tokens=0 if is_free else tokens,
    )


def imitated_mix(config: Config) -> str:
    """Return the first mix that is no control: its examples show the teacher's style."""
    return next(name for name, mix in config.mixes.items() if not mix.is_control)


def _knowledge_cells(config: Config, arm: Arm, task: TaskConfig) -> Iterator[Cell]:
    """What the base knows: several few-shot draws, greedy and sampled, in the plain format."""
    if Format.PLAIN not in task.formats:
        return
    yield _answering(
        config,
        arm,
        Stage.KNOWLEDGE,
        f"knowledge/{arm.name}/{task.name}",
        {**_task_params(task, Format.PLAIN), "seed": config.seed},
        inputs=(f"items/{task.name}",),
        tokens=8 * _answer_tokens(task, Format.PLAIN, task.n_items),
    )


def style_cells(config: Config, arms: tuple[Arm, ...]) -> Iterator[Cell]:
    """Yield a cell for the style of all arms of each base on each style task."""
    if not teacher_answers(config):
        return
    teacher = next(arm for arm in arms if arm.kind is ArmKind.TEACHER)
    tasks = [task for task in config.tasks if task.axis is Axis.STYLE]
    for task in tasks:
        told = _told_in_chat(config) if task is tasks[0] else []
        for base in config.bases:
            members = [teacher, *(arm for arm in arms if arm.base == base.name)]
            asked = [task, *told]
            inputs = tuple(
                cell.name
                for arm in members
                for one in asked
                for cell in chat_cells(config, arm, one)
            )
            params = {
                "arms": [arm.name for arm in members],
                "seed": config.seed,
                "task": task.name,
                "told": [one.name for one in told],
                "base": base.name,
            }
            yield Cell(
                Stage.STYLE,
                f"style/{base.name}/{task.name}",
                RUN,
                params,
                inputs=(*all_items(config), *inputs),
            )


def chat_cells(config: Config, arm: Arm, task: TaskConfig) -> Iterator[Cell]:
    """Yield the cells that hold an arm's chat answers to a task."""
    if _is_measured(config, arm, task):
        for cell in _generate_cells(config, arm, task):
            if cell.params["format"] == Format.CHAT:
                yield cell


def _told_in_chat(config: Config) -> list[TaskConfig]:
    """Factuality tasks whose chat answers are heard as well: did it win on style, lose on fact?"""
    if isinstance(config.teacher, OutputsTeacher):
        return []
    told = [t for t in config.tasks if t.axis is Axis.FACTUALITY and Format.CHAT in t.formats]
    return [task for task in told if task.in_verdict]


def _formats(config: Config, arm: Arm, task: TaskConfig) -> list[Format]:
    if task.axis is Axis.STYLE or arm.control == "style_prompt":
        return [Format.CHAT]
    unasked = unasked_formats(config, task) if arm.kind is ArmKind.TEACHER else {}
    return [format_ for format_ in task.formats if format_ not in unasked]


def _task_params(task: TaskConfig, format_: Format) -> dict[str, Any]:
    return {
        "task": task.name,
        "format": format_.value,
        "few_shot": task.few_shot,
        "max_tokens": task.max_tokens if format_ is Format.CHAT else task.max_plain_tokens,
        "temperature": task.temperature,
        "n_items": task.n_items,
        "n_development": task.n_development,
    }


def _answer_tokens(task: TaskConfig, format_: Format, n: int) -> int:
    if format_ is Format.CHAT:
        return n * (40 + task.max_tokens // 2)
    return n * (30 * (task.few_shot + 1) + task.max_plain_tokens // 2)
