"""Does the verdict find what was planted? Simulated scores, no model, the real decision code.

    OMP_NUM_THREADS=1 python benchmarks/verdict_simulation.py    # the tables of docs/verdict.md
    python benchmarks/verdict_simulation.py --simulations 40     # a quick look

Two tables. *Verdicts*: in every planted world each axis gets the number of items that
`evals.power.items_to_resolve` asks for; how often is the verdict right, wrong, unresolved?
*Coverage*: how often do the intervals hold the truth, ours and others, by number of clusters?

Scores are drawn so that rates and intra-cluster correlation are exact: an item copies its cluster's
common answers (one vector over all arms and formats) with probability sqrt(icc), else it has
answers of its own. Any contrast between arms then has this intra-cluster correlation. Arms share
an item's luck with probability `OVERLAP`, as `evals.power` assumes.

Glossary: N items, C clusters, m items a cluster, A columns (arm and format), R resamples.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from evals.axisdata import AxisData, Roles
from evals.decision import Rule
from evals.power import PlannedAxis, items_to_resolve
from evals.records import Axis, Format
from evals.stats import Contrast, FloatArray, cluster_sums, contrast, joint_bootstrap
from evals.verdict import VerdictWord, judge_imitator

SEED = 20261122
OVERLAP = 0.5
ITEMS_PER_CLUSTER = 5
N_TASKS = 2
CHAT_PENALTY = 0.1
N_DEVELOPMENT = 200
ROUNDING = 1e-9
"""Bounds of shares fall on a lattice that may hold the truth: then they cover it."""

CLUSTERS_WHERE_NO_NUMBER_DECIDES = 400
CORRELATIONS = (0.1, 0.3)
ROLES = Roles(imitator=("imitator",), base="base", teacher="teacher")
ARMS = ("base", "imitator", "teacher")

OUTCOMES = ("right", "weaker", "false", "unresolved", "right_of_decided")
INTERVALS = ("ours", "below upper", "above lower", "closing", "percentile", "bca", "two stages")
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class World:
    """One planted truth.

    Attributes:
        name: Its name.
        style: Part of the style gap that the imitator closes.
        factuality: Imitator minus base, as a share.
        capability: The same.
        right: The verdict that is true of it.
        gap: Teacher minus base on the substance axes.
        item_share: Part of the planned items that are there.
        is_guessing: Whether the base guesses on factuality: right in `GUESSING` of the items, in
            either format, and no worse.
    """

    name: str
    style: float
    factuality: float
    capability: float
    right: VerdictWord
    gap: float = 0.3
    item_share: float = 1.0
    is_guessing: bool = False


GAP = 0.3
GUESSING = 0.25
WORLDS = (
    World("style only", 1, 0, 0, VerdictWord.STYLE_ONLY),
    World("style only, 10 points lost", 1, -0.1, 0, VerdictWord.STYLE_ONLY_WITH_LOSS),
    World("both, 1 of the gap", 1, GAP, GAP, VerdictWord.CLOSED_BOTH),
    World("both, 0.5 of the gap", 1, 0.5 * GAP, 0.5 * GAP, VerdictWord.PARTLY),
    World("both, 0.2 of the gap", 1, 0.2 * GAP, 0.2 * GAP, VerdictWord.PARTLY),
    World("partly, 1 of the gap", 1, GAP, 0, VerdictWord.PARTLY),
    World("partly, 0.5 of the gap", 1, 0.5 * GAP, 0, VerdictWord.PARTLY),
    World("partly, 0.2 of the gap", 1, 0.2 * GAP, 0, VerdictWord.PARTLY),
    World("substance only", 0, GAP, 0, VerdictWord.SUBSTANCE_ONLY),
    World("null", 0, 0, 0, VerdictWord.NEITHER),
    World("0.2 of the style, nothing else", 0.2, 0, 0, VerdictWord.NEITHER),
    World("style only, half the items", 1, 0, 0, VerdictWord.STYLE_ONLY, item_share=0.5),
    World("0.5 of the style: on the boundary", 0.5, 0, 0, VerdictWord.UNRESOLVED),
    World("teacher 5 points ahead", 1, 0, 0, VerdictWord.UNRESOLVED, gap=0.05),
    World(
        "base guesses facts, 0.5 of the gap", 1, 0.5 * GAP, 0, VerdictWord.PARTLY, is_guessing=True
    ),
    World(
        "base guesses facts, 0.2 of the gap", 1, 0.2 * GAP, 0, VerdictWord.PARTLY, is_guessing=True
    ),
    World("base guesses facts, no rise", 1, 0, 0, VerdictWord.UNRESOLVED, is_guessing=True),
)

DECIDED = frozenset(VerdictWord) - {VerdictWord.UNRESOLVED}
WEAKER = {  # true of the world too, but says less than could be said
    VerdictWord.CLOSED_BOTH: VerdictWord.PARTLY,
    VerdictWord.STYLE_ONLY_WITH_LOSS: VerdictWord.STYLE_ONLY,
}


@dataclasses.dataclass(frozen=True)
class WorldTask:
    """One row of the table of verdicts."""

    world: World
    icc: float
    simulations: int
    resamples: int


@dataclasses.dataclass(frozen=True)
class CoverageTask:
    """One row of the table of coverage.

    Attributes:
        n_clusters: Clusters.
        icc: Intra-cluster correlation.
        simulations: Simulated data sets.
        resamples: Bootstrap resamples in each.
        items_per_cluster: Mean number of items in a cluster.
        n_tasks: Tasks, with clusters of their own.
        is_uneven: Whether cluster sizes are log-normal with sigma 1, rather than equal.
        rates: Of base, imitator, teacher.
    """

    n_clusters: int
    icc: float
    simulations: int
    resamples: int
    items_per_cluster: int = 10
    n_tasks: int = 1
    is_uneven: bool = False
    rates: tuple[float, float, float] = (0.4, 0.5, 0.7)

    @property
    def difference(self) -> float:
        """Imitator minus base, in truth."""
        return self.rates[1] - self.rates[0]

    @property
    def closing(self) -> float:
        """(I - B) - (T - B) / 2, in truth."""
        return self.difference - (self.rates[2] - self.rates[0]) / 2

    @property
    def has_two_stages(self) -> bool:
        """Whether the two-stage bootstrap is tried: it is slow, and needs equal clusters."""
        is_plain = self.n_tasks == 1 and not self.is_uneven and self.items_per_cluster > 1
        return is_plain and self.n_clusters == 30

    @property
    def key(self) -> tuple[int, ...]:
        """What seeds the row."""
        sizes = (self.n_clusters, self.items_per_cluster, self.n_tasks, int(self.is_uneven))
        return (*sizes, round(100 * self.icc), *(round(100 * rate) for rate in self.rates))


def planned_axes(world: World, icc: float) -> dict[Axis, PlannedAxis]:
    """What is planted, by axis."""
    common = {"overlap": OVERLAP, "icc": icc, "items_per_cluster": float(ITEMS_PER_CLUSTER)}
    known = GUESSING if world.is_guessing else 0.4
    substance = {"gap": world.gap, **common}
    return {
        Axis.STYLE: PlannedAxis(base=0.05, gap=0.9, effect=0.9 * world.style, **common),
        Axis.FACTUALITY: PlannedAxis(base=known, effect=world.factuality, **substance),
        Axis.CAPABILITY: PlannedAxis(base=0.4, effect=world.capability, **substance),
    }


def draw_scores(
    rng: np.random.Generator, rates: Sequence[float], clusters: np.ndarray, icc: float
) -> FloatArray:
    """(A, N) 0/1 scores with these rates, and this correlation within clusters."""
    common = _draw_independent(rng, rates, int(clusters.max()) + 1)
    own = _draw_independent(rng, rates, len(clusters))
    is_copy = rng.random(len(clusters)) < icc**0.5
    return np.where(is_copy, common[:, clusters], own)


def _draw_independent(rng: np.random.Generator, rates: Sequence[float], n: int) -> FloatArray:
    luck = np.where(rng.random(n) < OVERLAP, rng.random(n), rng.random((len(rates), n)))
    return (luck < np.asarray(rates)[:, None]).astype(np.float64)


def draw_axis(
    rng: np.random.Generator, axis: Axis, planned: PlannedAxis, n_clusters: int, floor: float
) -> AxisData:
    """The scores of one axis: base and imitator in both formats, the teacher in chat.

    Style has one format; elsewhere the plain one is better, as far as none is worse than guessing,
    and 200 development items choose.
    """
    clusters = np.repeat(np.arange(n_clusters), ITEMS_PER_CLUSTER)
    is_style = axis is Axis.STYLE
    plain = (planned.base, planned.base + planned.effect)
    chat = plain if is_style else tuple(max(floor, rate - CHAT_PENALTY) for rate in plain)
    rates = (*plain, *chat, planned.base + planned.gap)
    scores = draw_scores(rng, rates, clusters, planned.icc)
    unasked = np.full(scores.shape[1], np.nan)
    values = {Format.CHAT: scores[2:]}
    best = dict.fromkeys(ARMS, Format.CHAT)
    if not is_style:
        values[Format.PLAIN] = np.stack([scores[0], scores[1], unasked])
        development = _draw_independent(rng, rates, N_DEVELOPMENT).mean(axis=1)
        is_plain = development[:2] >= development[2:4]
        best |= {arm: Format.PLAIN for arm, yes in zip(ARMS, is_plain, strict=False) if yes}
    return AxisData(
        axis=axis,
        arms=ARMS,
        values=values,
        clusters=clusters,
        tasks=clusters % N_TASKS,
        best_format=best,
        floor=None if is_style else floor,
    )


def simulate_world(task: WorldTask) -> Row:
    """How often each verdict is reached in a planted world."""
    world, icc, simulations = task.world, task.icc, task.simulations
    rule = Rule(resamples=task.resamples)
    planned = planned_axes(world, icc)
    needed = {axis: _clusters_given(world, axis, p, rule) for axis, p in planned.items()}
    floors = {Axis.FACTUALITY: GUESSING} if world.is_guessing else {}
    rng = np.random.default_rng([SEED, WORLDS.index(world), round(100 * icc)])
    words: Counter[str] = Counter()
    for simulation in range(simulations):
        data = [
            draw_axis(rng, axis, planned[axis], n, floors.get(axis, 0.0))
            for axis, n in needed.items()
        ]
        fresh = dataclasses.replace(rule, seed=simulation)
        words[judge_imitator(data, dict.fromkeys(Axis, ROLES), fresh).word] += 1
    decided = simulations - words[VerdictWord.UNRESOLVED]
    weaker = words[WEAKER[world.right]] if world.right in WEAKER else 0
    right = words[world.right]
    return {
        "world": world.name,
        "icc": icc,
        "items": [ITEMS_PER_CLUSTER * n for n in needed.values()],
        "truth": world.right,
        "right": right / simulations,
        "weaker": weaker / simulations,
        "false": (decided - weaker - (right if world.right in DECIDED else 0)) / simulations,
        "unresolved": words[VerdictWord.UNRESOLVED] / simulations,
        "right_of_decided": right / decided if decided and world.right in DECIDED else None,
        "words": dict(sorted(words.items())),
    }


def _clusters_given(world: World, axis: Axis, planned: PlannedAxis, rule: Rule) -> int:
    """What the planning function asks for; for substance, the part of it that the world grants."""
    needed = items_to_resolve(planned, margin=rule.margin, share=rule.share).n_clusters
    share = 1 if axis is Axis.STYLE else world.item_share
    return round((needed or CLUSTERS_WHERE_NO_NUMBER_DECIDES) * share)


def simulate_coverage(task: CoverageTask) -> Row:
    """How often each interval of imitator minus base holds the truth."""
    rng = np.random.default_rng([SEED, *task.key])
    hits: Counter[str] = Counter()
    for simulation in range(task.simulations):
        clusters = _clusters(rng, task)
        scores = draw_scores(rng, task.rates, clusters, task.icc)
        sample = cluster_sums(scores, clusters, clusters % task.n_tasks)
        draws = joint_bootstrap(sample, resamples=task.resamples, seed=simulation)
        found = contrast(sample, draws, [-1, 1, 0])
        closing = contrast(sample, draws, [-0.5, 1, -0.5])
        difference = scores[1] - scores[0]
        intervals = {
            "ours": found.interval(),
            "percentile": _percentile(found.draws),
            "bca": _bca(found, sample.influence @ [-1, 1, 0]),
            "closing": closing.interval(),
        }
        if task.has_two_stages:
            intervals["two stages"] = _two_stages(rng, difference, task)
        for name, (low, high) in intervals.items():
            truth = task.closing if name == "closing" else task.difference
            hits[name] += low - ROUNDING <= truth <= high + ROUNDING
        hits["below upper"] += task.difference <= found.upper(0.05) + ROUNDING
        hits["above lower"] += task.difference >= found.lower(0.05) - ROUNDING
    return dataclasses.asdict(task) | {k: n / task.simulations for k, n in sorted(hits.items())}


def _clusters(rng: np.random.Generator, task: CoverageTask) -> np.ndarray:
    """(N,) the cluster of every item."""
    sizes = np.full(task.n_clusters, task.items_per_cluster)
    if task.is_uneven:
        drawn = rng.lognormal(-0.5, 1, task.n_clusters) * task.items_per_cluster
        sizes = np.maximum(1, drawn.round()).astype(int)
    return np.repeat(np.arange(task.n_clusters), sizes)


def _percentile(draws: FloatArray) -> tuple[float, float]:
    low, high = np.quantile(draws, (0.025, 0.975))
    return low, high


def _bca(found: Contrast, influence: FloatArray) -> tuple[float, float]:
    """Efron's (1987) bias-corrected and accelerated interval, from the linearised jackknife."""
    below = np.mean(found.draws < found.value) + np.mean(found.draws == found.value) / 2
    bias = ndtri(np.clip(below, 1e-4, 1 - 1e-4))
    acceleration = np.sum(influence**3) / (6 * np.sum(influence**2) ** 1.5)
    shifted = bias + ndtri([0.025, 0.975])
    low, high = np.quantile(found.draws, ndtr(bias + shifted / (1 - acceleration * shifted)))
    return low, high


