"""Bits held over sizes of data -> the capacity of a network, where there is a plateau.

The rule: capacity is the most that any network of a seed holds, over all sizes of data. It is a
plateau where it is shown to be one: of those whose data have `FULL` times as many bits as they
hold, at least two have converged and hold no less than `NEAR` of the most. Where that fails in any
seed the capacity is a lower bound that more data or more steps may raise, and is told as such.

Source: Morris et al. (arXiv 2505.24832), section 3: capacity as the most over dataset sizes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from evals.estimates import Estimate, mean_over_seeds

__all__ = ["FULL", "NEAR", "Capacity", "LinearFit", "Point", "find_capacity", "fit_capacities"]

FULL = 1.25
NEAR = 0.95


@dataclasses.dataclass(frozen=True)
class Point:
    """What one network held of its data.

    Attributes:
        seed: Of the network.
        data_bits: Of its data.
        held_bits: Of those that it holds.
        has_converged: Whether it stopped because it holds no more.
    """

    seed: int
    data_bits: float
    held_bits: float
    has_converged: bool


@dataclasses.dataclass(frozen=True)
class Capacity:
    """The most that networks of one size hold.

    Attributes:
        bits: Mean over seeds of the most, with its t interval.
        per_parameter: The same by parameter.
        is_plateau: Whether every seed shows that more data are not held.
    """

    bits: Estimate
    per_parameter: Estimate
    is_plateau: bool


def find_capacity(points: Sequence[Point], n_parameters: int) -> Capacity:
    """Return the capacity of networks of one size, over any data and seeds."""
    by_seed: dict[int, list[Point]] = {}
    for point in points:
        by_seed.setdefault(point.seed, []).append(point)
    most = [max(point.held_bits for point in own) for own in by_seed.values()]
    return Capacity(
        bits=mean_over_seeds(most),
        per_parameter=mean_over_seeds([bits / n_parameters for bits in most]),
        is_plateau=bool(by_seed) and all(map(_is_plateau, by_seed.values())),
    )


def _is_plateau(points: Sequence[Point]) -> bool:
    most = max(point.held_bits for point in points)
    flat = [
        point
        for point in points
        if point.has_converged
        and point.data_bits >= FULL * point.held_bits
        and point.held_bits >= NEAR * most
    ]
    return len(flat) >= 2


@dataclasses.dataclass(frozen=True)
class LinearFit:
    """A line through capacities by size: bits = slope x parameters + intercept.

    Attributes:
        slope: Bits a parameter, with its 95 % interval (n: sizes).
        intercept: In bits.
    """

    slope: Estimate
    intercept: float


def fit_capacities(n_parameters: Sequence[int], bits: Sequence[float]) -> LinearFit | None:
    """Return the least-squares line through capacities; None for fewer than two sizes.

    Two sizes give a slope and no interval.
    """
    if len(set(n_parameters)) < 2:
        return None
    found = stats.linregress(np.asarray(n_parameters, float), np.asarray(bits, float))
    n = len(bits)
    reach = float(stats.t.ppf(0.975, n - 2)) * float(found.stderr) if n > 2 else float("nan")
    slope = float(found.slope)
    return LinearFit(Estimate(slope, slope - reach, slope + reach, n), float(found.intercept))
