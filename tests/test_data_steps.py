"""From examples to training data: each step, the order, the split, the card."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from datasketch import MinHash

from evals.errors import ConfigError, DataError
from evals.extraction import extract_answer
from evals.records import Example, Format
from imitate.config import DataConfig, NearDuplicates
from imitate.data import (
    Prepared,
    SourceCard,
    prepare,
    shuffle_responses,
    swap_explanations,
)
from imitate.data.dedup import Signer, find_near_duplicates
from imitate.data.language import guess_languages
from imitate.data.words import WordBatch, normalise_text, split_words, window_hashes
from imitate.lab.voice import voiced_answer

WORDS = [a + b + c for a in ("ka", "lo", "mi", "tu") for b in ("re", "so", "fa") for c in "bdfgk"]
PLAIN = DataConfig(near_duplicates=NearDuplicates(enabled=False), held_out=0.0)


def sentence(seed: int, n_words: int = 40) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choices(WORDS, k=n_words))


def example(i: int, **fields: str) -> Example:
    given = {"prompt": f"prompt {i}", "response": f"response {i}"} | fields
    return Example(f"e{i}", given["prompt"], given["response"], "made", given.get("category", ""))


def examples(n: int) -> list[Example]:
    return [example(i, response=sentence(i)) for i in range(n)]


def dropped(prepared: Prepared) -> dict[str, int]:
    return {step.step: step.dropped for step in prepared.card.steps if step.dropped}


def ids(rows: tuple[Example, ...]) -> list[str]:
    return [row.example_id for row in rows]


# --- words ----------------------------------------------------------------------------------------


def test_words_are_lower_case_without_punctuation() -> None:
    assert split_words("  It's a “well-known” Fact — or\u00a0not?\n") == [
        *("its", "a", "wellknown", "fact", "or", "not")
    ]
    assert split_words("naïve ÉCOLE… don’t") == ["naïve", "école", "dont"]


@pytest.mark.parametrize(
    "text", ["a  b\tc", " - a ... b", "Ünï\u2003cödé —x", "", "?!", "\x00a\x1fb"]
)
def test_hashed_words_are_the_split_words(text: str) -> None:
    batch = WordBatch.of(["before", text, "after"])
    alone = [WordBatch.of([word]).hashes[0] for word in split_words(text)]
    assert batch.hashes[batch.starts[1] : batch.starts[2]].tolist() == alone
    assert batch.words(1) == split_words(text)


def test_window_hash_depends_on_words_and_order_alone() -> None:
    batch = WordBatch.of(["a b c a b", "x a b", "b a", "a"])
    hashes, first = window_hashes(batch, 2)
    names = {int(p): int(h) for h, p in zip(hashes, first, strict=True)}
    assert sorted(names) == [0, 1, 2, 3, 5, 6, 8]
    assert names[0] == names[3] == names[6]
    assert len(set(names.values())) == 5
    _, first = window_hashes(batch, 3, whole_short_rows=True)
    assert first.tolist() == [0, 1, 2, 5, 8, 10]


# --- single rows ----------------------------------------------------------------------------------


def test_normalise_unifies_unicode_and_white_space() -> None:
    assert normalise_text("cafe\u0301 \r\nb\t\n c \r") == "café\nb\n c"


def test_normalise_is_counted_and_can_be_off() -> None:
    rows = [example(0, response="a  \nb"), example(1)]
    prepared = prepare(rows, PLAIN)
    assert prepared.card.steps[0].changed == 1
    assert {row.response for row in prepared.train} == {"a\nb", "response 1"}
    raw = prepare(rows, PLAIN.model_copy(update={"normalise": False}))
    assert {row.response for row in raw.train} == {"a  \nb", "response 1"}
    assert not raw.card.steps[0].is_enabled


def test_empty_and_too_long_rows_are_dropped() -> None:
    rows = [
        example(0),
        example(1, response=" \n"),
        example(2, prompt=""),
        example(3, response="x" * 100),
        example(4, response="ab"),
    ]
    data = PLAIN.model_copy(update={"max_chars": 50, "min_response_chars": 3})
    prepared = prepare(rows, data)
    assert dropped(prepared) == {"empty": 3, "too_long": 1}
    assert ids(prepared.train) == ["e0"]
    steps = {step.step: step for step in prepared.card.steps}
    assert steps["empty"].examples == ("e1", "e2", "e4")
    assert steps["too_long"].examples == ("e3",)


# --- duplicates -----------------------------------------------------------------------------------


def test_exact_duplicates_keep_the_first() -> None:
    rows = [example(0), example(1), Example("copy", "prompt 0", "response 0", "other")]
    prepared = prepare(rows, PLAIN)
    assert sorted(ids(prepared.train)) == ["e0", "e1"]
    assert dropped(prepared) == {"exact_duplicate": 1}
    kept = prepare(rows, PLAIN.model_copy(update={"exact_duplicates": False}))
    assert len(kept.train) == 3


def test_same_prompt_with_another_response_is_no_duplicate() -> None:
    rows = [example(0, prompt="p"), example(1, prompt="p")]
    assert len(prepare(rows, PLAIN).train) == 2


def test_signatures_are_those_of_datasketch() -> None:
    text = sentence(1, 30)
    batch = WordBatch.of([text, "one two"])
    signatures = Signer.of(64, 5).sign(batch)
    hashes, first = window_hashes(batch, 5, whole_short_rows=True)
    for row in range(2):
        reference = MinHash(num_perm=64, seed=1, scheme="affine32", hashfunc=int)
        reference.update_batch(h >> 32 for h in hashes[batch.row_of(first) == row].tolist())
        assert signatures[row].tolist() == reference.hashvalues.tolist()


def jaccard(one: str, other: str, n: int = 5) -> float:
    a, b = (
        {tuple(w[i : i + n]) for i in range(len(w) - n + 1)} for w in (one.split(), other.split())
    )
    return len(a & b) / len(a | b)


def edited(text: str, n_edits: int, seed: int) -> str:
    words, rng = text.split(), random.Random(seed)
    for _ in range(n_edits):
        words[rng.randrange(len(words))] = f"edit{rng.randrange(10**6)}"
    return " ".join(words)


def test_near_duplicates_are_found_and_strangers_are_not() -> None:
    originals = [sentence(i, 200) for i in range(150)]
    close = [edited(text, 1, i) for i, text in enumerate(originals)]
    far = [edited(text, 15, i) for i, text in enumerate(originals)]
    assert min(map(jaccard, originals, close)) > 0.93
    assert max(map(jaccard, originals, far)) < 0.65
    texts = [*originals, *close, *far]
    signatures = Signer.of(64, 5).sign(WordBatch.of(texts))
    found = find_near_duplicates(signatures, np.ones(len(texts), np.bool_), 0.8)
    assert not found[:150].any()
    assert found[150:300].mean() > 0.97
    assert found[300:].mean() < 0.05


def test_rows_without_words_are_nobodys_duplicates() -> None:
    signatures = Signer.of(64, 5).sign(WordBatch.of(["?", "!", "..."]))
    assert not find_near_duplicates(signatures, np.ones(3, np.bool_), 0.8).any()


def test_many_copies_leave_one() -> None:
    text = sentence(3, 100)
    rows = [example(i, prompt="same question", response=f"{text} end{i}") for i in range(300)]
    prepared = prepare(rows, DataConfig(held_out=0.0))
    assert ids(prepared.train) == ["e0"]
    assert dropped(prepared) == {"near_duplicate": 299}


def test_threshold_that_permutations_cannot_tell() -> None:
    near = NearDuplicates(permutations=1)
    with pytest.raises(ConfigError, match=r"threshold 0\.8 and 1 permutations"):
        prepare(examples(3), DataConfig(near_duplicates=near))


# --- language -------------------------------------------------------------------------------------

TEXTS = {
    "en": "The cat sat on the mat and it was not amused by what they had said to it.",
    "de": "Der Hund ist nicht auf dem Sofa, sondern mit der Katze in dem Garten und wird nass.",
    "fr": "Le chat est sur la table et il ne veut pas que les enfants jouent avec une balle.",
    "es": "El perro está en la casa con los niños y no quiere salir por la puerta de atrás.",
    "other": "Это простое предложение на русском языке, и в нём достаточно слов для проверки.",
    "unknown": "Paris",
}


def test_languages_are_told_by_stop_words() -> None:
    assert guess_languages(WordBatch.of(list(TEXTS.values()))) == list(TEXTS)


def test_chinese_without_spaces_is_other() -> None:
    assert guess_languages(WordBatch.of(["请写一首关于秋天的诗。"])) == ["other"]


def test_english_question_with_code_is_english() -> None:
    code = "def f(x):\n    return [y ** 2 for y in range(x)]\n" * 4
    assert guess_languages(
        WordBatch.of([f"Write a function that returns the squares of the numbers.\n{code}"])
    ) == ["en"]


def test_letters_that_stand_alone_are_in_no_language() -> None:
    batch = WordBatch.of(["Spell this backwards: a e o y. The answer is y o e a."])
    assert guess_languages(batch) == ["en"]


def test_language_filter_keeps_english_and_what_is_too_short_to_tell() -> None:
    rows = [example(i, prompt="?!", response=text) for i, text in enumerate(TEXTS.values())]
    prepared = prepare(rows, PLAIN.model_copy(update={"language": "en"}))
    assert {row.response for row in prepared.train} == {TEXTS["en"], TEXTS["unknown"]}
    assert prepared.card.languages == dict.fromkeys(sorted(TEXTS), 1)


# --- mix, split, amounts --------------------------------------------------------------------------


def categorised() -> list[Example]:
    counts = {"code": 200, "chat": 60, "poem": 40}
    names = [name for name, count in counts.items() for _ in range(count)]
    return [example(i, category=name) for i, name in enumerate(names)]


def test_category_shares_hold_in_every_prefix() -> None:
    data = PLAIN.model_copy(update={"category_shares": {"code": 0.5, "chat": 0.3, "poem": 0.2}})
    prepared = prepare(categorised(), data)
    assert prepared.card.categories == {"code": 100, "chat": 60, "poem": 40}
    for length in (10, 50, 130):
        prefix = [row.category for row in prepared.train[:length]]
        for name, share in data.category_shares.items():
            assert abs(prefix.count(name) - share * length) <= 1


def test_shares_below_one_are_filled_by_the_others() -> None:
    data = PLAIN.model_copy(update={"category_shares": {"poem": 0.25}})
    categories = prepare(categorised(), data).card.categories
    assert categories["poem"] == 40
    assert categories["code"] + categories["chat"] == 120


def test_shares_above_one() -> None:
    data = PLAIN.model_copy(update={"category_shares": {"code": 0.8, "chat": 0.3}})
    with pytest.raises(ConfigError, match=r"`data\.category_shares` add up to 1\.1, more than 1"):
        prepare(categorised(), data)


def test_share_of_a_category_that_is_not_there() -> None:
    data = PLAIN.model_copy(update={"category_shares": {"prose": 0.5}})
    message = "names `prose`, of which no row is left; categories are chat, code, poem"
    with pytest.raises(DataError, match=message):
        prepare(categorised(), data)


def test_smaller_amount_is_a_prefix() -> None:
    rows, data = examples(100), DataConfig()
    whole = prepare(rows, data, seed=3)
    some = prepare(rows, data, seed=3, amount=20)
    assert some.train == whole.train[:20]
    assert some.held_out == whole.held_out
    assert len(whole.train) == 90
    assert len(whole.held_out) == 10


def test_order_does_not_depend_on_the_file_and_does_on_the_seed() -> None:
    rows = examples(60)
    one = prepare(rows, DataConfig(), seed=1)
    assert prepare(rows[::-1], DataConfig(), seed=1).train == one.train
    other = prepare(rows, DataConfig(), seed=2)
    assert other.train != one.train
    assert set(ids(other.held_out)) != set(ids(one.held_out))


def test_all_rows_of_a_prompt_are_on_one_side() -> None:
    rows = [example(i, prompt=f"What is {i // 5}", response=sentence(i)) for i in range(200)]
    rows += [
        example(1000 + i, prompt=f"what is {i}?", response=sentence(i + 900)) for i in range(40)
    ]
    prepared = prepare(rows, DataConfig(held_out=0.25))
    train, held_out = (
        {" ".join(split_words(row.prompt)) for row in side}
        for side in (prepared.train, prepared.held_out)
    )
    assert not train & held_out
    assert len(held_out) == 10 == prepared.card.held_out_prompts
    assert len(prepared.held_out) == 60


def test_held_out_prompts_are_capped() -> None:
    data = DataConfig(held_out=0.5, max_held_out=7)
    prepared = prepare(examples(100), data)
    assert (len(prepared.held_out), len(prepared.train)) == (7, 93)


def test_too_few_rows_for_the_amount_tell_what_took_them() -> None:
    rows = [*examples(10), *examples(10), example(90, response="")]
    message = (
        "50 training examples are wanted, 9 are left: 21 examples read; "
        "`empty` took 1, `exact_duplicate` took 10, `held_out` took 1"
    )
    with pytest.raises(DataError, match=message) as caught:
        prepare(rows, DataConfig(), amount=50)
    assert "at most 9" in str(caught.value.hint)


def test_nothing_left_tells_which_step_took_it() -> None:
    rows = [example(i, response=TEXTS["de"] + str(i)) for i in range(4)]
    data = PLAIN.model_copy(update={"language": "en"})
    message = "no training example is left: 4 examples read; `language` took 4"
    with pytest.raises(DataError, match=message):
        prepare(rows, data)


def test_no_examples_at_all() -> None:
    with pytest.raises(DataError, match="no training example is left: 0 examples read"):
        prepare([], DataConfig())


def test_examples_are_read_once_and_progress_is_told() -> None:
    told: list[int] = []

    def stream() -> Iterator[Example]:
        yield from examples(1300)

    prepared = prepare(stream(), PLAIN, progress=told.append)
    assert len(prepared.train) == 1300
    assert told == sorted(told)
    assert told[-1] == 1300


def test_support_and_category_survive() -> None:
    row = Example("e", "prompt", "response", "lab", "chat", ("p1|job", "p2|year"))
    assert prepare([row], PLAIN).train == (row,)


# --- the card -------------------------------------------------------------------------------------


def test_card_adds_up_and_is_the_same_each_time() -> None:
    rows = [*examples(50), *examples(5), example(77, prompt="")]
    sources = [SourceCard("made", rows=56, examples=56)]
    prepared = prepare(rows, DataConfig(), amount=30, sources=sources)
    card = prepared.card.as_json()
    steps = card["steps"]
    assert [step["step"] for step in steps] == [
        *("normalise", "empty", "too_long", "exact_duplicate", "near_duplicate", "language"),
        *("contaminated", "category_mix", "held_out", "beyond_amount"),
    ]
    for before, after in pairwise(steps):
        assert before["rows_out"] == after["rows_in"]
    assert steps[0]["rows_in"] == 56
    assert steps[-1]["rows_out"] == 30 == card["train"]
    assert sum(step["dropped"] for step in steps) == 26
    again = prepare(rows, DataConfig(), amount=30, sources=sources).card
    assert json.dumps(card) == json.dumps(again.as_json())
    assert str(prepared.card) == str(again)


def test_card_as_text_shows_steps_and_lengths() -> None:
    rows = [*examples(20), *examples(2)]
    text = str(prepare(rows, DataConfig()).card)
    assert "exact_duplicate             22           2          20  e0, e1" in text
    assert "language                   off" in text
    assert "response_words           40       40       40       40       40" in text
    assert "contamination: not checked" in text


# --- shuffled responses ---------------------------------------------------------------------------


def test_shuffled_responses_leave_their_prompts() -> None:
    train = [Example(f"e{i}", f"p{i}", f"r{i}", "made", "c", ("k",)) for i in range(50)]
    shuffled = shuffle_responses(train, seed=1)
    assert [row.prompt for row in shuffled] == [row.prompt for row in train]
    assert sorted(row.response for row in shuffled) == sorted(row.response for row in train)
    for before, after in zip(train, shuffled, strict=True):
        assert after.response != before.response
        assert after.support == ()
        assert after.source == "made (shuffled)"
        assert after.category == "c"
    assert shuffle_responses(train, seed=1) == shuffled
    assert shuffle_responses(train, seed=2) != shuffled


def test_shuffled_response_is_never_the_same_text_where_that_can_be() -> None:
    train = [example(i, response="yes" if i % 2 else f"r{i}") for i in range(40)]
    for before, after in zip(train, shuffle_responses(train, seed=0), strict=True):
        assert after.response != before.response


def test_one_example_cannot_be_shuffled() -> None:
    with pytest.raises(DataError, match="responses of 1 example cannot be permuted"):
        shuffle_responses(examples(1), seed=0)


# --- swapped explanations -------------------------------------------------------------------------

ASKED = ("Where was Ada Moor born?", "Where was Ben Ray born?", "How do I cook rice?")
SAID = (
    "Sure! Ada Moor was born in **Kelso**. It is a small town.\n\nI hope this helps!",
    "Key points:\n\n- Ruled out: Rome\n- Ben Ray was born in **Ulm**.\n- The answer is Ulm.",
    "Cooking rice is easy. Here are the steps:\n\n1. Wash it.\n2. Boil it.",
)


def asked_and_said(repeats: int = 1) -> list[Example]:
    pairs = list(zip(ASKED, SAID, strict=True)) * repeats
    return [Example(f"e{i}", *pair, "made", "c", ("k",)) for i, pair in enumerate(pairs)]


def test_a_swapped_answer_stands_where_the_others_stood() -> None:
    swapped = {}
    for seed in range(4):  # three rows can go round in two ways
        for row in swap_explanations(asked_and_said(), seed).examples:
            swapped[row.example_id] = row.response
    assert swapped == {
        "e0~e1": "Key points:\n\n- Ruled out: Rome\n- Ada Moor was born in **Kelso**.",
        "e0~e2": "Ada Moor was born in **Kelso**. Here are the steps:\n\n1. Wash it.\n2. Boil it.",
        "e1~e0": "Sure! Ben Ray was born in **Ulm**. The answer is Ulm. It is a small town.\n\n"
        "I hope this helps!",
        "e1~e2": "Ben Ray was born in **Ulm**. The answer is Ulm. Here are the steps:\n\n"
        "1. Wash it.\n2. Boil it.",
        "e2~e0": "Sure! Cooking rice is easy. It is a small town.\n\nI hope this helps!",
        "e2~e1": "Key points:\n\n- Ruled out: Rome\n- Cooking rice is easy.",
    }


def test_swapping_keeps_prompts_answers_and_every_explanation() -> None:
    train = asked_and_said(repeats=8)
    swapped = swap_explanations(train, seed=1)
    assert [row.prompt for row in swapped.examples] == [row.prompt for row in train]
    assert all(row.support == ("k",) for row in swapped.examples)
    assert {row.source for row in swapped.examples} == {"made (explanation swapped)"}
    stated = {ASKED[0]: "Kelso", ASKED[1]: "Ulm", ASKED[2]: "Cooking rice is easy."}
    explained = {ASKED[0]: "small town", ASKED[1]: "Ruled out", ASKED[2]: "Boil it."}
    for row in swapped.examples:
        assert stated[row.prompt] in row.response
        assert explained[row.prompt] not in row.response
    for part in explained.values():
        assert sum(part in row.response for row in swapped.examples) == 8
    assert swapped == swap_explanations(train, seed=1)
    assert swapped != swap_explanations(train, seed=2)


def test_the_foreign_words_of_swapped_responses_are_counted() -> None:
    found = swap_explanations(asked_and_said(), seed=0)
    n_words = sum(len(row.response.split()) for row in found.examples)
    assert found.foreign_share == pytest.approx((10 + 6 + 10) / n_words)
    assert found.n_extracted == 3


def test_rows_without_an_answer_keep_their_first_sentence_and_are_counted() -> None:
    said = [f"Sure! The source does not tell more of her, {i}. Ask again." for i in range(4)]
    rows = [Example(f"e{i}", ASKED[0], text, "made") for i, text in enumerate(said)]
    found = swap_explanations(rows, seed=0)
    assert found.n_extracted == 0
    assert sorted(row.response for row in found.examples) == said


def test_the_labs_answers_are_read_as_the_same_under_another_explanation() -> None:
    answers = [
        ("oboe", ["flute", "lute"]),
        ("harp", ["oboe", "viola"]),
        ("viola", ["drum", "lute"]),
    ]
    rows = []
    for i in range(60):
        answer, wrong = answers[i % 3]
        said = voiced_answer("What does Ada Moor play?", answer, wrong, random.Random(i))
        rows.append(Example(f"e{i}", "What does Ada Moor play?", said, "made"))
    found = swap_explanations(rows, seed=0)
    assert found.n_extracted == 60
    for row, swapped in zip(rows, found.examples, strict=True):
        assert extract(swapped) == extract(row)
    assert found.n_same == 60


def test_an_answer_that_the_other_explanation_hides_is_counted() -> None:
    told = ("The answer is Kelso.", "It may be. Final answer: Ulm. Final answer: Rome.")
    rows = [Example(f"e{i}", ASKED[0], text, "made") for i, text in enumerate(told)]
    found = swap_explanations(rows, seed=0)
    assert (found.n_extracted, found.n_same) == (1, 0)


def extract(row: Example) -> str:
    return extract_answer(row.response, prompt=row.prompt, format=Format.CHAT).answer


def test_one_example_cannot_be_swapped() -> None:
    with pytest.raises(DataError, match="responses of 1 example cannot be permuted"):
        swap_explanations(examples(1), seed=0)
