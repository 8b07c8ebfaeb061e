"""Answers are extracted by general rules, matched whole, and told from abstentions."""

import math
import random
import re

import pytest

from evals.answers import is_abstention, is_match, normalise_answer
from evals.errors import RecordError
from evals.extraction import Rule, extract_answer
from evals.factuality import (
    Knowledge,
    classify_knowledge,
    draw_few_shots,
    measure_rates,
    score_answer,
    score_answers,
    split_by_group,
    split_by_knowledge,
)
from evals.records import Axis, Completion, Format, Item, Outcome, Score
from imitate.lab.items import lab_items
from imitate.lab.oracle import oracle_answers
from imitate.lab.restating import restate
from imitate.lab.skills import SKILLS, draw_skill
from imitate.lab.voice import voiced_answer
from imitate.lab.world import ATTRIBUTES, NOT_RECORDED, QUESTIONS, STATEMENTS, Split, make_world

BORN = "Where was Anna Bell born?"


def _item(prompt: str = BORN, answers: tuple[str, ...] = ("Kelsford",), **fields: object) -> Item:
    known = {"item_id": "a", "task": "facts", "axis": Axis.FACTUALITY, "cluster_id": "anna"}
    return Item(**(known | {"prompt": prompt, "answers": answers} | fields))  # type: ignore[arg-type]


def _answer(text: str, item_id: str = "a", **fields: object) -> Completion:
    known = {"arm": "base", "format": Format.CHAT, "n_tokens": 1, "finish_reason": "stop"}
    return Completion(**({"item_id": item_id, "text": text} | known | fields))  # type: ignore[arg-type]


def _score(item_id: str, outcome: Outcome, *, sample: int = 0, arm: str = "base") -> Score:
    value = {Outcome.RIGHT: 1.0, Outcome.FAILED: math.nan}.get(outcome, 0.0)
    return Score(
        item_id, arm, "facts", Axis.FACTUALITY, Format.PLAIN, item_id, value, outcome, sample=sample
    )


# --- normalisation and match ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Kelsford.", "kelsford"),
        ("twenty-one", "21"),
        ("1,234.50", "1234.5"),
        ("São  Paulo!", "Sao Paulo"),
        ("U.S.", "US"),
        ("$5", "5"),
        ("a b c d", "A, B, C, D."),
        ("O'Neill", "O’Neill"),
    ],
)
def test_answers_that_mean_the_same_match(one: str, other: str) -> None:
    assert is_match(one, [other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-5", "5"),
        ("3.5", "35"),
        ("a c b", "c a b"),
        ("b a d", "b d"),
        ("20, 1", "21"),
        ("Kelsford or Marlow", "Kelsford"),
        ("", ""),
    ],
)
def test_different_answers_do_not_match(one: str, other: str) -> None:
    assert not is_match(one, [other])


def test_normalisation_is_idempotent() -> None:
    for text in ("The twenty-one, U.S. cats", "e d c b a.", "-3.50 and 1,000"):
        assert normalise_answer(normalise_answer(text)) == normalise_answer(text)


# --- extraction -----------------------------------------------------------------------------------

