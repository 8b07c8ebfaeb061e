"""What the probe of reasoning traces found, as words, tables and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.numbers import count, number, percent
from reports.page import Figure, ProbePage, Section, Slider, Table
from reports.parts import Interval
from reports.probes.made import made_by
from reports.probes.traces.drawn import Dose, Share, draw_doses, draw_shares
from reports.probes.traces.tables import (
    arms_table,
    contrast_table,
    data_table,
    fault_table,
    given_table,
    length_table,
    loss_table,
    paper_table,
    plan_trace_table,
    score_table,
    test_name,
    tests_of,
)
from reports.text import plural
from reports.theme import SERIES

__all__ = ["traces_page"]

Entry = dict[str, Any]

METHODS = (
    (
        "Problems",
        "Mazes of the public generator, draw for draw; every network is asked the same, in mazes "
        "that none was trained on. A plan is right if it is a legal path from start to goal, of "
        "any length.",
    ),
    (
        "Traces",
        "Valid, published: the trace can be replayed as a search, and the plan, where there is "
        "one, is as long as the path that it found. Strict: costs and distances are true, nothing "
        "is left out, and the plan is that path. An unreadable word fails both.",
    ),
    (
        "Arms",
        "The same problems in the same batches, and the same plans. Swapped: every trace stands at "
        "another problem. Damaged: a share of the operations. Filler: as many tokens that say "
        "nothing, as another problem's trace has. As many tokens: trained on the problems more "
        "often, or less, until it has read as many tokens as the correct arm, the problems' "
        "included.",
    ),
    (
        "Differences",
        "By problem, mean over seeds, bootstrap over mazes; the spread of seeds is added where "
        "there are several. One seed is one network, and says nothing of another. Kinds of mazes "
        "differ in the lengths of their paths, so those as long as 99 % of the paths trained on "
        "are compared by themselves too. All arms have "
        "one learning rate and see the problems as often: a difference is one at this budget. Of "
        "what an arm without trace learns, all is plan; of the others a small part.",
    ),
    (
        "Deviations",
        "Networks are Llamas of a few layers, hidden matrices are trained with Muon, and the loss "
        "is on what follows the problem unless the config says otherwise.",
    ),
    (
        "Of imitation",
        "A mix with `swapped_from` asks the same of a tuned model: a teacher's answers, each under "
        "the explanation of another (`imitate run configs/explanations.yaml`).",
    ),
    (
        "Source",
        "Stechly, Valmeekam et al. 2025, arXiv 2505.13775; github.com/kstechly/"
        "beyond-semantics-maze-visualizer.",
    ),
)


def traces_page(results: Entry) -> ProbePage:
    """Return what a report of the probe of reasoning traces says."""
    tests = tests_of(results)
    sections = [
        Section(
            "shares",
            "Plans and traces",
            tables=tuple(score_table(results, test) for test in tests),
            short="Shares",
        ),
        *_contrasts(results),
        *_doses(results),
        Section(
            "apart",
            "Does the plan need its trace?",
            tables=_with_rows(
                *(given_table(results, test) for test in tests),
                *([loss_table(results)] if results.get("losses") else ()),
                *(plan_trace_table(results, test) for test in tests),
                *(fault_table(results, tests[0], of) for of in ("plan", "published", "strict")),
            ),
            short="Plan by trace",
        ),
        Section(
            "lengths",
            "By length",
            tables=tuple(length_table(results, test) for test in tests),
            short="Length",
        ),
        Section("paper", "Beside the paper", tables=(paper_table(results),), short="Paper"),
        Section("mazes", "Mazes, step by step", paragraphs=(VIEWER,), short="Mazes"),
        Section(
            "made",
            "What was trained on",
            tables=(arms_table(results), data_table(results)),
            short="Training",
        ),
        Section(
            "methods",
            "How it is measured",
            terms=(*METHODS, ("Made by", made_by(results))),
            short="Methods",
        ),
    ]
    return ProbePage(
        kicker=f"{results['name']}: reasoning traces",
        headline=results["headline"],
        lede=_lede(results),
        first=_first_figures(results),
        first_note="One row is one arm: how many plans are right, and how many of the traces "
        "before them are valid searches.",
        sections=tuple(
            one for one in sections if one.tables or one.figures or one.paragraphs or one.terms
        ),
        slider=Slider("mazes.js", {"examples": results["examples"]}),
    )


VIEWER = (
    "In the browser, every example problem with the answer of each arm's first network. Closed "
    "cells are numbered in their order, created ones are marked; the plan is drawn at the end, and "
    "where a validator objected it says so."
)


def _with_rows(*tables: Table) -> tuple[Table, ...]:
    return tuple(table for table in tables if table.rows)


def _lede(results: Entry) -> str:
    config, data = results["provenance"]["config"], results["data"]
    maze = config["maze"]
    return (
        f"Networks of {count(results['n_parameters'])} parameters learn from "
        f"{count(data['n_train'])} mazes of {maze['rows']} x {maze['columns']} "
        f"({data['generator']}) to find a path, {plural(len(config['seeds']), 'seed')}; they "
        "differ in what they are trained to say before the plan. A path has "
        f"{number(data['path_length'], 1)} cells, a search {number(data['operations'], 1)} "
        "operations."
    )


def _first_figures(results: Entry) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            f"plan-and-trace-{kind}",
            f"Tested on {test_name(results, kind)}",
            f"Share of right plans and of valid traces by arm, on mazes of {kind}.",
            draw_shares(_shares(results, kind)),
        )
        for kind in tests_of(results)[:2]
    )


def _shares(results: Entry, kind: str) -> list[Share]:
    found = []
    for arm, kinds in results["scores"].items():
        plan, trace = kinds[kind]["plan"], kinds[kind]["published"]
        has_trace = bool(trace["n"])
        found.append(
            Share(
                arm=arm,
                plan=100 * plan["value"],
                plan_interval=_interval(plan),
                trace=100 * trace["value"] if has_trace else None,
                trace_interval=_interval(trace) if has_trace else None,
            )
        )
    return found


def _interval(estimate: Entry) -> Interval | None:
    if estimate["low"] is None:
        return None
    return (100 * estimate["low"], 100 * estimate["high"])


def _contrasts(results: Entry) -> list[Section]:
    if not results["contrasts"]:
        return []
    told = [one for one in results["contrasts"] if one["difference"] is not None]
    left = len(results["contrasts"]) - len(told)
    words = (
        f"{plural(left, 'comparison')} of {count(len(results['contrasts']))} not drawn: too little "
        "is solved, or in too few different mazes.",
    )
    return [
        Section(
            "contrasts",
            "Against correct traces",
            paragraphs=words if left else (),
            tables=tuple(contrast_table(results, test) for test in tests_of(results)),
            short="Differences",
        )
    ]


def _doses(results: Entry) -> list[Section]:
    damaged = [one for one in results["arms"] if one["damage"] and not one["is_matched"]]
    if not damaged or results["data"]["generator"] not in results["data"]["tests"]:
        return []
    kinds = list(dict.fromkeys(one["damage"] for one in damaged))
    return [
        Section(
            "doses",
            "How much damage a plan bears",
            figures=tuple(
                _dose_figure(results, damaged, kinds, condition) for condition in ("own", "taught")
            ),
            short="Damage",
        )
    ]


def _dose_figure(
    results: Entry, damaged: Sequence[Entry], kinds: Sequence[str], condition: str
) -> Figure:
    test = results["data"]["generator"]
    shares = {
        arm: own[test]["plan"] if condition == "own" else own[test]["given"].get(condition)
        for arm, own in results["scores"].items()
    }
    doses = [(one["damage"], one["percent"], one["arm"]) for one in damaged]
    if "correct" in shares:
        doses += [(kind, 0, "correct") for kind in kinds]
    shown = [
        Dose(
            damage=kind,
            dose=float(dose),
            plan=100 * shares[arm]["value"],
            interval=_interval(shares[arm]),
        )
        for kind, dose, arm in sorted(set(doses))
    ]
    return Figure(
        f"doses-{condition}",
        "Right plans over damage, "
        + ("the network's own traces" if condition == "own" else "traces as trained on given"),
        "Percent of right plans over the percent of operations that are damaged, a line a damage: "
        + "; ".join(
            f"{one.damage} {number(one.dose, 0)} %: {percent(one.plan / 100)}" for one in shown
        ),
        draw_doses(shown, dict(zip(kinds, SERIES, strict=False))),
    )
