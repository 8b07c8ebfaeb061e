"""A grokking job -> its runs, and which of them are trained side by side."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from evals.probes.grokking.operations import Table, make_table
from evals.probes.grokking.shape import Shape
from imitate.config import ContrastConfig, GrokkingJob

__all__ = [
    "MAIN",
    "SWEEP",
    "GrokkingPlan",
    "GrokkingRun",
    "plan_grokking",
    "share_programs",
]

MAIN, SWEEP = "main", "sweep"


@dataclasses.dataclass(frozen=True)
class GrokkingRun:
    """One network: what decides what it learns, beside what all of a job share."""

    operation: str
    p: int
    width: int
    train_fraction: float
    weight_decay: float
    seed: int
    epochs: int
    checkpoint_every: int

    @property
    def name(self) -> str:
        """What it is called in messages and tables."""
        return (
            f"{self.operation} mod {self.p}, {100 * self.train_fraction:g} % seen, "
            f"decay {self.weight_decay:g}, width {self.width}, seed {self.seed}"
        )

    def shape(self, job: GrokkingJob) -> Shape:
        """Return the sizes of its network, which has as many neurons for its width as the job's."""
        n_neurons = max(1, round(job.network.neurons * self.width / job.network.width))
        return Shape(self.p, self.width, job.network.heads, n_neurons)

    def table(self) -> Table:
        """Return what it learns."""
        return make_table(self.operation, self.p, self.train_fraction, self.seed)


def _list_runs(job: GrokkingJob) -> dict[str, list[GrokkingRun]]:
    """Return the runs of the main line, of every contrast by its name, and of the sweep."""
    groups = {MAIN: [_run(job, seed=seed) for seed in job.seeds]}
    for name, contrast in job.contrasts.items():
        groups[name] = list(_contrast_runs(job, contrast))
    if job.sweep:
        groups[SWEEP] = list(_sweep_runs(job))
    return groups


@dataclasses.dataclass(frozen=True)
class GrokkingPlan:
    """What a job comes to.

    Attributes:
        groups: Runs of the main line, of the contrasts and of the sweep, by name.
        parts: Those that are trained side by side.
        n_parameters: Of the main line's network.
        n_bytes: Of all snapshots.
    """

    groups: dict[str, list[GrokkingRun]]
    parts: tuple[tuple[GrokkingRun, ...], ...]
    n_parameters: int
    n_bytes: int

    @property
    def runs(self) -> list[GrokkingRun]:
        """Every run once."""
        return list(dict.fromkeys(run for group in self.groups.values() for run in group))

    @property
    def epochs(self) -> int:
        """Epochs of all runs together."""
        return sum(run.epochs for run in self.runs)

    @property
    def work(self) -> int:
        """Epochs to train and to measure."""
        return 2 * self.epochs


def plan_grokking(job: GrokkingJob) -> GrokkingPlan:
    """Return what a job comes to; the tables of all its runs are made.

    Raises:
        DataError: A run cannot be: its p does not suit the operation, or a share leaves no rows.
    """
    groups = _list_runs(job)
    runs = [run for group in groups.values() for run in group]
    parts = share_programs(runs, job.train.side_by_side)
    sizes = {run: 4 * run.shape(job).n_parameters for run in runs}
    return GrokkingPlan(
        groups=groups,
        parts=tuple(map(tuple, parts)),
        n_parameters=groups[MAIN][0].shape(job).n_parameters,
        n_bytes=sum(size * (run.epochs // run.checkpoint_every + 2) for run, size in sizes.items()),
    )


def share_programs(runs: Sequence[GrokkingRun], most: int) -> list[list[GrokkingRun]]:
    """Return the runs in parts that can be trained side by side: as many rows, as many epochs."""
    alike: dict[tuple[int, ...], list[GrokkingRun]] = {}
    for run in dict.fromkeys(runs):
        n_train = int(run.table().is_train.sum())
        key = (run.p, run.width, n_train, run.epochs, run.checkpoint_every)
        alike.setdefault(key, []).append(run)
    return [
        part[first : first + most] for part in alike.values() for first in range(0, len(part), most)
    ]


def _run(job: GrokkingJob, **other: object) -> GrokkingRun:
    own = {
        "operation": job.operation,
        "p": job.p,
        "width": job.network.width,
        "train_fraction": job.train_fraction,
        "weight_decay": job.weight_decay,
        "epochs": job.train.epochs,
        "checkpoint_every": job.train.checkpoint_every,
    }
    given = {name: value for name, value in other.items() if value is not None}
    return GrokkingRun(**(own | given))  # type: ignore[arg-type]


def _contrast_runs(job: GrokkingJob, contrast: ContrastConfig) -> Iterator[GrokkingRun]:
    other = contrast.model_dump(exclude={"seeds"})
    for seed in contrast.seeds or job.seeds:
        yield _run(job, seed=seed, **other)


def _sweep_runs(job: GrokkingJob) -> Iterator[GrokkingRun]:
    sweep = job.sweep
    assert sweep is not None
    grid = itertools.product(
        sweep.operation or [job.operation],
        sweep.p or [job.p],
        sweep.width or [job.network.width],
        sweep.train_fraction or [job.train_fraction],
        sweep.weight_decay or [job.weight_decay],
        sweep.seeds or job.seeds[:1],
    )
    for operation, p, width, fraction, decay, seed in grid:
        yield _run(
            job,
            operation=operation,
            p=p,
            width=width,
            train_fraction=fraction,
            weight_decay=decay,
            seed=seed,
            epochs=sweep.epochs,
            checkpoint_every=sweep.checkpoint_every,
        )
