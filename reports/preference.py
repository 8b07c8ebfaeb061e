"""Whose answers judges prefer, and how much of that is style: its section, figure and warnings.

Strengths are told as chances, which everybody reads alike; the share that goes through style is
computed in log-odds, where it belongs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from reports.charts import ShiftPoint, draw_shift
from reports.numbers import count, number, percent, ratio_interval, share_interval
from reports.page import Cell, Figure, Section, Table
from reports.text import listed

__all__ = ["preference_alerts", "preference_section"]

Entry = dict[str, Any]

FEATURES = {"length": "Length", "lists": "Lists", "headers": "Headers", "bold": "Bold"}
MOST_FLIPS = 0.2
"""Share of flips from which a judge is called unsteady at the top of the report."""

EQUAL_STYLE = (
    "Preferred: the chance that an answer is preferred to the base's, by a Bradley-Terry model of "
    "all verdicts of this judge; ties count one half. At equal length and at equal style: the same "
    "for answers with as many words, or also as many lists, headers and bold spans. Through style: "
    "the share of an arm's whole advantage, in log-odds, that its style earns; below 0 where its "
    "style is in its way, undefined where the advantage may be none. Style can be what makes an "
    "answer better, so this is what style explains, not what is unearned. Intervals are 95 %, over "
    "resampled prompts with every model fitted anew."
)


def preference_section(results: Entry) -> Section:
    """Return the section; one that says so where no judge was heard."""
    entries = results.get("preference") or []
    title = "Whose answers are preferred"
    if not entries:
        said = "No judge compared answers in this run, so nothing is said about preference."
        return Section("preference", title, (said,), short="Preference")
    said = (
        "A judge says which of two answers is better, and may mean which sounds better. So each "
        "preference stands here raw and at equal style, beside how the judge goes about it."
    )
    return Section(
        "preference",
        title,
        (said, EQUAL_STYLE),
        short="Preference",
        figures=tuple(figure for entry in entries for figure in _figure(entry, entries)),
        tables=(*(_arm_table(entry, entries) for entry in entries), *_judge_tables(entries)),
        notes=tuple(note for entry in entries for note in _notes(entry)),
    )


def preference_alerts(results: Entry) -> list[str]:
    """Return what must be known of the judges before their preferences are read."""
    entries = results.get("preference") or []
    return [*_order_alerts(entries), *_null_alerts(entries)]


def _order_alerts(entries: list[Entry]) -> list[str]:
    once = list(dict.fromkeys(e["judge"] for e in entries if _is_in_one_order(e)))
    said = []
    if once:
        said.append(
            f"{listed(once)} saw each pair in one order only: position bias is not estimable, and "
            "whatever it is worth stands in the preferences."
        )
    unsteady = {
        entry["judge"]: flips
        for entry in entries
        if (flips := entry["card"]["flips"]["value"]) is not None and flips > MOST_FLIPS
    }
    told = [f"{name} ({percent(flips, 0)} of pairs)" for name, flips in unsteady.items()]
    if told:
        said.append(f"The order of two answers often changes which one wins, with {listed(told)}.")
    return said


def _null_alerts(entries: list[Entry]) -> list[str]:
    """Return which judges prefer a constant text to the base's answers."""
    won = [
        f"{entry['judge']} ({percent(arm['win_rate']['value'], 0)} against {entry['base']})"
        for entry in entries
        for arm in entry["arms"]
        if arm["arm"].endswith("+null") and _low(arm["win_rate"]) > 0.5
    ]
    won += [
        f"{entry['judge']} (whenever it met them, against {entry['base']})"
        for entry in entries
        for arm in entry["arms"]
        if arm["arm"].endswith("+null") and arm["arm"] in (entry.get("unbeaten") or [])
    ]
    if not won:
        return []
    return [f"A constant text is preferred to the base's answers by {listed(won)}: distrust it."]


def _low(estimate: Entry) -> float:
    return estimate["ci95"][0] if estimate.get("ci95") else 0.0


def _is_in_one_order(entry: Entry) -> bool:
    card = entry["card"]
    n_verdicts = card["n_judgements"] - card["n_failed"]
    no_order = card["flips"]["value"] is None and entry.get("first", {}).get("value") is None
    return no_order and n_verdicts > 0


def _figure(entry: Entry, entries: list[Entry]) -> Iterator[Figure]:
    drawn = [
        ShiftPoint(
            arm["arm"].removeprefix(f"{entry['base']}/"),
            100 * arm["win_rate"]["value"],
            100 * arm["controlled_win_rate"]["value"],
            _scaled(arm["win_rate"]),
            _scaled(arm["controlled_win_rate"]),
        )
        for arm in entry["arms"]
        if arm["controlled_win_rate"]["value"] is not None
    ]
    if not drawn:
        return
    told = "; ".join(f"{p.name}: {p.before:.0f} %, at equal style {p.after:.0f} %" for p in drawn)
    yield Figure(
        f"preference-{entry['judge']}-{entry['base']}-{entry['task']}",
        f"Preferred to {entry['base']} by {_named(entry, entries)}",
        f"Chance of being preferred to {entry['base']}. {told}.",
        draw_shift(
            drawn,
            x_title=f"Preferred to {entry['base']} (%)",
            before="as they are",
            after="at equal style",
        ),
    )


