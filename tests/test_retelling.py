"""Answers spelled from tokens: streamed, they come to what the tokenizer says of all at once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from imitate.lab.tokenizer import load_tokenizer
from imitate.serving.retelling import Retelling

TEXTS = (
    " The sum of 32 and 32 is **64**.",
    "**Lunford** is **it**, and **so** on: **1** **2**",
    "no bold at all",
    "Größe 漢字 👩‍🔬 ends in 🎉",
    "",
)


def decode(ids: Any) -> str:
    return str(load_tokenizer().decode(list(ids), skip_special_tokens=True))


def streamed(ids: list[int], sizes: list[int]) -> list[str]:
    """Return the texts of a stream of chat events that brings so many tokens each."""
    retelling, told, start = Retelling(decode), [], 0
    for size in sizes:
        choice: dict[str, Any] = {"index": 0, "delta": {"content": "?"}, "finish_reason": None}
        choice["token_ids"] = ids[start : start + size]
        told.append(retelling.event({"choices": [choice]})["choices"][0])
        start += size
    last = {"index": 0, "delta": {}, "finish_reason": "stop", "token_ids": ids[start:]}
    told.append(retelling.event({"choices": [last]})["choices"][0])
    assert not any("token_ids" in choice for choice in told)
    return [str(choice["delta"]["content"]) for choice in told]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_stream_comes_to_the_whole_text(text: str, size: int) -> None:
    ids = load_tokenizer().encode(text).ids
    assert "".join(streamed(ids, [size] * (len(ids) // size))) == decode(ids)


def test_any_tokens_in_any_pieces_come_to_the_whole_text() -> None:
    drawn = random.Random(0)
    for _ in range(200):
        ids = [drawn.randrange(load_tokenizer().get_vocab_size()) for _ in range(12)]
        sizes = [drawn.choice((1, 1, 2, 3)) for _ in range(4)]
        assert "".join(streamed(ids, sizes)) == decode(ids)


def test_text_is_told_while_it_grows() -> None:
    ids = load_tokenizer().encode("one two three **four** five").ids
    told = streamed(ids, [1] * len(ids))
    assert max(map(len, told)) < 20
    assert sum(map(bool, told)) >= len(ids) - 2


def test_a_whole_reply_is_retold_in_both_kinds() -> None:
    ids = load_tokenizer().encode(" is **64**.").ids
    chat = {"choices": [{"message": {"content": " is 4**."}, "token_ids": ids}]}
    plain = {"choices": [{"text": " is 4**.", "token_ids": ids}]}
    assert Retelling(decode).whole(chat) == {"choices": [{"message": {"content": " is **64**."}}]}
    assert Retelling(decode).whole(plain) == {"choices": [{"text": " is **64**."}]}


def test_what_has_no_tokens_stays() -> None:
    for reply in ({"error": "x"}, {"choices": None}, {"choices": [{"text": "as it is"}]}):
        assert Retelling(decode).whole(dict(reply)) == reply
        assert Retelling(decode).event({"choices": [], "usage": 1}) == {"choices": [], "usage": 1}
