"""Every schema and every default: what a config file may say, and what it means where it is silent.

A config is frozen once read. Units stand in names or in the line under the field. Reading a file,
with its overrides and its errors, is `imitate.configfile`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from evals.records import Axis, Format

__all__ = [
    "AnalysisConfig",
    "BaseConfig",
    "Config",
    "ControlName",
    "DataConfig",
    "DistillConfig",
    "DocumentsSource",
    "EndpointTeacher",
    "FileItems",
    "FileSource",
    "HubSource",
    "ItemSource",
    "LabConfig",
    "LabItems",
    "LabSource",
    "LmEvalItems",
    "MixConfig",
    "ModelTeacher",
    "OracleTeacher",
    "OutputsTeacher",
    "PublishedTeacher",
    "ServeConfig",
    "Source",
    "TaskConfig",
    "Teacher",
    "TrainConfig",
]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """What all parts of a config have in common: frozen, strict, no unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


# --- models ---------------------------------------------------------------------------------------


class BaseConfig(Section):
    """One base model that is fine-tuned and compared."""

    name: Name
    """The base's name in arms, tables and figures."""
    model: str
    """Hub id (`ID@REVISION` pins it), local folder, package-shipped name, or `lab/SIZE`."""
    chat_template: Path | None = None
    """Jinja file that replaces the tokenizer's chat template."""
    is_tuned: bool = False
    """Whether the starting point is already instruction-tuned: labelled so in the report."""


class ModelTeacher(Section):
    """A model that answers the prompts here."""

    kind: Literal["model"]
    model: str
    """Hub id (`ID@REVISION` pins it), local folder, package-shipped name, or `lab/teacher`."""


class OracleTeacher(Section):
    """The lab's truth in the assistant's voice, with a stated error rate."""

    kind: Literal["oracle"]
    error_rate: Share = 0.0
    """Share of factual answers that are wrong on purpose."""


class EndpointTeacher(Section):
    """A model behind an OpenAI-compatible server."""

    kind: Literal["endpoint"]
    url: str
    """Base URL, such as `http://127.0.0.1:8000/v1`."""
    model: str
    """The model's name on that server."""
    api_key_env: str | None = None
    """Environment variable that holds the key; the key itself never enters a config."""
    completions: bool = False
    """Whether it completes plain text too, with `echo` and `logprobs`; else it is asked in chat."""


class PublishedScore(Section):
    """One published score of the teacher."""

    value: Share
    """Score in [0, 1]."""
    n: PositiveInt
    """Number of items that it was measured on."""
    source: str
    """Where it was published."""


class OutputsTeacher(Section):
    """Recorded outputs on the style prompts, and published scores elsewhere."""

    kind: Literal["outputs"]
    path: Path
    """JSONL, JSON, CSV or Parquet, gzipped or not, with one output for each style prompt."""
    prompt_column: str = "prompt"
    """Column with the prompt, by which outputs are matched to items."""
    text_column: str = "text"
    """Column with the output."""
    scores: dict[str, PublishedScore] = {}
    """Published score by task name."""


class PublishedTeacher(Section):
    """Published scores only: no output of the teacher is at hand, except what a mix holds."""

    kind: Literal["published"]
    scores: dict[str, PublishedScore] = {}
    """Score by task name."""


Teacher = Annotated[
    ModelTeacher | OracleTeacher | EndpointTeacher | OutputsTeacher | PublishedTeacher,
    Field(discriminator="kind"),
]


