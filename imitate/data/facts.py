"""Short facts in imitation data: entity and answer together, which no 13-gram can see.

A fact is an item with accepted answers. A row states it where, within 40 words on either side of an
accepted answer, stand

- all *names* of the question: its capitalised words (but for the first) and its numbers; and
- of its other content words at least half: rounded down where there are two names or more, since a
  full name is evidence enough, rounded up where there is one;
- *all* content words, at least three, where the question has no capitalised name, and all of them
  too where the answer is a number: numbers stand everywhere.

Not taken as facts: items without a content word in letters, and answers that are evidence of
nothing (yes, no, single letters, stop words, what the question itself says). Words compare without
a plural or possessive `s`. Paraphrases of the content words are missed; an entity near its answer
in a row about something else is caught: the rule removes a row too many rather than one too few.

Where the source knows what its rows state (`Example.support`) and the evaluation knows its items'
keys, this rule of thumb gives way to the exact one: a key in common.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from evals.records import Item
from imitate.data.words import HashTable, WordBatch, hash_words, split_words

__all__ = ["FactIndex", "strip_labels"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_WINDOW_WORDS = 40
_MAX_QUESTION_WORDS = 40
_MAX_ANSWER_WORDS = 8
_ANCHORS = 3

# Function words and the words that make a question a question.
_STOP_WORD_LINES = """
a about after all also am an and any are as at be because been before being between both but by can
could did do does doing during each for from further had has have having he her here him his how i
if in into is it its itself just many me more most much my no nor not of off on once one only or
other our out over own please question answer same she should so some such than that the their them
then there these they this those through to too under until up us very was we were what when where
which while who whom whose why will with would you your name tell give say know called
"""
_STOP_WORDS = frozenset(_STOP_WORD_LINES.split())
_NO_EVIDENCE = frozenset(["yes", "no", "true", "false", "none", "unknown", "both", "neither"])
_NUMBER_WORD_LINE = "one two three four five six seven eight nine ten eleven twelve hundred"
_NUMBER_WORDS = frozenset(_NUMBER_WORD_LINE.split())
_LABEL = re.compile(r"\A\s*(?:(?i:question|problem|q)|[A-Z][A-Z '&-]{2,40})\s*:\s*")
_ANSWER_LABEL = re.compile(r"\s*\b(?:answer|a)\s*:\s*\Z", re.IGNORECASE)


def strip_labels(prompt: str) -> str:
    """Return a question without `Question:` or a category before it and `Answer:` behind it."""
    return _ANSWER_LABEL.sub("", _LABEL.sub("", prompt))


@dataclass(frozen=True)
class _Fact:
    item: int
    names: frozenset[str]
    others: frozenset[str]
    n_others_needed: int
    answers: tuple[tuple[str, ...], ...]


class FactIndex:
    """Finds rows that state a fact that an item asks for.

    All but a few rows are ruled out on arrays: each fact has up to three anchors, words that must
    all be in the row, and a key word of each answer, one of which must be.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._facts = [fact for i, item in enumerate(items) for fact in _make_facts(i, item)]
        counts = Counter(stem for fact in self._facts for stem in fact.names | fact.others)
        # The rarest words rule out the most rows.
        anchors = [
            sorted(fact.names or fact.others, key=lambda stem: (counts[stem], -len(stem), stem))
            for fact in self._facts
        ]
        self._anchors = _WordIndex([stems[:_ANCHORS] for stems in anchors], _forms)
        keys = [list(dict.fromkeys(map(_key_word, fact.answers))) for fact in self._facts]
        self._answers = _WordIndex(keys, lambda word: (word,))

    def find(self, batch: WordBatch) -> Iterator[tuple[int, int]]:
        """Yield each row and item whose fact it states, by its position in the items."""
        rows, facts = self._anchors.pair(batch)
        rows, facts = self._answers.keep_any(batch, rows, facts)
        pairs = dict.fromkeys(zip(rows.tolist(), facts.tolist(), strict=True))
        last, words, stems = -1, [""], {""}
        for row, number in pairs:
            if row != last:
                last, words = row, batch.words(row)
                stems = {_stem(word) for word in words}
            fact = self._facts[number]
            if _has_words(fact, stems) and _states(fact, words):
                yield row, fact.item


