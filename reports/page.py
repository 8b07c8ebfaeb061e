"""What a report is made of: sections of paragraphs, figures, tables and preformatted blocks.

The sections are built once from the results and rendered twice, as HTML and as Markdown, so that
both say the same. Nothing here is escaped: the templates escape all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Block", "Cell", "Figure", "ProbePage", "Section", "Slider", "Span", "Table", "Tone"]

Tone = str
"""How a decision is coloured: a key of `reports.theme.TONES`, or empty."""


@dataclass(frozen=True)
class Span:
    """An interval drawn in a table cell, on a scale that its column shares."""

    value: float
    low: float
    high: float
    scale_low: float
    scale_high: float
    margin: float
    teacher: float | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its value, a smaller line below it, and marks beside it."""

    text: str
    detail: str = ""
    badge: str = ""
    tone: Tone = ""
    span: Span | None = None
    is_strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows; folded ones open on demand."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    is_folded: bool = False


@dataclass(frozen=True)
class Figure:
    """One drawing: `name` is its file's stem, `alt` says what a reader would see."""

    name: str
    caption: str
    alt: str
    svg: str


@dataclass(frozen=True)
class Block:
    """Preformatted text, folded away unless it is to be seen at once."""

    title: str
    text: str
    is_open: bool = False


@dataclass(frozen=True)
class Section:
    """One part of the report; a part without data has paragraphs that say why.

    Attributes:
        slug: Its anchor.
        title: Its heading.
        paragraphs: Words before anything else.
        terms: Words by topic.
        figures: Drawings, side by side where there is room.
        tables: Tables below them.
        notes: A list at the end.
        blocks: Preformatted text, folded away.
        short: Its name in the contents.
    """

    slug: str
    title: str
    paragraphs: tuple[str, ...] = ()
    terms: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    short: str = ""


@dataclass(frozen=True)
class Slider:
    """What a script of ours draws under a slider: `script` is its file, `data` what it reads."""

    script: str
    data: dict[str, Any]


@dataclass(frozen=True)
class ProbePage:
    """All that both renderings of a probe's report say.

    Attributes:
        kicker: Which run of which probe.
        headline: What was found.
        lede: What was done, and what that means.
        first: The drawings of the first screen.
        first_note: How to read them.
        sections: What follows.
        slider: What a slider shows; None without one.
    """

    kicker: str
    headline: str
    lede: str
    first: tuple[Figure, ...]
    first_note: str
    sections: tuple[Section, ...]
    slider: Slider | None = None
