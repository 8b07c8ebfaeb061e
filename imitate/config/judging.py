"""A judge card: pairs with labels, judges that are held against them, and what it may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imitate.config.distilling import BudgetConfig, CallsConfig, PriceConfig
from imitate.config.models import ServeConfig
from imitate.config.section import Name, PositiveInt, Section
from imitate.config.tasks import LabConfig

__all__ = [
    "EndpointJudge",
    "FilePairs",
    "Judge",
    "JudgeCardJob",
    "LlmBarPairs",
    "ModelJudge",
    "MtBenchPairs",
    "Pairs",
    "RecordedJudge",
    "VerdictWords",
]

LlmBarSubset = Literal["Natural", "Neighbor", "GPTInst", "GPTOut", "Manual"]


class LlmBarPairs(Section):
    """LLMBar: an objective label on every pair, four of five subsets with style the wrong way.

    Source: Zeng et al. 2023, arXiv 2310.07641; github.com/princeton-nlp/LLMBar, `Dataset/`.
    """

    kind: Literal["llmbar"]
    path: Path
    """Folder that holds `LLMBar/`; a relative path starts at the working directory."""
    subsets: Annotated[list[LlmBarSubset], Field(min_length=1)] = [
        "Natural",
        "Neighbor",
        "GPTInst",
        "GPTOut",
        "Manual",
    ]
    """Which subsets."""


class MtBenchPairs(Section):
    """The 200 pairs of MT-bench on which most human experts agreed, as LLMBar processed them.

    Source: Zheng et al. 2023, arXiv 2306.05685.
    """

    kind: Literal["mt-bench"]
    path: Path
    """Folder that holds `Processed/MT-Bench/`; a relative path starts at the working directory."""


class VerdictWords(Section):
    """How a table says which answer is better."""

    answer: list[str] = ["answer", "first", "1", "a", "model_a"]
    """Words for the answer in `answer_column`; upper and lower case are the same."""
    other: list[str] = ["other", "second", "2", "b", "model_b"]
    """Words for the answer in `other_column`."""
    tie: list[str] = ["tie", "both", "neither", "equal"]
    """Words for neither."""


class FilePairs(Section):
    """A local JSONL, JSON, CSV or Parquet file with one pair a row, gzipped or not."""

    kind: Literal["file"]
    path: Path
    """The file; a relative path starts at the working directory."""
    prompt_column: str = "prompt"
    """Column with the request."""
    answer_column: str = "answer"
    """Column with one answer."""
    other_column: str = "other"
    """Column with the other."""
    label_column: str | None = None
    """Column that says which is better; an empty value is no label."""
    arm_column: str | None = None
    """Column with who wrote the one; `answer` where empty."""
    against_column: str | None = None
    """Column with who wrote the other; `other` where empty."""
    id_column: str | None = None
    """Column with an id of the pair; its number where empty."""
    cluster_column: str | None = None
    """Column with the unit of randomisation; the request where empty."""
    group_column: str | None = None
    """Column with a stratum that gets a card of its own."""
    reference_column: str | None = None
    """Column with a right answer, for the rubric `facts`."""
    words: VerdictWords = VerdictWords()
    """How labels and recorded verdicts are written."""
    rows: PositiveInt | None = None
    """Pairs to take, the first ones; all where empty."""


Pairs = Annotated[LlmBarPairs | MtBenchPairs | FilePairs, Field(discriminator="kind")]


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


Judge = Annotated[RecordedJudge | EndpointJudge | ModelJudge, Field(discriminator="kind")]


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
    shard_pairs: PositiveInt = 64
    """Pairs that are judged at a time and then kept."""
    lab: LabConfig = LabConfig()
    """The embedded world, where a judge is one of the lab's models."""
    serve: ServeConfig = ServeConfig()
    """How judges of `kind: model` are run."""

    @model_validator(mode="after")
    def _parts_agree(self) -> JudgeCardJob:
        problems = [
            f"`judges.{name}`: {problem}"
            for name, judge in self.judges.items()
            for problem in _faults(judge, self)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _faults(judge: RecordedJudge | EndpointJudge | ModelJudge, job: JudgeCardJob) -> list[str]:
    if isinstance(judge, EndpointJudge):
        needs_price = job.budget.max_usd is not None and judge.price is None
        return ["`budget.max_usd` needs its `price`"] if needs_price else []
    if isinstance(judge, ModelJudge):
        is_running = job.serve.backend == "endpoint"
        return ["a server that runs already is a judge of `kind: endpoint`"] if is_running else []
    match job.pairs.kind:
        case "llmbar":
            return [] if judge.evaluator else ["recorded verdicts on LLMBar need `evaluator`"]
        case "mt-bench":
            return ["no verdicts are recorded with these pairs"]
        case "file":
            return [] if judge.verdict_column else ["recorded verdicts need `verdict_column`"]
