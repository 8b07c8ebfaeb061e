"""Simulated intervals and tests: what is counted, what was aimed at, and what missed it.

What a simulated judge was given must be found again: the mean error of an estimate over all data
sets, in standard errors of that mean.

A rate misses its aim only where all of its Monte-Carlo interval does (Wilson's, at 95 %): with
5,000 data sets that is 0.6 points either way around 95 %.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from evals.estimates import Estimate

__all__ = ["Kind", "Rate", "Tally", "generator", "merge", "recovery_table", "tables"]

SEED = 20261126

ROUNDING = 1e-9
"""Bounds of shares fall on a lattice that may hold the truth: then they cover it."""


class Kind(StrEnum):
    """What a rate counts."""

    COVERAGE = "coverage"
    SIZE = "size"
    GIVEN = "given"


AIMS = {
    (Kind.COVERAGE, 30): (0.92, 1.0),  # small samples may be off by a little, on either side
    (Kind.COVERAGE, 100): (0.94, 0.96),
    (Kind.COVERAGE, 1000): (0.94, 0.96),
    (Kind.SIZE, 30): (0.0, 0.06),  # an exact test of few items may reject hardly ever
    (Kind.SIZE, 100): (0.0, 0.06),
    (Kind.SIZE, 1000): (0.0, 0.06),
    (Kind.GIVEN, 19): (0.0, 0.0),  # no interval of a ratio under 20 clusters
}


@dataclasses.dataclass(frozen=True)
class Rate:
    """How often something held.

    Attributes:
        family: The table it stands in.
        setting: How the data were drawn.
        statistic: Which interval or test.
        kind: Coverage of the truth, size of a test, or how often there was an interval at all.
        n: Clusters.
        hits: Data sets in which it held.
        tried: Data sets in which the interval or test was defined.
        data_sets: All of them.
        truth: What an estimate should be, on average over data sets; NaN where none was kept.
        error: How far it is off on average.
        error_of_error: Monte-Carlo standard error of that average.
    """

    family: str
    setting: str
    statistic: str
    kind: Kind
    n: int
    hits: int
    tried: int
    data_sets: int
    truth: float = math.nan
    error: float = math.nan
    error_of_error: float = math.nan

    @property
    def share(self) -> float:
        """The rate; NaN where it was never defined."""
        return self.hits / self.tried if self.tried else math.nan

    @property
    def monte_carlo(self) -> tuple[float, float]:
        """The rate's own 95 % interval."""
        if not self.tried:
            return math.nan, math.nan
        low, high = proportion_confint(self.hits, self.tried, method="wilson")
        return float(low), float(high)

    @property
    def is_off(self) -> bool:
        """Whether all of the Monte-Carlo interval is outside the aim."""
        low, high = AIMS[self.kind, self.n]
        own_low, own_high = self.monte_carlo
        return own_high < low - ROUNDING or own_low > high + ROUNDING

    @property
    def is_risky(self) -> bool:
        """Whether it is off to the wrong side: too narrow, or too often significant."""
        return self.is_off and (self.kind is not Kind.COVERAGE or self.share < 0.95)


class Tally:
    """Counts of one setting at one number of clusters; lives as long as its simulation."""

    def __init__(self, family: str, setting: str, n: int) -> None:
        self.family, self.setting, self.n = family, setting, n
        self.data_sets = 0
        self._errors: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._counts: dict[tuple[str, Kind], list[int]] = defaultdict(lambda: [0, 0])

    def covers(self, statistic: str, interval: tuple[float, float], truth: float) -> None:
        """Count whether an interval holds the truth; not where it is undefined."""
        low, high = interval
        if not (math.isnan(low) or math.isnan(truth)):
            self._add(statistic, Kind.COVERAGE, low - ROUNDING <= truth <= high + ROUNDING)

    def recovers(self, statistic: str, found: Estimate, truth: float) -> None:
        """Count whether an estimate's interval holds the truth, and remember how far it is off."""
        self.covers(statistic, (found.low, found.high), truth)
        if not (math.isnan(found.value) or math.isnan(found.low)):
            self._errors[statistic].append((truth, found.value - truth))

    def rejects(self, statistic: str, p: float, alpha: float = 0.05) -> None:
        """Count whether a true hypothesis is rejected."""
        if not math.isnan(p):
            self._add(statistic, Kind.SIZE, p <= alpha)

    def gives(self, statistic: str, interval: tuple[float, float]) -> None:
        """Count whether there is an interval."""
        self._add(statistic, Kind.GIVEN, not math.isnan(interval[0]))

    def rates(self) -> list[Rate]:
        """Return all that was counted."""
        return [
            Rate(
                self.family,
                self.setting,
                name,
                kind,
                self.n,
                hits,
                tried,
                self.data_sets,
                *self._recovery(name),
            )
            for (name, kind), (hits, tried) in self._counts.items()
        ]

    def _recovery(self, statistic: str) -> tuple[float, float, float]:
        kept = np.array(self._errors.get(statistic, []))
        if len(kept) < 2:
            return math.nan, math.nan, math.nan
        truth, error = kept.mean(axis=0)
        return float(truth), float(error), float(kept[:, 1].std(ddof=1) / len(kept) ** 0.5)

    def _add(self, statistic: str, kind: Kind, is_hit: bool) -> None:
        count = self._counts[statistic, kind]
        count[0] += bool(is_hit)
        count[1] += 1


