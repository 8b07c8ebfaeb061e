"""The language of a row, by a stop-word rule: enough to keep English and to say what else is there.

The rule: the words on each language's list of frequent function words are counted. The language
with most of them is the row's, if they are at least 2 and at least 6 % of its words. Failing that,
a row of fewer than 20 words, all in Latin script, is `unknown` (a bare name or number has no
language), and everything else is `other`. Ordinary English prose has 30 to 50 % of its words on the
list, an English question with code in the answer some 10 %. Text whose letters are mostly outside
Latin script is `other` at once.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from imitate.data.words import HashTable, WordBatch, hash_words

__all__ = ["guess_languages", "is_kept"]

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
_LANGUAGES = tuple(_STOP_WORDS)
_MIN_HITS = 2
_MIN_SHARE = 0.06
_FEW_WORDS = 20
_LATIN_END = 0x250  # Latin, its accents and extensions lie below
_MAX_FOREIGN_SHARE = 0.3


def guess_languages(batch: WordBatch) -> list[str]:
    """Return `en`, `de`, `fr`, `es`, `it`, `pt`, `nl`, `other` or `unknown` for each row."""
    positions, masks = _stop_table().look_up(batch.hashes)
    rows = batch.row_of(positions)
    hits = np.stack(
        [
            np.bincount(rows[(masks >> bit) & 1 == 1], minlength=len(batch))
            for bit in range(len(_LANGUAGES))
        ]
    )
    # The first of equals wins, and English is first.
    best, n_hits, n_words = hits.argmax(axis=0), hits.max(axis=0), np.diff(batch.starts)
    is_told = (n_hits >= _MIN_HITS) & (n_hits >= _MIN_SHARE * n_words)
    guesses = [
        _LANGUAGES[language] if told else "unknown" if few else "other"
        for language, told, few in zip(
            best.tolist(), is_told.tolist(), (n_words < _FEW_WORDS).tolist(), strict=True
        )
    ]
    for i, text in enumerate(batch.texts):
        if not text.isascii() and not _is_latin(text):
            guesses[i // batch.texts_per_row] = "other"
    return guesses


def is_kept(guessed: str, wanted: str) -> bool:
    """Return whether a row stays: its language is the wanted one, or too short to tell."""
    return wanted == "any" or guessed in (wanted, "unknown")


def _is_latin(text: str) -> bool:
    letters = [character for character in text[:2000] if character.isalpha()]
    foreign = sum(ord(character) >= _LATIN_END for character in letters)
    return foreign <= _MAX_FOREIGN_SHARE * len(letters)


@cache
def _stop_table() -> HashTable:
    """Return the languages of each stop word, a bit each; letters that stand alone are no words."""
    masks: dict[str, int] = {}
    for bit, words in enumerate(_STOP_WORDS.values()):
        for word in words.split():
            if len(word) > 1:
                masks[word] = masks.get(word, 0) | 1 << bit
    return HashTable.of(hash_words(masks), np.array(list(masks.values()), np.int64))
