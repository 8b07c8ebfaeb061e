"""Answers and losses of all networks -> means by arm, and arms against one another.

An arm's value of a problem is the mean over its seeds. Problems in the same maze are one cluster,
and the spread of the seeds is added to the error of a difference. Kinds of mazes differ in the
lengths of their paths too, so what is found on another kind stands a second time on those of its
problems whose path is as long as those trained on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.estimates import Estimate, mean_over_seeds, share_estimate
from evals.power import MIN_CLUSTERS
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
from imitate.probing.traces.problems import ProblemSet
from imitate.probing.traces.scoring import Losses

__all__ = ["Asked", "asked_in", "compare_arms", "mean_losses", "score_arms", "usual_lengths"]

RESAMPLES = 4000
SEED = 0
LEAST_MAZES = 30
"""Mazes behind a comparison; a small grid has few that are spanning trees."""
USUAL = 0.99
"""Share of the problems trained on whose paths are of usual length."""

Answers = Mapping[tuple[TracesRun, Generator, Condition], Sequence[Judged]]

_NONE: dict[str, Any] = {"value": None, "low": None, "high": None, "n": 0, "by_seed": []}

_MEASURES: dict[str, Callable[[Judged], bool | None]] = {
    "plan": lambda one: one.plan.is_valid,
    "optimal": lambda one: one.is_optimal,
    "published": lambda one: one.published.is_valid if one.published else None,
    "strict": lambda one: one.strict.is_valid if one.strict else None,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """What is asked in one test, by problem.

    Attributes:
        mazes: The maze; problems in one are a cluster.
        is_usual: Whether the shortest path is as long as those trained on.
    """

    mazes: NDArray[np.str_]
    is_usual: NDArray[np.bool_]


Tests = Mapping[Generator, Asked]


def usual_lengths(problems: ProblemSet) -> tuple[int, int]:
    """Return the least and the greatest length, in cells, of USUAL of the paths trained on."""
    lengths = [len(one.path) for one in problems.train]
    rest = (1 - USUAL) / 2
    low, high = np.quantile(lengths, [rest, 1 - rest], method="inverted_cdf")
    return int(low), int(high)


def asked_in(problems: ProblemSet) -> dict[Generator, Asked]:
    """Return what is asked in every test."""
    low, high = usual_lengths(problems)
    return {
        kind: Asked(
            mazes=np.array([one.layout.hex() for one in test.problems]),
            is_usual=np.array([low <= len(one.path) <= high for one in test.problems]),
        )
        for kind, test in problems.tests.items()
    }


def score_arms(
    job: TracesJob, plan: TracesPlan, judged: Answers, tests: Tests
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, by arm and kind of maze, the shares of right plans, shortest plans and valid traces.

    Under `plan_usual`, right plans where the path is as long as those trained on; under `given`,
    right plans after a trace that was given. The interval is over mazes, with all
    problems and seeds of one in a cluster, and of several seeds over these too; each seed's own
    share stands beside it.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for arm, runs in _by_arm(plan).items():
        found[arm] = {
            kind.value: {
                name: _share(_answers(judged, runs, kind), measure, tests[kind].mazes)
                for name, measure in _MEASURES.items()
            }
            | {
                "plan_usual": _share_of_usual(_answers(judged, runs, kind), tests[kind]),
                "given": {
                    condition.value: _share(
                        _answers(judged, runs, kind, condition),
                        _MEASURES["plan"],
                        tests[kind].mazes,
                    )
                    for condition in runs[0].conditions
                    if condition is not Condition.OWN
                },
            }
            for kind in job.test.generators
        }
    return found


def compare_arms(
    job: TracesJob, plan: TracesPlan, judged: Answers, tests: Tests
) -> list[dict[str, Any]]:
    """Return every arm against the correct one, by kind of maze: the difference of right plans.

    On another kind than that trained on, once of all problems and once of those whose path is as
    long as those trained on (`is_usual`).

    No difference is told where the better of the two solves less than the floor, or fewer mazes
    than LEAST_MAZES stand behind the problems. One is primary: swapped traces, in mazes like those
    that were trained on. The p-values of all others are one family (Holm); that of equivalence asks
    whether a difference is within the margin both ways. One network an arm is no sample of its
    arm: there the interval is over mazes alone, and no p is told.

    Args:
        job: What was asked for.
        plan: Its networks.
        judged: Their answers.
        tests: What they were asked.
    """
    arms = _by_arm(plan)
    if Arm.CORRECT.value not in arms:
        return []
    found = []
    for kind in job.test.generators:
        right = {arm: _plans(_answers(judged, runs, kind)) for arm, runs in arms.items()}
        asked = tests[kind]
        for arm in arms:
            if arm == Arm.CORRECT:
                continue
            pair = np.stack([right[arm], right[Arm.CORRECT.value]])
            found.append(_difference(job, arm, kind, pair, asked.mazes))
            if kind is not job.maze.generator:
                usual = asked.is_usual
                told = _difference(job, arm, kind, pair[..., usual], asked.mazes[usual])
                found.append(told | {"is_usual": True})
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
    plan: TracesPlan, losses: Mapping[TracesRun, Losses], mazes: NDArray[np.str_]
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


def _mean_loss(values: NDArray[np.float64], mazes: NDArray[np.str_]) -> dict[str, Any]:
    """Return the mean of (seeds, problems) losses; none is below 0."""
    kept = ~np.isnan(values).any(axis=0)
    if not kept.any():
        return _NONE
    told = values[:, kept]
    found = _contrast(told[None], [1], mazes[kept])
    low, high = found.interval()
    is_enough = len(np.unique(mazes[kept])) >= MIN_CLUSTERS
    return {
        "value": found.value,
        "low": max(0.0, low) if is_enough else None,
        "high": high if is_enough else None,
        "n": told.shape[1],
        "by_seed": told.mean(axis=1).tolist(),
    }


def _difference(
    job: TracesJob,
    arm: str,
    kind: Generator,
    pair: NDArray[np.float64],
    mazes: NDArray[np.str_],
) -> dict[str, Any]:
    """Return right plans of an arm against those of the correct one: (2, seeds, problems)."""
    told: dict[str, Any] = {
        "arm": arm,
        "test": kind.value,
        "is_in_distribution": kind is job.maze.generator,
        "is_usual": False,
        "is_primary": arm == Arm.SWAPPED and kind is job.maze.generator,
        "share": float(pair[0].mean()) if pair.size else None,
        "correct_share": float(pair[1].mean()) if pair.size else None,
        "n": pair.shape[2],
        "n_mazes": len(np.unique(mazes)),
        "n_seeds": pair.shape[1],
    }
    empty: dict[str, Any] = dict.fromkeys(("difference", "low", "high", "p", "p_equivalent"))
    is_many = told["n_mazes"] >= LEAST_MAZES
    if not is_many or max(told["share"], told["correct_share"]) < job.test.floor:
        return told | empty
    found = _contrast(pair, [1, -1], mazes)
    low, high = found.interval()
    told |= empty | {"difference": found.value, "low": low, "high": high}
    if pair.shape[1] == 1:
        return told
    return told | {
        "p": found.two_sided_p(),
        "p_equivalent": guarded_equivalence_p(found, job.test.margin),
    }


def _contrast(
    values: NDArray[np.float64], weights: Sequence[float], mazes: NDArray[np.str_]
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


def _share_of_usual(answers: Sequence[Sequence[Judged]], asked: Asked) -> dict[str, Any]:
    places = np.flatnonzero(asked.is_usual)
    if not len(places):
        return _NONE
    usual = [[own[place] for place in places] for own in answers]
    return _share(usual, _MEASURES["plan"], asked.mazes[places])


def _share(
    answers: Sequence[Sequence[Judged]],
    measure: Callable[[Judged], bool | None],
    mazes: NDArray[np.str_],
) -> dict[str, Any]:
    values = [[measure(one) for one in own] for own in answers]
    if any(value is None for own in values for value in own):
        return _NONE
    flat = np.array(values, np.float64)
    by_seed = flat.mean(axis=1).tolist()
    found = share_estimate(flat.ravel(), mazes.tolist() * len(values))
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
