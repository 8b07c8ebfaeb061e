"""Answers and losses of all networks -> means by arm, and arms against one another.

An arm's value of a problem is the mean over its seeds. Problems in the same maze are one cluster,
and the spread of the seeds is added to the error of a difference.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.estimates import Estimate, mean_over_seeds, share_estimate
from evals.probes.traces.kinds import Arm, Condition, Generator
from evals.probes.traces.measures import Judged
from evals.stats import (
    Contrast,
    average_over_seeds,
    cluster_sums,
    contrast,
    guarded_equivalence_p,
    holm,
    joint_bootstrap,
)
from imitate.config import TracesJob
from imitate.probing.traces.plan import TracesPlan, TracesRun
from imitate.probing.traces.scoring import Losses

__all__ = ["compare_arms", "mean_losses", "score_arms"]

RESAMPLES = 4000
SEED = 0
LEAST_MAZES = 30
"""Mazes behind a comparison; a small grid has few that are spanning trees."""

Answers = Mapping[tuple[TracesRun, Generator, Condition], Sequence[Judged]]
Mazes = Mapping[Generator, Sequence[str]]

_MEASURES: dict[str, Callable[[Judged], bool | None]] = {
    "plan": lambda one: one.plan.is_valid,
    "optimal": lambda one: one.is_optimal,
    "published": lambda one: one.published.is_valid if one.published else None,
    "strict": lambda one: one.strict.is_valid if one.strict else None,
}


def score_arms(
    job: TracesJob, plan: TracesPlan, judged: Answers, mazes: Mazes
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, by arm and kind of maze, the shares of right plans, shortest plans and valid traces.

    Under `given`, right plans after a trace that was given. The interval is over mazes, with all
    problems and seeds of one in a cluster, and of several seeds over these too; each seed's own
    share stands beside it.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for arm, runs in _by_arm(plan).items():
        found[arm] = {
            kind.value: {
                name: _share(_answers(judged, runs, kind), measure, mazes[kind])
                for name, measure in _MEASURES.items()
            }
            | {
                "given": {
                    condition.value: _share(
                        _answers(judged, runs, kind, condition), _MEASURES["plan"], mazes[kind]
                    )
                    for condition in runs[0].conditions
                    if condition is not Condition.OWN
                }
            }
            for kind in job.test.generators
        }
    return found


def compare_arms(
    job: TracesJob, plan: TracesPlan, judged: Answers, mazes: Mazes
) -> list[dict[str, Any]]:
    """Return every arm against the correct one, by kind of maze: the difference of right plans.

    No difference is told where the better of the two solves less than the floor, or fewer mazes
    than LEAST_MAZES stand behind the problems. One is primary: swapped traces, in mazes like those
    that were trained on. The p-values of all others are one family (Holm); that of equivalence asks
    whether a difference is within the margin both ways.

    Args:
        job: What was asked for.
        plan: Its networks.
        judged: Their answers.
        mazes: By kind, the maze of every problem.
    """
    arms = _by_arm(plan)
    if Arm.CORRECT.value not in arms:
        return []
    correct = arms[Arm.CORRECT.value]
    found = [
        _difference(
            job,
            arm,
            kind,
            _plans(_answers(judged, runs, kind)),
            _plans(_answers(judged, correct, kind)),
            mazes[kind],
        )
        for kind in job.test.generators
        for arm, runs in arms.items()
        if runs != correct
    ]
    adjusted = holm(
        {
            str(place): one["p"]
            for place, one in enumerate(found)
            if one["p"] is not None and not one["is_primary"]
        }
    )
    return [
        one | {"p_adjusted": one["p"] if one["is_primary"] else adjusted.get(str(place))}
        for place, one in enumerate(found)
    ]


def mean_losses(
    plan: TracesPlan, losses: Mapping[TracesRun, Losses], mazes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return, by arm, the mean loss on traces and on plans of one test, with its interval.

    Lines that do not fit the context, with any seed, are left out.

    Args:
        plan: The networks.
        losses: Theirs.
        mazes: The maze of every problem.
    """
    parts: dict[str, Callable[[Losses], Sequence[float]]] = {
        "trace": lambda one: one.trace,
        "plan": lambda one: one.plan,
    }
    return {
        arm: {
            name: _mean_loss(np.array([part(losses[run]) for run in runs]), mazes)
            for name, part in parts.items()
        }
        for arm, runs in _by_arm(plan).items()
    }


