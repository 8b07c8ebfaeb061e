"""The data card: what went in, what each step took, what came out; as data and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["DataCard", "Quantiles", "SourceCard", "StepCount", "TaskHits"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SHOWN = 12


@dataclass
class SourceCard:
    """One source; filled while it is read, complete once it is read to the end."""

    name: str
    kind: str = "file"
    layout: str = ""
    """Format of its rows, as recognised or as named in the config."""
    sha256: str = ""
    revision: str = ""
    licences: dict[str, int] = field(default_factory=dict)
    """Rows by what their licence column says, where the source has one."""
    rows: int = 0
    """Rows read, before `keep_where`; neither unreadable nor oversize ones."""
    bad_lines: int = 0
    """Lines that could not be read; `max_bad_lines` allows so many."""
    oversize_rows: int = 0
    """Rows above `max_row_bytes`, dropped unread."""
    unwanted_rows: int = 0
    """Rows that `keep_where` took."""
    later_turns: int = 0
    """Turns after a conversation's first exchange, left out: they answer to what precedes them."""
    examples: int = 0


@dataclass(frozen=True)
class StepCount:
    """What one step took."""

    step: str
    rows_in: int
    rows_out: int
    is_enabled: bool = True
    changed: int = 0
    """Rows that it rewrote."""
    examples: tuple[str, ...] = ()
    """Ids of the first rows that it took."""

    @property
    def dropped(self) -> int:
        """Return how many rows the step took."""
        return self.rows_in - self.rows_out


@dataclass(frozen=True)
class Quantiles:
    """Five quantiles of a length: 5, 25, 50, 75 and 95 %."""

    p5: int
    p25: int
    p50: int
    p75: int
    p95: int


@dataclass(frozen=True)
class TaskHits:
    """Rows that gave a task's items away, by rule, with the first few pairs of row and item."""

    task: str
    rows: int
    items: int
    by_rule: Mapping[str, int]
    examples: tuple[tuple[str, str, str], ...]
    """Row id, item id and rule."""


@dataclass(frozen=True)
class DataCard:
    """How a mix was made."""

    sources: tuple[SourceCard, ...]
    steps: tuple[StepCount, ...]
    train: int
    held_out: int
    held_out_prompts: int
    seed: int
    evaluation_items: int
    """Items that the rows were checked against; 0 where they were not."""
    items_with_support: int
    """Items among them that name the keys which they ask for, such as `entity|attribute`."""
    lengths: Mapping[str, Quantiles]
    categories: Mapping[str, int]
    """Training examples by category."""
    languages: Mapping[str, int]
    """Distinct rows by guessed language, before the language filter."""
    contamination: tuple[TaskHits, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the card as plain values, the same for the same data."""
        steps = [asdict(step) | {"dropped": step.dropped} for step in self.steps]
        return asdict(self) | {"steps": steps}

    def __str__(self) -> str:
        """Return the card as plain text for a terminal."""
        parts = [
            _render_sources(self.sources),
            _render_steps(self.steps),
            f"{self.train:,} training examples, {self.held_out:,} held out "
            f"({self.held_out_prompts:,} prompts), seed {self.seed}",
            _render_lengths(self.lengths),
            _render_counts("categories", self.categories),
            _render_counts("languages before the filter", self.languages),
            _render_hits(self.contamination, self.evaluation_items, self.items_with_support),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"


def _render_sources(sources: tuple[SourceCard, ...]) -> str:
    return "\n".join(map(_render_source, sources))


def _render_source(source: SourceCard) -> str:
    told = [f"{source.rows:,} rows, {source.examples:,} examples"]
    if source.layout:
        told.append(f"format {source.layout}")
    for count, what in (
        (source.bad_lines, "unreadable lines skipped"),
        (source.oversize_rows, "oversize rows dropped unread"),
        (source.unwanted_rows, "rows dropped by keep_where"),
        (source.later_turns, "later turns left out"),
    ):
        if count:
            told.append(f"{count:,} {what}")
    if source.licences:
        told.append("licence " + ", ".join(f"{k} ({n:,})" for k, n in source.licences.items()))
    if source.revision:
        told.append(f"revision {source.revision}")
    if source.sha256:
        told.append(f"sha256 {source.sha256[:12]}")
    return f"source {source.name}: " + "; ".join(told)


def _render_steps(steps: tuple[StepCount, ...]) -> str:
    lines = [f"{'step':<18} {'in':>11} {'dropped':>11} {'out':>11}"]
    for step in steps:
        if step.is_enabled:
            numbers = f"{step.rows_in:>11,} {step.dropped:>11,} {step.rows_out:>11,}"
            shown = f"  {', '.join(step.examples)}" if step.examples else ""
            shown += f"  {step.changed:,} changed" if step.changed else ""
            lines.append(f"{step.step:<18} {numbers}{shown}")
        else:
            lines.append(f"{step.step:<18} {'off':>11}")
    return "\n".join(lines)


def _render_lengths(lengths: Mapping[str, Quantiles]) -> str:
    lines = [f"{'length':<18} {'5 %':>8} {'25 %':>8} {'50 %':>8} {'75 %':>8} {'95 %':>8}"]
    for name, quantiles in lengths.items():
        row = " ".join(f"{value:>8,}" for value in asdict(quantiles).values())
        lines.append(f"{name:<18} {row}")
    return "\n".join(lines)


def _render_counts(title: str, counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    shown = [f"{name or '(none)'} {count:,}" for name, count in list(counts.items())[:_SHOWN]]
    if len(counts) > _SHOWN:
        shown.append(f"and {len(counts) - _SHOWN} more")
    return f"{title}: " + ", ".join(shown)


def _render_hits(hits: tuple[TaskHits, ...], n_items: int, n_with_support: int) -> str:
    if not n_items:
        return "contamination: not checked"
    exact = f" ({n_with_support:,} of them by exact support)" if n_with_support else ""
    if not hits:
        return f"contamination: no row gives any of {n_items:,} evaluation items away{exact}"
    lines = [f"contamination, against {n_items:,} evaluation items{exact}:"]
    for task in hits:
        rules = ", ".join(f"{rule} {count:,}" for rule, count in task.by_rule.items())
        shown = "; ".join(f"{row} ~ {item}" for row, item, _ in task.examples)
        lines.append(f"  {task.task}: {task.rows:,} rows, {task.items:,} items ({rules}): {shown}")
    return "\n".join(lines)
