"""Runs of several widths -> where each begins to compute, against what it can store."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from evals.memorization.law import BITS_PER_PARAMETER
from evals.probes.grokking.phases import Outcome
from evals.probes.grokking.saturation import data_bits, find_onset, held_bits

__all__ = ["find_saturation"]

Entry = dict[str, Any]

UNRULED = "random"
"""The operation without a rule, on which capacity is measured."""
NEARLY = 0.9
"""Of a table's bits: whoever holds less has no room for all of it, or would not learn it."""


def find_saturation(runs: Sequence[Entry]) -> list[Entry]:
    """Return one entry an operation, modulus, decay, length and width.

    None where widths do not differ. A share of the table counts as learned where every seed came
    to be right on fresh rows, soon or late.
    """
    planes: dict[tuple[Any, ...], list[Entry]] = {}
    for one in runs:
        run = one["run"]
        key = tuple(run[name] for name in ("operation", "p", "weight_decay", "epochs", "width"))
        planes.setdefault(key, []).append(one)
    ruled = [key for key in planes if key[0] != UNRULED]
    if len({key[-1] for key in ruled}) < 2:
        return []
    return [_onset(key, planes) for key in sorted(ruled) if len(_shares(planes[key])) > 1]


def _onset(key: tuple[Any, ...], planes: dict[tuple[Any, ...], list[Entry]]) -> Entry:
    operation, p, decay, epochs, width = key
    runs = planes[key]
    found = find_onset({share: all(map(_is_learned, _at(runs, share))) for share in _shares(runs)})
    n_parameters = runs[0]["n_parameters"]
    at_onset = _at(runs, found.share)
    return {
        "operation": operation,
        "p": p,
        "weight_decay": decay,
        "epochs": epochs,
        "width": width,
        "n_parameters": n_parameters,
        **_room(n_parameters, p, planes.get((UNRULED, *key[1:]), [])),
        **dataclasses.asdict(found),
        "data_bits": data_bits(at_onset[0]["n_train"], p) if at_onset else None,
    }


def _room(n_parameters: int, p: int, unruled: Sequence[Entry]) -> Entry:
    """Return how many bits networks can store: measured where they could not hold a whole table.

    Where they held nearly all that there was of every table, the room is larger, and the published
    bits a parameter stand for it.
    """
    published = BITS_PER_PARAMETER * n_parameters
    held = [held_bits(one["n_train"], p, one["measures"][-1]["loss"]["train"]) for one in unruled]
    full = [
        bits
        for one, bits in zip(unruled, held, strict=True)
        if bits < NEARLY * data_bits(one["n_train"], p)
    ]
    return {
        "published_bits": published,
        "held_bits": max(held) if held else None,
        "room_bits": max(held) if full else published,
        "is_measured": bool(full),
    }


def _shares(runs: Sequence[Entry]) -> list[float]:
    return sorted({one["run"]["train_fraction"] for one in runs})


def _at(runs: Sequence[Entry], share: float) -> list[Entry]:
    return [one for one in runs if one["run"]["train_fraction"] == share]


def _is_learned(one: Entry) -> bool:
    return one["phases"]["outcome"] in (Outcome.GROKKED, Outcome.AT_ONCE)
