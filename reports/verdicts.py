"""The tables of verdicts and controls, and the cell in which an axis stands.

Each cell holds the decision, the difference to the own base, its interval and what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reports.numbers import count, points, points_interval
from reports.page import Cell, Span, Table
from reports.reading import AXES, axes_of, calibrations, imitators, recipes
from reports.theme import TONES

__all__ = ["axis_cell", "control_table", "scale_of", "verdict_tables"]

Entry = dict[str, Any]
Scale = tuple[float, float, float]
"""Low end, high end and margin that the drawings of a column share, as shares."""

PLANTED = "A planted arm was trained to gain, so the instrument must find that it did."
SHUFFLED = (
    "A shuffled control was trained on answers to other prompts: it can pick the voice up and no "
    "knowledge."
)
SWAPPED = (
    "A swapped control was trained on its parent's answers, each under the explanation of another "
    "row. Its verdict is against the base, as any; whether it differs from its parent, "
    "`imitate compare` tests: where the two are shown alike, within a margin, the explanations "
    "taught nothing larger that was measured; where it is behind, foreign words alone may cost "
    "that. The probe of reasoning traces asks the same of "
    "networks trained from scratch (`imitate run configs/probes/traces.yaml`)."
)


def verdict_tables(results: Entry) -> tuple[Table, ...]:
    """Return the verdict on every imitator, then on planted arms and trained controls."""
    verdicts = results.get("verdicts") or []
    proper = recipes(imitators(results))
    aside = recipes(calibrations(results))
    shown = {id(entry) for entry in (*proper, *aside)}
    alone = [entry for entry in verdicts if id(entry) not in shown]
    note = (
        "Below each decision: the difference to the own base in points, its 95 % interval, and "
        "what it rests on."
    )
    tables = (
        _axes_table("Verdict on each imitator", proper, results, note),
        _axes_table(
            "Calibration: planted arms and trained controls",
            aside,
            results,
            _calibration(aside, results),
        ),
        _axes_table("Each training seed alone", alone, results, "", is_folded=True),
        _reason_table([*proper, *aside]),
    )
    return tuple(table for table in tables if table.rows)


def _calibration(shown: Sequence[Entry], results: Entry) -> str:
    """Return what each kind of arm that is no imitator is there for."""
    mixes = {entry["mix"] for entry in shown}
    cards = results.get("data_card") or {}
    made = {key for mix in mixes for key in cards.get(mix) or {}}
    told = [
        (PLANTED, any(entry["is_planted"] for entry in shown)),
        (SHUFFLED, "shuffled_from" in made),
        (SWAPPED, "swapped_from" in made),
    ]
    return " ".join(text for text, is_there in told if is_there)


def control_table(results: Entry) -> tuple[Table, ...]:
    """Return what controls gain that train nothing."""
    controls = results.get("controls") or []
    if not controls:
        return ()
    axes = [axis for axis in AXES if any(axis in axes_of(entry) for entry in controls)]
    scales = {axis: scale_of(controls, axis, results) for axis in axes}
    rows = [
        (
            Cell(entry["arm"]),
            *(axis_cell(axes_of(entry).get(axis), scales[axis]) for axis in axes),
            Cell(", ".join(AXES.get(axis, axis) for axis in entry.get("wins") or []) or "none"),
        )
        for entry in controls
    ]
    columns = ("Control", *(AXES[axis] for axis in axes), "Wins")
    return (Table("Controls that train nothing, against their base", columns, tuple(rows)),)


def axis_cell(axis: Entry | None, scale: Scale) -> Cell:
    """Return one axis of one arm: decision, difference, interval, what it rests on."""
    if not axis:
        return Cell("not measured")
    decision = axis.get("decision") or ""
    rests_on = f"{count(axis.get('n_items'))} items, {count(axis.get('n_clusters'))} clusters"
    if axis.get("n_failed"):
        rests_on += f", {count(axis['n_failed'])} failed"
    if axis.get("items_to_resolve"):
        rests_on += f"; about {count(axis['items_to_resolve'])} items would resolve it"
    rests_on += _format_note(axis)
    if axis.get("difference") is None:
        return Cell("", axis.get("reason") or rests_on, decision, TONES.get(decision, ""))
    bounds = axis.get("difference_ci95")
    text = f"{points(axis['difference'])} {points_interval(bounds)}".strip()
    span = None
    if bounds:
        span = Span(axis["difference"], bounds[0], bounds[1], *scale, teacher=_lead(axis))
    return Cell(text, rests_on, decision, TONES.get(decision, ""), span)


def _format_note(axis: Entry) -> str:
    """Return what each format alone shows, where there are two, and which is judged."""
    found = {
        name: entry["difference"]
        for name, entry in (axis.get("formats") or {}).items()
        if entry.get("difference") is not None
    }
    if len(found) < 2:
        return ""
    best = axis.get("best_format") or {}
    each = ", ".join(f"{name} {points(value)}" for name, value in found.items())
    of_base = best.get("base")
    against = f" against the base's {of_base}" if of_base != best.get("imitator") else ""
    return f"; {each}; judged in {best.get('imitator')}{against}"


def scale_of(entries: Iterable[Entry], axis: str, results: Entry) -> Scale:
    """Return low, high and margin of the drawings that share a column, as shares."""
    margin = results["rule"]["margin_points"] / 100
    values = [-1.4 * margin, 1.4 * margin]
    for entry in entries:
        measured = axes_of(entry).get(axis) or {}
        values += measured.get("difference_ci95") or []
        lead = _lead(measured)
        values += [] if lead is None else [lead]
    return (min(values), max(values), margin)


def _axes_table(
    caption: str, entries: Sequence[Entry], results: Entry, note: str, *, is_folded: bool = False
) -> Table:
    axes = [axis for axis in AXES if any(axis in axes_of(entry) for entry in entries)]
    scales = {axis: scale_of(entries, axis, results) for axis in axes}
    rows = tuple(
        (
            Cell(entry["arm"], "planted" if entry["is_planted"] else ""),
            Cell(_verdict_word(entry), entry.get("scope") or "", is_strong=True),
            *(axis_cell(axes_of(entry).get(axis), scales[axis]) for axis in axes),
        )
        for entry in entries
    )
    columns = ("Arm", "Verdict", *(AXES[axis] for axis in axes))
    return Table(caption, columns, rows, note, is_folded)


def _reason_table(entries: Sequence[Entry]) -> Table:
    axes = [axis for axis in AXES if any(axis in axes_of(entry) for entry in entries)]
    rows = tuple(
        (
            Cell(entry["arm"]),
            *(Cell((axes_of(entry).get(axis) or {}).get("reason") or "–") for axis in axes),
        )
        for entry in entries
    )
    columns = ("Arm", *(AXES[axis] for axis in axes))
    return Table("The reason behind each decision", columns, rows, is_folded=True)


def _verdict_word(entry: Entry) -> str:
    word = str(entry["verdict"])
    return f"{word} with loss" if entry.get("with_loss") and "loss" not in word else word


def _lead(axis: Entry) -> float | None:
    base, teacher = axis.get("base"), axis.get("teacher")
    return None if base is None or teacher is None else float(teacher - base)
