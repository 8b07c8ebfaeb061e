"""Is this still the judge that it was? A few pairs are judged anew and held against a lock.

In: pairs, and what a judge said of them when it was locked and says now. Out: the anchors that are
drawn, and the drift: the share of their verdicts that changed. Verdicts of a judge that drifted
between two runs must not be compared across them, whatever its name is.

A greedy model on a server that batches is not quite deterministic: what may change is a bound that
the caller sets beforehand.

Glossary: a verdict is the preference for the pair's `arm` in one order, or None where the judge
answered without one; a call that failed is no verdict and stands apart.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from evals.errors import RecordError, RunError
from evals.estimates import Estimate, share_estimate
from evals.judges.llm import is_answered
from evals.judges.pairs import Order, Pair
from evals.records import Judgement

__all__ = [
    "Change",
    "Drift",
    "DriftError",
    "Verdicts",
    "digest_pairs",
    "draw_anchors",
    "measure_drift",
    "verdicts_of",
]

Verdicts = Mapping[tuple[str, int], float | None]
"""By pair and order."""

_WORDS = {1.0: "won", 0.5: "tied", 0.0: "lost", None: "no verdict"}
_PLACES = {Order.FIRST: "first", Order.SECOND: "second"}


class DriftError(RunError):
    """The judge is not the one that was locked: nothing may be compared across its runs."""


@dataclasses.dataclass(frozen=True)
class Change:
    """One verdict that is another now."""

    pair_id: str
    order: int
    before: float | None
    now: float | None

    def __str__(self) -> str:
        place = _PLACES[Order(self.order)]
        return f"{self.pair_id} shown {place}: {_WORDS[self.before]} -> {_WORDS[self.now]}"


@dataclasses.dataclass(frozen=True)
class Drift:
    """What became of the locked verdicts.

    Attributes:
        share: Share of the compared verdicts that changed, with its interval by the pair's cluster.
        changes: They themselves.
        n_missing: Locked verdicts that were not compared, as the call failed now.
    """

    share: Estimate
    changes: tuple[Change, ...]
    n_missing: int


def draw_anchors(pairs: Sequence[Pair], n: int, *, seed: int) -> list[Pair]:
    """Return n of the pairs, in their order; a larger n adds to the same ones.

    Raises:
        RecordError: There are fewer pairs.
    """
    if n > len(pairs):
        raise RecordError(
            f"{n} anchors are asked for, and there are {len(pairs)} pairs to draw them from",
            hint="ask for fewer: `anchors.n`",
        )
    ranked = sorted(pairs, key=lambda pair: _digest([seed, pair.pair_id]))
    drawn = {pair.pair_id for pair in ranked[:n]}
    return [pair for pair in pairs if pair.pair_id in drawn]


def digest_pairs(pairs: Sequence[Pair]) -> str:
    """Return the identity of what a judge is shown: labels, clusters and groups do not count."""
    return _digest([[p.pair_id, p.prompt, p.answer, p.other_answer, p.reference] for p in pairs])


def verdicts_of(judgements: Iterable[Judgement]) -> dict[tuple[str, int], float | None]:
    """Return what a judge said by pair and order; calls that failed are left out."""
    return {
        (one.item_id, one.order): None if one.error else one.value
        for one in judgements
        if is_answered(one)
    }


def measure_drift(anchors: Sequence[Pair], before: Verdicts, now: Verdicts) -> Drift:
    """Return how much of what was locked has changed.

    Raises:
        RunError: Fewer than half of the locked verdicts can be compared.
    """
    clusters = {pair.pair_id: pair.cluster for pair in anchors}
    shared = [key for key in before if key in now]
    if not shared or 2 * len(shared) < len(before):
        raise RunError(
            f"{len(shared)} of {len(before)} anchor verdicts came, too few to tell whether the "
            "judge has changed; give the command again"
        )
    changes = [Change(*key, before[key], now[key]) for key in shared if before[key] != now[key]]
    has_changed = [float(before[key] != now[key]) for key in shared]
    return Drift(
        share=share_estimate(has_changed, [clusters[pair_id] for pair_id, _ in shared]),
        changes=tuple(changes),
        n_missing=len(before) - len(shared),
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
