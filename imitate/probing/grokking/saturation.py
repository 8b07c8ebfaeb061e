"""Runs of several widths -> where each begins to compute, against what it can store."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from evals.memorization.law import BITS_PER_PARAMETER
from evals.probes.grokking.saturation import data_bits, find_onset, held_bits

__all__ = ["find_saturation"]

Entry = dict[str, Any]

UNRULED = "random"
"""The operation without a rule, on which capacity is measured."""


def find_saturation(runs: Sequence[Entry]) -> list[Entry]:
    """Return one entry an operation, modulus, decay and width; none where widths do not differ.

    A share of the table counts as learned where every seed came to be right on fresh rows.
    """
    planes: dict[tuple[Any, ...], list[Entry]] = {}
    for one in runs:
        run = one["run"]
        key = (run["operation"], run["p"], run["weight_decay"], run["width"])
        planes.setdefault(key, []).append(one)
    ruled = [key for key in planes if key[0] != UNRULED]
    if len({key[3] for key in ruled}) < 2:
        return []
    return [_onset(key, planes) for key in sorted(ruled) if len(planes[key]) > 1]


def _onset(key: tuple[Any, ...], planes: dict[tuple[Any, ...], list[Entry]]) -> Entry:
    operation, p, decay, width = key
    runs = planes[key]
    shares = sorted({one["run"]["train_fraction"] for one in runs})
    found = find_onset({share: all(map(_is_learned, _at(runs, share))) for share in shares})
    held = [_held(one, p) for one in planes.get((UNRULED, p, decay, width), [])]
    n_parameters = runs[0]["n_parameters"]
    at_onset = _at(runs, found.share)
    return {
        "operation": operation,
        "p": p,
        "weight_decay": decay,
        "width": width,
        "n_parameters": n_parameters,
        "published_bits": BITS_PER_PARAMETER * n_parameters,
        "held_bits": max(held) if held else None,
        **dataclasses.asdict(found),
        "data_bits": data_bits(at_onset[0]["n_train"], p) if at_onset else None,
    }


def _at(runs: Sequence[Entry], share: float) -> list[Entry]:
    return [one for one in runs if one["run"]["train_fraction"] == share]


def _is_learned(one: Entry) -> bool:
    return one["phases"]["generalised"] is not None


def _held(one: Entry, p: int) -> float:
    return held_bits(one["n_train"], p, one["measures"][-1]["loss"]["train"])
