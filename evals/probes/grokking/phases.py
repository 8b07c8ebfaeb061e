"""When a network stopped storing and started to compute, by a rule written before looking.

In: what was measured at every snapshot. Out: how the run ended, and, only where it grokked, three
epochs; and what had changed inside before the outside moved.

*Right* is 99 % of rows. *Fresh* rows are those not trained on, nor their mirror where the operation
commutes: a mirror can be stored with its row. How a run ended is judged by the median of the last
tenth of its snapshots (three at least), and what is reached at a snapshot must be held at the next,
so that a spike of the optimiser decides nothing.

* *Unfit*: the rows trained on are not right. *Learned at once*: when they first were, so were 90 %
  of the fresh ones. *Grokked*: not so, and the fresh ones are
  right at the end. *Memorised*: under 90 % of them are, ever. Else *unfinished*.
* *End of memorisation*: the snapshot with the least excluded loss before clean-up ends. Up to there
  the network fits its rows by other means than the sum directions; from there on, less and less.
* *Clean-up* is the descent of the test loss, in its logarithm from its highest to its last value:
  it begins at the last snapshot before 5 % of the way are done, and ends when 95 % are.
* *Circuit formation* is what lies between.

Where the excluded loss is undefined (no cyclic group, or no key frequencies) the end of
memorisation is when the rows trained on are first right, and nothing is said of the inside.

The published phases (1.4k, 9.4k, 14k epochs) were read off one run by eye; the rule is ours.

Glossary: S snapshots.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from evals.estimates import mean_over_seeds
from evals.probes.grokking.measures import Measures

__all__ = [
    "EpochInterval",
    "Order",
    "Outcome",
    "Passage",
    "Phases",
    "check_order",
    "epoch_interval",
    "find_phases",
]

FloatArray = NDArray[np.float64]

RIGHT = 0.99
GENERALISED = 0.90
BEGUN, HALF, DONE = 0.05, 0.5, 0.95
LAST_PART = 0.1
"""Of the snapshots: what a last value is the median of; `FEWEST` at least."""

FEWEST = 3

LEAST_LOSS = 1e-16
"""In nats: a smaller loss is rounding, and 0 has no logarithm."""


class Outcome(StrEnum):
    """How a run ended."""

    GROKKED = "grokked"
    AT_ONCE = "learned at once"
    MEMORISED = "memorised"
    UNFINISHED = "unfinished"
    UNFIT = "unfit"
    DIVERGED = "diverged"
    """A loss was no finite number any more; told by who trained it."""


@dataclasses.dataclass(frozen=True)
class Phases:
    """How a run ended and, where it grokked, when what ended; epochs.

    Attributes:
        outcome: How it ended.
        fitted: When the rows trained on were first right; None where never.
        generalised: When the fresh ones were, from there on but for single spikes.
        memorised: End of memorisation.
        formed: End of circuit formation, where clean-up begins.
        cleaned: End of clean-up.
    """

    outcome: Outcome
    fitted: int | None = None
    generalised: int | None = None
    memorised: int | None = None
    formed: int | None = None
    cleaned: int | None = None


@dataclasses.dataclass(frozen=True)
class Passage:
    """Epochs at which a loss had done 5, 50 and 95 % of its fall, in its logarithm."""

    begun: int
    half: int
    done: int


@dataclasses.dataclass(frozen=True)
class Order:
    """What came first, the restricted loss and the test loss on the same rows.

    Attributes:
        restricted: Of the restricted loss, on rows not trained on.
        test: Of the test loss.
        excluded_ratio: Excluded loss when clean-up began, over that when the rows trained on were
            first right: a point that the excluded loss did not choose itself.
        weights_ratio: Sum of squared weights, the same.
        gini_early: Rise of the embedding's Gini coefficient per 1,000 epochs in circuit formation;
            NaN where that took no time.
        gini_late: The same in clean-up.
    """

    restricted: Passage
    test: Passage
    excluded_ratio: float
    weights_ratio: float
    gini_early: float
    gini_late: float

    @property
    def restricted_leads(self) -> bool:
        """Whether restricted had begun, and done half of its fall, before the test loss had."""
        return self.restricted.begun < self.test.begun and self.restricted.half < self.test.half

    @property
    def excluded_rose(self) -> bool:
        """Whether the excluded loss had risen before the test loss began to fall."""
        return self.excluded_ratio > 1

    @property
    def gini_jumped(self) -> bool:
        """Whether Gini rose faster in clean-up than before."""
        return self.gini_late > max(self.gini_early, 0.0)


@dataclasses.dataclass(frozen=True)
class EpochInterval:
    """A mean over seeds and its 95 % interval by t; NaN with fewer than 2 seeds."""

    mean: float
    low: float
    high: float
    n: int


def find_phases(epochs: Sequence[int], measured: Sequence[Measures]) -> Phases:
    """Return how a run ended, and its phases where it grokked.

    Args:
        epochs: (S,) of the snapshots, rising; at least one.
        measured: (S,) what was measured at each.
    """
    train = np.array([one.accuracy.train for one in measured])
    fresh = np.array([one.fresh_accuracy for one in measured])
    fitted = _first_pair(train >= RIGHT)
    if fitted is None or _at_end(train) < RIGHT:
        return Phases(Outcome.UNFIT)
    when = epochs[fitted]
    if fresh[fitted] >= GENERALISED:
        return Phases(Outcome.AT_ONCE, fitted=when)
    if _at_end(fresh) < RIGHT:
        never = bool((fresh < GENERALISED).all())
        return Phases(Outcome.MEMORISED if never else Outcome.UNFINISHED, fitted=when)
    learned = _first_pair(fresh >= RIGHT)
    fall = _fall([one.loss.test for one in measured])
    if learned is None or fall is None:
        return Phases(Outcome.UNFINISHED, fitted=when)
    excluded = np.array([one.excluded for one in measured])
    memorised = fitted
    if not np.isnan(excluded).any():
        memorised = int(excluded[: fall[2] + 1].argmin())
    return Phases(
        Outcome.GROKKED,
        fitted=when,
        generalised=epochs[learned],
        memorised=epochs[memorised],
        formed=epochs[max(fall[0], memorised)],
        cleaned=epochs[fall[2]],
    )


def check_order(
    epochs: Sequence[int], measured: Sequence[Measures], phases: Phases
) -> Order | None:
    """Return what came first; None where the run did not grok or the inside is undefined."""
    if phases.memorised is None or phases.formed is None or phases.cleaned is None:
        return None
    restricted = _fall([one.restricted.test for one in measured])
    test = _fall([one.loss.test for one in measured])
    if restricted is None or test is None:
        return None
    at = dict(zip(epochs, measured, strict=True))
    assert phases.fitted is not None
    fitted, stored, formed, cleaned = (
        at[epoch] for epoch in (phases.fitted, phases.memorised, phases.formed, phases.cleaned)
    )
    return Order(
        restricted=Passage(*(epochs[place] for place in restricted)),
        test=Passage(*(epochs[place] for place in test)),
        excluded_ratio=formed.excluded / max(fitted.excluded, LEAST_LOSS),
        weights_ratio=formed.squared_weights / fitted.squared_weights,
        gini_early=_rise(stored, formed, phases.formed - phases.memorised),
        gini_late=_rise(formed, cleaned, phases.cleaned - phases.formed),
    )


def _rise(before: Measures, after: Measures, epochs: int) -> float:
    return 1000 * (after.gini_embedding - before.gini_embedding) / epochs if epochs else math.nan


def epoch_interval(epochs: Sequence[float]) -> EpochInterval:
    """Return the mean of one epoch over seeds, with its interval."""
    found = mean_over_seeds(epochs)
    return EpochInterval(found.value, found.low, found.high, found.n)


def _first_pair(holds: NDArray[np.bool_]) -> int | None:
    """Return the first place at which it holds, and at the next; None where there is none."""
    places = np.flatnonzero(holds[:-1] & holds[1:])
    return int(places[0]) if len(places) else None


def _at_end(values: FloatArray) -> float:
    return float(np.median(values[-max(FEWEST, round(LAST_PART * len(values))) :]))


def _fall(losses: Sequence[float]) -> tuple[int, int, int] | None:
    """Return the places where a loss begins its fall, has done half, and is done; None if none."""
    values = np.array(losses)
    if not np.isfinite(values).all():
        return None
    height = np.log(np.maximum(values, LEAST_LOSS))
    top, last = int(height.argmax()), _at_end(height)
    if not height[top] > last:
        return None
    way = (height[top] - height[top:]) / (height[top] - last)
    first, half, done = (_first_pair(way >= share) for share in (BEGUN, HALF, DONE))
    if first is None or half is None or done is None:
        return None
    return top + max(first - 1, 0), top + half, top + done
