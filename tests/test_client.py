"""The OpenAI-compatible client against a real server on loopback that does as a test scripts it."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.answercache import open_cache, read_answer, write_answer
from evals.client import OpenAIEndpoint
from evals.endpoint import BASE, Endpoint, Generation, Sampling
from evals.errors import ConfigError, EndpointError, ModelError, RunError, UserError
from evals.ledger import Budget, BudgetError, Ledger, Price, Spending, Usage
from evals.server import Server, is_loopback
from evals.transport import CallPolicy, Clock
from imitate.config import EndpointTeacher, LabConfig, ModelTeacher, ServeConfig
from imitate.serve import open_teacher

KEY = "sk-0123456789-secret-abcdef"
GREEDY = Sampling(max_tokens=20)

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the fake server sends; `claims` is a Content-Length that the body does not keep."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    claims: int | None = None
    before: Callable[[], object] = lambda: None


Script = Callable[[Body, int], Reply]
"""A request's body and its number from 0 -> the reply."""


class FakeServer:
    """Answers by script; keeps the requests."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[str, Body, dict[str, str]]] = []
        lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(fake.requests)
                    fake.requests.append((self.path, body, dict(self.headers)))
                reply = fake.script(body, number)
                reply.before()
                content = reply.body if isinstance(reply.body, bytes) else as_json(reply.body)
                try:
                    self.send(reply, content)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def send(self, reply: Reply, content: bytes) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(reply.claims or len(content)))
                self.end_headers()
                self.wfile.write(content)
                if reply.claims:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        """Stop, and wait until it has."""
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture
def serve() -> Iterator[Callable[[Script], FakeServer]]:
    servers: list[FakeServer] = []

    def start(script: Script) -> FakeServer:
        servers.append(FakeServer(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Serve = Callable[[Script], FakeServer]


class Waits:
    """A clock that passes only by waiting, and remembers the waits."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def clock(self) -> Clock:
        """Return the clock, with chance at its upper end."""
        return Clock(now=lambda: sum(self.seconds), wait=self.wait, chance=lambda: 1.0)

    def wait(self, _: threading.Event, seconds: float) -> None:
        """Let the seconds pass."""
        self.seconds.append(seconds)


def answer_text(body: Body) -> str:
    prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    return f"You said {prompt}."


def answer(text: str, reason: str | None = "stop", usage: Any = None, **message: Any) -> Reply:
    """Return a reply that both kinds of request can read."""
    choice: Body = {"text": text, "finish_reason": reason}
    if message:
        choice = {"message": {"content": text or None, **message}, "finish_reason": reason}
    counted = {"prompt_tokens": 10, "completion_tokens": 5} if usage is None else usage
    return Reply({"choices": [choice], "usage": counted})


def echoing(body: Body, _: int) -> Reply:
    return answer(answer_text(body))


def refusing(message: str, status: int, **error: Any) -> Reply:
    return Reply({"error": {"message": message, **error}}, status)


def in_turn(*replies: Reply) -> Script:
    """Return a script that gives one reply after another, and the last for ever."""
    return lambda _, number: replies[min(number, len(replies) - 1)]


def connect(server: FakeServer | str, **options: Any) -> OpenAIEndpoint:
    url = server if isinstance(server, str) else server.url
    key = options.pop("key", KEY)
    models = options.pop("models", {BASE: "teacher-1"})
    options.setdefault("clock", Waits().clock())
    return OpenAIEndpoint(Server(url, key), models, **options)


def ask(server: FakeServer | str, *prompts: str, **options: Any) -> list[Generation]:
    sampling = options.pop("sampling", GREEDY)
    with connect(server, **options) as endpoint:
        return endpoint.generate(BASE, prompts or ("hello",), sampling)


ONE_BY_ONE = CallPolicy(max_in_flight=1)


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
    assert found[2].finish_reason == "error"
    assert "content_filter" in found[2].error


def test_lone_surrogates_are_replaced(serve: Serve) -> None:
    server = serve(lambda *_: Reply(b'{"choices":[{"text":"a\\ud800b","finish_reason":"stop"}]}'))
    assert ask(server, "c\ud800d")[0].text == "a?b"


# --- retries --------------------------------------------------------------------------------------


def test_throttling_is_waited_out_as_long_as_the_server_asks(serve: Serve) -> None:
    throttled = Reply({"error": {"message": "slow down"}}, 429, {"Retry-After": "7"})
    waits = Waits()
    found = ask(serve(in_turn(throttled, answer("ok"))), clock=waits.clock())
    assert found[0].text == "ok"
    assert waits.seconds == [7.0]


