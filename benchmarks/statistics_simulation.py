"""Do our intervals hold the truth, and do our tests keep their size? Simulated, by the real code.

    OMP_NUM_THREADS=1 python benchmarks/statistics_simulation.py  # docs/statistics.md
    python benchmarks/statistics_simulation.py --datasets 200     # a quick look

Fixed before any result:

* Sizes: 30, 100 and 1,000 clusters (with one item a cluster: as many items). 5,000 data sets each.
* Aim: a test of a true hypothesis rejects in at most 6 % at 5 % (exact tests may reject less); a
  95 % interval holds the truth in 94 to 96 % from 100 clusters on and in no less than 92 % at 30; a
  ratio has no interval under 20 clusters.
* A rate is off only if all of its Monte-Carlo interval is outside the aim: 0.6 points around 95 %.

The last line is JSON: seed, data sets, hardware, and how many rates were off. Exit code 1: a ratio
of fewer than 20 clusters had an interval.

Glossary: N items, C clusters, m items a cluster, A columns of scores, R resamples.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from _judge_worlds import judge_tasks
from _machine import describe_circumstances
from _tally import SEED, Kind, Rate, Tally, generator, merge, recovery_table, tables
from verdict_simulation import draw_scores

from evals.estimates import bootstrap_estimate, share_estimate
from evals.gap import gap_closed
from evals.stats import (
    ClusterSums,
    FloatArray,
    IntArray,
    average_over_seeds,
    cluster_sums,
    contrast,
    equivalence_p,
    guarded_equivalence_p,
    holm,
    joint_bootstrap,
    mcnemar_p,
    sign_flip_p,
)

SIZES = (30, 100, 1000)
FLIPS = 499
RESAMPLES = 999
"""Of the bootstrap; the defaults are 2,000 and more."""

MARGIN = 0.05
"""The default margin; the edge of equivalence."""

LEAD = 0.3
"""Teacher minus first: a lead that 30 clusters mostly show."""

ITEMS_PER_CLUSTER = 5
"""Questions of a passage or an entity, as in reading tests and in the lab."""

CORRELATION = 0.2
"""Within clusters, of an item's differences: the middle of those in docs/verdict.md."""

N_TESTS = 5
"""Tasks of one Holm family: one has a real difference, four have none."""


@dataclasses.dataclass(frozen=True)
class World:
    """How scores of two results and a teacher are drawn.

    The results share an item's luck in half of the items (`verdict_simulation.OVERLAP`): at 40 % a
    quarter of the items are discordant, as of two fine-tunes of one base.

    Attributes:
        name: What sets it apart.
        rate: True score of the first result.
        items_per_cluster: m, on average.
        is_uneven: Whether cluster sizes are log-normal with sigma 1: the largest of 100 has 8 %
            of the items.
        samples: Answers an item, whose mean is the score: 2 give 0, 0.5 and 1.
        n_tasks: Tasks, with 3/6, 2/6 and 1/6 of the clusters, that weigh the same.
    """

    name: str
    rate: float = 0.4
    items_per_cluster: int = ITEMS_PER_CLUSTER
    is_uneven: bool = False
    samples: int = 1
    n_tasks: int = 1

    @property
    def direction(self) -> int:
        """Where there is room for a difference: up, or down from a rate above one half."""
        return 1 if self.rate < 0.5 else -1

    @property
    def rates(self) -> tuple[float, float, float, float]:
        """Of the first, of a second that is equal, of one at the margin's edge, of the teacher."""
        edge, teacher = (self.rate + self.direction * step for step in (MARGIN, LEAD))
        return self.rate, self.rate, edge, teacher


WORLDS = (
    World("single items", items_per_cluster=1),
    World("5 items a cluster"),
    World("5 a cluster, scores 0, 0.5, 1", samples=2),
    World("5 a cluster, sizes uneven", is_uneven=True),
    World("3 tasks, 5 a cluster", n_tasks=3),
    World("single items, 3 %", rate=0.03, items_per_cluster=1),
    World("single items, 97 %", rate=0.97, items_per_cluster=1),
    World("5 a cluster, 3 %", rate=0.03),
    World("5 a cluster, 97 %", rate=0.97),
)

Simulation = Callable[[int], list[Rate]]


@dataclasses.dataclass(frozen=True)
class Drawn:
    """One data set: (A, N) scores of first, equal, edge and teacher; clusters and tasks (N,)."""

    values: FloatArray
    clusters: IntArray
    tasks: IntArray


def draw_world(rng: np.random.Generator, world: World, n_clusters: int) -> Drawn:
    """Return one data set."""
    sizes = np.full(n_clusters, world.items_per_cluster)
    if world.is_uneven:
        drawn = rng.lognormal(-0.5, 1, n_clusters) * world.items_per_cluster
        sizes = np.maximum(1, drawn.round()).astype(np.int64)
    clusters = np.repeat(np.arange(n_clusters), sizes)
    answers = [draw_scores(rng, world.rates, clusters, CORRELATION) for _ in range(world.samples)]
    parts = np.array([0, 0, 0, 1, 1, 2]) if world.n_tasks > 1 else np.zeros(1, dtype=np.int64)
    tasks = parts[clusters % len(parts)]
    return Drawn(np.mean(answers, axis=0), clusters, tasks)


