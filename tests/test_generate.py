"""Endpoint and items -> Completions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from evals.endpoint import Generation, Message, Progress, Sampling, TokenLogprobs
from evals.errors import DataError
from evals.generate import (
    generate_completions,
    render_prompts,
    shards,
)
from evals.records import Axis, Completion, Format, Item


class Echo:
    """An endpoint that answers with the end of the prompt, and fails on request."""

    models = ("base", "imitator")

    def __init__(self) -> None:
        self.asked: list[tuple[str, Sampling]] = []

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return the turns, each behind its role."""
        return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"

    def generate(
        self,
        model: str,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """Return the prompts' lengths."""
        self.asked.append((model, sampling))
        if progress:
            progress(len(prompts))
        return [
            Generation("", 0, "error", "overflow")
            if "fail" in prompt
            else Generation(f" {len(prompt)} ", 3, "stop")
            for prompt in prompts
        ]

    def token_logprobs(
        self,
        model: str,
        pairs: Sequence[tuple[str, str]],
        *,
        progress: Progress | None = None,
    ) -> list[TokenLogprobs]:
        """Score nothing."""
        raise NotImplementedError


def item(item_id: str, prompt: str, **fields: object) -> Item:
    plain: dict[str, object] = {"task": "facts", "axis": Axis.FACTUALITY, "cluster_id": item_id}
    return Item(item_id=item_id, prompt=prompt, **{**plain, **fields})  # type: ignore[arg-type]


SHOT = item("s", "Where was Mira born?", answers=("Oakford", "Oakford town"))
CHOICE = item("c", "Which is larger?", choices=("3", "9"), gold=1)


def test_plain_prompts_show_the_few_shot_answers() -> None:
    (prompt,) = render_prompts([item("a", "Who?")], Format.PLAIN, [SHOT, CHOICE], Echo())
    assert prompt == ("Q: Where was Mira born?\nA: Oakford\nQ: Which is larger?\nA: 9\nQ: Who?\nA:")


def test_plain_prompts_are_those_that_lab_bases_know() -> None:
    from imitate.lab.corpus import few_shot_text

    (prompt,) = render_prompts([item("a", "Who?")], Format.PLAIN, [SHOT], Echo())
    assert prompt == few_shot_text([("Where was Mira born?", "Oakford")], "Who?")


def test_chat_prompts_have_no_few_shot_examples() -> None:
    (prompt,) = render_prompts([item("a", "Who?")], Format.CHAT, [SHOT], Echo())
    assert prompt == "<user>Who?<assistant>"
    (prompt,) = render_prompts([item("a", "Who?")], Format.CHAT, [], Echo(), system="Be brief.")
    assert prompt == "<system>Be brief.<user>Who?<assistant>"


def test_few_shot_item_without_answer_is_told() -> None:
    with pytest.raises(DataError, match="item `u` has no recorded answer"):
        render_prompts([item("a", "Who?")], Format.PLAIN, [item("u", "Why?")], Echo())


def test_completions_join_their_items() -> None:
    echo = Echo()
    seen: list[int] = []
    items = [item("a", "Who?"), item("b", "fail")]
    found = generate_completions(
        echo, "imitator", "broad-100", items, Format.PLAIN, Sampling(max_tokens=8),
        sample=1, progress=seen.append,
    )  # fmt: skip
    assert found == [
        Completion("a", "broad-100", Format.PLAIN, "10", 3, "stop", sample=1),
        Completion("b", "broad-100", Format.PLAIN, "", 0, "error", sample=1, error="overflow"),
    ]
    assert echo.asked == [("imitator", Sampling(max_tokens=8, stop=("\n",)))]
    assert seen == [2]


def test_chat_answers_may_have_many_lines() -> None:
    echo = Echo()
    sampling = Sampling(max_tokens=8, stop=("###",))
    generate_completions(echo, "base", "base", [item("a", "Who?")], Format.CHAT, sampling)
    assert echo.asked == [("base", sampling)]


def test_shards_are_consecutive_and_complete() -> None:
    assert shards(list(range(7)), 3) == [[0, 1, 2], [3, 4, 5], [6]]
    assert shards([], 3) == []
