"""Probes: a checked job -> trained networks, what was measured in them, results."""

from __future__ import annotations

from typing import Any

from imitate.config import CapacityJob, GrokkingJob, ProbeJob, TracesJob
from imitate.probing.capacity.plan import CapacityPlan, plan_capacity
from imitate.probing.grokking.plan import GrokkingPlan, plan_grokking
from imitate.probing.traces.plan import TracesPlan, plan_traces
from imitate.progress import Bars
from imitate.store import Store

__all__ = ["ProbePlan", "plan_probe", "run_probe"]


ProbePlan = GrokkingPlan | CapacityPlan | TracesPlan
"""What a probe comes to."""


def plan_probe(job: ProbeJob) -> ProbePlan:
    """Return what a job comes to; `work` is its units of progress.

    Raises:
        DataError: A run of it cannot be.
    """
    if isinstance(job, GrokkingJob):
        return plan_grokking(job)
    return plan_capacity(job) if isinstance(job, CapacityJob) else plan_traces(job)


def run_probe(job: ProbeJob, plan: ProbePlan, store: Store, bars: Bars) -> dict[str, Any]:
    """Return what a probe found.

    Raises:
        UserError: Its data do not fit.
        RunError: It cannot go on; what is finished is kept.
    """
    if isinstance(job, GrokkingJob) and isinstance(plan, GrokkingPlan):
        from imitate.probing.grokking.running import run_grokking

        return run_grokking(job, plan, store, bars)
    if isinstance(job, CapacityJob) and isinstance(plan, CapacityPlan):
        from imitate.probing.capacity.running import run_capacity

        return run_capacity(job, plan, store, bars)
    assert isinstance(job, TracesJob), job
    assert isinstance(plan, TracesPlan), plan
    from imitate.probing.traces.running import run_traces

    return run_traces(job, plan, store, bars)
