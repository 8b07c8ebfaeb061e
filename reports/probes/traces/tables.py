"""The tables of the report on reasoning traces: shares, differences, faults, and the paper's."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reports.numbers import (
    count,
    number,
    p_value,
    percent,
    points,
    points_interval,
    ratio_interval,
    share_interval,
)
from reports.page import Cell, Table

__all__ = [
    "arms_table",
    "contrast_table",
    "data_table",
    "fault_table",
    "given_table",
    "length_table",
    "loss_table",
    "paper_table",
    "plan_trace_table",
    "score_table",
    "test_name",
    "tests_of",
]

Entry = dict[str, Any]

PUBLISHED = (
    ("wilson", "wilson", 79.9, 83.3),
    ("wilson", "drunkards_walk", 0.0, 11.7),
    ("searchformer", "drunkards_walk", 62.1, 95.4),
    ("searchformer", "searchformer", 56.2, 89.1),
)
"""Trained on, tested on, percent of right plans with correct and with swapped traces.

Stechly et al., arXiv 2505.13775, version 3: 30 x 30, 50,000 problems, a model of 0.5 billion.
"""

SIGNIFICANT = 0.05

FAULTS = {
    "plan": "The plan fails first by",
    "published": "The trace fails first by, published validator",
    "strict": "The trace fails first by, strict validator",
}


def tests_of(results: Entry) -> list[str]:
    """Return the kinds of mazes of the tests: as trained on first, then those of most mazes."""
    trained, tests = results["data"]["generator"], results["data"]["tests"]
    return sorted(tests, key=lambda test: (test != trained, -tests[test]["n_mazes"], test))


def test_name(results: Entry, test: str) -> str:
    """Return what a test is called in a title."""
    return test + (", as trained on" if test == results["data"]["generator"] else "")


def score_table(results: Entry, test: str) -> Table:
    """Return the shares of right plans and valid traces in one test, by arm."""
    rows = tuple(
        (
            Cell(arm),
            _share(own["plan"]),
            _share(own["plan_usual"]),
            _share(own["optimal"]),
            _share(own["published"]),
            _share(own["strict"]),
            Cell(", ".join(percent(one) for one in own["plan"]["by_seed"])),
            Cell(percent(_ended(results, arm, test))),
        )
        for arm, kinds in results["scores"].items()
        for own in [kinds[test]]
    )
    low, high = results["data"]["usual_lengths"]
    return Table(
        f"Right plans and valid traces: {test_name(results, test)}",
        (
            "Before the plan",
            "Plan right",
            f"On paths of {low} to {high} cells",
            "Plan shortest",
            "Trace valid, published",
            "Strict",
            "Plan right, by seed",
            "Came to an end",
        ),
        rows,
        note="Intervals are over mazes, all problems and seeds of one in a cluster, and over seeds "
        f"where there are several. Of the paths trained on 99 % have {low} to {high} cells. The "
        "trace is the network's own, likeliest words one after another; valid: as a search by A*. "
        "An answer that fills the context comes to no end.",
        is_folded=test != results["data"]["generator"],
    )


def given_table(results: Entry, test: str) -> Table:
    """Return the shares of right plans in one test, by whose trace stands before them."""
    rows = tuple(
        (
            Cell(arm),
            _share(own["plan"]),
            *(
                _share(own["given"][condition]) if condition in own["given"] else Cell("–")
                for condition in ("taught", "true", "other", "none")
            ),
        )
        for arm, kinds in results["scores"].items()
        for own in [kinds[test]]
        if own["given"]
    )
    return Table(
        f"Right plans by the trace before them: {test_name(results, test)}",
        (
            "Trained on",
            "The network's own trace",
            "Given: one as trained on",
            "Given: A*'s of the maze",
            "Given: A*'s of another problem",
            "Given: none",
        ),
        rows,
        note="The same networks and problems; the plan is the network's own in all columns. Who "
        "reads the plan off the trace loses it with another problem's, and finds it in the maze's "
        "own, where it stands. After a trace that fills the context there is none.",
        is_folded=test != results["data"]["generator"],
    )


def loss_table(results: Entry) -> Table:
    """Return the loss on traces and on plans of new mazes like those trained on, by arm."""
    rows = tuple(
        (
            Cell(arm),
            _nats(own["trace"]),
            _nats(own["plan"]),
            Cell(", ".join(number(one, 3) for one in own["plan"]["by_seed"])),
            Cell(count(own["plan"]["n"])),
        )
        for arm, own in results["losses"].items()
    )
    return Table(
        "Loss on new mazes, nats a token",
        ("Trained on", "Trace", "Plan", "Plan, by seed", "Problems"),
        rows,
        note=f"Mazes of {results['data']['generator']}. Lines are such as the arm was trained on, "
        "given whole: means over problems of means over tokens. One of all tokens at random is "
        f"{number(math.log(results['n_vocabulary']), 2)}. An arm that has not learned plans at "
        "this budget is seen here.",
    )


def contrast_table(results: Entry, test: str) -> Table:
    """Return every arm against the correct one on the same problems of one test."""
    low, high = results["data"]["usual_lengths"]
    rows = tuple(
        (
            Cell(
                one["arm"],
                f"paths of {low} to {high} cells, {count(one['n'])}" if one["is_usual"] else "",
            ),
            Cell(percent(one["share"])),
            Cell(percent(one["correct_share"])),
            _difference(one),
            Cell(p_value(one["p_adjusted"]), "primary" if one["is_primary"] else ""),
            Cell(p_value(one["p_equivalent"])),
        )
        for one in results["contrasts"]
        if one["test"] == test
    )
    asked = results["provenance"]["config"]["test"]
    return Table(
        f"Against correct traces, on the same problems: {test_name(results, test)}",
        (
            "Before the plan",
            "Plan right",
            "With correct traces",
            "Difference, points",
            "p",
            "p, alike",
        ),
        rows,
        note="Not compared where the better of the two solves under "
        f"{percent(asked['floor'], 0)}, or of few mazes. The interval is over mazes and, of "
        "several seeds, over these too. Primary: swapped traces, in mazes as trained on, one test; "
        "all others are explored, their p one family (Holm). "
        "One seed has no p: it is one network, and another may differ by more. Bold: p under 0.05. "
        f"Alike: within {percent(asked['margin'], 0)} both ways, each by itself.",
        is_folded=test != results["data"]["generator"],
    )


def paper_table(results: Entry) -> Table:
    """Return the paper's shares, with ours where we trained on the same kind of maze."""
    scores, trained = results["scores"], results["data"]["generator"]

    def ours(arm: str, train: str, test: str) -> Cell:
        own = scores.get(arm, {}).get(test) if train == trained else None
        if not own:
            return Cell("–")
        whole, usual = _share(own["plan"]), own["plan_usual"]["value"]
        if test == trained or usual is None:
            return whole
        return dataclasses.replace(
            whole, detail=f"{whole.detail}; {percent(usual)} of usual length"
        )

    rows = tuple(
        (
            Cell(f"{train} → {test}"),
            Cell(f"{number(correct, 1)} %"),
            ours("correct", train, test),
            Cell(f"{number(swapped, 1)} %"),
            ours("swapped", train, test),
        )
        for train, test, correct, swapped in PUBLISHED
    )
    maze = results["provenance"]["config"]["maze"]
    return Table(
        "Beside the paper",
        ("Trained on → tested on", "Correct, paper", "Ours", "Swapped, paper", "Ours"),
        rows,
        note="The paper, version 3: mazes of 30 x 30, 50,000 of them, a model of 0.5 billion "
        f"parameters. Ours: {maze['rows']} x {maze['columns']}, {count(maze['n_train'])}, "
        f"{count(results['n_parameters'])} parameters, so nothing need agree. In the paper no "
        "trace of a swapped arm is valid. Of usual length: on paths as long as 99 % of those "
        "trained on.",
    )