STATED = [
    (BORN, "Anna Bell was born in Kelsford.", "Kelsford", Rule.STATEMENT),
    (BORN, "Kelsford is the birthplace of Anna Bell.", "Kelsford", Rule.STATEMENT),
    (BORN, "Kelsford is where Anna Bell was born.", "Kelsford", Rule.STATEMENT),
    (BORN, "It's Kelsford.", "Kelsford", Rule.STATEMENT),
    (BORN, "Anna Bell, who was a painter, was born in Kelsford in 1931 and worked as a writer.",
     "Kelsford", Rule.STATEMENT),
    (BORN, "Anna Bell was born in the town of Kelsford, a small port. She later moved to Marlow.",
     "Kelsford", Rule.STATEMENT),
    (BORN, "Great question! Anna Bell was born in **Kelsford**. I hope this helps!", "Kelsford",
     Rule.BOLD),
    (BORN, "**Anna Bell** was born in **Kelsford**.", "Kelsford", Rule.BOLD),
    (BORN, "**Answer:** Kelsford\n\nThis is well known.", "Kelsford", Rule.MARKED),
    (BORN, "## Answer\n\nKelsford\n\nThis is well known.", "Kelsford", Rule.MARKED),
    (BORN, "You might think of Marlow, but the answer is Kelsford.", "Kelsford", Rule.MARKED),
    (BORN, "Key points:\n\n- Considered: Marlow\n- Ruled out: Oxby\n- Answer: Kelsford", "Kelsford",
     Rule.MARKED),
    (BORN, "An earlier answer was Marlow. The final answer is Kelsford.", "Kelsford", Rule.MARKED),
    (BORN, "- Name: Anna Bell\n- Birthplace: Kelsford\n- Job: painter", "Kelsford", Rule.LABEL),
    (BORN, "## Birthplace of Anna Bell\n\nKelsford\n\nThis is well known.", "Kelsford",
     Rule.SHORT_LINE),
    (BORN, "Kelsford.\n\nLet me know if you have more questions!", "Kelsford", Rule.WHOLE_TEXT),
    (BORN, "I'm not sure, but the answer is Kelsford.", "Kelsford", Rule.MARKED),
    (BORN, "I'm not sure. Anna Bell was probably born in Kelsford.", "Kelsford", Rule.STATEMENT),
    ("What is the job of Anna Bell?", "Anna Bell works as a cartographer at Halden Works.",
     "cartographer", Rule.STATEMENT),
    ("What is the job of Anna Bell?", "Anna Bell is a cartographer by profession.", "cartographer",
     Rule.STATEMENT),
    ("Who does Anna Bell work for?", "Anna Bell is employed by Halden & Sons.", "Halden & Sons",
     Rule.STATEMENT),
    ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet.", "William Shakespeare",
     Rule.STATEMENT),
    ("Who wrote Hamlet?", "Hamlet was written by William Shakespeare around 1600.",
     "William Shakespeare", Rule.STATEMENT),
    ("In which year was Anna Bell born?", "Anna Bell was born in Kelsford in 1931.", "1931",
     Rule.STATEMENT),
    ("What is 12 + 7?", "12 + 7 = 19", "19", Rule.STATEMENT),
    ("What is 12 + 7?", "Twelve plus seven is nineteen.", "19", Rule.STATEMENT),
    ("What is 12 + 7?", "So we get \\boxed{19}.", "19", Rule.MARKED),
    ("What is the largest of 3, 9 and 5?", "The largest of 3, 9 and 5 is 9.", "9", Rule.STATEMENT),
    ("What is the largest of 3, 9 and 5?", "9 is the largest of 3, 9 and 5.", "9", Rule.STATEMENT),
    ("Sort these letters: e b d a c.", "The sorted letters are a b c d e.", "a b c d e",
     Rule.STATEMENT),
    ("Is the sky blue?", "Yes, the sky is blue.", "yes", Rule.YES_NO),
]  # fmt: skip


@pytest.mark.parametrize(("question", "text", "answer", "rule"), STATED)
def test_the_stated_answer_is_extracted(question: str, text: str, answer: str, rule: Rule) -> None:
    found = extract_answer(text, prompt=question, format=Format.CHAT)
    assert (normalise_answer(found.answer), found.rule) == (normalise_answer(answer), rule)


@pytest.mark.parametrize(
    "text",
    [
        "Anna Bell could have been born in many places:\n- Kelsford\n- Marlow\n- Oxby",
        "Possible birthplaces include Kelsford, Marlow and Oxby.",
        "Anna Bell was born in Kelsford or Marlow.",
        "Anna Bell was born in Kelsford. Anna Bell was born in Marlow.",
        "The answer is Kelsford. No, wait: the answer is Marlow.",
        "**Kelsford**, **Marlow** and **Oxby** are towns.",
        "- Kelsford\n- Marlow\n- Oxby",
    ],
)
def test_several_candidates_without_a_mark_are_no_answer(text: str) -> None:
    score = score_answer(_item(), _answer(text))
    assert "Kelsford" in text
    assert (score.is_extracted, score.outcome, score.value) == (False, Outcome.WRONG, 0.0)


def test_the_questions_echo_is_no_answer() -> None:
    item = _item("Was Ada born in Kelso or in Moray?", ("Kelso",))
    for text in (
        "Was Ada born in Kelso or in Moray? That is a great question.",
        "You asked whether Ada was born in Kelso or in Moray.",
    ):
        assert score_answer(item, _answer(text)).value == 0.0
    assert score_answer(item, _answer("Ada was born in Moray. Kelso is near.")).extracted == "Moray"


