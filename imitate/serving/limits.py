"""What all servers are asked with: how long an answer may take, and what its limit is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2

__all__ = ["ANSWER_TIMEOUT", "renamed_limit", "wants_other_limit"]

ANSWER_TIMEOUT = httpx2.Timeout(600, connect=10)
"""In seconds: a large model on a busy CPU; the connection itself is refused sooner."""

LIMIT_NAMES = {"max_tokens": "max_completion_tokens"}
"""Newer models of some hosts take the token limit under its other name only."""


async def wants_other_limit(response: httpx2.Response) -> bool:
    """Return whether a server refused a request for the name of its token limit."""
    return response.status_code == 400 and b"max_completion_tokens" in await response.aread()


def renamed_limit(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with the token limit under its other name."""
    return {LIMIT_NAMES.get(name, name): value for name, value in body.items()}
