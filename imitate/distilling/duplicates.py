"""Rows of text -> which of them repeat an earlier one, exactly or nearly.

Notation: `N` rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evals.generate import shards
from imitate.config import NearDuplicates
from imitate.data.dedup import Signer, find_near_duplicates
from imitate.data.words import WordBatch

__all__ = ["find_exact", "find_near", "sign"]

Mask = npt.NDArray[np.bool_]
Signatures = npt.NDArray[np.uint32]

_BATCH_ROWS = 256


def find_exact(rows: Sequence[str]) -> Mask:
    """Return which rows are the same as an earlier one, shape (N,)."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(row, i) != i for i, row in enumerate(rows)], np.bool_)


def find_near(signatures: Signatures, alive: Mask, near: NearDuplicates) -> Mask:
    """Return which of the rows alive are near duplicates of an earlier one, shape (N,)."""
    if not signatures.size:
        return np.zeros(len(signatures), np.bool_)
    return find_near_duplicates(signatures, alive, near.threshold)


def sign(rows: Sequence[str], near: NearDuplicates, shingle_words: int) -> Signatures:
    """Return the signatures of rows, shape (N, permutations); (N, 0) where they are not wanted."""
    if not near.enabled:
        return np.zeros((len(rows), 0), np.uint32)
    signer = Signer.of(near.permutations, shingle_words)
    parts = [signer.sign(WordBatch.of(batch)) for batch in shards(rows, _BATCH_ROWS)]
    return np.concatenate([np.zeros((0, near.permutations), np.uint32), *parts])