def test_retry_after_may_be_a_date(serve: Serve) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    waits = Waits()
    script = in_turn(Reply({}, 503, {"Retry-After": date}), answer("ok"))
    assert ask(serve(script), clock=waits.clock())[0].text == "ok"
    assert 30 < waits.seconds[0] <= 40


def test_server_errors_back_off_exponentially(serve: Serve) -> None:
    waits = Waits()
    script = in_turn(*[refusing("oops", 500)] * 3, answer("ok"))
    assert ask(serve(script), clock=waits.clock())[0].text == "ok"
    assert waits.seconds == [0.5, 1.0, 2.0]


def test_jitter_shortens_a_wait_by_half_at_most(serve: Serve) -> None:
    waits = Waits()
    clock = Clock(now=lambda: 0.0, wait=waits.wait, chance=lambda: 0.0)
    ask(serve(in_turn(refusing("oops", 500), answer("ok"))), clock=clock)
    assert waits.seconds == [0.25]


@pytest.mark.parametrize(
    "broken",
    [
        Reply(b"<html>bad gateway</html>"),
        Reply(b"[1, 2]"),
        Reply(b'{"choices": [', claims=500),
        Reply({"error": {"message": "upstream overloaded", "code": 502}}),
        Reply(b"not gzip", headers={"Content-Encoding": "gzip"}),
    ],
    ids=["invalid-json", "no-object", "truncated", "error-in-200", "bad-encoding"],
)
def test_broken_reply_is_asked_for_again(serve: Serve, broken: Reply) -> None:
    server = serve(in_turn(broken, answer("ok")))
    assert ask(server)[0].text == "ok"
    assert len(server.requests) == 2


def test_timeout_is_tried_again(serve: Serve) -> None:
    late = Reply({}, before=lambda: time.sleep(0.06))
    policy = CallPolicy(timeout_s=0.03)
    assert ask(serve(in_turn(late, answer("ok"))), policy=policy)[0].text == "ok"


def test_answer_in_drops_does_not_outlast_the_timeout() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not done.wait(0.005):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        policy = CallPolicy(max_retries=0, timeout_s=0.04)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        started = time.monotonic()
        found = ask(url, policy=policy, clock=Clock())[0]
        assert "did not answer within 0.04 s" in found.error
        assert time.monotonic() - started < 1
    finally:
        done.set()
        thread.join()
        listener.close()


def test_call_that_fails_for_good_is_a_failed_generation(serve: Serve) -> None:
    def script(body: Body, number: int) -> Reply:
        return refusing("engine died", 500) if body["prompt"] == "b" else echoing(body, number)

    server = serve(script)
    policy = CallPolicy(max_in_flight=1, max_retries=2)
    with connect(server, policy=policy) as endpoint:
        found = endpoint.generate(BASE, ["a", "b", "c"], GREEDY)
    assert [one.finish_reason for one in found] == ["stop", "error", "stop"]
    assert found[1] == Generation(
        "",
        0,
        "error",
        f"{server.url}/completions replied 500: engine died (after 3 attempts)",
    )
    assert len(server.requests) == 5
    assert endpoint.ledger.spending()["teacher-1"].n_failed == 1


def test_bad_request_fails_without_a_retry(serve: Serve) -> None:
    server = serve(lambda *_: refusing("the prompt is too long", 400))
    assert "the prompt is too long" in ask(server)[0].error
    assert len(server.requests) == 1


def test_reply_without_an_answer_is_a_failed_generation(serve: Serve) -> None:
    found = ask(serve(lambda *_: Reply({"id": 1, "choices": []})))[0]
    assert found.error == "the server's reply has no readable `choices`; it has `id`, `choices`"


def test_deadline_ends_the_retries_of_a_call(serve: Serve) -> None:
    server = serve(lambda *_: refusing("busy", 503))
    waits = Waits()
    policy = CallPolicy(deadline_s=4.0, max_retries=100)
    found = ask(server, policy=policy, clock=waits.clock())[0]
    assert waits.seconds == [0.5, 1.0, 2.0]
    assert found.error.endswith("(after 4 attempts)")


def test_wait_longer_than_the_deadline_is_not_begun(serve: Serve) -> None:
    waits = Waits()
    script = in_turn(Reply({}, 429, {"Retry-After": "3600"}))
    assert ask(serve(script), clock=waits.clock())[0].finish_reason == "error"
    assert waits.seconds == []


