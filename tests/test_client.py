"""The OpenAI-compatible client: answers, log-probabilities, and a teacher behind a server."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakeserver import (
    GREEDY,
    KEY,
    ONE_BY_ONE,
    Body,
    FakeServer,
    Reply,
    Script,
    Serve,
    answer,
    answer_text,
    ask,
    connect,
    echoing,
    in_turn,
    refusing,
)

from evals.endpoint import BASE, Endpoint, Generation, Sampling, require_scored
from evals.errors import ConfigError, EndpointError
from evals.transport import CallPolicy
from imitate.config import EndpointTeacher, LabConfig, ModelTeacher, ServeConfig
from imitate.serve import open_teacher

# --- answers --------------------------------------------------------------------------------------


def test_plain_prompt_goes_to_completions(serve: Serve) -> None:
    server = serve(echoing)
    sampling = Sampling(7, temperature=0.5, top_p=0.9, seed=3, stop=("\n",))
    assert ask(server, "two plus two", sampling=sampling) == [
        Generation("You said two plus two.", 5, "stop")
    ]
    path, body, headers = server.requests[0]
    assert path == "/v1/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "teacher-1",
        "prompt": "two plus two",
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "stop": ["\n"],
    }


def test_rendered_chat_goes_to_chat_completions(serve: Serve) -> None:
    server = serve(lambda body, _: answer(answer_text(body), role="assistant"))
    messages = [
        {"role": "system", "content": "Be \u00fcber brief."},
        {"role": "user", "content": "hi"},
    ]
    with connect(server) as endpoint:
        checked: Endpoint = endpoint
        found = checked.generate(BASE, [checked.render_chat(messages)], GREEDY)
    path, body, _ = server.requests[0]
    assert found == [Generation("You said hi.", 5, "stop")]
    assert path == "/v1/chat/completions"
    assert body["messages"] == messages
    assert "prompt" not in body


def test_chat_that_the_assistant_has_begun_is_refused(serve: Serve) -> None:
    server = serve(echoing)
    with connect(server) as endpoint:
        begun = endpoint.render_chat([{"role": "user", "content": "hi"}]) + "The answer is"
        with pytest.raises(EndpointError, match="begun with 'The answer is'"):
            endpoint.generate(BASE, [begun], GREEDY)
    assert server.requests == []


def test_adapter_is_asked_by_its_name_on_the_server(serve: Serve) -> None:
    server = serve(echoing)
    with connect(server, models={BASE: "llama", "broad": "llama-broad"}) as endpoint:
        assert endpoint.models == (BASE, "broad")
        endpoint.generate("broad", ["hi"], GREEDY)
    assert server.requests[0][1]["model"] == "llama-broad"


def test_name_that_is_not_served_is_refused_before_any_request(serve: Serve) -> None:
    server = serve(echoing)
    with connect(server) as endpoint, pytest.raises(EndpointError, match="no model `x` here"):
        endpoint.generate("x", ["hi"], GREEDY)
    assert server.requests == []


@pytest.mark.parametrize(
    ("told", "reason"),
    [("stop", "stop"), ("length", "length"), ("eos_token", "stop"), ("abort", "error")],
)
def test_finish_reasons_are_mapped(serve: Serve, told: str, reason: str) -> None:
    found = ask(serve(lambda *_: answer("Yes", told)))[0]
    assert (found.text, found.finish_reason) == ("Yes", reason)
    assert bool(found.error) == (reason == "error")


def test_order_is_kept_while_requests_overlap(serve: Serve) -> None:
    n = 4
    together = threading.Barrier(n)

    def script(body: Body, _: int) -> Reply:
        together.wait(5)  # passes only if n requests are under way at once
        delay = 0.02 if body["prompt"].endswith("0") else 0.0
        return Reply(echoing(body, 0).body, before=lambda: time.sleep(delay))

    prompts = [f"prompt {i}" for i in range(3 * n)]
    found = ask(serve(script), *prompts, policy=CallPolicy(max_in_flight=n))
    assert [one.text for one in found] == [f"You said {prompt}." for prompt in prompts]


def test_no_more_requests_are_under_way_than_allowed(serve: Serve) -> None:
    under_way, most, lock = [0], [0], threading.Lock()

    def script(body: Body, _: int) -> Reply:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.005)
        with lock:
            under_way[0] -= 1
        return echoing(body, 0)

    ask(serve(script), *map(str, range(12)), policy=CallPolicy(max_in_flight=3))
    assert most[0] == 3


def test_progress_is_told_for_each_prompt(serve: Serve, tmp_path: Path) -> None:
    server, told = serve(echoing), list[int]()
    with connect(server, cache=tmp_path) as endpoint:
        for _ in range(2):  # the second time from the cache
            endpoint.generate(BASE, ["a", "b", "c"], GREEDY, progress=told.append)
    assert told == [1] * 6


def test_token_limit_is_renamed_for_a_server_that_wants_it(serve: Serve) -> None:
    def script(body: Body, _: int) -> Reply:
        if "max_tokens" in body:
            return refusing("no", 400, code="unsupported_parameter", param="max_tokens")
        return echoing(body, 0)

    server = serve(script)
    found = ask(server, "a", "b", policy=ONE_BY_ONE)
    assert [one.finish_reason for one in found] == ["stop", "stop"]
    assert [body.get("max_completion_tokens") for _, body, _ in server.requests] == [None, 20, 20]


def test_refusals_are_counted(serve: Serve) -> None:
    script = in_turn(
        answer("", role="assistant"),
        answer("", refusal="I can't help with that."),
        answer("Half of", "content_filter"),
        answer("Sure."),
    )
    with connect(serve(script), policy=ONE_BY_ONE) as endpoint:
        found = endpoint.generate(BASE, ["a", "b", "c", "d"], GREEDY)
    assert endpoint.ledger.spending()["teacher-1"].n_refused == 3
    assert [one.text for one in found[:2]] == ["", "I can't help with that."]
    assert [one.is_refused for one in found] == [False, True, True, False]
    assert found[2].finish_reason == "error"
    assert "content_filter" in found[2].error


def test_lone_surrogates_are_replaced(serve: Serve) -> None:
    server = serve(lambda *_: Reply(b'{"choices":[{"text":"a\\ud800b","finish_reason":"stop"}]}'))
    assert ask(server, "c\ud800d")[0].text == "a?b"


# --- log-probabilities ----------------------------------------------------------------------------


def scoring(tokens: list[str], logprobs: list[Any], best: list[Any], **usage: Any) -> Script:
    """Return a script that echoes a prompt's tokens, with one generated token behind them."""
    found = {
        "tokens": [*tokens, "!"],
        "token_logprobs": [*logprobs, -0.5],
        "top_logprobs": [*best, {"!": -0.5}],
    }
    choice = {"text": "", "logprobs": found, "finish_reason": "length"}
    return lambda *_: Reply({"choices": [choice], "usage": usage})