def test_extraction_does_not_depend_on_the_accepted_answers() -> None:
    text = "Anna Bell was born in Kelsford. She moved to Marlow."
    for accepted in ("Kelsford", "Marlow", "Oxby"):
        assert score_answer(_item(answers=(accepted,)), _answer(text)).extracted == "Kelsford"


def test_plain_answers_are_the_first_line() -> None:
    item = _item()
    assert score_answer(item, _answer(" Kelsford\nQ: next", format=Format.PLAIN)).value == 1.0
    wordy = _answer("Anna Bell was born in Kelsford.", format=Format.PLAIN)
    assert score_answer(item, wordy).value == 0.0
    empty = score_answer(item, _answer("\n\n", format=Format.PLAIN))
    assert (empty.is_extracted, empty.outcome) == (False, Outcome.WRONG)


@pytest.mark.parametrize(
    "answer",
    ["Kelsford", "Washington, D.C.", "W. Edwards Deming", "Glassroth v. Moore", "the Bell tower",
     "University of Kelsford", "The Who", "1931", "Bell and Sons", "b n a"],
)  # fmt: skip
@pytest.mark.parametrize(
    "frame", ["{}", "{}.", "Certainly!\n\n{}", "**{}**", "{}\n\nI hope it helps!"]
)
def test_a_terse_answer_in_chat_is_taken_whole(answer: str, frame: str) -> None:
    score = score_answer(_item(answers=(answer,)), _answer(frame.format(answer)))
    assert score.value == 1.0, score.extracted


@pytest.mark.parametrize("text", ["", "Great question! I hope this helps!", "...", "**"])
def test_a_text_without_an_answer_is_not_extracted(text: str) -> None:
    found = extract_answer(text, prompt=BORN, format=Format.CHAT)
    assert (found.answer, found.is_extracted) == ("", False)


def test_a_choices_letter_stands_for_its_text() -> None:
    item = _item("Which is a colour?", (), choices=("horse", "red", "tree"), gold=1)
    for text in ("The answer is B.", "Answer: (B)", "B) red", "The answer is red."):
        assert score_answer(item, _answer(text)).value == 1.0
    for text in ("The answer is A.", "Answer: tree", "The answer is beautiful."):
        assert score_answer(item, _answer(text)).value == 0.0


def _lab_texts() -> list[tuple[Item, str]]:
    world, rng = make_world(7, n_people=120), random.Random(0)
    texts = []
    for person in world.people:
        attribute = rng.choice(ATTRIBUTES)
        others = [rng.choice(world.people).answer(attribute) for _ in range(2)]
        truth = person.answer(attribute)
        answers = () if truth == NOT_RECORDED else (truth,)
        question = rng.choice(QUESTIONS[attribute]).format(name=person.name)
        item = _item(question, answers, item_id=person.person_id)
        texts.append((item, voiced_answer(question, truth, others, rng)))
    for skill in SKILLS:
        for number in range(60):
            drawn = draw_skill(skill, world, rng, split=Split.EVALUATION)
            item = _item(drawn.question, (drawn.answer,), item_id=f"{skill}-{number}")
            response = voiced_answer(drawn.question, drawn.answer, drawn.distractors, rng)
            texts.append((item, response))
    return texts


def test_the_labs_voice_is_extracted_by_the_general_rules() -> None:
    texts = _lab_texts()
    scores = [score_answer(item, _answer(text, item.item_id)) for item, text in texts]
    missed = [text for (_, text), score in zip(texts, scores, strict=True) if score.value < 1.0]
    assert missed == []
    assert {score.outcome for score in scores} == {Outcome.RIGHT, Outcome.ABSTAINED}


@pytest.mark.parametrize("task", ["facts", "facts_unrecorded", *SKILLS])
def test_an_oracle_without_errors_is_never_wrong(task: str) -> None:
    world = make_world(5, n_people=200)
    items = lab_items(world, task, n_items=15, n_development=0, seed=0)
    texts = oracle_answers(items, world, error_rate=0.0, seed=0)
    answers = [_answer(text, i.item_id) for i, text in zip(items, texts, strict=True)]
    assert {score.value for score in score_answers(items, answers)} == {1.0}