def test_server_that_fails_everyone_is_given_up(serve: Serve) -> None:
    server = serve(lambda body, n: echoing(body, n) if n == 0 else refusing("dead", 500))
    policy = CallPolicy(max_in_flight=1, max_retries=0, max_failed_in_row=3)
    with pytest.raises(EndpointError, match=r"3 calls failed one after another; last: .* dead"):
        ask(server, *map(str, range(50)), policy=policy)
    assert len(server.requests) <= 6


def test_bad_requests_among_answers_never_give_a_server_up(serve: Serve) -> None:
    server = serve(lambda body, n: echoing(body, n) if n == 0 else refusing("too long", 400))
    policy = CallPolicy(max_in_flight=1, max_failed_in_row=3)
    found = ask(server, *map(str, range(10)), policy=policy)
    assert sum(one.finish_reason == "error" for one in found) == 9


# --- errors that stop the run ---------------------------------------------------------------------


def test_unreachable_server_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    policy = CallPolicy(max_retries=1)
    with pytest.raises(EndpointError, match=f"cannot reach http://127.0.0.1:{port}/v1: .*") as told:
        ask(f"http://127.0.0.1:{port}/v1", policy=policy)
    assert "is the server up, and the URL right?" in str(told.value)


def test_refused_key_is_an_error_that_does_not_show_it(serve: Serve) -> None:
    server = serve(lambda *_: refusing(f"Incorrect API key provided: {KEY}", 401))
    with pytest.raises(UserError, match="refused the key") as told:
        ask(server, "a", "b", policy=ONE_BY_ONE)
    assert "`api_key_env`" in str(told.value)
    assert len(server.requests) == 1


def test_missing_key_is_an_error(serve: Serve) -> None:
    server = serve(lambda *_: refusing("no key", 401))
    with pytest.raises(UserError, match="wants a key"):
        ask(server, key=None)
    assert "Authorization" not in server.requests[0][2]


def test_forbidden_from_the_start_is_an_error(serve: Serve) -> None:
    with pytest.raises(UserError, match="replied 403: not in your country") as told:
        ask(serve(lambda *_: refusing("not in your country", 403)))
    assert "check that the key may use this model" in str(told.value)


def test_forbidden_later_is_one_failed_call(serve: Serve) -> None:
    script = in_turn(answer("ok"), refusing("flagged", 403), answer("ok"))
    found = ask(serve(script), "a", "b", "c", policy=ONE_BY_ONE)
    assert [one.finish_reason for one in found] == ["stop", "error", "stop"]


def test_unknown_model_is_an_error(serve: Serve) -> None:
    server = serve(lambda *_: refusing("The model `teacher-1` does not exist", 404))
    with pytest.raises(ModelError, match="knows no such model or path: The model `teacher-1`") as e:
        ask(server)
    assert f"{server.url}/models lists the models" in str(e.value)


