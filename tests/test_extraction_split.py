"""A response by sentences: nothing is lost, and the sentences that state the answer are found."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.extraction import Sentence, join_sentences, split_response
from imitate.lab.voice import voiced_answer

QUESTION = "Where was Ada Moor born?"
PIECES = st.sampled_from(
    [
        "Sure!",
        "**Kelso**",
        "Ada was born",
        ". ",
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "## ",
        " ",
        "x",
        "?",
        ":",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_the_sentences_together_are_the_text(text: str) -> None:
    split = split_response(text, prompt=QUESTION)
    whole = "".join(map(str, split.sentences))
    assert text.startswith(whole)
    left = text[len(whole) :]
    assert not any(c.isalpha() for c in left)
    if split.sentences:
        assert any(sentence.states_answer for sentence in split.sentences)


@pytest.mark.parametrize("seed", range(40))
def test_every_layout_of_the_labs_voice_states_its_answer_once_or_more(seed: int) -> None:
    said = voiced_answer(QUESTION, "Kelso", ["Rome", "Ulm"], random.Random(seed))
    split = split_response(said, prompt=QUESTION)
    assert split.is_extracted
    for sentence in split.sentences:
        assert sentence.states_answer == ("Kelso" in sentence.text)


@pytest.mark.parametrize(
    ("said", "statement", "is_extracted"),
    [
        ("Great question! No source states it. Ask again.", "No source states it.", True),
        (
            "Sure! There is much to tell about her. Shall I?",
            "There is much to tell about her.",
            False,
        ),
        ("Kelso.", "Kelso.", True),
        ("", "", False),
    ],
)
def test_what_counts_as_the_statement(said: str, statement: str, is_extracted: bool) -> None:
    split = split_response(said, prompt=QUESTION)
    assert (split.statement, split.is_extracted) == (statement, is_extracted)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ("**Answer:** oboe", "First, stay honest.", "**Answer:** oboe\nFirst, stay honest."),
        ("It is an oboe.", "First, stay honest.", "It is an oboe. First, stay honest."),
        ("It is an oboe.", "oboes are old.", "It is an oboe.\noboes are old."),
    ],
)
def test_a_joined_sentence_begins_a_line_where_nothing_ends_the_one_before(
    first: str, second: str, text: str
) -> None:
    joined = join_sentences([Sentence("", first, True), Sentence(" ", second, False)])
    assert joined == text
    split = split_response(joined, prompt="What does Ada Moor play?")
    assert [s.text for s in split.sentences] == [first, second]
