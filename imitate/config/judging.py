"""A judge card: pairs with labels, judges that are held against them, and what it may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imitate.config.distilling import BudgetConfig, CallsConfig, PriceConfig
from imitate.config.models import ServeConfig
from imitate.config.pairs import FilePairs, Pairs
from imitate.config.section import Name, PositiveInt, Section, Share
from imitate.config.tasks import LabConfig

__all__ = [
    "AnchorsConfig",
    "DiscriminatorJudge",
    "EndpointJudge",
    "Judge",
    "JudgeCardJob",
    "ModelJudge",
    "RecordedJudge",
    "VoiceTexts",
]


class RecordedJudge(Section):
    """Verdicts that are there already."""

    kind: Literal["recorded"]
    evaluator: str | None = None
    """Of LLMBar: folder of the judge below `evaluators/`, such as `GPT-4`."""
    method: str = "Vanilla_NoRules"
    """Of LLMBar: folder of the prompting below the judge's."""
    verdict_column: str | None = None
    """Of a file: column with the verdict where `answer_column` was shown first."""
    swapped_column: str | None = None
    """Of a file: column with the verdict where it was shown second. Both name the answer that won,
    not its place."""
    author: str | None = None
    """Arm whose answers the judge wrote itself."""


class AskedJudge(Section):
    """What a judge that is asked and one that is served here have in common."""

    model: str
    """The model's name."""
    rubric: str = "quality"
    """What it judges: `quality`, `style`, `facts` (needs references), or the path of a file."""
    gives_reason: bool = True
    """Whether it says why before it says who."""
    max_tokens: PositiveInt = 256
    """Longest reply, in tokens; one that is cut off is no verdict, unless it is one already."""
    author: str | None = None
    """Arm whose answers the judge wrote itself; `model` where empty."""


class EndpointJudge(AskedJudge):
    """A judge behind an OpenAI-compatible server; `model` is its name there."""

    kind: Literal["endpoint"]
    url: str
    """Base URL, such as `http://127.0.0.1:8000/v1`."""
    api_key_env: str | None = None
    """Environment variable that holds the key; the key itself never enters a config."""
    price: PriceConfig | None = None
    """What it costs; without it the card tells tokens only."""


class ModelJudge(AskedJudge):
    """A judge that is served here, as `serve` says; `model` is named as a base is."""

    kind: Literal["model"]


class VoiceTexts(Section):
    """What teacher and base wrote to the same prompts: columns of one file, or of two."""

    path: Path
    """The file with the teacher's texts; a relative path starts at the working directory."""
    teacher_column: str
    """Column with what the teacher wrote."""
    base_path: Path | None = None
    """The file with the base's texts; `path` where empty."""
    base_column: str
    """Column with what the base wrote."""
    join_column: str | None = None
    """Of two files: column, in both, whose values say which rows belong together."""
    prompt_column: str | None = None
    """Column of `path` with the prompt; `join_column` or the row's number stands in where empty."""
    rows: PositiveInt | None = None
    """Rows of `path` to take, the first ones; all where empty."""

    @model_validator(mode="after")
    def _files_agree(self) -> VoiceTexts:
        if (self.base_path is None) is not (self.join_column is None):
            raise ValueError("`base_path` and `join_column` go together")
        return self


class DiscriminatorJudge(Section):
    """The style discriminator: prefers the answer that sounds more like the teacher."""

    kind: Literal["discriminator"]
    fitted_on: VoiceTexts
    """Whose voice it knows."""


Judge = Annotated[
    RecordedJudge | EndpointJudge | ModelJudge | DiscriminatorJudge, Field(discriminator="kind")
]


class AnchorsConfig(Section):
    """Pairs on which asked judges are asked afresh by every run of the job, and held to a lock."""

    n: PositiveInt = 20
    """Anchor pairs, each judged in both orders."""
    seed: int = 0
    """Seed of their draw."""
    pairs: FilePairs | None = None
    """What they are drawn from; the job's own pairs where empty."""
    path: Path | None = None
    """File with the locked verdicts; `anchors.json` in the job's folder where empty."""
    max_drift: Share = 0.1
    """Largest share of their verdicts that may have changed since they were locked."""


class JudgeCardJob(Section):
    """One job of `imitate judge-card`: which judges are held against which labels."""

    name: Name
    """Name of the job and of its folder."""
    pairs: Pairs
    """What is judged, and what is right."""
    judges: Annotated[dict[Name, Judge], Field(min_length=1)]
    """The judges, by the name under which the card tells of them."""
    calls: CallsConfig = CallsConfig()
    """How servers are called."""
    budget: BudgetConfig = BudgetConfig()
    """What all runs of the job together may spend."""
    anchors: AnchorsConfig | None = None
    """How asked judges are held to what they said at first; not at all where empty."""
    shard_pairs: PositiveInt = 64
    """Pairs that are judged at a time and then kept."""
    lab: LabConfig = LabConfig()
    """The embedded world, where a judge is one of the lab's models."""
    serve: ServeConfig = ServeConfig()
    """How judges of `kind: model` are run."""

    @model_validator(mode="after")
    def _parts_agree(self) -> JudgeCardJob:
        problems = _anchor_faults(self) + [
            f"`judges.{name}`: {problem}"
            for name, judge in self.judges.items()
            for problem in _faults(judge, self)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _anchor_faults(job: JudgeCardJob) -> list[str]:
    is_asked = any(isinstance(judge, AskedJudge) for judge in job.judges.values())
    return [] if is_asked or not job.anchors else ["`anchors` are for asked judges: there is none"]


def _faults(
    judge: RecordedJudge | EndpointJudge | ModelJudge | DiscriminatorJudge, job: JudgeCardJob
) -> list[str]:
    match judge:
        case RecordedJudge():
            return _recorded_faults(judge, job)
        case EndpointJudge():
            needs_price = job.budget.max_usd is not None and judge.price is None
            return ["`budget.max_usd` needs its `price`"] if needs_price else []
        case ModelJudge():
            is_running = job.serve.backend == "endpoint"
            wrong = "a server that runs already is a judge of `kind: endpoint`"
            return [wrong] if is_running else []
        case DiscriminatorJudge():
            return []


def _recorded_faults(judge: RecordedJudge, job: JudgeCardJob) -> list[str]:
    match job.pairs.kind:
        case "llmbar":
            return [] if judge.evaluator else ["recorded verdicts on LLMBar need `evaluator`"]
        case "mt-bench" | "probes":
            return ["no verdicts are recorded with these pairs"]
        case "file":
            return [] if judge.verdict_column else ["recorded verdicts need `verdict_column`"]
