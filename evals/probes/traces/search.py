"""A maze -> what A* does in it, and the path that it finds.

Manhattan distance to the goal, every step costs 1, neighbours up, right, down, left. Of the open
cells the one with the lowest sum of cost and distance is closed next; of several the one that has
been open longest. A cell that is found again at a lower cost while open is created again and keeps
its place.

Source: Hart et al. (1968); ties and order as in Stechly et al. (arXiv 2505.13775), whose code is
github.com/kstechly/beyond-semantics-maze-visualizer.

Glossary: R rows; C columns; E events; P cells of a path; x is a column, y a row, a cell is y C + x.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evals.probes.traces.compiled import compiled

__all__ = ["CLOSE", "CREATE", "breadth_first", "search"]

CLOSE, CREATE = 0, 1

Cells = NDArray[np.bool_]
Places = NDArray[np.int64]
_FAR = 1 << 40


@compiled
def search(free: Cells, start: int, goal: int, rows: int, columns: int) -> tuple[Places, Places]:
    """Return the events (E, 4) of a search, and its path (P,).

    An event is `CLOSE` or `CREATE`, the cell, its cost from the start and its distance to the goal.
    The path is empty where there is none.

    Args:
        free: (R * C,) whether a cell is free.
        start: Cell.
        goal: Cell.
        rows: R.
        columns: C.
    """
    n_cells = rows * columns
    cost, parent = np.full(n_cells, _FAR), np.full(n_cells, -1)
    is_open, is_closed = np.zeros(n_cells, np.bool_), np.zeros(n_cells, np.bool_)
    opened, n_open = np.empty(n_cells, np.int64), 1
    events, n_events = np.empty((5 * n_cells + 1, 4), np.int64), 0
    opened[0], cost[start], is_open[start] = start, 0, True
    while n_open > 0:
        here = _take_nearest(opened, n_open, cost, goal, columns)
        n_open -= 1
        is_open[here], is_closed[here] = False, True
        events[n_events] = (CLOSE, here, cost[here], _distance(here, goal, columns))
        n_events += 1
        if here == goal:
            break
        for there in _around(here, rows, columns):
            if there < 0 or not free[there] or is_closed[there]:
                continue
            if cost[here] + 1 < cost[there]:
                parent[there], cost[there] = here, cost[here] + 1
                distance = _distance(there, goal, columns)
                events[n_events] = (CREATE, there, cost[there], distance)
                n_events += 1
                if not is_open[there]:
                    opened[n_open], is_open[there] = there, True
                    n_open += 1
    return events[:n_events], _path(parent, start, goal, is_closed[goal])


@compiled
def breadth_first(free: Cells, start: int, goal: int, rows: int, columns: int) -> Places:
    """Return the events (E, 4) of a breadth-first search, which closes cells as it created them."""
    n_cells = rows * columns
    cost = np.full(n_cells, -1)
    queue, n_read, n_queued = np.empty(n_cells, np.int64), 0, 1
    events, n_events = np.empty((2 * n_cells, 4), np.int64), 0
    queue[0], cost[start] = start, 0
    while n_read < n_queued:
        here = queue[n_read]
        n_read += 1
        events[n_events] = (CLOSE, here, cost[here], _distance(here, goal, columns))
        n_events += 1
        if here == goal:
            break
        for there in _around(here, rows, columns):
            if there >= 0 and free[there] and cost[there] < 0:
                cost[there] = cost[here] + 1
                distance = _distance(there, goal, columns)
                events[n_events] = (CREATE, there, cost[there], distance)
                n_events += 1
                queue[n_queued] = there
                n_queued += 1
    return events[:n_events]


@compiled
def _around(cell: int, rows: int, columns: int) -> tuple[int, int, int, int]:
    """Return the cells up, right, down and left; -1 where the grid has none."""
    x, y = cell % columns, cell // columns
    return (
        cell - columns if y > 0 else -1,
        cell + 1 if x < columns - 1 else -1,
        cell + columns if y < rows - 1 else -1,
        cell - 1 if x > 0 else -1,
    )


@compiled
def _distance(one: int, other: int, columns: int) -> int:
    return abs(one % columns - other % columns) + abs(one // columns - other // columns)


@compiled
def _take_nearest(opened: Places, n_open: int, cost: Places, goal: int, columns: int) -> int:
    """Return the first of the open cells with the lowest sum, and close the gap that it leaves."""
    best, least = 0, _FAR
    for place in range(n_open):
        total = cost[opened[place]] + _distance(opened[place], goal, columns)
        if total < least:
            best, least = place, total
    found = int(opened[best])
    for place in range(best, n_open - 1):
        opened[place] = opened[place + 1]
    return found


@compiled
def _path(parent: Places, start: int, goal: int, is_found: bool) -> Places:
    if not is_found:
        return np.empty(0, np.int64)
    length, here = 1, goal
    while here != start:
        here = parent[here]
        length += 1
    found = np.empty(length, np.int64)
    here = goal
    for place in range(length - 1, -1, -1):
        found[place] = here
        here = parent[here]
    return found
