"""The Fourier view of a network that learns a sum modulo n: spectra and key frequencies.

In: weights, or what a network computes on all pairs, in coordinates in which the operation is x + y
modulo n. Out: components along an orthonormal basis of cosines and sines, by frequency.

Source: Nanda et al. (2023), section 4 and appendix C; their three ways to name key frequencies.

Glossary: n order of the group; k frequency, 1 to n // 2; F rows of the basis (n of them).
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FrequencyRule",
    "basis",
    "by_frequency",
    "gini",
    "key_frequencies",
    "neuron_shares",
    "rows_of",
]

FloatArray = NDArray[np.float64]

NOTABLE = 0.2
"""A norm of this part of the largest makes a frequency one of the key ones."""

SINGLE = 0.85
"""A neuron with this share of its variance at one frequency is of that frequency (published)."""


class FrequencyRule(StrEnum):
    """What names the key frequencies."""

    EMBEDDING = "embedding"
    """Norm of the embedding's components."""
    READOUT = "readout"
    """Norm of the components of W_out W_U over the answers."""
    NEURONS = "neurons"
    """The frequency of any neuron that has `SINGLE` of its variance at one."""


def basis(n: int) -> FloatArray:
    """Return (n, n) orthonormal rows: the constant, then cosine and sine of every frequency.

    Of an even n the last frequency has no sine.
    """
    place = np.arange(n)
    rows = [np.ones(n)]
    for k in range(1, n // 2 + 1):
        rows.append(np.cos(2 * np.pi * k * place / n))
        if 2 * k < n:
            rows.append(np.sin(2 * np.pi * k * place / n))
    found = np.array(rows)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def rows_of(k: int, n: int) -> list[int]:
    """Return the rows of `basis` at a frequency."""
    return [2 * k - 1, 2 * k] if 2 * k < n else [2 * k - 1]


def by_frequency(norms: FloatArray) -> FloatArray:
    """Return (n // 2,) the norm at every frequency from norms (n,) of the basis' components."""
    n = len(norms)
    return np.array([math.hypot(*norms[rows_of(k, n)].tolist(), 0.0) for k in range(1, n // 2 + 1)])


def key_frequencies(norms: FloatArray) -> tuple[int, ...]:
    """Return the frequencies with at least `NOTABLE` of the largest norm, of norms (n // 2,).

    None where those are more than half of all: then no frequency stands out.
    """
    found = np.flatnonzero(norms >= NOTABLE * norms.max())
    if not norms.max() > 0 or 2 * len(found) > len(norms):
        return ()
    return tuple(int(k) + 1 for k in found)


def neuron_shares(neurons: FloatArray) -> FloatArray:
    """Return (n // 2, M) of each neuron's variance the share at each frequency.

    At a frequency are the products of its cosines, sines and the constant over x and y: linear
    terms and quadratic ones.

    Args:
        neurons: (n, n, M) outputs over x and y.
    """
    n = len(neurons)
    waves = basis(n)
    spectrum = np.einsum("fx,xym->fym", waves, neurons, optimize=True)
    power = np.einsum("gy,fym->fgm", waves, spectrum, optimize=True) ** 2
    power[0, 0] = 0.0
    total = power.sum(axis=(0, 1))
    shares = []
    for k in range(1, n // 2 + 1):
        rows = [0, *rows_of(k, n)]
        shares.append(power[np.ix_(rows, rows)].sum(axis=(0, 1)))
    return np.asarray(np.array(shares) / np.where(total > 0, total, 1.0))


def gini(values: FloatArray) -> float:
    """Return the Gini coefficient of values of at least 0: 0 where equal, near 1 where few are all.

    1 - k / n for k equal values among n, the others 0; NaN where all are 0.

    Source: Hurley and Rickard (2009), "Comparing measures of sparsity", table 2.
    """
    ranked, n = np.sort(values), len(values)
    total = ranked.sum()
    if not total > 0:
        return math.nan
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float((weights * ranked).sum() / (n * total))
