"""What a model answered -> whether its trace is a search, and its plan a path.

The published validator replays a trace and names its first error. It believes every cost and
distance that it reads, and does not miss what is not there; the strict one checks both, and that
the plan is the one that the trace has found.

    maze, response = read_maze(words, rows, columns), read_response(rest)
    validate_trace(maze, response)                      # published
    validate_trace(maze, response, is_strict=True)      # the search must be A*'s, up to ties
    validate_plan(maze, response)

Source: Stechly et al. (arXiv 2505.13775), whose validator's errors have these names. Ours deviates
where a plan leaves the grid, which theirs does not see; that no path leads back from a closed goal,
or none that is one, they have names for and it cannot occur.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from enum import StrEnum

from evals.probes.traces.reading import Cell, Maze, Operation, Response

__all__ = [
    "PlanFault",
    "PlanVerdict",
    "TraceFault",
    "TraceVerdict",
    "validate_plan",
    "validate_trace",
]


class TraceFault(StrEnum):
    """What is wrong with a trace first."""

    SYNTAX = "operation_syntax_error"
    """A word is part of no operation."""
    OFF_GRID = "invalid_coordinates"
    """The cell is not on the grid."""
    WALL = "create_close_wall"
    """The cell is a wall."""
    NOTHING_CLOSED = "first_create_not_last_closed"
    """A cell is created before any is closed."""
    NO_NEIGHBOR = "create_non_neighbor"
    """A cell is created that is not beside the last closed."""
    CREATE_CLOSED = "create_already_closed"
    """A closed cell is created."""
    NOT_OPEN = "close_not_in_open_list"
    """No open cell has this place, cost and distance."""
    NOT_LOWEST = "close_not_lowest_f_value"
    """Another open cell has a lower sum of cost and distance."""
    NO_GOAL = "goal_not_reached"
    """The goal is never closed."""
    PLAN_LENGTH = "plan_length_mismatch"
    """The plan is longer or shorter than the path that the trace found."""
    COST = "wrong_cost"
    """Strict: a cost is not that of the last closed cell and one."""
    DISTANCE = "wrong_distance"
    """Strict: a distance is not the Manhattan distance to the goal."""
    NEEDLESS = "needless_create"
    """Strict: an open cell is created again at no lower cost."""
    MISSING = "missing_create"
    """Strict: the next cell is closed before all neighbours of the last were created."""
    AFTER_GOAL = "operation_after_goal"
    """Strict: the search goes on when the goal is closed."""
    OTHER_PLAN = "plan_not_from_trace"
    """Strict: the plan is another path than the one that the trace found."""


class PlanFault(StrEnum):
    """What is wrong with a plan first."""

    SYNTAX = "plan_syntax_error"
    """There is none, or it cannot be read."""
    START = "illegal_start"
    """It does not begin at the start."""
    MOVE = "illegal_move"
    """A step does not lead to a free cell beside."""
    NO_GOAL = "goal_not_reached"
    """It ends elsewhere."""


@dataclasses.dataclass(frozen=True)
class TraceVerdict:
    """Whether a trace is a search.

    Attributes:
        fault: What is wrong first; None where nothing is.
        at: Place of the operation that is wrong; None where it is the trace as a whole.
    """

    fault: TraceFault | None
    at: int | None = None

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong."""
        return self.fault is None

    @property
    def is_search(self) -> bool:
        """Whether the trace alone can be replayed to the goal, whatever plan follows."""
        return self.fault in (None, TraceFault.PLAN_LENGTH, TraceFault.OTHER_PLAN)


@dataclasses.dataclass(frozen=True)
class PlanVerdict:
    """Whether a plan is a path.

    Attributes:
        fault: What is wrong first; None where nothing is.
        n_cells: Cells of the plan, both ends counted; 0 where there is none.
    """

    fault: PlanFault | None
    n_cells: int

    @property
    def is_valid(self) -> bool:
        """Whether it is a legal path from start to goal, of any length."""
        return self.fault is None


def validate_trace(maze: Maze, response: Response, *, is_strict: bool = False) -> TraceVerdict:
    """Return what is wrong with a trace first.

    An unreadable word counts before all else, wherever it stands, as published; strictly, so does
    any word that is not in its place.
    """
    if not response.is_readable or (is_strict and not response.is_in_form):
        return TraceVerdict(TraceFault.SYNTAX)
    replay = _Replay(maze)
    for place, operation in enumerate(response.operations):
        fault = replay.fault_of(operation, is_strict=is_strict)
        if fault:
            return TraceVerdict(fault, place)
        replay.apply(operation)
    return TraceVerdict(_ending(maze, replay, response, is_strict=is_strict))


