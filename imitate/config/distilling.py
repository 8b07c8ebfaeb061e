"""A distillation job: prompts, the teacher that answers them, and what that may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imitate.config.data import NearDuplicates
from imitate.config.models import EndpointTeacher, ModelTeacher, ServeConfig
from imitate.config.section import Name, PositiveInt, Section
from imitate.config.tasks import LabConfig

__all__ = [
    "BudgetConfig",
    "CallsConfig",
    "DistillJob",
    "FilePrompts",
    "HubPrompts",
    "JobSampling",
    "PriceConfig",
    "Prompts",
    "SeedPrompts",
]


class PromptTable(Section):
    """What a file and a hub data set of prompts have in common."""

    prompt_column: str | None = None
    """Column with the prompt; where empty it is recognised, as in imitation data."""
    category_column: str | None = None
    """Column with a category, which the examples keep."""
    rows: PositiveInt | None = None
    """Prompts to take, the first ones; all where empty."""


class FilePrompts(PromptTable):
    """A local JSONL, JSON, CSV or Parquet file of prompts, gzipped or not."""

    kind: Literal["file"]
    path: Path
    """The file; a relative path starts at the working directory."""


class HubPrompts(PromptTable):
    """A data set of the Hugging Face hub, streamed."""

    kind: Literal["hub"]
    dataset: str
    """Data set id."""
    subset: str | None = None
    """Configuration name of the data set."""
    split: str = "train"
    """Split to read."""
    revision: str | None = None
    """Commit, tag or branch; where empty the newest commit, which the card records."""


class SeedPrompts(Section):
    """A few questions, of whose kind the teacher writes new ones together with their answers.

    Source: Gudibande et al. 2023, arXiv 2305.15717, on its "NQ-synthetic" data: 10 seed questions,
    5 pairs a call at temperature 1.0, duplicates dropped.
    """

    kind: Literal["seeds"]
    questions: list[Annotated[str, Field(pattern=r"\S")]] = []
    """Seed questions; or give `path`."""
    path: Path | None = None
    """File with the seed questions; a relative path starts at the working directory."""
    prompt_column: str | None = None
    """Column with the question; where empty it is recognised."""
    pairs: PositiveInt
    """New pairs of question and answer to collect."""
    pairs_per_call: PositiveInt = 5
    """Pairs that one call asks for."""
    shown: PositiveInt = 10
    """Seed questions that one call shows, drawn anew for each."""
    max_idle_calls: PositiveInt = 20
    """Calls in a row that may bring nothing new before it is enough."""


Prompts = Annotated[FilePrompts | HubPrompts | SeedPrompts, Field(discriminator="kind")]


class JobSampling(Section):
    """How the teacher answers."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Sampling temperature, 0 is greedy; where empty 0.7, and 1.0 for `kind: seeds`."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus of the distribution that is sampled from."""
    max_tokens: PositiveInt = 1024
    """Longest answer, in tokens; answers that reach it are left out."""
    samples: PositiveInt = 1
    """Answers to each prompt."""


class CallsConfig(Section):
    """How a server is called."""

    max_in_flight: PositiveInt = 8
    """Requests under way at a time."""
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    """Requests sent in a minute at most, retries among them; no limit where empty."""
    tokens_per_minute: PositiveInt | None = None
    """Tokens of them at most, each counted with its longest answer; no limit where empty."""
    max_retries: int = Field(default=5, ge=0)
    """Further attempts of a call that failed in passing."""
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """Longest wait for an answer, in seconds."""
    deadline_s: Annotated[float, Field(gt=0)] = 600.0
    """Longest time of one call with all its attempts, in seconds."""


class PriceConfig(Section):
    """What the teacher costs, in US dollars for a million tokens."""

    input_usd_per_million: float = Field(ge=0)
    """Price of a million prompt tokens, in US dollars."""
    output_usd_per_million: float = Field(ge=0)
    """Price of a million answer tokens, in US dollars."""


class BudgetConfig(Section):
    """What all runs of the job together may spend; nothing is sent that could exceed it."""

    max_tokens: PositiveInt | None = None
    """Tokens of prompts and answers; no limit where empty."""
    max_usd: Annotated[float, Field(gt=0)] | None = None
    """US dollars; needs `price`; no limit where empty."""


class DistillJob(Section):
    """One job of `imitate distill`: what is asked, of whom, and what it may cost."""

    name: Name
    """Name of the job and of its folder."""
    seed: int = 0
    """Seed of the sampling; the second answer to a prompt has the next seed, and so on."""
    prompts: Prompts
    """What the teacher is asked."""
    teacher: Annotated[ModelTeacher | EndpointTeacher, Field(discriminator="kind")]
    """The model that answers."""
    sampling: JobSampling = JobSampling()
    """How it answers."""
    calls: CallsConfig = CallsConfig()
    """How its server is called."""
    price: PriceConfig | None = None
    """What it costs; without it the card tells tokens only."""
    budget: BudgetConfig = BudgetConfig()
    """What may be spent."""
    drop_refusals: bool = False
    """Whether answers that refuse are left out; else they are marked `is_refusal`."""
    exact_duplicates: bool = True
    """Whether to drop exact duplicates of prompt and answer."""
    near_duplicates: NearDuplicates = NearDuplicates()
    """How to drop near duplicates of prompt and answer; of `kind: seeds`, of questions."""
    lab: LabConfig = LabConfig()
    """The embedded world, where the teacher is the lab's."""
    serve: ServeConfig = ServeConfig()
    """How a teacher of `kind: model` is run."""

    @property
    def temperature(self) -> float:
        """Sampling temperature, as given or else as its kind of prompts wants it."""
        if self.sampling.temperature is not None:
            return self.sampling.temperature
        return 1.0 if isinstance(self.prompts, SeedPrompts) else 0.7

    @model_validator(mode="after")
    def _parts_agree(self) -> DistillJob:
        problems = [*_seed_faults(self), *_sampling_faults(self), *_cost_faults(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _seed_faults(job: DistillJob) -> list[str]:
    prompts = job.prompts
    if isinstance(prompts, SeedPrompts) and bool(prompts.questions) == bool(prompts.path):
        return ["give seed questions either in `prompts.questions` or as a file in `prompts.path`"]
    return []


def _sampling_faults(job: DistillJob) -> list[str]:
    if job.sampling.samples == 1:
        return []
    if isinstance(job.prompts, SeedPrompts):
        return ["`sampling.samples` must be 1 with seed questions: every call writes new pairs"]
    if job.temperature == 0:
        return ["`sampling.samples` above 1 needs a temperature above 0: greedy answers are equal"]
    return []


def _cost_faults(job: DistillJob) -> list[str]:
    problems = []
    if job.budget.max_usd is not None and job.price is None:
        problems.append(
            "`budget.max_usd` needs `price`: US dollars for a million tokens in and out"
        )
    if isinstance(job.teacher, ModelTeacher):
        problems += [
            f"`{name}` is for a teacher of `kind: endpoint`: a model that runs here costs nothing"
            for name in ("calls", "price", "budget")
            if name in job.model_fields_set
        ]
    return problems
