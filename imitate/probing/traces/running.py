"""The probe of reasoning traces: a checked job -> trained networks, their answers, as results.

What is finished is not made again; a kill costs no more than the steps since the last checkpoint.
Results hold no clock and no path of a run, but under `timing`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evals.probes.traces.arms import make_traces
from evals.probes.traces.kinds import Arm, Condition, Generator
from evals.probes.traces.measures import Judged, judge_answer
from evals.probes.traces.problems import Problem
from imitate.config import TracesJob
from imitate.jsonio import plain
from imitate.probing.traces.answering import answer_test
from imitate.probing.traces.comparing import (
    asked_in,
    compare_arms,
    mean_losses,
    score_arms,
    usual_lengths,
)
from imitate.probing.traces.plan import TracesPlan, TracesRun
from imitate.probing.traces.problems import ProblemSet, draw_all, lines_of
from imitate.probing.traces.scoring import Losses, score_test
from imitate.probing.traces.telling import tell_examples, tell_test
from imitate.probing.traces.training import told_of, train_run
from imitate.progress import Bars
from imitate.store import FinishedCell, Store

__all__ = ["run_traces"]

SCHEMA_VERSION = 2
"""Of a probe's `results.json`; `reports.probes.page` reads this one."""
MOST_VALIDATED = 500
"""Traces of an arm's training data that are validated, the first ones."""

Answers = Mapping[tuple[TracesRun, Generator, Condition], Sequence[Judged]]


def run_traces(job: TracesJob, plan: TracesPlan, store: Store, bars: Bars) -> dict[str, Any]:
    """Return what was found: every network's answers, judged, and arms against one another.

    Raises:
        DataError: There are too few mazes, or a line does not fit.
        RunError: A loss is no finite number any more.
    """
    problems = draw_all(job)
    for run in plan.runs:
        if not run.is_matched:  # too long a line is told before anything is trained
            lines_of(job, run, problems)
    tests = asked_in(problems)
    trained: dict[TracesRun, FinishedCell] = {}
    for run in plan.runs:
        with bars.cell(run.name) as report:
            trained[run] = train_run(job, run, problems, store, report)
        bars.advance(1)
    judged: dict[tuple[TracesRun, Generator, Condition], list[Judged]] = {}
    for run in plan.runs:
        for kind, test in problems.tests.items():
            for condition in run.conditions:
                with bars.cell(f"{run.name}: {kind}, {condition} trace") as report:
                    answers = answer_test(
                        job, run, trained[run], kind, condition, test.problems, store, report
                    )
                judged[run, kind, condition] = _judge_all(
                    test.problems,
                    problems,
                    answers,
                    has_trace=run.has_trace and condition is Condition.OWN,
                )
            bars.advance(1)
    losses = _losses(job, plan, trained, problems, store, bars)
    scores = score_arms(job, plan, judged, tests)
    contrasts = compare_arms(job, plan, judged, tests)
    found: dict[str, Any] = plain(
        {
            "probe": "traces",
            "schema_version": SCHEMA_VERSION,
            "name": job.name,
            "n_parameters": plan.n_parameters,
            "n_vocabulary": plan.n_vocabulary,
            "headline": _headline(job, scores, contrasts),
            "data": _data(job, problems),
            "arms": [_arm(job, run, problems) for run in plan.runs if run.seed == job.seeds[0]],
            "scores": scores,
            "contrasts": contrasts,
            "losses": losses and mean_losses(plan, losses, tests[job.maze.generator].mazes),
            "runs": [_run(run, trained[run], problems, judged) for run in plan.runs],
            "examples": tell_examples(job, plan, problems, judged),
        }
    )
    return found


def _losses(
    job: TracesJob,
    plan: TracesPlan,
    trained: Mapping[TracesRun, FinishedCell],
    problems: ProblemSet,
    store: Store,
    bars: Bars,
) -> dict[TracesRun, Losses]:
    """Return every network's losses in mazes like those trained on; none if not tested there."""
    kind = job.maze.generator
    if kind not in problems.tests:
        return {}
    found = {}
    for run in plan.runs:
        with bars.cell(f"{run.name}: {kind}, loss") as report:
            asked = problems.tests[kind].problems
            found[run] = score_test(job, run, trained[run], asked, store, report)
    return found


def _judge_all(
    asked: Sequence[Problem],
    problems: ProblemSet,
    answers: Sequence[Sequence[str]],
    *,
    has_trace: bool,
) -> list[Judged]:
    return [
        judge_answer(problem, problems.vocabulary, words, has_trace=has_trace)
        for problem, words in zip(asked, answers, strict=True)
    ]


