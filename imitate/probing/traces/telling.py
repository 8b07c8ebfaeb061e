"""One network's answers to a test -> counts; and some answers whole, for the report's viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evals.probes.traces.kinds import Condition, Generator
from evals.probes.traces.measures import Judged, count_faults, plan_by_trace
from evals.probes.traces.problems import Problem
from evals.probes.traces.reading import Operation
from imitate.config import TracesJob
from imitate.probing.traces.plan import TracesPlan, TracesRun
from imitate.probing.traces.problems import ProblemSet

__all__ = ["tell_examples", "tell_test"]

EXAMPLES = 3
"""Problems of each test whose answers are told whole."""
BINS = 4
"""Groups of problems by the length of their path, as equal as lengths in whole cells allow."""

Answers = Mapping[tuple[TracesRun, Generator, Condition], Sequence[Judged]]


def tell_test(
    problems: Sequence[Problem], answers: Mapping[Condition, Sequence[Judged]]
) -> dict[str, Any]:
    """Return what is counted in one network's answers to one test, by whose trace they have."""
    judged = answers[Condition.OWN]
    ratios = [one.length_ratio for one in judged if one.length_ratio is not None]
    return {
        "n": len(judged),
        "plans": {
            condition.value: "".join(str(int(one.plan.is_valid)) for one in own)
            for condition, own in answers.items()
        },
        "ended": sum(one.is_ended for one in judged),
        "optimal": sum(one.is_optimal for one in judged),
        "published": plan_by_trace(judged, is_strict=False),
        "strict": plan_by_trace(judged, is_strict=True),
        "faults": count_faults(judged),
        "by_length": _by_length(problems, judged),
        "length_ratio": float(np.median(ratios)) if ratios else None,
    }


def tell_examples(
    job: TracesJob, plan: TracesPlan, problems: ProblemSet, judged: Answers
) -> list[dict[str, Any]]:
    """Return some problems of every test with the answer of each arm's first seed."""
    first = [run for run in plan.runs if run.seed == job.seeds[0]]
    return [
        {
            "test": kind.value,
            "rows": problem.rows,
            "columns": problem.columns,
            "walls": np.flatnonzero(~problem.free).tolist(),
            "start": problem.start,
            "goal": problem.goal,
            "path": problem.path.tolist(),
            "answers": {run.arm: _answer(judged[run, kind, Condition.OWN][place]) for run in first},
        }
        for kind, test in problems.tests.items()
        for place, problem in enumerate(test.problems[:EXAMPLES])
    ]


def _answer(judged: Judged) -> dict[str, Any]:
    verdicts = {"published": judged.published, "strict": judged.strict}
    return {
        "operations": [_operation(one) for one in judged.response.operations],
        "plan": [list(cell) for cell in judged.response.plan or ()],
        "plan_fault": judged.plan.fault,
    } | {
        name: verdict and {"fault": verdict.fault, "at": verdict.at}
        for name, verdict in verdicts.items()
    }


def _operation(operation: Operation) -> list[int]:
    return [int(operation.is_close), *operation.cell, operation.cost, operation.distance]


def _by_length(problems: Sequence[Problem], judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return right plans by length of the shortest path, in BINS groups at most."""
    lengths = np.array([len(problem.path) for problem in problems])
    is_right = np.array([one.plan.is_valid for one in judged])
    groups = np.digitize(lengths, np.quantile(lengths, np.arange(1, BINS) / BINS), right=True)
    return [
        {
            "low": int(lengths[groups == group].min()),
            "high": int(lengths[groups == group].max()),
            "n": int((groups == group).sum()),
            "right": int(is_right[groups == group].sum()),
        }
        for group in np.unique(groups)
    ]
