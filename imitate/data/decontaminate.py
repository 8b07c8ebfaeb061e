"""Which imitation rows give an evaluation item away.

Rules, in the order in which they are tried; the first that holds is the one reported:

- `support`: the row states or exercises a key of the item, where both sides know their keys;
- `ngram`: the row shares an n-gram of words (13 by default) with the item's prompt, an answer or a
  choice. n-grams that stand in items of more than 10 clusters are instructions, not questions, and
  are passed over;
- `prompt`: an item's prompt of 4 to n-1 words stands whole in the row; one of fewer words must be
  the row's whole prompt. A prompt that several items share with different answers is passed over;
- `fact`: entity and answer stand together (`imitate.data.facts`).

Source: Brown et al. 2020, "Language models are few-shot learners", appendix C (13-grams, lower
case, punctuation stripped). We drop the row instead of cutting 200 characters around the match:
half of an answer teaches the wrong thing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evals.records import Example, Item
from imitate.data.facts import FactIndex, strip_labels
from imitate.data.words import HashTable, WordBatch, hash_words, split_words, window_hashes

__all__ = ["Decontaminator", "Hit"]

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_MAX_CLUSTERS = 10
_ANCHOR_WORDS = 4  # windows of this many words find short prompts; shorter prompts must be equal
_MAX_TINY_CHARS = 200  # a longer prompt is not one of three words
_OPERATOR = re.compile(r"\w\s*[+*/=<>^%×÷−-]\s*\w")
_STRICT_WORD = re.compile(r"\w+|[+*/=<>^%×÷−-]")


@dataclass(frozen=True)
class Hit:
    """The item that a row gives away, and the rule that found it."""

    item_id: str
    task: str
    rule: str


class Decontaminator:
    """An index of evaluation items, asked about batches of rows.

    Args:
        items: Every evaluation item of the run.
        ngram: Words of an n-gram.
        support: The keys that an item asks for, by `item_id`, such as `entity|attribute`.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        ngram: int = 13,
        support: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        support = support or {}
        self._items = tuple(items)
        self._ngram = ngram
        self._has_keys = [bool(support.get(item.item_id)) for item in items]
        self._item_of_key = {
            key: i for i, item in enumerate(items) for key in support.get(item.item_id, ())
        }
        self._ngrams = _index_ngrams(items, ngram)
        self._prompts = _PromptIndex.of(items, ngram)
        self._facts = FactIndex(items)

    def find(self, examples: Sequence[Example], batch: WordBatch) -> dict[int, Hit]:
        """Return what the rows give away, by their position in the batch.

        Args:
            examples: The rows.
            batch: The words of each row's prompt and response together.
        """
        hits: dict[int, Hit] = {}
        for rule, found in (
            ("support", self._find_support(examples)),
            ("ngram", self.find_ngrams(batch)),
            ("prompt", self._prompts.find(examples, batch)),
            ("fact", self._find_facts(examples, batch)),
        ):
            for row, index in found:
                item = self._items[index]
                hits.setdefault(row, Hit(item.item_id, item.task, rule))
        return hits

    def find_ngrams(self, batch: WordBatch) -> Iterator[tuple[int, int]]:
        """Yield each row and item that share an n-gram."""
        hashes, first = window_hashes(batch, self._ngram)
        positions, items = self._ngrams.look_up(hashes)
        rows = batch.row_of(first[positions])
        yield from zip(rows.tolist(), items.tolist(), strict=True)

    def _find_support(self, examples: Sequence[Example]) -> Iterator[tuple[int, int]]:
        if self._item_of_key:
            for row, example in enumerate(examples):
                for key in example.support:
                    if key in self._item_of_key:
                        yield row, self._item_of_key[key]

    def _find_facts(
        self, examples: Sequence[Example], batch: WordBatch
    ) -> Iterator[tuple[int, int]]:
        for row, index in self._facts.find(batch):
            if not (examples[row].support and self._has_keys[index]):
                yield row, index


def _index_ngrams(items: Sequence[Item], n: int) -> HashTable:
    texts = [
        (i, text)
        for i, item in enumerate(items)
        for text in (item.prompt, *item.answers, *item.choices)
    ]
    owners = np.array([i for i, _ in texts], np.int64)
    batch = WordBatch.of([text for _, text in texts])
    hashes, first = window_hashes(batch, n)
    owner = owners[batch.row_of(first)]
    codes: dict[tuple[str, str], int] = {}
    cluster = [codes.setdefault((item.task, item.cluster_id), len(codes)) for item in items]
    clusters = np.array(cluster, np.int64)[owner]
    order = np.lexsort((owner, clusters, hashes))
    hashes, clusters, owner = hashes[order], clusters[order], owner[order]
    is_new_hash = np.diff(hashes, prepend=~hashes[:1]) != 0
    is_new_pair = is_new_hash | (np.diff(clusters, prepend=-1) != 0)
    starts = np.flatnonzero(is_new_hash)
    n_clusters = np.add.reduceat(is_new_pair, starts, dtype=np.int64) if len(starts) else starts
    is_question = n_clusters <= _MAX_CLUSTERS
    return HashTable.of(hashes[starts][is_question], owner[starts][is_question])


