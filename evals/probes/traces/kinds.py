"""Kinds of mazes, of what is said before a plan, and of what damages it; imports nothing heavy.

Source: Stechly et al. (arXiv 2505.13775): the generators, solution only, correct and swapped. The
other arms are ours.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum

from evals.errors import DataError

__all__ = ["LEAST_SIDE", "Arm", "Condition", "Damage", "Generator", "Split", "Treatment"]

LEAST_SIDE = 4
"""Rows and columns that a maze has at least."""


class Generator(StrEnum):
    """How a maze is made."""

    WILSON = "wilson"
    """Loop-erased random walks: every spanning tree as likely."""
    KRUSKAL = "kruskal"
    """A spanning tree of edges in random order."""
    DFS = "dfs"
    """A spanning tree by random depth-first search: long corridors."""
    SEARCHFORMER = "searchformer"
    """Walls at random over 30 to 50 % of the cells; the path at least as long as a side."""
    DRUNKARD = "drunkards_walk"
    """A random walk until half of the cells are free."""


class Split(StrEnum):
    """Which stream of random numbers."""

    TRAIN = "train"
    TEST = "test"


class Arm(StrEnum):
    """What a network is trained to say before its plan."""

    SOLUTION_ONLY = "solution_only"
    """Nothing."""
    CORRECT = "correct"
    """What A* does in the maze."""
    SWAPPED = "swapped"
    """What A* does at another problem of the same data."""
    DAMAGED = "damaged"
    """What A* does, a share of its operations damaged."""
    FILLER = "filler"
    """As many tokens as A*'s trace of another problem has, all the same: they say nothing."""
    BREADTH_FIRST = "breadth_first"
    """What another search does in the maze."""


class Damage(StrEnum):
    """What becomes of an operation that is damaged."""

    COORDINATES = "coordinates"
    """Its cell is another one."""
    COSTS = "costs"
    """Its cost and its distance are others."""
    ORDER = "order"
    """It changes places with others that are damaged."""
    TRUNCATED = "truncated"
    """The last ones are left out."""
    FOREIGN = "foreign"
    """Its words are such as no trace has."""


class Condition(StrEnum):
    """Whose trace stands before the plan in a test."""

    OWN = "own"
    """The network's own: it is given the problem alone."""
    TAUGHT = "taught"
    """One of the kind that it was trained on, given."""
    TRUE = "true"
    """A*'s trace of this maze, given."""
    OTHER = "other"
    """A*'s trace of another problem of the test, given."""
    NONE = "none"
    """None: the plan is asked for at once."""


@dataclasses.dataclass(frozen=True)
class Treatment:
    """An arm, and for a damaged one by what and how much.

    Attributes:
        arm: Which arm.
        damage: Of a damaged arm.
        percent: Of the operations that are damaged, 0 to 100; rounded to whole operations.
    """

    arm: Arm
    damage: Damage | None = None
    percent: int = 0

    def __post_init__(self) -> None:
        if (self.arm is Arm.DAMAGED) != (self.damage is not None):
            raise DataError("a damaged arm needs a damage, and no other arm has one")
        if not 0 <= self.percent <= 100:
            raise DataError(f"a share of damaged operations is 0 to 100 %, got {self.percent}")

    @property
    def name(self) -> str:
        """What it is called in files and tables."""
        return self.arm.value if self.damage is None else f"{self.damage}-{self.percent}"
