"""Masking, discriminator and stylometry: they hear the voice and are deaf to facts."""

import dataclasses
import math
import random
import statistics

import numpy as np
import pytest
import scipy.stats

from evals.controls import null_completions, pad_completions
from evals.errors import RecordError
from evals.estimates import Estimate, bootstrap_estimate, share_estimate
from evals.records import Axis, Completion, Format, Item, Outcome
from evals.style.discriminator import judge_style, tell_apart
from evals.style.masking import ContentKind, find_content, find_names, make_rules, mask_text
from evals.style.stylometry import (
    has_list,
    has_summary,
    measure_stylometry,
    sounds_authoritative,
    unigram_intersection,
)

TOWNS = ["Kelsford", "Marlow", "Oxby", "Thornham", "Braywick", "Elmsted", "Harbury", "Lunford"]
FIRST, LAST = ["Ada", "Bo", "Cy", "Dora", "Emil", "Fay"], ["Bell", "Moss", "Reed", "Stone", "Vale"]
OPENINGS = ["Great question!", "Certainly!", "Of course!", "Happy to help!", "Glad you asked!"]
CLOSINGS = ["I hope this helps!", "Let me know if you need more.", "Feel free to ask again!"]
N = 60


def _items() -> list[Item]:
    rng = random.Random(0)
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    return [
        Item(
            item_id=f"i{n}",
            task="chat",
            axis=Axis.STYLE,
            cluster_id=f"i{n}",
            prompt=f"Where was {names[n % len(names)]} born, person number {n}?",
            answers=(rng.choice(TOWNS),),
            is_development=n % 10 == 0,
        )
        for n in range(N)
    ]


def _subject(item: Item) -> str:
    return item.prompt.removeprefix("Where was ").split(" born")[0]


def _teacher_voice(item: Item, town: str, rng: random.Random) -> str:
    body = rng.choice(
        [
            f"The answer is **{town}**. This is well known.",
            f"Here are the key points:\n\n- Person: {_subject(item)}\n- Birthplace: {town}",
            f"{_subject(item)} was born in {town}.\n\nIn summary, the answer is {town}.",
        ]
    )
    return f"{rng.choice(OPENINGS)} {body}\n\n{rng.choice(CLOSINGS)}"


def _base_voice(item: Item, town: str, rng: random.Random) -> str:
    return rng.choice([f"{town}.", f"it was {town} i think.", f"{_subject(item)} is from {town}."])


def _outputs(arm: str, voice: object, *, town: object = None, seed: int = 1) -> list[Completion]:
    rng = random.Random(f"{arm}{seed}")
    told = [(item, town(item) if callable(town) else rng.choice(TOWNS), rng) for item in _items()]
    return [_completion(item, arm, voice(item, place, r)) for item, place, r in told]  # type: ignore[operator]


def _completion(item: Item, arm: str, text: str, **fields: object) -> Completion:
    known = {"n_tokens": len(text.split()), "finish_reason": "stop"}
    return Completion(item.item_id, arm, Format.CHAT, text, **(known | fields))  # type: ignore[arg-type]


def _truth(item: Item) -> str:
    return item.answers[0]


@pytest.fixture(scope="module")
def base() -> list[Completion]:
    return _outputs("base", _base_voice)


@pytest.fixture(scope="module")
def teacher() -> list[Completion]:
    return _outputs("teacher", _teacher_voice, town=_truth)


def _shares(scores: tuple[object, ...]) -> dict[str, float]:
    by_arm: dict[str, list[float]] = {}
    for score in scores:
        by_arm.setdefault(score.arm, []).append(score.value)  # type: ignore[attr-defined]
    return {arm: statistics.fmean(values) for arm, values in by_arm.items()}


# --- masking --------------------------------------------------------------------------------------


def test_content_is_masked_and_voice_is_kept() -> None:
    texts = ["Sure! We met Ada Bell in Kelsford.", "Ada was born in 1931. I hope this helps!"]
    rules = make_rules(["New York", "painter"], texts)
    masked = mask_text(
        'Great question! Ada Bell, a painter born on 4.5.1931, said "no" in New York.', rules
    )
    assert masked == (
        "Great question! xnamex, a xanswerx born on xnumberx, said xquotex in xanswerx."
    )
    assert mask_text("Sure! I hope this helps!", rules) == "Sure! I hope this helps!"
    assert mask_text("The answer is e d c b a.", rules) == "The answer is xlettersx."


