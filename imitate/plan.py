"""A config -> the arms that are compared, and the cells of work in the order in which they can run.

Cells name what they read: other cells, models, files. What those contain becomes part of a
fingerprint only when it is known (`imitate.run`), so a change that leaves an input's content alone
recomputes nothing. Cells know settings and never arm names: two arms with the same adapter share
all their work.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from evals.records import Axis, Format
from imitate.config import (
    BaseConfig,
    Config,
    FileItems,
    FileSource,
    LabSource,
    MixConfig,
    ModelTeacher,
    OracleTeacher,
    OutputsTeacher,
    PublishedTeacher,
    TaskConfig,
    Teacher,
)

__all__ = [
    "RUN",
    "TEACHER",
    "Arm",
    "ArmKind",
    "Cell",
    "Plan",
    "Stage",
    "build_plan",
    "imitated_mix",
]

TEACHER = "teacher"
RUN = "run"


class Stage(StrEnum):
    """The kinds of work, in the order of the pipeline."""

    ITEMS = "items"
    DISTILL = "distill"
    DATA = "data"
    TRAIN = "train"
    CHOOSE = "choose"
    GENERATE = "generate"
    CAPABILITY = "capability"
    SCORE = "score"
    KNOWLEDGE = "knowledge"
    STYLE = "style"
    MEMORISE = "memorise"
    ANALYSE = "analyse"


class ArmKind(StrEnum):
    """What an arm is in the comparison."""

    BASE = "base"
    TEACHER = "teacher"
    IMITATOR = "imitator"
    SWEEP = "sweep"
    CONTROL = "control"


@dataclasses.dataclass(frozen=True)
class Arm:
    """One thing compared. `trained_by` is the cell that makes its adapter."""

    name: str
    kind: ArmKind
    base: str | None = None
    mix: str | None = None
    amount: int | None = None
    seed: int | None = None
    learning_rate: float | None = None
    control: str | None = None
    trained_by: str | None = None


@dataclasses.dataclass(frozen=True)
class Cell:
    """One unit of work. `params` holds all of the config that decides its output.

    `group` is the base (or the teacher) whose endpoint it needs, or "run". `adapter` is the train
    cell whose adapter it measures. `chosen_by` is the cell that settles its learning rate.
    `models` and `files` are read by it. `tokens` is an estimate of the tokens that pass through a
    model, trained on or not.
    """

    stage: Stage
    name: str
    group: str = RUN
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    adapter: str | None = None
    chosen_by: str | None = None
    tokens: int = 0


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
    arms = tuple(_arms(config))
    cells: list[Cell] = []
    cells += _item_cells(config)
    cells += _distill_cells(config)
    cells += _data_cells(config)
    for group in (TEACHER, *(base.name for base in config.bases)):
        cells += _train_cells(config, group)
        members = [arm for arm in arms if _group_of(arm) == group]
        cells += _unique(cell for arm in members for cell in _measure_cells(config, arm))
        cells += _memorise_cells(config, group)
    cells += _style_cells(config, arms)
    everything = tuple(cell.name for cell in cells if cell.stage in _READ_BY_ANALYSIS)
    analysis = {
        "analysis": config.analysis.model_dump(mode="json"),
        "tasks": [task.model_dump(mode="json") for task in config.tasks],
        "arms": [dataclasses.asdict(arm) for arm in arms],
        "teacher": config.teacher.model_dump(mode="json"),
        "seed": config.seed,
        "name": config.name,
    }
    cells.append(Cell(Stage.ANALYSE, "analyse", params=analysis, inputs=everything))
    return Plan(config, arms, tuple(cells))


_READ_BY_ANALYSIS = set(Stage) - {Stage.DISTILL, Stage.ANALYSE}


# --- arms -----------------------------------------------------------------------------------------


def _arms(config: Config) -> Iterator[Arm]:
    if _teacher_answers(config):
        yield Arm(TEACHER, ArmKind.TEACHER)
    for base in config.bases:
        yield Arm(base.name, ArmKind.BASE, base=base.name)
        for control in config.controls:
            if control != "second_sample":
                yield Arm(
                    f"{base.name}+{control}", ArmKind.CONTROL, base=base.name, control=control
                )
        for name, mix in config.mixes.items():
            if mix.bases is None or base.name in mix.bases:
                yield from _mix_arms(config, base.name, name, mix)


def _mix_arms(config: Config, base: str, name: str, mix: MixConfig) -> Iterator[Arm]:
    for amount in mix.amounts:
        for seed in mix.seeds:
            label = f"{base}/{name}-{amount}-s{seed}"
            yield Arm(
                label,
                ArmKind.IMITATOR,
                base=base,
                mix=name,
                amount=amount,
                seed=seed,
                learning_rate=_single_rate(config),
                trained_by=f"train/{label}",
            )
    if _single_rate(config) is None and not mix.is_control and mix.evaluate_sweep:
        for rate in _rates(config):
            label = _sweep_label(base, name, mix, rate)
            yield Arm(
                label,
                ArmKind.SWEEP,
                base=base,
                mix=name,
                amount=max(mix.amounts),
                seed=mix.seeds[0],
                learning_rate=rate,
                trained_by=f"train/{label}",
            )


def _sweep_label(base: str, name: str, mix: MixConfig, rate: float) -> str:
    return f"{base}/{name}-{max(mix.amounts)}-s{mix.seeds[0]}@{rate:g}"


def _rates(config: Config) -> list[float]:
    rate = config.train.learning_rate
    return sorted(set(rate)) if isinstance(rate, list) else [rate]


def _single_rate(config: Config) -> float | None:
    rates = _rates(config)
    return rates[0] if len(rates) == 1 else None


def _group_of(arm: Arm) -> str:
    return arm.base or TEACHER


def _teacher_answers(config: Config) -> bool:
    return not isinstance(config.teacher, PublishedTeacher)


# --- data -----------------------------------------------------------------------------------------


def _item_cells(config: Config) -> Iterator[Cell]:
    for task in config.tasks:
        params = {
            "source": task.source.model_dump(mode="json"),
            "task": task.name,
            "axis": task.axis.value,
            "n_items": task.n_items,
            "n_development": task.n_development,
            "seed": config.seed,
            "world": config.lab.world_seed if task.source.kind == "lab" else None,
            "few_shot": task.few_shot,
        }
        files = (task.source.path,) if isinstance(task.source, FileItems) else ()
        yield Cell(Stage.ITEMS, f"items/{task.name}", params=params, files=files)


def _distill_cells(config: Config) -> Iterator[Cell]:
    for name, mix in config.mixes.items():
        for position, source in enumerate(mix.sources):
            if isinstance(source, LabSource):
                params = {
                    "source": source.model_dump(mode="json"),
                    "teacher": _teacher_params(config.teacher),
                    "distill": config.distill.model_dump(mode="json"),
                    "world": config.lab.world_seed,
                    "seed": config.seed,
                }
                yield Cell(
                    Stage.DISTILL,
                    f"distill/{name}/{position}",
                    RUN if isinstance(config.teacher, OracleTeacher) else TEACHER,
                    params,
                    models=_teacher_models(config.teacher),
                    tokens=source.rows * 120,
                )


def _data_cells(config: Config) -> Iterator[Cell]:
    items = tuple(f"items/{task.name}" for task in config.tasks)
    ordered = sorted(config.mixes.items(), key=lambda pair: pair[1].is_control)
    for name, mix in ordered:
        params: dict[str, Any] = {"amount": max(mix.amounts), "seed": config.seed}
        files = tuple(source.path for source in mix.sources if isinstance(source, FileSource))
        if mix.shuffled_from:
            inputs: tuple[str, ...] = (f"data/{mix.shuffled_from}",)
            params["shuffled"] = True
        else:
            params |= {
                "sources": [
                    source.model_dump(mode="json", exclude={"path"}) for source in mix.sources
                ],
                "data": config.data.model_dump(mode="json"),
                "decontaminate": mix.decontaminate and config.data.decontaminate,
                "world": config.lab.world_seed,
            }
            distilled = (
                f"distill/{name}/{position}"
                for position, source in enumerate(mix.sources)
                if isinstance(source, LabSource)
            )
            inputs = (*distilled, *items)
        yield Cell(Stage.DATA, f"data/{name}", params=params, inputs=inputs, files=files)


def _teacher_params(teacher: Teacher) -> dict[str, Any]:
    hidden = {"api_key_env", "path", "scores"}
    hidden |= {"model"} if isinstance(teacher, ModelTeacher) else set()
    return teacher.model_dump(mode="json", exclude=hidden)


def _teacher_models(teacher: Teacher) -> tuple[str, ...]:
    return (teacher.model,) if isinstance(teacher, ModelTeacher) else ()


# --- training -------------------------------------------------------------------------------------


def _train_cells(config: Config, base: str) -> Iterator[Cell]:
    for name, mix in config.mixes.items():
        if base == TEACHER or (mix.bases is not None and base not in mix.bases):
            continue
        if _single_rate(config) is None and not mix.is_control:
            yield from _sweep_cells(config, base, name, mix)
        for amount in mix.amounts:
            for seed in mix.seeds:
                label = f"train/{base}/{name}-{amount}-s{seed}"
                yield _train_cell(config, base, name, label, amount=amount, seed=seed)
        if _is_memorised(config, base, mix):
            yield from _half_cells(config, base, name, mix)


def _sweep_cells(config: Config, base: str, name: str, mix: MixConfig) -> Iterator[Cell]:
    points = []
    for rate in _rates(config):
        label = f"train/{_sweep_label(base, name, mix, rate)}"
        amount, seed = max(mix.amounts), mix.seeds[0]
        yield _train_cell(config, base, name, label, amount=amount, seed=seed, rate=rate)
        points.append(label)
    yield Cell(
        Stage.CHOOSE,
        f"choose/{base}/{name}",
        params={"rule": "lowest held-out loss"},
        inputs=tuple(points),
    )


def _train_cell(
    config: Config,
    base: str,
    mix_name: str,
    label: str,
    *,
    amount: int,
    seed: int,
    rate: float | None = None,
    half: int | None = None,
) -> Cell:
    train = _dump(config.train, "learning_rate", "report_to")
    rate = rate if rate is not None else _single_rate(config)
    rule = f"choose/{base}/{config.mixes[mix_name].shuffled_from or mix_name}"
    params = {
        "train": train,
        "learning_rate": rate,
        "amount": amount,
        "seed": seed,
        "half": half,
    }
    return Cell(
        Stage.TRAIN,
        label,
        base,
        params,
        inputs=(f"data/{mix_name}",),
        models=(_base_config(config, base).model,),
        files=_template_files(config, base),
        chosen_by=rule if rate is None else None,
        tokens=amount * config.train.epochs * min(config.train.max_length, 250),
    )


def _base_config(config: Config, base: str) -> BaseConfig:
    return next(found for found in config.bases if found.name == base)


def _template_files(config: Config, base: str) -> tuple[Path, ...]:
    template = _base_config(config, base).chat_template
    return (template,) if template else ()


# --- measuring ------------------------------------------------------------------------------------


def _measure_cells(config: Config, arm: Arm) -> Iterator[Cell]:
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
    if arm.kind is ArmKind.TEACHER and isinstance(config.teacher, OutputsTeacher):
        return task.axis is Axis.STYLE
    if arm.control == "null":
        return task.axis is not Axis.CAPABILITY
    if arm.control == "length_padded":
        return task.axis is Axis.STYLE
    return True


def _capability_cells(config: Config, arm: Arm, task: TaskConfig) -> Iterator[Cell]:
    for format_ in _formats(arm, task):
        yield _answering(
            config,
            arm,
            Stage.CAPABILITY,
            f"capability/{arm.name}/{task.name}/{format_}",
            {**_task_params(task, format_), "seed": config.seed},
            inputs=(f"items/{task.name}",),
            tokens=_answer_tokens(task, format_, task.n_items + task.n_development),
        )


def _generate_cells(config: Config, arm: Arm, task: TaskConfig) -> Iterator[Cell]:
    total, size = task.n_items + task.n_development, config.serve.shard_items
    samples = _n_samples(config, arm, task)
    for format_ in _formats(arm, task):
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
    is_asked = arm.kind is ArmKind.TEACHER and not isinstance(config.teacher, OutputsTeacher)
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
    files: tuple[Path, ...] = ()
    if teacher:
        params = params | {"teacher": _teacher_params(teacher), "distill": _dump(config.distill)}
        models = _teacher_models(teacher)
        files = (teacher.path,) if isinstance(teacher, OutputsTeacher) else ()
    else:
        models = (_base_config(config, _group_of(arm)).model,)
        files = _template_files(config, _group_of(arm))
    is_free = arm.control in _FREE_CONTROLS or isinstance(teacher, OracleTeacher | OutputsTeacher)
    return Cell(
        stage,
        name,
        RUN if is_free else _group_of(arm),
        params | {"serve": _dump(config.serve, "shard_items")},
        inputs=(*inputs, *((arm.trained_by,) if arm.trained_by else ())),
        models=models,
        files=files,
        adapter=arm.trained_by,
        tokens=0 if is_free else tokens,
    )


def imitated_mix(config: Config) -> str:
    """Return the first mix that is no control: its examples show the teacher's style."""
    return next(name for name, mix in config.mixes.items() if not mix.is_control)


