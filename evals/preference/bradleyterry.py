"""Battles -> strengths of arms: the Bradley-Terry model, with or without style.

    logit P(one preferred) = strength[one] - strength[other] + style . gamma + place * beta

A tie counts as half a win for each. The reference arm's strength is 0. Fitted by Newton's method;
a penalty of `RIDGE` on all coefficients keeps an arm that always wins at a finite strength, and
moves others in the sixth digit. Of the columns of arms, all but two a row are 0, and they are never
written out: sums by arm take their place.

Source: Bradley and Terry (1952); the covariates as in Li, Angelopoulos and Chiang (2024).

Glossary: N rows; A arms; K features; P = A - 1 + K + 1 coefficients.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from evals.errors import RecordError
from evals.preference.battles import Battles

__all__ = ["Design", "Fit", "fit_preference", "gram_matrix", "make_design", "without_bound"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

RIDGE = 1e-6
TOLERANCE = 1e-6
"""The last step: its square is about the error that is left."""
MOST_STEPS = 60
LONGEST_STEP = 4.0
"""Largest change of a coefficient in one step: Newton's method overshoots where wins are rare."""


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """The battles as a regression with P columns: arms but for the reference, features, place.

    Attributes:
        arms: Names of the arms' columns.
        reference: Index of the reference among all A arms.
        one: (N,) index, among all arms, of the arm whose preference is explained.
        other: (N,) index of the arm that it met.
        covariates: (N, K) or, where some two arms met in both orders, (N, K + 1) with the place.
        preference: (N,) what is explained.
        n_features: K.
    """

    arms: tuple[str, ...]
    reference: int
    one: IntArray
    other: IntArray
    covariates: FloatArray
    preference: FloatArray
    n_features: int

    @property
    def features(self) -> slice:
        """The columns of the features."""
        return slice(len(self.arms), len(self.arms) + self.n_features)

    @property
    def has_place(self) -> bool:
        """Whether place has a coefficient."""
        return bool(self.covariates.shape[1] > self.n_features)


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """Coefficients, in log-odds.

    Attributes:
        strengths: (A - 1,) of the arms over the reference, in the order of `Design.arms`.
        gamma: (K,) of one root mean square of each feature.
        place: Of being shown first; NaN where that was not varied.
        coefficients: (P,) all of them, to start another fit from.
    """

    strengths: FloatArray
    gamma: FloatArray
    place: float
    coefficients: FloatArray

    def chances(self, design: Design) -> FloatArray:
        """Return (N,) how likely each row's preference for `one` is."""
        return np.asarray(expit(_log_odds(design, self.coefficients)))


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
    has_place = _is_place_varied(battles)
    place = battles.place[:, None] if has_place else np.empty((len(battles.place), 0))
    return Design(
        arms=tuple(name for name in battles.arms if name != reference),
        reference=battles.arms.index(reference),
        one=battles.one,
        other=battles.other,
        covariates=np.hstack([battles.style[:, list(features)], place]),
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
    design: Design, weights: FloatArray | None = None, start: FloatArray | None = None
) -> Fit:
    """Return the coefficients that make the preferences likeliest.

    Args:
        design: The regression.
        weights: (N,) how often each row counts; once each if not given.
        start: (P,) coefficients to begin with.
    """
    n_arms = len(design.arms)
    used = np.ones(len(design.one)) if weights is None else weights
    n_columns = n_arms + design.covariates.shape[1]
    found = np.zeros(n_columns) if start is None else start.copy()
    for _ in range(MOST_STEPS):
        chance = expit(_log_odds(design, found))
        slope = _column_sums(design, used * (design.preference - chance)) - RIDGE * found
        curvature = gram_matrix(design, used * chance * (1 - chance)) + RIDGE * np.eye(n_columns)
        step = cho_solve(cho_factor(curvature), slope)
        longest = float(np.abs(step).max())
        found += step * min(1.0, LONGEST_STEP / max(longest, TOLERANCE))
        if longest < TOLERANCE:
            break
    return Fit(
        strengths=found[:n_arms],
        gamma=found[design.features],
        place=float(found[-1]) if design.has_place else float("nan"),
        coefficients=found,
    )


def gram_matrix(design: Design, weights: FloatArray) -> FloatArray:
    """Return X' diag(weights) X, (P, P), of the regression's columns X (N, P)."""
    one, other, n_arms = design.one, design.other, len(design.arms) + 1
    met = np.bincount(one * n_arms + other, weights, n_arms**2).reshape(n_arms, n_arms)
    own = np.bincount(one, weights, n_arms) + np.bincount(other, weights, n_arms)
    weighted = design.covariates * weights[:, None]
    mixed = [_by_arm(design, column) for column in weighted.T]
    between = np.array(mixed).T.reshape(n_arms - 1, design.covariates.shape[1])
    arms = _without(design, np.asarray(np.diag(own) - met - met.T, dtype=np.float64))
    return np.block([[arms, between], [between.T, design.covariates.T @ weighted]])


def _log_odds(design: Design, coefficients: FloatArray) -> FloatArray:
    n_arms = len(design.arms)
    strengths = np.insert(coefficients[:n_arms], design.reference, 0.0)
    by_arms = strengths[design.one] - strengths[design.other]
    return np.asarray(by_arms + design.covariates @ coefficients[n_arms:])


def _column_sums(design: Design, values: FloatArray) -> FloatArray:
    """Return X' values, (P,)."""
    return np.concatenate([_by_arm(design, values), design.covariates.T @ values])


def _by_arm(design: Design, values: FloatArray) -> FloatArray:
    """Return (A - 1,) sums of values (N,) by arm, those against it taken off."""
    n_arms = len(design.arms) + 1
    sums = np.bincount(design.one, values, n_arms) - np.bincount(design.other, values, n_arms)
    return np.asarray(np.delete(sums, design.reference))


def _without(design: Design, square: FloatArray) -> FloatArray:
    """Return a matrix over all arms, (A, A), without the reference's row and column."""
    kept = np.delete(np.arange(len(square)), design.reference)
    return np.asarray(square[np.ix_(kept, kept)])
