"""Where networks of each width begin to compute, against what they can store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.numbers import count, number, percent
from reports.page import Cell, Section, Table

__all__ = ["saturation_section"]

Entry = dict[str, Any]


def saturation_section(results: Entry) -> Section:
    """Return where networks of each width begin to compute, against what they can store."""
    told = results["saturation"]
    return Section(
        "saturation",
        "Is it a lack of room?",
        paragraphs=(
            "Were a lack of room what starts the rule, no network would learn it from data that "
            "fill a small part of its room.",
            *_found(told),
        ),
        tables=(_table(told),),
        short="Room",
    )


def _found(told: Sequence[Entry]) -> tuple[str, ...]:
    learned = [one for one in told if one["data_bits"]]
    if not learned:
        return ("No width learned the rule at any share of the table that was tried.",)
    least = min(learned, key=_part)
    said = (
        f"{least['operation']} mod {least['p']} at width {least['width']} was learned from "
        f"{count(least['data_bits'])} bits of data, {percent(_part(least))} of its room. Over "
        f"{len(learned)} widths the part ranges from {percent(_part(least))} to "
        f"{percent(max(map(_part, learned)))}, the least share of the table from "
        f"{percent(min(one['share'] for one in learned), 0)} to "
        f"{percent(max(one['share'] for one in learned), 0)}."
    )
    n_open = sum(one["failed"] is None for one in learned)
    return (said, f"At {n_open} of them every share tried was enough.") if n_open else (said,)


def _part(one: Entry) -> float:
    part: float = one["data_bits"] / one["room_bits"]
    return part


def _table(told: Sequence[Entry]) -> Table:
    rows = tuple(
        (
            Cell(
                f"{one['operation']} mod {one['p']}",
                f"width {one['width']}, decay {one['weight_decay']:g}",
            ),
            Cell(count(one["n_parameters"])),
            Cell(count(one["room_bits"]), "measured" if one["is_measured"] else "3.64 a parameter"),
            Cell(count(one["held_bits"])),
            Cell(percent(one["share"], 0), _failed(one)),
            Cell(count(one["data_bits"])),
            Cell(number(_part(one) if one["data_bits"] else None, 3)),
        )
        for one in told
    )
    return Table(
        "Least data that are learned, and room",
        (
            "",
            "Parameters",
            "Room, bits",
            "Held of tables without a rule, at most",
            "Least share learned",
            "Bits of data there",
            "Part of the room",
        ),
        rows,
        note="Learned: grokked or learned at once, in every seed, at this share and all above. "
        "Held: of answers drawn at random, as long and with the same weight decay. Room is that, "
        "where some table was not held to nine tenths; where all were, it is larger, and 3.64 bits "
        "a parameter stand for it, which is GPT-2's figure. Bits of data count every row by "
        "itself, though b + a is no news where a + b is known.",
    )


def _failed(one: Entry) -> str:
    return "all that were tried" if one["failed"] is None else f"not at {percent(one['failed'], 0)}"
