"""A finished run, read from its directory, and what every part of the report asks of it.

Results stay the plain mapping that docs/results.md describes; the questions here are those that
several sections share: which arms count, which one leads, what an axis is called.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.errors import DataError, RecordError

__all__ = [
    "AXES",
    "KNOWLEDGE",
    "SUBSTANCE",
    "Run",
    "axes_of",
    "base_names",
    "calibrations",
    "chosen_format",
    "imitators",
    "is_trained_here",
    "largest",
    "lead_imitator",
    "mix_names",
    "ordered",
    "read_run",
    "recipe_name",
    "recipes",
    "shown_arm",
    "winning_controls",
]

SCHEMA_VERSION = 1
AXES = {
    "style": "Style",
    "factuality": "Factuality",
    "capability_held_out": "Held-out capability",
    "capability_in_support": "Capability in support",
}
"""Axis to its title, in the report's order."""
KNOWLEDGE = ("highly known", "maybe known", "weakly known", "unknown")
"""What a base knows of a fact, best known first."""
SUBSTANCE = ("factuality", "capability_held_out")
WON = {"gain", "closed"}

Entry = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What a run directory holds for a report."""

    results: Entry
    items: list[Entry]
    config_text: str


def read_run(run_dir: Path) -> Run:
    """Return the finished run of a directory.

    Raises:
        DataError: The directory holds no readable results.
        RecordError: They have another schema version.
    """
    results = _read_json(run_dir / "results.json")
    version = results.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"results have schema version {version}, this report reads {SCHEMA_VERSION}",
            where=str(run_dir / "results.json"),
            hint="write the report with the version of the package that made the run",
        )
    outputs, config = run_dir / "outputs.json", run_dir / "config.yaml"
    items = _read_json(outputs).get("items") if outputs.exists() else []
    config_text = config.read_text(encoding="utf-8") if config.exists() else ""
    return Run(results, items or [], config_text)


def imitators(results: Entry) -> list[Entry]:
    """Return the verdicts on imitators proper: not planted, no control."""
    return [v for v in results.get("verdicts") or [] if not v["is_planted"] and not v["is_control"]]


def is_trained_here(results: Entry) -> bool:
    """Return whether some imitator was trained in this run, and not elsewhere."""
    return any(entry["amount"] is not None for entry in results.get("verdicts") or [])


def calibrations(results: Entry) -> list[Entry]:
    """Return the verdicts on planted arms and trained controls."""
    return [v for v in results.get("verdicts") or [] if v["is_planted"] or v["is_control"]]


def recipes(entries: Iterable[Entry]) -> list[Entry]:
    """Return one entry a recipe: that over its seeds where there is one, else each adapter's."""
    listed = list(entries)
    pooled = {_recipe(entry) for entry in listed if entry["seed"] is None}
    return [e for e in listed if e["seed"] is None or _recipe(e) not in pooled]


def lead_imitator(results: Entry) -> Entry | None:
    """Return the imitator that stands for the run: last base, main mix, most data.

    The main mix is `broad` where there is one, else the first mix; results never choose it.
    """
    entries = imitators(results)
    if not entries:
        return None
    last_base = [b for b in base_names(results) if any(e["base"] == b for e in entries)][-1]
    entries = [entry for entry in entries if entry["base"] == last_base]
    mixes = [entry["mix"] for entry in entries]
    main = "broad" if "broad" in mixes else mixes[0]
    entries = [entry for entry in entries if entry["mix"] == main]
    return min(entries, key=_rank)


def largest(entries: Iterable[Entry]) -> dict[tuple[str, str], Entry]:
    """Return, for each base and mix in their order, the entry of most data."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        key = (entry["base"], entry["mix"])
        found[key] = min(found.get(key, entry), entry, key=_rank)
    return found


def shown_arm(results: Entry, entry: Entry) -> str:
    """Return the arm whose outputs stand for an entry: its own, or its recipe's first seed."""
    if entry["seed"] is not None:
        return str(entry["arm"])
    seeds = [e for e in results["verdicts"] if _recipe(e) == _recipe(entry) and e is not entry]
    return str(min(seeds, key=_rank)["arm"]) if seeds else str(entry["arm"])


def axes_of(entry: Entry) -> dict[str, Entry]:
    """Return the axes that were measured, in the report's order."""
    axes = entry.get("axes") or {}
    return {name: axes[name] for name in AXES if axes.get(name)}


def base_names(results: Entry) -> list[str]:
    """Return the bases in the order of the config, smallest first."""
    named = [arm["base"] for arm in results.get("arms") or [] if arm["kind"] == "base"]
    named += [verdict["base"] for verdict in results.get("verdicts") or []]
    return list(dict.fromkeys(named))


def mix_names(results: Entry) -> list[str]:
    """Return the mixes in the order of their verdicts."""
    return list(dict.fromkeys(verdict["mix"] for verdict in results.get("verdicts") or []))


def winning_controls(results: Entry) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return, by axis, the controls that gain over their base: by base, by how much.

    Controls without knowledge, that is: swapped ones were trained on right answers.
    """
    cards = results.get("data_card") or {}
    won: dict[str, dict[str, dict[str, float | None]]] = {}
    for entry in results.get("controls") or []:
        _note_wins(won, entry["control"].replace("_", " "), entry, entry.get("wins") or [])
    for entry in largest(results.get("verdicts") or []).values():
        if entry["is_control"] and "swapped_from" not in (cards.get(entry["mix"]) or {}):
            axes = axes_of(entry)
            wins = [axis for axis in axes if axes[axis]["decision"] in WON]
            _note_wins(won, entry["mix"], entry, wins)
    return {axis: won[axis] for axis in AXES if axis in won}


def chosen_format(results: Entry, arm: str, axis: str) -> str | None:
    """Return the format in which an arm is judged on an axis, where the results say so."""
    for part in ("verdicts", "sweeps", "controls"):
        for entry in results.get(part) or []:
            roles = {"imitator": entry["arm"], "base": entry["base"], "teacher": "teacher"}
            best = (axes_of(entry).get(axis) or {}).get("best_format") or {}
            for role, name in roles.items():
                if name == arm and best.get(role):
                    return str(best[role])
    return None


def ordered(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return names in a known order; those that it lacks come last, as they came."""
    given = list(names)
    first = [name for name in known if name in given]
    return [*first, *(name for name in given if name not in first)]


def recipe_name(entry: Entry) -> str:
    """Return mix and amount of an imitator; one trained elsewhere has a name alone."""
    return f"{entry['mix']} {entry['amount']:,}" if entry["amount"] else str(entry["mix"])


def _recipe(entry: Entry) -> tuple[str, str, int | None]:
    return (entry["base"], entry["mix"], entry["amount"])


def _rank(entry: Entry) -> tuple[int, int]:
    """Most data first; then the entry over all seeds, then seed by seed."""
    return (-(entry["amount"] or 0), -1 if entry["seed"] is None else entry["seed"])


def _note_wins(
    won: dict[str, dict[str, dict[str, float | None]]], name: str, entry: Entry, axes: Sequence[str]
) -> None:
    for axis in axes:
        gained = won.setdefault(axis, {}).setdefault(name, {})
        gained[entry["base"]] = (axes_of(entry).get(axis) or {}).get("difference")


def _read_json(path: Path) -> Entry:
    if not path.exists():
        raise DataError(
            f"there is no `{path.name}` in this run",
            where=str(path.parent),
            hint="finish the run with `imitate run`; it picks up where it stopped",
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"`{path.name}` is not JSON: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise DataError(f"`{path.name}` holds no mapping", where=str(path))
    return content
