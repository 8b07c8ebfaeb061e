"""Mazes of the five published generators, draw for draw.

In: a generator, a size, a seed and a split. Out: grids with a start and a goal. All mazes of a
split come from one stream of random numbers, one after the other, so what a maze is hangs on those
before it; the order of the draws is the public generator's, so the mazes are.

Source: github.com/kstechly/beyond-semantics-maze-visualizer (MIT), whose rules these are; its
numbers are the linear congruential ones of Numerical Recipes.

Glossary: R rows; C columns; N mazes; x is a column, y a row, a cell is y C + x.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from evals.errors import DataError
from evals.probes.traces.compiled import compiled
from evals.probes.traces.kinds import LEAST_SIDE, Generator, Split

__all__ = ["LAYOUT_TRIES", "Mazes", "draw_mazes"]

LAYOUT_TRIES = 1_000
"""Layouts that are tried for a maze with a path; the public generator tries without end."""
_PLACINGS = 100  # of start and goal in a layout
_MULTIPLIER, _INCREMENT, _MASK = 1_664_525, 1_013_904_223, 0xFFFF_FFFF

Numbers = NDArray[np.uint64]
"""(1,) the last random number."""
Cells = NDArray[np.bool_]
"""(R * C,) whether a cell is free."""
Places = NDArray[np.int64]
"""Cells, or places in a list."""


@dataclasses.dataclass(frozen=True, eq=False)
class Mazes:
    """Mazes of one size.

    Attributes:
        free: (N, R, C) whether a cell is free; the others are walls.
        starts: (N,) the cell where a path begins.
        goals: (N,) the cell where it ends; two generators may put it on the start.
    """

    free: NDArray[np.bool_]
    starts: NDArray[np.int64]
    goals: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many mazes there are."""
        return len(self.free)


def draw_mazes(
    generator: Generator,
    rows: int,
    columns: int,
    seed: int,
    split: Split,
    *,
    at_once: int = 512,
    coverage: float = 0.5,
) -> Iterator[Mazes]:
    """Yield mazes without end, `at_once` at a time: the first are the same for any `at_once`.

    Args:
        generator: How they are made.
        rows: R.
        columns: C.
        seed: Of the random numbers, with the split.
        split: `test` is another stream, which no `train` of a whole seed has.
        at_once: N.
        coverage: Share of the cells that a drunkard's walk frees.

    Raises:
        DataError: A side is below `LEAST_SIDE`, or no layout had a path in `LAYOUT_TRIES`.
    """
    if min(rows, columns) < LEAST_SIDE:
        raise DataError(
            f"a maze has at least {LEAST_SIDE} rows and columns, got {rows} x {columns}"
        )
    state = np.array([(2 * seed + (split is Split.TEST)) & _MASK], np.uint64)
    n_freed = max(2, min(rows * columns, math.floor(rows * columns * coverage)))
    while True:
        free = np.zeros((at_once, rows * columns), np.bool_)
        ends = np.empty((at_once, 2), np.int64)
        for cells, pair in zip(free, ends, strict=True):
            match generator:
                case Generator.WILSON:
                    _draw_wilson(state, cells, pair, rows, columns)
                case Generator.KRUSKAL:
                    _draw_kruskal(state, cells, pair, rows, columns)
                case Generator.DFS:
                    _draw_dfs(state, cells, pair, rows, columns)
                case Generator.DRUNKARD:
                    _draw_drunkard(state, cells, pair, rows, columns, n_freed)
                case Generator.SEARCHFORMER:
                    if not _draw_searchformer(state, cells, pair, rows, columns):
                        raise DataError(
                            f"no maze of {rows} x {columns} with a path in {LAYOUT_TRIES} layouts "
                            f"with {_PLACINGS} starts and goals each"
                        )
        yield Mazes(free.reshape(at_once, rows, columns), ends[:, 0].copy(), ends[:, 1].copy())


@compiled
def _after(number: np.uint64) -> np.uint64:
    return (np.uint64(_MULTIPLIER) * number + np.uint64(_INCREMENT)) & np.uint64(_MASK)


@compiled
def _draw_below(state: Numbers, n: int) -> int:
    """Return the next random number, at least 0 and below n."""
    state[0] = _after(state[0])
    return int((state[0] * np.uint64(n)) >> np.uint64(32))


