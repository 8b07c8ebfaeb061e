"""The sequences that the probe's networks learn: drawn without any pattern, or cut from text.

Glossary: N sequences; S tokens of each; V vocabulary.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evals.errors import DataError

__all__ = ["Ceiling", "Windows", "cut_windows", "draw_sequences", "find_ceiling"]


def draw_sequences(n_sequences: int, length: int, vocabulary: int, seed: int) -> Tensor:
    """Return (N, S) uniform tokens; the first of a seed are the same for every N.

    Raises:
        DataError: There would be no token.
    """
    if min(n_sequences, length, vocabulary) < 1:
        raise DataError(
            f"no data: {n_sequences} sequences of {length} tokens of a vocabulary of {vocabulary}"
        )
    drawn = np.random.default_rng([seed, length, vocabulary]).integers(
        vocabulary, size=(n_sequences, length)
    )
    return torch.from_numpy(drawn)


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """Most bits of sequences that a model without a start token can hold.

    Attributes:
        uncharged: The first token costs nothing: a rest is told among those that begin alike.
        charged: The first token costs log2 V, as for a model that never predicts it.
    """

    uncharged: float
    charged: float


def find_ceiling(tokens: Tensor, vocabulary: int) -> Ceiling:
    """Return the most bits of (N, S) uniform sequences that can be held.

    A model that has them all by heart still pays for which of the c that share a first token it
    is: log2 c each, or log2 (c / m) where m of them are the same to the end.
    """
    n_sequences, length = tokens.shape
    alike = torch.bincount(tokens[:, 0], minlength=vocabulary)[tokens[:, 0]].numpy()
    _, place, counts = np.unique(tokens.numpy(), axis=0, return_inverse=True, return_counts=True)
    same = counts[place.ravel()]
    uncharged = n_sequences * length * math.log2(vocabulary) - float(np.log2(alike / same).sum())
    return Ceiling(uncharged, charged=uncharged - n_sequences * math.log2(vocabulary))


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """Sequences cut from text.

    Attributes:
        tokens: (N, S) no two alike.
        n_short: Documents that had fewer than S tokens.
        n_duplicates: Windows that were there already.
    """

    tokens: Tensor
    n_short: int
    n_duplicates: int


TRIES = 50
"""Documents looked at for each sequence that is asked for: an endless text may have fewer."""


def cut_windows(documents: Iterable[NDArray[np.int64]], length: int, most: int) -> Windows:
    """Return the first `length` tokens of every document until there are `most` different ones.

    Truncated first and then compared, so that no sequence is seen twice under two endings.

    Raises:
        DataError: There are fewer.
    """
    found: dict[bytes, NDArray[np.int64]] = {}
    n_short = n_duplicates = 0
    for document in itertools.islice(documents, TRIES * most):
        if len(document) < length:
            n_short += 1
            continue
        window = np.ascontiguousarray(document[:length])
        if window.tobytes() in found:
            n_duplicates += 1
            continue
        found[window.tobytes()] = window
        if len(found) == most:
            return Windows(torch.from_numpy(np.stack(list(found.values()))), n_short, n_duplicates)
    raise DataError(
        f"the text has {len(found):,} different sequences of {length} tokens and {most:,} are "
        f"asked for ({n_short:,} documents were shorter, {n_duplicates:,} were there already)"
    )
