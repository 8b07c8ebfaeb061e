"""This run's versions of the paper's two tables, with the paper's numbers beside them.

Source: Gudibande et al. 2023, "The False Promise of Imitating Proprietary LLMs"
(arXiv 2305.15717), Tables 1 and 2.
"""

from __future__ import annotations

import itertools
from typing import Any

from reports.numbers import number, percent, points, ratio_interval, share_interval
from reports.page import Cell, Table
from reports.reading import (
    AXES,
    axes_of,
    base_names,
    imitators,
    largest,
    lead_imitator,
    ordered,
    recipe_name,
)

__all__ = ["gap_tables", "style_tables"]

Entry = dict[str, Any]

PAPER = "Gudibande et al. 2023"
PAPER_GAPS = (
    ("LLaMA 7B", "17", "10", "−50 %", "22", "+36 %", "31"),
    ("LLaMA 13B", "20", "15", "−45 %", "27", "+64 %", "31"),
)
PAPER_STYLE_COLUMNS = ("13B base", "20M", "80M", "150M", "ChatGPT #2")
METRICS = {
    "list_given_list": (
        "A list where the teacher lists",
        ("13 %", "50 %", "67 %", "81 %", "83 %"),
    ),
    "summary_given_summary": (
        "A summary where the teacher has one",
        ("2 %", "40 %", "42 %", "48 %", "55 %"),
    ),
    "unigram_intersection": ("Words shared", ("19.5", "40.4", "41.9", "42.5", "49.2")),
    "length_correlation": ("Correlation of length", ("−0.11", "0.51", "0.62", "0.62", "0.67")),
    "authority": ("Authoritative tone", ("57 %", "99 %", "98 %", "98 %", "98 %")),
    "mean_words": ("Words an output", ("–",) * 5),
}
PLAIN_NUMBERS = {"length_correlation": 2, "mean_words": 1}
"""Metrics that are no share, with their digits."""
CEILING = "Teacher #2"


def gap_tables(results: Entry) -> tuple[Table, ...]:
    """Return this run's version of the paper's Table 1, and the paper's."""
    found = largest(results.get("verdicts") or [])
    mixes = list(dict.fromkeys(mix for _, mix in found))
    rows = [
        row
        for axis in ("factuality", "capability_held_out", "capability_in_support")
        for base in base_names(results)
        for row in _gap_rows(axis, base, {m: found.get((base, m)) for m in mixes})
    ]
    columns = ("Axis and base", "Base", *(_mix_title(found, mix) for mix in mixes), "Teacher")
    note = (
        "Scores in each arm's chosen format, each mix at its largest amount; below them the gap "
        "closed, (imitator − base) / (teacher − base), with its interval. It is not clipped, and "
        "is shown where the teacher's lead excludes 0."
    )
    ours = Table("Base, imitators and teacher, and the gap closed", columns, tuple(rows), note)
    return ((ours,) if rows else ()) + (_paper_gaps(),)


def style_tables(results: Entry) -> tuple[Table, ...]:
    """Return this run's version of the paper's Table 2, one a base and task, the paper's beside."""
    by_task = (results.get("style") or {}).get("stylometry") or {}
    lead = lead_imitator(results)
    tables = []
    for base, (task, stylometry) in itertools.product(base_names(results), by_task.items()):
        titled = _style_arms(results, base)
        arms = {arm: title for arm, title in titled if stylometry.get(arm)}
        if not arms:
            continue
        metrics = ordered(dict.fromkeys(n for arm in arms for n in stylometry[arm]), METRICS)
        rows = tuple(
            (
                Cell(METRICS.get(name, (name.replace("_", " ").capitalize(), ()))[0]),
                *(_metric_cell(name, stylometry[arm].get(name)) for arm in arms),
                *(Cell(value) for value in METRICS.get(name, ("", ("–",) * 5))[1]),
            )
            for name in metrics
        )
        columns = ("Metric", *arms.values(), *(f"Paper, {c}" for c in PAPER_STYLE_COLUMNS))
        note = (
            f"Columns “Paper” are {PAPER}, Table 2: another teacher, other bases, a "
            "model as judge of tone where we use a rule, and definitions that it does not print: "
            "compare the direction, not the digits."
        )
        if CEILING in arms.values():
            note += f" “{CEILING}” is the teacher's second sample against its first, the ceiling."
        is_folded = lead is not None and base != lead["base"]
        on = f" on {task}" if len(by_task) > 1 else ""
        title = f"Style of {base}{on} beside the paper's"
        tables.append(Table(title, columns, rows, note, is_folded))
    return tuple(tables)


