"""What a short answer says: normalisation, exact match, abstention. Never a substring test.

A substring test is wrong both ways: a question repeats its own answer ("Was Ada born in Kelso or in
Moray?"), and a list that mentions every town contains the right one. So an answer is extracted
first (`evals.extraction`) and matched whole here, after normalisation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["is_abstention", "is_match", "normalise_answer"]

_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS = {word: n for n, word in enumerate(_UNITS)} | {
    word: 10 * n for n, word in enumerate(_TENS, start=2)
}

_TOKEN = re.compile(
    r"(?<![\w.,])[-−]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)"  # 1,234.5
    r"|(?<![\w.])[-−]?\d+\.\d+"  # -3.50
    r"|(?<![\w.)])[-−]\d+"  # -3, but not the range 1990-1995
    r"|(?<!\w)[^\W\d_](?:\.[^\W\d_](?!\w))+\.?"  # U.S.
    r"|[^\W_]+(?:['’][^\W_]+)*"
)

_KNOWN = (
    r"(?:recorded|documented|known|specified|listed|stated|mentioned|available|disclosed|provided)"
)
_KNOW = (
    r"(?:know|say|tell|find|determine|answer|recall|confirm|verify|identify|provide"
    r"|have (?:\w+ ){0,3}?(?:information|records?|data|details|answers?|access|knowledge))"
)
_ABSTENTIONS = (
    # nothing is on record
    rf"(?:\bnot|\bnever|n't)(?: been| publicly| yet| currently| officially)* {_KNOWN}\b"
    r"(?! (?:for|as)\b)",
    rf"\b(?:is|are|was|were|remains?)(?: \w+)? (?:un{_KNOWN}|undocumented|unclear|a mystery)\b"
    r"(?! (?:for|as)\b)",
    r"\b(?:no|without|lacks?)(?: any)? (?:\w+ )?(?:records?|information|data|documentation)\b",
    r"\bno (?:\w+ )?sources? (?:says?|states?|mentions?|gives?|records?)\b",
    # the speaker does not know
    r"\b(?:i|we)(?: \w+)? (?:do not|don't|did not|didn't|cannot|can't|could not|couldn't"
    rf"|am unable to|am not able to|was unable to)(?: \w+)? {_KNOW}\b",
    r"\bi have no (?:\w+ )?(?:idea|knowledge|way)\b",
    r"\b(?:i am|i'm|we are|we're)(?: \w+)? (?:not sure|not certain|unsure|uncertain|not aware"
    r"|unaware|not familiar|unfamiliar)\b",
    # nothing can be known
    r"\b(?:cannot|can't) be (?:\w+ )?(?:determined|known|answered|verified|confirmed)\b",
    r"\bthere (?:is|are) no (?:known|definite|definitive|recorded|clear)\b",
)
_IS_ABSTENTION = re.compile("|".join(_ABSTENTIONS), re.IGNORECASE)

_ABSTENTIONS_ALONE = frozenset((
    "not recorded", "unrecorded", "none recorded", "no record", "no records", "no information",
    "no data", "no answer", "not known", "unknown", "not available", "unavailable", "n a", "na",
    "not stated", "not specified", "unspecified", "not documented", "unclear", "undetermined",
    "cannot be determined", "i do not know", "i don't know", "do not know", "don't know",
    "dont know", "no idea", "not sure", "unsure", "cannot say", "can't say", "no comment",
    "i have no comment",
))  # fmt: skip


def normalise_answer(text: str) -> str:
    """Return an answer in the form in which it is compared.

    Lower case, no articles, punctuation or extra white space. Unlike the source, accents fall,
    numbers keep their sign and their decimals, thousands lose their comma, number words up to 99
    become numerals, punctuation separates words instead of gluing them, and an article stays
    before a single letter or at the end (`b a d` is a list of letters).

    Source: SQuAD v1.1 evaluation, `normalize_answer` (arXiv 1606.05250).
    """
    folded = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in folded if not unicodedata.combining(c)).lower()
    tokens = [_normal_token(match.group()) for match in _TOKEN.finditer(plain)]
    return " ".join(_with_numerals(_without_articles(tokens)))


def is_match(answer: str, accepted: Iterable[str]) -> bool:
    """Return whether an extracted answer equals one of the accepted ones, once normalised."""
    normal = normalise_answer(answer)
    return bool(normal) and any(normal == normalise_answer(one) for one in accepted)


def is_abstention(statement: str) -> bool:
    """Return whether one statement declines to answer.

    Patterns, in English: nothing is on record ("is not recorded", "no information", "remains
    unknown"); the speaker does not know ("I don't know", "I cannot say", "I have no record of",
    "I'm not sure"); nothing can be known ("cannot be determined"); or the statement as a whole is
    a set phrase ("unknown", "not recorded", "N/A").
    """
    straight = " ".join(statement.replace("’", "'").split())
    alone = re.sub(r"[^\w' ]+", " ", straight).lower().split()
    return " ".join(alone) in _ABSTENTIONS_ALONE or bool(_IS_ABSTENTION.search(straight))


def _normal_token(token: str) -> str:
    if token[0].isdigit() or token[0] in "-−":
        number = token.replace("−", "-").replace(",", "")
        return number.rstrip("0").rstrip(".") if "." in number else number
    return token.replace(".", "").replace("’", "").replace("'", "")


def _with_numerals(tokens: list[str]) -> list[str]:
    numerals: list[str] = []
    for before, token in zip(["", *tokens], tokens, strict=False):
        if before in _TENS and 0 < _NUMBERS.get(token, 0) < 10:
            numerals[-1] = str(_NUMBERS[before] + _NUMBERS[token])
        else:
            numerals.append(str(_NUMBERS.get(token, token)))
    return numerals


def _without_articles(tokens: list[str]) -> list[str]:
    following = [*tokens[1:], "a"]  # an article at the end stays, as in "vitamin A"
    return [
        token
        for token, after in zip(tokens, following, strict=False)
        if token not in ("a", "an", "the") or (len(after) == 1 and after.isalpha())
    ]
