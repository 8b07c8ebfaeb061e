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
                _of_ceiling(one, "charged"),
            ),
            Cell(
                count(one["held"]["uncharged"]),
                _of_ceiling(one, "uncharged"),
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


def _of_ceiling(one: Entry, name: str) -> str:
    held, most = one["held"][name], one["held"]["ceiling"][name]
    return f"{percent(held / most if most > 0 else None)} of {count(most)}"


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
            *_losses(one),
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


def _losses(one: Entry) -> tuple[Cell, Cell]:
    losses = one["losses"]
    best = f"least {number(losses['least_test'], 3)}, step {count(losses['least_test_step'])}"
    return Cell(number(losses["train"], 3)), Cell(number(losses["test"], 3), best)


def reference_table(references: Sequence[Entry]) -> Table:
    """Return how the networks ended that the others are held against."""
    rows = tuple(
        (
            Cell(size_of(one), f"seed {one['run']['seed']}"),
            Cell(count(one["run"]["n_sequences"])),
            *_losses(one),
            *_end(one),
        )
        for one in references
    )
    return Table(
        "References: on other and more text",
        (
            "Layers x width",
            "Sequences",
            "Train loss",
            "Test loss",
            "Ended",
            "Steps",
            "Rise over the last tenth",
        ),
        rows,
        note="A reference that had not converged, or whose train loss is far under its test loss, "
        "knows less of the kind of text than it might: more then counts as memorised.",
    )


def recall_table(texts: Sequence[Entry], *, has_law: bool) -> Table:
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
            Cell(
                number(one["text"]["membership"]["auc"], 3),
                f"by the reference {number(one['text']['reference_auc'], 3)}",
            ),
            Cell(number(one["text"]["membership"]["f1"], 3)),
            Cell(number(one["text"]["law_f1"] if has_law else None, 3)),
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