def _gap_rows(axis: str, base: str, entries: dict[str, Entry | None]) -> list[tuple[Cell, ...]]:
    """Return a row for each set of tasks: what is held out depends on the mix."""
    measured = {mix: axes_of(e).get(axis) if e else None for mix, e in entries.items()}
    by_tasks: dict[tuple[str, ...], list[Entry]] = {}
    for found in measured.values():
        if found and found.get("base") is not None:
            by_tasks.setdefault(tuple(found.get("tasks") or ()), []).append(found)
    rows = []
    for tasks, group in by_tasks.items():
        cells = [
            Cell("–") if not any(found is m for found in group) or m is None else _gap_cell(m)
            for m in measured.values()
        ]
        name = Cell(AXES[axis], f"{base}: {', '.join(tasks)}" if tasks else base)
        own, teacher = Cell(percent(group[0]["base"])), Cell(percent(group[0].get("teacher")))
        rows.append((name, own, *cells, teacher))
    return rows


def _gap_cell(axis: Entry) -> Cell:
    if axis.get("gap_closed") is None:
        why = "no gap to close" if axis.get("teacher") is not None else "teacher not measured"
        return Cell(percent(axis.get("imitator")), why)
    closed = f"{points(axis['gap_closed'], 0)} % {share_interval(axis.get('gap_closed_ci95'), 0)}"
    return Cell(percent(axis.get("imitator")), closed)


def _mix_title(found: dict[tuple[str, str], Entry], mix: str) -> str:
    entry = next(e for (_, name), e in found.items() if name == mix)
    kind = "planted" if entry["is_planted"] else "control" if entry["is_control"] else ""
    return f"{mix} ({kind})" if kind and kind != mix else mix


def _paper_gaps() -> Table:
    columns = ("NQ exact match, %", "Base", "Broad", "Local", "ChatGPT")
    rows = tuple(
        (Cell(name), Cell(base), Cell(broad, low), Cell(local, high), Cell(teacher))
        for name, base, broad, low, local, high, teacher in PAPER_GAPS
    )
    note = (
        f"{PAPER}, Table 1; the gap closed is derived from it. Broad is ShareGPT-Mix, local is "
        "NQ-synthetic. Section 4.1 of the paper says 3-shot, the table's caption zero-shot."
    )
    return Table("The paper's numbers", columns, rows, note)


def _style_arms(results: Entry, base: str) -> list[tuple[str, str]]:
    """Return the arms of one base by growing data, with their titles; the ceiling comes last."""
    lead = lead_imitator(results)
    entries = [e for e in imitators(results) if e["base"] == base and _is_one_model(e)]
    is_elsewhere = lead is not None and lead["amount"] is None
    entries = [e for e in entries if lead is None or is_elsewhere or e["mix"] == lead["mix"]]
    entries.sort(key=lambda e: (e["amount"] or 0, e["seed"] or 0))
    seeds = {e["seed"] for e in entries}
    titles = [
        (
            e["arm"],
            recipe_name(e) + (f", seed {e['seed']}" if len(seeds) > 1 else ""),
        )
        for e in entries
    ]
    return [(base, "Base"), *titles, ("teacher", CEILING)]


def _is_one_model(entry: Entry) -> bool:
    """Whether an entry is about one model, and not about a recipe over its seeds."""
    return entry["seed"] is not None or entry["amount"] is None


def _metric_cell(name: str, entry: Entry | None) -> Cell:
    if not entry or entry.get("value") is None:
        return Cell("–", (entry or {}).get("reason") or "")
    if name in PLAIN_NUMBERS:
        digits = PLAIN_NUMBERS[name]
        return Cell(number(entry["value"], digits), ratio_interval(entry.get("ci95"), digits))
    return Cell(percent(entry["value"]), share_interval(entry.get("ci95")))
