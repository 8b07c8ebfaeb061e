"""Near duplicates by MinHash: signatures of many rows at once, then banding over sorted hashes.

Signatures are those of `datasketch.MinHash` (scheme `affine32`), computed for whole batches; bands
and rows are chosen by `datasketch.MinHashLSH`. Its index, a dictionary of sets for each band, takes
several GB for a million rows; sorting one band at a time takes 16 bytes a row.

Source: Broder 1997, "On the resemblance and containment of documents"; Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", chapter 3.

Notation: `N` rows, `P` permutations of a signature, `b` bands of `r` hashes each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH

from evals.errors import ConfigError
from imitate.data.words import WordBatch, window_hashes

__all__ = ["Signer", "find_near_duplicates"]

Signatures = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_SEED = 1
_CHUNK_ROWS = 1 << 15
# A missed duplicate costs more than a candidate that the signatures then refute.
_ERROR_WEIGHTS = (0.2, 0.8)
# Rows of one band's bucket are compared with this many of its distinct rows, the earliest first.
_MAX_ROUNDS = 50


@dataclass(frozen=True)
class Signer:
    """Computes signatures over word shingles."""

    shingle_words: int
    multipliers: Signatures
    offsets: Signatures

    @classmethod
    def of(cls, permutations: int, shingle_words: int) -> Signer:
        """Return the signer with datasketch's own permutations."""
        a, b = MinHash(num_perm=permutations, seed=_SEED, scheme="affine32").permutations
        return cls(shingle_words, a, b)

    def sign(self, batch: WordBatch) -> Signatures:
        """Return the signatures of a batch's rows, shape (R, P).

        A row shorter than a shingle is one shingle; a row without words gets the empty signature,
        all ones.
        """
        n_rows, n_permutations = len(batch), len(self.multipliers)
        signatures = np.full((n_rows, n_permutations), np.iinfo(np.uint32).max, np.uint32)
        hashes, first = window_hashes(batch, self.shingle_words, whole_short_rows=True)
        if not len(first):
            return signatures
        mixed = _mix((hashes >> np.uint64(32)).astype(np.uint32))
        row = batch.row_of(first)
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        work = np.empty_like(mixed)
        columns = np.empty((n_permutations, len(starts)), np.uint32)
        for k in range(n_permutations):
            np.multiply(mixed, self.multipliers[k], out=work)
            np.add(work, self.offsets[k], out=work)
            np.minimum.reduceat(work, starts, out=columns[k])
        signatures[row[starts]] = columns.T
        return signatures


def find_near_duplicates(signatures: Signatures, alive: Mask, threshold: float) -> Mask:
    """Return which rows are near duplicates of an earlier row, shape (N,).

    Rows that share all hashes of a band meet in a bucket. In each bucket the earliest row stands,
    and later ones whose estimated similarity to it reaches the threshold are duplicates; of what
    remains the earliest stands next, and so on. Empty signatures are nobody's duplicates.

    Args:
        signatures: Shape (N, P).
        alive: Rows that are looked at, shape (N,).
        threshold: Estimated Jaccard similarity from which two rows are near duplicates.
    """
    n_bands, band_rows = _choose_bands(threshold, signatures.shape[1])
    is_duplicate = np.zeros(len(signatures), np.bool_)
    rows = np.flatnonzero(alive & _by_chunks(signatures, _has_words))
    for band in range(n_bands):
        rows = rows[~is_duplicate[rows]]
        columns = slice(band * band_rows, (band + 1) * band_rows)
        keys = _by_chunks(signatures[:, columns], _band_keys)[rows]
        _mark_bucket_duplicates(signatures, rows, keys, threshold, is_duplicate)
    return is_duplicate


def _choose_bands(threshold: float, permutations: int) -> tuple[int, int]:
    try:
        lsh = MinHashLSH(threshold=threshold, num_perm=permutations, weights=_ERROR_WEIGHTS)
    except ValueError as error:
        raise ConfigError(
            f"`data.near_duplicates` cannot work with threshold {threshold:g} "
            f"and {permutations} permutations: {error}",
            hint="64 permutations suit thresholds from 0.5 to 0.9",
        ) from None
    return int(lsh.b), int(lsh.r)


def _mark_bucket_duplicates(
    signatures: Signatures,
    rows: Ints,
    keys: npt.NDArray[np.uint64],
    threshold: float,
    is_duplicate: Mask,
) -> None:
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    buckets = np.cumsum(np.diff(sorted_keys, prepend=sorted_keys[:1]) != 0)
    members = rows[order]
    for _ in range(_MAX_ROUNDS):
        is_shared = np.bincount(buckets)[buckets] > 1 if len(buckets) else np.zeros(0, np.bool_)
        members, buckets = members[is_shared], buckets[is_shared]
        if not len(members):
            return
        is_first = np.diff(buckets, prepend=-1) != 0
        standing = members[is_first][np.cumsum(is_first) - 1]
        is_match = _are_similar(signatures, standing, members, threshold) & ~is_first
        is_duplicate[members[is_match]] = True
        is_left = ~is_first & ~is_match
        members, buckets = members[is_left], buckets[is_left]


def _are_similar(signatures: Signatures, one: Ints, other: Ints, threshold: float) -> Mask:
    needed = np.ceil(threshold * signatures.shape[1] - 1e-9)
    parts = [
        (signatures[one[i : i + _CHUNK_ROWS]] == signatures[other[i : i + _CHUNK_ROWS]]).sum(axis=1)
        >= needed
        for i in range(0, len(one), _CHUNK_ROWS)
    ]
    return np.concatenate(parts)


def _band_keys(band: Signatures) -> npt.NDArray[np.uint64]:
    keys = np.zeros(len(band), np.uint64)
    for column in band.T:
        keys = (keys ^ column) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def _has_words(signatures: Signatures) -> Mask:
    has_words: Mask = np.any(signatures != np.iinfo(np.uint32).max, axis=1)
    return has_words


ScalarT = TypeVar("ScalarT", np.bool_, np.uint64)


def _by_chunks(
    signatures: Signatures, function: Callable[[Signatures], npt.NDArray[ScalarT]]
) -> npt.NDArray[ScalarT]:
    chunks = range(0, max(len(signatures), 1), _CHUNK_ROWS)
    return np.concatenate([function(np.asarray(signatures[i : i + _CHUNK_ROWS])) for i in chunks])


def _mix(hashes: Signatures) -> Signatures:
    """Return the MurmurHash3 finaliser of 32-bit hashes: datasketch's first step."""
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))