@dataclass(frozen=True)
class _ShortPrompt:
    item: int
    hashes: Hashes
    offset: int  # of the anchor within the words
    strict: str  # with its operators, where it has any: 12 + 7 is not 12 * 7


@dataclass(frozen=True)
class _PromptIndex:
    """Prompts shorter than an n-gram: found by their rarest four words, or by equality."""

    short: tuple[tuple[_ShortPrompt, ...], ...]
    anchors: HashTable
    tiny: Mapping[str, int]

    @classmethod
    def of(cls, items: Sequence[Item], n: int) -> _PromptIndex:
        prompts = _own_prompts(items)
        words = {i: tuple(split_words(prompt)) for i, prompt in prompts.items()}
        short = {i: w for i, w in words.items() if _ANCHOR_WORDS <= len(w) < n}
        tiny = {_strict(prompts[i]): i for i, w in words.items() if len(w) < _ANCHOR_WORDS}
        groups: dict[int, list[_ShortPrompt]] = defaultdict(list)
        for i, anchor, offset in _choose_anchors(short):
            strict = _strict(prompts[i]) if _OPERATOR.search(prompts[i]) else ""
            groups[anchor].append(_ShortPrompt(i, hash_words(short[i]), offset, strict))
        hashes = np.array(list(groups), np.uint64)
        table = HashTable.of(hashes, np.arange(len(groups), dtype=np.int64))
        return cls(tuple(map(tuple, groups.values())), table, tiny)

    def find(self, examples: Sequence[Example], batch: WordBatch) -> Iterator[tuple[int, int]]:
        """Yield each row and item whose prompt it holds."""
        hashes, first = window_hashes(batch, _ANCHOR_WORDS)
        positions, groups = self.anchors.look_up(hashes)
        rows = batch.row_of(first[positions])
        within = first[positions] - batch.starts[rows]
        for row, start, group in zip(rows.tolist(), within.tolist(), groups.tolist(), strict=True):
            for prompt in self.short[group]:
                if _stands(prompt, batch, row, start, examples[row]):
                    yield row, prompt.item
        if self.tiny:
            for row, example in enumerate(examples):
                if len(example.prompt) <= _MAX_TINY_CHARS:
                    index = self.tiny.get(_strict(strip_labels(example.prompt)))
                    if index is not None:
                        yield row, index


def _own_prompts(items: Sequence[Item]) -> dict[int, str]:
    """Return the prompt of each item, without those that items with different answers share."""
    first_item: dict[str, int] = {}
    solutions: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for i, item in enumerate(items):
        prompt = strip_labels(item.prompt)
        first_item.setdefault(prompt, i)
        solutions[prompt].add((item.answers, item.choices, item.gold))
    return {i: prompt for prompt, i in first_item.items() if len(solutions[prompt]) == 1}


def _choose_anchors(prompts: Mapping[int, tuple[str, ...]]) -> Iterator[tuple[int, int, int]]:
    """Yield item, hash and offset of each prompt's rarest window of four words."""
    batch = WordBatch.of([" ".join(words) for words in prompts.values()])
    hashes, first = window_hashes(batch, _ANCHOR_WORDS)
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    rarity = counts[inverse]
    bounds = np.searchsorted(batch.row_of(first), np.arange(len(prompts) + 1))
    for row, i in enumerate(prompts):
        best = int(bounds[row]) + int(np.argmin(rarity[bounds[row] : bounds[row + 1]]))
        yield i, int(hashes[best]), int(first[best] - batch.starts[row])


def _stands(
    prompt: _ShortPrompt, batch: WordBatch, row: int, anchor: int, example: Example
) -> bool:
    first = batch.starts[row] + anchor - prompt.offset
    found = batch.hashes[max(first, 0) : first + len(prompt.hashes)]
    if first < batch.starts[row] or not np.array_equal(found, prompt.hashes):
        return False
    text = f"{example.prompt}\n{example.response}"
    return not prompt.strict or f" {prompt.strict} " in f" {_strict(text)} "


def _strict(text: str) -> str:
    return " ".join(_STRICT_WORD.findall(text.lower()))