def simulate_paired(world: World, n_clusters: int, data_sets: int) -> list[Rate]:
    """Two results, item by item: intervals, tests of no difference, of equivalence, the ratio."""
    rng = generator("paired", world.name, n_clusters)
    tally = Tally("Two results, paired", world.name, n_clusters)
    for number in range(data_sets):
        tally.data_sets += 1
        drawn = draw_world(rng, world, n_clusters)
        sample = cluster_sums(drawn.values, drawn.clusters, drawn.tasks)
        draws = joint_bootstrap(sample, resamples=RESAMPLES, seed=number)
        _count_contrasts(tally, sample, draws, world)
        if world.n_tasks == 1:
            _count_exact(tally, drawn, number)
    return tally.rates()


def _count_contrasts(tally: Tally, sample: ClusterSums, draws: FloatArray, world: World) -> None:
    equal = contrast(sample, draws, [-1, 1, 0, 0])
    edge = contrast(sample, draws, [-1, 0, 1, 0])
    lead = contrast(sample, draws, [-1, 0, 0, 1])
    step = world.direction * MARGIN
    tally.covers("difference of 0", equal.interval(), 0.0)
    tally.covers("of the margin", edge.interval(), step)
    tally.covers("its upper bound", (-1.0, edge.upper(0.05)), step)
    tally.covers("its lower bound", (edge.lower(0.05), 1.0), step)
    tally.rejects("clustered t", equal.two_sided_p())
    tally.rejects("equivalence at the edge", guarded_equivalence_p(edge, MARGIN))
    tally.rejects("t alone", equivalence_p(edge, MARGIN))
    tally.covers("gap closed", gap_closed(edge, lead)[1], MARGIN / LEAD)


def _count_exact(tally: Tally, drawn: Drawn, number: int) -> None:
    """McNemar of single 0/1 items, signs flipped by cluster elsewhere: as `compare_paired` does."""
    first, equal = drawn.values[:2]
    if len(drawn.clusters) == tally.n:
        tally.rejects("McNemar or sign flips", mcnemar_p(first, equal))
    else:
        p = sign_flip_p(equal - first, drawn.clusters, resamples=FLIPS, seed=number)
        tally.rejects("McNemar or sign flips", p)


def simulate_shares(world: World, n_clusters: int, data_sets: int) -> list[Rate]:
    """One result's score: Wilson's interval at the effective number of items."""
    rng = generator("shares", world.name, n_clusters)
    tally = Tally("One share", world.name, n_clusters)
    for _ in range(data_sets):
        tally.data_sets += 1
        drawn = draw_world(rng, world, n_clusters)
        found = share_estimate(drawn.values[0], drawn.clusters)
        tally.covers("share_estimate", (found.low, found.high), world.rate)
    return tally.rates()


def simulate_family(n_clusters: int, data_sets: int) -> list[Rate]:
    """Holm over tasks of which one differs: how often is any of the others called different?"""
    world = World("5 tasks, one of them 5 points better")
    rng = generator("family", world.name, n_clusters)
    tally = Tally("A family of tests", world.name, n_clusters)
    for number in range(data_sets):
        tally.data_sets += 1
        adjusted = holm(dict(_family(rng, world, n_clusters, number)))
        tally.rejects("any false rejection, Holm", min(adjusted[str(k)] for k in range(1, N_TESTS)))
    return tally.rates()


def _family(
    rng: np.random.Generator, world: World, n_clusters: int, number: int
) -> Iterator[tuple[str, float]]:
    for test in range(N_TESTS):
        drawn = draw_world(rng, world, n_clusters)
        moved = drawn.values[2 if test == 0 else 1] - drawn.values[0]
        p = sign_flip_p(moved, drawn.clusters, resamples=FLIPS, seed=N_TESTS * number + test)
        yield str(test), p


def simulate_seeds(n_clusters: int, data_sets: int) -> list[Rate]:
    """The mean of three training seeds whose true scores spread by 3 points."""
    tally = Tally("Training seeds", "3 seeds, 3 points apart", n_clusters)
    rng = generator("seeds", tally.setting, n_clusters)
    clusters = np.repeat(np.arange(n_clusters), ITEMS_PER_CLUSTER)
    for number in range(data_sets):
        tally.data_sets += 1
        rates = (0.4, *(0.5 + rng.normal(0, 0.03, 3)))
        sample = cluster_sums(draw_scores(rng, rates, clusters, CORRELATION), clusters)
        draws = joint_bootstrap(sample, resamples=RESAMPLES, seed=number)
        mean = contrast(sample, draws, [-1, 1 / 3, 1 / 3, 1 / 3])
        by_seed = sample.values[1:] - sample.values[0]
        found = average_over_seeds(mean, by_seed.tolist())
        tally.covers("mean over seeds", found.interval(), 0.1)
    return tally.rates()


