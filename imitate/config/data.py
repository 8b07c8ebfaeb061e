"""Imitation data: sources, mixes, and the steps between them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imitate.config.section import Name, PositiveInt, Section, Share

__all__ = [
    "DataConfig",
    "DocumentsSource",
    "FileSource",
    "HubSource",
    "LabSource",
    "MixConfig",
    "NearDuplicates",
    "Source",
    "TableSource",
]


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
    """Where examples come from; leave empty with `shuffled_from` or `swapped_from`."""
    shuffled_from: Name | None = None
    """Take another mix and permute its responses across prompts: a control."""
    swapped_from: Name | None = None
    """Take another mix and put each answer under another row's explanation: a control."""
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
        if sum(map(bool, (self.sources, self.shuffled_from, self.swapped_from))) != 1:
            raise ValueError("give one of `sources`, `shuffled_from` and `swapped_from`")
        return self

    @property
    def parent(self) -> Name | None:
        """The mix that a control is made from; None of a mix with sources of its own."""
        return self.shuffled_from or self.swapped_from

    @property
    def is_control(self) -> bool:
        """Whether the mix is a control rather than imitation."""
        return self.parent is not None


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
