"""Text of a problem, or of what a model answers to it -> mazes, operations and plans.

Source: the format and the published parser of Stechly et al. (arXiv 2505.13775): an operation is
five words, a step of a plan three; a plan is the steps that nothing follows; one word that fits
nowhere makes the operations unreadable.

Glossary: x is a column, y a row; a cell here is (x, y).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from evals.errors import DataError

__all__ = ["Cell", "Maze", "Operation", "Response", "read_maze", "read_response"]

Cell = tuple[int, int]
"""Column and row."""

_OPERATION, _STEP = 5, 3
_WIDTHS = {"close": _OPERATION, "create": _OPERATION, "plan": _STEP}
_ENDS = ("close", "create", "plan", "<eos>")


@dataclasses.dataclass(frozen=True)
class Maze:
    """What a problem says.

    Attributes:
        rows: R.
        columns: C.
        walls: Cells that are walls.
        start: Where a path begins.
        goal: Where it ends.
    """

    rows: int
    columns: int
    walls: frozenset[Cell]
    start: Cell
    goal: Cell

    def is_inside(self, cell: Cell) -> bool:
        """Return whether a cell is on the grid."""
        return 0 <= cell[0] < self.columns and 0 <= cell[1] < self.rows

    def is_free(self, cell: Cell) -> bool:
        """Return whether one can stand there."""
        return self.is_inside(cell) and cell not in self.walls

    def around(self, cell: Cell) -> list[Cell]:
        """Return the free cells up, right, down and left of a cell."""
        x, y = cell
        near = [(x, y - 1), (x + 1, y), (x, y + 1), (x - 1, y)]
        return [one for one in near if self.is_free(one)]

    def distance(self, cell: Cell) -> int:
        """Return how far the goal is, as if there were no walls."""
        return abs(cell[0] - self.goal[0]) + abs(cell[1] - self.goal[1])


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of a trace.

    Attributes:
        is_close: Whether it closes its cell; else it creates it.
        cell: Which cell.
        cost: Its cost from the start, as said.
        distance: Its distance to the goal, as said.
    """

    is_close: bool
    cell: Cell
    cost: int
    distance: int


@dataclasses.dataclass(frozen=True)
class Response:
    """What a model answered.

    Attributes:
        operations: Of its trace: all that can be read.
        plan: Cells of its plan; None where it cannot be read or there is none.
        is_readable: Whether every word of the trace was part of an operation.
        is_in_form: Whether it is operations, one `solution`, steps of a plan and the end, in this
            order and nothing else.
    """

    operations: tuple[Operation, ...]
    plan: tuple[Cell, ...] | None
    is_readable: bool
    is_in_form: bool


def read_maze(words: Sequence[str], rows: int, columns: int) -> Maze:
    """Return the maze that a line of words begins with.

    Raises:
        DataError: A cell is not on the grid, or start or goal is missing.
    """
    cells: dict[str, list[Cell]] = {"start": [], "goal": [], "wall": []}
    for place, word in enumerate(words):
        if word in ("reasoning", "solution"):
            break
        if word in cells:
            cell = _cell(words[place + 1 : place + 3])
            if cell is None or not (0 <= cell[0] < columns and 0 <= cell[1] < rows):
                told = " ".join(words[place : place + 3])
                raise DataError(f"`{told}` is no cell of a grid of {rows} x {columns}")
            cells[word].append(cell)
    if not cells["start"] or not cells["goal"]:
        raise DataError("a maze needs a start and a goal")
    return Maze(rows, columns, frozenset(cells["wall"]), cells["start"][0], cells["goal"][0])


def read_response(words: Sequence[str]) -> Response:
    """Return what the words after a problem say, from `reasoning` or `solution` on."""
    units, is_readable = _units([one for one in words if one not in ("solution", "end")])
    operations = [_operation(unit) for unit in units if unit[0] != "plan"]
    read = tuple(one for one in operations if one is not None)
    return Response(
        operations=read,
        plan=_plan(units),
        is_readable=is_readable and len(read) == len(operations),
        is_in_form=_is_in_form(words),
    )


def _is_in_form(words: Sequence[str]) -> bool:
    """Return whether words are what a line of the data has after its problem."""
    rest = list(words[1:] if words[:1] == ["reasoning"] else words)
    if rest.count("solution") != 1 or rest[-1] != "end":
        return False
    place = rest.index("solution")
    trace, plan = rest[:place], rest[place + 1 : -1]
    return (
        len(trace) % _OPERATION == 0
        and all(word in ("close", "create") for word in trace[::_OPERATION])
        and len(plan) % _STEP == 0
        and all(word == "plan" for word in plan[::_STEP])
    )


def _units(words: Sequence[str]) -> tuple[list[list[str]], bool]:
    """Return words by operation and step, and whether all of them are in one.

    A unit that another begins in is dropped: of an operation that makes the trace unreadable, of a
    step the plan, in which it stays as one that cannot be read.
    """
    units: list[list[str]] = []
    is_readable, place = True, 0
    if words and words[0] == "reasoning":
        place = 1
    while place < len(words) and words[place] != "<eos>":
        width = _WIDTHS.get(words[place])
        if width is None:
            is_readable = False
            place += 1
            continue
        unit = list(words[place : place + width])
        cut = next((n for n in range(1, len(unit)) if unit[n] in _ENDS), None)
        if cut is None:
            units.append(unit)
            place += width
            continue
        if unit[0] == "plan":
            units.append(["plan"])
        else:
            is_readable = False
        place += cut
    return units, is_readable


def _operation(unit: Sequence[str]) -> Operation | None:
    cell = _cell(unit[1:3])
    costs = [_number(word.removeprefix("c")) for word in unit[3:5] if word.startswith("c")]
    if cell is None or len(costs) != 2 or costs[0] is None or costs[1] is None:
        return None
    return Operation(unit[0] == "close", cell, costs[0], costs[1])


def _plan(units: Sequence[Sequence[str]]) -> tuple[Cell, ...] | None:
    if any(unit == ["plan"] for unit in units):
        return None
    found: list[Cell] = []
    for unit in reversed(units):
        if unit[0] != "plan":
            break
        cell = _cell(unit[1:3])
        if cell is None:
            return None
        found.append(cell)
    return tuple(reversed(found)) or None


def _cell(words: Sequence[str]) -> Cell | None:
    if len(words) != 2:
        return None
    x, y = map(_number, words)
    return None if x is None or y is None else (x, y)


def _number(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdigit() else None