def _two_stages(
    rng: np.random.Generator, difference: FloatArray, task: CoverageTask
) -> tuple[float, float]:
    """The interval that resamples clusters, and then items within each drawn cluster."""
    table = difference.reshape(task.n_clusters, task.items_per_cluster)
    drawn = rng.integers(0, task.n_clusters, (task.resamples, task.n_clusters, 1))
    items = rng.integers(0, task.items_per_cluster, (*drawn.shape[:2], task.items_per_cluster))
    return _percentile(table[drawn, items].mean(axis=(1, 2)))


def simulate(task: WorldTask | CoverageTask) -> Row:
    """One row of either table; told on stderr when it is done."""
    row = simulate_world(task) if isinstance(task, WorldTask) else simulate_coverage(task)
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def world_tasks(simulations: int, resamples: int) -> list[WorldTask]:
    """The rows of the table of verdicts."""
    return [WorldTask(w, icc, simulations, resamples) for w in WORLDS for icc in CORRELATIONS]


def coverage_tasks(simulations: int, resamples: int) -> list[CoverageTask]:
    """The rows of the table of coverage: plain ones, and what makes intervals fail."""
    plain = [
        CoverageTask(n, icc, simulations, resamples)
        for n in (10, 15, 30, 100)
        for icc in (0.1, 0.2, 0.3)
    ]
    hard = []
    for n in (30, 100):
        base = CoverageTask(n, 0.2, simulations, resamples)
        hard += [
            dataclasses.replace(base, n_tasks=5),
            dataclasses.replace(base, is_uneven=True),
            dataclasses.replace(base, n_tasks=5, is_uneven=True),
            dataclasses.replace(base, items_per_cluster=1),
            dataclasses.replace(base, rates=(0.03, 0.08, 0.3)),
        ]
    return plain + hard


