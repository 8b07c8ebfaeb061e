"""A judge's reply -> who won, or that no verdict can be read in it.

A reply that holds to the schema is read as JSON. Small models and servers without schemas write
what they like: a bare letter, "[[A]]", "Winner: B", "Answer A is better". A reply that says two
different things says nothing: guessing would make a judge look better than it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from enum import StrEnum

__all__ = ["Winner", "read_verdict"]


class Winner(StrEnum):
    """Who won, by the letters under which the answers were shown."""

    A = "a"
    B = "b"
    TIE = "tie"


_WORDS = {
    "a": Winner.A,
    "b": Winner.B,
    "tie": Winner.TIE,
    "c": Winner.TIE,  # FastChat's prompts call a tie C
    "draw": Winner.TIE,
    "equal": Winner.TIE,
    "both": Winner.TIE,
    "neither": Winner.TIE,
    "none": Winner.TIE,
}
_NOUN = r"(?:the\s+)?(?:answer|output|response|assistant|option|choice)"
_QUOTES = r"[\"'*\[(]*"
_LETTER = rf"(?:{_NOUN}\s*)?{_QUOTES}\b((?-i:[AB]))\b[\"'*\])]*"
_KEYS = ("winner", "verdict", "preference", "preferred", "better", "choice", "answer")

_KEYED = re.compile(
    rf"\b(?:{'|'.join(_KEYS)})\b[\"'*]*\s*(?::|=|\bis\b)\s*{_QUOTES}\s*"
    rf"(?:{_LETTER}|\b(tie|draw|neither|both)\b)",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"\[\[\s*([abc]|tie)\s*\]\]", re.IGNORECASE)
_BARE = re.compile(
    rf"(?:{_NOUN}\s*)?[\[(]?([ab])[\])]?|(tie|draw|equal|both|neither)", re.IGNORECASE
)
_PROSE = re.compile(
    rf"(?:{_LETTER}\s+is\s+(?:(?:clearly|much|slightly|far|the|a|more)\s+)*(?:better|winner)"
    rf"|\bprefer\s+{_LETTER}|{_LETTER}\s+wins)\b",
    re.IGNORECASE,
)


def read_verdict(reply: str) -> Winner | None:
    """Return the winner that a reply names; None where it names none, or more than one.

    The first of these that finds anything decides: JSON, "[[A]]", "winner: A", a first or last line
    that is nothing but a verdict, and a sentence such as "Answer A is better".
    """
    for reader in _READERS:
        found = set(reader(reply))
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _from_json(reply: str) -> Iterator[Winner]:
    decoder = json.JSONDecoder()
    for start in (place.start() for place in re.finditer(r"\{", reply)):
        try:
            value, _ = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            continue
        for key, told in value.items() if isinstance(value, dict) else ():
            if key.lower() in _KEYS and isinstance(told, str):
                yield from _bare(told)


def _bare(line: str) -> Iterator[Winner]:
    """Yield the verdict of a line that is nothing else."""
    found = _BARE.fullmatch(line.strip().strip(".,;:!*`\"' "))
    if found:
        yield _winner(found)


def _from_brackets(reply: str) -> Iterator[Winner]:
    return map(_winner, _BRACKETED.finditer(reply))


def _from_keys(reply: str) -> Iterator[Winner]:
    return map(_winner, _KEYED.finditer(reply))


def _from_lines(reply: str) -> Iterator[Winner]:
    lines = [line for line in reply.splitlines() if line.strip()]
    for line in {*lines[:1], *lines[-1:]}:
        yield from _bare(line)


def _from_prose(reply: str) -> Iterator[Winner]:
    return map(_winner, _PROSE.finditer(reply))


def _winner(found: re.Match[str]) -> Winner:
    return _WORDS[next(word for word in found.groups() if word).lower()]


_READERS: tuple[Callable[[str], Iterator[Winner]], ...] = (
    _from_json,
    _from_brackets,
    _from_keys,
    _from_lines,
    _from_prose,
)
