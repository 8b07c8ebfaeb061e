"""One joint cluster bootstrap over all arms against `scipy.stats.bootstrap` once a contrast.

    python benchmarks/gap_bootstrap.py

Both get the same scores (20 arms, 2,000 items in 500 clusters of unequal size), make 10,000
resamples and return the 95 % percentile interval of every arm's difference to the first. scipy
gets what suits it best: cluster sums of the difference, a vectorised statistic, batches that fit
the cache. The intervals must agree within Monte Carlo error, or the exit code is 1. The last line
is JSON; `ratio` is scipy's wall time over ours, each the least of the repeats.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from evals.stats import FloatArray, cluster_sums, contrast, joint_bootstrap

SEED = 20261122
N_ARMS, N_ITEMS, N_CLUSTERS = 20, 2000, 500
RESAMPLES = 10_000
SCIPY_BATCH = 100
"""Resamples that scipy holds at once; of 50, 100, 200, 500, 1,000 and 10,000 its fastest here."""

QUANTILE_ERROR = 0.0267
"""Monte Carlo standard error of a 2.5 % quantile from 10,000 draws, in standard errors:
sqrt(0.025 x 0.975 / 10,000) over the normal density at that quantile."""

TOLERANCE = 4.5 * 2**0.5 * QUANTILE_ERROR
"""For the difference of two such; exceeded by chance once in 3,000 runs of 38 endpoints."""


def made_up_scores() -> tuple[FloatArray, np.ndarray]:
    """(A, N) 0/1 scores of arms from 40 to 60 %, and the (N,) cluster of each item."""
    rng = np.random.default_rng(SEED)
    one_each, rest = np.arange(N_CLUSTERS), rng.integers(0, N_CLUSTERS, N_ITEMS - N_CLUSTERS)
    clusters = np.sort(np.concatenate([one_each, rest]))
    common = rng.normal(size=N_CLUSTERS)[clusters]
    logits = np.linspace(-0.4, 0.4, N_ARMS)[:, None] + common
    return (rng.random((N_ARMS, N_ITEMS)) < 1 / (1 + np.exp(-logits))).astype(float), clusters


def joint_intervals(scores: FloatArray, clusters: np.ndarray) -> FloatArray:
    """(A - 1, 2) intervals from one joint bootstrap."""
    sample = cluster_sums(scores, clusters)
    draws = joint_bootstrap(sample, resamples=RESAMPLES, seed=SEED)
    return np.asarray(np.quantile(draws[:, 1:] - draws[:, :1], (0.025, 0.975), axis=0).T)


def separate_intervals(scores: FloatArray, clusters: np.ndarray) -> FloatArray:
    """(A - 1, 2) intervals from one bootstrap a contrast."""
    counts = np.bincount(clusters, minlength=N_CLUSTERS).astype(float)
    intervals = []
    for arm in range(1, N_ARMS):
        sums = np.bincount(clusters, weights=scores[arm] - scores[0], minlength=N_CLUSTERS)
        result = bootstrap(
            (sums, counts),
            lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=SCIPY_BATCH,
            method="percentile",
            rng=np.random.default_rng(SEED + arm),
        )
        intervals.append(tuple(result.confidence_interval))
    return np.array(intervals)


@dataclasses.dataclass(frozen=True)
class Timing:
    """The least seconds over the repeats, by the clock and of the processor, and the result."""

    wall_s: float
    cpu_s: float
    intervals: FloatArray


def time_of(make: Callable[[], FloatArray], repeats: int) -> Timing:
    """How long it takes; the least, because other work on the machine only ever adds."""
    wall, cpu = [], []
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        intervals = make()
        wall.append(time.perf_counter() - started[0])
        cpu.append(time.process_time() - started[1])
    return Timing(min(wall), min(cpu), intervals)


def standard_errors(scores: FloatArray, clusters: np.ndarray) -> FloatArray:
    """(A - 1,) clustered standard errors of the differences."""
    sample = cluster_sums(scores, clusters)
    draws = np.zeros((1, N_ARMS))
    weights = np.eye(N_ARMS)[1:] - np.eye(N_ARMS)[0]
    return np.array([contrast(sample, draws, row).standard_error for row in weights])


def cpu_model() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main(arguments: Sequence[str] | None = None) -> int:
    """Time both, compare them, print the result; 1 if they disagree."""
    parser = argparse.ArgumentParser(description="Joint cluster bootstrap against scipy's")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    scores, clusters = made_up_scores()
    ours = time_of(lambda: joint_intervals(scores, clusters), options.repeats)
    scipys = time_of(lambda: separate_intervals(scores, clusters), options.repeats)
    errors = standard_errors(scores, clusters)[:, None]
    worst = np.abs(ours.intervals - scipys.intervals) / errors
    is_equal = bool(worst.max() < TOLERANCE)
    result = {
        "ratio": round(scipys.wall_s / ours.wall_s, 1),
        "measured": f"{N_ARMS - 1} percentile intervals of differences, {N_ARMS} arms, {N_ITEMS} "
        f"items in {N_CLUSTERS} clusters, {RESAMPLES} resamples: scipy.stats.bootstrap once a "
        "contrast over evals.stats.joint_bootstrap once",
        "ours_s": round(ours.wall_s, 3),
        "scipy_s": round(scipys.wall_s, 3),
        "cpu_ratio": round(scipys.cpu_s / ours.cpu_s, 1),
        "worst_disagreement_in_standard_errors": round(float(worst.max()), 4),
        "tolerance_in_standard_errors": round(TOLERANCE, 4),
        "is_equal": is_equal,
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
    }
    print(json.dumps(result))
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
