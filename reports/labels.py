"""Where labels of marks go, so that none covers a mark or another label.

Source: greedy point-feature labelling, in order of priority; a label that fits nowhere is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["LabelBox", "Placed", "place_labels"]

CHARACTER_WIDTH = 6.3
HEIGHT = 12.0
MARK_RADIUS = 5.0
OFFSETS = (
    *((9, 0, "left"), (-9, 0, "right"), (0, -13, "center"), (0, 13, "center")),
    *((7, -11, "left"), (7, 11, "left"), (-7, -11, "right"), (-7, 11, "right")),
    *((0, -25, "center"), (0, 25, "center"), (10, -20, "left"), (-10, -20, "right")),
    *((10, 20, "left"), (-10, 20, "right"), (0, -36, "center"), (0, 36, "center")),
)
"""Offsets to try in this order, in pixels, with the side of the text that stands there."""


@dataclass(frozen=True)
class LabelBox:
    """A label that wants a place at a mark, in pixels from the top left corner."""

    text: str
    x: float
    y: float


@dataclass(frozen=True)
class Placed:
    """A label with its place; `align` is the side of the text that stands at (x, y)."""

    text: str
    x: float
    y: float
    align: str


Box = tuple[float, float, float, float]


def place_labels(
    labels: Sequence[LabelBox], *, width: float, height: float, obstacles: Sequence[Box] = ()
) -> list[Placed]:
    """Return the labels that found a place; earlier ones have the first choice."""
    taken: list[Box] = [*obstacles, *(_around(label) for label in labels)]
    placed: list[Placed] = []
    for label in labels:
        if not label.text or any(_says_the_same(label, other) for other in placed):
            continue
        for dx, dy, align in OFFSETS:
            candidate = Placed(label.text, label.x + dx, label.y + dy, align)
            box = _extent(candidate)
            is_inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
            if is_inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                placed.append(candidate)
                break
    return placed


def _says_the_same(label: LabelBox, other: Placed) -> bool:
    distance = math.hypot(label.x - other.x, label.y - other.y)
    return label.text == other.text and distance < 4 * HEIGHT


def _around(label: LabelBox) -> Box:
    r = MARK_RADIUS
    return (label.x - r, label.y - r, label.x + r, label.y + r)


def _extent(label: Placed) -> Box:
    width = CHARACTER_WIDTH * len(label.text)
    left = {"left": 0.0, "center": width / 2, "right": width}[label.align]
    top, bottom = label.y - HEIGHT / 2, label.y + HEIGHT / 2
    return (label.x - left, top, label.x - left + width, bottom)


def _overlap(one: Box, other: Box) -> bool:
    apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    return not apart
