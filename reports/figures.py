"""The figures of a report, each with its caption and alt text, from the results.

A figure without data is left out; the section that it belongs to then says so in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reports.charts import TrendPoint, draw_outcomes, draw_trend
from reports.numbers import points, points_interval
from reports.page import Figure
from reports.plane import Mark, draw_plane
from reports.reading import (
    AXES,
    KNOWLEDGE,
    SUBSTANCE,
    axes_of,
    base_names,
    chosen_format,
    imitators,
    largest,
    lead_imitator,
    mix_names,
    ordered,
    recipe_name,
    recipes,
    shown_arm,
)
from reports.theme import SERIES

__all__ = [
    "amount_figures",
    "knowledge_figure",
    "plane_figures",
    "rate_figures",
    "size_figures",
]

Entry = dict[str, Any]

OUTCOMES = {"right": "blue", "abstained": "grey", "wrong": "vermillion"}


def plane_figures(results: Entry) -> tuple[Figure, ...]:
    """Return style gained against substance gained, one figure a substance axis."""
    return tuple(
        figure for axis in SUBSTANCE if (figure := _plane_figure(results, axis)) is not None
    )


def amount_figures(results: Entry) -> tuple[Figure, ...]:
    """Return what each axis gains with more imitation data, where a mix has several amounts."""
    entries = recipes(imitators(results))
    amounts: dict[tuple[str, str], set[int | None]] = {}
    for entry in entries:
        amounts.setdefault((entry["base"], entry["mix"]), set()).add(entry["amount"])
    swept = [e for e in entries if len(amounts[e["base"], e["mix"]]) > 1]
    drawn = [(entry, entry["amount"], True) for entry in swept]
    return _gain_figures(results, drawn, name="amount", x_title="Imitation examples", x_format=",")


def rate_figures(results: Entry) -> tuple[Figure, ...]:
    """Return the loss that chose the learning rate, and what each rate would have gained."""
    groups = [g for g in _largest_groups(results) if len(g["points"]) > 1]
    losses = [
        TrendPoint(
            group["base"],
            point["learning_rate"],
            point["held_out_loss"],
            is_filled=point["is_chosen"],
            style=group["mix"],
            line=group["mix"],
        )
        for group in groups
        for point in group["points"]
        if point.get("held_out_loss") is not None
    ]
    if not losses:
        return ()
    svg = draw_trend(
        losses,
        x_title="Learning rate",
        y_title="Loss (nats a token)",
        series=_series(results, losses),
        x_format="~g",
        is_signed=False,
    )
    alt = "Loss on held-out teacher responses by learning rate; the chosen rate is filled."
    rated = [_rated(results, group) for group in groups]
    drawn = [found for entries in rated if len(entries) > 1 for found in entries]
    return (
        Figure("rate-loss", "Loss on held-out teacher responses", alt, svg),
        *_gain_figures(results, drawn, name="rate", x_title="Learning rate", x_format="~g"),
    )


def size_figures(results: Entry) -> tuple[Figure, ...]:
    """Return base, imitator and teacher over the size of the base, where there are several."""
    lead = lead_imitator(results)
    sizes = {
        arm["base"]: arm["n_parameters"]
        for arm in results.get("arms") or []
        if arm["kind"] == "base" and arm.get("n_parameters")
    }
    if lead is None or len(set(sizes.values())) < 2:
        return ()
    entries = [e for (_, mix), e in largest(imitators(results)).items() if mix == lead["mix"]]
    figures = []
    for axis, title in AXES.items():
        rows = [e for e in entries if e["base"] in sizes and axis in axes_of(e)]
        drawn = [p for e in rows for p in _size_points(axes_of(e)[axis], sizes[e["base"]])]
        if len({point.x for point in drawn}) < 2:
            continue
        svg = draw_trend(
            drawn,
            x_title="Parameters of the base",
            y_title="Score (%)",
            series={"base alone": "grey", "imitator": "purple", "teacher": "ink"},
            x_format=".3s",
            is_signed=False,
        )
        alt = f"{title} of base, imitator ({lead['mix']}) and teacher by size of the base."
        figures.append(Figure(f"size-{axis}", title, alt, svg))
    return tuple(figures)


def knowledge_figure(results: Entry, split: str, name: str, caption: str) -> tuple[Figure, ...]:
    """Return right, abstained and wrong by a split of the facts: base, imitator, teacher."""
    lead = lead_imitator(results)
    if lead is None:
        return ()
    arms = {lead["base"]: "base", shown_arm(results, lead): "imitator", "teacher": "teacher"}
    form = facts_entry(results, lead["base"]).get("format")
    rows = [
        {"group": group, "arm": role, "outcome": outcome, "share": 100 * values[outcome]}
        for arm, role in arms.items()
        for group, values in _split(results, arm, split, form).items()
        for outcome in OUTCOMES
        if values.get(outcome) is not None
    ]
    if not rows:
        return ()
    roles = [role for role in arms.values() if any(row["arm"] == role for row in rows)]
    svg = draw_outcomes(rows, outcomes=OUTCOMES, arms=roles)
    wrong = [
        f"{r['group']}, {r['arm']}: {r['share']:.0f} %" for r in rows if r["outcome"] == "wrong"
    ]
    caption = f"{caption}, in {form}"
    alt = f"{caption}. Share of wrong answers: {'; '.join(wrong)}."
    return (Figure(name, caption, alt, svg),)


def _split(results: Entry, arm: str, split: str, form: str | None) -> Entry:
    found: Entry = facts_entry(results, arm, form).get(split) or {}
    return {group: found[group] for group in ordered(found, KNOWLEDGE)}


def facts_entry(results: Entry, arm: str, form: str | None = None) -> Entry:
    """Return the factuality of an arm in a format, else its chosen one, else the first there is."""
    by_format: Entry = (results.get("factuality") or {}).get(arm) or {}
    by_format = {form: entry for form, entry in by_format.items() if entry}
    if not by_format:
        return {}
    wanted = (form, chosen_format(results, arm, "factuality"), next(iter(by_format)))
    form = next(name for name in wanted if name in by_format)
    return {"format": form, **by_format[form]}


# --- the plane ------------------------------------------------------------------------------------


def _plane_figure(results: Entry, axis: str) -> Figure | None:
    shown = [v for v in recipes(results.get("verdicts") or []) if _is_in_plane(v, axis)]
    if not shown:
        return None
    bases = {entry["base"] for entry in shown}
    controls = [c for c in results.get("controls") or [] if c["base"] in bases]
    controls = [control for control in controls if _is_in_plane(control, axis)]
    top = {id(entry) for entry in largest(shown).values()}
    ranked = sorted(shown, key=lambda e: (id(e) not in top, e["is_control"], -(e["amount"] or 0)))
    marks = [
        *_teacher_marks(shown, axis),
        Mark("base", "", "base", 0, 0, is_hollow=True),
        *(_imitator_mark(entry, axis, is_largest=id(entry) in top) for entry in ranked),
        *(_control_mark(entry, axis) for entry in controls),
    ]
    svg = draw_plane(
        marks,
        y_title=f"{AXES[axis]} gained (points)",
        margin=results["rule"]["margin_points"],
        series=_series(results, marks),
        kinds=[mix for mix in mix_names(results) if any(m.kind == mix for m in marks)],
    )
    return Figure(f"gap-{axis.replace('_', '-')}", AXES[axis], _plane_alt(shown, axis), svg)


def _is_in_plane(entry: Entry, axis: str) -> bool:
    axes = axes_of(entry)
    return all(
        name in axes and axes[name].get("difference") is not None for name in ("style", axis)
    )


def _teacher_marks(entries: Sequence[Entry], axis: str) -> list[Mark]:
    """Return the teacher above each base, on the tasks of the base's first mix."""
    marks: dict[str, Mark] = {}
    for entry in entries:
        x, y = (_lead_points(axes_of(entry)[name]) for name in ("style", axis))
        if x is not None and y is not None:
            marks.setdefault(entry["base"], Mark("teacher", entry["base"], "teacher", x, y))
    return list(marks.values())


