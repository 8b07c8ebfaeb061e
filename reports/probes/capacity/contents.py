"""What the capacity probe found, as words, tables and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.numbers import count, number, ratio_interval
from reports.page import Cell, Figure, ProbePage, Section, Table
from reports.probes.capacity.drawn import Line, draw_held, draw_lines
from reports.probes.capacity.tables import (
    bits_table,
    recall_table,
    reference_table,
    size_of,
    uniform_table,
)
from reports.probes.made import made_by
from reports.text import plural
from reports.theme import SERIES

__all__ = ["capacity_page"]

Entry = dict[str, Any]

PUBLISHED = {
    (1, 32): {"float32": 4.23, "bfloat16": 3.93},
    (1, 128): {"float32": 3.65, "bfloat16": 3.61},
    (2, 128): {"float32": 3.99, "bfloat16": 3.89},
    (4, 256): {"float32": 3.68, "bfloat16": 3.51},
    (8, 256): {"float32": 3.96, "bfloat16": 3.65},
}
"""Layers and width to the paper's bits a parameter, at 2,048 tokens and length 64."""

METHODS = (
    (
        "Held",
        "Sequences of uniform tokens have nothing to be generalised: bits of the data less their "
        "code length under the network, in float64, are memorised. The first token of a sequence "
        "is predicted by nothing. Charged, it costs log2 of the vocabulary, which a lower bound "
        "must pay; uncharged, it costs nothing, with which the published values agree.",
    ),
    (
        "Ceiling",
        "All that a network without a start token can hold: it still pays for which of the "
        "sequences that share a first token it is.",
    ),
    (
        "Capacity",
        "The most that any network of a seed holds, over all sizes of data; mean over seeds with "
        "its t interval, which holds neither the choice of learning rate nor of the rule. A "
        "plateau where, in every seed, two converged networks that could hold 1.25 times what "
        "they do have 95 % of the most, one with 1.5 times the data of the other, none with "
        "more, and no more than 2 % above. Else a lower bound.",
    ),
    (
        "Converged",
        "Stopped by a rule: bits held had risen by less than the least rise over the window, as a "
        "share of what is held or of what is left, whichever is less, at the first learning rate "
        "and after every cut of it.",
    ),
    (
        "Memorised",
        "Of text, bits beyond a reference that knows the kind of text and not the sequences. "
        "Never negative sequence by sequence, so above 0 for noise alone; the untruncated sum "
        "stands beside it. Generalised: beyond uniform tokens, and known to network and reference.",
    ),
    (
        "Told apart",
        "Members from others by a threshold on their loss, chosen on one half and used on the "
        "other, as many of either; F1 is the mean over both answers. The law is the published one, "
        "its sign corrected; it is of 64 tokens of GPT-2's vocabulary.",
    ),
    (
        "Source",
        "Morris et al. 2025, arXiv 2505.24832. Networks are transformers' GPT-2 with tied "
        "embeddings, heads of 32 and no dropout.",
    ),
)


def capacity_page(results: Entry) -> ProbePage:
    """Return what a report of the capacity probe says."""
    uniform = [one for one in results["runs"] if one["run"]["kind"] == "uniform"]
    texts = [one for one in results["runs"] if one["run"]["kind"] == "text"]
    sections = [_capacity_section(results)] if any(s["capacity"] for s in results["sizes"]) else []
    tables = (uniform_table(uniform),)
    sections += [Section("uniform", "Uniform sequences", tables=tables, short="Uniform")]
    sections += [_text_section(results, texts)] if texts else []
    sections += [_learning_section(results), _methods_section(results)]
    return ProbePage(
        kicker=f"{results['name']}: capacity",
        headline=results["headline"],
        lede=_lede(results, uniform),
        first=_first_figures(results, uniform, texts),
        first_note="One line is one size and seed, one mark one network. Dashed on the slant: all "
        "of the data. Across: capacity by size. Dashed upright: where the data have as many bits.",
        sections=tuple(sections),
    )