def score(server: FakeServer, context: str, continuation: str, **options: Any) -> Any:
    with connect(server, **options) as endpoint:
        return endpoint.token_logprobs(BASE, [(context, continuation)])[0]


def test_logprobs_of_the_continuation_are_cut_out(serve: Serve, tmp_path: Path) -> None:
    tokens = ["<s>", "The", " sky", " is", " bl", "ue"]
    best = [None, *({token: -0.1} for token in tokens[1:5]), {"ack": -0.1, "ue": -0.7}]
    server = serve(scoring(tokens, [None, -3.0, -2.0, -1.0, -0.1, -0.7], best, prompt_tokens=6))
    for _ in range(2):  # the second time from the cache
        found = score(server, "The sky is", " blue", cache=tmp_path)
        np.testing.assert_array_equal(found.logprobs, [-0.1, -0.7])
        np.testing.assert_array_equal(found.starts, [0, 3])
        assert not found.is_greedy
        assert found.total == pytest.approx(-0.8)
    ((path, body, _),) = server.requests
    assert path == "/v1/completions"
    assert body["prompt"] == "The sky is blue"
    assert body["echo"] is True
    assert (body["logprobs"], body["max_tokens"]) == (1, 1)


def test_greedy_continuation_is_recognised(serve: Serve) -> None:
    server = serve(scoring(["A:", " yes"], [None, -0.2], [None, {" yes": -0.2, " no": -2.0}]))
    assert score(server, "A:", " yes").is_greedy


def test_token_across_the_border_is_the_continuations(serve: Serve) -> None:
    server = serve(scoring(["A", ":", "  yes"], [None, -1.0, -0.2], [None, {":": -1.0}, {"x": 0}]))
    found = score(server, "A: ", " yes")
    np.testing.assert_array_equal(found.logprobs, [-0.2])
    np.testing.assert_array_equal(found.starts, [0])


