"""Test loss over sizes of data -> where it is worst: double descent, and where it is expected.

The rule: a peak is a size of data at which the test loss is higher than at the next smaller and the
next larger; of several the highest. The expected place is where the bits that there are to be
memorised, coded by a reference that knows the kind of data, equal the capacity that the same
network has for uniform tokens.

Source: Morris et al. (arXiv 2505.24832), section 4: descent starts where data outgrow capacity.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

__all__ = ["Descent", "expected_peak", "find_descent"]


@dataclasses.dataclass(frozen=True)
class Descent:
    """Where the test loss is worst; NaN throughout without a peak.

    Attributes:
        peak: Sequences at the peak.
        above: The next smaller size that was tried: the peak may lie anywhere above it.
        below: The next larger.
        fall: Bits a token from the peak to the largest data.
    """

    peak: float = math.nan
    above: float = math.nan
    below: float = math.nan
    fall: float = math.nan


def find_descent(n_sequences: Sequence[int], test_losses: Sequence[float]) -> Descent:
    """Return the peak of a test loss over sizes of data, which rise."""
    peaks = [
        place
        for place in range(1, len(test_losses) - 1)
        if test_losses[place] > max(test_losses[place - 1], test_losses[place + 1])
    ]
    if not peaks:
        return Descent()
    worst = max(peaks, key=lambda place: test_losses[place])
    return Descent(
        peak=float(n_sequences[worst]),
        above=float(n_sequences[worst - 1]),
        below=float(n_sequences[worst + 1]),
        fall=float(test_losses[worst] - test_losses[-1]),
    )


def expected_peak(
    n_sequences: Sequence[int], data_bits: Sequence[float], capacity_bits: float
) -> float:
    """Return how many sequences have as many bits as the capacity.

    Args:
        n_sequences: Sizes of data.
        data_bits: What they take under the reference; by sequence nearly the same for all sizes.
        capacity_bits: Of the network.
    """
    by_sequence = float(np.sum(data_bits) / np.sum(n_sequences))
    return capacity_bits / by_sequence
