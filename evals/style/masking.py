"""Facts out, voice kept: names, numbers, quoted spans and answers become placeholders.

A judge of style must not recognise a teacher by what it knows. So before a text is judged, spans
that carry content are replaced, and what remains is how it is said. The same spans tell voice
tokens from content tokens where memorisation is measured.

What counts as content, longest first where spans overlap:
- ANSWER: a phrase from the given list (answers and choices of any item, right or wrong for it).
- QUOTE: what stands between quotation marks or backticks.
- NUMBER: digits with their separators and signs; number words from two on.
- NAME: capitalised words that are names. A capital within a sentence is evidence, a capital at its
  start is none: `find_names` collects the words that some text capitalises within a sentence, and
  none writes small. Runs of adjacent names are one span.
- LETTERS: single letters in a row ("e d c b a"), the answers of spelling tasks.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

__all__ = [
    "ContentKind",
    "MaskRules",
    "Span",
    "find_content",
    "find_names",
    "make_rules",
    "mask_text",
]


class ContentKind(StrEnum):
    """What kind of content a span holds; the value is its placeholder."""

    ANSWER = "xanswerx"
    QUOTE = "xquotex"
    NUMBER = "xnumberx"
    NAME = "xnamex"
    LETTERS = "xlettersx"


@dataclasses.dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (exclusive) of a text, and what they hold."""

    start: int
    end: int
    kind: ContentKind


@dataclasses.dataclass(frozen=True)
class MaskRules:
    """What to mask beside numbers, quotes and letters: known phrases and names, in small letters.

    `phrases` are grouped by their first word, the longest first.
    """

    phrases: dict[str, tuple[tuple[str, ...], ...]]
    names: frozenset[str]


_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+")
_QUOTE = re.compile(
    r"\"[^\"\n]{1,200}\"|“[^”\n]{1,200}”|`[^`\n]{1,200}`|(?<!\w)'[^'\n]{2,80}'(?!\w)"
)
_SIGN = r"(?:(?<!\d)[-−+])?"
_NUMBER = re.compile(
    rf"[$€£]?{_SIGN}\d[\d,.:/]*\d\b%?|[$€£]?{_SIGN}\d%?|\b(?:two|three|four|five|six|seven|eight"
    r"|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|twenty|thirty|forty|fifty"
    r"|sixty|seventy|eighty|ninety|hundred|thousand|million|billion)\b",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"(?<![\w'’])[^\W\d_](?:[ ,-]+[^\W\d_](?![\w'’])){2,}")
_CAPITALISED = re.compile(r"[A-ZÀ-Þ][\w]*(?:['’](?!s\b)\w+)*")
_STARTS_SENTENCE = re.compile(r"(?:^\s*(?:[-*•>]|\d+[.)])?|[.!?])[\s\"'“”*_(]*$")
_NEVER_NAMES = frozenset(("i", "i'm", "i'd", "i'll", "i've", "ai", "ok"))


def find_names(texts: Iterable[str]) -> frozenset[str]:
    """Return the words, in small letters, that the texts use as names.

    A word is a name where some text capitalises it within a sentence and none writes it small more
    often. Headings, which may capitalise every word, are no evidence. The order of the texts
    decides nothing.
    """
    capital: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for text in texts:
        for line in text.splitlines():
            if line.lstrip().startswith("#"):
                continue
            for match in _WORD.finditer(line):
                word = match.group()
                if word[0].islower():
                    small[word] += 1
                elif word[0].isupper() and not _STARTS_SENTENCE.search(line[: match.start()]):
                    capital[_without_genitive(word)] += 1
    return frozenset(
        word for word, n in capital.items() if n > small[word] and word not in _NEVER_NAMES
    )


def make_rules(phrases: Iterable[str], texts: Iterable[str]) -> MaskRules:
    """Return rules that mask these phrases, and the names that the texts use."""
    split = {tuple(_words(phrase)) for phrase in phrases}
    by_first: dict[str, list[tuple[str, ...]]] = {}
    for words in sorted(split, key=lambda words: (-len(words), words)):
        if words and (len(words) > 1 or len(words[0]) > 1):
            by_first.setdefault(words[0], []).append(words)
    return MaskRules({first: tuple(rest) for first, rest in by_first.items()}, find_names(texts))


def find_content(text: str, rules: MaskRules) -> list[Span]:
    """Return the spans of a text that hold content, in order, none overlapping another."""
    found = [
        *(Span(*m.span(), ContentKind.QUOTE) for m in _QUOTE.finditer(text)),
        *_answers(text, rules),
        *(Span(*m.span(), ContentKind.LETTERS) for m in _LETTERS.finditer(text)),
        *(Span(*m.span(), ContentKind.NUMBER) for m in _NUMBER.finditer(text)),
        *_names(text, rules),
    ]
    kept: list[Span] = []
    for span in sorted(found, key=lambda s: (s.start, -s.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def mask_text(text: str, rules: MaskRules) -> str:
    """Return the text with its content replaced by placeholders."""
    parts: list[str] = []
    end = 0
    for span in find_content(text, rules):
        parts += [text[end : span.start], span.kind.value]
        end = span.end
    return "".join([*parts, text[end:]])


def _words(text: str) -> list[str]:
    return [match.group().lower() for match in _WORD.finditer(text)]


def _without_genitive(word: str) -> str:
    return re.sub(r"['’]s$", "", word.lower())


def _answers(text: str, rules: MaskRules) -> list[Span]:
    matches = list(_WORD.finditer(text))
    words = [_without_genitive(match.group()) for match in matches]
    spans: list[Span] = []
    i = 0
    while i < len(words):
        length = _phrase_length(words, i, rules)
        if length:
            last = matches[i + length - 1]
            end = last.start() + len(_without_genitive(last.group()))
            spans.append(Span(matches[i].start(), end, ContentKind.ANSWER))
        i += max(length, 1)
    return spans


def _phrase_length(words: Sequence[str], start: int, rules: MaskRules) -> int:
    for phrase in rules.phrases.get(words[start], ()):
        if tuple(words[start : start + len(phrase)]) == phrase:
            return len(phrase)
    return 0


def _names(text: str, rules: MaskRules) -> list[Span]:
    spans: list[Span] = []
    for match in _CAPITALISED.finditer(text):
        if match.group().lower() not in rules.names:
            continue
        between = text[spans[-1].end : match.start()] if spans else "."
        if between in (" ", "-"):
            spans[-1] = Span(spans[-1].start, match.end(), ContentKind.NAME)
        else:
            spans.append(Span(*match.span(), ContentKind.NAME))
    return spans
