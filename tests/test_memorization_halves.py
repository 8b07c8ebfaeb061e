"""Bits of training responses: known answers, both signs, voice and content apart."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from evals.endpoint import Message, TokenLogprobs
from evals.errors import ModelError, RecordError
from evals.memorization.halves import ScoredResponse, measure_memorization
from evals.records import Example
from evals.style.masking import ContentKind, Span, find_content, make_rules
from imitate.stages.training import response_pair

LN2 = math.log(2)


def _tokens(bits: list[float], starts: list[int] | None = None) -> TokenLogprobs:
    """Return tokens whose code lengths are the given bits."""
    places = starts if starts is not None else list(range(0, 4 * len(bits), 4))
    logprobs = -np.array(bits) * LN2
    nothing = np.zeros(len(logprobs))
    return TokenLogprobs(logprobs, np.array(places, dtype=np.int64), nothing > 0, nothing)


def _response(
    name: str,
    member: list[float],
    reference: list[float],
    content: tuple[Span, ...] = (),
    base: list[float] | None = None,
) -> ScoredResponse:
    before = _tokens(reference if base is None else base)
    return ScoredResponse(name, name, _tokens(member), _tokens(reference), before, content)


def _noise(n: int, *, gain: float, seed: int = 0) -> list[ScoredResponse]:
    rng = np.random.default_rng(seed)
    return [
        _response(
            str(i),
            rng.normal(3.0, 0.5, 8).tolist(),
            rng.normal(3.0 + gain, 0.5, 8).tolist(),
            (Span(0, 8, ContentKind.NAME),),
        )
        for i in range(n)
    ]


def test_a_planted_gain_is_measured_in_bits() -> None:
    responses = [_response("a", [1, 1, 1], [2, 3, 4]), _response("b", [2], [1])]
    found = measure_memorization(responses)
    assert found.bits.value == pytest.approx(6 - 1)
    assert found.truncated_bits.value == pytest.approx(6)
    assert found.bits_per_example.value == pytest.approx(5 / 2)
    assert found.bits_per_token.value == pytest.approx(5 / 4)
    assert [one.bits for one in found.responses] == pytest.approx([6, -1])


def test_nothing_memorised_gives_zero_but_the_truncated_sum_does_not() -> None:
    found = measure_memorization(_noise(300, gain=0.0))
    assert found.bits.low < 0 < found.bits.high
    assert found.truncated_bits.low > 100


def test_memorisation_is_found_with_an_interval_around_the_truth() -> None:
    found = measure_memorization(_noise(300, gain=0.25))
    assert found.bits.low < 300 * 8 * 0.25 < found.bits.high
    assert found.bits_per_token.low > 0


def test_voice_and_content_tokens_add_up() -> None:
    found = measure_memorization(_noise(50, gain=0.5))
    assert found.n_tokens == 400
    assert found.n_content_tokens == 100
    assert found.voice_bits.value + found.content_bits.value == pytest.approx(found.bits.value)
    assert found.voice_bits_per_token.value == pytest.approx(found.voice_bits.value / 300)


def test_the_space_before_a_name_belongs_to_it() -> None:
    text = "Ada was born in Kelsford. Good."
    spans = tuple(find_content(text, make_rules(["Kelsford"], ["We met Ada."])))
    starts = [0, 3, 7, 12, 15, 18, 24, 25]  # Ada| was| born| in| Ke|lsford|.| Good.
    bits = [float(2**place) for place in range(8)]
    sure, other = _tokens([0.0] * 8, starts), _tokens(bits, starts)
    response = ScoredResponse("a", "a", sure, other, other, spans)
    (one,) = measure_memorization([response]).responses
    assert one.content_bits == pytest.approx(1 + 16 + 32)
    assert one.n_content_tokens == 3
    assert one.voice_bits == pytest.approx(255 - 49)


def test_swapping_the_adapters_turns_the_sign() -> None:
    one = measure_memorization([_response("a", [1, 2], [3, 5])])
    other = measure_memorization([_response("a", [3, 5], [1, 2])])
    assert one.bits.value == -other.bits.value == pytest.approx(5)
    assert other.truncated_bits.value == 0


def test_code_lengths_add_up_in_double_precision() -> None:
    many = [0.1] * 100_000
    found = measure_memorization([_response("a", many, [0.2] * 100_000)])
    assert found.bits.value == pytest.approx(10_000, abs=1e-6)


def test_responses_to_one_prompt_are_resampled_together() -> None:
    responses = _noise(100, gain=0.2)
    apart = measure_memorization(responses)
    doubled = measure_memorization(
        [
            dataclasses.replace(response, example_id=f"{response.example_id}{k}")
            for response in responses
            for k in range(4)
        ]
    )
    width = apart.bits_per_token.high - apart.bits_per_token.low
    assert doubled.bits_per_token.high - doubled.bits_per_token.low == pytest.approx(width, rel=0.1)


def test_faults_are_told() -> None:
    with pytest.raises(RecordError, match="got none"):
        measure_memorization([])
    whole, torn = _tokens([1, 1], [0, 4]), _tokens([1, 1], [0, 5])
    for reference, base in ((torn, whole), (whole, torn)):
        response = ScoredResponse("a", "a", whole, reference, base, ())
        with pytest.raises(RecordError, match="response of `a` into different tokens"):
            measure_memorization([response])


def test_rote_is_a_part_of_what_was_learned() -> None:
    """Two responses, each of one token: from 10 bits to 4, of which the twin gets to 7 or 5."""
    found = measure_memorization(
        [_response("a", [4], [7], base=[10]), _response("b", [4], [5], base=[10])]
    )
    assert found.learned_bits.value == pytest.approx(12)
    assert found.rote_share.value == pytest.approx(4 / 12)


# --- what is scored as the response


class Rendering:
    """Renders chats by a function of the messages."""

    def __init__(self, render: Callable[[Sequence[Message]], str]) -> None:
        self.render_chat = render


def rendered(render: Callable[[Sequence[Message]], str], prompt: str = "Why?") -> tuple[str, str]:
    asked = Example("e1", prompt, "Because.", "test")
    return response_pair(Rendering(render), asked)  # type: ignore[arg-type]


def test_response_is_what_a_whole_chat_has_beyond_its_prompt() -> None:
    def render(messages: Sequence[Message]) -> str:
        told = "".join(f"<{m['role'][0]}>{m['content']}" for m in messages)
        return told + ("</>" if messages[-1]["role"] == "assistant" else "<a>")

    assert rendered(render) == ("<u>Why?<a>", "Because.</>")
    assert rendered(render, prompt="") == ("", "Because.")


def test_template_whose_whole_chat_begins_otherwise_is_an_error() -> None:
    with pytest.raises(ModelError, match="`e1` does not begin with the prompt"):
        rendered(lambda messages: f"{len(messages)} turns: {messages[-1]['content']}")