def _lede(results: Entry, uniform: Sequence[Entry]) -> str:
    config = results["provenance"]["config"]
    n_converged = sum(one["standing"] == "converged" for one in results["runs"])
    return (
        f"{plural(len(uniform), 'network')} from scratch on uniform tokens of a vocabulary of "
        f"{count(config['vocabulary'])}, {plural(len(config['seeds']), 'seed')}; "
        f"{count(n_converged)} of all {count(len(results['runs']))} networks stopped because their "
        "bits rose by too little, the others at the most steps. The published figure is 3.6 bits a "
        "parameter."
    )


def _first_figures(
    results: Entry, uniform: Sequence[Entry], texts: Sequence[Entry]
) -> tuple[Figure, ...]:
    series = _series(results)
    held = Figure(
        "held",
        "Bits held of uniform sequences",
        "Bits held over bits of data, one line a size and seed: they follow the data and then "
        "stay at the capacity.",
        draw_held(
            [
                Line(size_of(one), f"{key}", *points)
                for key, one, points in _curves(uniform, "held", "charged")
            ],
            series=series,
            capacities=[s["capacity"]["bits"]["value"] for s in results["sizes"] if s["capacity"]],
        ),
    )
    if not texts:
        return (held,)
    expected = [s["descent"]["expected"] for s in results["sizes"] if "descent" in s]
    descent = Figure(
        "descent",
        "Loss on text that was not trained on",
        "Test loss over the number of sequences trained on, one line a size and seed; dashed, "
        "where the bits of the data equal the capacity: "
        + ", ".join(count(one) for one in expected),
        draw_lines(
            [
                Line(size_of(one), f"{key}", *points)
                for key, one, points in _curves(texts, "losses", "test", "n_sequences")
            ],
            series=series,
            x_title="Sequences trained on",
            y_title="Bits a token",
            marks=expected,
        ),
    )
    return (held, descent)


def _curves(
    runs: Sequence[Entry], part: str, value: str, across: str = ""
) -> list[tuple[tuple[int, ...], Entry, tuple[list[float], list[float]]]]:
    """Return lines by size, length and seed: their key, one network, and points in order."""
    lines: dict[tuple[int, ...], list[Entry]] = {}
    for one in runs:
        run = one["run"]
        key = (run["layers"], run["width"], run["length"], run["seed"])
        lines.setdefault(key, []).append(one)
    return [
        (
            key,
            own[0],
            (
                [one["run"][across] if across else one[part]["data_bits"] for one in own],
                [one[part][value] for one in own],
            ),
        )
        for key, members in lines.items()
        for own in [sorted(members, key=lambda one: one["run"]["n_sequences"])]
    ]


def _capacity_section(results: Entry) -> Section:
    dtype = results["provenance"]["config"]["train"]["dtype"]
    is_published = _is_published(results)
    rows = tuple(
        (
            Cell(size_of(size)),
            Cell(count(size["n_parameters"])),
            Cell(count(size["capacity"]["bits"]["value"])),
            Cell(
                number(size["capacity"]["per_parameter"]["value"]),
                _reach(size["capacity"]["per_parameter"]),
            ),
            Cell(
                number(size["capacity"]["uncharged"]["value"]),
                _reach(size["capacity"]["uncharged"]),
            ),
            Cell(
                number(PUBLISHED.get((size["layers"], size["width"]), {}).get(dtype))
                if is_published
                else "–"
            ),
            Cell("yes" if size["capacity"]["is_plateau"] else "no, a lower bound"),
        )
        for size in results["sizes"]
        if size["capacity"]
    )
    note = (
        "Mean over seeds of the most that any network held, with its interval over seeds. "
        "Uncharged: the same networks, first tokens free. The paper's range over sizes is 2.86 to "
        "4.23."
    )
    if not is_published:
        note += " The setting here is not the paper's, so nothing need agree."
    columns = (
        "Layers x width",
        "Parameters",
        "Bits",
        "Bits a parameter, first token charged",
        "Uncharged",
        f"Paper, {dtype}",
        "Plateau",
    )
    return Section(
        "capacity",
        "What networks hold at most",
        paragraphs=(_fit_told(results),),
        tables=(Table("Capacity by size", columns, rows, note=note),),
        short="Capacity",
    )


