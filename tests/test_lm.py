"""An endpoint as a model of lm-eval, against lm-eval's own `hf` model on the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from evals.endpoint import BASE, Endpoint, Generation, Sampling
from evals.harness import FAILED_ANSWER
from evals.lm import endpoint_lm
from imitate.config import ServeConfig
from imitate.models import resolve_model
from imitate.serve import open_endpoint

SHOTS = "Q: What is the capital of France?\nA: Paris\nQ: What is two and two?\nA: four\n"
QUESTIONS = ("What is the fox?", "Which town does the river run through?", "Why?")
CHOICES = (" quick", " a lazy dog", " Oakford", " the river runs through the town of Oakford.")


@pytest.fixture(scope="module")
def endpoint(tiny_model: Path) -> Iterator[Endpoint]:
    with open_endpoint(ServeConfig(dtype="float32"), resolve_model(str(tiny_model)), {}) as opened:
        yield opened


@pytest.fixture(scope="module")
def hf(tiny_model: Path) -> HFLM:
    return HFLM(pretrained=str(tiny_model), device="cpu", dtype="float32", batch_size=4)


def requests(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [
        Instance(kind, {}, pair, index, metadata=("test", index, 1))
        for index, pair in enumerate(arguments)
    ]


def test_multiple_choice_scores_equal_hf(endpoint: Endpoint, hf: HFLM) -> None:
    pairs = [(f"{SHOTS}Q: {q}\nA:", choice) for q in QUESTIONS for choice in CHOICES]
    pairs += [("The ", "fox"), ("", "The quick"), ("The quick brown fox jumps over\n", "the")]
    asked = requests("loglikelihood", pairs)
    ours = endpoint_lm(endpoint, BASE).loglikelihood(asked)
    theirs = hf.loglikelihood(asked, disable_tqdm=True)
    for (score, is_greedy), (expected, expected_greedy) in zip(ours, theirs, strict=True):
        assert score == pytest.approx(expected, abs=1e-4)
        assert is_greedy == expected_greedy


def test_contexts_too_long_score_as_in_hf(endpoint: Endpoint, hf: HFLM) -> None:
    asked = requests("loglikelihood", [("one two three four " * 60 + "five", " six seven")])
    ((ours, _),) = endpoint_lm(endpoint, BASE).loglikelihood(asked)
    ((theirs, _),) = hf.loglikelihood(asked, disable_tqdm=True)
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_rolling_scores_equal_hf(endpoint: Endpoint, hf: HFLM) -> None:
    asked = requests("loglikelihood_rolling", [("The quick brown fox.",), (SHOTS,)])
    ours = endpoint_lm(endpoint, BASE).loglikelihood_rolling(asked)
    assert ours == pytest.approx(hf.loglikelihood_rolling(asked, disable_tqdm=True), abs=1e-4)


@pytest.mark.parametrize(
    "gen_kwargs",
    [
        {"until": ["\n"], "max_gen_toks": 20},
        {"until": ["o", "Q:"], "max_gen_toks": 30, "do_sample": False},
        {"until": "e", "max_gen_toks": 12, "temperature": 0.0},
    ],
)
def test_generations_equal_hf(endpoint: Endpoint, hf: HFLM, gen_kwargs: dict[str, Any]) -> None:
    arguments = [(f"{SHOTS}Q: {q}\nA:", dict(gen_kwargs)) for q in QUESTIONS]
    asked = requests("generate_until", arguments)
    ours = endpoint_lm(endpoint, BASE).generate_until(asked)
    assert ours == hf.generate_until(asked, disable_tqdm=True)
    assert any(ours)


def test_chats_render_as_in_hf(endpoint: Endpoint, hf: HFLM) -> None:
    chat = [{"role": "user", "content": "hello"}]
    assert endpoint_lm(endpoint, BASE).apply_chat_template(chat) == hf.apply_chat_template(chat)


def test_begun_answers_render_as_in_hf(endpoint: Endpoint, hf: HFLM) -> None:
    chat = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "The answer is"}]
    ours = endpoint_lm(endpoint, BASE).apply_chat_template(chat, add_generation_prompt=False)
    assert ours == hf.apply_chat_template(chat, add_generation_prompt=False)
    assert ours.endswith("The answer is")


def test_failed_call_is_a_failed_answer(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    long = ("one two three four " * 60, {"until": ["\n"], "max_gen_toks": 4})
    short = ("one two three", {"until": ["\n"], "max_gen_toks": 4})
    answers = endpoint_lm(endpoint, BASE).generate_until(requests("generate_until", [long, short]))
    assert answers[0] == FAILED_ANSWER
    assert answers[1] != FAILED_ANSWER
    assert "leaves no room" in caplog.text


def test_sampling_is_read_from_the_task() -> None:
    class Recorder:
        models = (BASE,)
        asked: list[Sampling]

        def __init__(self) -> None:
            self.asked = []

        def generate(
            self, model: str, prompts: list[str], sampling: Sampling, **_: object
        ) -> list[Generation]:
            self.asked.append(sampling)
            return [Generation(prompt.upper(), 1, "stop") for prompt in prompts]

    recorder = Recorder()
    arguments: list[tuple[str, dict[str, Any]]] = [
        ("a", {"until": ["x"]}),
        ("b", {"until": ["x"], "do_sample": True, "temperature": 0.7, "top_p": 0.9}),
        ("c", {"until": ["x"]}),
    ]
    lm = endpoint_lm(recorder, BASE)  # type: ignore[arg-type]
    assert lm.generate_until(requests("generate_until", list(arguments))) == ["A", "B", "C"]
    assert recorder.asked == [
        Sampling(max_tokens=256, stop=("x",)),
        Sampling(max_tokens=256, temperature=0.7, top_p=0.9, stop=("x",)),
    ]
