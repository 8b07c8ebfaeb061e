"""Calls over HTTP: retries, errors that stop a run, secrets and proxies."""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from fakeserver import (
    GREEDY,
    KEY,
    ONE_BY_ONE,
    Body,
    Reply,
    Serve,
    Waits,
    answer,
    ask,
    connect,
    echoing,
    in_turn,
    refusing,
)

from evals.endpoint import BASE, Generation
from evals.errors import EndpointError, ModelError, UserError
from evals.server import Server, is_loopback
from evals.transport import CallPolicy, Clock

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
