"""What judges are held against: benchmarks by name, files by columns, probes of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from imitate.config.section import PositiveInt, Section

__all__ = [
    "FilePairs",
    "FileProbeItems",
    "LabProbeItems",
    "LlmBarPairs",
    "MtBenchPairs",
    "Pairs",
    "ProbePairs",
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


ProbeTask = Literal["addition", "largest", "sorting", "reversal", "translation", "facts"]
ProbeName = Literal["stylish", "padded", "listed", "confident", "null", "injected"]


class LabProbeItems(Section):
    """Questions of the embedded world with right and wrong answers; they need no data."""

    kind: Literal["lab"]
    tasks: Annotated[list[ProbeTask], Field(min_length=1)] = [
        "addition",
        "largest",
        "sorting",
        "reversal",
    ]
    """Which; `translation` and `facts` are about a world that no judge knows: give it the rubric
    `facts`, which shows the right answer."""
    n: PositiveInt = 40
    """Questions, as many of each task."""


class FileProbeItems(Section):
    """A local JSONL, JSON, CSV or Parquet file with one question a row, gzipped or not."""

    kind: Literal["file"]
    path: Path
    """The file; a relative path starts at the working directory."""
    prompt_column: str = "prompt"
    """Column with the question."""
    right_column: str = "right"
    """Column with a right answer."""
    wrong_column: str = "wrong"
    """Column with a wrong answer; of a list the first one counts."""
    wrong_separator: str | None = None
    """What stands between several wrong answers in one value, of which the first one counts."""
    id_column: str | None = None
    """Column with an id of the question; its number where empty."""
    cluster_column: str | None = None
    """Column with the unit of randomisation; the question where empty."""
    rows: PositiveInt | None = None
    """Questions to take, the first ones; all where empty."""


class ProbePairs(Section):
    """Counterfactual pairs, made here: one answer of each is dressed up to fool the judge."""

    kind: Literal["probes"]
    items: Annotated[LabProbeItems | FileProbeItems, Field(discriminator="kind")]
    """Questions with a right and a wrong answer."""
    kinds: Annotated[list[ProbeName], Field(min_length=1)] = [
        "stylish",
        "padded",
        "listed",
        "confident",
        "null",
        "injected",
    ]
    """Which probes, each of every question."""
    seed: int = 0
    """Seed of the words that dress the answers, and of the wrong answers of the lab."""


Pairs = Annotated[LlmBarPairs | MtBenchPairs | FilePairs | ProbePairs, Field(discriminator="kind")]
