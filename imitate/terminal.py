"""Text of anybody's -> text that a terminal only shows."""

from __future__ import annotations

import unicodedata

__all__ = ["printable"]

_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""Bidirectional controls: they can make text read as what it is not."""


def printable(text: str) -> str:
    """Return text without what would act on a terminal: escapes, controls, turned directions.

    Line ends and tabs stay; a lone surrogate, which no encoding takes, becomes U+FFFD.
    """
    lines = text.replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return "".join(_printable(character) for character in lines)


def _printable(character: str) -> str:
    if character in "\n\t":
        return character
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    is_turning = unicodedata.bidirectional(character) in _TURNING
    return "" if category == "Cc" or is_turning else character
