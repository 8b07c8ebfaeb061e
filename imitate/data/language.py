"""The language of a row, by a stop-word rule: enough to keep English and to say what else is there.

The rule: of the distinct words, those on each language's list of frequent function words are
counted. The language with most of them is the row's, if they are at least 2 and at least 6 % of the
distinct words. Failing that, a row of fewer than 20 distinct words, all in Latin script, is
`unknown` (a bare name or number has no language), and everything else is `other`. Ordinary English
prose has 25 to 40 % of its distinct words on the list. Text whose letters are mostly outside Latin
script is `other` at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

__all__ = ["guess_language", "is_kept"]

_STOP_WORDS = {
    "en": "the of and to in is that it for was on are with as be this by at from have or an not "
    "which you can will what has their they would were there how been your when who but all we",
    "de": "der die und das ist nicht ein eine zu den mit sich auf für von dem im des auch es wie "
    "werden wird sind oder einer bei aus nach kann ich wenn über sie haben durch einen",
    "fr": "le la les des et est une un du que dans pour qui pas sur avec ce sont il au plus par ne "
    "vous se cette être ou ces aux nous mais comme elle leur peut",
    "es": "el la los las de que y en un una por con para es se del su no al lo como más pero sus "
    "este esta son entre también ser ha muy puede cuando",
    "it": "il di che la e un una per è in del non con sono della le dei si da come alla più anche "
    "gli questo nel ha delle essere ma dal può quando",
    "pt": "o a os as de que e do da em um uma para com não é por no na dos se mais como ao das foi "
    "são ou ser também pode seu sua",
    "nl": "de het een van en in is dat op te zijn voor met niet aan er die als ook maar om door "
    "bij wordt naar deze kan uit worden hebben",
}
_LANGUAGES: dict[str, tuple[str, ...]] = {}
for _language, _words in _STOP_WORDS.items():
    for _word in _words.split():
        _LANGUAGES[_word] = (*_LANGUAGES.get(_word, ()), _language)
_ALL_STOP_WORDS = frozenset(_LANGUAGES)

_MIN_HITS = 2
_MIN_SHARE = 0.06
_FEW_WORDS = 20
_LATIN_END = 0x250  # Latin, its accents and extensions lie below
_MAX_FOREIGN_SHARE = 0.3


def guess_language(words: Set[str], text: str) -> str:
    """Return `en`, `de`, `fr`, `es`, `it`, `pt`, `nl`, `other` or `unknown`.

    Args:
        words: The distinct words of the text, as `split_words` gives them.
        text: The text itself.
    """
    is_latin = text.isascii() or _is_latin(text)
    if not is_latin:
        return "other"
    hits = Counter(language for word in words & _ALL_STOP_WORDS for language in _LANGUAGES[word])
    if hits:
        count, language = max((count, language) for language, count in hits.items())
        if hits["en"] == count:
            language = "en"
        if count >= _MIN_HITS and count >= _MIN_SHARE * len(words):
            return language
    return "unknown" if len(words) < _FEW_WORDS else "other"


def is_kept(guessed: str, wanted: str) -> bool:
    """Return whether a row stays: its language is the wanted one, or too short to tell."""
    return wanted == "any" or guessed in (wanted, "unknown")


def _is_latin(text: str) -> bool:
    letters = [character for character in text[:2000] if character.isalpha()]
    foreign = sum(ord(character) >= _LATIN_END for character in letters)
    return foreign <= _MAX_FOREIGN_SHARE * len(letters)
