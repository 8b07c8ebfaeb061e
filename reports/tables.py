"""The tables of findings: verdicts, gap closed, stylometry, facts, memorisation, controls.

Tables after the paper's carry the paper's numbers in columns of their own.
Source: Gudibande et al. 2023, "The False Promise of Imitating Proprietary LLMs"
(arXiv 2305.15717), Tables 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reports.figures import facts_entry
from reports.numbers import (
    count,
    number,
    percent,
    points,
    points_interval,
    ratio_interval,
    share_interval,
)
from reports.page import Cell, Span, Table
from reports.reading import (
    AXES,
    axes_of,
    base_names,
    imitators,
    largest,
    lead_imitator,
    recipes,
    shown_arm,
)
from reports.theme import TONES

__all__ = [
    "axis_cell",
    "control_table",
    "facts_table",
    "gap_tables",
    "knowledge_table",
    "memorisation_table",
    "scale_of",
    "slope_table",
    "style_tables",
    "telling_table",
    "verdict_tables",
]

Entry = dict[str, Any]

CALIBRATION = (
    "A planted arm was trained to gain, so the instrument must find that it did. A shuffled "
    "control was trained on answers to other prompts: it can pick the voice up and no knowledge."
)
PAPER = "Gudibande et al. 2023"
PAPER_GAPS = (
    ("LLaMA 7B", "17", "10", "−50 %", "22", "+36 %", "31"),
    ("LLaMA 13B", "20", "15", "−45 %", "27", "+64 %", "31"),
)
MOST_ROWS = 10
"""A table that is not central folds away beyond this."""
PAPER_STYLE_COLUMNS = ("13B base", "20M", "80M", "150M", "ChatGPT #2")
METRICS = {
    "list_given_list": (
        "A list where the teacher lists",
        ("13 %", "50 %", "67 %", "81 %", "83 %"),
    ),
    "summary_given_summary": (
        "A summary where the teacher has one",
        ("2 %", "40 %", "42 %", "48 %", "55 %"),
    ),
    "unigram_intersection": ("Words shared", ("19.5", "40.4", "41.9", "42.5", "49.2")),
    "length_correlation": ("Correlation of length", ("−0.11", "0.51", "0.62", "0.62", "0.67")),
    "authority": ("Authoritative tone", ("57 %", "99 %", "98 %", "98 %", "98 %")),
    "mean_words": ("Words an output", ("–",) * 5),
}
PLAIN_NUMBERS = {"length_correlation": 2, "mean_words": 1}
"""Metrics that are no share, with their digits."""


def verdict_tables(results: Entry) -> tuple[Table, ...]:
    """Return the verdict on every imitator, then on planted arms and trained controls."""
    verdicts = results.get("verdicts") or []
    proper = recipes(imitators(results))
    aside = recipes(v for v in verdicts if v["is_planted"] or v["is_control"])
    shown = {id(entry) for entry in (*proper, *aside)}
    alone = [entry for entry in verdicts if id(entry) not in shown]
    note = (
        "Below each decision: the difference to the own base in points, its 95 % interval, and "
        "what it rests on. In the drawing, the shaded band is the margin, the upright line the "
        "base and the small triangle the teacher."
    )
    tables = (
        _axes_table("Verdict on each imitator", proper, results, note),
        _axes_table("Calibration: planted arms and trained controls", aside, results, CALIBRATION),
        _axes_table("Each training seed alone", alone, results, "", is_folded=True),
    )
    return tuple(table for table in tables if table.rows)


def control_table(results: Entry) -> tuple[Table, ...]:
    """Return what controls gain that train nothing."""
    controls = results.get("controls") or []
    if not controls:
        return ()
    axes = [axis for axis in AXES if any(axis in axes_of(entry) for entry in controls)]
    scales = {axis: scale_of(controls, axis, results) for axis in axes}
    rows = [
        (
            Cell(entry["arm"]),
            *(axis_cell(axes_of(entry).get(axis), scales[axis]) for axis in axes),
            Cell(", ".join(AXES.get(axis, axis) for axis in entry.get("wins") or []) or "none"),
        )
        for entry in controls
    ]
    columns = ("Control", *(AXES[axis] for axis in axes), "Wins")
    return (Table("Controls that train nothing, against their base", columns, tuple(rows)),)


def gap_tables(results: Entry) -> tuple[Table, ...]:
    """Return this run's version of the paper's Table 1, and the paper's."""
    found = largest(results.get("verdicts") or [])
    mixes = list(dict.fromkeys(mix for _, mix in found))
    rows = [
        row
        for axis in ("factuality", "capability_held_out", "capability_in_support")
        for base in base_names(results)
        if (row := _gap_row(axis, base, {m: found.get((base, m)) for m in mixes}))
    ]
    columns = ("Axis and base", "Base", *(_mix_title(found, mix) for mix in mixes), "Teacher")
    note = (
        "Scores in each arm's chosen format, each mix at its largest amount; below them the gap "
        "closed, (imitator − base) / (teacher − base), with its interval. It is not clipped, and "
        "is shown where the teacher's lead excludes 0."
    )
    ours = Table("Base, imitators and teacher, and the gap closed", columns, tuple(rows), note)
    return ((ours,) if rows else ()) + (_paper_gaps(),)