def validate_plan(maze: Maze, response: Response) -> PlanVerdict:
    """Return what is wrong with a plan first."""
    if response.plan is None:
        return PlanVerdict(PlanFault.SYNTAX, 0)
    return PlanVerdict(_path_fault(maze, response.plan), len(response.plan))


def _ending(
    maze: Maze, replay: _Replay, response: Response, *, is_strict: bool
) -> TraceFault | None:
    if maze.goal not in replay.closed:
        return TraceFault.NO_GOAL
    found = replay.path()
    if is_strict:
        return None if response.plan == found else TraceFault.OTHER_PLAN
    is_as_long = response.plan is None or len(response.plan) == len(found)
    return None if is_as_long else TraceFault.PLAN_LENGTH


def _path_fault(maze: Maze, path: tuple[Cell, ...]) -> PlanFault | None:
    if path[0] != maze.start:
        return PlanFault.START
    for here, there in itertools.pairwise(path):
        if there not in maze.around(here):
            return PlanFault.MOVE
    return None if path[-1] == maze.goal else PlanFault.NO_GOAL


class _Replay:
    """A search, one operation after another."""

    def __init__(self, maze: Maze) -> None:
        self.closed: set[Cell] = set()
        self._maze = maze
        self._open = {maze.start: (0, maze.distance(maze.start))}
        self._parents: dict[Cell, tuple[Cell, int]] = {}
        self._last: Operation | None = None
        self._due: set[Cell] = set()

    def fault_of(self, operation: Operation, *, is_strict: bool) -> TraceFault | None:
        """Return what is wrong with the next operation first; published faults come first."""
        if not self._maze.is_inside(operation.cell):
            return TraceFault.OFF_GRID
        if operation.cell in self._maze.walls:
            return TraceFault.WALL
        faults = self._close_faults if operation.is_close else self._create_faults
        return next(faults(operation, is_strict), None)

    def apply(self, operation: Operation) -> None:
        """Take an operation in which nothing is wrong."""
        cell, cost = operation.cell, operation.cost
        if operation.is_close:
            del self._open[cell]
            self.closed.add(cell)
            self._last = operation
            self._due = {
                one
                for one in self._maze.around(cell)
                if one not in self.closed and cost + 1 < self._open.get(one, (cost + 2, 0))[0]
            }
            return
        self._due.discard(cell)
        if cell not in self._open or cost < self._open[cell][0]:
            self._open[cell] = (cost, operation.distance)
        if cell not in self._parents or cost < self._parents[cell][1]:
            assert self._last is not None, operation
            self._parents[cell] = (self._last.cell, cost)

    def path(self) -> tuple[Cell, ...]:
        """Return the cells from the start to the closed goal as they were found."""
        cell, found = self._maze.goal, [self._maze.goal]
        while cell != self._maze.start:  # what is closed was created beside a cell closed before
            cell = self._parents[cell][0]
            found.append(cell)
        return tuple(reversed(found))

    def _create_faults(self, operation: Operation, is_strict: bool) -> Iterator[TraceFault]:
        if self._last is None:
            yield TraceFault.NOTHING_CLOSED
            return
        if operation.cell not in self._maze.around(self._last.cell):
            yield TraceFault.NO_NEIGHBOR
        if operation.cell in self.closed:
            yield TraceFault.CREATE_CLOSED
        if is_strict:
            yield from self._strict_create_faults(operation, self._last)

    def _strict_create_faults(self, operation: Operation, last: Operation) -> Iterator[TraceFault]:
        if self._maze.goal in self.closed:
            yield TraceFault.AFTER_GOAL
        if operation.cost != last.cost + 1:
            yield TraceFault.COST
        if operation.distance != self._maze.distance(operation.cell):
            yield TraceFault.DISTANCE
        if operation.cell not in self._due:
            yield TraceFault.NEEDLESS

    def _close_faults(self, operation: Operation, is_strict: bool) -> Iterator[TraceFault]:
        if is_strict and self._maze.goal in self.closed:
            yield TraceFault.AFTER_GOAL
        if is_strict and self._due:
            yield TraceFault.MISSING
        told = (operation.cost, operation.distance)
        if self._open.get(operation.cell) != told:
            yield TraceFault.NOT_OPEN
        if sum(told) > min((sum(one) for one in self._open.values()), default=0):
            yield TraceFault.NOT_LOWEST