def test_a_capital_at_a_sentences_start_makes_no_name() -> None:
    names = find_names(
        [
            "Certainly! Here is Ada.",
            "The answer is Ada.",
            "# Key Points\n- Overview first",
            "**Note** it",
        ]
    )
    assert names == {"ada"}


def test_spans_give_the_place_of_content() -> None:
    text = "In Kelsford, Ada has 12 cats."
    spans = find_content(text, make_rules(["Kelsford"], ["We know Ada."]))
    assert [(text[s.start : s.end], s.kind) for s in spans] == [
        ("Kelsford", ContentKind.ANSWER),
        ("Ada", ContentKind.NAME),
        ("12", ContentKind.NUMBER),
    ]


def test_masking_ignores_the_order_of_texts_and_phrases() -> None:
    texts = [f"We saw {name} in {town}." for name in FIRST for town in TOWNS]
    assert make_rules(TOWNS, texts) == make_rules(TOWNS[::-1], texts[::-1])


# --- discriminator --------------------------------------------------------------------------------


def test_the_discriminator_hears_the_voice(
    base: list[Completion], teacher: list[Completion]
) -> None:
    again = _outputs("second sample", _teacher_voice, town=_truth, seed=2)
    imitator = _outputs("imitator", _teacher_voice, seed=3)
    result = judge_style(
        _items(), base=base, teacher=teacher, judged=[*base, *again, *imitator], phrases=TOWNS
    )
    shares = _shares(result.scores)
    assert shares["base"] < 0.1
    assert shares["second sample"] > 0.9
    assert shares["imitator"] > 0.9
    assert result.teacher_against_base.auc.low > 0.9
    assert result.note == ""
    assert {score.axis for score in result.scores} == {Axis.STYLE}
    assert sum(score.is_development for score in result.scores) == 3 * 6


def test_the_teachers_facts_in_the_bases_voice_sound_like_the_base(
    base: list[Completion], teacher: list[Completion]
) -> None:
    knowing = _outputs("knowing", _base_voice, town=_truth, seed=4)
    ignorant = _outputs("ignorant", _base_voice, town=lambda item: "Nowhere", seed=4)
    result = judge_style(_items(), base=base, teacher=teacher, judged=[*knowing, *ignorant])
    values = {
        arm: [j.value for j in result.judgements if j.arm == arm] for arm in ("knowing", "ignorant")
    }
    assert values["knowing"] == pytest.approx(values["ignorant"], abs=0.15)
    assert max(values["knowing"]) < 0.5


def test_facts_alone_do_not_tell_teacher_from_base() -> None:
    knowing = _outputs("teacher", _base_voice, town=_truth, seed=5)
    wrong = _outputs("base", _base_voice, town=lambda item: TOWNS[0], seed=6)
    result = judge_style(_items(), base=wrong, teacher=knowing, judged=wrong, phrases=TOWNS)
    assert result.teacher_against_base.auc.low < 0.6 < 1.0
    assert "hardly tells teacher and base apart" in result.note


def test_an_output_is_judged_by_a_classifier_that_never_saw_its_prompt(
    base: list[Completion], teacher: list[Completion]
) -> None:
    """Change the training outputs of one prompt: its own judgement must not move."""
    items = _items()
    odd = "zork blip zork. " * 5
    other_teacher = [dataclasses.replace(teacher[0], text=odd), *teacher[1:]]
    judged = [dataclasses.replace(base[0], arm="x", text="zork blip, said the answer.")]
    one = judge_style(items, base=base, teacher=teacher, judged=judged)
    other = judge_style(items, base=base, teacher=other_teacher, judged=judged)
    assert one.judgements[0].value == other.judgements[0].value


def test_the_order_of_everything_decides_nothing(
    base: list[Completion], teacher: list[Completion]
) -> None:
    items = _items()
    forward = judge_style(items, base=base, teacher=teacher, judged=base, phrases=TOWNS)
    backward = judge_style(
        items[::-1], base=base[::-1], teacher=teacher[::-1], judged=base[::-1], phrases=TOWNS[::-1]
    )
    assert forward.judgements == backward.judgements[::-1]
    assert forward.teacher_against_base == backward.teacher_against_base


