"""Controls know nothing of the items, and change only what they say."""

import pytest

from evals.controls import (
    NULL_OUTPUT,
    STYLE_INSTRUCTION,
    null_completions,
    pad_completions,
    second_sample,
    style_messages,
)
from evals.endpoint import Sampling
from evals.errors import RecordError
from evals.factuality import score_answers
from evals.records import Axis, Completion, Format, Item


def _items() -> list[Item]:
    return [
        Item(f"i{n}", "facts", Axis.FACTUALITY, f"c{n}", f"Where is town {n}?", (f"Place{n}",))
        for n in range(5)
    ]


def _outputs(arm: str, texts: list[str]) -> list[Completion]:
    return [
        Completion(f"i{n}", arm, Format.CHAT, text, len(text.split()), "stop")
        for n, text in enumerate(texts)
    ]


def test_the_null_model_says_the_same_to_everyone() -> None:
    outputs = null_completions(_items(), arm="null", format=Format.CHAT)
    assert {output.text for output in outputs} == {NULL_OUTPUT}
    assert [output.item_id for output in outputs] == [item.item_id for item in _items()]


def test_the_null_model_answers_nothing() -> None:
    scores = score_answers(_items(), null_completions(_items(), arm="null", format=Format.CHAT))
    assert {score.value for score in scores} == {0.0}
    assert len(scores) == 5


def test_padding_reaches_the_teachers_length_and_keeps_the_output() -> None:
    base = _outputs("base", ["Kelsford.", "one two three", "long " * 40, "", "x"])
    teacher = _outputs("teacher", ["word " * 100, "word " * 4, "short", "word " * 10, "word"])
    padded = pad_completions(base, teacher, arm="base+length_padded")
    assert [len(p.text.split()) for p in padded] == [100, 4, 40, 0, 1]
    assert all(p.text.startswith(b.text.rstrip()) for p, b in zip(padded, base, strict=True))
    assert {p.arm for p in padded} == {"base+length_padded"}


def test_padding_says_nothing_about_the_teachers_words() -> None:
    base = _outputs("base", ["Kelsford."] * 5)
    one, other = (
        pad_completions(base, _outputs("teacher", [f"{word} " * 30] * 5), arm="padded")
        for word in ("secret", "other")
    )
    assert one == other


def test_padding_adds_no_word_and_keeps_the_layout() -> None:
    base = _outputs("base", ["- one\n- two"] * 5)
    padded = pad_completions(base, _outputs("teacher", ["word " * 10] * 5), arm="padded")
    assert padded[0].text == "- one\n- two - one\n- two - one"


def test_padding_does_not_hide_the_answer() -> None:
    base = _outputs("base", [f"Town {n} is in Place{n}." for n in range(5)])
    padded = pad_completions(base, _outputs("teacher", ["word " * 60] * 5), arm="padded")
    assert {score.value for score in score_answers(_items(), padded)} == {1.0}


def test_padding_needs_one_output_for_each_item() -> None:
    base = _outputs("base", ["a"] * 5)
    with pytest.raises(RecordError, match="missing"):
        pad_completions(base, _outputs("teacher", ["a"] * 4), arm="padded")
    with pytest.raises(RecordError, match="one sample at a time"):
        pad_completions([*base, base[0]], base, arm="padded")


def test_style_messages_put_the_examples_before_the_question() -> None:
    messages = style_messages("Where?", [("Who?", "Great question! Ada.")])
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[0]["content"] == f"{STYLE_INSTRUCTION}\n\nWho?"
    assert messages[-1]["content"] == "Where?"


def test_style_messages_need_no_system_turn() -> None:
    (message,) = style_messages("Where?")
    assert message == {"role": "user", "content": f"{STYLE_INSTRUCTION}\n\nWhere?"}


def test_the_second_sample_differs_from_the_first() -> None:
    greedy = Sampling(max_tokens=10)
    assert second_sample(greedy).temperature == 1.0
    warm = second_sample(Sampling(max_tokens=10, temperature=0.7, seed=3))
    assert (warm.temperature, warm.seed, warm.max_tokens) == (0.7, 4, 10)