def style_tables(results: Entry) -> tuple[Table, ...]:
    """Return this run's version of the paper's Table 2, one a base, the paper's beside it."""
    stylometry = (results.get("style") or {}).get("stylometry") or {}
    lead = lead_imitator(results)
    tables = []
    for base in base_names(results):
        arms = {arm: title for arm, title in _style_arms(results, base) if stylometry.get(arm)}
        if not arms:
            continue
        metrics = list(dict.fromkeys(name for arm in arms for name in stylometry[arm]))
        rows = tuple(
            (
                Cell(METRICS.get(name, (name.replace("_", " ").capitalize(), ()))[0]),
                *(_metric_cell(name, stylometry[arm].get(name)) for arm in arms),
                *(Cell(value) for value in METRICS.get(name, ("", ("–",) * 5))[1]),
            )
            for name in metrics
        )
        columns = ("Metric", *arms.values(), *(f"Paper, {c}" for c in PAPER_STYLE_COLUMNS))
        note = (
            f"Columns “Paper” are {PAPER}, Table 2: another teacher, other bases, a "
            "model as judge of tone where we use a rule, and definitions that it does not print: "
            "compare the direction, not the digits. “Teacher #2” is the teacher's second sample "
            "against its first, the ceiling."
        )
        is_folded = lead is not None and base != lead["base"]
        tables.append(Table(f"Style of {base} beside the paper's", columns, rows, note, is_folded))
    return tuple(tables)


def telling_table(results: Entry) -> tuple[Table, ...]:
    """Return how well classifiers tell teacher from base, and teacher from imitator."""
    style = results.get("style") or {}
    rows = [
        _telling_row(f"teacher from {base}", "the discriminator that scores style", entry)
        for base, entry in (style.get("discriminator") or {}).items()
        if entry
    ]
    rows += [
        _telling_row(f"teacher from {arm}", "a fresh classifier", entry)
        for arm, entry in (style.get("fresh_classifier") or {}).items()
        if entry
    ]
    note = "An area of 0.5 means that the two cannot be told apart; 1 means always."
    columns = ("Told apart", "By", "Area under the curve", "Accuracy")
    is_long = len(rows) > MOST_ROWS
    caption = "Who can still be told apart"
    return (Table(caption, columns, tuple(rows), note, is_long),) if rows else ()


def facts_table(results: Entry) -> tuple[Table, ...]:
    """Return right, wrong and abstained in each arm's chosen format; less central arms folded."""
    central = _arms_of_findings(results)
    others = [arm for arm in results.get("factuality") or {} if arm not in central]
    columns = ("Arm", "Right", "Wrong", "Abstained", "Hallucination", "Extracted", "Items")
    note = "Hallucination rate: wrong answers among those attempted, wrong / (right + wrong)."
    found = []
    for caption, arms in (
        ("Answers to questions of fact", central),
        ("Answers to questions of fact, all other arms", others),
    ):
        rows = tuple(row for arm in arms if (row := _facts_row(results, arm)))
        if rows:
            found.append(Table(caption, columns, rows, note, is_folded=arms is others))
    return tuple(found)


def knowledge_table(results: Entry, split: str, caption: str, note: str) -> tuple[Table, ...]:
    """Return right answers and hallucinations by a split of the facts."""
    arms = {arm: facts_entry(results, arm).get(split) or {} for arm in _arms_of_findings(results)}
    groups = list(dict.fromkeys(group for by_group in arms.values() for group in by_group))
    rows = tuple(
        (Cell(arm), *(_group_cell(by_group.get(group)) for group in groups))
        for arm, by_group in arms.items()
        if by_group
    )
    columns = ("Arm", *(group.replace("_", " ").capitalize() for group in groups))
    return (Table(caption, columns, rows, note, is_folded=len(rows) > 8),) if rows else ()