_FREE_CONTROLS = {"null", "length_padded"}


def _dump(section: BaseModel, *exclude: str) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude=set(exclude))


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


def _half_cells(config: Config, base: str, name: str, mix: MixConfig) -> Iterator[Cell]:
    amount = _memorised_amount(config, mix)
    for half in (0, 1):
        label = f"train/{base}/{name}-{amount}-half{half}"
        yield _train_cell(config, base, name, label, amount=amount, seed=mix.seeds[0], half=half)


def _memorise_cells(config: Config, base: str) -> Iterator[Cell]:
    for name, mix in config.mixes.items():
        if base == TEACHER or not _is_memorised(config, base, mix):
            continue
        amount = _memorised_amount(config, mix)
        params = {
            "amount": amount,
            "seed": config.seed,
            "serve": _dump(config.serve, "shard_items"),
        }
        halves = (f"train/{base}/{name}-{amount}-half{half}" for half in (0, 1))
        yield Cell(
            Stage.MEMORISE,
            f"memorise/{base}/{name}",
            base,
            params,
            inputs=(f"data/{name}", *halves),
            models=(_base_config(config, base).model,),
            files=_template_files(config, base),
            tokens=2 * amount * 120,
        )


def _is_memorised(config: Config, base: str, mix: MixConfig) -> bool:
    is_trained = mix.bases is None or base in mix.bases
    return config.memorisation.enabled and is_trained and not (mix.is_control or mix.is_planted)


