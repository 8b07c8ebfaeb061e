"""Text to words, words to hashes: what near duplicates, decontamination and languages look at.

Words are lower-cased, without punctuation, split at white space: the normalisation of GPT-3's and
lm-eval's decontamination. Whole batches of rows are hashed at once, since a million rows hold some
hundred million words.

Notation: `R` rows of a batch, `W` words of all its rows together, `n` words of a window.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import numpy as np
import numpy.typing as npt

__all__ = ["WordBatch", "WordHashes", "hash_text", "normalise_text", "split_words", "window_hashes"]

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_ASCII_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_ASCII_PUNCTUATION = string.punctuation.encode()
# Dashes part words; quotation marks and dots inside a word do not.
_UNICODE_TABLE: dict[int, str | None] = {
    **dict.fromkeys(map(ord, string.punctuation + "‘’‚‛“”„‟«»‹›…·•¿¡´`")),
    **dict.fromkeys(map(ord, "‐‑‒–—―−"), " "),
}
_MAX_KNOWN_WORDS = 500_000  # some 60 MB of cache

# An odd base has an inverse modulo 2**64, which slides a window hash to position 0.
_BASE = 0x9E3779B97F4A7C15
_INVERSE_BASE = pow(_BASE, -1, 2**64)


def normalise_text(text: str) -> str:
    """Return the text in Unicode NFC, with Unix line ends and without spaces at line ends."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if " \n" in text or "\t\n" in text:
        text = "\n".join(line.rstrip() for line in text.split("\n"))
    return text.strip()


def split_words(text: str) -> list[str]:
    """Return the words of a text: lower case, punctuation stripped, split at white space."""
    if text.isascii():
        stripped = text.encode("ascii").translate(_ASCII_LOWER, _ASCII_PUNCTUATION)
        return stripped.decode("ascii").split()
    return text.lower().translate(_UNICODE_TABLE).split()


def hash_text(text: str) -> int:
    """Return a 64-bit hash of a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


class WordHashes(dict[str, int]):
    """A cache of word hashes that forgets everything when it is full."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MAX_KNOWN_WORDS:
            self.clear()
        value = self[word] = hash_text(word)
        return value


@dataclass(frozen=True)
class WordBatch:
    """The words of some rows, in order and as sets, and their hashes end to end.

    `hashes` has shape (W,), `starts` (R+1,); row r owns `hashes[starts[r]:starts[r + 1]]`.
    """

    words: tuple[list[str], ...]
    distinct: tuple[frozenset[str], ...]
    hashes: Hashes
    starts: Ints

    @classmethod
    def of(cls, words: Sequence[list[str]], cache: WordHashes) -> WordBatch:
        """Return the batch of these rows' words."""
        starts = np.zeros(len(words) + 1, np.int64)
        np.cumsum([len(row) for row in words], out=starts[1:])
        flat = map(cache.__getitem__, chain.from_iterable(words))
        hashes = np.fromiter(flat, np.uint64, count=int(starts[-1]))
        return cls(tuple(words), tuple(map(frozenset, words)), hashes, starts)

    def row_of(self, positions: Ints) -> Ints:
        """Return the row that owns each word position."""
        return np.searchsorted(self.starts, positions, side="right") - 1


def window_hashes(
    batch: WordBatch, n: int, *, whole_short_rows: bool = False
) -> tuple[Hashes, Ints]:
    """Return the hash of every window of n words, and the position of its first word.

    A window stays within its row. The hash depends on the words and their order alone, not on the
    position: a polynomial in an odd base modulo 2**64, by differences of prefix sums.

    Args:
        batch: The rows.
        n: Words of a window.
        whole_short_rows: Whether a row of fewer than n words counts as one window.
    """
    n_words = len(batch.hashes)
    powers, inverse_powers = _powers(n_words)
    prefix = np.zeros(n_words + 1, np.uint64)
    np.cumsum(batch.hashes * powers, out=prefix[1:])
    row_lengths = np.diff(batch.starts)
    row_ends = np.repeat(batch.starts[1:], row_lengths)
    position = np.arange(n_words, dtype=np.int64)
    end = np.minimum(position + n, row_ends)
    valid = end - position == n
    if whole_short_rows:
        valid[batch.starts[:-1][(row_lengths > 0) & (row_lengths < n)]] = True
    first = np.flatnonzero(valid)
    hashes = (prefix[end[first]] - prefix[first]) * inverse_powers[first]
    return hashes, first


def _powers(count: int) -> tuple[Hashes, Hashes]:
    return _power_table(_BASE, count), _power_table(_INVERSE_BASE, count)


_TABLES: dict[int, Hashes] = {}


def _power_table(base: int, count: int) -> Hashes:
    known = _TABLES.get(base)
    if known is None or len(known) < count:
        table = np.full(max(2 * count, 1 << 16), base, np.uint64)
        table[0] = 1
        known = _TABLES[base] = np.cumprod(table, dtype=np.uint64)
    return known[:count]