def plan_trace_table(results: Entry, test: str) -> Table:
    """Return how many answers have a right or wrong plan after a trace that is a search or none."""
    kinds = ("right, search", "right, none", "wrong, search", "wrong, none")
    rows = []
    for arm, runs in _by_arm(results).items():
        summed: Counter[str] = Counter()
        for run in runs:
            summed.update(run["tests"][test]["published"])
        n = sum(summed.values())
        if n:
            shares = (Cell(count(summed[kind]), percent(summed[kind] / n)) for kind in kinds)
            rows.append((Cell(arm), *shares))
    return Table(
        f"Plan by trace: {test_name(results, test)}",
        (
            "Before the plan",
            "Right plan, trace is a search",
            "Right plan, it is none",
            "Wrong plan, trace is a search",
            "Wrong plan, it is none",
        ),
        tuple(rows),
        note="Answers of all seeds, traces their own. A search: the published validator can replay "
        "it to the goal; whether the plan is the path found does not count here.",
        is_folded=test != results["data"]["generator"],
    )


def fault_table(results: Entry, test: str, which: str) -> Table:
    """Return by what plans or traces fail first in one test."""
    by_arm = {
        arm: sum((Counter(run["tests"][test]["faults"][which]) for run in runs), Counter[str]())
        for arm, runs in _by_arm(results).items()
    }
    names = sorted({name for own in by_arm.values() for name in own})
    rows = tuple(
        (Cell(arm), *(Cell(count(own[name])) for name in names)) for arm, own in by_arm.items()
    )
    title = f"{FAULTS[which]}: {test_name(results, test)}"
    return Table(title, ("Before the plan", *names), rows if names else (), is_folded=True)


