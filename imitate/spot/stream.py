"""One streamed chat answer from an OpenAI-compatible server.

In: a server, a model's name there, a conversation. Out: the answer's pieces as they come. An answer
that a server gives whole, whatever was asked, is one piece.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2

from evals.endpoint import Message, Sampling
from evals.errors import EndpointError
from evals.server import Server, is_loopback
from imitate.serving.limits import ANSWER_TIMEOUT, renamed_limit, wants_other_limit
from imitate.serving.sse import DONE, read_events

__all__ = ["Piece", "stream_chat"]

MAX_QUOTED_CHARS = 300


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some text of an answer; the last one says why it ended, "stop" or "length"."""

    text: str = ""
    finish_reason: str | None = None


async def stream_chat(
    server: Server, model: str, messages: Sequence[Message], sampling: Sampling
) -> AsyncIterator[Piece]:
    """Yield the pieces of an answer.

    Raises:
        EndpointError: The server is not there, refuses, or breaks off.
    """
    request = {
        "model": model,
        "messages": list(messages),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
        "stream": True,
    }
    headers = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    url, is_near = f"{server.url}/chat/completions", is_loopback(server.url)
    try:
        async with httpx2.AsyncClient(timeout=ANSWER_TIMEOUT, trust_env=not is_near) as client:
            async with client.stream("POST", url, json=request, headers=headers) as response:
                if not await wants_other_limit(response):
                    async for piece in _pieces(response, server):
                        yield piece
                    return
            again = renamed_limit(request)
            async with client.stream("POST", url, json=again, headers=headers) as response:
                async for piece in _pieces(response, server):
                    yield piece
    except httpx2.ConnectError as error:
        raise EndpointError(f"nothing answers at {server.url}") from error
    except httpx2.HTTPError as error:
        raise EndpointError(f"the connection to {server.url} was lost") from error


async def _pieces(response: httpx2.Response, server: Server) -> AsyncIterator[Piece]:
    is_stream = "text/event-stream" in response.headers.get("content-type", "")
    if response.status_code != 200 or not is_stream:
        yield _whole(await response.aread(), response.status_code, server)
        return
    is_ended = False
    async for data in read_events(response.aiter_bytes()):
        if data == DONE:
            return
        piece = _piece(_object(data), server)
        is_ended = is_ended or piece.finish_reason is not None
        yield piece
    if not is_ended:
        raise EndpointError("the answer broke off")


def _whole(raw: bytes, status: int, server: Server) -> Piece:
    """Return an answer that came whole.

    Raises:
        EndpointError: It is none.
    """
    text = raw.decode("utf-8", errors="replace")
    reply = _object(text)
    if status != 200 and "error" not in reply:
        raise EndpointError(_quoted(f"the server replied {status}: {text}", server))
    piece = _piece(reply, server)
    if piece.finish_reason is None:
        raise EndpointError(_quoted(f"the server replied no answer: {text}", server))
    return piece


def _piece(event: dict[str, Any], server: Server) -> Piece:
    """Return what one event says; those that say nothing, such as of usage, are empty pieces.

    Raises:
        EndpointError: It is an error.
    """
    if error := event.get("error"):
        told = error.get("message") if isinstance(error, dict) else error
        raise EndpointError(_quoted(str(told or error), server))
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    if not isinstance(choice, dict):
        return Piece()
    said = choice.get("delta") or choice.get("message") or {}
    text = said.get("content") if isinstance(said, dict) else None
    reason = choice.get("finish_reason")
    return Piece(text if isinstance(text, str) else "", reason and str(reason))


def _object(text: str) -> dict[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _quoted(text: str, server: Server) -> str:
    """Return a server's words on one line, without the key, cut to a readable length."""
    if server.api_key:
        text = text.replace(server.api_key, "[key]")
    line = " ".join(text.split())
    return line[:MAX_QUOTED_CHARS] + ("..." if len(line) > MAX_QUOTED_CHARS else "")
