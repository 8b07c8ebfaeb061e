"""The grokking probe: a checked job -> trained networks, measured, as results.

Networks that have as many rows to train on are trained side by side; what is finished is not made
again, and a kill costs no more than the epochs since the last snapshot. Results hold no clock and
no path of a run, but under `timing`.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.errors import RunError
from evals.probes.grokking.fourier import FrequencyRule
from evals.probes.grokking.phases import Outcome, epoch_interval
from imitate.config import GrokkingJob
from imitate.probing.measuring import measure_run, plain
from imitate.probing.runs import MAIN, GrokkingPlan, share_programs
from imitate.probing.training import find_trained, run_key, train_part
from imitate.progress import Bars
from imitate.store import Store

__all__ = ["run_grokking"]

PHASES = ("memorised", "formed", "cleaned")
_FREE_SPACE = 1.2
"""Times what the snapshots need: the state to go on from, and what is measured."""


def run_grokking(job: GrokkingJob, plan: GrokkingPlan, store: Store, bars: Bars) -> dict[str, Any]:
    """Return what was found: runs by group, with what was measured at every snapshot.

    Raises:
        RunError: A loss is no finite number any more, or the disk cannot hold the snapshots.
    """
    trained = _train_all(job, plan, store, bars)
    rule = FrequencyRule(job.key_frequencies)
    measured = {}
    for run in plan.runs:
        key = run_key(job, run)
        with bars.cell(run.name) as report:
            measured[run] = measure_run(run, key, trained[key], rule, store, report)
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
            "name": job.name,
            "rule": rule.value,
            "n_parameters": plan.n_parameters,
            "headline": _headline(main),
            "inside": _inside(main),
            "phases": _phases_over_seeds(main),
            "runs": runs,
        }
    )
    return found


def _train_all(job: GrokkingJob, plan: GrokkingPlan, store: Store, bars: Bars) -> dict[str, Path]:
    trained = find_trained(store)
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
    """Return the mean of each phase's end over the seeds that grokked, with its interval."""
    grokked = _grokked(runs)
    return {
        name: dataclasses.asdict(epoch_interval([one["phases"][name] for one in grokked]))
        for name in PHASES
    } | {"n_grokked": len(grokked), "n_seeds": len(runs)}


def _headline(runs: Sequence[dict[str, Any]]) -> str:
    """Return how many networks grokked, and when their phases ended."""
    n, first = len(runs), runs[0]["run"]
    what = f"{first['operation']} mod {first['p']}"
    grokked = _grokked(runs)
    if not grokked:
        outcomes = sorted({one["phases"]["outcome"] for one in runs})
        return (
            f"No network grokked {what} in {first['epochs']:,} epochs (of {n}: "
            f"{', '.join(outcomes)}), so there are no phases to tell."
        )
    stored, formed, cleaned = (
        round(epoch_interval([one["phases"][name] for one in grokked]).mean) for name in PHASES
    )
    return (
        f"{len(grokked)} of {n} networks learned {what} in three phases: answers stored by epoch "
        f"{stored:,}, a computation formed by {formed:,}, the stored answers cleaned away by "
        f"{cleaned:,}."
    )


def _inside(runs: Sequence[dict[str, Any]]) -> str:
    """Return in plain words what had happened inside when the outside began to move."""
    orders = [one["order"] for one in _grokked(runs) if one["order"]]
    if not orders:
        return ""
    outside = min(one["test_ratio"] for one in orders)
    fell = max(one["restricted_ratio"] for one in orders)
    rose = min(one["excluded_ratio"] for one in orders)
    holds = sum(one["holds"] for one in orders)
    return (
        "When the test loss began its fall, it was still "
        f"{100 * outside:.0f} % or more of what it was when the answers had been stored; the loss "
        f"of the computing part alone had by then fallen to {100 * fell:.2g} % or less, and that "
        f"of the storing part alone risen {rose:.2g} times or more. The published order held in "
        f"{holds} of {len(orders)} networks."
    )


def _grokked(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in runs if one["phases"]["outcome"] == Outcome.GROKKED]