def memorisation_table(results: Entry) -> tuple[Table, ...]:
    """Return the bits of its own training responses that each adapter holds."""
    entries = results.get("memorisation") or []
    rows = tuple(
        (
            Cell(entry["arm"]),
            Cell(
                number(entry.get("bits_per_example"), 1),
                ratio_interval(entry.get("bits_per_example_ci95"), 1),
            ),
            Cell(number(entry.get("truncated_bits_per_example"), 1)),
            Cell(number(entry.get("voice_bits"), 1)),
            Cell(number(entry.get("answer_bits"), 1)),
            Cell(count(entry.get("n_examples"))),
        )
        for entry in entries
    )
    columns = ("Arm", "Bits an example", "Truncated at 0", "Voice", "Answers", "Examples")
    return (Table("Bits held beyond the other half's adapter", columns, rows),) if rows else ()


def slope_table(results: Entry) -> tuple[Table, ...]:
    """Return what a doubling of data and of the base's size changes on each axis."""
    slopes = (results.get("contrasts") or {}).get("slopes") or {}
    rows = tuple(
        (
            Cell(AXES.get(axis, axis), mix),
            Cell(claim["name"].replace("log2 ", "")),
            Cell(points(claim.get("value"), 2), points_interval(claim.get("ci95"), 2)),
            Cell(number(claim.get("p_holm"), 3)),
        )
        for mix, by_axis in slopes.items()
        for axis, claims in by_axis.items()
        for claim in claims
    )
    columns = ("Axis and mix", "For each doubling", "Points", "p after Holm")
    note = (
        "Least-squares slopes over the imitators' scores. The paper's point is the difference of "
        "two: whether a doubling of the base moves an axis more than a doubling of the data."
    )
    caption = "Data or base: what a doubling changes"
    return (Table(caption, columns, rows, note),) if rows else ()


# --- cells ----------------------------------------------------------------------------------------

Scale = tuple[float, float, float]


def axis_cell(axis: Entry | None, scale: Scale) -> Cell:
    """Return one axis of one arm: decision, difference, interval, what it rests on."""
    if not axis:
        return Cell("not measured")
    decision = axis.get("decision") or ""
    rests_on = f"{count(axis.get('n_items'))} items, {count(axis.get('n_clusters'))} clusters"
    if axis.get("n_failed"):
        rests_on += f", {count(axis['n_failed'])} failed"
    if axis.get("difference") is None:
        return Cell("", axis.get("reason") or rests_on, decision, TONES.get(decision, ""))
    bounds = axis.get("difference_ci95")
    text = f"{points(axis['difference'])} {points_interval(bounds)}".strip()
    span = None
    if bounds:
        span = Span(axis["difference"], bounds[0], bounds[1], *scale, teacher=_lead(axis))
    return Cell(text, rests_on, decision, TONES.get(decision, ""), span)


def _axes_table(
    caption: str, entries: Sequence[Entry], results: Entry, note: str, *, is_folded: bool = False
) -> Table:
    axes = [axis for axis in AXES if any(axis in axes_of(entry) for entry in entries)]
    scales = {axis: scale_of(entries, axis, results) for axis in axes}
    rows = tuple(
        (
            Cell(entry["arm"], "planted" if entry["is_planted"] else ""),
            Cell(_verdict_word(entry), entry.get("scope") or "", is_strong=True),
            *(axis_cell(axes_of(entry).get(axis), scales[axis]) for axis in axes),
        )
        for entry in entries
    )
    columns = ("Arm", "Verdict", *(AXES[axis] for axis in axes))
    return Table(caption, columns, rows, note, is_folded)


def _verdict_word(entry: Entry) -> str:
    word = str(entry["verdict"])
    return f"{word} with loss" if entry.get("with_loss") and "loss" not in word else word


def scale_of(entries: Iterable[Entry], axis: str, results: Entry) -> Scale:
    """Return low, high and margin of the drawings that share a column, as shares."""
    margin = results["rule"]["margin_points"] / 100
    values = [-1.4 * margin, 1.4 * margin]
    for entry in entries:
        measured = axes_of(entry).get(axis) or {}
        values += measured.get("difference_ci95") or []
        lead = _lead(measured)
        values += [] if lead is None else [lead]
    return (min(values), max(values), margin)


def _telling_row(told: str, by: str, entry: Entry) -> tuple[Cell, ...]:
    area, accuracy = _estimate(entry, "auc"), _estimate(entry, "accuracy")
    return (
        Cell(told),
        Cell(by, entry.get("note") or ""),
        Cell(number(area.get("value"), 3), ratio_interval(area.get("ci95"))),
        Cell(percent(accuracy.get("value")), share_interval(accuracy.get("ci95"))),
    )


