"""What is measured: tasks and their items, the rule of the verdict, the embedded world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from evals.records import Axis, Format
from imitate.config.section import Name, PositiveInt, Section

__all__ = [
    "AnalysisConfig",
    "ControlName",
    "FileItems",
    "ItemSource",
    "LabConfig",
    "LabItems",
    "LmEvalItems",
    "MemorisationConfig",
    "TaskConfig",
]


class LabItems(Section):
    """Items of the embedded world."""

    kind: Literal["lab"]
    task: str
    """Task name in the lab, such as `facts` or `addition`."""


class FileItems(Section):
    """Items of a local JSONL, JSON, CSV or Parquet file, gzipped or not."""

    kind: Literal["file"]
    path: Path
    """The file; a relative path starts at the working directory."""
    prompt_column: str = "question"
    """Column with the question."""
    answers_column: str | list[str] | None = None
    """Column with the accepted answer or a list of them, or several such columns."""
    choices_column: str | list[str] | None = None
    """Column with the list of choices, for multiple choice, or one column for each choice."""
    gold_column: str | None = None
    """Column with the index of the right choice, or its letter."""
    cluster_column: str | None = None
    """Column that names the unit of randomisation; each item its own where empty."""
    group_column: str | None = None
    """Column with a stratum to report by."""
    id_column: str | None = None
    """Column with an id of the question, by which recorded outputs and verdicts are matched."""


class LmEvalItems(Section):
    """A task of the lm-evaluation-harness: a built-in name, or a YAML file of one."""

    kind: Literal["lm_eval"]
    task: str
    """Task name, or path of a task's YAML file."""
    metric: str | None = None
    """Metric to read; the task's first where empty."""
    cluster_field: str | None = None
    """Field of the document that names the unit of randomisation."""

    @property
    def path(self) -> Path | None:
        """The task's YAML file; None for a built-in task."""
        return Path(self.task) if self.task.endswith((".yaml", ".yml")) else None


ItemSource = Annotated[LabItems | FileItems | LmEvalItems, Field(discriminator="kind")]


class TaskConfig(Section):
    """One evaluation task and the axis that it measures."""

    name: Name
    """The task's name in tables."""
    axis: Axis
    """Which axis it counts for."""
    source: ItemSource
    """Where its items come from."""
    n_items: PositiveInt = 200
    """Scored items at most."""
    n_development: int = Field(default=40, ge=0)
    """Further items that choose the format and give the few-shot examples; never scored."""
    few_shot: int = Field(default=4, ge=0)
    """Examples before the question in the plain format."""
    max_tokens: PositiveInt = 64
    """Longest answer in the chat format, in tokens."""
    max_plain_tokens: PositiveInt = 16
    """Longest answer in the plain format, in tokens."""
    formats: Annotated[list[Format], Field(min_length=1)] = [Format.PLAIN, Format.CHAT]
    """Formats in which every arm answers; style is measured in chat alone."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Sampling temperature of the answers; 0 is greedy."""
    in_verdict: bool = True
    """Whether it counts for its axis; else it is reported beside it."""
    in_support_of: list[Name] = []
    """Mixes whose data covers this task: for them it is in support, for all others held out."""


ControlName = Literal["null", "style_prompt", "length_padded"]


class AnalysisConfig(Section):
    """The verdict's rule and the statistics under it; frozen in the plan before any result."""

    margin_points: Annotated[float, Field(gt=0, lt=100)] = 5.0
    """Margin m: a smaller gain counts as none, in points (hundredths of the axis)."""
    closed_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share c of the teacher's lead that an imitator must reach to have closed the gap."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """One-sided level of every decision."""
    resamples: PositiveInt = 10_000
    """Bootstrap resamples."""
    floor_points: Annotated[float, Field(ge=0, lt=100)] = 2.0
    """A base below this score is at the floor, in points; the axis says nothing then."""


class MemorisationConfig(Section):
    """How much of the training responses is rote: adapters on two random halves."""

    enabled: bool = True
    """Whether to measure it; it trains two further adapters for each amount, mix and base."""
    amounts: list[PositiveInt] = []
    """Examples of both halves together; the mix's largest amount where empty."""


class LabConfig(Section):
    """The embedded world, where a task, a mix or a model needs it."""

    world_seed: int = 1
    """Seed of people, facts and skills; the weights must have been pretrained on the same."""
    weights: Path | None = None
    """Folder with `small`, `medium`, `large` and `teacher`; the package's own where empty."""