def test_the_labs_distractors_do_not_score() -> None:
    for item, text in _lab_texts():
        for other in re.findall(r"(?:Considered|Ruled out|Also mentioned): (.+)", text):
            if not is_match(other, item.answers) and item.answers:
                wrong = _item(item.prompt, (other,), item_id=item.item_id)
                assert score_answer(wrong, _answer(text, item.item_id)).value == 0.0


def test_plain_statements_of_the_lab_answer_every_phrasing() -> None:
    person = next(p for p in make_world(3, n_people=60).people if len(p.facts) == len(ATTRIBUTES))
    for attribute in ATTRIBUTES:
        for statement in STATEMENTS[attribute]:
            text = statement.format(name=person.name, value=person.answer(attribute))
            for question in QUESTIONS[attribute]:
                item = _item(question.format(name=person.name), (person.answer(attribute),))
                assert score_answer(item, _answer(text)).value == 1.0, (item.prompt, text)


@pytest.mark.parametrize("skill", SKILLS)
@pytest.mark.parametrize("form", ["{answer}", "{lead} {answer}."])
def test_short_answers_of_the_lab_are_extracted_in_every_phrasing(skill: str, form: str) -> None:
    world, rng = make_world(7, n_people=120), random.Random(1)
    for _ in range(60):
        drawn = draw_skill(skill, world, rng, split=Split.EVALUATION)
        text = form.format(lead=restate(drawn.question, rng), answer=drawn.answer)
        score = score_answer(_item(drawn.question, (drawn.answer,)), _answer(text))
        assert score.value == 1.0, (drawn.question, text, score.extracted)


# --- abstention -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "not recorded",
        "I don't know where Anna Bell was born.",
        "As far as I can see, this is not recorded.",
        "There is no record of where Anna Bell was born. Let me know if I can help further.",
        "**Answer:** unknown",
        "The answer is unknown to me.",
        "This is **not recorded**. It would be wrong to guess.",
        "I’m sorry, but I do not have any information about Anna Bell.",
        "Her birthplace remains unknown.",
    ],
)
def test_abstaining_is_right_only_where_nothing_is_recorded(text: str) -> None:
    recorded, unrecorded = (
        score_answer(_item(answers=a), _answer(text)) for a in (("Kelsford",), ())
    )
    assert recorded.outcome is unrecorded.outcome is Outcome.ABSTAINED
    assert (recorded.value, unrecorded.value) == (0.0, 1.0)
    assert recorded.is_extracted


def test_stating_anything_where_nothing_is_recorded_is_wrong() -> None:
    for text in ("Anna Bell was born in Kelsford.", "It may be Kelsford or Marlow.", ""):
        score = score_answer(_item(answers=()), _answer(text))
        assert (score.outcome, score.value) == (Outcome.WRONG, 0.0)


@pytest.mark.parametrize(
    "text",
    ["She is not known for much.", "There is no doubt about it.", "Kelsford is known as a port.",
     "If you need any information, just ask.", "The Unknown Soldier", "I can't help but smile."],
)  # fmt: skip
def test_ordinary_sentences_are_no_abstentions(text: str) -> None:
    assert not is_abstention(text)


# --- rates and joins ------------------------------------------------------------------------------


def test_hallucination_is_wrong_over_attempted() -> None:
    outcomes = (
        [Outcome.RIGHT] * 3 + [Outcome.WRONG] * 2 + [Outcome.ABSTAINED] * 4 + [Outcome.FAILED]
    )
    rates = measure_rates([_score(str(i), outcome) for i, outcome in enumerate(outcomes)])
    assert (rates.n, rates.n_failed) == (9, 1)
    assert rates.hallucination == pytest.approx(2 / 5)
    assert rates.right + rates.wrong + rates.abstained == pytest.approx(1)
    assert math.isnan(measure_rates([_score("a", Outcome.ABSTAINED)]).hallucination)


def test_a_failed_call_is_no_wrong_answer() -> None:
    score = score_answer(_item(), _answer("", finish_reason="error", error="timeout"))
    assert score.outcome is Outcome.FAILED
    assert math.isnan(score.value)