def _mean_loss(values: NDArray[np.float64], mazes: Sequence[str]) -> dict[str, Any]:
    """Return the mean of (seeds, problems) losses; none is below 0."""
    kept = ~np.isnan(values).any(axis=0)
    if not kept.any():
        return {"value": None, "low": None, "high": None, "n": 0, "by_seed": []}
    told = values[:, kept]
    found = _contrast(told[None], [1], np.asarray(mazes)[kept].tolist())
    low, high = found.interval()
    return {
        "value": found.value,
        "low": max(0.0, low),
        "high": high,
        "n": told.shape[1],
        "by_seed": told.mean(axis=1).tolist(),
    }


def _difference(
    job: TracesJob,
    arm: str,
    kind: Generator,
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    mazes: Sequence[str],
) -> dict[str, Any]:
    """Return right plans (seeds, problems) of an arm against those of the correct one."""
    told: dict[str, Any] = {
        "arm": arm,
        "test": kind.value,
        "is_in_distribution": kind is job.maze.generator,
        "is_primary": arm == Arm.SWAPPED and kind is job.maze.generator,
        "share": float(one.mean()),
        "correct_share": float(other.mean()),
        "n": one.shape[1],
        "n_mazes": len(set(mazes)),
        "n_seeds": len(one),
    }
    is_solved = max(told["share"], told["correct_share"]) >= job.test.floor
    if not is_solved or told["n_mazes"] < LEAST_MAZES:
        empty = dict.fromkeys(("difference", "low", "high", "p", "p_equivalent"))
        return told | empty
    found = _contrast(np.stack([one, other]), [1, -1], mazes)
    low, high = found.interval()
    return told | {
        "difference": found.value,
        "low": low,
        "high": high,
        "p": found.two_sided_p(),
        "p_equivalent": guarded_equivalence_p(found, job.test.margin),
    }


def _contrast(
    values: NDArray[np.float64], weights: Sequence[float], mazes: Sequence[str]
) -> Contrast:
    """Return a weighted sum of arms' values (arms, seeds, problems), with the error of seeds."""
    sample = cluster_sums(values.mean(axis=1), mazes)
    draws = joint_bootstrap(sample, resamples=RESAMPLES, seed=SEED)
    found = contrast(sample, draws, weights)
    if values.shape[1] == 1:
        return found
    return average_over_seeds(found, (np.array(weights) @ values.mean(axis=2)).tolist())


def _plans(answers: Sequence[Sequence[Judged]]) -> NDArray[np.float64]:
    """Return (seeds, problems) whether a plan is right."""
    return np.array([[float(one.plan.is_valid) for one in own] for own in answers])


def _share(
    answers: Sequence[Sequence[Judged]],
    measure: Callable[[Judged], bool | None],
    mazes: Sequence[str],
) -> dict[str, Any]:
    values = [[measure(one) for one in own] for own in answers]
    if any(value is None for own in values for value in own):
        return {"value": None, "low": None, "high": None, "n": 0, "by_seed": []}
    flat = np.array(values, np.float64)
    by_seed = flat.mean(axis=1).tolist()
    found = share_estimate(flat.ravel(), [*mazes] * len(values))
    if len(by_seed) > 1:
        found = _add_seeds(found, mean_over_seeds(by_seed))
    return dataclasses.asdict(found) | {"by_seed": by_seed}


def _add_seeds(share: Estimate, seeds: Estimate) -> Estimate:
    """Return a share with the spread of its seeds in the interval, as in a difference's."""
    if math.isnan(share.low):
        return share
    reach = seeds.high - seeds.value
    low = share.value - math.hypot(share.value - share.low, reach)
    high = share.value + math.hypot(share.high - share.value, reach)
    return dataclasses.replace(share, low=max(0.0, low), high=min(1.0, high))


def _answers(
    judged: Answers,
    runs: Sequence[TracesRun],
    kind: Generator,
    condition: Condition = Condition.OWN,
) -> list[Sequence[Judged]]:
    return [judged[run, kind, condition] for run in runs]


def _by_arm(plan: TracesPlan) -> dict[str, list[TracesRun]]:
    found: dict[str, list[TracesRun]] = {}
    for run in plan.runs:
        found.setdefault(run.arm, []).append(run)
    return found