def merge(rates: Iterable[Rate]) -> list[Rate]:
    """Return one rate for each that was counted in several parts."""
    parts: dict[tuple[str, str, str, Kind, int], list[Rate]] = defaultdict(list)
    for rate in rates:
        parts[rate.family, rate.setting, rate.statistic, rate.kind, rate.n].append(rate)
    return [_merged(those) if len(those) > 1 else those[0] for those in parts.values()]


def _merged(parts: Sequence[Rate]) -> Rate:
    tried = np.array([part.tried for part in parts])
    share = tried / tried.sum() if tried.sum() else tried
    return dataclasses.replace(
        parts[0],
        hits=sum(part.hits for part in parts),
        tried=int(tried.sum()),
        data_sets=sum(part.data_sets for part in parts),
        truth=float(share @ [part.truth for part in parts]),
        error=float(share @ [part.error for part in parts]),
        error_of_error=float(np.linalg.norm(share * [part.error_of_error for part in parts])),
    )


def tables(rates: Sequence[Rate]) -> str:
    """Return Markdown: one table a family, one line a setting, numbers of clusters side by side."""
    return "\n\n".join(
        f"**{family}**\n\n" + _table([rate for rate in rates if rate.family == family])
        for family in dict.fromkeys(rate.family for rate in rates)
    )


def recovery_table(rates: Sequence[Rate]) -> str:
    """Return Markdown: what was planted and what came out, where most clusters were simulated."""
    kept = [rate for rate in rates if not math.isnan(rate.truth)]
    most = max((rate.n for rate in kept), default=0)
    heads = ["data", "estimate", "planted", "found, mean", "standard error of it", "data sets"]
    lines = [heads]
    lines.append(["---"] * len(lines[0]))
    for rate in kept:
        if rate.n == most:
            numbers = rate.truth, rate.truth + rate.error, rate.error_of_error
            told = [f"{number:.4f}" for number in numbers]
            lines.append([rate.setting, rate.statistic, *told, str(rate.tried)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def generator(*names: str | int) -> np.random.Generator:
    """Return a generator that hangs on a row's names alone, so that rows can be run apart."""
    return np.random.default_rng([SEED, *"/".join(map(str, names)).encode()])


def _table(rates: Sequence[Rate]) -> str:
    """One line a setting; of a single setting one line a statistic."""
    statistics = list(dict.fromkeys((rate.statistic, rate.kind) for rate in rates))
    settings = list(dict.fromkeys(rate.setting for rate in rates))
    cells = {
        (setting, one): _side_by_side(
            rate for rate in rates if rate.setting == setting and (rate.statistic, rate.kind) == one
        )
        for setting in settings
        for one in statistics
    }
    names = {one: f"{one[0]}, {one[1]}" for one in statistics}
    if len(settings) == 1:
        lines = [["", settings[0]], *([names[one], cells[settings[0], one]] for one in statistics)]
    else:
        lines = [["data", *names.values()]]
        lines += [[of, *(cells[of, one] for one in statistics)] for of in settings]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _side_by_side(rates: Iterable[Rate]) -> str:
    return " · ".join(_cell(rate) for rate in rates)


def _cell(rate: Rate) -> str:
    """`95.1`; with `!` where it is off to the risky side, with `+` where to the safe side.

    In brackets the share of data sets in which it was defined, where that is less than 95 %.
    """
    mark = "!" if rate.is_risky else "+" if rate.is_off else ""
    told = f"{100 * rate.share:.1f}{mark}" if rate.tried else "-"
    defined = rate.tried / rate.data_sets
    return told if defined > 0.95 else f"{told} ({100 * defined:.1f} %)"
