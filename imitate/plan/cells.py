"""One unit of work: what it is, what it reads, and all of the config that decides its output."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from imitate.config import (
    BaseConfig,
    Config,
    HubSource,
    ItemSource,
    LmEvalItems,
    ModelTeacher,
    Teacher,
)

__all__ = [
    "JUDGE",
    "RUN",
    "TEACHER",
    "Cell",
    "Stage",
    "all_items",
    "base_config",
    "dump",
    "source_files",
    "source_params",
    "teacher_models",
    "teacher_params",
    "template_files",
]

TEACHER = "teacher"
RUN = "run"
JUDGE = "judge"


class Stage(StrEnum):
    """The kinds of work, in the order of the pipeline."""

    ITEMS = "items"
    DISTILL = "distill"
    DATA = "data"
    TRAIN = "train"
    CHOOSE = "choose"
    REFERENCE = "reference"
    PROVE = "prove"
    GENERATE = "generate"
    CAPABILITY = "capability"
    SCORE = "score"
    KNOWLEDGE = "knowledge"
    STYLE = "style"
    MEMORISE = "memorise"
    JUDGE = "judge"
    PREFER = "prefer"
    ANALYSE = "analyse"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One unit of work. `params` holds all of the config that decides its output.

    `group` is the base (or the teacher) whose endpoint it needs, "judge" where it serves one of its
    own, or "run". `adapter` is the train
    cell whose adapter it measures. `chosen_by` is the cell that settles its learning rate.
    `models`, `files` and `data_sets` are read by it. `examples` is how many examples of a mix it
    reads, from the first; None where it reads all that its data cell holds. `tokens` is an estimate
    of the tokens that pass through a model, trained on or not.
    """

    stage: Stage
    name: str
    group: str = RUN
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    data_sets: tuple[HubSource, ...] = ()
    examples: int | None = None
    adapter: str | None = None
    chosen_by: str | None = None
    tokens: int = 0


def base_config(config: Config, base: str) -> BaseConfig:
    """Return a base's section of the config."""
    return next(found for found in config.bases if found.name == base)


def template_files(config: Config, base: str) -> tuple[Path, ...]:
    """Return the chat template that a base is given, if any."""
    template = base_config(config, base).chat_template
    return (template,) if template else ()


def source_params(source: ItemSource) -> dict[str, Any]:
    """Return what a source of items says, but for the place of its file, whose content counts."""
    params = source.model_dump(mode="json", exclude={"path"})
    if isinstance(source, LmEvalItems) and source.path:
        params["task"] = source.path.name
    return params


def source_files(source: ItemSource) -> tuple[Path, ...]:
    """Return the file that a source of items names, if any."""
    path: Path | None = getattr(source, "path", None)
    return (path,) if path else ()


def teacher_params(teacher: Teacher) -> dict[str, Any]:
    """Return what decides the answers of a teacher, but for the content of models and files."""
    hidden = {"api_key_env", "path", "scores"}
    hidden |= {"model"} if isinstance(teacher, ModelTeacher) else set()
    return teacher.model_dump(mode="json", exclude=hidden)


def teacher_models(teacher: Teacher) -> tuple[str, ...]:
    """Return the models that a teacher runs on."""
    return (teacher.model,) if isinstance(teacher, ModelTeacher) else ()


def all_items(config: Config) -> tuple[str, ...]:
    """Return the cells of all items: their answers are masked before a voice is judged."""
    return tuple(f"items/{task.name}" for task in config.tasks)


def dump(section: BaseModel, *exclude: str) -> dict[str, Any]:
    """Return a section of the config as JSON values."""
    return section.model_dump(mode="json", exclude=set(exclude))
