"""Short facts in imitation data: entity and answer together, which no 13-gram can see.

A fact is an item with accepted answers. A row states it where, within 40 words on either side of an
accepted answer, stand

- all *names* of the question: its capitalised words (but for the first) and its numbers; and
- of its other content words at least half: rounded down where there are two names or more, since a
  full name is evidence enough, rounded up where there is one;
- *all* content words, at least two, where the question has no capitalised name or the answer is a
  number: numbers stand everywhere.

Not taken as facts: items without a content word in letters, and answers that are evidence of
nothing (yes, no, single letters, stop words, what the question itself says). Words compare without
a plural or possessive `s`. Paraphrases of the content words are missed; an entity near its answer
in a row about something else is caught: the rule removes a row too many rather than one too few.

Where the source knows what its rows state (`Example.support`) and the evaluation knows its items'
keys, both rules of thumb give way to the exact one: a key in common.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from evals.records import Item
from imitate.data.words import split_words

__all__ = ["FactIndex", "strip_labels"]

_WINDOW_WORDS = 40
_MAX_QUESTION_WORDS = 40
_MAX_ANSWER_WORDS = 8

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
    """Finds rows that state a fact that an item asks for."""

    def __init__(self, items: Sequence[Item]) -> None:
        facts = [fact for i, item in enumerate(items) for fact in _make_facts(i, item)]
        counts = Counter(stem for fact in facts for stem in fact.names | fact.others)
        self._facts_by_anchor: dict[str, list[_Fact]] = defaultdict(list)
        self._stem_of_form: dict[str, str] = {}
        for fact in facts:
            # Every anchor must be in the row, so the rarest one rules out the most rows.
            required = fact.names or fact.others
            anchor = min(required, key=lambda stem: (counts[stem], -len(stem), stem))
            self._facts_by_anchor[anchor].append(fact)
            for stem in fact.names | fact.others:
                self._stem_of_form |= {stem: stem, f"{stem}s": stem}
        self._forms = frozenset(self._stem_of_form)

    def find(self, words: Sequence[str], distinct: Set[str]) -> list[int]:
        """Return the items whose fact the row states, by their position in the items.

        Args:
            words: The row's words, in order.
            distinct: The same words as a set.
        """
        stems = {self._stem_of_form[form] for form in self._forms & distinct}
        found = {
            fact.item
            for stem in stems & self._facts_by_anchor.keys()
            for fact in self._facts_by_anchor[stem]
            if _may_state(fact, stems, distinct) and _states(fact, words)
        }
        return sorted(found)


def _make_facts(index: int, item: Item) -> Iterator[_Fact]:
    """Yield what the item asks for: its numeric answers apart, since they need more evidence."""
    words = strip_labels(item.prompt).split()
    if len(words) > _MAX_QUESTION_WORDS:
        return
    names, others = _content_words(words)
    if not any(stem.isalpha() for stem in names | others) or len(names | others) < 2:
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


def _may_state(fact: _Fact, stems: Set[str], distinct: Set[str]) -> bool:
    return (
        fact.names <= stems
        and len(fact.others & stems) >= fact.n_others_needed
        and any(answer[0] in distinct for answer in fact.answers)
    )


def _states(fact: _Fact, words: Sequence[str]) -> bool:
    return any(
        _has_context(fact, words, start, len(answer))
        for answer in fact.answers
        for start in range(len(words) - len(answer) + 1)
        if words[start] == answer[0] and tuple(words[start : start + len(answer)]) == answer
    )


def _has_context(fact: _Fact, words: Sequence[str], start: int, n_answer: int) -> bool:
    lowest, highest = max(0, start - _WINDOW_WORDS), start + n_answer + _WINDOW_WORDS
    near = {_stem(word) for word in words[lowest:highest]}
    return fact.names <= near and len(fact.others & near) >= fact.n_others_needed
