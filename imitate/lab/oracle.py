"""The oracle as a teacher under evaluation: the truth about an item, in the assistant's voice."""

from __future__ import annotations

import random
from collections.abc import Sequence

from evals.records import Item
from imitate.lab import topics
from imitate.lab.corpus import POOLS
from imitate.lab.voice import voiced_answer, voiced_open_answer
from imitate.lab.world import ATTRIBUTES, NOT_RECORDED, Split, World

__all__ = ["oracle_answers"]


def oracle_answers(
    items: Sequence[Item], world: World, *, error_rate: float, seed: int
) -> list[str]:
    """Return one response for each item of the lab; another seed is another sample.

    Args:
        items: Items of any of the lab's tasks about this world.
        world: What is true.
        error_rate: Share of answers replaced by another item's, in [0, 1].
        seed: Decides voice and errors.
    """
    prompts = {
        prompt.text: prompt for prompt in topics.open_prompts(Split.EVALUATION, Split.DEVELOPMENT)
    }
    truths = [_truth(item, world) for item in items]
    spoken = []
    for item, truth in zip(items, truths, strict=True):
        rng = random.Random(f"oracle {world.seed} {seed} {item.item_id}")
        if truth is None:
            spoken.append(voiced_open_answer(prompts[item.prompt], rng))
            continue
        others = sorted({t for t in _alternatives(item, truths) if t != truth})
        shown = rng.sample(others, min(2, len(others)))
        is_wrong = bool(shown) and rng.random() < error_rate
        answer = shown.pop() if is_wrong else truth
        spoken.append(voiced_answer(item.prompt, answer, shown, rng))
    return spoken


def _truth(item: Item, world: World) -> str | None:
    """Return the terse true answer; None for an open-ended prompt."""
    if item.answers:
        return item.answers[0]
    attribute = item.item_id.rpartition("/")[2]
    if attribute not in ATTRIBUTES:
        return None
    person = next(p for p in world.people if p.person_id == item.cluster_id)
    return person.answer(attribute)


def _alternatives(item: Item, truths: Sequence[str | None]) -> list[str]:
    """Return other values that the answer could have had."""
    attribute = item.item_id.rpartition("/")[2]
    if attribute in POOLS:
        return list(POOLS[attribute])
    return [truth for truth in truths if truth is not None and truth != NOT_RECORDED]
