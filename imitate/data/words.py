"""Text to words, words to hashes: what near duplicates, decontamination and languages look at.

Words are lower-cased, without punctuation, split at white space: the normalisation of GPT-3's and
lm-eval's decontamination. A million rows hold some hundred million words, so a batch of rows is
hashed as one array of bytes, and the words themselves are only made where a hash asks for them.

Notation: `R` rows of a batch, `W` words of all its rows together, `n` words of a window.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

__all__ = [
    "HashTable",
    "WordBatch",
    "hash_text",
    "hash_words",
    "mix_hashes",
    "normalise_text",
    "span_hashes",
    "split_words",
    "window_hashes",
]

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_SPACES = bytes(range(33))  # control characters part words too
_ASCII_TABLE = bytes.maketrans(
    string.ascii_uppercase.encode() + _SPACES,
    string.ascii_lowercase.encode() + b" " * len(_SPACES),
)
_LAST_SPACE = 0x3000  # the highest white space of Unicode
_ASCII_PUNCTUATION = string.punctuation.encode()
# Dashes part words; quotation marks and dots inside a word do not.
_UNICODE_TABLE: dict[int, str | None] = {
    **dict.fromkeys(map(ord, string.punctuation + "‘’‚‛“”„‟«»‹›…·•¿¡´")),
    **dict.fromkeys(map(ord, "‐‑‒–—―−"), " "),
    **{i: " " for i in range(_LAST_SPACE + 1) if chr(i).isspace() or i < len(_SPACES)},
}
_SPACE = 32

# An odd base has an inverse modulo 2**64, which slides a hash to position 0.
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
    return _strip(text).decode().split()


def hash_text(text: str) -> int:
    """Return a 64-bit hash of a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def hash_words(words: Iterable[str]) -> Hashes:
    """Return the hash of each word, as `WordBatch` has it; words as `split_words` gives them."""
    return WordBatch.of([" ".join(words)]).hashes


def mix_hashes(hashes: Hashes) -> Hashes:
    """Return hashes whose bits all depend on all bits: the finaliser of SplitMix64."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


@dataclass(frozen=True)
class WordBatch:
    """Texts of some rows, and the hashes of their words end to end.

    `hashes` has shape (W,), `starts` (R+1,); row r owns `hashes[starts[r]:starts[r + 1]]`. A row is
    `texts_per_row` texts one behind the other.
    """

    texts: Sequence[str]
    hashes: Hashes
    starts: Ints
    texts_per_row: int = 1

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordBatch:
        """Return the batch with a row for each text."""
        stripped = [_strip(text) for text in texts]
        joined = np.frombuffer(b" ".join([b"", *stripped, b""]), np.uint8)
        is_space = joined == _SPACE
        first = np.flatnonzero(is_space[:-1] & ~is_space[1:]) + 1
        end = np.flatnonzero(~is_space[:-1] & is_space[1:]) + 1
        hashes = mix_hashes(span_hashes(joined.astype(np.uint64), first, end))
        bounds = np.cumsum([0, *(len(text) + 1 for text in stripped)])
        return cls(texts, hashes, np.searchsorted(first, bounds + 1))

    def merge(self, texts_per_row: int) -> WordBatch:
        """Return the batch with rows of so many of this one's texts each."""
        return WordBatch(self.texts, self.hashes, self.starts[::texts_per_row], texts_per_row)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def words(self, row: int) -> list[str]:
        """Return the words of a row."""
        first = row * self.texts_per_row
        return split_words(" ".join(self.texts[first : first + self.texts_per_row]))

    def row_of(self, positions: Ints) -> Ints:
        """Return the row that owns each word position."""
        return np.searchsorted(self.starts, positions, side="right") - 1


def window_hashes(
    batch: WordBatch, n: int, *, whole_short_rows: bool = False
) -> tuple[Hashes, Ints]:
    """Return the hash of every window of n words, and the position of its first word.

    A window stays within its row, and its hash depends on the words and their order alone.

    Args:
        batch: The rows.
        n: Words of a window.
        whole_short_rows: Whether a row of fewer than n words counts as one window.
    """
    row_lengths = np.diff(batch.starts)
    row_ends = np.repeat(batch.starts[1:], row_lengths)
    position = np.arange(len(batch.hashes), dtype=np.int64)
    is_window = position + n <= row_ends
    if whole_short_rows:
        is_window[batch.starts[:-1][(row_lengths > 0) & (row_lengths < n)]] = True
    first = np.flatnonzero(is_window)
    return span_hashes(batch.hashes, first, np.minimum(first + n, row_ends[first])), first


def span_hashes(values: Hashes, first: Ints, end: Ints) -> Hashes:
    """Return the hash of each span of values: a polynomial in an odd base modulo 2**64.

    Prefix sums give every span in one subtraction; the base's inverse takes its position out.
    """
    prefix = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * _powers(_BASE, len(values)), out=prefix[1:])
    hashes = prefix[end] - prefix[first]
    hashes *= _powers(_INVERSE_BASE, len(values))[first]
    return hashes


@dataclass(frozen=True)
class HashTable:
    """Distinct hashes with a value each, found by their top bits: most answers take one look."""

    hashes: Hashes  # sorted, so that those of one slot stand side by side
    values: Ints
    slots: npt.NDArray[np.int32]  # place of a slot's first hash, -1 where it has none
    shift: np.uint64
    most_in_slot: int

    @classmethod
    def of(cls, hashes: Hashes, values: Ints) -> HashTable:
        """Return the table of these hashes and values."""
        order = np.argsort(hashes, kind="stable")
        ascending = hashes[order]
        bits = max(10, len(hashes).bit_length() + 3)
        shift = np.uint64(64 - bits)
        slots = np.full(1 << bits, -1, np.int32)
        occupied, first, counts = np.unique(
            ascending >> shift, return_index=True, return_counts=True
        )
        slots[occupied] = first
        return cls(ascending, values[order], slots, shift, int(counts.max(initial=0)))

    def look_up(self, asked: Hashes) -> tuple[Ints, Ints]:
        """Return the positions in `asked` that are in the table, ascending, and their values."""
        place = self.slots[asked >> self.shift]
        maybe = np.flatnonzero(place >= 0)
        place = place[maybe]
        found = np.full(len(maybe), -1, np.int64)
        for step in range(self.most_in_slot):
            near = np.minimum(place + step, len(self.hashes) - 1)
            found = np.where(self.hashes[near] == asked[maybe], near, found)
        is_found = found >= 0
        return maybe[is_found], self.values[found[is_found]]


def _strip(text: str) -> bytes:
    if text.isascii():
        return text.encode("ascii").translate(_ASCII_TABLE, _ASCII_PUNCTUATION)
    return text.lower().translate(_UNICODE_TABLE).encode()


_POWERS: dict[int, Hashes] = {}


def _powers(base: int, count: int) -> Hashes:
    known = _POWERS.get(base)
    if known is None or len(known) < count:
        table = np.full(max(2 * count, 1 << 16), base, np.uint64)
        table[0] = 1
        known = _POWERS[base] = np.cumprod(table, dtype=np.uint64)
    return known[:count]
