"""Probes: a checked job -> trained networks, what was measured in them, results."""

from __future__ import annotations

from typing import Any

from imitate.config import CapacityJob, GrokkingJob
from imitate.probing.capacity.plan import CapacityPlan, plan_capacity
from imitate.probing.grokking.plan import GrokkingPlan, plan_grokking
from imitate.progress import Bars
from imitate.store import Store

__all__ = ["plan_probe", "run_probe"]


def plan_probe(job: GrokkingJob | CapacityJob) -> GrokkingPlan | CapacityPlan:
    """Return what a job comes to; `work` is its units of progress.

    Raises:
        DataError: A run of it cannot be.
    """
    return plan_grokking(job) if isinstance(job, GrokkingJob) else plan_capacity(job)


def run_probe(
    job: GrokkingJob | CapacityJob, plan: GrokkingPlan | CapacityPlan, store: Store, bars: Bars
) -> dict[str, Any]:
    """Return what a probe found.

    Raises:
        UserError: Its data do not fit.
        RunError: It cannot go on; what is finished is kept.
    """
    if isinstance(job, GrokkingJob) and isinstance(plan, GrokkingPlan):
        from imitate.probing.grokking.running import run_grokking

        return run_grokking(job, plan, store, bars)
    assert isinstance(job, CapacityJob), job
    assert isinstance(plan, CapacityPlan), plan
    from imitate.probing.capacity.running import run_capacity

    return run_capacity(job, plan, store, bars)
