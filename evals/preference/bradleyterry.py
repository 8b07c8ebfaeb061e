"""Battles -> strengths of arms: the Bradley-Terry model, with or without style.

    logit P(one preferred) = strength[one] - strength[other] + style . gamma + place * beta

A tie counts as half a win for each. The reference arm's strength is 0. Fitted by Newton's method,
many resamples at once: their slopes and curvatures are products of one matrix of their weights with
the rows. A penalty of `RIDGE` on all coefficients keeps an arm that always wins at a finite
strength, and moves others in the sixth digit.

Source: Bradley and Terry (1952); the covariates as in Li, Angelopoulos and Chiang (2024).

Glossary: N rows; A arms; K features; P = A - 1 + K + 1 coefficients; R resamples.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from evals.errors import RecordError
from evals.preference.battles import Battles

__all__ = ["Design", "Fit", "fit_preference", "gram_matrices", "make_design", "without_bound"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

RIDGE = 1e-6
TOLERANCE = 1e-4
"""The last step: its square is about the error that is left."""
MOST_STEPS = 60
LONGEST_STEP = 4.0
"""Largest change of a coefficient in one step: Newton's method overshoots where wins are rare."""
CELLS_AT_ONCE = 500_000
"""Products of columns in a block of rows: 4 MB."""


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """The battles as a regression with P columns: arms but for the reference, features, place.

    Attributes:
        arms: Names of the arms' columns.
        columns: (N, P) of an arm 1 where its preference is explained, -1 where it was met; the K
            features; and, where some two arms met in both orders, the place.
        preference: (N,) what is explained.
        n_features: K.
    """

    arms: tuple[str, ...]
    columns: FloatArray
    preference: FloatArray
    n_features: int

    @property
    def features(self) -> slice:
        """The columns of the features."""
        return slice(len(self.arms), len(self.arms) + self.n_features)

    @property
    def has_place(self) -> bool:
        """Whether place has a coefficient."""
        return bool(self.columns.shape[1] > len(self.arms) + self.n_features)


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """Coefficients of one fit, or of R resamples in rows, in log-odds.

    Attributes:
        coefficients: (..., P) all of them.
        strengths: (..., A - 1) of the arms over the reference, in the order of `Design.arms`.
        gamma: (..., K) of one root mean square of each feature.
        place: (...) of being shown first; NaN where that was not varied.
    """

    coefficients: FloatArray
    strengths: FloatArray
    gamma: FloatArray
    place: FloatArray

    def chances(self, design: Design) -> FloatArray:
        """Return (N,) how likely each row's preference for `one` is, by one fit."""
        return np.asarray(expit(design.columns @ self.coefficients))


def make_design(battles: Battles, reference: str, features: tuple[int, ...] = ()) -> Design:
    """Return the regression of battles on arms, and on the features at these columns.

    Raises:
        RecordError: The reference is no arm, or some arms never met, even through others.
    """
    if reference not in battles.arms:
        raise RecordError(f"no arm `{reference}` in the battles: {', '.join(battles.arms)}")
    n_arms = len(battles.arms)
    met = np.zeros((n_arms, n_arms))
    met[battles.one, battles.other] = 1
    n_parts, part = connected_components(met, directed=False)
    if n_parts > 1:
        together = [name for name, of in zip(battles.arms, part, strict=True) if of == part[0]]
        apart = [name for name in battles.arms if name not in together]
        raise RecordError(
            f"arms that never met cannot be compared: {', '.join(together)} with {', '.join(apart)}"
        )
    met_by = np.eye(n_arms)
    arms = np.delete(
        met_by[battles.one] - met_by[battles.other], battles.arms.index(reference), axis=1
    )
    place = battles.place[:, None] if _is_place_varied(battles) else np.empty((len(arms), 0))
    return Design(
        arms=tuple(name for name in battles.arms if name != reference),
        columns=np.hstack([arms, battles.style[:, list(features)], place]),
        preference=battles.preference,
        n_features=len(features),
    )


