"""An endpoint and items -> Completions: prompts in both formats, planned shards, terminations.

In: items and a model's name. Out: one `Completion` for each item, in the items' order. Few-shot
examples come from development items only, which are never scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from evals.endpoint import Endpoint, Generation, Message, Progress, Sampling
from evals.errors import DataError
from evals.records import Completion, Format, Item

__all__ = [
    "PLAIN_STOP",
    "Termination",
    "generate_completions",
    "render_prompts",
    "shards",
    "summarise_terminations",
]

PLAIN_STOP = "\n"
"""A plain answer is one line: what follows it is the next question."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Termination:
    """How an arm's answers ended.

    `eos_share` is the share that ended by themselves (an EOS token or a stop text),
    `truncated_share` the share cut at the token limit, `failed` the number of failed calls, which
    count in neither. `length_quantiles` are tokens at 5, 25, 50, 75 and 95 %.
    """

    arm: str
    format: Format
    n: int
    eos_share: float
    truncated_share: float
    failed: int
    length_quantiles: tuple[float, float, float, float, float]


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


def summarise_terminations(completions: Sequence[Completion]) -> list[Termination]:
    """Return how answers ended, for each arm and format, in order of first appearance."""
    groups: dict[tuple[str, Format], list[Completion]] = {}
    for completion in completions:
        groups.setdefault((completion.arm, completion.format), []).append(completion)
    return [_termination(arm, format, group) for (arm, format), group in groups.items()]


def _termination(arm: str, format: Format, group: Sequence[Completion]) -> Termination:
    finished = [one for one in group if one.finish_reason != "error"]
    reasons = [one.finish_reason for one in finished]
    n = len(finished)
    lengths = [float(one.n_tokens) for one in finished] or [np.nan]
    low, lower, middle, upper, high = np.quantile(lengths, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
    return Termination(
        arm=arm,
        format=format,
        n=len(group),
        eos_share=reasons.count("stop") / n if n else np.nan,
        truncated_share=reasons.count("length") / n if n else np.nan,
        failed=len(group) - n,
        length_quantiles=(low, lower, middle, upper, high),
    )


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