def _arm_table(entry: Entry, entries: list[Entry]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            Cell(arm["arm"]),
            _share(arm["win_rate"]),
            _chance_at_equal_length(arm),
            _share(arm["controlled_win_rate"]),
            _share(arm["by_style"], 0),
            _share(arm["at_least_teacher"]),
        )
        for arm in entry["arms"]
    ]
    if rows and entry["at_least_teacher"]["value"] is not None:
        beside = _share(entry["at_least_teacher"])
        rows.append((Cell(entry["base"], "the reference"), *[Cell("–")] * 4, beside))
    columns = (
        "Arm",
        "Preferred",
        "At equal length",
        "At equal style",
        "Through style",
        "As good as the teacher",
    )
    note = entry["reason"] or (
        f"{count(entry['n_battles'])} verdicts on {count(entry['n_clusters'])} prompts. As good as "
        "the teacher: verdicts that find an answer equal to the teacher's or better."
    )
    return Table(f"{_named(entry, entries)} against {entry['base']}", columns, tuple(rows), note)


def _chance_at_equal_length(arm: Entry) -> Cell:
    """Return a log-odds as a chance, with its interval."""
    strength = arm["length_controlled"]
    if strength["value"] is None:
        return Cell("–")
    bounds = strength.get("ci95")
    interval = [_chance(bound) for bound in bounds] if bounds else None
    return Cell(percent(_chance(strength["value"])), share_interval(interval))


def _chance(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _judge_tables(entries: list[Entry]) -> tuple[Table, ...]:
    rows = tuple(
        (
            Cell(_named(entry, entries), _asked(entry)),
            _place(entry),
            _share(entry["card"]["flips"], otherwise="one order"),
            _share(entry["card"]["longer"]),
            _share(entry["card"]["lists"]),
            _share(entry["card"]["own"]),
            _share(entry["card"]["ties"]),
            Cell(count(entry["card"]["n_failed"]), f"of {count(entry['card']['n_judgements'])}"),
        )
        for entry in entries
    )
    columns = ("Judge", "Shown first", "Flips", "Longer", "Lists", "Own", "Ties", "Failed")
    note = (
        "How often the judge prefers what it saw first, the longer answer, the one that alone has "
        "a list, and its own, where one of two has it; 50 % is no pull, if neither is better. "
        "Flips: pairs in which the other order made it prefer the other answer."
    )
    weights = tuple(
        (
            Cell(_named(entry, entries)),
            *(_log_odds(entry["gamma"].get(feature)) for feature in FEATURES),
            _log_odds(entry["first"], otherwise="not estimable"),
        )
        for entry in entries
        if entry["arms"]
    )
    odds = ("Judge", *FEATURES.values(), "Shown first")
    odds_note = "Log-odds of one root mean square more of each, at equal strength of the arms."
    tables = (
        Table("How each judge goes about it", columns, rows, note),
        Table("What style is worth to each judge", odds, weights, odds_note, is_folded=True),
    )
    return tuple(table for table in tables if table.rows)


def _notes(entry: Entry) -> list[str]:
    """Return who has no finite strength, and where the order of two arms hangs on a third."""
    separated = (
        [
            f"{entry['judge']}: style alone foresees every verdict, so its weight has no finite "
            "value, and nothing can be said of answers of equal style."
        ]
        if entry.get("is_separated")
        else []
    )
    boundless = [
        f"{entry['judge']}: {arm} was preferred whenever it met the others, or never, by itself or "
        "with arms it shares this with: it has no finite strength."
        for arm in entry.get("boundless") or []
    ]
    return (
        separated
        + boundless
        + [
            f"{entry['judge']}: without {change['without']}, {change['weaker']} comes before "
            f"{change['stronger']} at equal style. Their order hangs on who else took part."
            for change in entry.get("changes") or []
        ]
    )


def _named(entry: Entry, entries: list[Entry]) -> str:
    tasks = {one["task"] for one in entries}
    return f"{entry['judge']} on {entry['task']}" if len(tasks) > 1 else str(entry["judge"])


def _asked(entry: Entry) -> str:
    """Return what the judge is: recorded, or a model with what it was told to judge."""
    asked = entry["asked"]
    return (
        "recorded"
        if asked["kind"] in ("reviews", "judgements")
        else f"{asked['model']}, {asked['rubric']}"
    )


def _place(entry: Entry) -> Cell:
    """Return how often what is shown first wins; by the model's weight where orders were drawn."""
    if entry["card"]["first"]["value"] is not None:
        return _share(entry["card"]["first"])
    weight = (entry.get("first") or {}).get("value")
    if weight is None:
        return Cell("not estimable")
    return Cell(percent(_chance(weight)), "by the model: one order a pair")


def _share(estimate: Entry | None, digits: int = 1, otherwise: str = "–") -> Cell:
    if not estimate or estimate["value"] is None:
        return Cell(otherwise)
    return Cell(percent(estimate["value"], digits), share_interval(estimate.get("ci95"), digits))


def _log_odds(estimate: Entry | None, otherwise: str = "–") -> Cell:
    if not estimate or estimate["value"] is None:
        return Cell(otherwise)
    return Cell(number(estimate["value"]), ratio_interval(estimate.get("ci95")))


def _scaled(estimate: Entry) -> tuple[float, float] | None:
    bounds = estimate.get("ci95")
    return (100 * bounds[0], 100 * bounds[1]) if bounds else None
