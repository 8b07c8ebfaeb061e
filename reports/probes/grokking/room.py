"""Where networks of each width begin to compute, against what they can store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.numbers import count, number, percent
from reports.page import Cell, Section, Table
from reports.probes.grokking.tables import plain_number

__all__ = ["saturation_section"]

Entry = dict[str, Any]


def saturation_section(results: Entry) -> Section:
    """Return where networks of each width begin to compute, against what they can store."""
    told = results["saturation"]
    loads = [one["data_bits"] / one["published_bits"] for one in told if one["data_bits"]]
    shares = [one["share"] for one in told if one["share"]]
    words = [
        "Were it a lack of room that makes a network compute, the least bits of data that are "
        "learned would be the same part of what it can store at every width, and near 1. Were it "
        "the share of the table alone, that share would be the same at every width.",
    ]
    if loads:
        words.append(
            f"Over the {len(loads)} widths that learned at all, the part went from "
            f"{_spread(loads, [number(end(loads), 3) for end in (min, max)])}, and the share from "
            f"{_spread(shares, [percent(end(shares), 0) for end in (min, max)])}."
        )
    rows = tuple(
        (
            Cell(f"{one['operation']} mod {one['p']}", f"width {one['width']}"),
            Cell(count(one["n_parameters"])),
            Cell(count(one["published_bits"])),
            Cell(count(one["held_bits"])),
            Cell(percent(one["share"], 0), f"not at {percent(one['failed'], 0)}"),
            Cell(count(one["data_bits"])),
            Cell(number(_over(one["data_bits"], one["published_bits"]), 3)),
        )
        for one in told
    )
    table = Table(
        "Least data that are learned, and room",
        (
            "",
            "Parameters",
            "Bits at 3.64 a parameter",
            "Bits held of tables without a rule, at most",
            "Least share learned",
            "Bits of data there",
            "Part of the room",
        ),
        rows,
        note="Learned: right on fresh rows, in every seed, at this share and all above. Held: of "
        "answers drawn at random, trained as long and with the same weight decay; where it is "
        "all of the table, the room is larger.",
    )
    return Section(
        "saturation",
        "Is it a lack of room?",
        paragraphs=tuple(words),
        tables=(table,),
        short="Room",
    )


def _over(top: float | None, bottom: float) -> float | None:
    return None if top is None else top / bottom


def _spread(values: Sequence[float], told: Sequence[str]) -> str:
    return f"{told[0]} to {told[1]}, a factor of {plain_number(max(values) / min(values))}"