class DistillConfig(Section):
    """How the teacher answers prompts: for imitation data, and on style tasks."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    """Sampling temperature; 0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus of the distribution that is sampled from."""
    max_tokens: PositiveInt = 256
    """Longest response, in tokens; responses that reach it are dropped."""


# --- imitation data -------------------------------------------------------------------------------


class TableSource(Section):
    """What a file and a hub data set have in common: how rows become examples."""

    format: Literal["auto", "messages", "sharegpt", "alpaca", "completion", "hc3", "columns"] = (
        "auto"
    )
    """Layout of a row; `auto` recognises it from the columns."""
    prompt_column: str | None = None
    """Column with the prompt, for `format: columns`."""
    response_column: str | None = None
    """Column with the response, for `format: columns`."""
    category_column: str | None = None
    """Column with the category that `data.category_shares` balances."""
    keep_where: dict[str, str | int | bool] = {}
    """Keep only rows whose column has this value, such as `{hallucination: "no"}`."""


class FileSource(TableSource):
    """A local JSONL, JSON, CSV or Parquet file, gzipped or not."""

    kind: Literal["file"]
    path: Path
    """The file; a relative path starts at the working directory."""


class HubSource(TableSource):
    """A data set of the Hugging Face hub, streamed."""

    kind: Literal["hub"]
    dataset: str
    """Data set id."""
    subset: str | None = None
    """Configuration name of the data set."""
    split: str = "train"
    """Split to read."""
    revision: str | None = None
    """Commit, tag or branch; where empty the newest commit, which the run records."""


class LabSource(Section):
    """Prompts of the embedded world, answered by the run's teacher."""

    kind: Literal["lab"]
    mix: Literal["broad", "local"]
    """`broad`: the teacher's chat on everything; `local`: its answers for one skill."""
    rows: PositiveInt
    """Prompts to draw."""


class DocumentsSource(Section):
    """Plain documents of the embedded world about what is evaluated: more pretraining, no voice."""

    kind: Literal["documents"]
    rows: PositiveInt
    """Documents to draw."""


Source = Annotated[
    FileSource | HubSource | LabSource | DocumentsSource, Field(discriminator="kind")
]


class MixConfig(Section):
    """One kind of imitation data, and the arms trained on it."""

    sources: list[Source] = []
    """Where examples come from; leave empty with `shuffled_from`."""
    shuffled_from: Name | None = None
    """Take another mix and permute its responses across prompts: a control."""
    amounts: Annotated[list[PositiveInt], Field(min_length=1)]
    """Training examples, one arm each; a smaller amount is a prefix of a larger one."""
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    """Training seeds, one arm each."""
    bases: list[Name] | None = None
    """Bases to train on this mix; all where empty."""
    decontaminate: bool = True
    """Remove examples that share evaluation items; off only for an arm planted on purpose."""
    is_planted: bool = False
    """Whether this arm is planted to calibrate the instrument, and labelled so."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak rate of this mix alone; `train.learning_rate` where empty."""
    evaluate_sweep: bool = True
    """Whether the learning rates that were not chosen are evaluated too."""

    @model_validator(mode="after")
    def _has_one_origin(self) -> MixConfig:
        if bool(self.sources) == bool(self.shuffled_from):
            raise ValueError("give either `sources` or `shuffled_from`")
        return self

    @property
    def is_control(self) -> bool:
        """Whether the mix is a control rather than imitation."""
        return self.shuffled_from is not None


class NearDuplicates(Section):
    """Near duplicates by MinHash over word shingles."""

    enabled: bool = True
    """Whether to drop near duplicates."""
    threshold: Share = 0.8
    """Estimated Jaccard similarity from which two rows are near duplicates."""
    permutations: PositiveInt = 64
    """Hash permutations of a signature."""
    shingle_words: PositiveInt = 5
    """Words of a shingle."""


class DataConfig(Section):
    """The steps between sources and examples; each is counted in the data card."""

    normalise: bool = True
    """Unicode NFC, line ends, trailing spaces."""
    min_response_chars: int = Field(default=1, ge=0)
    """Shorter responses are dropped, in characters."""
    max_chars: PositiveInt = 20_000
    """Longer rows are dropped: prompt and response together, in characters."""
    exact_duplicates: bool = True
    """Whether to drop exact duplicates of prompt and response."""
    near_duplicates: NearDuplicates = NearDuplicates()
    """How to drop near duplicates."""
    language: Literal["any", "en"] = "any"
    """Keep only rows in this language, by a stop-word rule."""
    decontaminate: bool = True
    """Drop rows that share an n-gram, or entity and answer together, with an evaluation item."""
    decontaminate_ngram: PositiveInt = 13
    """Words of an n-gram; shorter evaluation prompts are matched whole."""
    category_shares: dict[str, Share] = {}
    """Share of each category among the examples; empty leaves the mix as it comes."""
    held_out: Share = 0.1
    """Share of prompts held out, by prompt: style prompts and the loss that chooses settings."""
    max_held_out: PositiveInt = 256
    """Held-out prompts at most."""
    max_bad_lines: int = Field(default=0, ge=0)
    """Unreadable lines of a file that may be skipped, each counted."""
    max_row_bytes: PositiveInt = 10_000_000
    """Longer lines of a file are dropped unread, in bytes."""


