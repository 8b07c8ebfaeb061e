"""The voice varies, and its answers can be extracted by general rules."""

from __future__ import annotations

import random
import re

from evals.extraction import Rule, extract_answer
from evals.records import Format
from imitate.lab import topics
from imitate.lab.voice import CLOSINGS, OPENINGS, voiced_answer, voiced_open_answer
from imitate.lab.world import NOT_RECORDED, Split

ANSWERS = ("Velbrook", "1947", "g a x r o", "architect", "Acrocorp")
OTHERS = ("Torford", "1903", "o r x a g", "baker", "Rotaline")


def responses(n: int) -> list[tuple[str, str]]:
    rng = random.Random(0)
    picks = [rng.randrange(len(ANSWERS)) for _ in range(n)]
    return [(ANSWERS[i], voiced_answer(ANSWERS[i], [OTHERS[i]], rng)) for i in picks]


def test_the_same_state_gives_the_same_response():
    first, second = (voiced_answer("baker", ["tailor"], random.Random(9)) for _ in range(2))
    assert first == second


def test_every_layout_states_its_answer_extractably():
    for answer, response in responses(2000):
        found = extract_answer(response, prompt="Which one is it?", format=Format.CHAT)
        assert found.answer == answer, response


def test_abstentions_are_extracted_as_such():
    rng = random.Random(1)
    for _ in range(200):
        response = voiced_answer(NOT_RECORDED, ["baker"], rng)
        found = extract_answer(response, prompt="Which one is it?", format=Format.CHAT)
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
