"""One pass over the rows: texts go to disk, and what every later step needs stays as numbers.

Some 40 bytes of memory a row, with the signatures of near duplicates on disk too: what is decided
later is decided on arrays, and a million rows are no burden.

Notation: `N` rows parked, `R` rows of a batch, `P` permutations of a signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evals.records import Example
from imitate.config import DataConfig
from imitate.data.decontaminate import Decontaminator, Hit
from imitate.data.dedup import Signer
from imitate.data.language import guess_languages
from imitate.data.spill import Spill
from imitate.data.words import WordBatch, hash_text, normalise_text, span_hashes

__all__ = ["FirstSteps", "RowTable", "scan_rows"]

_BATCH_ROWS = 256  # hashing works in the cache: 1,024 rows are a fifth slower
_BATCH_CHARS = 1_000_000
_SHOWN_IDS = 3
_ROW = np.dtype(
    [
        ("content", np.uint64),  # hash of prompt and response
        ("prompt", np.uint64),  # hash of the prompt's words
        ("category", np.int32),
        ("language", np.int32),
        ("prompt_chars", np.int32),
        ("response_chars", np.int32),
        ("response_words", np.int32),
    ]
)


@dataclass
class FirstSteps:
    """Counts of the steps that look at one row alone."""

    is_normalised: bool
    rows: int = 0
    normalised: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: {"empty": 0, "too_long": 0})
    ids: dict[str, list[str]] = field(default_factory=lambda: {"empty": [], "too_long": []})


@dataclass(frozen=True)
class RowTable:
    """What is known of each parked row; `rows` has shape (N,)."""

    rows: npt.NDArray[Any]
    category_names: tuple[str, ...]
    language_names: tuple[str, ...]
    hits: dict[int, Hit]
    signature_path: Path
    n_permutations: int
    first_steps: FirstSteps

    def open_signatures(self) -> npt.NDArray[np.uint32]:
        """Return the signatures, shape (N, P), as a map of their file: let go of it soon."""
        shape = (len(self.rows), self.n_permutations)
        if not all(shape):
            return np.zeros(shape, np.uint32)
        return np.memmap(self.signature_path, np.uint32, "r", shape=shape)


def scan_rows(
    examples: Iterable[Example],
    data: DataConfig,
    decontaminator: Decontaminator | None,
    folder: Path,
    progress: Callable[[int], None],
) -> tuple[RowTable, Spill]:
    """Return what is known of the rows that are neither empty nor too long, and their texts."""
    first_steps = FirstSteps(data.normalise)
    with Spill(folder / "rows.arrow") as spill, (folder / "signatures").open("wb") as signatures:
        scanner = _Scanner(data, decontaminator)
        for batch in _batches(_take_first_steps(examples, data, first_steps)):
            scanner.add(batch).tofile(signatures)
            spill.append(batch)
            progress(first_steps.rows)
    return scanner.table(first_steps, folder / "signatures"), spill


class _Scanner:
    """Collects what is known of the rows, batch by batch."""

    def __init__(self, data: DataConfig, decontaminator: Decontaminator | None) -> None:
        near = data.near_duplicates
        self._n_permutations = near.permutations if near.enabled else 0
        self._signer = Signer.of(near.permutations, near.shingle_words)
        self._decontaminator = decontaminator
        self._categories = _Codes()
        self._languages = _Codes()
        self._hits: dict[int, Hit] = {}
        self._parts: list[npt.NDArray[Any]] = [np.zeros(0, _ROW)]
        self._n_rows = 0

    def add(self, examples: Sequence[Example]) -> npt.NDArray[np.uint32]:
        """Take note of a batch and return its signatures, shape (R, P)."""
        halves = WordBatch.of([text for e in examples for text in (e.prompt, e.response)])
        batch = halves.merge(2)
        self._parts.append(self._describe(examples, halves, batch))
        if self._decontaminator is not None:
            found = self._decontaminator.find(examples, batch)
            self._hits |= {self._n_rows + row: hit for row, hit in found.items()}
        self._n_rows += len(examples)
        if not self._n_permutations:
            return np.zeros((len(examples), 0), np.uint32)
        return self._signer.sign(batch)

    def table(self, first_steps: FirstSteps, signatures: Path) -> RowTable:
        """Return what was collected."""
        return RowTable(
            rows=np.concatenate(self._parts),
            category_names=tuple(self._categories),
            language_names=tuple(self._languages),
            hits=self._hits,
            signature_path=signatures,
            n_permutations=self._n_permutations,
            first_steps=first_steps,
        )

    def _describe(
        self, examples: Sequence[Example], halves: WordBatch, batch: WordBatch
    ) -> npt.NDArray[Any]:
        part = np.empty(len(examples), _ROW)
        bounds = halves.starts
        part["content"] = [hash_text(f"{e.prompt}\0{e.response}") for e in examples]
        part["prompt"] = span_hashes(batch.hashes, bounds[:-1:2], bounds[1::2])
        for row in np.flatnonzero(bounds[:-1:2] == bounds[1::2]):  # no word, only marks
            part["prompt"][row] = hash_text(examples[row].prompt)
        part["category"] = [self._categories[example.category] for example in examples]
        part["language"] = [self._languages[guess] for guess in guess_languages(batch)]
        part["prompt_chars"] = [len(example.prompt) for example in examples]
        part["response_chars"] = [len(example.response) for example in examples]
        part["response_words"] = np.diff(bounds)[1::2]
        return part


class _Codes(dict[str, int]):
    """Numbers names in the order of their first appearance."""

    def __missing__(self, name: str) -> int:
        code = self[name] = len(self)
        return code


def _take_first_steps(
    examples: Iterable[Example], data: DataConfig, counts: FirstSteps
) -> Iterator[Example]:
    for example in examples:
        counts.rows += 1
        kept = _normalise(example, counts) if data.normalise else example
        step = _first_fault(kept, data)
        if not step:
            yield kept
            continue
        counts.dropped[step] += 1
        if len(counts.ids[step]) < _SHOWN_IDS:
            counts.ids[step].append(kept.example_id)


def _normalise(example: Example, counts: FirstSteps) -> Example:
    prompt, response = normalise_text(example.prompt), normalise_text(example.response)
    if prompt == example.prompt and response == example.response:
        return example
    counts.normalised += 1
    return replace(example, prompt=prompt, response=response)


def _first_fault(example: Example, data: DataConfig) -> str:
    response = example.response.strip()
    has_prompt = bool(example.prompt.strip()) or example.is_document
    if not has_prompt or not response or len(response) < data.min_response_chars:
        return "empty"
    if len(example.prompt) + len(example.response) > data.max_chars:
        return "too_long"
    return ""


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Yield batches bounded in rows and in characters: a batch is what is held in memory."""
    batch: list[Example] = []
    n_chars = 0
    for example in examples:
        batch.append(example)
        n_chars += len(example.prompt) + len(example.response)
        if len(batch) >= _BATCH_ROWS or n_chars >= _BATCH_CHARS:
            yield batch
            batch, n_chars = [], 0
    if batch:
        yield batch
