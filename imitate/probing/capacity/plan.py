"""A capacity job -> its networks, and which of them are trained side by side."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from evals.memorization.law import BITS_PER_PARAMETER
from evals.probes.capacity.shape import Shape
from imitate.config import CapacityJob, CapacityTrainConfig, SameSizeReference, SizeConfig

__all__ = ["CapacityPlan", "CapacityRun", "Kind", "plan_capacity", "share_programs"]


class Kind(StrEnum):
    """What a network is trained on."""

    UNIFORM = "uniform"
    TEXT = "text"
    REFERENCE = "reference"


@dataclasses.dataclass(frozen=True)
class CapacityRun:
    """One network: what decides what it holds, beside what all of a job share."""

    kind: Kind
    layers: int
    width: int
    learning_rate: float
    length: int
    n_sequences: int
    seed: int

    @property
    def name(self) -> str:
        """What it is called in messages and tables."""
        return (
            f"{self.kind}, {self.layers} x {self.width}, {self.n_sequences:,} sequences of "
            f"{self.length}, seed {self.seed}"
        )

    def shape(self, job: CapacityJob) -> Shape:
        """Return the sizes of its network."""
        return Shape(self.layers, self.width, job.vocabulary, job.n_positions)


@dataclasses.dataclass(frozen=True)
class CapacityPlan:
    """What a job comes to.

    Attributes:
        runs: Every network once, those on uniform tokens first.
        parts: Those that are trained side by side.
        n_parameters: Of a network, by layers and width.
        max_steps: After which any of them stops.
    """

    runs: tuple[CapacityRun, ...]
    parts: tuple[tuple[CapacityRun, ...], ...]
    n_parameters: Mapping[tuple[int, int], int]
    max_steps: int

    @property
    def work(self) -> int:
        """Networks to train and to measure."""
        return 2 * len(self.runs)


def plan_capacity(job: CapacityJob) -> CapacityPlan:
    """Return what a job comes to."""
    runs = tuple(dict.fromkeys(_runs(job)))
    return CapacityPlan(
        runs=runs,
        parts=tuple(share_programs(runs, job.train)),
        n_parameters={(run.layers, run.width): run.shape(job).n_parameters for run in runs},
        max_steps=job.train.max_steps,
    )


def share_programs(
    runs: Sequence[CapacityRun], train: CapacityTrainConfig
) -> list[tuple[CapacityRun, ...]]:
    """Return the networks in parts that can be trained side by side: of one shape and batch.

    Those with about as much data stand together, as they stop at about the same time.
    """
    alike: dict[tuple[int, int, float, int, int], list[CapacityRun]] = {}
    for run in runs:
        batch = min(train.batch, run.n_sequences)
        key = (run.layers, run.width, run.learning_rate, run.length, batch)
        alike.setdefault(key, []).append(run)
    most = train.side_by_side
    return [
        tuple(part[first : first + most])
        for group in alike.values()
        for part in [sorted(group, key=lambda run: (run.n_sequences, run.kind, run.seed))]
        for first in range(0, len(part), most)
    ]


def _runs(job: CapacityJob) -> Iterator[CapacityRun]:
    for length in job.uniform.lengths or [job.length]:
        for size in job.sizes:
            for n_sequences in _uniform_counts(job, size, length):
                for seed in job.seeds:
                    yield _run(job, size, Kind.UNIFORM, length, n_sequences, seed)
    if job.text is None:
        return
    for size in job.sizes:
        if isinstance(job.text.reference, SameSizeReference):
            n_sequences = job.text.reference.n_sequences
            yield _run(job, size, Kind.REFERENCE, job.length, n_sequences, job.seeds[0])
        for n_sequences in job.text.n_sequences:
            for seed in job.seeds:
                yield _run(job, size, Kind.TEXT, job.length, n_sequences, seed)


def _uniform_counts(job: CapacityJob, size: SizeConfig, length: int) -> list[int]:
    if job.uniform.n_sequences:
        return job.uniform.n_sequences
    shape = Shape(size.layers, size.width, job.vocabulary, job.n_positions)
    sequences = BITS_PER_PARAMETER * shape.n_parameters / (length * math.log2(job.vocabulary))
    return [max(1, round(load * sequences)) for load in job.uniform.loads]


def _run(
    job: CapacityJob, size: SizeConfig, kind: Kind, length: int, n_sequences: int, seed: int
) -> CapacityRun:
    return CapacityRun(
        kind=kind,
        layers=size.layers,
        width=size.width,
        learning_rate=size.learning_rate or job.train.learning_rate,
        length=length,
        n_sequences=n_sequences,
        seed=seed,
    )
