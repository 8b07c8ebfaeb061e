"""Two results compared item by item -> `comparison.html`, one offline page, and `comparison.md`.

In: a `Comparison`. Out: files in a folder. Names of results, tasks and items come from files of
anybody's: the page escapes them, and nothing in it runs or loads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.comparing.paired import Compared, Comparison, Finding
from evals.comparing.words import remarks, sentences, told_p
from evals.gap import CLUSTERS_FOR_RATIO
from evals.power import MIN_CLUSTERS
from reports.numbers import count, number, percent, points, points_interval, share_interval
from reports.offline import content_policy, read_style
from reports.page import Cell, Section, Span, Table
from reports.render import environment

__all__ = ["write_comparison"]

TONES = {
    Finding.BETTER: "green",
    Finding.WORSE: "vermillion",
    Finding.EQUIVALENT: "muted",
    Finding.UNRESOLVED: "orange",
    Finding.TOO_FEW: "muted",
}
"""Finding to its colour; the page always prints the word as well."""

LETTERS = "ABT"


@dataclass(frozen=True)
class Page:
    """All that both renderings say; `results` are the letters and what they stand for."""

    headline: str
    results: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write `comparison.html` and `comparison.md`, and return the former."""
    folder.mkdir(parents=True, exist_ok=True)
    html, markdown = folder / "comparison.html", folder / "comparison.md"
    page, style = _page(comparison), read_style("report.css")
    template = environment(is_html=True).get_template("paired.html.j2")
    told = template.render(page=page, style=style, policy=content_policy(style, []))
    html.write_text(told, encoding="utf-8")
    template = environment(is_html=False).get_template("paired.md.j2")
    markdown.write_text(template.render(page=page), encoding="utf-8")
    return html


def _page(comparison: Comparison) -> Page:
    left_out = tuple(remarks(comparison)) or ("Every item of every task has its partner.",)
    sections = (
        Section("found", "What is found", notes=tuple(sentences(comparison)), short="Findings"),
        Section("tasks", "Task by task", tables=_tables(comparison), short="Tasks"),
        Section("pairs", "What pairs, and what was left out", notes=left_out, short="Pairs"),
        Section("methods", "How it is computed", terms=_methods(comparison), short="Methods"),
    )
    sources = comparison.pairing.sources.items()
    results = tuple(
        (letter, f"{name}: {source}")
        for letter, (name, source) in zip(LETTERS, sources, strict=False)
    )
    return Page(_headline(comparison), results, sections)


def _headline(comparison: Comparison) -> str:
    """Return on how many tasks B does what against A."""
    first, second = comparison.pairing.names[:2]
    n_tasks = len(comparison.tasks)
    if n_tasks == 1:
        said = str(comparison.tasks[0].finding)
        return f"{second} against {first}, on {comparison.tasks[0].task}: {said}"
    counts = Counter(one.finding for one in comparison.tasks)
    parts = [f"{finding} on {counts[finding]}" for finding in Finding if counts[finding]]
    return f"{second} against {first}, of {n_tasks} tasks: {', '.join(parts)}"


def _tables(comparison: Comparison) -> tuple[Table, ...]:
    groups: dict[str, list[Compared]] = {}
    for paired, one in zip(comparison.pairing.tasks, comparison.tasks, strict=True):
        groups.setdefault(paired.group, []).append(one)
    tables = [_table(group or "Tasks", those, comparison) for group, those in groups.items()]
    if comparison.means:
        caption = "Means of tasks, each weighing the same"
        tables.append(_table(caption, comparison.means, comparison))
    return tuple(tables)


def _table(caption: str, compared: Sequence[Compared], comparison: Comparison) -> Table:
    has_teacher = len(comparison.pairing.names) > 2
    scale = _scale(compared, comparison.rule.margin)
    columns = ("Task", "B \N{MINUS SIGN} A", "A", "B", *(("T", "Gap closed") * has_teacher))
    rows = tuple(
        (
            Cell(one.task, one.metric),
            _difference(one, scale),
            Cell(percent(one.first)),
            Cell(percent(one.second)),
            *(_teacher(one) if has_teacher else ()),
            Cell(told_p(one.p_holm), one.test),
            Cell(told_p(one.p_equivalent_holm)),
            Cell(number(100 * one.detectable, 1)),
            Cell(f"{count(one.n_better)}, {count(one.n_worse)}"),
        )
        for one in compared
    )
    return Table(
        caption[:1].upper() + caption[1:],
        (*columns, "p", "p of the margin", "Detectable", "Up, down"),
        rows,
    )


def _difference(one: Compared, scale: tuple[float, float, float]) -> Cell:
    rests_on = f"{count(one.n_items)} items, {count(one.n_clusters)} clusters"
    if one.n_failed:
        rests_on += f", {count(one.n_failed)} failed"
    text = f"{points(one.difference)} {points_interval(one.ci)}".strip()
    span = None
    if not math.isnan(one.ci[0]):
        lead = None if math.isnan(one.lead) else one.lead
        span = Span(one.difference, *one.ci, *scale, teacher=lead)
    return Cell(text, rests_on, str(one.finding), TONES[one.finding], span)


def _teacher(one: Compared) -> tuple[Cell, Cell]:
    return Cell(percent(one.teacher)), Cell(percent(one.gap_closed, 0), share_interval(one.gap_ci))


def _scale(compared: Sequence[Compared], margin: float) -> tuple[float, float, float]:
    """Return low, high and margin of the drawings of a column, as shares."""
    ends = [end for one in compared for end in (*one.ci, one.difference, one.lead)]
    values = [-1.4 * margin, 1.4 * margin, *(end for end in ends if not math.isnan(end))]
    return min(values), max(values), margin


def _methods(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    rule = comparison.rule
    margin, level = number(100 * rule.margin, 1), f"{rule.level:.0%}"
    return (
        (
            "Pairs",
            "Only items that all results have, and that none failed, count. Results are refused "
            "where prompts, numbers of examples or other settings on record differ.",
        ),
        (
            "Interval",
            f"{level}, from {count(rule.resamples)} resamples of whole clusters (seed "
            f"{rule.seed}), widened for few clusters; none under {MIN_CLUSTERS} clusters. Of means "
            "over training seeds, the spread of their differences is added in quadrature. "
            "Miller 2024, arXiv 2411.00640; Hesterberg 2015.",
        ),
        (
            "p",
            "Of no difference: McNemar's exact test of right and wrong where every item is its own "
            "cluster, else signs flipped by cluster; for means of tasks t on the clustered error; "
            "over training seeds the least level at which the interval excludes 0. "
            "Corrected by Holm's method over the tasks.",
        ),
        (
            "p of the margin",
            f"Of a difference beyond {margin} points, by two one-sided tests (Schuirmann 1987), "
            "corrected likewise. A small one shows that no difference counts; a large p of no "
            "difference never shows that.",
        ),
        (
            "Detectable",
            f"The smallest true difference, in points, that so many items find in {rule.power:.0%} "
            "of cases; not told over training seeds.",
        ),
        ("Up, down", "Items on which B scores higher and lower than A."),
        (
            "Gap closed",
            "(B \N{MINUS SIGN} A) / (T \N{MINUS SIGN} A) with all three resampled jointly; none "
            "where the teacher does not surely lead, no interval under "
            f"{CLUSTERS_FOR_RATIO} clusters, nor where A is the mean of several seeds.",
        ),
    )
