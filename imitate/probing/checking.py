"""What a probe comes to, for `imitate check`: a table of networks, and a line of totals."""

from __future__ import annotations

from rich.table import Table

from imitate.probing.capacity.plan import CapacityPlan, CapacityRun
from imitate.probing.grokking.plan import GrokkingPlan
from imitate.probing.traces.plan import TracesPlan, TracesRun

__all__ = ["describe_plan"]


def describe_plan(name: str, plan: GrokkingPlan | CapacityPlan | TracesPlan) -> tuple[Table, str]:
    """Return the networks of a plan as a table, and what they come to in words."""
    if isinstance(plan, GrokkingPlan):
        return _grokking_table(name, plan), (
            f"{plan.n_parameters:,} parameters in the main line, {plan.epochs:,} epochs in all, in "
            f"{len(plan.parts)} programs; the snapshots need {plan.n_bytes / 1e9:.2g} GB"
        )
    if isinstance(plan, TracesPlan):
        return _traces_table(name, plan), (
            f"{len(plan.runs)} networks of {plan.n_parameters:,} parameters and a vocabulary of "
            f"{plan.n_vocabulary:,} tokens; each is tested on {plan.n_tests} kinds of mazes"
        )
    return _capacity_table(name, plan), (
        f"{len(plan.runs)} networks in {len(plan.parts)} programs; each trains until it holds no "
        f"more, {plan.max_steps:,} steps at most"
    )


def _grokking_table(name: str, plan: GrokkingPlan) -> Table:
    table = _table(name, "group", "runs", "epochs of each", "the first")
    for group, runs in plan.groups.items():
        epochs = ", ".join(f"{one:,}" for one in sorted({run.epochs for run in runs}))
        table.add_row(group, str(len(runs)), epochs, runs[0].name)
    return table


def _capacity_table(name: str, plan: CapacityPlan) -> Table:
    table = _table(name, "data", "size", "parameters", "tokens", "sequences", "networks")
    alike: dict[tuple[str, int, int, int], list[CapacityRun]] = {}
    for run in plan.runs:
        alike.setdefault((run.kind, run.layers, run.width, run.length), []).append(run)
    for (kind, layers, width, length), runs in alike.items():
        counts = ", ".join(f"{n:,}" for n in sorted({run.n_sequences for run in runs}))
        n_parameters = plan.n_parameters[layers, width]
        size = f"{layers} x {width}"
        table.add_row(kind, size, f"{n_parameters:,}", str(length), counts, str(len(runs)))
    return table


def _traces_table(name: str, plan: TracesPlan) -> Table:
    table = _table(name, "before the plan", "networks", "seeds")
    arms: dict[str, list[TracesRun]] = {}
    for run in plan.runs:
        arms.setdefault(run.arm, []).append(run)
    for arm, runs in arms.items():
        table.add_row(arm, str(len(runs)), ", ".join(str(run.seed) for run in runs))
    return table


def _table(name: str, *columns: str) -> Table:
    table = Table(title=f"{name}: what is trained", title_justify="left")
    for column in columns:
        table.add_column(column)
    return table
