"""Descriptions that decide nothing: fates of answers, what the base knew, how answers end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evals.factuality import (
    KnowledgeClasses,
    classify_knowledge,
    measure_rates,
    split_by_group,
    split_by_knowledge,
)
from evals.records import Completion, Format, Item, Score
from imitate.jsonio import plain

__all__ = ["describe_answers", "describe_termination", "group_by_knowledge"]


def describe_answers(
    scores: Sequence[Score], items: Sequence[Item], known: KnowledgeClasses | None
) -> dict[str, Any]:
    """Return one arm's fates of answers by format, also by popularity and by what its base knew."""
    described: dict[str, Any] = {}
    for format_ in Format:
        mine = [s for s in scores if s.format is format_ and not s.is_development]
        if not mine:
            continue
        groups = split_by_group(mine, items)
        by_knowledge = split_by_knowledge(mine, known) if known else {}
        described[format_.value] = _rates(mine) | {
            "by_group": {name: _rates(part) for name, part in groups.items() if name and part},
            "by_knowledge": {
                name.value: _rates(part) for name, part in by_knowledge.items() if part
            },
        }
    return described


def group_by_knowledge(scores: Sequence[Score], items: Sequence[Item]) -> KnowledgeClasses:
    """Return what a base knows of the items that have an answer.

    `scores` holds greedy draws first, then as many sampled ones, numbered from 1.
    """
    answered = {item.item_id for item in items if item.answers}
    mine = [score for score in scores if score.item_id in answered]
    n_greedy = max((score.sample for score in mine), default=0) // 2
    return classify_knowledge(
        [score for score in mine if score.sample <= n_greedy],
        [score for score in mine if score.sample > n_greedy],
    )


def describe_termination(completions: Mapping[str, Sequence[Completion]]) -> dict[str, Any]:
    """Return how answers end and how long they are, by arm and format."""
    described: dict[str, Any] = {}
    for arm, said in completions.items():
        for format_ in Format:
            mine = [c for c in said if c.format is format_]
            if mine:
                described.setdefault(arm, {})[format_.value] = _endings(mine)
    return described


def _endings(completions: Sequence[Completion]) -> dict[str, Any]:
    n = len(completions)
    lengths = [c.n_tokens for c in completions if c.finish_reason != "error"]
    quantiles = np.percentile(lengths, [10, 50, 90]).tolist() if lengths else [None] * 3
    share = {
        reason: sum(c.finish_reason == reason for c in completions) / n
        for reason in ("stop", "length", "error")
    }
    return {
        "eos_rate": share["stop"],
        "truncated_rate": share["length"],
        "error_rate": share["error"],
        "tokens_p10": quantiles[0],
        "tokens_p50": quantiles[1],
        "tokens_p90": quantiles[2],
        "n": n,
    }


def _rates(scores: Sequence[Score]) -> dict[str, Any]:
    rates = measure_rates(scores)
    return {
        "right": plain(rates.right),
        "wrong": plain(rates.wrong),
        "abstained": plain(rates.abstained),
        "hallucination_rate": plain(rates.hallucination),
        "extraction_rate": plain(rates.extraction),
        "n_items": rates.n,
        "n_failed": rates.n_failed,
    }
