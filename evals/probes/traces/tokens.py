"""Problems, traces and plans as tokens, and as the published lines of text.

    query start X Y goal X Y wall X Y ... reasoning close X Y cG cH create X Y cG cH ...
    solution plan X Y ... end

Walls stand row by row. A line without a trace has no `reasoning`.

Source: Stechly et al. (arXiv 2505.13775), whose vocabulary for 30 x 30 has 944 tokens: costs c0 to
c899, numbers 0 to 29, ten markers and four specials. A smaller grid has what it needs of it.

Glossary: R rows; C columns; E events; P cells of a path; K tokens; V vocabulary.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from evals.probes.traces.compiled import compiled
from evals.probes.traces.problems import Problem
from evals.probes.traces.search import CREATE

__all__ = ["MARKERS", "SPECIALS", "Tokens", "Vocabulary", "published_line"]

Tokens = NDArray[np.uint16]
"""(K,) ids of tokens."""

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""Tokens that stand in no line."""
MARKERS = (
    "query",
    "start",
    "goal",
    "wall",
    "reasoning",
    "close",
    "create",
    "solution",
    "plan",
    "end",
)
"""Tokens that say what the numbers after them are."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The tokens that grids of one size need.

    Attributes:
        rows: R.
        columns: C.
    """

    rows: int
    columns: int

    @functools.cached_property
    def tokens(self) -> tuple[str, ...]:
        """All V tokens: an id is a place in them."""
        numbers = [str(number) for number in range(max(self.rows, self.columns))]
        costs = [f"c{cost}" for cost in range(self.rows * self.columns)]
        return (*SPECIALS, *MARKERS, *numbers, *costs)

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """The id of every token."""
        return {token: place for place, token in enumerate(self.tokens)}

    def marker(self, name: str) -> Tokens:
        """Return (1,) the id of a marker or special."""
        return np.array([self.ids[name]], np.uint16)

    def query(self, problem: Problem) -> Tokens:
        """Return a problem, from `query` to the last wall."""
        ids, cells = self.ids, self._cells
        head = [
            ids["query"],
            ids["start"],
            *cells[problem.start],
            ids["goal"],
            *cells[problem.goal],
        ]
        walls = self._marked("wall", np.flatnonzero(~problem.free))
        return np.concatenate([np.array(head, np.uint16), walls])

    def trace(self, events: NDArray[np.int64]) -> Tokens:
        """Return the events (E, 4) of a search, five tokens each."""
        found = np.empty((len(events), 5), np.uint16)
        found[:, 0] = np.where(events[:, 0] == CREATE, self.ids["create"], self.ids["close"])
        found[:, 1:3] = self._cells[events[:, 1]]
        found[:, 3:] = events[:, 2:] + self.ids["c0"]
        return found.ravel()

    def plan(self, path: NDArray[np.int64]) -> Tokens:
        """Return the cells (P,) of a path, three tokens each."""
        return self._marked("plan", path)

    def line(self, query: Tokens, trace: Tokens | None, plan: Tokens) -> Tokens:
        """Return a whole line; without a trace it has no `reasoning`."""
        reasoning = [] if trace is None else [self.marker("reasoning"), trace]
        return np.concatenate(
            [query, *reasoning, self.marker("solution"), plan, self.marker("end")]
        )

    def correct_line(self, problem: Problem) -> Tokens:
        """Return the whole line of a problem, its own trace included."""
        trace, plan = self.trace(problem.events), self.plan(problem.path)
        return self.line(self.query(problem), trace, plan)

    def text(self, tokens: Tokens) -> str:
        """Return tokens with a blank between any two."""
        letters, starts = self._letters
        return bytes(_join(tokens, letters, starts)[:-1]).decode("ascii")

    def encode(self, words: Iterable[str]) -> Tokens:
        """Return the ids of words; one that is no token is `<unk>`."""
        unknown = self.ids["<unk>"]
        return np.array([self.ids.get(word, unknown) for word in words], np.uint16)

    def _marked(self, marker: str, cells: NDArray[np.int64]) -> Tokens:
        found = np.empty((len(cells), 3), np.uint16)
        found[:, 0] = self.ids[marker]
        found[:, 1:] = self._cells[cells]
        return found.ravel()

    @functools.cached_property
    def _cells(self) -> NDArray[np.uint16]:
        """The column and the row (R * C, 2) of every cell, as ids."""
        cells = np.arange(self.rows * self.columns)
        places = np.column_stack([cells % self.columns, cells // self.columns])
        return (places + self.ids["0"]).astype(np.uint16)

    @functools.cached_property
    def _letters(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All tokens with a blank after each, one after the other, and where each begins."""
        words = [f"{token} ".encode("ascii") for token in self.tokens]
        starts = np.cumsum([0, *map(len, words)])
        return np.frombuffer(b"".join(words), np.uint8), starts


def published_line(problem: Problem, vocabulary: Vocabulary) -> str:
    """Return a problem as the public generator writes it: a line of JSON, its end included."""
    return f'{{"text":"{vocabulary.text(vocabulary.correct_line(problem))}"}}\n'


@compiled
def _join(
    tokens: Tokens, letters: NDArray[np.uint8], starts: NDArray[np.int64]
) -> NDArray[np.uint8]:
    length = 0
    for token in tokens:
        length += starts[token + 1] - starts[token]
    found, at = np.empty(length, np.uint8), 0
    for token in tokens:
        for place in range(starts[token], starts[token + 1]):
            found[at] = letters[place]
            at += 1
    return found