def _fit_told(results: Entry) -> str:
    fit = results["fit"]
    if not fit:
        return (
            "One size has no line through it; the paper's through many has 3.64 bits a parameter."
        )
    slope = fit["slope"]
    told = _reach(slope) or "no interval from two sizes"
    return (
        f"A line through {plural(slope['n'], 'size')} rises by {number(slope['value'])} bits a "
        f"parameter ({told}); the paper's by 3.64."
    )


def _is_published(results: Entry) -> bool:
    config = results["provenance"]["config"]
    longest = max([config["length"], *config["uniform"]["lengths"]])
    positions = config["positions"] or longest
    return bool((config["vocabulary"], config["length"], positions) == (2048, 64, 64))


def _reach(estimate: Entry) -> str:
    return ratio_interval((estimate["low"], estimate["high"]))


def _text_section(results: Entry, texts: Sequence[Entry]) -> Section:
    references = [one for one in results["runs"] if one["run"]["kind"] == "reference"]
    tables = (bits_table(texts), recall_table(texts, has_law=_is_published(results)))
    return Section(
        "text",
        "Text: memorised and generalised",
        paragraphs=tuple(_descent_told(size) for size in results["sizes"] if "descent" in size),
        tables=(*tables, reference_table(references)) if references else tables,
        notes=(
            f"{count(results['text']['n_duplicates'])} sequences were there already and "
            f"{count(results['text']['n_short'])} documents were too short: both left out.",
        ),
        short="Text",
    )


def _descent_told(size: Entry) -> str:
    found = size["descent"]
    at_end, at_best = found["end"], found["best"]
    bound = "" if size["capacity"]["is_plateau"] else "at least "
    expected = f"the bits of the data are the capacity at {bound}{count(found['expected'])}"
    if at_end["peak"] is None:
        return f"{size_of(size)}: the test loss has no peak inside the sizes tried; {expected}."
    told = (
        f"{size_of(size)}: inside the sizes tried the test loss peaks at "
        f"{count(at_end['peak'])} sequences (tried next: {count(at_end['above'])} and "
        f"{count(at_end['below'])}); {expected}. At the most data it is "
        f"{number(at_end['fall'])} bits a token lower. With every network at its best check "
    )
    if at_best["peak"] is None:
        return told + "there is no peak: it is one of long training."
    return told + f"it peaks at {count(at_best['peak'])}."


def _learning_section(results: Entry) -> Section:
    series = _series(results)
    lines = [
        Line(
            size_of(one),
            size_of(one) + str(one["run"]),
            one["checks"]["step"],
            [one["checks"]["bits"][0] - bits for bits in one["checks"]["bits"]],
        )
        for one in results["runs"]
        if one["run"]["kind"] == "uniform"
    ]
    figure = Figure(
        "learning",
        "Bits gained over steps, every network on uniform tokens",
        "Bits by which the code length of its data has fallen, over steps, one line a network.",
        draw_lines(
            lines, series=series, x_title="Steps", y_title="Bits gained since the first weights"
        ),
    )
    return Section("learning", "How they came to that", figures=(figure,), short="Convergence")


def _methods_section(results: Entry) -> Section:
    return Section(
        "methods",
        "How it is measured",
        terms=(*METHODS, ("Made by", made_by(results))),
        short="Methods",
    )


def _series(results: Entry) -> dict[str, str]:
    names = [size_of(size) for size in results["sizes"]]
    return {name: SERIES[place % len(SERIES)] for place, name in enumerate(names)}
