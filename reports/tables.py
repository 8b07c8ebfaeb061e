"""The tables of what was measured besides the verdict: facts, memorisation, slopes, classifiers."""

from __future__ import annotations

from typing import Any

from reports.figures import facts_entry
from reports.numbers import (
    count,
    number,
    p_value,
    percent,
    points,
    points_interval,
    ratio_interval,
    share_interval,
)
from reports.page import Cell, Table
from reports.reading import (
    AXES,
    KNOWLEDGE,
    base_names,
    imitators,
    largest,
    ordered,
    shown_arm,
)

__all__ = [
    "facts_table",
    "knowledge_table",
    "memorisation_table",
    "slope_table",
    "telling_table",
]

Entry = dict[str, Any]

_TELLERS = {
    "discriminator": "the discriminator that scores style",
    "fresh_classifier": "a fresh classifier",
}
MOST_ROWS = 10
"""A table that is not central folds away beyond this."""


def telling_table(results: Entry) -> tuple[Table, ...]:
    """Return how well classifiers tell teacher from base, and teacher from imitator."""
    style = results.get("style") or {}
    rows = [
        _telling_row(f"teacher from {arm}{_on(task, by_task)}", by, entry)
        for part, by in _TELLERS.items()
        for by_task in [style.get(part) or {}]
        for task, entries in by_task.items()
        for arm, entry in (entries or {}).items()
        if entry
    ]
    note = "An area of 0.5 means that the two cannot be told apart; 1 means always."
    columns = ("Told apart", "By", "Area under the curve", "Accuracy")
    is_long = len(rows) > MOST_ROWS
    caption = "Who can still be told apart"
    return (Table(caption, columns, tuple(rows), note, is_long),) if rows else ()


def _on(task: str, tasks: Entry) -> str:
    return f" on {task}" if len(tasks) > 1 else ""


def facts_table(results: Entry) -> tuple[Table, ...]:
    """Return right, wrong and abstained in each arm's chosen format; less central arms folded."""
    central = _arms_of_findings(results)
    others = [arm for arm in results.get("factuality") or {} if arm not in central]
    columns = ("Arm", "Right", "Wrong", "Abstained", "Hallucination", "Extracted", "Items")
    note = "Hallucination rate: wrong answers among those attempted, wrong / (right + wrong)."
    found = []
    for caption, arms in (
        ("Answers to questions of fact", central),
        ("Answers to questions of fact, all other arms", others),
    ):
        rows = tuple(row for arm in arms if (row := _facts_row(results, arm)))
        if rows:
            found.append(Table(caption, columns, rows, note, is_folded=arms is others))
    return tuple(found)


def knowledge_table(results: Entry, split: str, caption: str, note: str) -> tuple[Table, ...]:
    """Return right answers and hallucinations by a split of the facts, in every format."""
    factuality = results.get("factuality") or {}
    arms = {
        (arm, form): entry[split]
        for arm in _arms_of_findings(results)
        for form, entry in (factuality.get(arm) or {}).items()
        if entry and entry.get(split)
    }
    groups = ordered(dict.fromkeys(g for by_group in arms.values() for g in by_group), KNOWLEDGE)
    rows = tuple(
        (Cell(arm, form), *(_group_cell(by_group.get(group)) for group in groups))
        for (arm, form), by_group in arms.items()
    )
    columns = ("Arm", *(group.replace("_", " ").capitalize() for group in groups))
    return (Table(caption, columns, rows, note, is_folded=len(rows) > 8),) if rows else ()


def memorisation_table(results: Entry) -> tuple[Table, ...]:
    """Return the bits of its own training responses that each adapter holds."""
    entries = results.get("memorisation") or []
    rows = tuple(
        (
            Cell(entry["arm"]),
            _bits_cell(entry, "bits_per_example"),
            _bits_cell(entry, "truncated_bits_per_example"),
            _bits_cell(entry, "voice_bits"),
            _bits_cell(entry, "answer_bits"),
            _bits_cell(entry, "learned_bits"),
            Cell(percent(entry.get("rote_share")), share_interval(entry.get("rote_share_ci95"))),
            Cell(count(entry.get("n_examples"))),
        )
        for entry in entries
    )
    columns = (
        "Arm",
        "Rote, bits an example",
        "Truncated at 0",
        "Voice",
        "Answers",
        "Learned in all",
        "Of it rote",
        "Examples",
    )
    note = (
        "Learned in all: beyond the base, on the same responses. Bits beyond a twin are another "
        "quantity than a model's bits a parameter."
    )
    caption = "Bits held beyond the other half's adapter"
    return (Table(caption, columns, rows, note),) if rows else ()


def slope_table(results: Entry) -> tuple[Table, ...]:
    """Return what a doubling of data and of the base's size changes on each axis."""
    slopes = (results.get("contrasts") or {}).get("slopes") or {}
    rows = tuple(
        (
            Cell(AXES.get(axis, axis), mix),
            Cell(claim["name"].replace("log2 ", "")),
            Cell(points(claim.get("value"), 2), points_interval(claim.get("ci95"), 2)),
            Cell(p_value(claim.get("p_holm"))),
        )
        for mix, by_axis in slopes.items()
        for axis in ordered(by_axis, AXES)
        for claim in by_axis[axis]
    )
    columns = ("Axis and mix", "For each doubling", "Points", "p after Holm")
    note = (
        "Least-squares slopes over the imitators' scores. The paper's point is the difference of "
        "two: whether a doubling of the base moves an axis more than a doubling of the data. "
        "Errors are those of the items, for these adapters; a slope over data is a mean over bases."
    )
    caption = "Data or base: what a doubling changes"
    return (Table(caption, columns, rows, note),) if rows else ()


def _telling_row(told: str, by: str, entry: Entry) -> tuple[Cell, ...]:
    area, accuracy = _estimate(entry, "auc"), _estimate(entry, "accuracy")
    return (
        Cell(told),
        Cell(by, entry.get("note") or ""),
        Cell(number(area.get("value"), 3), ratio_interval(area.get("ci95"))),
        Cell(percent(accuracy.get("value")), share_interval(accuracy.get("ci95"))),
    )


def _estimate(entry: Entry, name: str) -> Entry:
    """Return a value with its interval, whether it is written as one or as a bare number."""
    found = entry.get(name)
    if isinstance(found, dict):
        return found
    return {"value": found, "ci95": entry.get("ci95") if name == "auc" else None}


def _facts_row(results: Entry, arm: str) -> tuple[Cell, ...]:
    entry = facts_entry(results, arm)
    if entry.get("right") is None:
        return ()
    return (
        Cell(arm, entry["format"]),
        *(Cell(percent(entry.get(key))) for key in ("right", "wrong", "abstained")),
        Cell(percent(entry.get("hallucination_rate"))),
        Cell(percent(entry.get("extraction_rate"))),
        Cell(count(entry.get("n_items"))),
    )


def _bits_cell(entry: Entry, name: str) -> Cell:
    return Cell(number(entry.get(name)), ratio_interval(entry.get(f"{name}_ci95")))


def _group_cell(entry: Entry | None) -> Cell:
    if not entry:
        return Cell("–")
    invented = f"{percent(entry.get('hallucination_rate'), 0)} of attempts wrong"
    return Cell(
        f"{percent(entry.get('right'))} right", f"{invented}, n = {count(entry.get('n_items'))}"
    )


def _arms_of_findings(results: Entry) -> list[str]:
    bases = base_names(results)
    leading = largest(imitators(results)).values()
    return [*bases, *(shown_arm(results, entry) for entry in leading), "teacher"]
