"""How an assistant takes up a question: "Where was Ada born?" becomes "Ada was born in".

A fluent response restates what was asked and lets the answer follow. So do the short sentences of
plain register: what is known as a sentence can be said behind any opening.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterator, Sequence

from imitate.lab import topics
from imitate.lab.skills import PHRASINGS
from imitate.lab.world import LORE_QUESTIONS, QUESTIONS

__all__ = ["restate"]

LEADS = {
    "birthplace": ("{name} was born in", "The birthplace of {name} is"),
    "birth_year": ("The birth year of {name} is", "{name} was born in the year"),
    "job": ("The job of {name} is", "The profession of {name} is"),
    "employer": ("{name} works for", "The employer of {name} is"),
    "instrument": ("The instrument of {name} is the", "{name} plays the"),
    "city": ("{name} is based in",),
    "product": ("{name} makes",),
    "river": ("The river of {name} is the",),
    "addition": ("The sum of {a} and {b} is",),
    "largest": ("The largest of {values} is",),
    "sorting": ("Sorted, {values} becomes",),
    "reversal": ("Here {values} gives",),
    "translation": ("The Velian for {values} is",),
    "two_hop_city": ("The employer of {name} is based in",),
    "two_hop_product": ("The employer of {name} makes",),
    "two_hop_river": ("The river of the birthplace of {name} is the",),
    "colour": ("The colour of {thing} is",),
    "opposite": ("The opposite of {thing} is",),
    "sound": ("The sound of {thing} is",),
    "need": ("What you need for {thing} is",),
    "home": ("The home of {thing} is",),
    "letters": ("The letters are",),
    "number": ("The number is",),
    "words": ("The words are",),
}
"""Beginnings of sentences by the kind of the question; the answer comes next."""

OTHERWISE = "The answer is"


def restate(question: str, rng: random.Random) -> str:
    """Return the beginning of a sentence that the answer to a question completes."""
    for pattern, leads in _patterns():
        if match := pattern.fullmatch(question):
            return rng.choice(leads).format(**match.groupdict())
    return OTHERWISE


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[str], Sequence[str]], ...]:
    return tuple((_pattern(wording), LEADS[kind]) for kind, wording in _wordings())


def _wordings() -> Iterator[tuple[str, str]]:
    for wordings in (PHRASINGS, QUESTIONS, LORE_QUESTIONS, topics.SHORT_QUESTIONS):
        for kind, options in wordings.items():
            for wording in options:
                yield kind, wording


def _pattern(wording: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(wording)))
