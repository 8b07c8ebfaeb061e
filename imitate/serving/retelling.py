"""A server's answer by its tokens -> the text that its tokenizer makes of them.

vLLM makes text of one token after another. Where the text of a token hangs on the next (the lab's
opening `**`), that loses characters; the tokenizer itself, given several tokens, does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Decode", "Retelling"]

Decode = Callable[[Sequence[int]], str]
"""Token ids -> their text, without special tokens."""

N_BEFORE = 8
"""Tokens before the next ones that their text may hang on."""


class Retelling:
    """One reply, whole or event by event, retold from the `token_ids` in it."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._streams: dict[Any, _Stream] = {}

    def whole(self, reply: dict[str, Any]) -> dict[str, Any]:
        """Return a reply with the text of its tokens."""
        for choice in _choices(reply):
            if (ids := choice.pop("token_ids", None)) is not None:
                _put(choice, self._decode(ids), "message")
        return reply

    def event(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return a streamed event with what can be told by now; one token waits for the next."""
        for choice in _choices(event):
            ids = choice.pop("token_ids", None) or []
            stream = self._streams.setdefault(choice.get("index"), _Stream(self._decode))
            is_last = choice.get("finish_reason") is not None
            if ids or is_last:
                _put(choice, stream.tell(ids, is_last=is_last), "delta")
        return event


class _Stream:
    """Tokens whose text is told, the last of them, and tokens that are held back."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._told: list[int] = []
        self._held: list[int] = []

    def tell(self, ids: Sequence[int], *, is_last: bool) -> str:
        self._held += ids
        n_told = len(self._decode(self._told))
        text = self._decode(self._told + self._held)
        if is_last:
            return text[n_told:]
        *ready, _ = self._held
        settled = self._decode(self._told + ready)
        if not text.startswith(settled) or settled.endswith("\ufffd"):  # half a character
            return ""
        self._told, self._held = (self._told + ready)[-N_BEFORE:], self._held[-1:]
        return settled[n_told:]


def _choices(reply: dict[str, Any]) -> list[dict[str, Any]]:
    listed = reply.get("choices")
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _put(choice: dict[str, Any], text: str, chat_field: str) -> None:
    if isinstance(said := choice.get(chat_field), dict):
        said["content"] = text
    else:
        choice["text"] = text
