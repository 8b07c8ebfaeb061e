"""A traces job -> the networks that are trained, and on what each is tested."""

from __future__ import annotations

import dataclasses

from evals.probes.traces.kinds import Arm, Condition, Damage, Treatment
from imitate.config import TracesJob

__all__ = ["TracesPlan", "TracesRun", "plan_traces"]


@dataclasses.dataclass(frozen=True)
class TracesRun:
    """One network.

    Attributes:
        treatment: What it is trained to say before a plan.
        seed: Of first weights, order, swaps and damages.
        is_matched: Whether it is trained on as many tokens as the correct arm, and not on as many
            problems.
    """

    treatment: Treatment
    seed: int
    is_matched: bool = False

    @property
    def has_trace(self) -> bool:
        """Whether it is trained to say something before a plan."""
        return self.treatment.arm is not Arm.SOLUTION_ONLY

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Whose traces stand before its plans in the tests."""
        return tuple(Condition) if self.has_trace else (Condition.OWN,)

    @property
    def arm(self) -> str:
        """Its arm, the same over seeds."""
        return self.treatment.name + (", as many tokens" if self.is_matched else "")

    @property
    def name(self) -> str:
        """What it is called in messages and tables."""
        return f"{self.arm}, seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class TracesPlan:
    """What a job comes to.

    Attributes:
        runs: Every network, by arm and seed.
        n_vocabulary: Tokens of the vocabulary.
        n_parameters: Of each network.
        n_tests: Kinds of mazes that each is tested on.
    """

    runs: tuple[TracesRun, ...]
    n_vocabulary: int
    n_parameters: int
    n_tests: int

    @property
    def work(self) -> int:
        """Networks to train, and tests to answer."""
        return len(self.runs) * (1 + self.n_tests)


def plan_traces(job: TracesJob) -> TracesPlan:
    """Return what a job comes to."""
    runs = []
    for treatment in job.treatments:
        runs += [TracesRun(treatment, seed) for seed in job.seeds]
        if job.train.matched_tokens and _has_other_length(treatment):
            runs += [TracesRun(treatment, seed, is_matched=True) for seed in job.seeds]
    maze = job.maze
    n_vocabulary = 14 + max(maze.rows, maze.columns) + maze.rows * maze.columns
    return TracesPlan(
        runs=tuple(runs),
        n_vocabulary=n_vocabulary,
        n_parameters=_count_parameters(job, n_vocabulary),
        n_tests=len(job.test.generators),
    )


def hidden_width(width: int) -> int:
    """Return the width of a network's feed-forward part: eight thirds, in steps of 32."""
    return -(-8 * width // 96) * 32


def _has_other_length(treatment: Treatment) -> bool:
    """Return whether an arm's lines are on the whole shorter or longer than the correct arm's."""
    is_cut = treatment.damage is Damage.TRUNCATED and treatment.percent > 0
    return treatment.arm in (Arm.SOLUTION_ONLY, Arm.BREADTH_FIRST) or is_cut


def _count_parameters(job: TracesJob, n_vocabulary: int) -> int:
    d = job.network.width
    layer = 4 * d * d + 3 * d * hidden_width(d) + 2 * d
    return n_vocabulary * d + job.network.layers * layer + d
