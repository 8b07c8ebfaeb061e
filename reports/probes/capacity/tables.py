"""The tables of the capacity probe's report: every network, its bits, what it says by heart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.numbers import count, number, percent
from reports.page import Cell, Table

__all__ = ["bits_table", "recall_table", "size_of", "uniform_table"]

Entry = dict[str, Any]

TONES = {"converged": "green", "not converged": "orange", "diverged": "vermillion"}


def size_of(one: Entry) -> str:
    """Return the size of a network, or of a row of sizes."""
    run = one.get("run", one)
    return f"{run['layers']} x {run['width']}"


def uniform_table(uniform: Sequence[Entry]) -> Table:
    """Return what every network holds of uniform tokens, and how it ended."""
    rows = tuple(
        (
            Cell(size_of(one), f"seed {one['run']['seed']}"),
            Cell(count(one["run"]["n_sequences"]), f"of {one['run']['length']} tokens"),
            Cell(count(one["held"]["data_bits"])),
            Cell(
                count(one["held"]["charged"]),
                f"{percent(one['held']['charged'] / one['held']['ceiling']['charged'])} of "
                f"{count(one['held']['ceiling']['charged'])}",
            ),
            Cell(
                count(one["held"]["uncharged"]),
                f"{percent(one['held']['uncharged'] / one['held']['ceiling']['uncharged'])} of "
                f"{count(one['held']['ceiling']['uncharged'])}",
            ),
            Cell(number(one["held"]["charged"] / one["n_parameters"])),
            *_end(one),
        )
        for one in uniform
    )
    return Table(
        "Every network on uniform tokens",
        (
            "Layers x width",
            "Sequences",
            "Bits of data",
            "Held, first token charged",
            "Uncharged",
            "Bits a parameter",
            "Ended",
            "Steps",
            "Rise over the last tenth",
        ),
        rows,
        note="Below the bits held: their share of the ceiling, which is the most that can be.",
    )


def _end(one: Entry) -> tuple[Cell, Cell, Cell]:
    steps, bits = one["checks"]["step"], one["checks"]["bits"]
    before = next(b for s, b in zip(steps, bits, strict=True) if s >= 0.9 * steps[-1])
    gained = bits[0] - bits[-1]
    rise = (before - bits[-1]) / gained if gained > 0 else None
    return (
        Cell("", badge=one["standing"], tone=TONES[one["standing"]]),
        Cell(count(steps[-1])),
        Cell(percent(rise, 2)),
    )


def bits_table(texts: Sequence[Entry]) -> Table:
    """Return the bits of text: memorised, generalised, losses."""
    rows = tuple(
        (
            Cell(size_of(one), f"seed {one['run']['seed']}"),
            Cell(count(one["run"]["n_sequences"])),
            Cell(count(one["text"]["data_bits"])),
            Cell(
                count(one["text"]["untruncated"]), f"{count(one['text']['unintended'])} truncated"
            ),
            Cell(count(one["text"]["generalized"])),
            Cell(number(one["text"]["train_loss"], 3)),
            Cell(number(one["text"]["test_loss"], 3)),
            Cell(number(one["text"]["reference_loss"], 3)),
            *_end(one)[:2],
        )
        for one in texts
    )
    return Table(
        "Bits of text",
        (
            "Layers x width",
            "Sequences",
            "Bits under the reference",
            "Memorised",
            "Generalised",
            "Train loss",
            "Test loss",
            "Reference's test loss",
            "Ended",
            "Steps",
        ),
        rows,
        note="Losses in bits a token. Memorised is the sum over sequences; below it the sum that "
        "counts no sequence below 0.",
    )


def recall_table(texts: Sequence[Entry]) -> Table:
    """Return what is said by heart, and how well members are told from others."""
    prefixes = list(texts[0]["text"]["extracted"])
    rows = tuple(
        (
            Cell(size_of(one), f"seed {one['run']['seed']}"),
            Cell(count(one["run"]["n_sequences"])),
            *(
                Cell(
                    percent(one["text"]["extracted"][given]),
                    f"others {percent(one['text']['completed'][given])}",
                )
                for given in prefixes
            ),
            Cell(number(one["text"]["membership"]["auc"], 3)),
            Cell(number(one["text"]["membership"]["f1"], 3)),
            Cell(number(one["text"]["law_f1"], 3)),
        )
        for one in texts
    )
    return Table(
        "Said by heart, and told from others",
        (
            "Layers x width",
            "Sequences",
            *(f"Completed after {given} tokens" for given in prefixes),
            "Membership AUC",
            "F1",
            "F1 by the law",
        ),
        rows,
        note="Completed: greedy decoding gives the whole rest. Of others, which were not trained "
        "on, it can only be guessed.",
    )
