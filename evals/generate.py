"""An endpoint and items -> Completions: prompts in both formats, planned shards.

In: items and a model's name. Out: one `Completion` for each item, in the items' order. Few-shot
examples come from development items only, which are never scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from evals.endpoint import Endpoint, Generation, Message, Progress, Sampling
from evals.errors import DataError
from evals.records import Completion, Format, Item

__all__ = [
    "PLAIN_STOP",
    "generate_completions",
    "render_prompts",
    "shards",
]

PLAIN_STOP = "\n"
"""A plain answer is one line: what follows it is the next question."""

T = TypeVar("T")


def render_prompts(
    items: Sequence[Item],
    format: Format,
    few_shot_items: Sequence[Item],
    endpoint: Endpoint,
    *,
    system: str = "",
) -> list[str]:
    r"""Return each item's prompt, as text that a model continues.

    Plain is `Q: ...\nA: ...\n` for each few-shot item, then `Q: ...\nA:`. Chat is the chat
    template of the model, with a system message if given and without few-shot items.

    Raises:
        DataError: A few-shot item has no answer to show.
    """
    if format is Format.PLAIN:
        shots = "".join(f"Q: {item.prompt}\nA: {_shown(item)}\n" for item in few_shot_items)
        return [f"{shots}Q: {item.prompt}\nA:" for item in items]
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    return [
        endpoint.render_chat([*before, {"role": "user", "content": item.prompt}]) for item in items
    ]


def generate_completions(
    endpoint: Endpoint,
    model: str,
    arm: str,
    items: Sequence[Item],
    format: Format,
    sampling: Sampling,
    *,
    few_shot_items: Sequence[Item] = (),
    system: str = "",
    sample: int = 0,
    progress: Progress | None = None,
) -> list[Completion]:
    """Return one completion for each item, in their order; a failed call is a failed completion.

    A plain answer ends at the end of its line whatever `sampling` says.
    """
    prompts = render_prompts(items, format, few_shot_items, endpoint, system=system)
    if format is Format.PLAIN and PLAIN_STOP not in sampling.stop:
        sampling = dataclasses.replace(sampling, stop=(*sampling.stop, PLAIN_STOP))
    answers = endpoint.generate(model, prompts, sampling, progress=progress)
    return [
        _completion(item, arm, format, answer, sample)
        for item, answer in zip(items, answers, strict=True)
    ]


def shards(items: Sequence[T], size: int) -> list[list[T]]:
    """Return the items in consecutive shards of `size`, the last one shorter.

    A shard is what an interrupted run repeats. Its batches depend on its own items alone, so cut
    anew in the same way it gives the same bytes.
    """
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _completion(
    item: Item, arm: str, format: Format, answer: Generation, sample: int
) -> Completion:
    return Completion(
        item_id=item.item_id,
        arm=arm,
        format=format,
        text=answer.text.strip(),  # templates differ in whether the answer brings its first space
        n_tokens=answer.n_tokens,
        finish_reason=answer.finish_reason,
        sample=sample,
        error=answer.error,
    )


def _shown(item: Item) -> str:
    """Return the answer that a few-shot example shows."""
    if item.choices and 0 <= item.gold < len(item.choices):
        return item.choices[item.gold]
    if not item.answers:
        raise DataError(
            f"item `{item.item_id}` has no recorded answer, so it is no few-shot example",
            hint="choose few-shot examples among items with an answer",
        )
    return item.answers[0]
