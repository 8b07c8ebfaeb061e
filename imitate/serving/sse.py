"""Server-sent events as model servers stream them: bytes in any pieces -> the data of each event.

Source: WHATWG HTML, "Server-sent events", section 9.2.6, of which only `data` matters here:
comments and other fields are passed over, and an event that the stream breaks off after counts.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

__all__ = ["DONE", "format_event", "read_events"]

DONE = "[DONE]"
"""The data of the last event of a stream."""

_LINE_END = re.compile(r"\r\n|\n|\r(?!$)")
"""A `\\r` at the end of a piece may be half of a line end, so it waits for the next one."""


async def read_events(pieces: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Yield the data of each event, its lines joined."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest, data = "", list[str]()
    async for piece in pieces:
        *lines, rest = _LINE_END.split(rest + decoder.decode(piece))
        for line in lines:
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line and data:
                yield "\n".join(data)
                data = []
    if rest.startswith("data:"):
        data.append(rest[5:].removeprefix(" ").rstrip("\r"))
    if data:
        yield "\n".join(data)


def format_event(data: dict[str, Any] | str) -> bytes:
    """Return an event with a JSON object, or with text, as its data."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return "".join(f"data: {line}\n" for line in text.split("\n")).encode() + b"\n"