def test_tokens_that_are_pieces_of_a_character_are_scored(serve: Serve) -> None:
    tokens = ["An", ":", "", "", " \N{PARTY POPPER}", "!"]  # as vLLM spells them
    best = [None, *({token: -0.5} for token in tokens[1:])]
    server = serve(scoring(tokens, [None, -1.0, -2.0, -3.0, -4.0, -5.0], best))
    found = score(server, "An:", " \N{PARTY POPPER}!")
    np.testing.assert_array_equal(found.logprobs, [-2.0, -3.0, -4.0, -5.0])
    np.testing.assert_array_equal(found.starts, [0, 0, 0, 2])


def test_border_decides_what_is_cached(serve: Serve, tmp_path: Path) -> None:
    best = [None, {"b": -1.0}, {"c": -2.0}]
    server = serve(scoring(["a", "b", "c"], [None, -1.0, -2.0], best))
    assert score(server, "a", "bc", cache=tmp_path).total == -3.0
    assert score(server, "ab", "c", cache=tmp_path).total == -2.0


@pytest.mark.parametrize("text", ["other", ""])
def test_server_that_does_not_score_prompts_is_an_error(serve: Serve, text: str) -> None:
    server = serve(scoring([text], [-1.0], [{text: -1.0}]))
    with pytest.raises(EndpointError, match="it does not score prompts"):
        score(server, "The sky is", " blue")


def test_server_without_logprobs_is_an_error(serve: Serve) -> None:
    with pytest.raises(EndpointError, match="it does not score prompts"):
        score(serve(echoing), "The sky is", " blue")


def test_first_token_of_a_text_has_no_score(serve: Serve) -> None:
    server = serve(scoring(["blue"], [None], [None]))
    with pytest.raises(EndpointError, match="so a context is needed"):
        score(server, "", "blue")


def test_chat_cannot_be_scored(serve: Serve) -> None:
    server = serve(echoing)
    with connect(server) as endpoint:
        context = endpoint.render_chat([{"role": "user", "content": "hi"}])
        with pytest.raises(EndpointError, match="need the chat template"):
            endpoint.token_logprobs(BASE, [(context, " yes")])
        with pytest.raises(EndpointError, match="an empty continuation has no score"):
            endpoint.token_logprobs(BASE, [("hi", "")])
    assert server.requests == []


def test_failed_scoring_is_a_failed_record_and_no_zero(serve: Serve) -> None:
    found = score(serve(lambda *_: refusing("too long", 400)), "a", "b")
    assert "replied 400: too long" in found.error
    assert np.isnan(found.total)
    assert not found.is_greedy
    with pytest.raises(EndpointError, match=r"1 of 1 texts were not scored: .*too long"):
        require_scored([found])


# --- a config's teacher ---------------------------------------------------------------------------


def teacher_at(url: str, key_env: str | None = "TEACHER_KEY") -> EndpointTeacher:
    return EndpointTeacher(kind="endpoint", url=url, model="teacher-1", api_key_env=key_env)


def ask_teacher(teacher: EndpointTeacher) -> str:
    with open_teacher(teacher, ServeConfig(), LabConfig()) as endpoint:
        prompt = endpoint.render_chat([{"role": "user", "content": "hello"}])
        return endpoint.generate(BASE, [prompt], GREEDY)[0].text


def test_teacher_behind_a_server_is_asked_once(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    monkeypatch.setenv("IMITATE_CACHE", str(tmp_path))
    server = serve(lambda *_: answer("One.", role="assistant"))
    other = serve(lambda *_: answer("Two.", role="assistant"))
    assert [ask_teacher(teacher_at(server.url)) for _ in range(2)] == ["One.", "One."]
    assert ask_teacher(teacher_at(other.url)) == "Two."
    ((path, _, headers),) = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("value", [None, " "])
def test_key_variable_that_is_not_set_is_an_error(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEACHER_KEY", value)
    with pytest.raises(ConfigError, match=r"names `TEACHER_KEY`, an environment .* not set") as e:
        open_teacher(teacher_at("http://127.0.0.1:1/v1"), ServeConfig(), LabConfig())
    assert "export TEACHER_KEY=" in str(e.value)


def test_teacher_that_is_a_model_runs_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr("imitate.serve.resolve_model", lambda name, lab: f"ref of {name}")
    monkeypatch.setattr(
        "imitate.serve.open_endpoint",
        lambda *given, **named: opened.append((*given, named["name"])),
    )
    open_teacher(ModelTeacher(kind="model", model="lab/teacher"), ServeConfig(), LabConfig())
    assert opened == [(ServeConfig(), "ref of lab/teacher", {}, "teacher")]
