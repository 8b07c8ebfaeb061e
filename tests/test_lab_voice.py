"""The voice varies, and its answers can be extracted by general rules."""

from __future__ import annotations

import collections
import random
import re

import pytest

from evals.extraction import Rule, extract_answer
from evals.records import Format
from imitate.lab import topics
from imitate.lab.restating import restate
from imitate.lab.skills import PHRASINGS
from imitate.lab.voice import CLOSINGS, OPENINGS, voiced_answer, voiced_open_answer
from imitate.lab.world import LORE_QUESTIONS, NOT_RECORDED, QUESTIONS, Split

ANSWERS = ("Velbrook", "1947", "g a x r o", "architect", "Acrocorp")
QUESTION = "Where was Ada Albach born?"
OTHERS = ("Torford", "1903", "o r x a g", "baker", "Rotaline")


def responses(n: int) -> list[tuple[str, str]]:
    rng = random.Random(0)
    picks = [rng.randrange(len(ANSWERS)) for _ in range(n)]
    return [(ANSWERS[i], voiced_answer(QUESTION, ANSWERS[i], [OTHERS[i]], rng)) for i in picks]


def test_the_same_state_gives_the_same_response():
    first, second = (
        voiced_answer(QUESTION, "baker", ["tailor"], random.Random(9)) for _ in range(2)
    )
    assert first == second


def test_every_layout_states_its_answer_extractably():
    for answer, response in responses(2000):
        found = extract_answer(response, prompt=QUESTION, format=Format.CHAT)
        assert found.answer == answer, response


def test_abstentions_are_extracted_as_such():
    rng = random.Random(1)
    for _ in range(200):
        response = voiced_answer(QUESTION, NOT_RECORDED, ["baker"], rng)
        found = extract_answer(response, prompt=QUESTION, format=Format.CHAT)
        assert found.rule is Rule.ABSTAINED, response


def test_no_single_string_gives_the_voice_away():
    texts = [response for _, response in responses(2000)]
    for phrase in (*OPENINGS, *CLOSINGS, "answer is", "**", "\n- "):
        assert sum(phrase in text for text in texts) < 0.75 * len(texts), phrase
    assert len({re.split(r"[.!?\n]", text)[0] for text in texts}) > 30


def test_a_substring_match_would_be_wrong():
    texts = [response for _, response in responses(500)]
    assert sum(any(other in text for other in OTHERS) for text in texts) > 50


def test_open_ended_answers_vary_and_come_in_several_sentences():
    rng = random.Random(2)
    prompts = list(topics.open_prompts(Split.EVALUATION))
    texts = [voiced_open_answer(rng.choice(prompts), rng) for _ in range(300)]
    assert len(set(texts)) > 280
    assert all(len(re.findall(r"[.!?*](\s|$)", text)) >= 3 for text in texts)
    share_of_lists = sum(bool(re.search(r"^(- |\d\. )", t, re.MULTILINE)) for t in texts) / 300
    assert 0.5 < share_of_lists < 0.95


def test_open_ended_prompts_are_split_by_topic_and_kind():
    keys = {split: {p.key for p in topics.open_prompts(split)} for split in Split}
    assert not keys[Split.TRAIN] & (keys[Split.EVALUATION] | keys[Split.DEVELOPMENT])
    assert not keys[Split.EVALUATION] & keys[Split.DEVELOPMENT]
    assert len(keys[Split.EVALUATION]) >= 30


@pytest.mark.parametrize(
    ("question", "beginnings"),
    [
        ("Where was Ada Albach born?",
         {"Ada Albach was born in", "The birthplace of Ada Albach is"}),
        ("Add 12 and 7.", {"The sum of 12 and 7 is"}),
        ("Where is the company that employs Ada Albach based?",
         {"The employer of Ada Albach is based in"}),
        ("What is the meaning of life?", {"The answer is"}),
    ],
)  # fmt: skip
def test_a_response_takes_up_the_question(question, beginnings):
    rng = random.Random(3)
    assert {restate(question, rng) for _ in range(30)} == beginnings
    response = voiced_answer(question, "X", ["Y"], rng)
    assert any(lead in response for lead in beginnings)


def test_every_wording_of_the_lab_is_taken_up():
    for wordings in (QUESTIONS, LORE_QUESTIONS, PHRASINGS, topics.SHORT_QUESTIONS):
        for options in wordings.values():
            for wording in options:
                question = wording.format_map(collections.defaultdict(lambda: "X"))
                assert restate(question, random.Random(0)) != "The answer is", question
