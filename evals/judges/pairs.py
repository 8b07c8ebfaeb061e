"""Two answers to one request, which a judge compares; and the label that says who is right.

In: what was asked and answered. Out: `Pair`, the unit of every pairwise judgement. A pair names the
arms that wrote its answers, so that a judgement says which arm it prefers, wherever the answer was
shown.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from enum import IntEnum

from evals.errors import RecordError
from evals.records import Judgement

__all__ = ["ALONE", "Order", "Pair", "Votes", "gather_votes"]


class Order(IntEnum):
    """Where the answer of a pair's `arm` was shown; `Judgement.order`."""

    FIRST = 0
    SECOND = 1


ALONE = -1
"""The `Judgement.order` of a judge that scores each answer alone, and so knows no order."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two answers to one request.

    Attributes:
        pair_id: Stable, and the `item_id` of its judgements.
        prompt: The request.
        answer: What `arm` answered.
        other_answer: What `against` answered.
        arm: Who wrote `answer`.
        against: Who wrote `other_answer`.
        label: Which answer is better: 1 that of `arm`, 0 the other, 0.5 neither; None unlabelled.
        cluster_id: The unit of randomisation; the pair itself where empty.
        group: A stratum to report by, such as a subset of a benchmark.
        reference: A right answer, for judges of facts.
    """

    pair_id: str
    prompt: str
    answer: str
    other_answer: str
    arm: str
    against: str
    label: float | None = None
    cluster_id: str = ""
    group: str = ""
    reference: str = ""

    @property
    def digest(self) -> str:
        """Identity of what is judged: the request and both answers, in their order."""
        judged = json.dumps([self.prompt, self.answer, self.other_answer])
        return hashlib.sha256(judged.encode()).hexdigest()[:16]

    @property
    def cluster(self) -> str:
        """The unit of randomisation."""
        return self.cluster_id or self.pair_id


@dataclasses.dataclass(frozen=True)
class Votes:
    """What a judge said of a pair, by the order in which it saw the answers; None where nothing.

    A vote is the preference for the pair's `arm`: 1, 0, or 0.5 for a tie. `alone` is the vote of a
    judge that scores each answer alone.
    """

    pair: Pair
    first: float | None
    second: float | None
    alone: float | None = None

    @property
    def said(self) -> tuple[float, ...]:
        """The votes that there are."""
        votes = (self.first, self.second, self.alone)
        return tuple(vote for vote in votes if vote is not None)

    @property
    def is_flip(self) -> bool | None:
        """Whether the other order made the judge prefer the other answer; None of one order."""
        if self.first is None or self.second is None:
            return None
        return self.first + self.second == 1 and self.first != self.second


def gather_votes(pairs: Sequence[Pair], judgements: Iterable[Judgement]) -> list[Votes]:
    """Return the votes on every pair, in the order of the pairs; failed judgements are no votes.

    Raises:
        RecordError: A judgement names no pair, or two judge one pair in one order.
    """
    by_id = {pair.pair_id: pair for pair in pairs}
    if len(by_id) < len(pairs):
        raise RecordError(f"{len(pairs) - len(by_id)} pairs have an id that another has too")
    orders = (*Order, ALONE)
    found: dict[tuple[str, int], float | None] = {}
    for one in judgements:
        key = one.item_id, one.order
        if one.item_id not in by_id or one.order not in orders:
            raise RecordError(f"a judgement of no known pair and order: {one.item_id}, {one.order}")
        if key in found:
            raise RecordError(f"two judgements of one pair in one order: {one.item_id}")
        found[key] = None if one.error else one.value
    return [Votes(pair, *(found.get((pair.pair_id, order)) for order in orders)) for pair in pairs]