def _data(job: TracesJob, problems: ProblemSet) -> dict[str, Any]:
    return {
        "n_train": len(problems.train),
        "n_repeated": problems.n_repeated,
        "n_too_long": problems.n_too_long,
        "generator": job.maze.generator.value,
        "path_length": float(np.mean([len(one.path) for one in problems.train])),
        "usual_lengths": usual_lengths(problems),
        "operations": float(np.mean([len(one.events) for one in problems.train])),
        "tests": {
            kind.value: {
                "n": len(test.problems),
                "n_mazes": len({one.layout for one in test.problems}),
                "n_known": test.n_known,
                "n_repeated": test.n_repeated,
                "n_too_long": test.n_too_long,
                "path_length": float(np.mean([len(one.path) for one in test.problems])),
            }
            for kind, test in problems.tests.items()
        },
    }


def _arm(job: TracesJob, run: TracesRun, problems: ProblemSet) -> dict[str, Any]:
    """Return an arm, and how many of the traces that it is trained on are searches."""
    told = {
        "arm": run.arm,
        "kind": run.treatment.arm.value,
        "damage": run.treatment.damage and run.treatment.damage.value,
        "percent": run.treatment.percent,
        "is_matched": run.is_matched,
    }
    if run.treatment.arm is Arm.SOLUTION_ONLY:
        return told | {"valid_in_training": None}
    words, some = problems.vocabulary, problems.train[:MOST_VALIDATED]
    traces = make_traces(run.treatment, problems.train, words, run.seed)
    lines = [
        words.text(words.line(words.marker("reasoning"), trace, words.plan(problem.path))).split()
        for problem, trace in zip(some, traces, strict=False)
    ]
    judged = _judge_all(some, problems, [line[1:] for line in lines], has_trace=True)
    return told | {
        "valid_in_training": {
            "n": len(judged),
            "published": sum(one.published.is_valid for one in judged if one.published),
            "strict": sum(one.strict.is_valid for one in judged if one.strict),
        }
    }


def _run(
    run: TracesRun, trained: FinishedCell, problems: ProblemSet, judged: Answers
) -> dict[str, Any]:
    return {
        "arm": run.arm,
        "seed": run.seed,
        "is_matched": run.is_matched,
        "treatment": dataclasses.asdict(run.treatment),
        "training": told_of(trained),
        "tests": {
            kind.value: tell_test(
                test.problems,
                {condition: judged[run, kind, condition] for condition in run.conditions},
            )
            for kind, test in problems.tests.items()
        },
    }


def _headline(
    job: TracesJob,
    scores: Mapping[str, Mapping[str, Any]],
    contrasts: Sequence[Mapping[str, Any]],
) -> str:
    """Return in a sentence how many plans are right with correct and with swapped traces."""
    kind = job.maze.generator.value
    told = {arm: own[kind] for arm, own in scores.items() if kind in own and own[kind]["plan"]["n"]}
    if not told:
        return f"No network was tested on mazes like those that it was trained on ({kind})."
    if {"correct", "swapped"} <= set(told):
        shares = {arm: told[arm]["plan"]["value"] for arm in ("correct", "swapped")}
        traces = {arm: told[arm]["published"]["value"] for arm in ("correct", "swapped")}
        (found,) = (one for one in contrasts if one["is_primary"])
        return (
            f"Trained on correct traces, {_networks(len(job.seeds))} solved "
            f"{shares['correct']:.1%} of new mazes, and {traces['correct']:.1%} of the traces were "
            f"valid; trained on other problems' traces {shares['swapped']:.1%} and "
            f"{traces['swapped']:.1%}{_difference_told(found)}."
        )
    shares = {arm: own["plan"]["value"] for arm, own in told.items()}
    if "correct" not in told or len(told) == 1:
        listed = ", ".join(f"{share:.1%} ({arm})" for arm, share in shares.items())
        return f"{_networks(len(job.seeds)).capitalize()} an arm solved of new mazes: {listed}."
    correct = shares.pop("correct")
    low, high = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    return (
        f"Trained on correct traces, {_networks(len(job.seeds))} solved {correct:.1%} of new "
        f"mazes; other arms between {shares[low]:.1%} ({low}) and {shares[high]:.1%} ({high})."
    )


def _difference_told(found: Mapping[str, Any]) -> str:
    if found["difference"] is None:
        return ": too few to compare"
    low, high = 100 * found["low"], 100 * found["high"]
    over = ", over mazes alone" if found["n_seeds"] == 1 else ""
    return f" ({100 * found['difference']:+.1f} points, {low:+.1f} to {high:+.1f}{over})"


def _networks(n: int) -> str:
    return "one network" if n == 1 else f"{n} networks"
