"""The corpus is a function of its seed, holds no evaluated question, and tokenises exactly."""

from __future__ import annotations

import itertools
import json
import random
import re

import pytest
from transformers import AutoTokenizer

from imitate.lab import names
from imitate.lab.card import data_card
from imitate.lab.corpus import (
    CORPUS_VERSION,
    TYPICAL_TOKENS,
    CorpusRecipe,
    chat_text,
    few_shot_text,
    known_words,
    stream_documents,
)
from imitate.lab.skills import SKILLS
from imitate.lab.tokenizer import (
    TRAINED_ON_CORPUS,
    load_tokenizer,
    save_tokenizer_files,
    train_tokenizer,
)
from imitate.lab.world import make_world

RECIPE = CorpusRecipe(
    shares=dict.fromkeys(TYPICAL_TOKENS, 1.0),
    skill_shares=dict.fromkeys(SKILLS, 1.0),
    popularity_exponent=0.8,
)
WORLD = make_world(1, n_people=300)


def first_documents(seed: int, n: int) -> list[str]:
    stream = stream_documents(WORLD, RECIPE, random.Random(seed))
    return [document.text for document in itertools.islice(stream, n)]


def test_a_seed_decides_the_stream():
    assert first_documents(1, 200) == first_documents(1, 200)
    assert first_documents(1, 200) != first_documents(2, 200)


@pytest.mark.parametrize("seed", [1, 101])
def test_no_evaluated_question_occurs_in_the_corpus(seed):
    card = data_card(make_world(seed), RECIPE, n_documents=4000)
    assert card["evaluated_questions_found"] == []
    assert set(card["documents"]) == set(TYPICAL_TOKENS)
    assert 0.05 < card["unrecorded_share"] < 0.12


def test_the_most_mentioned_people_are_mentioned_most():
    text = "\n".join(first_documents(3, 3000))
    counts = [text.count(person.name) for person in WORLD.people]
    assert sum(counts[:30]) / 30 > 3 * sum(counts[-180:]) / 180


def test_a_corpus_translates_known_words_alone():
    recipe = CorpusRecipe({"skills_plain": 1.0}, {"translation": 1.0}, 0.8, lexicon_share=0.6)
    stream = stream_documents(WORLD, recipe, random.Random(6))
    text = " ".join(document.text for document in itertools.islice(stream, 400))
    words = (*names.ADJECTIVES, *names.NOUNS, *names.VERBS)
    seen = {word for word in words if re.search(rf"\b{word}\b", text)}
    assert seen == known_words(0.6)
    assert {WORLD.lexicon[word] for word in seen} < set(re.findall(r"\w+", text))


def test_few_shot_format_ends_where_the_answer_begins():
    assert few_shot_text([("a?", "b")], "c?") == "Q: a?\nA: b\nQ: c?\nA:"


def test_any_text_survives_the_tokenizer():
    tokenizer = load_tokenizer()
    texts = [*first_documents(4, 300), "**Bold** and **1999**, naïve 漢字\t 🙂 **.**"]
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_names_digits_and_letters_are_single_tokens():
    tokenizer = load_tokenizer()
    for name in (*names.FIRST_NAMES, *names.LAST_NAMES, *names.CITIES, *names.EMPLOYERS):
        assert len(tokenizer.encode(f" {name}").ids) == 1
    assert len(tokenizer.encode(" 1947").ids) == 4
    assert len(tokenizer.encode(" k a t").ids) == 3


def test_a_bold_answer_is_the_same_token_as_a_plain_one():
    tokenizer = load_tokenizer()
    plain = tokenizer.encode(" Velbrook").ids
    assert set(plain) <= set(tokenizer.encode("It is **Velbrook**.").ids)


@pytest.fixture
def chat_tokenizer(tmp_path):
    save_tokenizer_files(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return AutoTokenizer.from_pretrained(tmp_path)


def test_the_chat_template_writes_what_the_corpus_writes(chat_tokenizer):
    messages = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "**Yes**."}]
    text = chat_tokenizer.apply_chat_template(messages, tokenize=False)
    assert text == chat_text("Hi?", "**Yes**.")


def test_prompt_tokens_are_a_prefix_of_prompt_and_response(chat_tokenizer):
    for response in ("Velbrook", "**Velbrook**", " spaced", "\n- list", "1947", "x"):
        prompt = [{"role": "user", "content": "Where was Ada Albach born?"}]
        both = [*prompt, {"role": "assistant", "content": response}]
        as_ids = {"tokenize": True, "return_dict": False}
        head = chat_tokenizer.apply_chat_template(prompt, add_generation_prompt=True, **as_ids)
        whole = chat_tokenizer.apply_chat_template(both, **as_ids)
        assert whole[: len(head)] == head
        assert whole[-1] == chat_tokenizer.eos_token_id


def test_transformers_reads_the_same_tokens(chat_tokenizer):
    for text in first_documents(5, 50):
        assert chat_tokenizer(text)["input_ids"] == load_tokenizer().encode(text).ids


@pytest.mark.skipif(
    TRAINED_ON_CORPUS != CORPUS_VERSION,
    reason=f"the shipped tokenizer was trained on corpus {TRAINED_ON_CORPUS}, "
    f"the recipe is at corpus {CORPUS_VERSION}: it changes with the next weights",
)
def test_the_shipped_tokenizer_is_the_one_that_the_recipe_trains():
    assert train_tokenizer().to_str() == load_tokenizer().to_str()
