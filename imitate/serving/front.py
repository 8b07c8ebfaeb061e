"""One loopback endpoint in front of several model servers: an arm's name -> the server behind it.

In: OpenAI-compatible requests whose `model` is the name of an arm. Out: what the arm's server
answers, streamed through, under the arm's name. It also gives out the run's report, whose
spot-check panel asks it.

Whoever may ask: `/v1` wants the key, and tells no web page but a file's (origin `null`) what it
answers; a page that this server gives out needs no permission. Requests that name another host are
refused, so that no name that a web site points at this machine reaches it.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.errors import RunError, UserError
from imitate.serving.relay import Relay, Upstream, error_response, json_response, open_relay
from imitate.vllm.command import missing_vllm

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["DEFAULT_PORT", "build_app", "serve_front"]

DEFAULT_PORT = 8008
HOSTS = ("127.0.0.1", "localhost")
_FORWARDED = ("/chat/completions", "/completions")

_PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def build_app(arms: Mapping[str, Upstream], *, key: str, report: Path | None = None) -> Starlette:
    """Return the endpoint as an ASGI application.

    Args:
        arms: Where each arm is served.
        key: What `/v1` asks for.
        report: The page at `/report.html`.

    Raises:
        MissingExtraError: Starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.cors import CORSMiddleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.routing import Mount, Route
    except ImportError:
        raise missing_vllm() from None

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_relay(arms) as relay:
            app.state.relay = relay
            yield

    async def complete(request: Request) -> Response:
        relay: Relay = request.app.state.relay
        return await relay.answer(request)

    async def list_models(_: Request) -> Response:
        return json_response(
            {"object": "list", "data": [_model_entry(*arm) for arm in arms.items()]}
        )

    async def health(_: Request) -> Response:
        return json_response({"status": "ok"})

    async def page(_: Request) -> Response:
        return _page(report)

    guard = [
        Middleware(
            CORSMiddleware,
            allow_origins=["null"],
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            allow_private_network=True,
        ),
        Middleware(_KeyCheck, key=key),
    ]
    inner = [Route(path, complete, methods=["POST"]) for path in _FORWARDED]
    inner.append(Route("/models", list_models))
    return Starlette(
        routes=[
            Mount("/v1", routes=inner, middleware=guard),
            Route("/health", health),
            Route("/", page),
            Route("/report.html", page),
        ],
        middleware=[Middleware(TrustedHostMiddleware, HOSTS, www_redirect=False)],
        lifespan=lifespan,
    )


@contextlib.contextmanager
def serve_front(app: Starlette, port: int | None = None) -> Iterator[str]:
    """Serve an application on 127.0.0.1, from a thread, and yield its URL.

    Args:
        app: What is served.
        port: Which port; where none is asked for, 8008 or any free one.

    Raises:
        MissingExtraError: Uvicorn is not installed.
        RunError: It did not start.
        UserError: The port is taken, or may not be used.
    """
    try:
        import uvicorn
    except ImportError:
        raise missing_vllm() from None

    with contextlib.closing(_bound(port)) as bound:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([bound],), name="front", daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise RunError("the endpoint did not start: see the lines above")
                time.sleep(0.01)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _bound(port: int | None) -> socket.socket:
    """Return a socket on a port of loopback; on any free one where the usual one is taken."""
    wanted = DEFAULT_PORT if port is None else port
    try:
        return socket.create_server(("127.0.0.1", wanted))
    except OSError as error:
        if port is None:
            return socket.create_server(("127.0.0.1", 0))
        raise UserError(
            f"port {port} cannot be used: {error.strerror}", hint="leave --port out: a free one is"
        ) from None


class _KeyCheck:
    """Lets requests with the key through."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if secrets.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
            return
        refused = error_response(
            401, "this endpoint wants its key, which `imitate serve` prints", "key"
        )
        await refused(scope, receive, send)


def _model_entry(name: str, upstream: Upstream) -> dict[str, Any]:
    return {"id": name, "object": "model", "owned_by": "imitate", "kind": upstream.kind}


def _page(report: Path | None) -> Response:
    from starlette.responses import HTMLResponse

    if report is None or not report.is_file():
        return error_response(404, "this run has no report yet", "no_report")
    return HTMLResponse(report.read_text(encoding="utf-8"), headers=_PAGE_HEADERS)
