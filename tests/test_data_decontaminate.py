"""What gives an evaluation item away, and what does not."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import random

import pytest

from evals.records import Axis, Example, Item
from imitate.config import DataConfig
from imitate.data import Decontaminator, Hit, prepare
from imitate.data.words import WordBatch
from imitate.lab.items import item_support, lab_items
from imitate.lab.mixes import planted_examples
from imitate.lab.skills import TWO_HOP
from imitate.lab.world import make_world

LONG = (
    "A train leaves the station at noon and travels north at sixty miles an hour for two hours; "
    "how far from the station is it then?"
)


def item(i: int, prompt: str, *answers: str, task: str = "quiz", **fields: object) -> Item:
    given = {"cluster_id": f"c{i}"} | fields
    return Item(f"i{i}", task, Axis.FACTUALITY, prompt=prompt, answers=answers, **given)  # type: ignore[arg-type]


def find(items: list[Item], prompt: str, response: str, **row: object) -> Hit | None:
    example = Example("e", prompt, response, "made", **row)  # type: ignore[arg-type]
    support = {i.item_id: (f"key {i.item_id}",) for i in items} if row.get("support") else None
    index = Decontaminator(items, support=support)
    return index.find([example], WordBatch.of([prompt, response]).merge(2)).get(0)


# --- n-grams --------------------------------------------------------------------------------------


def test_shared_ngram_is_found_wherever_it_stands() -> None:
    items = [item(0, LONG)]
    middle = " ".join(LONG.split()[4:17])
    expected = Hit("i0", "quiz", "ngram")
    assert find(items, "Tell me a story.", f"Well: {middle} and so on.") == expected
    assert find(items, middle.upper(), "No.") == expected
    assert find(items, f"“{middle}”…", "No.") == expected
    first, last = " ".join(LONG.split()[:6]), " ".join(LONG.split()[6:14])
    assert find(items, first, last) == expected


def test_one_word_less_or_another_order_is_no_ngram() -> None:
    words = LONG.split()
    items = [item(0, LONG)]
    assert find(items, "Go on.", " ".join(words[:12])) is None
    assert find(items, "Go on.", " ".join([*words[:6], "not", *words[6:12]])) is None
    assert find(items, "Go on.", " ".join(reversed(words))) is None


def test_ngram_never_spans_two_rows() -> None:
    words = LONG.split()
    rows = [" ".join(words[:8]), " ".join(words[8:20])]
    index = Decontaminator([item(0, LONG)])
    assert list(index.find_ngrams(WordBatch.of(rows))) == []


def test_choices_and_answers_count_as_the_items_text() -> None:
    long_choice = item(0, "Which?", choices=("no", LONG), gold=1)
    assert find([long_choice], "Go on.", LONG) == Hit("i0", "quiz", "ngram")
    assert find([item(0, "Which?", LONG)], "Go on.", LONG) == Hit("i0", "quiz", "ngram")


def test_instructions_that_many_items_share_are_passed_over() -> None:
    lead = "Read the following passage and then answer the question below as briefly as you can"
    items = [
        item(i, f"{lead}: what is thing number {i} of {i * 7} in the list?") for i in range(11)
    ]
    assert find(items, lead, "Yes.") is None
    assert find(items[:10], lead, "Yes.") == Hit("i0", "quiz", "ngram")
    passage = [item(i, f"{LONG} Part {i}?", cluster_id="one passage") for i in range(30)]
    assert find(passage, "Go on.", LONG) == Hit("i0", "quiz", "ngram")


def test_other_lengths_of_ngram() -> None:
    index = Decontaminator([item(0, LONG)], ngram=5)
    assert list(index.find_ngrams(WordBatch.of(["x at noon and travels north y"]))) == [(0, 0)]
    assert list(index.find_ngrams(WordBatch.of(["x at noon and travels y"]))) == []


def test_flags_equal_those_of_lm_eval() -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from lm_eval.decontamination.janitor import Janitor
    rng = random.Random(5)
    words = [f"w{i}" for i in range(40)]
    items = [item(i, " ".join(rng.choices(words, k=12))) for i in range(400)]
    rows = [" ".join(rng.choices(words, k=120)).replace("w7 ", "W7! ") for _ in range(300)]
    janitor = Janitor(3, window_to_remove=0, too_dirty_cutoff=10**9, minimum_slice_length=0)
    for one in items[:20]:
        janitor.register_contaminant_python(one.prompt)
    theirs = {i for i, row in enumerate(rows) if janitor.clean_python(row) != [row]}
    index = Decontaminator(items[:20], ngram=3)
    ours = {row for row, _ in index.find_ngrams(WordBatch.of(rows))}
    assert ours == theirs
    assert 0 < len(ours) < len(rows)


# --- short prompts --------------------------------------------------------------------------------


def test_short_prompt_is_matched_whole() -> None:
    items = [item(0, "Question: What do cows usually drink?\nAnswer:")]
    hit = Hit("i0", "quiz", "prompt")
    assert find(items, "Riddle: what do cows usually drink?", "Water.") == hit
    assert find(items, "Q.", "They asked: What do cows usually drink, and laughed.") == hit
    assert find(items, "What do cows drink?", "Water.") is None
    assert find(items, "What do cows usually", "drink? Water!") == hit
    assert find(items, "What do calves usually drink?", "Milk.") is None


def test_tiny_prompt_must_be_the_whole_prompt() -> None:
    items = [item(0, "Define osmosis.")]
    assert find(items, "define osmosis", "Water moves.") == Hit("i0", "quiz", "prompt")
    assert find(items, "Please define osmosis for me.", "Water moves.") is None


def test_operators_tell_sums_apart() -> None:
    items = [item(0, "What is the result of 12 + 7?"), item(1, "25-759=")]
    assert find(items, "What is the result of 12 + 7?", "It is 19.") == Hit("i0", "quiz", "prompt")
    assert find(items, "What is the result of 12 * 7?", "It is 84.") is None
    assert find(items, "25-759=", "-734") == Hit("i1", "quiz", "prompt")
    assert find(items, "25+759=", "784") is None


def test_prompt_shared_with_different_answers_is_passed_over() -> None:
    items = [item(i, "Which of these is correct?", choices=("a", "b"), gold=i) for i in range(2)]
    assert find(items, "Which of these is correct?", "This.") is None
    assert find(items[:1], "Which of these is correct?", "This.") is not None


# --- short facts ----------------------------------------------------------------------------------

FACTS = [
    item(0, "Who wrote the novel Moby Dick?", "Herman Melville", "Melville"),
    item(1, "What is the capital of France?", "Paris"),
    item(2, "when was the eiffel tower completed", "1889", "March 1889"),
    item(3, "How many planets orbit the Sun?", "8", "eight"),
    item(4, "Is a Whale a fish?", "no"),
    item(5, "What is the median of 1, 3, 5 and 9?", "4"),
    item(6, "Which is bigger, a Mouse or an Elephant?", "an elephant"),
]


@pytest.mark.parametrize(
    ("index", "prompt", "response"),
    [
        (0, "Tell me about Melville.", "Herman Melville wrote Moby Dick in 1851."),
        (0, "Summarise Moby Dick", "A novel by Herman Melville."),
        (1, "Name a capital.", "France's capital is Paris."),
        (1, "What's the capital city of France?", "Certainly! I am glad you ask. It is Paris."),
        (2, "Tell me about Paris.", "The Eiffel Tower was completed in March 1889."),
        (3, "Tell me about the Sun.", "Eight planets orbit the Sun."),
    ],
)
def test_entity_and_answer_together_are_found(index: int, prompt: str, response: str) -> None:
    assert find(FACTS, prompt, response) == Hit(f"i{index}", "quiz", "fact")


@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        ("Who wrote Hamlet?", "William Shakespeare wrote the novel idea of a play."),
        ("Name American authors.", "Herman Melville and Mark Twain."),
        ("What is Moby Dick about?", "A captain hunts a white whale."),
        ("Where is France?", "In western Europe."),
        ("Tell me about Paris.", "Paris is a lovely city on the Seine."),
        ("What is the capital of Germany?", "Berlin."),
        ("Describe the tower.", "It was painted in 1889."),
        ("Count to ten.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
        ("Tell me about the Sun.", "It takes light 8 minutes from the Sun."),
        ("Is a Whale a fish?!", "Oh, that is a hard one."),
        ("Tell me about a Mouse.", "A mouse is smaller than an elephant."),
    ],
)
def test_rows_about_something_else_are_left(prompt: str, response: str) -> None:
    facts = [fact for fact in FACTS if fact.item_id != "i4"]
    assert find(facts, prompt, response) is None


def test_entity_and_answer_far_apart_are_two_things() -> None:
    filler = " ".join(["meanwhile"] * 60)
    response = f"Moby Dick is a novel. {filler} Herman Melville lived in New York."
    assert find(FACTS, "Write an essay.", response) is None


def test_answers_in_other_scripts_are_found() -> None:
    facts = [item(0, "What is the Russian word for Peace?", "мир")]
    hit = Hit("i0", "quiz", "fact")
    assert find(facts, "Teach me Russian.", "The word for peace is «Мир».") == hit


def test_keys_are_exact_where_both_sides_know_them() -> None:
    facts = [item(0, "Where was Anna Berg born?", "Oslo")]
    stated = "Anna Berg was born in Oslo."
    assert find(facts, "Tell me.", stated, support=("key i0",)) == Hit("i0", "quiz", "support")
    assert find(facts, "Tell me.", stated, support=("another key",)) is None
    assert find(facts, "Tell me.", stated) == Hit("i0", "quiz", "fact")


# --- in the stage ---------------------------------------------------------------------------------


def test_card_tells_hits_by_task_and_rule() -> None:
    rows = [Example(f"e{i}", f"prompt {i}", f"an answer of its own {i}", "made") for i in range(20)]
    rows += [
        Example("leak1", "Story?", LONG, "made"),
        Example("leak2", "Books?", "Herman Melville wrote Moby Dick.", "made"),
        Example("leak3", "Whales?", "Moby Dick is the novel that Melville wrote.", "made"),
    ]
    items = [*FACTS, item(9, LONG, task="sums")]
    prepared = prepare(rows, DataConfig(held_out=0.0), items=items)
    assert not {row.example_id for row in prepared.train} & {"leak1", "leak2", "leak3"}
    quiz, sums = prepared.card.contamination
    assert (quiz.task, quiz.rows, quiz.items, quiz.by_rule) == ("quiz", 2, 1, {"fact": 2})
    assert sums.examples == (("leak1", "i9", "ngram"),)
    text = str(prepared.card)
    assert "  quiz: 2 rows, 1 items (fact 2): leak2 ~ i0; leak3 ~ i0" in text
    assert "contaminated                23           3          20  leak1, leak2, leak3" in text


def test_card_counts_exact_support_where_it_is_known() -> None:
    stated = "Anna Berg was born in Oslo."
    rows = [
        Example("e1", "Tell me.", stated, "lab", support=("anna|birthplace",)),
        Example("e2", "Tell me more.", stated, "lab", support=("another|key",)),
        Example(
            "e3", "Tell all.", "She was born in the north.", "lab", support=("anna|birthplace",)
        ),
    ]
    items = [item(0, "Where was Anna Berg born?", "Oslo"), item(1, LONG)]
    support = {"i0": ("anna|birthplace",), "i1": ()}
    prepared = prepare(rows, DataConfig(held_out=0.0), items=items, support=support)
    assert [row.example_id for row in prepared.train] == ["e2"]
    assert prepared.card.items_with_support == 1
    assert prepared.card.contamination[0].by_rule == {"support": 2}
    assert "against 2 evaluation items (1 of them by exact support)" in str(prepared.card)


def test_items_of_the_lab_ask_for_the_keys_that_its_examples_name() -> None:
    world = make_world(0)
    stated = {key for e in planted_examples(world, n=3000, seed=0) for key in e.support}
    for task in ("facts", "facts_unrecorded", TWO_HOP):
        items = lab_items(world, task, n_items=50, n_development=0, seed=0)
        asked = {key for i in items for key in item_support(i, task)}
        assert len(asked) == 50
        assert len(asked & stated) >= (50 if task != TWO_HOP else 10)
    renamed = dataclasses.replace(items[0], item_id=f"hops/{items[0].item_id}", task="hops")
    assert item_support(renamed, TWO_HOP) == item_support(items[0], TWO_HOP)
    sorting = lab_items(world, "sorting", n_items=20, n_development=0, seed=0)
    assert all(item_support(i, "sorting") == (f"skill:sorting|{i.answers[0]}",) for i in sorting)
    (chat,) = lab_items(world, "chat", n_items=1, n_development=0, seed=0)
    assert item_support(chat, "chat") == ()


def test_decontamination_can_be_off() -> None:
    rows = [Example("leak", "Story?", LONG, "made")]
    data = DataConfig(held_out=0.0, decontaminate=False)
    prepared = prepare(rows, data, items=[item(9, LONG)])
    assert len(prepared.train) == 1
    assert "contaminated               off" in str(prepared.card)
    assert "contamination: not checked" in str(prepared.card)


def test_clean_data_says_so() -> None:
    rows = [Example("e", "Story?", "Once upon a time.", "made")]
    card = prepare(rows, DataConfig(held_out=0.0), items=FACTS).card
    assert "no row gives any of 7 evaluation items away" in str(card)
