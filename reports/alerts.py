"""What a reader must know before the first number of a report, each as one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.numbers import percent, points
from reports.preference import preference_alerts
from reports.reading import (
    AXES,
    SUBSTANCE,
    axes_of,
    imitators,
    lead_imitator,
    recipes,
    winning_controls,
)
from reports.text import listed

__all__ = ["alerts"]

Entry = dict[str, Any]

STILL_TOLD_APART = 0.9
"""Accuracy of a fresh classifier from which a closed style axis needs a word of caution."""


def alerts(results: Entry) -> tuple[str, ...]:
    """Return what a reader must know before the first number."""
    return (
        *_failure_alerts(results),
        *_control_alerts(results),
        *_style_alerts(results),
        *preference_alerts(results),
        *_rate_alerts(results),
        *_edge_alerts(results),
        *_format_alerts(results),
        *_support_alerts(results),
        *_open_axis_alerts(results),
    )


def _failure_alerts(results: Entry) -> list[str]:
    """Return on which axes calls failed, at most how many items an imitator lost by it."""
    lost = {
        title: max(
            ((axes_of(entry).get(axis) or {}).get("n_failed") or 0 for entry in imitators(results)),
            default=0,
        )
        for axis, title in AXES.items()
    }
    named = [f"{title.lower()} (up to {n})" for title, n in lost.items() if n]
    if not named:
        return []
    return [
        f"Calls to models failed: items are left out of {listed(named)}. A failed call is missing, "
        "never wrong; the same command with --force generate --force capability asks them again."
    ]


def _control_alerts(results: Entry) -> list[str]:
    said = []
    for axis, controls in winning_controls(results).items():
        named = [f"{name} ({_by_base(gained)})" for name, gained in controls.items()]
        meaning = (
            "so this much style takes no knowledge of what was asked"
            if axis == "style"
            else "so a gain there is no evidence that imitation taught anything"
        )
        noun, verb = ("A control", "wins") if len(named) == 1 else ("Controls", "win")
        said.append(f"{noun} {verb} {AXES[axis].lower()}: {listed(named)}; {meaning}.")
    return said


def _by_base(gained: dict[str, float | None]) -> str:
    return ", ".join(f"{points(value)} on {base}" for base, value in gained.items())


def _style_alerts(results: Entry) -> list[str]:
    """Return which imitators closed style and are told from the teacher all the same."""
    by_task = (results.get("style") or {}).get("fresh_classifier") or {}
    named = []
    for entry in recipes(imitators(results)):
        if (axes_of(entry).get("style") or {}).get("decision") != "closed":
            continue
        found = [(arms.get(entry["arm"]) or {}).get("accuracy") for arms in by_task.values()]
        values = [value["value"] if isinstance(value, dict) else value for value in found if value]
        if values and min(values) >= STILL_TOLD_APART:
            named.append(f"{entry['arm']} ({percent(min(values), 0)} of outputs)")
    if not named:
        return []
    return [
        f"Style is closed, and a fresh classifier still tells {listed(named)} from the teacher: "
        "sounding unlike the base is not yet sounding like the teacher."
    ]


def _rate_alerts(results: Entry) -> list[str]:
    """Return which verdicts another learning rate changes."""
    entries = [*(results.get("verdicts") or []), *(results.get("sweeps") or [])]
    by_arm = {entry["arm"]: entry for entry in entries}
    said = []
    for sweep in results.get("learning_rates") or []:
        swept = [(p, by_arm[p["arm"]]) for p in _by_rate(sweep) if p["arm"] in by_arm]
        at_word: dict[str, list[str]] = {}
        for point, entry in swept:
            mark = " (chosen)" if point["is_chosen"] else ""
            at_word.setdefault(entry["verdict"], []).append(f"{point['learning_rate']:g}{mark}")
        if len(at_word) > 1:
            told = "; ".join(f"{word} at {listed(rates)}" for word, rates in at_word.items())
            name = f"{sweep['base']}/{sweep['mix']}"
            said.append(
                f"The verdict on {name} hangs on the learning rate: {told}{_over_rates(swept)}."
            )
    return said


def _over_rates(swept: Sequence[tuple[Entry, Entry]]) -> str:
    """Return what each substance axis was over the rates and at the chosen one, in points."""
    told = []
    for axis in SUBSTANCE:
        measured = [
            (point["is_chosen"], value)
            for point, entry in swept
            if (value := (axes_of(entry).get(axis) or {}).get("difference")) is not None
        ]
        chosen = [value for is_chosen, value in measured if is_chosen]
        if len(measured) > 1 and chosen:
            values = [value for _, value in measured]
            between = f"{points(min(values))} to {points(max(values))}"
            told.append(f"{AXES[axis].lower()} {between}, {points(chosen[0])} as chosen")
    return f" ({'; '.join(told)})" if told else ""


def _edge_alerts(results: Entry) -> list[str]:
    """Return where the rule chose a learning rate at an end of the grid."""
    said = []
    for end, extreme, side in ((-1, "largest", "above"), (0, "smallest", "below")):
        named = [
            f"{sweep['base']}/{sweep['mix']}"
            for sweep in results.get("learning_rates") or []
            if len(sweep["points"]) > 1 and _by_rate(sweep)[end]["is_chosen"]
        ]
        if named:
            said.append(
                f"The rule chose the {extreme} learning rate that was tried, for {listed(named)}: "
                f"it might have gone on to rates {side} the grid."
            )
    return said


def _by_rate(sweep: Entry) -> list[Entry]:
    return sorted(sweep["points"], key=lambda point: float(point["learning_rate"]))


def _format_alerts(results: Entry) -> list[str]:
    """Return where an arm that shows no loss in its better format shows one in the other."""
    margin = (results.get("rule") or {}).get("margin_points", 0) / 100
    planted = [entry for entry in results.get("verdicts") or [] if entry["is_planted"]]
    said = []
    for axis in SUBSTANCE:
        named: dict[str, list[str]] = {}
        for entry in recipes([*imitators(results), *planted]):
            measured = axes_of(entry).get(axis) or {}
            if measured.get("decision") in {None, "loss", "refused", "uninformative"}:
                continue
            for name, found in (measured.get("formats") or {}).items():
                bounds = found.get("difference_ci95")
                if bounds and bounds[1] < -margin:
                    shown = f"{entry['arm']} {points(found['difference'])}"
                    named.setdefault(name, []).append(shown)
        said += [
            f"{AXES[axis]} is judged in each arm's better format, and a loss must show in both. "
            f"In {name} alone it fell beyond the margin: {listed(arms, 4)}."
            for name, arms in named.items()
        ]
    return said


def _support_alerts(results: Entry) -> list[str]:
    """Return which imitators lost what their own data teach."""
    named = [
        f"{entry['arm']} {points(measured['difference'])}"
        for entry in recipes(imitators(results))
        if (measured := axes_of(entry).get("capability_in_support") or {}).get("decision") == "loss"
    ]
    if not named:
        return []
    return [f"Imitators lost capability that their own data teach: {listed(named, 4)}."]


def _open_axis_alerts(results: Entry) -> list[str]:
    """Return one line for each axis that says nothing, of some imitators or of all."""
    said = []
    entries = recipes(imitators(results))
    for axis, title in AXES.items():
        reasons: dict[str, list[Entry]] = {}
        for entry in entries:
            measured = axes_of(entry).get(axis) or {}
            if measured.get("decision") in {"uninformative", "refused"}:
                reason = (measured.get("reason") or "no reason given").rstrip(".")
                reasons.setdefault(reason, []).append(entry)
        mute = [entry for group in reasons.values() for entry in group]
        if len(reasons) == 1:
            said.append(f"{title} says nothing{_about(mute, entries)}: {next(iter(reasons))}.")
        elif reasons:
            told = f"{len(reasons)} reasons, each told with the verdicts"
            said.append(f"{title} says nothing{_about(mute, entries)}, for {told}.")
    lead = lead_imitator(results)
    for axis in ("style", *SUBSTANCE):
        if lead and axis not in axes_of(lead):
            said.append(f"{AXES[axis]} was not measured: no task of this run counts for it.")
    return said


def _about(mute: Sequence[Entry], entries: Sequence[Entry]) -> str:
    """Return which of the imitators a statement is about: nothing if all, bases if whole ones."""
    if len(mute) == len(entries):
        return ""
    bases = list(dict.fromkeys(entry["base"] for entry in mute))
    if len(mute) == sum(entry["base"] in bases for entry in entries):
        return f" about imitators of {listed(bases)}"
    return f" about {listed([entry['arm'] for entry in mute], 3)}"
