"""Several finished runs side by side: one config over worlds, seeds or machines, as Markdown.

Runs are shown as they are, never pooled: each verdict keeps its own data and its own interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.errors import DataError
from reports.numbers import percent, points, points_interval
from reports.page import Cell, Section, Table
from reports.reading import AXES, axes_of, calibrations, imitators, read_run, recipes
from reports.verdicts import axis_cell, scale_of

__all__ = ["compare_runs", "comparison"]

Entry = dict[str, Any]
Row = tuple[str, ...]
Cells = Mapping[Row, Cell]
"""What a table holds of one run: cells by the words that name their row."""


def compare_runs(run_dirs: Sequence[Path]) -> Section:
    """Return the tables that set finished runs side by side, named by their folders.

    Raises:
        DataError: A folder holds no readable results, or two runs were named alike.
        RecordError: Results have another schema version.
    """
    names = [run_dir.resolve().name for run_dir in run_dirs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{len(names)} runs, and more than one is named `{twice[0]}`",
            hint="name them with `imitate run --name`",
        )
    runs = {name: read_run(run_dir).results for name, run_dir in zip(names, run_dirs, strict=True)}
    return comparison(runs)


def comparison(runs: Mapping[str, Entry]) -> Section:
    """Return results side by side, by the name of their run."""
    tables = [
        _table("Verdicts", ("Arm",), runs, _verdicts),
        _table("What there was to learn: base, teacher", ("Axis", "Base and mix"), runs, _leads),
        *(_table(title, ("Arm",), runs, _on_axis(axis)) for axis, title in AXES.items()),
        _table("For each doubling, in points", ("Axis and mix", "Slope"), runs, _slopes),
        _table("What controls that train nothing win", ("Control",), runs, _wins),
    ]
    note = (
        "Differences to the own base in points with their 95 % intervals. Arms with `@` were "
        "trained at that learning rate of the sweep; the others at the one that the rule chose."
    )
    shown = tuple(table for table in tables if table.rows)
    return Section("comparison", f"{len(runs)} runs side by side", (note,), tables=shown)


def _table(
    caption: str,
    head: tuple[str, ...],
    runs: Mapping[str, Entry],
    cells_of: Callable[[Entry], Cells],
) -> Table:
    columns = {name: cells_of(results) for name, results in runs.items()}
    keys = dict.fromkeys(key for cells in columns.values() for key in cells)
    missing = Cell("\N{EN DASH}")
    rows = tuple(
        (*map(Cell, key), *(cells.get(key, missing) for cells in columns.values())) for key in keys
    )
    return Table(caption, (*head, *columns), rows)


def _arms(results: Entry) -> list[Entry]:
    """Return imitators, then planted arms and trained controls, then the sweep."""
    judged = [*recipes(imitators(results)), *recipes(calibrations(results))]
    return [*judged, *(results.get("sweeps") or [])]


def _verdicts(results: Entry) -> Cells:
    return {(entry["arm"],): Cell(entry["verdict"]) for entry in _arms(results)}


def _leads(results: Entry) -> Cells:
    """Return base and teacher on each axis; the mix decides which tasks are held out."""
    return {
        (AXES[axis], f"{entry['base']}/{entry['mix']}"): Cell(
            f"{percent(measured['base'])}, {percent(measured.get('teacher'))}"
        )
        for axis in AXES
        for entry in imitators(results)
        if (measured := axes_of(entry).get(axis)) and measured.get("base") is not None
    }


def _on_axis(axis: str) -> Callable[[Entry], Cells]:
    def cells(results: Entry) -> Cells:
        entries = _arms(results)
        scale = scale_of(entries, axis, results)
        measured = ((entry, axes_of(entry).get(axis)) for entry in entries)
        return {(entry["arm"],): axis_cell(found, scale) for entry, found in measured if found}

    return cells


def _slopes(results: Entry) -> Cells:
    slopes = (results.get("contrasts") or {}).get("slopes") or {}
    return {
        (f"{AXES[axis]}, {mix}", claim["name"].replace("log2 ", "")): Cell(
            f"{points(claim.get('value'))} {points_interval(claim.get('ci95'))}".strip()
        )
        for mix, by_axis in slopes.items()
        for axis in AXES
        for claim in by_axis.get(axis) or []
    }


def _wins(results: Entry) -> Cells:
    return {
        (entry["arm"],): Cell(", ".join(AXES[axis] for axis in entry.get("wins") or []) or "none")
        for entry in results.get("controls") or []
    }