@compiled
def _shuffle(state: Numbers, values: Places) -> None:
    number = state[0]  # a local: most mazes of walls at random are rejected after a shuffle
    for last in range(len(values) - 1, 0, -1):
        number = _after(number)
        other = np.int64((number * np.uint64(last + 1)) >> np.uint64(32))
        values[last], values[other] = values[other], values[last]
    state[0] = number


@compiled
def _rooms(offset: int, rows: int, columns: int) -> Places:
    """Return every second cell of every second row."""
    found = np.empty(((rows + 1) // 2) * ((columns + 1) // 2), np.int64)
    n = 0
    for y in range(offset, rows, 2):
        for x in range(offset, columns, 2):
            found[n] = y * columns + x
            n += 1
    return found[:n]


@compiled
def _draw_wilson(state: Numbers, free: Cells, ends: Places, rows: int, columns: int) -> None:
    """Free a spanning tree of rooms by loop-erased random walks."""
    rooms = _rooms(_draw_below(state, 2), rows, columns)
    free[rooms[_draw_below(state, len(rooms))]] = True
    n_reached = 1
    walk = np.empty(len(rooms) + 1, np.int64)
    place_of = np.full(rows * columns, -1)
    while n_reached < len(rooms):
        n = _walk_to_free(state, free, rooms, walk, place_of, rows, columns)
        for step in range(n):
            place_of[walk[step]] = -1
            free[walk[step]] = True
            if step > 0:
                free[(walk[step] + walk[step - 1]) // 2] = True
        n_reached += n - 1
    cells = np.flatnonzero(free)
    ends[0] = cells[_draw_below(state, len(cells))]
    ends[1] = cells[_draw_below(state, len(cells))]
    if ends[1] == ends[0]:
        ends[1] = cells[_draw_below(state, len(cells))]


@compiled
def _walk_to_free(
    state: Numbers,
    free: Cells,
    rooms: Places,
    walk: Places,
    place_of: Places,
    rows: int,
    columns: int,
) -> int:
    """Walk from a room that is not free to one that is, loops erased; return its rooms' number."""
    here = rooms[_draw_below(state, len(rooms))]
    while free[here]:
        here = rooms[_draw_below(state, len(rooms))]
    walk[0], place_of[here], n = here, 0, 1
    while not free[here]:
        direction = _draw_below(state, 4)
        x, y = here % columns, here // columns
        if direction < 2:
            x += 2 - 4 * direction
        else:
            y += 2 - 4 * (direction - 2)
        if x < 0 or x >= columns or y < 0 or y >= rows:
            continue
        here = y * columns + x
        if place_of[here] >= 0:
            for erased in range(place_of[here] + 1, n):
                place_of[walk[erased]] = -1
            n = place_of[here] + 1
        else:
            walk[n], place_of[here] = here, n
            n += 1
    return n


@compiled
def _root(parents: Places, node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@compiled
def _draw_kruskal(state: Numbers, free: Cells, ends: Places, rows: int, columns: int) -> None:
    """Free a spanning tree of rooms, edges taken in random order."""
    rooms = _rooms(_draw_below(state, 2), rows, columns)
    free[rooms] = True
    edges = np.empty((2 * len(rooms), 2), np.int64)
    n = 0
    for room in rooms:
        if room % columns + 2 < columns:
            edges[n] = (room, room + 2)
            n += 1
        if room // columns + 2 < rows:
            edges[n] = (room, room + 2 * columns)
            n += 1
    order = np.arange(n)
    _shuffle(state, order)
    parents = np.arange(rows * columns)
    for place in order:
        one, other = _root(parents, edges[place, 0]), _root(parents, edges[place, 1])
        if one != other:
            parents[one] = other
            free[(edges[place, 0] + edges[place, 1]) // 2] = True
    ends[0] = _draw_free(state, free, rows, columns)
    ends[1] = _draw_free(state, free, rows, columns)
    if ends[1] == ends[0]:
        ends[1] = _draw_free(state, free, rows, columns)


@compiled
def _draw_free(state: Numbers, free: Cells, rows: int, columns: int) -> int:
    """Return a free cell: its column is drawn first, until it is one."""
    while True:
        x = _draw_below(state, columns)
        cell = _draw_below(state, rows) * columns + x
        if free[cell]:
            return cell


@compiled
def _draw_dfs(state: Numbers, free: Cells, ends: Places, rows: int, columns: int) -> None:
    """Free a spanning tree of rooms, depth first from the corner."""
    stack = np.empty(len(free), np.int64)
    around = np.empty(4, np.int64)
    free[0] = True
    stack[0], n = 0, 1
    while n > 0:
        here = stack[n - 1]
        x, y = here % columns, here // columns
        n_around = 0
        for is_inside, step in (
            (y > 1, -2 * columns),
            (x < columns - 2, 2),
            (y < rows - 2, 2 * columns),
            (x > 1, -2),
        ):
            if is_inside and not free[here + step]:
                around[n_around] = here + step
                n_around += 1
        if n_around == 0:
            n -= 1
            continue
        there = around[_draw_below(state, n_around)]
        free[(here + there) // 2] = True
        free[there] = True
        stack[n] = there
        n += 1
    ends[0] = _draw_free(state, free, rows, columns)
    ends[1] = _draw_free(state, free, rows, columns)
    while ends[1] == ends[0]:
        ends[1] = _draw_free(state, free, rows, columns)


@compiled
def _draw_searchformer(state: Numbers, free: Cells, ends: Places, rows: int, columns: int) -> bool:
    """Free all but some random cells; return whether there was a layout with a path.

    A path shorter than the longer side is taken where it is that of the last placing.
    """
    tenth = len(free) // 10
    cells = np.arange(len(free))
    for _ in range(LAYOUT_TRIES):
        _shuffle(state, cells)
        n_walls = 3 * tenth + _draw_below(state, 2 * tenth + 1)
        free[cells[:n_walls]] = False
        free[cells[n_walls:]] = True
        passages = cells[n_walls:].copy()
        _shuffle(state, passages)
        length = 0
        for _ in range(_PLACINGS):
            ends[0], ends[1] = passages[0], passages[1]
            length = _path_length(free, ends[0], ends[1], rows, columns)
            if length >= max(rows, columns):
                return True
            _shuffle(state, passages)
        if length > 0:
            return True
    return False


@compiled
def _path_length(free: Cells, start: int, goal: int, rows: int, columns: int) -> int:
    """Return how many cells the shortest path has, both ends counted; 0 where there is none."""
    queue, length = np.empty(rows * columns, np.int64), np.zeros(rows * columns, np.int64)
    queue[0], length[start] = start, 1
    n_read, n_queued = 0, 1
    while n_read < n_queued and length[goal] == 0:
        here = queue[n_read]
        n_read += 1
        x, y = here % columns, here // columns
        for is_inside, there in (
            (y > 0, here - columns),
            (x < columns - 1, here + 1),
            (y < rows - 1, here + columns),
            (x > 0, here - 1),
        ):
            if is_inside and free[there] and length[there] == 0:
                length[there] = length[here] + 1
                queue[n_queued] = there
                n_queued += 1
    return int(length[goal])


@compiled
def _draw_drunkard(
    state: Numbers, free: Cells, ends: Places, rows: int, columns: int, n_freed: int
) -> None:
    """Free the cells of a random walk until there are enough."""
    around = np.empty(4, np.int64)
    x = _draw_below(state, columns)
    y = _draw_below(state, rows)
    here = y * columns + x
    free[here] = True
    n = 1
    while n < n_freed:
        n_around = 0
        for is_inside, step in (
            (here % columns > 0, -1),
            (here % columns < columns - 1, 1),
            (here // columns > 0, -columns),
            (here // columns < rows - 1, columns),
        ):
            if is_inside:
                around[n_around] = step
                n_around += 1
        here += around[_draw_below(state, n_around)]
        if not free[here]:
            free[here] = True
            n += 1
    cells = np.flatnonzero(free)
    ends[0] = cells[_draw_below(state, len(cells))]
    ends[1] = cells[_draw_below(state, len(cells))]
    while ends[1] == ends[0]:
        ends[1] = cells[_draw_below(state, len(cells))]