def _memorised_amount(config: Config, mix: MixConfig) -> int:
    return min(config.memorisation.amount or max(mix.amounts), max(mix.amounts))


def _style_cells(config: Config, arms: tuple[Arm, ...]) -> Iterator[Cell]:
    if not _teacher_answers(config):
        return
    teacher = next(arm for arm in arms if arm.kind is ArmKind.TEACHER)
    for task in config.tasks:
        if task.axis is not Axis.STYLE:
            continue
        for base in config.bases:
            members = [teacher, *(arm for arm in arms if arm.base == base.name)]
            inputs = tuple(
                cell.name for arm in members for cell in _generate_cells(config, arm, task)
            )
            params = {
                "arms": [arm.name for arm in members],
                "seed": config.seed,
                "task": task.name,
                "base": base.name,
            }
            yield Cell(
                Stage.STYLE,
                f"style/{base.name}/{task.name}",
                RUN,
                params,
                inputs=(f"items/{task.name}", *inputs),
            )


def _formats(arm: Arm, task: TaskConfig) -> list[Format]:
    if task.axis is Axis.STYLE or arm.control == "style_prompt":
        return [Format.CHAT]
    return list(task.formats)


def _task_params(task: TaskConfig, format_: Format) -> dict[str, Any]:
    return {
        "source": task.source.model_dump(mode="json"),
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


def _unique(cells: Iterable[Cell]) -> list[Cell]:
    return list({cell.name: cell for cell in cells}.values())