# --- training -------------------------------------------------------------------------------------


class TrainConfig(Section):
    """LoRA fine-tuning through TRL, with loss on the response only."""

    learning_rate: float | Annotated[list[float], Field(min_length=1)] = 1e-4
    """Peak rate; of a list, the one with the lowest loss on held-out teacher responses is used."""
    epochs: PositiveInt = 1
    """Passes over the examples."""
    batch_size: PositiveInt = 32
    """Examples of one optimiser step on one device."""
    max_length: PositiveInt = 2048
    """Longest example, in tokens; longer ones are an error unless `truncate`."""
    truncate: bool = False
    """Whether examples longer than `max_length` are cut instead of refused."""
    lora_rank: PositiveInt = 16
    """Rank of the adapter."""
    lora_alpha: PositiveInt = 32
    """Scale of the adapter, as alpha over rank."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the adapter's input."""
    target_modules: Annotated[list[str], Field(min_length=1)] = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ]
    """Linear layers that carry the adapter."""
    warmup_share: Share = 0.03
    """Share of steps with a linearly rising rate."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Course of the rate after warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradient clipping by norm."""
    checkpoint_steps: PositiveInt = 100
    """Optimiser steps between checkpoints that a killed run resumes from."""
    report_to: list[Literal["wandb", "tensorboard", "mlflow"]] = []
    """Trackers that TRL reports to."""
    sft: dict[str, Any] = {}
    """Further fields of `trl.SFTConfig`, passed through."""


# --- serving and generation -----------------------------------------------------------------------


class ServeConfig(Section):
    """What runs the models for evaluation."""

    backend: Literal["transformers"] = "transformers"
    """`transformers`: in process."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Weights of base models; `auto` takes bfloat16 where the hardware computes in it."""
    batch_tokens: PositiveInt = 16_384
    """Prompt and answer tokens of one batch at most."""
    merge_adapters: bool = True
    """Merge each adapter into a copy in memory, checked against the unmerged one."""
    shard_items: PositiveInt = 256
    """Items of one generation shard: what an interrupted run repeats at most."""


# --- evaluation -----------------------------------------------------------------------------------


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
    n_development: PositiveInt = 40
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
    """Whether to measure it; it trains two further adapters for each mix and base."""
    amount: PositiveInt | None = None
    """Examples of both halves together; the mix's largest amount where empty."""


class LabConfig(Section):
    """The embedded world, where a task, a mix or a model needs it."""

    world_seed: int = 1
    """Seed of people, facts and skills; the weights must have been pretrained on the same."""
    weights: Path | None = None
    """Folder with `small`, `medium`, `large` and `teacher`; the package's own where empty."""


