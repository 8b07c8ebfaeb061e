"""Test loss over sizes of data -> where it is worst: double descent, and where it is expected.

The rule: the peak is the size with the highest test loss; it is one only between two sizes at both
of which the loss is lower. The expected place is where the bits that there are to be memorised,
coded by a reference that knows the kind of data, equal the capacity that the same network has for
uniform tokens.

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
    """Where the test loss is worst.

    Attributes:
        peak: Sequences at the peak; NaN where the highest loss is at either end.
        expected: Sequences whose bits are the capacity.
        fall: Bits a token from the peak to the largest data; NaN without a peak.
    """

    peak: float
    expected: float
    fall: float

    @property
    def ratio(self) -> float:
        """Peak over expected."""
        return self.peak / self.expected


def find_descent(
    n_sequences: Sequence[int], test_losses: Sequence[float], expected: float
) -> Descent:
    """Return the peak of a test loss over sizes of data, which rise."""
    worst = int(np.argmax(test_losses))
    if worst in (0, len(test_losses) - 1):
        return Descent(math.nan, expected, math.nan)
    return Descent(float(n_sequences[worst]), expected, float(test_losses[worst] - test_losses[-1]))


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