def length_table(results: Entry, test: str) -> Table:
    """Return right plans in one test by the length of the shortest path."""
    rows = []
    columns: list[str] = []
    for arm, runs in _by_arm(results).items():
        groups = [run["tests"][test]["by_length"] for run in runs]
        columns = [f"{one['low']} to {one['high']} cells" for one in groups[0]]
        summed = [
            (sum(one["right"] for one in same), sum(one["n"] for one in same))
            for same in zip(*groups, strict=True)
        ]
        cells = (Cell(percent(right / n), f"of {count(n)}") for right, n in summed)
        rows.append((Cell(arm), *cells))
    return Table(
        f"Right plans by length of the path: {test_name(results, test)}",
        ("Before the plan", *columns),
        tuple(rows),
        is_folded=test != results["data"]["generator"],
    )


def arms_table(results: Entry) -> Table:
    """Return what every arm was trained on."""
    told = {one["arm"]: one for one in results["arms"]}
    rows = []
    for arm, runs in _by_arm(results).items():
        first, valid = runs[0]["training"], told[arm]["valid_in_training"]
        ratios = [
            test["length_ratio"]
            for run in runs
            for kind, test in run["tests"].items()
            if kind == results["data"]["generator"] and test["length_ratio"] is not None
        ]
        rows.append(
            (
                Cell(arm),
                Cell(count(first["n_problems"])),
                Cell(count(first["n_tokens"]), f"{number(first['mean_tokens'], 0)} a line"),
                Cell(count(first["n_after_problem"])),
                Cell(count(first["n_steps"])),
                Cell(number(first["losses"][-1], 3)),
                Cell(
                    percent(valid["published"] / valid["n"]) if valid else "–",
                    f"strict {percent(valid['strict'] / valid['n'])}" if valid else "",
                ),
                Cell(number(sum(ratios) / len(ratios)) if ratios else "–"),
            )
        )
    return Table(
        "What every arm is trained on",
        (
            "Before the plan",
            "Problems seen",
            "Tokens seen",
            "After the problem",
            "Steps",
            "Last loss, nats",
            "Valid traces in training",
            "Trace length over A*'s",
        ),
        tuple(rows),
        note="Of the first seed, but for the trace length: median over answers, mean over seeds.",
    )


def data_table(results: Entry) -> Table:
    """Return the problems of every test, and what was left out of them."""
    rows = tuple(
        (
            Cell(kind),
            Cell(count(own["n"])),
            Cell(count(own["n_mazes"])),
            Cell(number(own["path_length"], 1)),
            Cell(count(own["n_known"])),
            Cell(count(own["n_repeated"])),
            Cell(count(own["n_too_long"])),
        )
        for kind, own in results["data"]["tests"].items()
    )
    return Table(
        "Tests",
        (
            "Mazes",
            "Problems",
            "Different mazes",
            "Cells of a path",
            "Left out: maze trained on",
            "Twice",
            "Too long",
        ),
        rows,
        note=f"Of the problems to train on, {count(results['data']['n_too_long'])} were left out "
        "of every arm as a line of theirs is too long; "
        f"{count(results['data']['n_repeated'])} are another of them once more.",
    )


def _by_arm(results: Entry) -> Mapping[str, Sequence[Entry]]:
    found: dict[str, list[Entry]] = {}
    for run in results["runs"]:
        found.setdefault(run["arm"], []).append(run)
    return found


def _ended(results: Entry, arm: str, kind: str) -> float:
    own = [run["tests"][kind] for run in results["runs"] if run["arm"] == arm]
    return float(sum(test["ended"] for test in own) / sum(test["n"] for test in own))


def _share(estimate: Entry) -> Cell:
    if not estimate["n"]:
        return Cell("–")
    return Cell(percent(estimate["value"]), share_interval((estimate["low"], estimate["high"])))


def _nats(estimate: Entry) -> Cell:
    if not estimate["n"]:
        return Cell("–")
    bounds = (estimate["low"], estimate["high"])
    return Cell(number(estimate["value"], 3), ratio_interval(bounds, 3))


def _difference(one: Entry) -> Cell:
    if one["difference"] is None:
        return Cell("not compared")
    return Cell(
        points(one["difference"]),
        points_interval((one["low"], one["high"])),
        is_strong=one["p_adjusted"] is not None and one["p_adjusted"] < SIGNIFICANT,
    )
