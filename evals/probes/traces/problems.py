"""Mazes with what A* does in them: the problems that networks are trained and tested on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from evals.probes.traces.kinds import Generator, Split
from evals.probes.traces.mazes import draw_mazes
from evals.probes.traces.search import search

__all__ = ["Problem", "draw_problems"]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A maze, the search in it and the path that it finds.

    A cell is y C + x.

    Attributes:
        rows: R.
        columns: C.
        free: (R * C,) whether a cell is free.
        start: Cell where a path begins.
        goal: Cell where it ends.
        events: (E, 4) of A*: kind, cell, cost, distance (`evals.probes.traces.search`).
        path: (P,) cells of the path that A* finds, a shortest one.
    """

    rows: int
    columns: int
    free: NDArray[np.bool_]
    start: int
    goal: int
    events: NDArray[np.int64]
    path: NDArray[np.int64]

    @property
    def layout(self) -> bytes:
        """The same for the same maze, whatever its start and goal."""
        return np.packbits(self.free).tobytes()

    @property
    def identity(self) -> bytes:
        """The same for the same maze with the same start and goal."""
        return self.layout + bytes(f" {self.start} {self.goal}", "ascii")


def draw_problems(
    generator: Generator,
    rows: int,
    columns: int,
    seed: int,
    split: Split,
    *,
    coverage: float = 0.5,
    at_once: int = 128,
) -> Iterator[Problem]:
    """Yield problems without end, in the order of the public generator.

    Raises:
        DataError: There can be no such mazes.
    """
    mazes = draw_mazes(generator, rows, columns, seed, split, coverage=coverage, at_once=at_once)
    for drawn in mazes:
        ends = zip(drawn.starts.tolist(), drawn.goals.tolist(), strict=True)
        for free, (start, goal) in zip(drawn.free.reshape(at_once, -1), ends, strict=True):
            events, path = search(free, start, goal, rows, columns)
            yield Problem(rows, columns, free, start, goal, events, path)