class Config(Section):
    """One run: what is trained, on what, and how it is judged."""

    name: Name
    """Name of the run and of its folder."""
    seed: int = 0
    """Seed of everything that is drawn, except training, whose seeds are the mixes'."""
    lab: LabConfig = LabConfig()
    """The embedded world."""
    bases: Annotated[list[BaseConfig], Field(min_length=1)]
    """Base models, smallest first."""
    teacher: Teacher
    """The stronger model."""
    distill: DistillConfig = DistillConfig()
    """How the teacher answers prompts."""
    mixes: Annotated[dict[Name, MixConfig], Field(min_length=1)]
    """Imitation data by name."""
    data: DataConfig = DataConfig()
    """How sources become examples."""
    train: TrainConfig = TrainConfig()
    """How adapters are trained."""
    serve: ServeConfig = ServeConfig()
    """How models are run."""
    tasks: Annotated[list[TaskConfig], Field(min_length=1)]
    """What is measured."""
    controls: list[ControlName] = ["null", "style_prompt", "length_padded"]
    """Control arms that train nothing; the teacher's second sample is drawn in any case."""
    memorisation: MemorisationConfig = MemorisationConfig()
    """Bits of the training responses that an adapter holds."""
    analysis: AnalysisConfig = AnalysisConfig()
    """The verdict's rule."""

    @model_validator(mode="after")
    def _names_agree(self) -> Config:
        problems = [
            *_doubled_names(self),
            *_unknown_names(self),
            *_shuffled_faults(self),
            *_teacher_faults(self),
            *_format_faults(self),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _doubled_names(config: Config) -> list[str]:
    listed: dict[str, list[Any]] = {
        "bases": [base.name for base in config.bases],
        "tasks": [task.name for task in config.tasks],
        "controls": list(config.controls),
    }
    for name, mix in config.mixes.items():
        listed |= {f"mixes.{name}.amounts": mix.amounts, f"mixes.{name}.seeds": mix.seeds}
    problems = [
        f"`{what}` has `{one}` twice"
        for what, names in listed.items()
        for one in sorted(set(names))
        if names.count(one) > 1
    ]
    reserved = {"teacher", "run"} & {base.name for base in config.bases}
    return problems + [f"`{name}` is a reserved name: call the base otherwise" for name in reserved]


def _shuffled_faults(config: Config) -> list[str]:
    """A shuffled control has rows, bases and a learning rate of its parent only."""
    problems = []
    every = {base.name for base in config.bases}
    for name, mix in config.mixes.items():
        parent = config.mixes.get(mix.shuffled_from or "")
        if parent is None:
            continue
        if parent.shuffled_from:
            problems.append(f"`mixes.{name}.shuffled_from` names `{mix.shuffled_from}`, a control")
        if max(mix.amounts) > max(parent.amounts):
            problems.append(
                f"`mixes.{name}.amounts` asks for {max(mix.amounts):,} examples, "
                f"`{mix.shuffled_from}` has {max(parent.amounts):,}"
            )
        if missing := set(mix.bases or every) - set(parent.bases or every):
            problems.append(
                f"`mixes.{name}.bases` has {', '.join(sorted(missing))}, on which "
                f"`{mix.shuffled_from}` is not trained"
            )
    return problems


def _teacher_faults(config: Config) -> list[str]:
    """Who cannot answer cannot be imitated, and the oracle knows nothing but the lab."""
    problems = []
    if isinstance(config.teacher, OutputsTeacher | PublishedTeacher):
        problems += [
            f"`mixes.{name}` has prompts of the lab, which a teacher of kind "
            f"`{config.teacher.kind}` cannot answer"
            for name, mix in config.mixes.items()
            if any(isinstance(source, LabSource) for source in mix.sources)
        ]
    if isinstance(config.teacher, OracleTeacher):
        problems += [
            f"task `{task.name}` is not the lab's, and the oracle knows nothing else"
            for task in config.tasks
            if not isinstance(task.source, LabItems)
        ]
    return problems


def _format_faults(config: Config) -> list[str]:
    """Formats are compared over a whole axis, and chosen on development items that are left."""
    problems = []
    for axis in (Axis.FACTUALITY, Axis.CAPABILITY):
        tasks = [task for task in config.tasks if task.axis is axis and task.in_verdict]
        if len({frozenset(task.formats) for task in tasks}) > 1:
            names = ", ".join(task.name for task in tasks)
            problems.append(f"tasks of {axis} must be asked in the same formats: {names}")
        problems += [
            f"`n_development` of task `{task.name}` must be above its `few_shot`, got "
            f"{task.n_development} and {task.few_shot}: what is left chooses the format"
            for task in tasks
            if len(task.formats) > 1 and task.n_development <= task.few_shot
        ]
    return problems


def _unknown_names(config: Config) -> list[str]:
    bases = {base.name for base in config.bases}
    problems = []
    for name, mix in config.mixes.items():
        for base in set(mix.bases or []) - bases:
            problems.append(f"`mixes.{name}.bases` names `{base}`, which is no base")
        if mix.shuffled_from and mix.shuffled_from not in config.mixes:
            problems.append(
                f"`mixes.{name}.shuffled_from` names `{mix.shuffled_from}`, which is no mix"
            )
    for task in config.tasks:
        for mix_name in set(task.in_support_of) - config.mixes.keys():
            problems.append(
                f"`in_support_of` of task `{task.name}` names `{mix_name}`, which is no mix"
            )
    return sorted(problems)