@pytest.mark.parametrize("status", [402, 429])
def test_account_without_credit_is_an_error(serve: Serve, status: int) -> None:
    server = serve(lambda *_: refusing("pay first", status, code="insufficient_quota"))
    with pytest.raises(UserError, match="has no credit left: pay first"):
        ask(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000", "`localhost:8000` is no URL of a server"),
        ("ftp://host/v1", "`ftp://host/v1` is no URL of a server"),
        ("http://host:port/v1", "is no URL: "),
        (f"https://me:{KEY}@host/v1", "may hold no user name, password, query or fragment"),
        (f"https://host/v1?key={KEY}", "may hold no user name, password, query or fragment"),
    ],
)
def test_bad_url_is_an_error(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        connect(url)
    assert KEY not in str(told.value)


@pytest.mark.parametrize("key", [f"{KEY}\nX-Other: 1", f"Bearer {KEY}", f"{KEY}\u2026"])
def test_key_that_http_cannot_carry_is_an_error(key: str) -> None:
    with pytest.raises(UserError, match="characters that no key has") as told:
        connect("http://127.0.0.1:1/v1", key=key)
    assert KEY not in "".join(traceback.format_exception(told.value))


def test_space_around_a_key_is_dropped(serve: Serve) -> None:
    server = serve(echoing)
    ask(server, key=f" {KEY}\n")
    assert server.requests[0][2]["Authorization"] == f"Bearer {KEY}"


# --- the key stays secret -------------------------------------------------------------------------


def test_key_is_in_no_error_file_or_log(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"key {KEY}, header Bearer {KEY}"
    script = in_turn(
        answer("ok"),
        refusing(echo, 400),
        Reply(echo.encode(), 500),
        Reply(echo.encode()),
        refusing(echo, 404),
    )
    policy = CallPolicy(max_in_flight=1, max_retries=0)
    with connect(serve(script), policy=policy, cache=tmp_path) as endpoint:
        found = endpoint.generate(BASE, ["a", "b", "c", "d"], GREEDY)
        with pytest.raises(ModelError) as told:
            endpoint.generate(BASE, ["e"], GREEDY)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    shown = [
        *(path.read_text() + str(path) for path in files),
        *(one.error for one in found),
        "".join(traceback.format_exception(told.value)),
        caplog.text,
        repr(endpoint.ledger.spending()),
        repr(Server("http://host/v1", KEY)),
    ]
    assert len(files) == 1
    assert sum("[key]" in one.error for one in found) == 3
    assert caplog.text
    assert not [text for text in shown if KEY in text]


def test_key_is_redacted_before_a_long_message_is_cut(serve: Serve) -> None:
    server = serve(lambda *_: refusing("x" * 390 + " " + KEY, 400))
    assert KEY[:5] not in ask(server)[0].error


# --- cache ----------------------------------------------------------------------------------------


def test_cached_answer_makes_no_request(serve: Serve, tmp_path: Path) -> None:
    server = serve(echoing)
    first = ask(server, "a", "b", cache=tmp_path)
    with connect(server, cache=tmp_path) as endpoint:
        assert endpoint.generate(BASE, ["a", "b"], GREEDY) == first
    assert len(server.requests) == 2
    assert endpoint.ledger.spending() == {"teacher-1": Spending(n_cached=2, cost_usd=0.0)}


def test_cache_serves_another_host_and_key(serve: Serve, tmp_path: Path) -> None:
    ask(serve(echoing), cache=tmp_path)
    other = serve(lambda *_: answer("something else"))
    assert ask(other, cache=tmp_path, key="other-key")[0].text == "You said hello."
    assert other.requests == []


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": Sampling(20, seed=1)},
        {"sampling": Sampling(21)},
        {"sampling": Sampling(20, temperature=0.1)},
        {"sampling": Sampling(20, top_p=0.5)},
        {"sampling": Sampling(20, stop=("x",))},
        {"models": {BASE: "teacher-2"}},
    ],
)
def test_cache_tells_requests_apart(serve: Serve, tmp_path: Path, change: dict[str, Any]) -> None:
    server = serve(echoing)
    ask(server, cache=tmp_path)
    ask(server, cache=tmp_path, **change)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace("hello", "hullo"),
    ],
    ids=["empty", "cut", "other-type", "no-fields", "changed"],
)
def test_damaged_entry_is_asked_for_again(
    serve: Serve, tmp_path: Path, damage: Callable[[str], str]
) -> None:
    server = serve(echoing)
    first = ask(server, cache=tmp_path)
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_text()
    path.write_text(damage(whole))
    assert ask(server, cache=tmp_path) == first
    assert len(server.requests) == 2
    assert path.read_text() == whole


def test_entry_of_another_request_is_not_taken(tmp_path: Path) -> None:
    write_answer(tmp_path, "aa11", {"text": "one"})
    (tmp_path / "aa" / "aa11.json").rename(tmp_path / "aa" / "aa22.json")
    assert read_answer(tmp_path, "aa22") is None


def test_failed_answers_are_not_kept(serve: Serve, tmp_path: Path) -> None:
    script = in_turn(refusing("no", 400), answer("x", "content_filter"), answer("ok"))
    server = serve(script)
    found = [ask(server, cache=tmp_path)[0].text for _ in range(3)]
    assert found == ["", "x", "ok"]


def test_writers_of_one_entry_do_not_disturb_one_another(tmp_path: Path) -> None:
    said = {"text": "word " * 2000}
    damaged = []

    def work() -> None:
        for _ in range(30):
            write_answer(tmp_path, "ab12", said)
            damaged.append(read_answer(tmp_path, "ab12") != said)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(damaged) == 120
    assert not any(damaged)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["ab12.json"]


def test_cache_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot keep answers in") as told:
        open_cache(tmp_path / "file" / "answers")
    assert "name a folder that can be written" in str(told.value)


