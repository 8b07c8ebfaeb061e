"""A request to an arm -> the reply of the server behind it, under the arm's name.

Streams pass through event by event. A server that is down, breaks off or refuses its key is told as
an error that names the arm; what a server says of a request goes on as it is, without its key.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import httpx2

from evals.server import is_loopback
from imitate.serving.limits import ANSWER_TIMEOUT, renamed_limit, wants_other_limit
from imitate.serving.retelling import Decode, Retelling
from imitate.serving.sse import DONE, format_event, read_events

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Relay", "Upstream", "error_response", "json_response", "open_relay"]

MAX_BODY_BYTES = 1_000_000
EVENT_STREAM = "text/event-stream"


@dataclasses.dataclass(frozen=True)
class Upstream:
    """Where an arm is served: a server's URL up to `/v1`, its key, its name for the arm.

    `kind` says what the arm is: base, imitator, control, teacher. `defaults` are fields that its
    server gets where a request leaves them out. With `decode`, a server of vLLM's is asked for
    tokens, and its answers are spelled here.
    """

    url: str
    model: str
    api_key: str | None = dataclasses.field(default=None, repr=False)
    kind: str = ""
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    decode: Decode | None = None


@contextlib.asynccontextmanager
async def open_relay(arms: Mapping[str, Upstream]) -> AsyncIterator[Relay]:
    """Yield a relay to the servers of arms, connected until the block ends."""
    async with (
        httpx2.AsyncClient(
            timeout=ANSWER_TIMEOUT, trust_env=False
        ) as near,  # no proxy reaches these
        httpx2.AsyncClient(timeout=ANSWER_TIMEOUT) as far,
    ):
        yield Relay(arms, near, far)


class Relay:
    """Open connections to the servers of arms."""

    def __init__(
        self, arms: Mapping[str, Upstream], near: httpx2.AsyncClient, far: httpx2.AsyncClient
    ) -> None:
        self._arms = arms
        self._near, self._far = near, far

    async def answer(self, request: Request) -> Response:
        """Return what the arm's server answers."""
        raw = await _read_body(request)
        if raw is None:
            return error_response(413, f"a request may have {MAX_BODY_BYTES:,} bytes", "too_large")
        body = _parsed(raw.decode("utf-8", errors="replace"))
        if not isinstance(body, dict):
            return error_response(400, "a request is a JSON object", "not_json")
        arm = body.get("model")
        if not isinstance(arm, str) or arm not in self._arms:
            there = ", ".join(self._arms)
            return error_response(
                404, f"no arm `{arm}` here; there are: {there}", "model_not_found"
            )
        path = request.url.path.removeprefix("/v1")
        return await self._forward(arm, path, body)

    async def _forward(self, arm: str, path: str, body: dict[str, Any]) -> Response:
        upstream = self._arms[arm]
        body = {**upstream.defaults, **body, "model": upstream.model}
        retelling = _retelling(upstream, body)
        if retelling:
            body["return_token_ids"] = True
        try:
            response = await self._send(upstream, path, body)
            if await wants_other_limit(response):
                response = await self._send(upstream, path, renamed_limit(body))
        except httpx2.HTTPError as error:
            return error_response(
                502, f"the server of `{arm}` does not answer: {_kind(error)}", "upstream"
            )
        if response.headers.get("content-type", "").startswith(EVENT_STREAM):
            from starlette.responses import StreamingResponse

            return StreamingResponse(
                _renamed(response, arm, upstream, retelling),
                response.status_code,
                media_type=EVENT_STREAM,
            )
        return await _whole(response, arm, upstream, retelling)

    async def _send(self, upstream: Upstream, path: str, body: dict[str, Any]) -> httpx2.Response:
        client = self._near if is_loopback(upstream.url) else self._far
        key = upstream.api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = upstream.url.rstrip("/") + path
        request = client.build_request("POST", url, json=body, headers=headers)
        return await client.send(request, stream=True)


async def _renamed(
    response: httpx2.Response, arm: str, upstream: Upstream, retelling: Retelling | None
) -> AsyncIterator[bytes]:
    """Yield a server's events under the arm's name; one that breaks off ends in an error."""
    try:
        async for data in read_events(response.aiter_bytes()):
            told = _without_key(data, upstream)
            event = _parsed(told)
            if not isinstance(event, dict):
                yield format_event(told)
                continue
            yield format_event(_under_name(retelling.event(event) if retelling else event, arm))
    except httpx2.HTTPError as error:
        message = f"the server of `{arm}` broke off: {_kind(error)}"
        yield format_event({"error": {"message": message, "type": "upstream", "code": 502}})
        yield format_event(DONE)
    finally:
        await response.aclose()


async def _whole(
    response: httpx2.Response, arm: str, upstream: Upstream, retelling: Retelling | None
) -> Response:
    """Return a reply that is not streamed, or an error's."""
    try:
        raw = await response.aread()
    except httpx2.HTTPError as error:
        return error_response(502, f"the server of `{arm}` broke off: {_kind(error)}", "upstream")
    finally:
        await response.aclose()
    if response.status_code in {401, 403}:
        return error_response(
            502, f"the server of `{arm}` refuses the key that it was given", "upstream"
        )
    text = _without_key(raw.decode("utf-8", errors="replace"), upstream)
    content = _parsed(text)
    if not isinstance(content, dict):
        told = f"{response.status_code}: {' '.join(text.split())[:300]}"
        return error_response(
            502, f"the server of `{arm}` replied no JSON object, {told}", "upstream"
        )
    if retelling:
        content = retelling.whole(content)
    return json_response(_under_name(content, arm), response.status_code)


def _retelling(upstream: Upstream, body: Mapping[str, Any]) -> Retelling | None:
    """Return what spells an answer; None where its text is more or less than its tokens say."""
    if upstream.decode is None or body.get("stop") or body.get("echo"):
        return None
    return Retelling(upstream.decode)


def _parsed(text: str) -> Any:
    """Return what JSON says, None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _under_name(content: dict[str, Any], arm: str) -> dict[str, Any]:
    return content | {"model": arm} if "model" in content else content


def _without_key(text: str, upstream: Upstream) -> str:
    return text.replace(upstream.api_key, "[key]") if upstream.api_key else text


async def _read_body(request: Request) -> bytes | None:
    """Return a request's body, None where it is too large."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def json_response(content: Any, status: int = 200) -> Response:
    """Return a reply that no cache keeps."""
    from starlette.responses import JSONResponse

    return JSONResponse(content, status, headers={"Cache-Control": "no-store"})


def error_response(status: int, message: str, code: str) -> Response:
    """Return an error as the OpenAI protocol has it."""
    return json_response({"error": {"message": message, "type": code, "code": status}}, status)


def _kind(error: httpx2.HTTPError) -> str:
    """Return what went wrong with a connection; the error itself may quote a request's headers."""
    match error:
        case httpx2.ConnectError() | httpx2.ConnectTimeout():
            return "it cannot be reached"
        case httpx2.TimeoutException():
            return "nothing came in time"
        case _:
            return "the connection was lost"