def simulate_statistic(n_clusters: int, data_sets: int) -> list[Rate]:
    """A statistic that is no share, in a loop over resamples: the mean of skewed lengths."""
    tally = Tally("Another statistic", "mean of log-normal lengths, sigma 0.7", n_clusters)
    rng = generator("statistic", tally.setting, n_clusters)
    names = [f"{number:04}" for number in range(n_clusters)]
    truth = float(np.exp(0.7**2 / 2))
    for number in range(data_sets):
        tally.data_sets += 1
        lengths = rng.lognormal(0, 0.7, n_clusters)
        found = bootstrap_estimate(
            lambda rows, lengths=lengths: float(lengths[rows].mean()),  # type: ignore[misc]
            names,
            resamples=RESAMPLES,
            seed=number,
        )
        tally.covers("bootstrap_estimate", (found.low, found.high), truth)
    return tally.rates()


def simulate_few(data_sets: int) -> list[Rate]:
    """19 clusters: a ratio must have no interval."""
    world, n_clusters = World("5 items a cluster"), 19
    rng = generator("few", world.name, n_clusters)
    tally = Tally("19 clusters", world.name, n_clusters)
    for number in range(data_sets):
        tally.data_sets += 1
        drawn = draw_world(rng, world, n_clusters)
        sample = cluster_sums(drawn.values, drawn.clusters)
        draws = joint_bootstrap(sample, resamples=100, seed=number)
        parts = (contrast(sample, draws, row) for row in ([-1, 0, 1, 0], [-1, 0, 0, 1]))
        tally.gives("gap closed", gap_closed(*parts)[1])
    return tally.rates()


def list_tasks(data_sets: int, sizes: Sequence[int] = SIZES) -> list[Callable[[], list[Rate]]]:
    """Return all simulations, each to be called."""
    found: list[Callable[[], list[Rate]]] = []
    for simulate in (simulate_paired, simulate_shares):
        worlds = WORLDS if simulate is simulate_paired else [w for w in WORLDS if w.n_tasks == 1]
        found += [_bind(simulate, world, n, data_sets) for world in worlds for n in sizes]
    for alone in (simulate_family, simulate_seeds, simulate_statistic):
        found += [_bind(alone, n, data_sets) for n in sizes]
    found += [_bind(simulate_few, data_sets)]
    found += [_bind(run, n, data_sets) for run in judge_tasks() for n in sizes]
    return found


def _bind(simulate: Callable[..., list[Rate]], *values: Any) -> Callable[[], list[Rate]]:
    return functools.partial(simulate, *values)


def _name(task: Callable[[], list[Rate]]) -> str:
    """Return the name of the function that a task calls."""
    while isinstance(task, functools.partial):
        task = task.func
    return task.__name__


def _call(task: Callable[[], list[Rate]]) -> list[Rate]:
    """Run one row; told on stderr when it is done."""
    rates = task()
    for rate in rates:
        print(json.dumps(dataclasses.asdict(rate)), file=sys.stderr, flush=True)
    return rates


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all rows, print the tables as Markdown and what was off, and one line of JSON."""
    parser = argparse.ArgumentParser(description="Do intervals cover, do tests keep their size?")
    parser.add_argument("--datasets", type=int, default=5000, help="simulated data sets a row")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", default="", help="functions of this name, such as preference")
    parser.add_argument("--json", type=Path, help="where to write all counts")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    tasks = [task for task in list_tasks(options.datasets) if options.only in _name(task)]
    with ProcessPoolExecutor(options.processes) as pool:
        rates = merge(rate for row in pool.map(_call, tasks) for rate in row)
    print(tables(rates), recovery_table(rates), sep="\n\n", end="\n\n")
    off = [rate for rate in rates if rate.is_off]
    for rate in off:
        low, high = rate.monte_carlo
        print(
            f"off: {rate.family}, {rate.setting}, {rate.statistic}, {rate.n} clusters: "
            f"{100 * rate.share:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        )
    about = {
        "rates": len(rates),
        "off": len(off),
        "too_narrow_or_too_large": sum(rate.is_risky for rate in off),
        "seed": SEED,
        "data_sets": options.datasets,
        "processes": options.processes,
        "resamples": RESAMPLES,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "cpu_minutes": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime / 60, 1),
    }
    if options.json:
        counts = [dataclasses.asdict(rate) for rate in rates]
        options.json.write_text(json.dumps(about | {"rates": counts}), encoding="utf-8")
    print(json.dumps(about | describe_circumstances()))
    return int(any(rate.hits for rate in rates if rate.kind is Kind.GIVEN))


if __name__ == "__main__":
    sys.exit(main())
