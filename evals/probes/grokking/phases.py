"""When a network stopped storing and started to compute, by a rule written before looking.

In: what was measured at every snapshot. Out: how the run ended, and, only where it grokked, three
epochs.

* *Learned at once*: when 99 % of the rows trained on were right for good, so were 90 % of the
  others. *Memorised*: the former, and never 90 % of the latter. *Unfit*: not even the former.
  *Grokked*: the former, and later, for good, 99 % of the latter. Else *unfinished*.
* *End of memorisation*: the snapshot with the least excluded loss before clean-up ends. Up to there
  the network fits its rows by other means than the sum directions; from there on, less and less.
* *Clean-up* is the descent of the test loss, in its logarithm from its highest to its last value
  (median of the last tenth of the snapshots): it begins at the last snapshot with less than 5 % of
  the way done, and ends at the first from which on 95 % are done.
* *Circuit formation* is what lies between.

Where the excluded loss is undefined (the operation is no cyclic group's) the end of memorisation is
the first snapshot from which on 99 % of the rows trained on are right.

The published phases (1.4k, 9.4k, 14k epochs) were read off one run by eye; the rule is ours.

What the paper says of their order is checked in numbers, `Order`: did the inside change before the
outside moved?

Glossary: S snapshots.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from evals.probes.grokking.measures import Measures

__all__ = [
    "EpochInterval",
    "Order",
    "Outcome",
    "Phases",
    "check_order",
    "epoch_interval",
    "find_phases",
]

FloatArray = NDArray[np.float64]

FITTED = 0.99
GENERALISED = 0.90
BEGUN, DONE = 0.05, 0.95
LAST_PART = 0.1
"""Of the snapshots: what a last value is the median of."""


class Outcome(StrEnum):
    """How a run ended."""

    GROKKED = "grokked"
    AT_ONCE = "learned at once"
    MEMORISED = "memorised"
    UNFINISHED = "unfinished"
    UNFIT = "unfit"


@dataclasses.dataclass(frozen=True)
class Phases:
    """How a run ended and, where it grokked, when what ended; epochs.

    Attributes:
        outcome: How it ended.
        fitted: First epoch from which on the rows trained on are right; None where never.
        generalised: The same of the others, at 99 %.
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
class Order:
    """What had changed inside when clean-up began, and what clean-up changed.

    Attributes:
        restricted_ratio: Restricted loss on all pairs when clean-up began, over that at the end of
            memorisation.
        excluded_ratio: Excluded loss, the same.
        test_ratio: Test loss, the same: what was to be seen from outside.
        weights_ratio: Sum of squared weights, the same.
        gini_ratio: Rise per epoch of the embedding's Gini coefficient in clean-up, over that in
            circuit formation.
    """

    restricted_ratio: float
    excluded_ratio: float
    test_ratio: float
    weights_ratio: float
    gini_ratio: float

    @property
    def holds(self) -> bool:
        """Whether restricted fell and excluded rose, by more than the test loss fell, then Gini."""
        return (
            self.restricted_ratio < min(1.0, self.test_ratio)
            and self.excluded_ratio > 1
            and self.gini_ratio > 1
        )


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
        epochs: (S,) of the snapshots, rising.
        measured: (S,) what was measured at each.
    """
    train = np.array([one.accuracy.train for one in measured])
    test = np.array([one.accuracy.test for one in measured])
    fitted = _first_for_good(train >= FITTED)
    if fitted is None:
        return Phases(Outcome.UNFIT)
    generalised = _first_for_good(test >= FITTED)
    about = {
        "fitted": epochs[fitted],
        "generalised": None if generalised is None else epochs[generalised],
    }
    if test[fitted] >= GENERALISED:
        return Phases(Outcome.AT_ONCE, **about)
    if generalised is None:
        is_none = test.max() < GENERALISED
        return Phases(Outcome.MEMORISED if is_none else Outcome.UNFINISHED, **about)
    begun, done = _descent(np.array([one.loss.test for one in measured]))
    excluded = np.array([one.excluded for one in measured])
    memorised = fitted
    if not np.isnan(excluded).any():
        memorised = int(excluded[: done + 1].argmin())
    return Phases(
        Outcome.GROKKED,
        **about,
        memorised=epochs[memorised],
        formed=epochs[max(begun, memorised)],
        cleaned=epochs[done],
    )


def check_order(
    epochs: Sequence[int], measured: Sequence[Measures], phases: Phases
) -> Order | None:
    """Return what changed when; None where the run did not grok, or has no sum directions."""
    if phases.memorised is None or phases.formed is None or phases.cleaned is None:
        return None
    at = dict(zip(epochs, measured, strict=True))
    stored, formed, cleaned = (at[e] for e in (phases.memorised, phases.formed, phases.cleaned))
    if math.isnan(stored.excluded):
        return None
    early = _slope(stored.gini_embedding, formed.gini_embedding, phases.formed - phases.memorised)
    late = _slope(formed.gini_embedding, cleaned.gini_embedding, phases.cleaned - phases.formed)
    return Order(
        restricted_ratio=formed.restricted.all / stored.restricted.all,
        excluded_ratio=formed.excluded / stored.excluded,
        test_ratio=formed.loss.test / stored.loss.test,
        weights_ratio=formed.squared_weights / stored.squared_weights,
        gini_ratio=late / early if early > 0 else math.inf,
    )


def _slope(before: float, after: float, epochs: int) -> float:
    return (after - before) / epochs if epochs else math.nan


def epoch_interval(epochs: Sequence[float]) -> EpochInterval:
    """Return the mean of one epoch over seeds, with its interval."""
    n = len(epochs)
    mean = float(np.mean(epochs)) if n else math.nan
    if n < 2:
        return EpochInterval(mean, math.nan, math.nan, n)
    reach = float(t.ppf(0.975, n - 1)) * float(np.std(epochs, ddof=1)) / n**0.5
    return EpochInterval(mean, mean - reach, mean + reach, n)


def _first_for_good(holds: NDArray[np.bool_]) -> int | None:
    """Return the first place from which on it holds to the end; None where not at the end."""
    if not holds[-1]:
        return None
    fails = np.flatnonzero(~holds)
    return int(fails[-1]) + 1 if len(fails) else 0


def _descent(losses: FloatArray) -> tuple[int, int]:
    """Return the places where the fall of a loss begins and where it is done."""
    height = np.log(losses)
    highest = height.max()
    last = float(np.median(height[-max(1, round(LAST_PART * len(height))) :]))
    way = (highest - height) / (highest - last)
    top = int(height.argmax())
    begun = int(np.flatnonzero(way[top:] < BEGUN)[-1]) + top
    done = _first_for_good(way >= DONE)
    return begun, len(losses) - 1 if done is None else done