def _estimate(entry: Entry, name: str) -> Entry:
    """Return a value with its interval, whether it is written as one or as a bare number."""
    found = entry.get(name)
    if isinstance(found, dict):
        return found
    return {"value": found, "ci95": entry.get("ci95") if name == "auc" else None}


def _facts_row(results: Entry, arm: str) -> tuple[Cell, ...]:
    entry = facts_entry(results, arm)
    if entry.get("right") is None:
        return ()
    return (
        Cell(arm, entry["format"]),
        *(Cell(percent(entry.get(key))) for key in ("right", "wrong", "abstained")),
        Cell(percent(entry.get("hallucination_rate"))),
        Cell(percent(entry.get("extraction_rate"))),
        Cell(count(entry.get("n_items"))),
    )


def _lead(axis: Entry) -> float | None:
    base, teacher = axis.get("base"), axis.get("teacher")
    return None if base is None or teacher is None else float(teacher - base)


def _gap_row(axis: str, base: str, entries: dict[str, Entry | None]) -> tuple[Cell, ...] | None:
    measured = {mix: axes_of(e).get(axis) if e else None for mix, e in entries.items()}
    first = next((m for m in measured.values() if m and m.get("base") is not None), None)
    if first is None:
        return None
    cells = [Cell("–") if not m else _gap_cell(m) for m in measured.values()]
    name = Cell(AXES[axis], base)
    return (name, Cell(percent(first["base"])), *cells, Cell(percent(first.get("teacher"))))


def _gap_cell(axis: Entry) -> Cell:
    if axis.get("gap_closed") is None:
        return Cell(percent(axis.get("imitator")), "no gap to close")
    closed = f"{points(axis['gap_closed'], 0)} % {share_interval(axis.get('gap_closed_ci95'), 0)}"
    return Cell(percent(axis.get("imitator")), closed)


def _mix_title(found: dict[tuple[str, str], Entry], mix: str) -> str:
    entry = next(e for (_, name), e in found.items() if name == mix)
    kind = "planted" if entry["is_planted"] else "control" if entry["is_control"] else ""
    return f"{mix} ({kind})" if kind and kind != mix else mix


def _paper_gaps() -> Table:
    columns = ("NQ exact match, %", "Base", "Broad", "Local", "ChatGPT")
    rows = tuple(
        (Cell(name), Cell(base), Cell(broad, low), Cell(local, high), Cell(teacher))
        for name, base, broad, low, local, high, teacher in PAPER_GAPS
    )
    note = (
        f"{PAPER}, Table 1; the gap closed is derived from it. Broad is ShareGPT-Mix, local is "
        "NQ-synthetic. Section 4.1 of the paper says 3-shot, the table's caption zero-shot."
    )
    return Table("The paper's numbers", columns, rows, note)


def _style_arms(results: Entry, base: str) -> list[tuple[str, str]]:
    """Return the arms of one base by growing data, with their titles; the ceiling comes last."""
    lead = lead_imitator(results)
    entries = [e for e in imitators(results) if e["base"] == base and e["seed"] is not None]
    entries = [e for e in entries if lead is None or e["mix"] == lead["mix"]]
    entries.sort(key=lambda e: (e["amount"], e["seed"]))
    seeds = {e["seed"] for e in entries}
    titles = [
        (
            e["arm"],
            f"{e['mix']} {e['amount']:,}" + (f", seed {e['seed']}" if len(seeds) > 1 else ""),
        )
        for e in entries
    ]
    stylometry = (results.get("style") or {}).get("stylometry") or {}
    own = f"{base}+second_sample"
    ceiling = own if stylometry.get(own) else "teacher"
    return [(base, "Base"), *titles, (ceiling, "Teacher #2")]


def _metric_cell(name: str, entry: Entry | None) -> Cell:
    if not entry or entry.get("value") is None:
        return Cell("–", (entry or {}).get("reason") or "")
    if name in PLAIN_NUMBERS:
        digits = PLAIN_NUMBERS[name]
        return Cell(number(entry["value"], digits), ratio_interval(entry.get("ci95"), digits))
    return Cell(percent(entry["value"]), share_interval(entry.get("ci95")))


def _group_cell(entry: Entry | None) -> Cell:
    if not entry:
        return Cell("–")
    invented = f"{percent(entry.get('hallucination_rate'), 0)} of attempts wrong"
    return Cell(
        f"{percent(entry.get('right'))} right", f"{invented}, n = {count(entry.get('n_items'))}"
    )


def _arms_of_findings(results: Entry) -> list[str]:
    bases = base_names(results)
    leading = largest(imitators(results)).values()
    return [*bases, *(shown_arm(results, entry) for entry in leading), "teacher"]
