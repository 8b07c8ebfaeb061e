"""How much of a preference is style: raw, length-controlled and style-controlled strengths.

In: battles and a reference arm. Out: for every other arm its strength over the reference in three
models, and the share of its advantage that goes through style, all with intervals from resampled
prompts in which every model is fitted anew.

Style may be what makes an answer better, and not only what makes it look so: the controlled
strength is the preference at equal style, and the difference is "explained by style", no more.

Strengths of two logistic models are on two scales: a covariate that has nothing to do with the arms
stretches them all (non-collapsibility). So the share does not compare the raw with the controlled
model. Within the controlled one, an arm's whole advantage is its own strength plus what its style
earns: the mean style that goes with the arm, times gamma. The share is the latter part.

Source: Karlson, Holm and Breen (2012), "Comparing regression coefficients between same-sample
nested models using logit and probit", equations 7 to 11; prompts as clusters, refitted in every
resample, since a published standard error of length control ignores its coefficients' own error.

Glossary: N rows; A arms; K features; R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from evals.errors import RecordError
from evals.estimates import Estimate, expanded_interval, rows_by_cluster
from evals.preference.battles import FEATURES, LENGTH, Battles
from evals.preference.bradleyterry import (
    Design,
    Fit,
    fit_preference,
    gram_matrices,
    make_design,
    without_bound,
)
from evals.stats import resampled_counts

__all__ = ["ArmPreference", "OrderChange", "Preference", "measure_preference", "resampled_weights"]

FloatArray = NDArray[np.float64]

CELLS_AT_ONCE = 4_000_000
"""Resamples times rows held at once: 32 MB."""

SURE = 1e-3
"""A verdict that is foreseen with a chance above one minus this is foreseen for sure."""

CLUSTERS_FOR_SHARE = 20
"""No interval of a share, which is a ratio, from fewer prompts."""


@dataclasses.dataclass(frozen=True)
class ArmPreference:
    """One arm against the reference.

    Attributes:
        arm: Its name.
        raw: Log-odds that it is preferred, style at large.
        length_controlled: The same for answers of equal length.
        style_controlled: The same for answers of equal style.
        win_rate: `raw` as a chance, ties counting one half.
        controlled_win_rate: `style_controlled` as a chance.
        by_style: Share of the arm's whole advantage that its style earns; may leave [0, 1] where
            style and substance pull apart. Undefined where the whole advantage may be none.
    """

    arm: str
    raw: Estimate
    length_controlled: Estimate
    style_controlled: Estimate
    win_rate: Estimate
    controlled_win_rate: Estimate
    by_style: Estimate


@dataclasses.dataclass(frozen=True)
class OrderChange:
    """Two arms that change places in the style-controlled order once a third is left out."""

    without: str
    stronger: str
    weaker: str


@dataclasses.dataclass(frozen=True)
class Preference:
    """All arms of one judge.

    Attributes:
        reference: The arm that the others are measured against.
        arms: The others, strongest raw first; last those without a finite strength, undefined.
        gamma: Log-odds of one root mean square more of each feature, by its name.
        first: Log-odds of being shown first; undefined where that was not varied, or decided all.
        n_clusters: Prompts.
        n_battles: Verdicts.
        changes: Arms whose controlled order hangs on which others took part.
        boundless: Arms that were always or never preferred, they or those with whom they stand:
            however much stronger, or weaker, would fit as well.
        unbeaten: Those of them that were preferred more often than not.
        is_separated: Whether style says every verdict: no finite weight of it fits best then, and
            what is controlled for it is undefined.
    """

    reference: str
    arms: tuple[ArmPreference, ...]
    gamma: dict[str, Estimate]
    first: Estimate
    n_clusters: int
    n_battles: int
    changes: tuple[OrderChange, ...]
    boundless: tuple[str, ...] = ()
    unbeaten: tuple[str, ...] = ()
    is_separated: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class _Models:
    """The three fits, of the data or of R resamples in rows."""

    raw: Fit
    by_length: Fit
    by_style: Fit
    earned: FloatArray  # (..., A - 1) log-odds that each arm's style earns


def measure_preference(
    battles: Battles, reference: str, *, resamples: int = 2000, seed: int = 0
) -> Preference:
    """Return raw and controlled preferences of all arms over the reference.

    Args:
        battles: What was preferred to what.
        reference: The arm with strength 0, such as the base.
        resamples: R.
        seed: Seed of the resampling.

    Raises:
        RecordError: The reference is no arm, or some arms never met.
    """
    designs = _designs(battles, reference)
    point = _fit_all(designs, None, None)
    rows = rows_by_cluster(battles.clusters)
    draws = [
        _fit_all(designs, weights, point)
        for weights in resampled_weights(rows, len(battles.one), resamples, seed)
    ]
    count = _Counter(point, draws, len(rows), len(battles.one))
    arms = [_arm(count, name, place) for place, name in enumerate(designs[0].arms)]
    found = Preference(
        reference=reference,
        arms=tuple(sorted(arms, key=_by_strength)),
        gamma={name: _gamma(count, place) for place, name in enumerate(FEATURES)},
        first=count.estimate(lambda m: m.by_style.place),
        n_clusters=len(rows),
        n_battles=len(battles.one),
        changes=tuple(_order_changes(battles, reference, point.by_style, designs[2].arms)),
    )
    return _without_the_infinite(found, battles, designs[2], point.by_style)


def _without_the_infinite(
    found: Preference, battles: Battles, design: Design, by_style: Fit
) -> Preference:
    """Return the preference without numbers that only the penalty holds finite."""
    undefined: Any = Estimate(math.nan, math.nan, math.nan, found.n_battles)
    boundless = without_bound(battles, found.reference)
    whole = [field.name for field in dataclasses.fields(ArmPreference) if field.name != "arm"]
    arms = [
        dataclasses.replace(one, **dict.fromkeys(whole, undefined)) if one.arm in boundless else one
        for one in found.arms
    ]
    by_place = abs(((battles.preference - 0.5) * battles.place).sum()) == found.n_battles / 2
    is_separated = not by_place and _foresees_all(battles, design, by_style)
    if is_separated:
        controlled = [name for name in whole if name not in ("raw", "win_rate")]
        arms = [dataclasses.replace(one, **dict.fromkeys(controlled, undefined)) for one in arms]
    return dataclasses.replace(
        found,
        arms=tuple(sorted(arms, key=_by_strength)),
        gamma=dict.fromkeys(found.gamma, undefined) if is_separated else found.gamma,
        first=undefined if by_place else found.first,
        boundless=boundless,
        unbeaten=tuple(name for name in boundless if _won_share(battles, name) > 0.5),
        is_separated=is_separated,
        changes=() if is_separated else _bounded(found.changes, boundless),
    )


def _bounded(changes: Sequence[OrderChange], boundless: Sequence[str]) -> tuple[OrderChange, ...]:
    """Return the changes of order between arms whose strengths are finite."""
    return tuple(one for one in changes if not {one.stronger, one.weaker} & set(boundless))


def _won_share(battles: Battles, arm: str) -> float:
    place = battles.arms.index(arm)
    won = [battles.preference[battles.one == place], 1 - battles.preference[battles.other == place]]
    return float(np.concatenate(won).mean())


def _foresees_all(battles: Battles, design: Design, fit: Fit) -> bool:
    """Return whether a fit with style foresees every untied verdict for sure."""
    is_decided = battles.preference != 0.5
    surprise = np.abs(battles.preference - fit.chances(design))[is_decided]
    return bool(len(surprise)) and float(surprise.max()) < SURE


class _Counter:
    """Turns a number of the models into an estimate."""

    def __init__(
        self, point: _Models, draws: Sequence[_Models], n_clusters: int, n_rows: int
    ) -> None:
        self.point, self.draws = point, draws
        self.n_clusters, self.n_rows = n_clusters, n_rows

    def estimate(self, number: Callable[[_Models], FloatArray]) -> Estimate:
        """Return the number, its interval over the draws, and the rows behind it."""
        values = np.concatenate([number(some) for some in self.draws])
        interval = expanded_interval(values, self.n_clusters)
        return Estimate(float(number(self.point)), *interval, self.n_rows)


def _arm(count: _Counter, name: str, place: int) -> ArmPreference:
    def whole(models: _Models) -> FloatArray:
        return np.asarray(models.by_style.strengths[..., place] + models.earned[..., place])

    advantage = count.estimate(whole)
    is_sure = advantage.low > 0 or advantage.high < 0
    share = count.estimate(lambda m: m.earned[..., place] / whole(m))
    undefined = Estimate(math.nan, math.nan, math.nan, count.n_rows)
    if count.n_clusters < CLUSTERS_FOR_SHARE:
        share = dataclasses.replace(share, low=math.nan, high=math.nan)
    return ArmPreference(
        arm=name,
        raw=count.estimate(lambda m: m.raw.strengths[..., place]),
        length_controlled=count.estimate(lambda m: m.by_length.strengths[..., place]),
        style_controlled=count.estimate(lambda m: m.by_style.strengths[..., place]),
        win_rate=count.estimate(lambda m: expit(m.raw.strengths[..., place])),
        controlled_win_rate=count.estimate(lambda m: expit(m.by_style.strengths[..., place])),
        by_style=share if is_sure else undefined,
    )


def _by_strength(one: ArmPreference) -> tuple[bool, float, str]:
    return math.isnan(one.raw.value), -one.raw.value, one.arm


def _gamma(count: _Counter, place: int) -> Estimate:
    return count.estimate(lambda models: models.by_style.gamma[..., place])


def _designs(battles: Battles, reference: str) -> tuple[Design, Design, Design]:
    """Return the designs without style, with length, with all features."""
    length, every = (FEATURES.index(LENGTH),), tuple(range(len(FEATURES)))
    raw, by_length, by_style = (make_design(battles, reference, one) for one in ((), length, every))
    return raw, by_length, by_style


def _fit_all(
    designs: tuple[Design, Design, Design], weights: FloatArray | None, near: _Models | None
) -> _Models:
    starts = (near.raw, near.by_length, near.by_style) if near else (None, None, None)
    raw, by_length, by_style = (
        fit_preference(design, weights, start)
        for design, start in zip(designs, starts, strict=True)
    )
    return _Models(raw, by_length, by_style, _earned(designs[2], by_style, weights))


def _earned(design: Design, fit: Fit, weights: FloatArray | None) -> FloatArray:
    """Return what each arm's style earns: the mean style that goes with it, times gamma.

    (..., A - 1) in log-odds: the coefficients of style . gamma regressed on the arms, and on the
    place.
    """
    used = np.ones(len(design.columns)) if weights is None else weights
    gram = gram_matrices(design.columns, np.atleast_2d(used))
    others = np.delete(np.arange(gram.shape[-1]), design.features)
    target = gram[:, others, design.features] @ np.atleast_2d(fit.gamma)[..., None]
    ridge = 1e-9 * np.eye(len(others))  # a resample may lack an arm
    solved = np.linalg.solve(gram[:, others[:, None], others] + ridge, target)
    return np.asarray(solved[:, : len(design.arms), 0].reshape(*fit.strengths.shape))


def resampled_weights(
    rows: Sequence[NDArray[np.int64]], n_rows: int, resamples: int, seed: int
) -> Iterator[FloatArray]:
    """Yield (R, N) how often each row counts when clusters are drawn anew, some at a time."""
    rng = np.random.default_rng(seed)
    cluster = np.empty(n_rows, dtype=np.int64)
    for place, members in enumerate(rows):
        cluster[members] = place
    at_once = max(1, CELLS_AT_ONCE // n_rows)
    for first in range(0, resamples, at_once):
        times = resampled_counts(rng, min(at_once, resamples - first), len(rows))
        yield times[:, cluster]


def _order_changes(
    battles: Battles, reference: str, whole: Fit, arms: Sequence[str]
) -> list[OrderChange]:
    """Return the pairs of arms whose controlled order another arm's absence turns round."""
    found: list[OrderChange] = []
    order = dict(zip(arms, whole.strengths, strict=True)) | {reference: 0.0}
    for left_out in arms:
        try:
            rest = battles.without(left_out)
            design = make_design(rest, reference, tuple(range(len(FEATURES))))
        except RecordError:  # the others met only through it
            continue
        fitted = dict(zip(design.arms, fit_preference(design).strengths, strict=True))
        fitted[reference] = 0.0
        found += [
            OrderChange(left_out, stronger, weaker)
            for stronger in fitted
            for weaker in fitted
            if order[stronger] > order[weaker] and fitted[stronger] < fitted[weaker]
        ]
    return found
