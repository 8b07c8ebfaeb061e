"""Who meets whom: the answers of arms to the same items -> pairs for a judge.

In: items, what each arm answered, and which arms meet. Out: a `Pair` for every item that both have
answered, named so that whoever builds the pairs again finds the same ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from evals.judges.pairs import Pair
from evals.records import Completion, Item

__all__ = ["Meeting", "answers_by_item", "meeting_id", "pair_answers"]

Meeting = tuple[str, str]
"""Two arms: the one that a preference is for, and the one that it meets."""


def answers_by_item(completions: Iterable[Completion]) -> dict[str, str]:
    """Return the text of each answer by its item; failed calls are no answers."""
    return {one.item_id: one.text for one in completions if one.finish_reason != "error"}


def pair_answers(
    items: Sequence[Item], answers: Mapping[str, Mapping[str, str]], meetings: Iterable[Meeting]
) -> list[Pair]:
    """Return the pairs of all meetings, item by item.

    Args:
        items: What was asked.
        answers: By arm, its answers by item.
        meetings: Which arms meet.
    """
    return [
        Pair(
            pair_id=meeting_id(item.item_id, (arm, against)),
            prompt=item.prompt,
            answer=answers[arm][item.item_id],
            other_answer=answers[against][item.item_id],
            arm=arm,
            against=against,
            cluster_id=item.cluster_id,
            group=item.group,
            reference=item.answers[0] if item.answers else "",
        )
        for arm, against in meetings
        for item in items
        if item.item_id in answers.get(arm, {}) and item.item_id in answers.get(against, {})
    ]


def meeting_id(item_id: str, meeting: Meeting) -> str:
    """Return the id of the pair in which two arms answer an item."""
    return "|".join((item_id, *meeting))