def _imitator_mark(entry: Entry, axis: str, *, is_largest: bool) -> Mark:
    style, substance = axes_of(entry)["style"], axes_of(entry)[axis]
    is_aside = entry["is_planted"] or entry["is_control"]
    trail = "" if is_aside else f"{entry['base']} {entry['mix']} {entry['seed']}"
    return Mark(
        label=recipe_name(entry) if is_largest else f"{entry['amount']:,}",
        series=entry["base"],
        kind=entry["mix"],
        x=100 * style["difference"],
        y=100 * substance["difference"],
        x_interval=_scaled(style.get("difference_ci95")),
        y_interval=_scaled(substance.get("difference_ci95")),
        trail=trail,
        order=entry["amount"] or 0,
        is_hollow=is_aside,
    )


def _control_mark(entry: Entry, axis: str) -> Mark:
    style, substance = axes_of(entry)["style"], axes_of(entry)[axis]
    x, y = 100 * style["difference"], 100 * substance["difference"]
    return Mark(entry["control"].replace("_", " "), entry["base"], "control", x, y)


def _plane_alt(entries: Sequence[Entry], axis: str) -> str:
    said = [
        f"{e['arm']}: style {points(axes_of(e)['style']['difference'])}, "
        f"{AXES[axis].lower()} {points(axes_of(e)[axis]['difference'])} "
        f"{points_interval(axes_of(e)[axis].get('difference_ci95'))}"
        for e in largest(entries).values()
    ]
    return (
        f"Points of style gained against points of {AXES[axis].lower()} gained over the own base, "
        f"at the origin. {'; '.join(said)}."
    )


