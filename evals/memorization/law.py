"""The published laws: how many bits a parameter holds, and how well losses then tell members.

Source: Morris et al. (arXiv 2505.24832), sections 3 and 5.
"""

from __future__ import annotations

import math

__all__ = ["BITS_PER_PARAMETER", "predict_membership"]

BITS_PER_PARAMETER = 3.64
"""Capacity by the paper's linear fit."""


def predict_membership(n_sequences: float, n_parameters: float) -> float:
    """Return the F1 that the law gives a model of so many parameters after so many sequences.

    The law as printed exceeds 1 for large data; its sign corrected, as here, it gives the six
    predictions that the paper prints. What exceeds 1 for hardly any data is cut there. It is of
    sequences of 64 tokens of GPT-2's vocabulary, and says nothing of others.
    """
    load = n_sequences / (BITS_PER_PARAMETER * n_parameters)
    return min(1.0, 0.5 * (1 + 1.34 / (1 + math.exp(min(120.64 * load - 1.117, 700.0)))))