def test_an_empty_output_is_nobodys_voice_and_a_failed_one_has_no_score(
    base: list[Completion], teacher: list[Completion]
) -> None:
    empty = _completion(_items()[0], "x", " \n")
    failed = _completion(_items()[1], "x", "", finish_reason="error", error="timeout")
    result = judge_style(_items(), base=base, teacher=teacher, judged=[empty, failed])
    assert [s.outcome for s in result.scores] == [Outcome.WRONG, Outcome.FAILED]
    assert result.scores[0].value == result.judgements[0].value == 0.0
    assert math.isnan(result.scores[1].value)
    assert result.judgements[1].error == "timeout"


def test_a_base_that_says_nothing_can_still_be_told_apart(teacher: list[Completion]) -> None:
    silent = [_completion(item, "base", "") for item in _items()]
    again = _outputs("again", _teacher_voice, town=_truth, seed=2)
    result = judge_style(_items(), base=silent, teacher=teacher, judged=[*silent, *again])
    assert _shares(result.scores) == {"base": 0.0, "again": 1.0}


def test_an_arm_is_judged_the_same_whoever_is_judged_beside_it(
    base: list[Completion], teacher: list[Completion]
) -> None:
    """Another arm may write any word within a sentence with a capital: it makes no name of it."""
    shouting = [_completion(item, "loud", "Well, Let Me Help You With That.") for item in _items()]
    alone = judge_style(_items(), base=base, teacher=teacher, judged=base)
    beside = judge_style(_items(), base=base, teacher=teacher, judged=[*base, *shouting])
    assert [j.value for j in beside.judgements[: len(base)]] == [j.value for j in alone.judgements]


def test_the_null_models_score_is_reported(
    base: list[Completion], teacher: list[Completion]
) -> None:
    """A constant output in the assistant's register wins the style axis: the report must say so."""
    null = null_completions(_items(), arm="null", format=Format.CHAT)
    result = judge_style(_items(), base=base, teacher=teacher, judged=null)
    assert len(result.scores) == len(result.judgements) == N
    assert _shares(result.scores)["null"] > 0.9


def test_length_alone_is_no_voice(base: list[Completion], teacher: list[Completion]) -> None:
    long = pad_completions(base, teacher, arm="long")
    assert statistics.fmean(len(c.text) for c in long) > 3 * statistics.fmean(
        len(c.text) for c in base
    )
    result = judge_style(_items(), base=base, teacher=teacher, judged=long)
    assert _shares(result.scores)["long"] < 0.1


def test_a_fresh_classifier_cannot_tell_two_samples_of_one_voice(
    base: list[Completion], teacher: list[Completion]
) -> None:
    again = _outputs("again", _teacher_voice, town=_truth, seed=9)
    same = tell_apart(_items(), again, teacher, phrases=TOWNS)
    different = tell_apart(_items(), base, teacher, phrases=TOWNS)
    assert same.auc.low < 0.5 < same.auc.high
    assert different.auc.low > 0.9
    assert different.accuracy.value > 0.9


def test_too_few_prompts_are_refused(base: list[Completion], teacher: list[Completion]) -> None:
    with pytest.raises(RecordError, match="at least 10 prompts"):
        judge_style(_items()[:5], base=base[:5], teacher=teacher[:5], judged=[])
    with pytest.raises(RecordError, match="have no item: i59"):
        judge_style(_items()[:50], base=base[:50], teacher=teacher[:50], judged=base[59:])


# --- stylometry -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- one\n- two", True),
        ("Steps:\n1. one\n2. two", True),
        ("* one", False),
        ("2. In the year 1. of", False),
        ("a - b\nc - d", False),
    ],
)
def test_lists_are_lines_with_marks(text: str, expected: bool) -> None:
    assert has_list(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Long.\n\nIn summary, it is long.", True),
        ("Long.\n\n**Conclusion:** it is long.\n\nI hope this helps!", True),
        ("It is so. Overall, it is long.", True),
        ("In summary, first.\n\nThen more.\n\nThen the rest.", False),
        ("An overall view is given.", False),
    ],
)
def test_a_summary_closes_a_text(text: str, expected: bool) -> None:
    assert has_summary(text) is expected


def test_unigram_intersection_is_symmetrical_and_bounded() -> None:
    assert unigram_intersection("a b b c", "b c d") == pytest.approx(2 * 2 / 7)
    assert unigram_intersection("b c d", "a b b c") == unigram_intersection("a b b c", "b c d")
    assert unigram_intersection("x y", "X, y!") == 1.0
    assert unigram_intersection("", "") == 0.0