# --- trends ---------------------------------------------------------------------------------------


Drawn = tuple[Entry, float, bool]
"""An entry, where it stands on the x axis, and whether its mark is filled."""


def _rated(results: Entry, group: Entry) -> list[Drawn]:
    """Return the entry at each learning rate of a group, where it was evaluated."""
    by_arm = {entry["arm"]: entry for entry in results.get("sweeps") or []}
    mine = [e for e in imitators(results) if e["base"] == group["base"] and e["seed"] is not None]
    chosen = largest(mine).get((group["base"], group["mix"]))
    found = []
    for point in group["points"]:
        entry = by_arm.get(point["arm"]) or (chosen if point["is_chosen"] else None)
        if entry:
            found.append((entry, point["learning_rate"], bool(point["is_chosen"])))
    return found


def _gain_figures(
    results: Entry, drawn: Sequence[Drawn], *, name: str, x_title: str, x_format: str
) -> tuple[Figure, ...]:
    """Return one figure an axis: the difference to the own base over x."""
    figures = []
    for axis, title in AXES.items():
        rows = [d for d in drawn if axes_of(d[0]).get(axis, {}).get("difference") is not None]
        marks = [_gain_point(entry, axes_of(entry)[axis], x, fill) for entry, x, fill in rows]
        if len({point.x for point in marks}) < 2:
            continue
        svg = draw_trend(
            sorted(marks, key=lambda point: point.x),
            x_title=x_title,
            y_title="Gained (points)",
            series=_series(results, marks),
            margin=results["rule"]["margin_points"],
            levels=_levels((entry for entry, _, _ in rows), axis),
            x_format=x_format,
        )
        said = [
            f"{entry['arm']} {points(axes_of(entry)[axis]['difference'])}" for entry, _, _ in rows
        ]
        alt = f"{title} gained over the own base by {x_title.lower()}: {'; '.join(said)}."
        figures.append(Figure(f"{name}-{axis.replace('_', '-')}", f"{title} gained", alt, svg))
    return tuple(figures)


def _gain_point(entry: Entry, axis: Entry, x: float, is_filled: bool) -> TrendPoint:
    return TrendPoint(
        entry["base"],
        x,
        100 * axis["difference"],
        _scaled(axis.get("difference_ci95")),
        is_filled=is_filled,
        style=entry["mix"],
        line=f"{entry['mix']} {entry['seed']}",
    )


def _levels(entries: Iterable[Entry], axis: str) -> dict[str, float]:
    """Return the teacher's lead over each base, where it is one: held-out tasks hang on the mix."""
    levels: dict[str, set[float | None]] = {}
    for entry in entries:
        levels.setdefault(entry["base"], set()).add(_lead_points(axes_of(entry)[axis]))
    alone = {base: next(iter(found)) for base, found in levels.items() if len(found) == 1}
    return {base: level for base, level in alone.items() if level is not None}


def _size_points(axis: Entry, size: float) -> list[TrendPoint]:
    if axis.get("base") is None or axis.get("difference") is None:
        return []
    base, gain = 100 * axis["base"], 100 * axis["difference"]
    bounds = _scaled(axis.get("difference_ci95"))
    around = (base + bounds[0], base + bounds[1]) if bounds else None
    drawn = [
        TrendPoint("imitator", size, base + gain, around),
        TrendPoint("base alone", size, base, is_filled=False),
    ]
    if axis.get("teacher") is not None:
        drawn.append(TrendPoint("teacher", size, 100 * axis["teacher"]))
    return drawn


def _series(results: Entry, drawn: Sequence[Mark | TrendPoint]) -> dict[str, str]:
    """Return the bases that are drawn, each with its colour, the same in every figure."""
    colours = {base: SERIES[i % len(SERIES)] for i, base in enumerate(base_names(results))}
    present = {point.series for point in drawn}
    return {base: colour for base, colour in colours.items() if base in present}


def _largest_groups(results: Entry) -> list[Entry]:
    groups: dict[tuple[str, str], Entry] = {}
    for group in results.get("learning_rates") or []:
        key = (group["base"], group["mix"])
        if key not in groups or group["amount"] > groups[key]["amount"]:
            groups[key] = group
    return list(groups.values())


def _lead_points(axis: Entry) -> float | None:
    base, teacher = axis.get("base"), axis.get("teacher")
    return None if base is None or teacher is None else 100 * (teacher - base)


def _scaled(bounds: Sequence[float] | None) -> tuple[float, float] | None:
    return (100 * bounds[0], 100 * bounds[1]) if bounds else None
