"""Does a network begin to compute when it has no room left to store? Onset against capacity.

In: how networks of one width ended, by the share of the table that they were trained on, and what
such networks hold of a table without a rule. Out: the least share that is learned, in bits of data
and as a part of the capacity.

If a lack of room were what starts the rule, none would be learned from data that fill a small part
of it. If the rule becomes cheaper than the list at some share of the table, whatever room there is,
the least share would be about the same for all widths, and the part would fall as networks grow.

Source: Morris et al. (arXiv 2505.24832), section 3, for the claim; nothing else is theirs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

__all__ = ["Onset", "data_bits", "find_onset", "held_bits"]


@dataclasses.dataclass(frozen=True)
class Onset:
    """Where learning the rule begins.

    Attributes:
        share: Least share of the table from which on all are learned; NaN where none is.
        failed: Largest share below it that was tried; NaN where none was.
    """

    share: float
    failed: float


def data_bits(n_rows: int, p: int) -> float:
    """Return the bits of so many answers modulo p, if they had no rule."""
    return n_rows * math.log2(p)


def held_bits(n_rows: int, p: int, loss: float) -> float:
    """Return the bits of answers without a rule that a network with a mean loss (nats) holds."""
    return data_bits(n_rows, p) - n_rows * loss / math.log(2)


def find_onset(is_learned: Mapping[float, bool]) -> Onset:
    """Return where learning begins, from whether each share of the table was enough."""
    shares = sorted(is_learned)
    place = len(shares)
    while place and is_learned[shares[place - 1]]:
        place -= 1
    return Onset(
        share=shares[place] if place < len(shares) else math.nan,
        failed=shares[place - 1] if place else math.nan,
    )
