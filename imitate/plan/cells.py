"""One unit of work: what it is, what it reads, and all of the config that decides its output."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from imitate.config import BaseConfig, Config, ModelTeacher, Teacher

__all__ = [
    "RUN",
    "TEACHER",
    "Cell",
    "Stage",
    "all_items",
    "base_config",
    "dump",
    "teacher_models",
    "teacher_params",
    "template_files",
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


def base_config(config: Config, base: str) -> BaseConfig:
    """Return a base's section of the config."""
    return next(found for found in config.bases if found.name == base)


def template_files(config: Config, base: str) -> tuple[Path, ...]:
    """Return the chat template that a base is given, if any."""
    template = base_config(config, base).chat_template
    return (template,) if template else ()


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
