"""A text with questions and answers, in whatever layout a model chose -> pairs.

Read in turn, the first that finds a pair: JSON objects with a question and an answer; texts marked
`Q:` and `A:`, or `Question 1:` and `Answer:`; numbered or parted paragraphs that hold a question
mark, of which the rest is the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Pair", "parse_pairs"]


class Pair(NamedTuple):
    """One question and its answer."""

    question: str
    answer: str


_QUESTION_KEYS = ("question", "q", "prompt", "instruction")
_ANSWER_KEYS = ("answer", "a", "response", "output")

_BEFORE = r"[ \t>*_#-]*(?:\d+[ \t]*[.):][ \t]*)?[*_ \t]*"
_LABEL = r"(?P<{}>q(?:uestion)?|a(?:nswer)?)[ \t]*#?\d*[*_ \t]*(?::|(?=\n))[*_ \t]*"
_MARK = re.compile(
    rf"^{_BEFORE}{_LABEL.format('line')}|(?<=[?.!])[*_ \t]+(?P<inside>a(?:nswer)?):[*_ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER = re.compile(r"^[ \t>*_#-]*\d+[ \t]*[.):](?=\s)", re.MULTILINE)
_BLANK = re.compile(r"\n[ \t]*\n")
_ANSWER_MARK = re.compile(r"^[\s*_>–—:-]*(?:(?:a|answer)[*_ \t]*:)?[\s*_]*", re.IGNORECASE)


def parse_pairs(text: str) -> list[Pair]:
    """Return the pairs that a text holds, in its order; empty where none is readable."""
    text = text.replace("\r\n", "\n")
    for read in (_from_json, _from_marks, _from_paragraphs):
        pairs = [pair for pair in map(_clean, read(text)) if pair.question and pair.answer]
        if pairs:
            return pairs
    return []


def _clean(pair: Pair) -> Pair:
    answer = re.sub(r"\n[\s*_#=-]+$", "", pair.answer.strip())
    return Pair(" ".join(pair.question.split()).strip("*_# "), answer.strip("*_ \n"))


def _from_json(text: str) -> Iterator[Pair]:
    """Yield the pairs of all objects; one that was cut off hides none before it."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield from _pairs_in(value)
        start = text.find("{", end)


def _pairs_in(value: Any) -> Iterator[Pair]:
    if isinstance(value, list):
        for one in value:
            yield from _pairs_in(one)
    elif isinstance(value, dict):
        named = {str(key).lower(): inner for key, inner in value.items()}
        question = next((named[key] for key in _QUESTION_KEYS if key in named), None)
        answer = next((named[key] for key in _ANSWER_KEYS if key in named), None)
        if isinstance(question, str) and isinstance(answer, str | int | float):
            yield Pair(question, str(answer))
        else:
            yield from _pairs_in([one for one in value.values() if isinstance(one, list | dict)])


def _from_marks(text: str) -> Iterator[Pair]:
    marks = list(_MARK.finditer(text))
    bounds = [*(mark.start() for mark in marks), len(text)]
    question = ""
    for mark, end in zip(marks, bounds[1:], strict=True):
        said = text[mark.end() : end].strip()
        if (mark["line"] or mark["inside"])[0].lower() == "q":
            question = said
        elif question:
            yield Pair(question, said)
            question = ""


def _from_paragraphs(text: str) -> Iterator[Pair]:
    numbered = _NUMBER.split(text)[1:]
    for paragraph in numbered or _BLANK.split(text):
        question, mark, rest = paragraph.partition("?")
        if mark:
            yield Pair(question + mark, _ANSWER_MARK.sub("", rest, count=1))
