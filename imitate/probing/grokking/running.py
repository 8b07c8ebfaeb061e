"""The grokking probe: a checked job -> trained networks, measured, as results.

Networks that have as many rows to train on are trained side by side; what is finished is not made
again, and a kill costs no more than the epochs since the last snapshot. Results hold no clock and
no path of a run, but under `timing`.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.errors import RunError
from evals.probes.grokking.fourier import FrequencyRule
from evals.probes.grokking.phases import Outcome, epoch_interval
from imitate.config import GrokkingJob
from imitate.jsonio import plain
from imitate.probing.grokking.measuring import measure_run
from imitate.probing.grokking.plan import MAIN, GrokkingPlan, GrokkingRun, share_programs
from imitate.probing.grokking.saturation import find_saturation
from imitate.probing.grokking.training import STAGE, run_key, train_part
from imitate.probing.members import find_members
from imitate.progress import Bars
from imitate.store import Store

__all__ = ["run_grokking"]

SCHEMA_VERSION = 1
"""Of a probe's `results.json`; `reports.probes.page` reads this one."""

PHASES = ("memorised", "formed", "cleaned")
HELD = ("restricted_leads", "excluded_rose", "gini_jumped")
_FREE_SPACE = 1.2
"""Times what the snapshots need: the state to go on from, and what is measured."""


def run_grokking(job: GrokkingJob, plan: GrokkingPlan, store: Store, bars: Bars) -> dict[str, Any]:
    """Return what was found: runs by group, with what was measured at every snapshot.

    Raises:
        RunError: A loss is no finite number any more, or the disk cannot hold the snapshots.
    """
    trained = _train_all(job, plan, store, bars)
    rule = FrequencyRule(job.key_frequencies)
    measured: dict[GrokkingRun, dict[str, Any]] = {}
    for run in plan.runs:  # those of the main line come first
        key = run_key(job, run)
        with bars.cell(run.name) as report:
            measured[run] = measure_run(
                run, key, trained[key], rule, store, report, lent=_lent_keys(run, plan, measured)
            )
        bars.advance(run.epochs)
    runs: list[dict[str, Any]] = [
        {"group": group, "name": run.name, **measured[run]}
        for group, members in plan.groups.items()
        for run in members
    ]
    main = [one for one in runs if one["group"] == MAIN]
    found: dict[str, Any] = plain(
        {
            "probe": "grokking",
            "schema_version": SCHEMA_VERSION,
            "name": job.name,
            "rule": rule.value,
            "n_parameters": plan.n_parameters,
            "headline": _headline(main),
            "inside": _inside(main),
            "phases": _phases_over_seeds(main),
            "saturation": find_saturation(runs),
            "runs": runs,
        }
    )
    return found


def _lent_keys(
    run: GrokkingRun, plan: GrokkingPlan, measured: Mapping[GrokkingRun, dict[str, Any]]
) -> list[int]:
    """Return the main line's key frequencies, of the same seed, for another run of its table."""
    main = plan.groups[MAIN]
    for other in main:
        is_alike = (other.operation, other.p, other.seed) == (run.operation, run.p, run.seed)
        if is_alike and run not in main and other in measured:
            keys: list[int] = measured[other]["keys"]
            return keys
    return []


def _train_all(job: GrokkingJob, plan: GrokkingPlan, store: Store, bars: Bars) -> dict[str, Path]:
    trained = find_members(store, STAGE, {run_key(job, run) for run in plan.runs})
    missing = [run for run in plan.runs if run_key(job, run) not in trained]
    if missing:
        _refuse_full_disk(store.root, plan.n_bytes * len(missing) // len(plan.runs))
    for part in share_programs(missing, job.train.side_by_side):
        named = part[0].name if len(part) == 1 else f"{len(part)} networks, {part[0].name} ..."
        with bars.cell(named) as report:
            trained |= train_part(job, part, store, report)
        bars.advance(sum(run.epochs for run in part))
    bars.advance(sum(run.epochs for run in plan.runs if run not in missing))
    return trained


def _refuse_full_disk(root: Path, needed: int) -> None:
    needed -= sum(path.stat().st_size for path in (root / "work").rglob("epoch-*.safetensors"))
    there = root
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < _FREE_SPACE * needed:
        raise RunError(
            f"the snapshots need {_FREE_SPACE * needed / 1e9:.1f} GB and {there} has "
            f"{free / 1e9:.1f} GB left: a larger `train.checkpoint_every` needs less"
        )


def _phases_over_seeds(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of each phase's end over the seeds that have one, with its interval."""
    inside = [one for one in _grokked(runs) if one["order"]]
    return {
        name: dataclasses.asdict(epoch_interval([one["phases"][name] for one in inside]))
        for name in PHASES
    } | {"n_told": len(inside), "n_grokked": len(_grokked(runs)), "n_seeds": len(runs)}


def _headline(runs: Sequence[dict[str, Any]]) -> str:
    """Return how many networks grokked, and when, as far as it was measured."""
    n, first = len(runs), runs[0]["run"]
    what = f"{first['operation']} mod {first['p']}"
    grokked = _grokked(runs)
    if not grokked:
        outcomes = sorted({one["phases"]["outcome"] for one in runs})
        return (
            f"No network grokked {what} in {first['epochs']:,} epochs (of {n}: "
            f"{', '.join(outcomes)}), so there are no phases to tell."
        )
    inside = [one for one in grokked if one["order"]]
    said = f"{len(grokked)} of {n} networks grokked {what}"
    if not inside:
        fitted, learned = (
            round(epoch_interval([one["phases"][name] for one in grokked]).mean)
            for name in ("fitted", "generalised")
        )
        return f"{said}: rows trained on were right from epoch {fitted:,}, others from {learned:,}."
    stored, formed, cleaned = (
        round(epoch_interval([one["phases"][name] for one in inside]).mean) for name in PHASES
    )
    return (
        f"{said} in three phases: memorisation until epoch {stored:,}, circuit formation until "
        f"{formed:,}, clean-up until {cleaned:,}."
    )


def _inside(runs: Sequence[dict[str, Any]]) -> str:
    """Return in plain words what had happened inside while the outside looked flat."""
    orders = [one["order"] for one in _grokked(runs) if one["order"]]
    if not orders:
        return ""
    leads = [one["test"]["half"] - one["restricted"]["half"] for one in orders]
    spread = f"{min(leads):,}" if len(set(leads)) == 1 else f"{min(leads):,} to {max(leads):,}"
    counts = {name: sum(one[name] for one in orders) for name in HELD}
    n = len(orders)
    return (
        "With nothing but what it computes along the sum directions, the network was half-way to "
        f"its last loss {spread} epochs before its test loss was, on the same rows: it led in "
        f"{counts['restricted_leads']} of {n}. Without them, its loss on the rows trained on had "
        f"risen before the test loss fell in {counts['excluded_rose']} of {n}, and the embedding's "
        f"Gini coefficient rose faster in clean-up than before in {counts['gini_jumped']} of {n}."
    )


def _grokked(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in runs if one["phases"]["outcome"] == Outcome.GROKKED]
