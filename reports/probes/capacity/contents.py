"""What the capacity probe found, as words, tables and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.numbers import count, number, ratio_interval
from reports.page import Cell, Figure, ProbePage, Section, Table
from reports.probes.capacity.drawn import Line, draw_held, draw_lines
from reports.probes.capacity.tables import bits_table, recall_table, size_of, uniform_table
from reports.probes.made import made_by
from reports.text import plural
from reports.theme import SERIES

__all__ = ["capacity_page"]

Entry = dict[str, Any]

PUBLISHED = {(1, 32): 4.23, (1, 128): 3.65, (2, 128): 3.99, (4, 256): 3.68, (8, 256): 3.96}
"""Layers and width to the paper's bits a parameter in float32, at 2,048 tokens and length 64."""

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
        "its t interval. A plateau where, in every seed, two converged networks with at least "
        "1.25 times as many bits of data as they hold have 95 % of the most. Else a lower bound.",
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
        "stands beside it. Generalised: beyond uniform tokens, and known to the reference too.",
    ),
    (
        "Told apart",
        "Members from others by a threshold on their loss, chosen on one half and used on the "
        "other; F1 is the mean over both answers. The law is the published one, its sign "
        "corrected.",
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
    sections = [_capacity_section(results)] if any(s["charged"] for s in results["sizes"]) else []
    tables = (uniform_table(uniform),)
    sections += [Section("uniform", "Uniform sequences", tables=tables, short="Uniform")]
    sections += [_text_section(results, texts)] if texts else []
    sections += [_learning_section(results), _methods_section(results)]
    return ProbePage(
        kicker=f"{results['name']}: capacity",
        headline=results["headline"],
        lede=_lede(results, uniform),
        first=_first_figures(results, uniform, texts),
        first_note="One line is one size and seed, one mark one network, trained until it holds no "
        "more. Dashed at the left: all of the data. Across: capacity by size.",
        sections=tuple(sections),
    )


def _lede(results: Entry, uniform: Sequence[Entry]) -> str:
    config = results["provenance"]["config"]
    n_converged = sum(one["standing"] == "converged" for one in results["runs"])
    return (
        f"{plural(len(uniform), 'network')} from scratch on uniform tokens of a vocabulary of "
        f"{count(config['vocabulary'])}, {plural(len(config['seeds']), 'seed')}; "
        f"{count(n_converged)} of all {count(len(results['runs']))} networks converged. The "
        "published figure is 3.6 bits a parameter, a lower bound as well."
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
            capacities=[s["charged"]["bits"]["value"] for s in results["sizes"] if s["charged"]],
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
                for key, one, points in _curves(texts, "text", "test_loss", "n_sequences")
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
    rows = []
    is_published = _is_published(results)
    for size in results["sizes"]:
        if not size["charged"]:
            continue
        charged, uncharged = size["charged"]["per_parameter"], size["uncharged"]["per_parameter"]
        paper = PUBLISHED.get((size["layers"], size["width"])) if is_published else None
        rows.append(
            (
                Cell(size_of(size)),
                Cell(count(size["n_parameters"])),
                Cell(count(size["charged"]["bits"]["value"])),
                Cell(number(charged["value"]), _reach(charged)),
                Cell(number(uncharged["value"]), _reach(uncharged)),
                Cell(number(paper)),
                Cell("yes" if size["charged"]["is_plateau"] else "no, a lower bound"),
            )
        )
    table = Table(
        "Capacity by size",
        (
            "Layers x width",
            "Parameters",
            "Bits",
            "Bits a parameter, first token charged",
            "Uncharged",
            "Paper, float32",
            "Plateau",
        ),
        tuple(rows),
        note="Mean over seeds of the most that any network held, with its interval over seeds. The "
        "paper's range over sizes is 2.86 to 4.23."
        + ("" if is_published else " The setting here is not the paper's, so nothing need agree."),
    )
    return Section(
        "capacity",
        "What networks hold at most",
        paragraphs=(_fit_told(results),),
        tables=(table,),
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
    return (config["vocabulary"], config["length"]) == (2048, 64) and config["positions"] in (
        None,
        64,
    )


def _reach(estimate: Entry) -> str:
    return ratio_interval((estimate["low"], estimate["high"]))


def _text_section(results: Entry, texts: Sequence[Entry]) -> Section:
    return Section(
        "text",
        "Text: memorised and generalised",
        paragraphs=(_descent_told(results),),
        tables=(bits_table(texts), recall_table(texts)),
        notes=(
            f"{count(results['text']['n_duplicates'])} sequences were there already and "
            f"{count(results['text']['n_short'])} documents were too short: both left out.",
        ),
        short="Text",
    )


def _descent_told(results: Entry) -> str:
    told = []
    for size in results["sizes"]:
        if "descent" not in size:
            continue
        found = size["descent"]
        name = size_of(size)
        if found["peak"] is None:
            told.append(f"{name}: the test loss has no peak inside the sizes tried.")
        else:
            told.append(
                f"{name}: the test loss is worst at {count(found['peak'])} sequences, "
                f"{number(found['ratio'])} times the {count(found['expected'])} whose bits are the "
                f"capacity, and {number(found['fall'])} bits a token lower at the most data."
            )
    return " ".join(told)


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
    return Section("learning", "Until they hold no more", figures=(figure,), short="Convergence")


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
