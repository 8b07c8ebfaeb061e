"""Which rows are left after each step, and the card that tells of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from imitate.data.card import QUANTILES, DataCard, Quantiles, SourceCard, StepCount, TaskHits
from imitate.data.scan import RowTable
from imitate.data.spill import Spill

__all__ = ["Funnel", "Origin", "make_card"]

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_SHOWN_ROWS = 3
_LENGTHS = ("prompt_chars", "response_chars", "response_words")


@dataclass(frozen=True)
class Origin:
    """What the data was made from, besides the rows."""

    sources: tuple[SourceCard, ...]
    evaluation_items: int
    items_with_support: int
    seed: int


class Funnel:
    """The rows that are left, and what each step took."""

    def __init__(self, table: RowTable) -> None:
        self.table = table
        self.left: Mask = np.ones(len(table.rows), np.bool_)
        self.steps = list(_count_first_steps(table))
        self.shown: dict[str, list[int]] = {}
        self.languages: dict[str, int] = {}
        self.contaminated: Ints = np.zeros(0, np.int64)

    def rows(self) -> Ints:
        """Return the rows that are left, ascending."""
        return np.flatnonzero(self.left)

    def drop(self, step: str, taken: Mask, *, is_enabled: bool = True) -> Ints:
        """Take rows out where the step is on, count them, and return those that it took."""
        n_before = int(self.left.sum())
        rows = np.flatnonzero(self.left & taken) if is_enabled else np.zeros(0, np.int64)
        self.left[rows] = False
        self.steps.append(StepCount(step, n_before, n_before - len(rows), is_enabled))
        self.shown[step] = rows[:_SHOWN_ROWS].tolist()
        return rows

    def skip(self, step: str) -> None:
        """Note that a step is off."""
        self.drop(step, np.zeros(len(self.left), np.bool_), is_enabled=False)

    def note_languages(self) -> None:
        """Count the languages of the rows that are left."""
        codes = self.table.rows["language"][self.left]
        self.languages = _count_names(codes, self.table.language_names)

    def tell(self) -> str:
        """Return in words what the steps took."""
        took = [f"`{step.step}` took {step.dropped:,}" for step in self.steps if step.dropped]
        read = f"{self.table.first_steps.rows:,} examples read"
        return f"{read}; {', '.join(took)}" if took else read


def make_card(
    funnel: Funnel, train: Ints, held_out: Ints, spill: Spill, origin: Origin
) -> DataCard:
    """Return the card of the rows that train and are held out."""
    table = funnel.table
    described = table.rows[train]
    return DataCard(
        sources=tuple(map(replace, origin.sources)),
        steps=tuple(_with_ids(funnel, spill)),
        train=len(train),
        held_out=len(held_out),
        held_out_prompts=len(np.unique(table.rows["prompt"][held_out])),
        seed=origin.seed,
        evaluation_items=origin.evaluation_items,
        items_with_support=origin.items_with_support,
        lengths={name: _quantiles(described[name]) for name in _LENGTHS},
        categories=_count_names(described["category"], table.category_names),
        languages=funnel.languages,
        contamination=tuple(_count_hits(funnel, spill)),
    )


def _count_first_steps(table: RowTable) -> Iterator[StepCount]:
    first = table.first_steps
    left = first.rows
    yield StepCount(
        "normalise", left, left, is_enabled=first.is_normalised, changed=first.normalised
    )
    for step, dropped in first.dropped.items():
        yield StepCount(step, left, left - dropped, examples=tuple(first.ids[step]))
        left -= dropped


def _with_ids(funnel: Funnel, spill: Spill) -> Iterator[StepCount]:
    ids = _ids(spill, chain(*funnel.shown.values()))
    for step in funnel.steps:
        shown = funnel.shown.get(step.step, [])
        yield replace(step, examples=tuple(ids[row] for row in shown)) if shown else step


def _count_hits(funnel: Funnel, spill: Spill) -> Iterator[TaskHits]:
    hits = funnel.table.hits
    rows_by_task: dict[str, list[int]] = {}
    for row in funnel.contaminated.tolist():
        rows_by_task.setdefault(hits[row].task, []).append(row)
    ids = _ids(spill, chain(*(rows[:_SHOWN_ROWS] for rows in rows_by_task.values())))
    for task, rows in sorted(rows_by_task.items()):
        yield TaskHits(
            task=task,
            rows=len(rows),
            items=len({hits[row].item_id for row in rows}),
            by_rule=_sorted_counts(hits[row].rule for row in rows),
            examples=tuple(
                (ids[row], hits[row].item_id, hits[row].rule) for row in rows[:_SHOWN_ROWS]
            ),
        )


def _ids(spill: Spill, rows: Iterable[int]) -> dict[int, str]:
    return {row: example.example_id for row, example in spill.take(sorted(set(rows)))}


def _count_names(codes: npt.NDArray[Any], names: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(codes, minlength=len(names)).tolist()
    present = ((name, count) for name, count in zip(names, counts, strict=True) if count)
    return dict(sorted(present, key=lambda pair: (-pair[1], pair[0])))


def _sorted_counts(values: Iterable[str]) -> Mapping[str, int]:
    return dict(sorted(Counter(values).items()))


def _quantiles(lengths: npt.NDArray[Any]) -> Quantiles:
    values = np.quantile(lengths, QUANTILES, method="inverted_cdf")
    return Quantiles(*(int(value) for value in values))