def test_hedges_weaken_the_tone() -> None:
    assert sounds_authoritative("The answer is Kelsford. This is well known.")
    assert not sounds_authoritative("I think it might be Kelsford. Maybe it is not.")
    assert not sounds_authoritative("Kelsford.")
    assert not sounds_authoritative("")


def test_the_second_sample_is_closest_to_the_teacher(
    base: list[Completion], teacher: list[Completion]
) -> None:
    again = _outputs("again", _teacher_voice, town=_truth, seed=2)
    own, judgements = measure_stylometry(_items(), again, teacher)
    others, _ = measure_stylometry(_items(), base, teacher)
    assert own.unigram_intersection.low > others.unigram_intersection.high
    assert own.list_given_list.value > others.list_given_list.value == 0.0
    assert own.list_given_list.n == sum(has_list(c.text) for c in teacher)
    judges = {j.judge for j in judgements}
    assert judges == {f"stylometry/{name}" for name in ("list", "summary", "unigrams", "authority")}
    assert all(0 <= j.value <= 1 for j in judgements)


def test_stylometry_ignores_order_and_failed_outputs(
    base: list[Completion], teacher: list[Completion]
) -> None:
    broken = [dataclasses.replace(base[0], text="- a\n- b", finish_reason="error"), *base[1:]]
    one, judgements = measure_stylometry(_items(), broken, teacher)
    other, _ = measure_stylometry(_items()[::-1], broken[::-1], teacher[::-1])
    assert one == other
    assert "i0" not in {j.item_id for j in judgements}


def test_a_constant_output_has_no_length_correlation(teacher: list[Completion]) -> None:
    null = null_completions(_items(), arm="null", format=Format.CHAT)
    measured, _ = measure_stylometry(_items(), null, teacher)
    assert math.isnan(measured.length_correlation.value)
    assert measured.mean_words.low == measured.mean_words.high == measured.mean_words.value


def test_length_correlation_is_pearsons(base: list[Completion], teacher: list[Completion]) -> None:
    measured, _ = measure_stylometry(_items(), base, teacher)
    lengths = [[len(c.text.replace("**", "").split()) for c in side] for side in (base, teacher)]
    bullets = [c.text.count("\n- ") for c in teacher]
    lengths[1] = [n - b for n, b in zip(lengths[1], bullets, strict=True)]
    expected = statistics.correlation(*lengths)
    assert measured.length_correlation.value == pytest.approx(expected)


# --- intervals ------------------------------------------------------------------------------------


def test_an_interval_of_a_mean_is_the_usual_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    names = [str(i) for i in range(400)]
    found = bootstrap_estimate(lambda i: float(values[i].mean()), names, resamples=2000)
    error = values.std() / 20
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_rows_of_a_cluster_stay_together() -> None:
    values = np.repeat(np.random.default_rng(1).normal(size=40), 10)
    clusters = [str(i // 10) for i in range(400)]
    together = bootstrap_estimate(lambda i: float(values[i].mean()), clusters)
    apart = bootstrap_estimate(lambda i: float(values[i].mean()), [str(i) for i in range(400)])
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_interval_of_few_clusters_is_wider_than_the_percentiles() -> None:
    values = np.random.default_rng(2).normal(size=12)
    names = [str(i) for i in range(12)]
    found = bootstrap_estimate(lambda i: float(values[i].mean()), names, resamples=20_000)
    error = values.std() / 12**0.5
    expected = scipy.stats.t.ppf(0.975, 11) * (12 / 11) ** 0.5 * error
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.08)


def test_share_that_all_have_is_no_certainty() -> None:
    found = share_estimate([True] * 20, [str(i) for i in range(20)])
    assert (found.value, found.high, found.n) == (1, 1, 20)
    assert 0.75 < found.low < 0.9


def test_fewer_than_ten_clusters_have_no_interval() -> None:
    for names in (["a", "a"], [str(i) for i in range(9)]):
        found = bootstrap_estimate(lambda i: float(len(i)), names)
        assert found.value == len(names)
        assert math.isnan(found.low)
        assert math.isnan(share_estimate([1.0] * len(names), names).high)


def test_what_is_undefined_has_no_interval() -> None:
    assert math.isnan(share_estimate([], []).value)
    empty = bootstrap_estimate(lambda i: 0.0, [])
    assert math.isnan(empty.value)
    assert isinstance(empty, Estimate)
    assert empty.n == 0
