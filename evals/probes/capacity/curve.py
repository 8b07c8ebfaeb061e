"""Bits held over sizes of data -> the capacity of a network, where there is a plateau.

The rule: capacity is the most that any network of a seed holds, over all sizes of data. It is a
plateau where it is shown to be one. *Full* is a network that has converged and could hold `FULL`
times as much of its data as it does. Every seed needs two that are full and hold `NEAR` of the
most, one with `APART` times the data of the other, and none with more data; and the largest may
hold no more than `RISING` times what the others do. Else the capacity is a lower bound that more
data or more steps may raise, and is told as such.

Source: Morris et al. (arXiv 2505.24832), section 3: capacity as the most over dataset sizes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from evals.estimates import Estimate, mean_over_seeds

__all__ = ["Capacity", "LinearFit", "Point", "find_capacity", "fit_capacities"]

FULL, NEAR, APART, RISING = 1.25, 0.95, 1.5, 1.02


@dataclasses.dataclass(frozen=True)
class Point:
    """What one network held of its data.

    Attributes:
        seed: Of the network.
        ceiling_bits: The most that can be held of its data.
        held_bits: What it holds.
        free_bits: What its first tokens would add if they were free, which nothing predicts.
        has_converged: Whether it stopped by the rule.
    """

    seed: int
    ceiling_bits: float
    held_bits: float
    free_bits: float
    has_converged: bool


@dataclasses.dataclass(frozen=True)
class Capacity:
    """The most that networks of one size hold.

    Attributes:
        bits: Mean over seeds of the most, with its t interval.
        per_parameter: The same by parameter.
        uncharged: By parameter, with the first tokens of the same networks free. Over all sizes of
            data this has no most: every sequence brings a free token.
        is_plateau: Whether every seed shows that more data are not held.
    """

    bits: Estimate
    per_parameter: Estimate
    uncharged: Estimate
    is_plateau: bool


def find_capacity(points: Sequence[Point], n_parameters: int) -> Capacity:
    """Return the capacity of networks of one size, over any data and seeds."""
    by_seed: dict[int, list[Point]] = {}
    for point in points:
        by_seed.setdefault(point.seed, []).append(point)
    best = [max(own, key=lambda point: point.held_bits) for own in by_seed.values()]
    return Capacity(
        bits=mean_over_seeds([one.held_bits for one in best]),
        per_parameter=mean_over_seeds([one.held_bits / n_parameters for one in best]),
        uncharged=mean_over_seeds([(one.held_bits + one.free_bits) / n_parameters for one in best]),
        is_plateau=bool(by_seed) and all(map(_is_plateau, by_seed.values())),
    )


def _is_plateau(points: Sequence[Point]) -> bool:
    most = max(point.held_bits for point in points)
    full = [
        point
        for point in points
        if point.has_converged
        and point.ceiling_bits >= FULL * point.held_bits
        and point.held_bits >= NEAR * most
    ]
    if not full:
        return False
    largest = max(full, key=lambda point: point.ceiling_bits)
    smaller = [one.held_bits for one in full if APART * one.ceiling_bits <= largest.ceiling_bits]
    is_last = all(point.ceiling_bits <= largest.ceiling_bits for point in points)
    return is_last and bool(smaller) and largest.held_bits <= RISING * max(smaller)


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
