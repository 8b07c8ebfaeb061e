"""Whose answers are preferred: judges of a run, asked or recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imitate.config.distilling import BudgetConfig, CallsConfig
from imitate.config.judging import AnchorsConfig, EndpointJudge, ModelJudge
from imitate.config.pairs import VerdictWords
from imitate.config.section import Name, PositiveInt, Section

__all__ = ["JudgementsJudge", "PreferenceConfig", "Review", "ReviewsJudge", "RunJudge"]


class Review(Section):
    """A file of recorded verdicts on the answers of two arms."""

    path: Path
    """JSONL, JSON, CSV or Parquet, gzipped or not, with one verdict for each prompt."""
    first: str
    """The arm whose answer it saw first: a base, an imitator trained elsewhere, or `teacher`."""
    second: str
    """The arm whose answer it saw second, named alike."""


class ReviewsJudge(Section):
    """A judge whose verdicts were recorded elsewhere."""

    kind: Literal["reviews"]
    files: Annotated[list[Review], Field(min_length=1)]
    """Its verdicts; every two arms in one order or in both."""
    id_column: str = "id"
    """Column with the id of the question, as the style task's `id_column` has it."""
    scores_column: str | None = None
    """Column with two scores, of the first answer and of the second: the higher one wins, a
    negative one is no verdict."""
    verdict_column: str | None = None
    """Column with a word for the answer that won, instead of scores."""
    words: VerdictWords = VerdictWords()
    """How `verdict_column` is written; `answer` are words for the first, `other` for the second."""
    author: str | None = None
    """Arm whose answers the judge wrote itself."""

    @model_validator(mode="after")
    def _has_one_column(self) -> ReviewsJudge:
        if bool(self.scores_column) == bool(self.verdict_column):
            raise ValueError("give either `scores_column` or `verdict_column`")
        return self


class JudgementsJudge(Section):
    """Judgements on this run's own arms, such as people's, from `imitate rate import`."""

    kind: Literal["judgements"]
    path: Path
    """Parquet with judgements, such as `runs/NAME/ratings/judgements.parquet`."""
    judge: str = "human:majority"
    """Whose judgements of those in the file."""
    author: str | None = None
    """Arm whose answers the judge wrote itself."""


RunJudge = Annotated[
    ReviewsJudge | JudgementsJudge | EndpointJudge | ModelJudge, Field(discriminator="kind")
]


class PreferenceConfig(Section):
    """Judges of a run's chat answers to its style prompts, and what they may cost."""

    judges: dict[Name, RunJudge] = {}
    """The judges by name; without one, no preference is measured."""
    against: Annotated[list[Literal["teacher", "base"]], Field(min_length=1)] = ["teacher", "base"]
    """Whom a judge that is asked sees every arm of a base against, in both orders."""
    n_items: PositiveInt | None = None
    """Prompts that a judge is asked about, the first ones; all where empty."""
    resamples: PositiveInt = 2000
    """Resamples of prompts, in each of which all preference models are fitted anew."""
    calls: CallsConfig = CallsConfig()
    """How servers are called."""
    budget: BudgetConfig = BudgetConfig()
    """What all judges of the run together may spend."""
    shard_pairs: PositiveInt = 64
    """Pairs that are judged at a time and then kept."""
    anchors: AnchorsConfig | None = None
    """Pairs of a file on which a judge that is asked must say what it said when it was locked; name
    `pairs` and `path`, so that all runs share them."""

    @model_validator(mode="after")
    def _shares_anchors(self) -> PreferenceConfig:
        if self.anchors and not (self.anchors.pairs and self.anchors.path):
            raise ValueError("`anchors` of a run need `pairs` and `path`: other runs share them")
        return self