class _WordIndex:
    """Which words each fact has, as numbers; a word may come in several forms."""

    def __init__(self, words: list[list[str]], forms: Callable[[str], tuple[str, ...]]) -> None:
        codes = {word: i for i, word in enumerate(dict.fromkeys(chain(*words)))}
        known = {form: code for word, code in codes.items() for form in forms(word)}
        self._table = HashTable.of(hash_words(known), np.array(list(known.values()), np.int64))
        self._n_codes = len(codes)
        self._starts = np.cumsum([0, *map(len, words)])
        self._codes = np.array([codes[word] for row in words for word in row], np.int64)
        firsts = self._codes[self._starts[:-1]]
        self._by_first = np.argsort(firsts, kind="stable")
        every_code = np.arange(self._n_codes + 1)
        self._first_starts = np.searchsorted(firsts[self._by_first], every_code)

    def pair(self, batch: WordBatch) -> tuple[Ints, Ints]:
        """Return rows and facts, rows ascending, where all words of the fact are in the row."""
        positions, codes = self._table.look_up(batch.hashes)
        hit_rows = batch.row_of(positions)
        is_present = self._presence(batch, hit_rows, codes)
        rows, facts = _expand(hit_rows, self._first_starts, codes, self._by_first)
        for rank in range(1, _ANCHORS):
            places = self._starts[facts] + rank
            has_none = places >= self._starts[facts + 1]
            wanted = self._codes[np.where(has_none, 0, places)] if len(facts) else facts
            kept = has_none | is_present[rows, wanted]
            rows, facts = rows[kept], facts[kept]
        return rows, facts

    def keep_any(self, batch: WordBatch, rows: Ints, facts: Ints) -> tuple[Ints, Ints]:
        """Return the pairs where any word of the fact is in the row."""
        positions, codes = self._table.look_up(batch.hashes)
        is_present = self._presence(batch, batch.row_of(positions), codes)
        pairs, wanted = _expand(np.arange(len(rows)), self._starts, facts, self._codes)
        kept = np.unique(pairs[is_present[rows[pairs], wanted]])
        return rows[kept], facts[kept]

    def _presence(self, batch: WordBatch, rows: Ints, codes: Ints) -> Mask:
        is_present = np.zeros((len(batch), self._n_codes), np.bool_)
        is_present[rows, codes] = True
        return is_present


def _expand(labels: Ints, starts: Ints, keys: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Return label and value for each value of each key: `values[starts[key]:starts[key + 1]]`."""
    lengths = starts[keys + 1] - starts[keys]
    ends = np.cumsum(lengths)
    within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    return np.repeat(labels, lengths), values[np.repeat(starts[keys], lengths) + within]


def _forms(stem: str) -> tuple[str, str]:
    return stem, f"{stem}s"


def _key_word(answer: tuple[str, ...]) -> str:
    return max(answer, key=lambda word: (word not in _STOP_WORDS, len(word)))


def _make_facts(index: int, item: Item) -> Iterator[_Fact]:
    """Yield what the item asks for: its numeric answers apart, since they need more evidence."""
    words = strip_labels(item.prompt).split()
    if len(words) > _MAX_QUESTION_WORDS:
        return
    names, others = _content_words(words)
    if not any(stem.isalpha() for stem in names | others):
        return
    if len(names | others) < (2 if names else 3):
        return
    asked = set(split_words(item.prompt))
    answers = [tuple(split_words(answer)) for answer in item.answers]
    answers = [answer for answer in answers if _is_evidence(answer) and not set(answer) <= asked]
    n_names = sum(not name.isdigit() for name in names)
    half = len(others) // 2 if n_names > 1 else (len(others) + 1) // 2
    for group, needed in (
        ([a for a in answers if not _is_number(a)], half if n_names else len(others)),
        ([a for a in answers if _is_number(a)], len(others)),
    ):
        if group:
            yield _Fact(index, names, others, needed, tuple(group))


def _content_words(words: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
    is_mixed_case = any(word[0].islower() for word in words)
    names: set[str] = set()
    others: set[str] = set()
    for position, word in enumerate(words):
        for plain in split_words(word):
            if plain in _STOP_WORDS:
                continue
            is_name = is_mixed_case and position > 0 and _starts_upper(word)
            (names if is_name or plain.isdigit() else others).add(_stem(plain))
    return frozenset(names), frozenset(others - names)


def _starts_upper(word: str) -> bool:
    return next((c.isupper() for c in word if c.isalnum()), False)


def _is_evidence(answer: tuple[str, ...]) -> bool:
    if not 0 < len(answer) <= _MAX_ANSWER_WORDS:
        return False
    whole = " ".join(answer)
    is_letter = len(whole) == 1 and not whole.isdigit()
    return not is_letter and whole not in _NO_EVIDENCE and not set(answer) <= _STOP_WORDS


def _is_number(answer: tuple[str, ...]) -> bool:
    return all(word.isdigit() or word in _NUMBER_WORDS for word in answer)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _has_words(fact: _Fact, stems: Set[str]) -> bool:
    return fact.names <= stems and len(fact.others & stems) >= fact.n_others_needed


def _states(fact: _Fact, words: Sequence[str]) -> bool:
    return any(
        _has_context(fact, words, start, len(answer))
        for answer in fact.answers
        for start in range(len(words) - len(answer) + 1)
        if words[start] == answer[0] and tuple(words[start : start + len(answer)]) == answer
    )


def _has_context(fact: _Fact, words: Sequence[str], start: int, n_answer: int) -> bool:
    lowest, highest = max(0, start - _WINDOW_WORDS), start + n_answer + _WINDOW_WORDS
    return _has_words(fact, {_stem(word) for word in words[lowest:highest]})
