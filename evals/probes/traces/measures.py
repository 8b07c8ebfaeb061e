"""Answers of one network to problems -> what is right in them, by problem.

What an arm does not say is not judged: without a trace there is none that is valid or not. As
published, a trace is valid only with a plan that fits it; where the two are set against one
another, it is enough that the trace is a search.

Glossary: N problems.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from evals.probes.traces.problems import Problem
from evals.probes.traces.reading import Response, read_maze, read_response
from evals.probes.traces.tokens import Vocabulary
from evals.probes.traces.validator import (
    PlanVerdict,
    TraceVerdict,
    validate_plan,
    validate_trace,
)

__all__ = ["Judged", "count_faults", "judge_answer", "plan_by_trace"]


@dataclasses.dataclass(frozen=True)
class Judged:
    """One answer.

    Attributes:
        response: What it says.
        plan: Whether its plan is a path.
        is_optimal: Whether that is a shortest one.
        published: Whether its trace is a search, after the published validator; None without trace.
        strict: The same after the strict one.
        length_ratio: Operations of its trace over A*'s own; None without trace.
        is_ended: Whether it came to `end` before the context was full.
    """

    response: Response
    plan: PlanVerdict
    is_optimal: bool
    published: TraceVerdict | None
    strict: TraceVerdict | None
    length_ratio: float | None
    is_ended: bool


def judge_answer(
    problem: Problem, vocabulary: Vocabulary, words: Sequence[str], *, has_trace: bool
) -> Judged:
    """Return what is right in an answer.

    Args:
        problem: What was asked.
        vocabulary: Its tokens.
        words: The answer, from `reasoning` or `solution` on.
        has_trace: Whether there is a trace of its own to judge.
    """
    query = vocabulary.text(vocabulary.query(problem)).split()
    maze = read_maze(query, problem.rows, problem.columns)
    response = read_response(words)
    plan = validate_plan(maze, response)
    return Judged(
        response=response,
        plan=plan,
        is_optimal=plan.is_valid and plan.n_cells == len(problem.path),
        published=validate_trace(maze, response) if has_trace else None,
        strict=validate_trace(maze, response, is_strict=True) if has_trace else None,
        length_ratio=len(response.operations) / len(problem.events) if has_trace else None,
        is_ended=bool(words) and words[-1] == "end",
    )


def plan_by_trace(judged: Sequence[Judged], *, is_strict: bool) -> dict[str, int]:
    """Return how many answers have a right or wrong plan after a trace that is a search or none."""
    found = {f"{plan}, {trace}": 0 for plan in ("right", "wrong") for trace in ("search", "none")}
    for one in judged:
        verdict = one.strict if is_strict else one.published
        if verdict is not None:
            plan = "right" if one.plan.is_valid else "wrong"
            found[f"{plan}, {'search' if verdict.is_search else 'none'}"] += 1
    return found


def count_faults(judged: Sequence[Judged]) -> dict[str, dict[str, int]]:
    """Return how many answers fail first by what: in the plan, in the trace, in it strictly."""
    return {
        "plan": _counts([one.plan.fault for one in judged]),
        "published": _counts([one.published.fault for one in judged if one.published]),
        "strict": _counts([one.strict.fault for one in judged if one.strict]),
    }


def _counts(faults: Sequence[str | None]) -> dict[str, int]:
    return dict(Counter(str(fault) for fault in faults if fault is not None).most_common())