def hardware() -> str:
    """The processor and the number of cores that this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def verdict_table(rows: Sequence[Row]) -> str:
    """The table of verdicts: one line a world, its correlations side by side."""
    lines = [["world", "items: style / factuality / capability", "truth", *_heads(OUTCOMES)]]
    for world in dict.fromkeys(row["world"] for row in rows):
        mine = [row for row in rows if row["world"] == world]
        items = " · ".join(" / ".join(f"{n:,}" for n in row["items"]) for row in mine)
        shares = [_side_by_side(row[outcome] for row in mine) for outcome in OUTCOMES]
        lines.append([world, items, mine[0]["truth"], *shares])
    return _markdown(lines)


def coverage_table(rows: Sequence[Row]) -> str:
    """The table of coverage: one line a setting."""
    lines = [["clusters", "correlation", "setting", *_heads(INTERVALS)]]
    for row in rows:
        shares = [_percent(row.get(name)) for name in INTERVALS]
        lines.append([str(row["n_clusters"]), f"{row['icc']:g}", _setting(row), *shares])
    return _markdown(lines)


def _setting(row: Row) -> str:
    """What sets a row of the table of coverage apart from the plain ones."""
    parts = [f"{row['items_per_cluster']} items a cluster"]
    parts += [f"{row['n_tasks']} tasks"] * (row["n_tasks"] > 1)
    parts += ["sizes uneven"] * row["is_uneven"]
    parts += ["rates 3, 8, 30 %"] * (row["rates"][0] < 0.1)
    return ", ".join(parts)


def _heads(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def _side_by_side(shares: Iterable[float | None]) -> str:
    return " · ".join(_percent(share) for share in shares if share is not None)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(lines[0])
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both tables, print them as Markdown, and write all numbers as JSON."""
    parser = argparse.ArgumentParser(description="Does the verdict find what was planted?")
    parser.add_argument("--simulations", type=int, default=2000, help="for each row")
    parser.add_argument("--resamples", type=int, default=500, help="in each bootstrap")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    options = parser.parse_args(arguments)
    size = (options.simulations, options.resamples)
    started = time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        rows = list(pool.map(simulate, [*world_tasks(*size), *coverage_tasks(*size)]))
    cpu_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    verdicts = [row for row in rows if "world" in row]
    coverage = [row for row in rows if "world" not in row]
    print(verdict_table(verdicts), coverage_table(coverage), sep="\n\n", end="\n\n")
    about = {
        "seed": SEED,
        "simulations": options.simulations,
        "resamples": options.resamples,
        "hardware": hardware(),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "cpu_minutes": round(cpu_s / 60, 1),
    }
    print(json.dumps(about))
    if options.json:
        options.json.write_text(json.dumps(about | {"verdicts": verdicts, "coverage": coverage}))


if __name__ == "__main__":
    main()
