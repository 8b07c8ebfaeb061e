"""A comparison as a table and sentences for the terminal, and as JSON for a program."""

from __future__ import annotations

import dataclasses
import json
import math

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evals.comparing.paired import Compared, Comparison, Finding
from evals.comparing.words import remarks, sentences, told_p
from imitate.jsonio import plain
from imitate.terminal import printable

__all__ = ["as_json", "print_comparison"]

SCHEMA_VERSION = 1
WIDTH_OF_PIPE, NARROWEST = 120, 100
"""Columns of text; on fewer the table cannot be read."""

_COLOURS = {Finding.BETTER: "green", Finding.WORSE: "red", Finding.UNRESOLVED: "yellow"}


def print_comparison(comparison: Comparison) -> None:
    """Print the table, a sentence for each of its lines, and what was left out."""
    console = Console(highlight=False)
    console.width = max(console.width, NARROWEST) if console.is_terminal else WIDTH_OF_PIPE
    for letter, (name, source) in zip("ABT", comparison.pairing.sources.items(), strict=False):
        console.print(Text(printable(f"{letter}  {name}: {source}")))
    console.print(_table(comparison))
    for said in (*sentences(comparison), *remarks(comparison)):
        console.print(Text(printable(f"- {said}")))


def as_json(comparison: Comparison) -> str:
    """Return the comparison as JSON; what is undefined is null."""
    pairing = comparison.pairing
    told = {
        "schema_version": SCHEMA_VERSION,
        "names": list(pairing.names),
        "sources": dict(pairing.sources),
        "rule": dataclasses.asdict(comparison.rule),
        "means": [dataclasses.asdict(one) for one in comparison.means],
        "tasks": [
            dataclasses.asdict(one) | {"unpaired": dict(paired.unpaired), "notes": paired.notes}
            for one, paired in zip(comparison.tasks, pairing.tasks, strict=True)
        ],
        "left_out": dict(pairing.left_out),
        "sentences": sentences(comparison),
        "remarks": remarks(comparison),
    }
    return json.dumps(plain(told), ensure_ascii=False, indent=2)


def _table(comparison: Comparison) -> Table:
    has_teacher = len(comparison.pairing.names) > 2
    margin = _points(comparison.rule.margin)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption_justify="left", show_lines=False)
    table.caption = (
        f"Points; {comparison.rule.level:.0%} intervals. p: no difference, Holm-corrected. same: p "
        f"of a difference beyond {margin}. shows: smallest true difference that so many items show."
    )
    columns = ["task", "items", "A", "B", "B \N{MINUS SIGN} A", "p", "same", "shows"]
    for column in [*columns, *(["T", "gap closed"] if has_teacher else []), "finding"]:
        table.add_column(column, overflow="fold")
    for one in comparison.tasks:
        table.add_row(*_row(one, has_teacher=has_teacher))
    if comparison.means:
        table.add_section()
    for one in comparison.means:
        table.add_row(*_row(one, has_teacher=has_teacher))
    return table


def _row(one: Compared, *, has_teacher: bool) -> list[Text]:
    n_clusters = f"\nin {one.n_clusters:,}" if one.n_clusters < one.n_items else ""
    cells = [
        f"{one.task}\n{one.metric}",
        f"{one.n_items:,}{n_clusters}",
        _points(one.first),
        _points(one.second),
        _with_interval(_signed(one.difference), tuple(map(_signed, one.ci)), one.ci),
        f"{told_p(one.p_holm)}\n{one.test}",
        told_p(one.p_equivalent_holm),
        _points(one.detectable),
    ]
    if has_teacher:
        share = "-" if math.isnan(one.gap_closed) else f"{one.gap_closed:.0%}"
        ends = tuple(f"{end:.0%}" for end in one.gap_ci)
        cells += [_points(one.teacher), _with_interval(share, ends, one.gap_ci)]
    rows = [Text(printable(cell)) for cell in cells]
    return [*rows, Text(one.finding, style=_COLOURS.get(one.finding, ""))]


def _with_interval(value: str, ends: tuple[str, ...], bounds: tuple[float, float]) -> str:
    return value if math.isnan(bounds[0]) else f"{value}\n[{ends[0]}, {ends[1]}]"


def _points(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def _signed(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:+.1f}"
