"""A real server on loopback that does as a test scripts it, and ways to ask it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from evals.client import OpenAIEndpoint
from evals.endpoint import BASE, Generation, Sampling
from evals.server import Server
from evals.transport import CallPolicy, Clock

KEY = "sk-0123456789-secret-abcdef"
GREEDY = Sampling(max_tokens=20)

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the fake server sends; `claims` is a Content-Length that the body does not keep.

    `pieces` are streamed instead of the body; where they raise `ConnectionError`, it breaks off.
    """

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    claims: int | None = None
    before: Callable[[], object] = lambda: None
    pieces: Iterable[bytes] | None = None


Script = Callable[[Body, int], Reply]
"""A request's body and its number from 0 -> the reply."""


class QuietHandler(BaseHTTPRequestHandler):
    """Logs nothing; clients may leave at any time."""

    def handle(self) -> None:
        """Answer the requests of one connection."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class FakeServer:
    """Answers by script; keeps the requests."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[str, Body, dict[str, str]]] = []
        lock = threading.Lock()
        fake = self

        class Handler(QuietHandler):
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
                    if reply.pieces is None:
                        self.send(reply, content)
                    else:
                        self.stream(reply, reply.pieces)
                except ConnectionError:
                    self.close_connection = True

            def stream(self, reply: Reply, pieces: Iterable[bytes]) -> None:
                self.send_response(reply.status)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in pieces:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")

            def send(self, reply: Reply, content: bytes) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(reply.claims or len(content)))
                self.end_headers()
                self.wfile.write(content)
                if reply.claims:
                    self.close_connection = True

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


def event(data: Any) -> bytes:
    """Return a server-sent event."""
    return b"data: " + (data if isinstance(data, bytes) else as_json(data)) + b"\n\n"


def chunk(text: str, model: str = "m", reason: str | None = None) -> Body:
    """Return one piece of a streamed chat answer."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return {"object": "chat.completion.chunk", "model": model, "choices": [choice]}


def chat_events(*texts: str, model: str = "m") -> Iterator[bytes]:
    """Yield a whole streamed answer, event by event."""
    for text in texts:
        yield event(chunk(text, model))
    yield event(chunk("", model, "stop"))
    yield event({"object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 9}})
    yield event(b"[DONE]")


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
