"""The spot-check panel: whom a reader may ask from the report, and with which commands."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from reports.reading import lead_imitator, shown_arm

__all__ = ["SpotArm", "SpotPanel", "spot_panel"]

Entry = dict[str, Any]


@dataclass(frozen=True)
class SpotArm:
    """One arm to tick."""

    name: str
    kind: str
    is_chosen: bool


@dataclass(frozen=True)
class SpotPanel:
    """What the panel offers: the leading base, its imitators and the teacher, then all others."""

    serve_command: str
    ask_command: str
    arms: tuple[SpotArm, ...]
    others: tuple[SpotArm, ...]


def spot_panel(results: Entry) -> SpotPanel | None:
    """Return the panel of a run, None where no arm has a model.

    Ticked are the imitator that stands for the run, its base and the teacher.
    """
    lead = lead_imitator(results)
    chosen = {"teacher", *((lead["base"], shown_arm(results, lead)) if lead else ())}
    arms: list[SpotArm] = []
    others: list[SpotArm] = []
    for entry in results.get("arms") or []:
        if entry.get("control") or entry.get("is_recorded"):
            continue  # what trains nothing, or is told by its outputs, has no model of its own
        arm = SpotArm(entry["arm"], _kind(entry), entry["arm"] in chosen)
        is_near = lead is None or entry["base"] in {None, lead["base"]}
        is_main = is_near and arm.kind in {"base", "imitator", "teacher"}
        (arms if is_main else others).append(arm)
    if not arms:
        return None
    paths = (results.get("timing") or {}).get("paths") or {}
    folder = shlex.quote(paths.get("run") or f"runs/{results.get('name') or 'NAME'}")
    return SpotPanel(
        serve_command=f"imitate serve {folder}",
        ask_command=f'imitate spot {folder} "your prompt"',
        arms=tuple(sorted(arms, key=lambda arm: arm.kind == "teacher")),
        others=tuple(others),
    )


def _kind(entry: Entry) -> str:
    if entry.get("is_control"):
        return "control"
    return "planted" if entry.get("is_planted") else str(entry["kind"])
