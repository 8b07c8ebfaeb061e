"""Judgements on pairs -> the table that preference models are fitted to.

In: pairs and what a judge said of them. Out: `Battles`, one row for each verdict: who met whom, who
was preferred, what stood first, and by how much the one answer has more of each style feature.

A feature's value for a pair is (a - b) / (a + b), 0 where neither has any, so that ten words more
weigh less in a long answer; each is divided by its root mean square over the rows. It is not
centred: an answer against itself must have no advantage, and which arm a row names first must not
matter.

Source: style control of LMSYS' arena, Li, Angelopoulos and Chiang (2024), "Does style matter?",
whose four features these are; the rules that count headers, lists and bold are ours.

Glossary: N rows; A arms; K features.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from evals.errors import RecordError
from evals.judges.pairs import ALONE, Order, Pair, gather_votes
from evals.records import Judgement
from evals.style.stylometry import count_list_items

__all__ = ["FEATURES", "LENGTH", "Battles", "gather_battles", "style_counts"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LENGTH = "length"
FEATURES = (LENGTH, "lists", "headers", "bold")

_PLACES = {Order.FIRST: 1.0, Order.SECOND: -1.0, ALONE: 0.0}

_HEADER = re.compile(r"^\s{0,3}#{1,6}\s+\S", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")


@dataclasses.dataclass(frozen=True, eq=False)
class Battles:
    """What was preferred to what.

    Attributes:
        arms: Names of the A arms, in sorted order.
        one: (N,) index of the arm that a row's preference is for.
        other: (N,) index of the arm that it met.
        preference: (N,) 1 where `one` was preferred, 0 the other, 0.5 a tie.
        place: (N,) 1 where `one` was shown first, -1 second, 0 where each was shown alone.
        style: (N, K) how much more of each feature `one` has, in root mean squares.
        clusters: (N,) unit of randomisation.
    """

    arms: tuple[str, ...]
    one: IntArray
    other: IntArray
    preference: FloatArray
    place: FloatArray
    style: FloatArray
    clusters: tuple[str, ...]

    def without(self, arm: str) -> Battles:
        """Return the battles in which an arm had no part; the scale of the features stays."""
        gone = self.arms.index(arm)
        kept = (self.one != gone) & (self.other != gone)
        moved = np.cumsum([name != arm for name in self.arms]) - 1
        return Battles(
            tuple(name for name in self.arms if name != arm),
            moved[self.one[kept]],
            moved[self.other[kept]],
            self.preference[kept],
            self.place[kept],
            self.style[kept],
            tuple(c for c, is_in in zip(self.clusters, kept, strict=True) if is_in),
        )


@functools.lru_cache(maxsize=10_000)
def style_counts(text: str) -> tuple[int, int, int, int]:
    """Return a text's words, list items, headers and bold spans, in the order of `FEATURES`."""
    return (
        len(text.split()),
        count_list_items(text),
        len(_HEADER.findall(text)),
        len(_BOLD.findall(text)),
    )


def gather_battles(pairs: Sequence[Pair], judgements: Iterable[Judgement]) -> Battles:
    """Return one row for each verdict; failed judgements are left out.

    Raises:
        RecordError: Judgements do not join with the pairs, or there is no verdict.
    """
    rows = [
        (votes.pair, order, vote)
        for votes in gather_votes(pairs, judgements)
        for order, vote in zip(_PLACES, (votes.first, votes.second, votes.alone), strict=True)
        if vote is not None
    ]
    if not rows:
        raise RecordError("no judgement has a verdict, so there is no preference")
    arms = sorted({name for pair, _, _ in rows for name in (pair.arm, pair.against)})
    index = {name: place for place, name in enumerate(arms)}
    by_pair = {pair.pair_id: _style_difference(pair) for pair, _, _ in rows}
    style = np.array([by_pair[pair.pair_id] for pair, _, _ in rows])
    spread = np.sqrt((style**2).mean(axis=0))
    return Battles(
        arms=tuple(arms),
        one=np.array([index[pair.arm] for pair, _, _ in rows], dtype=np.int64),
        other=np.array([index[pair.against] for pair, _, _ in rows], dtype=np.int64),
        preference=np.array([vote for _, _, vote in rows]),
        place=np.array([_PLACES[order] for _, order, _ in rows]),
        style=style / np.where(spread > 0, spread, 1.0),
        clusters=tuple(pair.cluster for pair, _, _ in rows),
    )


def _style_difference(pair: Pair) -> list[float]:
    counts = zip(style_counts(pair.answer), style_counts(pair.other_answer), strict=True)
    return [(a - b) / (a + b) if a + b else 0.0 for a, b in counts]