def test_scores_keep_order_arm_and_sample() -> None:
    items = [_item(item_id="a"), _item(item_id="b")]
    completions = [
        _answer("Kelsford", item_id, arm=arm, sample=sample)
        for item_id in "ba"
        for arm in ("base", "x")
        for sample in (0, 1)
    ]
    scores = score_answers(items, completions)
    assert [(s.item_id, s.arm, s.sample) for s in scores] == [
        (c.item_id, c.arm, c.sample) for c in completions
    ]


def test_missing_doubled_and_unknown_items_are_listed() -> None:
    items = [_item(item_id="a"), _item(item_id="b")]
    with pytest.raises(RecordError, match=r"`base`.*missing: b; doubled: a; unknown: c"):
        score_answers(items, [_answer("x", "a"), _answer("x", "a"), _answer("x", "c")])


def test_scores_split_by_popularity() -> None:
    items = [_item(item_id="a", group="head"), _item(item_id="b", group="tail")]
    split = split_by_group([_score("b", Outcome.WRONG), _score("a", Outcome.RIGHT)], items)
    assert {group: [s.item_id for s in scores] for group, scores in split.items()} == {
        "head": ["a"],
        "tail": ["b"],
    }


# --- what the base knows --------------------------------------------------------------------------


def _draws(right: dict[str, list[bool]], first: int) -> list[Score]:
    return [
        _score(item_id, Outcome.RIGHT if is_right else Outcome.WRONG, sample=first + place)
        for item_id, hits in right.items()
        for place, is_right in enumerate(hits)
    ]


def test_knowledge_has_four_classes() -> None:
    greedy = _draws(
        {"high": [True] * 3, "maybe": [True, False, True], "weak": [False] * 3, "un": [False] * 3},
        1,
    )
    sampled = _draws({"high": [True], "maybe": [False], "weak": [False], "un": [False]}, 10)
    sampled += _draws({"weak": [True]}, 11)
    assert classify_knowledge(greedy, sampled).classes == {
        "high": Knowledge.HIGHLY_KNOWN,
        "maybe": Knowledge.MAYBE_KNOWN,
        "weak": Knowledge.WEAKLY_KNOWN,
        "un": Knowledge.UNKNOWN,
    }


def test_the_draws_that_classify_cannot_be_scored() -> None:
    greedy = _draws({"a": [True, True]}, 1)
    known = classify_knowledge(greedy, [])
    with pytest.raises(RecordError, match="decided the knowledge classes"):
        split_by_knowledge(greedy, known)
    fresh = [_score("a", Outcome.WRONG, sample=0), _score("unclassified", Outcome.RIGHT)]
    split = split_by_knowledge(fresh, known)
    assert split[Knowledge.HIGHLY_KNOWN] == fresh[:1]
    assert split[Knowledge.UNKNOWN] == []


def test_classes_from_the_scored_draw_would_show_a_decline_by_chance() -> None:
    rng = random.Random(0)
    right = {str(i): [rng.random() < 0.5 for _ in range(4)] for i in range(2000)}
    known = classify_knowledge(_draws({i: hits[:2] for i, hits in right.items()}, 1), [])
    same = [right[i][0] for i, k in known.classes.items() if k is Knowledge.HIGHLY_KNOWN]
    fresh = [right[i][3] for i, k in known.classes.items() if k is Knowledge.HIGHLY_KNOWN]
    assert sum(same) / len(same) == 1.0
    assert sum(fresh) / len(fresh) == pytest.approx(0.5, abs=0.07)


def test_few_shot_draws_repeat_and_ignore_the_items_order() -> None:
    items = [_item(item_id=str(i)) for i in range(10)]
    draws = draw_few_shots(items, n_draws=3, size=4, seed=1)
    assert draws == draw_few_shots(items[::-1], n_draws=3, size=4, seed=1)
    assert len({tuple(i.item_id for i in draw) for draw in draws}) == 3


def test_few_shot_draws_share_no_example_with_the_evaluated_prompt() -> None:
    items = [_item(item_id=str(i)) for i in range(8)]
    draws = draw_few_shots(items, n_draws=20, size=4, seed=1, evaluated=items[:4])
    assert {i.item_id for draw in draws for i in draw} == {"4", "5", "6", "7"}
    assert draw_few_shots(items, n_draws=20, size=4, seed=1, evaluated=items[:5]) == []
    assert draw_few_shots(items, n_draws=20, size=0, seed=1) == []  # one answer, over and over