def test_answer_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ab").write_text("")
    with pytest.raises(RunError, match="cannot keep an answer in"):
        write_answer(tmp_path, "ab12", {})


# --- ledger and budget ----------------------------------------------------------------------------


def test_ledger_counts_tokens_and_cost_by_model(serve: Serve) -> None:
    ledger = Ledger({"teacher-1": Price(1.0, 4.0)})
    with connect(serve(echoing), models={BASE: "teacher-1", "b": "other"}, ledger=ledger) as found:
        found.generate(BASE, ["x", "y"], GREEDY)
        found.generate("b", ["x"], GREEDY)
    assert ledger.spending() == {
        "teacher-1": Spending(n_answered=2, usage=Usage(20, 10), cost_usd=60e-6),
        "other": Spending(n_answered=1, usage=Usage(10, 5)),
    }


def test_tokens_are_estimated_where_the_server_counts_none(serve: Serve) -> None:
    with connect(serve(lambda *_: answer("123456789", usage=[]))) as endpoint:
        found = endpoint.generate(BASE, ["123456"], GREEDY)
    assert found[0].n_tokens == 3
    assert endpoint.ledger.spending()["teacher-1"].usage == Usage(2, 3)


def test_budget_in_tokens_stops_before_it_is_exceeded(serve: Serve, tmp_path: Path) -> None:
    server = serve(echoing)  # 15 tokens each; a request may take 21
    ledger = Ledger(budget=Budget(max_tokens=60))
    prompts = [f"{i}" for i in range(10)]
    with pytest.raises(BudgetError) as told:
        ask(server, *prompts, ledger=ledger, cache=tmp_path)
    assert "the budget is spent: 45 of 60 tokens, and the next request may take 21" in str(
        told.value
    )
    assert "raise the budget and run again" in str(told.value)
    assert len(server.requests) == 3
    assert len(list(tmp_path.rglob("*.json"))) == 3

    found = ask(server, *prompts, cache=tmp_path)
    assert [one.finish_reason for one in found] == ["stop"] * 10
    assert len(server.requests) == 10


def test_budget_in_dollars_stops_before_it_is_exceeded(serve: Serve) -> None:
    server = serve(echoing)  # 30 micro-dollars each; a request may take 81
    ledger = Ledger({"teacher-1": Price(1.0, 4.0)}, Budget(max_usd=150e-6))
    with pytest.raises(BudgetError, match=r"the budget is spent: 0\.0001 of 0\.00015 USD"):
        ask(server, *map(str, range(10)), ledger=ledger)
    assert len(server.requests) == 3


def test_budget_in_dollars_needs_a_price(serve: Serve) -> None:
    server = serve(echoing)
    with pytest.raises(UserError, match="needs the price of `teacher-1`") as told:
        ask(server, ledger=Ledger(budget=Budget(max_usd=1.0)))
    assert "price for a million tokens" in str(told.value)
    assert server.requests == []


def test_cached_answers_cost_no_budget(serve: Serve, tmp_path: Path) -> None:
    server = serve(echoing)
    first = ask(server, cache=tmp_path)
    assert ask(server, cache=tmp_path, ledger=Ledger(budget=Budget(max_tokens=0))) == first


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


def test_failed_scoring_is_an_error(serve: Serve) -> None:
    with pytest.raises(EndpointError, match="replied 400: too long"):
        score(serve(lambda *_: refusing("too long", 400)), "a", "b")


# --- proxies --------------------------------------------------------------------------------------


def test_loopback_goes_past_proxies(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert ask(serve(echoing))[0].finish_reason == "stop"


def test_other_hosts_go_through_the_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(echoing)
    monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ask("http://models.invalid/v1")[0].text == "You said hello."
    assert proxy.requests[0][0] == "http://models.invalid/v1/completions"


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.8.8.8/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://a.localhost/v1", True),
        ("http://0.0.0.0:8000/v1", True),
        ("http://10.0.0.1/v1", False),
        ("https://localhost.example/v1", False),
    ],
)
def test_loopback_addresses_are_recognised(url: str, is_local: bool) -> None:
    assert is_loopback(url) == is_local


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
    monkeypatch.setattr("imitate.serve.open_endpoint", lambda *given: opened.append(given))
    open_teacher(ModelTeacher(kind="model", model="lab/teacher"), ServeConfig(), LabConfig())
    assert opened == [(ServeConfig(), "ref of lab/teacher", {})]