def _is_place_varied(battles: Battles) -> bool:
    """Return whether some two arms were shown in both orders: else place is theirs as well."""
    is_turned = battles.one > battles.other
    low, high = np.minimum(battles.one, battles.other), np.maximum(battles.one, battles.other)
    place = np.where(is_turned, -battles.place, battles.place)
    meetings = np.unique(np.stack([low, high]), axis=1).shape[1]
    return bool(np.unique(np.stack([low, high, place]), axis=1).shape[1] > meetings)


def without_bound(battles: Battles, reference: str) -> tuple[str, ...]:
    """Return the arms whose strength over the reference has no finite estimate.

    Where of two groups of arms the one was preferred every time they met, however much stronger it
    is fits as well: the likelihood has no maximum. Ties count for both.

    Source: Ford (1957), "Solution of a ranking problem from binary comparisons", assumption 2.
    """
    n_arms = len(battles.arms)
    beaten = np.zeros((n_arms, n_arms))
    beaten[battles.one[battles.preference > 0], battles.other[battles.preference > 0]] = 1
    beaten[battles.other[battles.preference < 1], battles.one[battles.preference < 1]] = 1
    _, part = connected_components(beaten, directed=True, connection="strong")
    own = part[battles.arms.index(reference)]
    return tuple(name for name, of in zip(battles.arms, part, strict=True) if of != own)


def fit_preference(
    design: Design, weights: FloatArray | None = None, near: Fit | None = None
) -> Fit:
    """Return the coefficients that make the preferences likeliest.

    Args:
        design: The regression.
        weights: (N,) how often each row counts, or (R, N) in every resample; once each if not
            given.
        near: One fit to begin with.
    """
    used = np.ones((1, len(design.columns))) if weights is None else np.atleast_2d(weights)
    start = np.zeros(design.columns.shape[1]) if near is None else near.coefficients
    found = _fit_all(design, used, start)
    if weights is None or weights.ndim == 1:
        found = found[0]
    return Fit(
        coefficients=found,
        strengths=found[..., : len(design.arms)],
        gamma=found[..., design.features],
        place=found[..., -1] if design.has_place else np.full(found.shape[:-1], np.nan),
    )


def _fit_all(design: Design, weights: FloatArray, start: FloatArray) -> FloatArray:
    """Return (R, P) coefficients; resamples that have arrived are no longer moved."""
    found = np.tile(start, (len(weights), 1))
    moving = np.arange(len(weights))
    for _ in range(MOST_STEPS):
        slope, curvature = _derivatives(design, weights[moving], found[moving])
        step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        longest = np.abs(step).max(axis=1)
        found[moving] += step / np.maximum(1, longest / LONGEST_STEP)[:, None]
        moving = moving[longest >= TOLERANCE]
        if not len(moving):
            break
    return found


def gram_matrices(columns: FloatArray, weights: FloatArray) -> FloatArray:
    """Return X' diag(w) X, (R, P, P), of columns X (N, P) with every row w of weights (R, N)."""
    n_columns = columns.shape[1]
    left, right = np.triu_indices(n_columns)
    at_once = max(1, CELLS_AT_ONCE // len(left))
    sums = np.zeros((len(weights), len(left)))
    for first in range(0, len(columns), at_once):
        rows = slice(first, first + at_once)
        sums += weights[:, rows] @ (columns[rows, left] * columns[rows, right])
    found = np.empty((len(weights), n_columns, n_columns))
    found[:, left, right] = found[:, right, left] = sums
    return found


def _derivatives(
    design: Design, weights: FloatArray, coefficients: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the penalised likelihood's slope (R, P) and minus its curvature (R, P, P)."""
    chance = expit(coefficients @ design.columns.T)
    surprise = design.preference - chance
    surprise *= weights
    chance *= 1 - chance
    chance *= weights
    slope = surprise @ design.columns - RIDGE * coefficients
    return slope, gram_matrices(design.columns, chance) + RIDGE * np.eye(slope.shape[1])
