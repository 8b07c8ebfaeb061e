"""The words of a report that follow from its numbers: scope, warnings, limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evals.joint import SEEDS_FOR_RECIPE
from reports.numbers import count, number, percent
from reports.reading import (
    AXES,
    axes_of,
    base_names,
    imitators,
    recipes,
)

__all__ = ["TRUNCATED_NOTABLY", "compared", "limits", "listed", "plane_note", "plural"]

Entry = dict[str, Any]

FEW_CLUSTERS = 30
TRUNCATED_NOTABLY = 0.05
EXTRACTED_TOO_RARELY = 0.90


def plural(n: int, noun: str) -> str:
    """Return a count with its noun, `3 imitators`."""
    return f"{count(n)} {noun}" if n == 1 else f"{count(n)} {noun}s"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Return names as a sentence lists them, cut after `most`."""
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def compared(results: Entry) -> str:
    """Return what was compared with what, on how much, and how widely the verdict holds."""
    entries = recipes(imitators(results))
    tasks = [task for task in results.get("tasks") or [] if task.get("in_verdict", True)]
    bases = [b for b in base_names(results) if any(e["base"] == b for e in entries)]
    if not entries:
        return "This run trained no imitator, so there is no verdict to give."
    n_items = sum(task["n_items"] for task in tasks)
    n_clusters = sum(task["n_clusters"] for task in tasks)
    return (
        f"{plural(len(entries), 'imitator')} of {plural(len(bases), 'base')} ({listed(bases)}), "
        f"each compared item by item with its own base and the teacher: "
        f"{plural(n_items, 'item')} in {plural(n_clusters, 'cluster')}. {_scope(entries)}"
        f"{_tuned(results, bases)}"
    )


def _tuned(results: Entry, bases: Sequence[str]) -> str:
    """Return which bases had been taught to chat before, as a further sentence; empty if none."""
    arms = results.get("arms") or []
    tuned = {arm["base"] for arm in arms if arm["kind"] == "base" and arm.get("is_tuned")}
    named = [base for base in bases if base in tuned]
    if not named:
        return ""
    is_one = len(named) == 1
    return (
        f" {listed(named)} {'is a tuned starting point' if is_one else 'are tuned starting points'}"
        ": instruction-tuned before, so style may start near the teacher's."
    )


def _scope(entries: Sequence[Entry]) -> str:
    scopes = list(dict.fromkeys(entry["scope"] for entry in entries if entry.get("scope")))
    which = "The verdict holds" if len(entries) == 1 else "Each verdict holds"
    said = f"{which} {listed(scopes)}" if scopes else "No scope is stated"
    if any("adapter" in scope for scope in scopes):
        return (
            f"{said}: with fewer than {SEEDS_FOR_RECIPE} training seeds it cannot speak for the "
            "recipe."
        )
    return f"{said}."


def plane_note(results: Entry) -> str:
    """Return how to read the figure of style against substance."""
    margin = number((results.get("rule") or {}).get("margin_points"), 1)
    return (
        "Each mark is an arm, placed by what it gained over its own base, which is the circle at "
        "the origin; stars are the teacher, crosses are controls, hollow marks are planted arms "
        "and trained controls. Lines run from less to more imitation data. Bars are 95 % "
        f"intervals. The shaded band is the margin: {margin} points either way count as no gain. "
        "Up is substance, right is style."
    )


def limits(results: Entry) -> tuple[str, ...]:
    """Return what this run cannot show, as far as its numbers tell."""
    found = [*_seed_limits(results), *_unresolved_limits(results), *_data_limits(results)]
    found.append(
        "The axes are the tasks of this run and no others: another task may show a gain that these "
        "do not, and a margin smaller than the stated one was not tested."
    )
    return tuple(found)


def _seed_limits(results: Entry) -> list[str]:
    seeds: dict[tuple[str, str, int], set[Any]] = {}
    for entry in imitators(results):
        key = (entry["base"], entry["mix"], entry["amount"])
        if entry["seed"] is not None:
            seeds.setdefault(key, set()).add(entry["seed"])
    fewest = min((len(s) for s in seeds.values()), default=0)
    if not fewest or fewest >= SEEDS_FOR_RECIPE:
        return []
    return [
        f"Training noise: {plural(fewest, 'training seed')} for "
        f"{'each recipe' if len(set(map(len, seeds.values()))) == 1 else 'some recipe'}. Intervals "
        "hold the error of the items, not the scatter that other seeds would bring."
    ]


def _unresolved_limits(results: Entry) -> list[str]:
    said = []
    for entry in recipes(imitators(results)):
        for axis, measured in axes_of(entry).items():
            if measured["decision"] != "unresolved":
                continue
            needed = measured.get("items_to_resolve")
            more = f"about {count(needed)} items would" if needed else "no number of items would"
            said.append(f"{AXES[axis]} of {entry['arm']} is unresolved: {more} resolve it.")
    return said[:8]


def _data_limits(results: Entry) -> list[str]:
    said = []
    few = [t["name"] for t in results.get("tasks") or [] if t["n_clusters"] < FEW_CLUSTERS]
    if few:
        said.append(f"Fewer than {FEW_CLUSTERS} clusters: {listed(few)}; intervals are corrected.")
    cut = _arms_with(results.get("termination"), "truncated_rate", above=TRUNCATED_NOTABLY)
    if cut:
        said.append(f"More than {percent(TRUNCATED_NOTABLY, 0)} of outputs cut off: {listed(cut)}.")
    unread = _arms_with(results.get("factuality"), "extraction_rate", below=EXTRACTED_TOO_RARELY)
    if unread:
        said.append(
            f"An answer was found in under {percent(EXTRACTED_TOO_RARELY, 0)} of outputs: "
            f"{listed(unread)}; what was not found counts as not right."
        )
    if (results.get("provenance") or {}).get("is_dirty"):
        said.append("The code had changes that were not committed when this ran.")
    return said


def _arms_with(
    by_arm: Entry | None, key: str, *, above: float | None = None, below: float | None = None
) -> list[str]:
    found = []
    for arm, by_format in (by_arm or {}).items():
        rates = [e[key] for e in (by_format or {}).values() if e and e.get(key) is not None]
        is_high = above is not None and any(rate > above for rate in rates)
        if is_high or (below is not None and any(rate < below for rate in rates)):
            found.append(arm)
    return found
