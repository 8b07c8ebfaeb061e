"""The one endpoint in front of several servers: who is asked, who may ask, what is told."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fakeserver import KEY, FakeServer, Reply, Serve, answer, chat_events, chunk, echoing, event

pytest.importorskip("starlette", reason="needs the extra vllm, which brings starlette")
pytest.importorskip("uvicorn", reason="needs the extra vllm, which brings uvicorn")

from evals.errors import UserError
from imitate.serving.front import DEFAULT_PORT, build_app, serve_front
from imitate.serving.relay import MAX_BODY_BYTES, Upstream

FRONT_KEY = "front-key-0123456789"
ARM = "medium/broad-1000-s0"
ASK = {"model": ARM, "messages": [{"role": "user", "content": "hello"}]}

Front = Callable[..., httpx2.Client]


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """Open endpoints, and yield clients that have the key."""
    with ExitStack() as opened:

        def start(arms: dict[str, Upstream], report: Path | None = None) -> httpx2.Client:
            app = build_app(arms, key=FRONT_KEY, report=report)
            url = opened.enter_context(serve_front(app, 0))
            headers = {"Authorization": f"Bearer {FRONT_KEY}"}
            client = httpx2.Client(base_url=url, headers=headers, trust_env=False)
            return opened.enter_context(client)

        yield start


def upstream(server: FakeServer, **options: Any) -> Upstream:
    return Upstream(server.url, options.pop("model", "m"), KEY, **options)


def message(reply: httpx2.Response) -> str:
    return str(reply.json()["error"]["message"])


def test_a_request_goes_to_its_arms_server_under_the_servers_name(
    front: Front, serve: Serve
) -> None:
    named = Reply({"model": "lora-1", "choices": []})
    bases, teacher = serve(lambda *_: named), serve(echoing)
    client = front({ARM: upstream(bases, model="lora-1"), "teacher": upstream(teacher)})
    reply = client.post("/v1/chat/completions", json=ASK | {"seed": 7})
    assert reply.json() == {"model": ARM, "choices": []}
    path, body, headers = bases.requests[0]
    assert path == "/v1/chat/completions"
    assert body == ASK | {"seed": 7, "model": "lora-1"}
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert teacher.requests == []
    client.post("/v1/completions", json={"model": "teacher", "prompt": "x"})
    assert teacher.requests[0][0] == "/v1/completions"


def test_models_are_the_arms_with_their_kinds(front: Front, serve: Serve) -> None:
    server = serve(echoing)
    client = front({"medium": upstream(server, kind="base"), ARM: upstream(server, kind="control")})
    listed = client.get("/v1/models").json()["data"]
    assert [(one["id"], one["kind"]) for one in listed] == [("medium", "base"), (ARM, "control")]
    assert KEY not in str(listed)


def test_a_stream_comes_piece_by_piece_under_the_arms_name(front: Front, serve: Serve) -> None:
    is_read = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield event(chunk("first", "lora-1"))
        assert is_read.wait(10)
        yield event(chunk("second\u2028line", "lora-1"))
        yield b": a comment\n\n" + event(b"[DONE]")

    server = serve(lambda *_: Reply(pieces=pieces()))
    client = front({ARM: upstream(server, model="lora-1")})
    with client.stream("POST", "/v1/chat/completions", json=ASK | {"stream": True}) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        got = reply.iter_raw()
        first = next(got)
        is_read.set()
        rest = b"".join(got)
    assert b'"first"' in first
    assert b"second" not in first
    assert f'"model":"{ARM}"'.encode() in rest
    assert b"lora-1" not in first + rest
    assert rest.endswith(b"data: [DONE]\n\n")


def test_a_stream_that_breaks_off_ends_in_an_error_that_names_the_arm(
    front: Front, serve: Serve
) -> None:
    def pieces() -> Iterator[bytes]:
        yield event(chunk("so far"))
        raise ConnectionError

    client = front({ARM: upstream(serve(lambda *_: Reply(pieces=pieces())))})
    reply = client.post("/v1/chat/completions", json=ASK | {"stream": True})
    assert "so far" in reply.text
    assert f"the server of `{ARM}` broke off" in reply.text


def test_a_server_that_is_down_is_told(front: Front) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = front({ARM: Upstream(f"http://127.0.0.1:{port}/v1", "m", KEY)})
    reply = client.post("/v1/chat/completions", json=ASK | {"stream": True})
    assert reply.status_code == 502
    assert message(reply) == f"the server of `{ARM}` does not answer: it cannot be reached"


def test_a_server_that_does_not_stream_is_passed_on_whole(front: Front, serve: Serve) -> None:
    client = front({ARM: upstream(serve(lambda *_: answer("all of it")))})
    reply = client.post("/v1/chat/completions", json=ASK | {"stream": True})
    assert reply.json()["choices"][0]["text"] == "all of it"


def test_a_streamed_error_is_told_without_the_key(front: Front, serve: Serve) -> None:
    error = event({"error": {"message": f"you sent {KEY}"}})
    client = front(
        {ARM: upstream(serve(lambda *_: Reply(pieces=[error, event(b"no\ndata: json")])))}
    )
    reply = client.post("/v1/chat/completions", json=ASK | {"stream": True})
    assert reply.text == (
        'data: {"error":{"message":"you sent [key]"}}\n\ndata: no\ndata: json\n\n'
    )


def test_answers_are_spelled_here_where_the_upstream_says_how(front: Front, serve: Serve) -> None:
    def tokens(_: dict[str, Any], __: int) -> Reply:
        return Reply({"choices": [{"message": {"content": "?"}, "token_ids": [72, 105]}]})

    server = serve(tokens)
    arm = upstream(server, decode=lambda ids: bytes(ids).decode(), defaults={"seed": 1, "n": 1})
    client = front({ARM: arm})
    reply = client.post("/v1/chat/completions", json=ASK | {"seed": 2})
    assert reply.json()["choices"] == [{"message": {"content": "Hi"}}]
    sent = server.requests[0][1]
    assert (sent["return_token_ids"], sent["seed"], sent["n"]) == (True, 2, 1)
    stopped = client.post("/v1/chat/completions", json=ASK | {"stop": ["."]})
    assert stopped.json()["choices"][0]["message"]["content"] == "?"


def test_what_a_server_says_goes_on_without_its_key(front: Front, serve: Serve) -> None:
    refusal = Reply({"error": {"message": f"too long; you sent {KEY}"}}, 400)
    client = front({ARM: upstream(serve(lambda *_: refusal))})
    reply = client.post("/v1/chat/completions", json=ASK)
    assert (reply.status_code, message(reply)) == (400, "too long; you sent [key]")


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (Reply({"error": {"message": "bad key"}}, 401), "refuses the key that it was given"),
        (Reply(b"<html>gateway</html>", 503), "replied no JSON object, 503: <html>gateway</html>"),
    ],
)
def test_what_is_no_answer_is_a_bad_gateway(
    front: Front, serve: Serve, refusal: Reply, told: str
) -> None:
    client = front({ARM: upstream(serve(lambda *_: refusal))})
    reply = client.post("/v1/chat/completions", json=ASK)
    assert reply.status_code == 502
    assert told in message(reply)


def test_the_token_limit_takes_its_other_name_where_a_server_wants_that(
    front: Front, serve: Serve
) -> None:
    def script(body: dict[str, Any], _: int) -> Reply:
        if "max_tokens" in body:
            return Reply({"error": {"message": "use 'max_completion_tokens'"}}, 400)
        return answer("fine")

    server = serve(script)
    client = front({ARM: upstream(server)})
    reply = client.post("/v1/chat/completions", json=ASK | {"max_tokens": 5})
    assert reply.status_code == 200
    assert server.requests[1][1]["max_completion_tokens"] == 5


def test_an_unknown_arm_is_told_with_those_that_there_are(front: Front, serve: Serve) -> None:
    client = front({ARM: upstream(serve(echoing))})
    reply = client.post("/v1/chat/completions", json=ASK | {"model": "gpt"})
    assert reply.status_code == 404
    assert message(reply) == f"no arm `gpt` here; there are: {ARM}"


@pytest.mark.parametrize("content", [b"no json", b"[]", b"[" * 100_000, b'{"model": ["x"]}'])
def test_what_is_no_request_is_refused(front: Front, content: bytes) -> None:
    reply = front({}).post("/v1/chat/completions", content=content)
    assert reply.status_code in {400, 404}


def test_a_request_has_a_largest_size(front: Front, serve: Serve) -> None:
    server = serve(echoing)
    client = front({ARM: upstream(server)})
    reply = client.post("/v1/completions", content=b" " * (MAX_BODY_BYTES + 1))
    assert reply.status_code == 413
    assert server.requests == []


@pytest.mark.parametrize("given", [None, "Bearer wrong", f"Bearer {FRONT_KEY}x", FRONT_KEY, "é"])
def test_without_the_key_nothing_is_told(front: Front, serve: Serve, given: str | None) -> None:
    server = serve(echoing)
    client = front({ARM: upstream(server)})
    headers = {"Authorization": given.encode()} if given else {}
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/v1/x")):
        reply = httpx2.request(method, f"{client.base_url}{path}", headers=headers, json=ASK)
        assert reply.status_code == 401
        assert ARM not in reply.text
    assert server.requests == []


def test_another_host_is_refused_everywhere(front: Front, tmp_path: Path) -> None:
    client = front({}, tmp_path / "report.html")
    for path in ("/v1/models", "/report.html", "/health", "/"):
        for host in ("rebound.example", "127.0.0.1.rebound.example", "rebound.example:8008", ""):
            assert client.get(path, headers={"Host": host}).status_code == 400
    assert client.get("/health", headers={"Host": "localhost:1"}).json() == {"status": "ok"}


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "http://127.0.0.1:9"])
def test_no_foreign_page_may_read_an_answer(front: Front, serve: Serve, origin: str) -> None:
    client = front({ARM: upstream(serve(echoing))})
    wanted = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    wanted |= {"Access-Control-Request-Headers": "authorization,content-type"}
    replies = [
        client.options("/v1/chat/completions", headers=wanted),
        client.post("/v1/chat/completions", json=ASK, headers={"Origin": origin}),
        httpx2.get(f"{client.base_url}/v1/models", headers={"Origin": origin}),
    ]
    allowed = [reply.headers.get("access-control-allow-origin") for reply in replies]
    assert allowed == ["null" if origin == "null" else None] * 3
    names = replies[0].headers["access-control-allow-headers"].lower()
    assert "authorization" in names
    assert "*" not in str([reply.headers for reply in replies])


def test_the_report_is_given_to_no_other_page(front: Front, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    client = front({}, report)
    assert client.get("/report.html").status_code == 404
    report.write_text("<h1>ä</h1>", encoding="utf-8")
    for path in ("/", "/report.html"):
        reply = httpx2.get(f"{client.base_url}{path}", headers={"Origin": "null"})
        assert reply.text == "<h1>ä</h1>"
        assert "access-control-allow-origin" not in reply.headers
        assert reply.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert client.get("/config.yaml").status_code == 404


def test_keys_are_in_no_log(
    front: Front, serve: Serve, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    client = front({ARM: upstream(serve(lambda *_: Reply(pieces=chat_events("hi"))))})
    client.post("/v1/chat/completions", json=ASK | {"stream": True})
    client.get("/v1/models", headers={"Authorization": "Bearer wrong-key"})
    logged = caplog.text + "".join(capfd.readouterr())
    assert caplog.records
    assert not [key for key in (KEY, FRONT_KEY, "wrong-key") if key in logged]
    assert KEY not in repr(upstream(serve(echoing)))


def test_a_taken_port_is_another_one_unless_it_was_asked_for() -> None:
    app = build_app({}, key=FRONT_KEY)
    with ExitStack() as opened:
        taken = opened.enter_context(socket.socket())
        try:
            taken.bind(("127.0.0.1", DEFAULT_PORT))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        url = opened.enter_context(serve_front(app))
        port = int(url.rpartition(":")[2])
        assert port != DEFAULT_PORT
        with pytest.raises(UserError, match=f"port {port} cannot be used"):
            opened.enter_context(serve_front(app, port))


def test_a_stopped_endpoint_is_gone(serve: Serve) -> None:
    with serve_front(build_app({}, key=FRONT_KEY), 0) as url:
        assert httpx2.get(f"{url}/health").status_code == 200
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{url}/health")
    assert "front" not in [thread.name for thread in threading.enumerate()]


def test_an_open_stream_does_not_keep_it_from_stopping(serve: Serve) -> None:
    released = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield event(chunk("first"))
        released.wait(20)

    server = serve(lambda *_: Reply(pieces=pieces()))
    headers = {"Authorization": f"Bearer {FRONT_KEY}"}
    with httpx2.Client(headers=headers, timeout=20) as client:
        with serve_front(build_app({ARM: upstream(server)}, key=FRONT_KEY), 0) as url:
            asked = client.build_request(
                "POST", f"{url}/v1/chat/completions", json=ASK | {"stream": True}
            )
            next(client.send(asked, stream=True).iter_raw())
        released.set()
