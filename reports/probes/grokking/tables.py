"""The tables of the grokking probe's report: phases, order, checks against the paper, every run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reports.numbers import count, number, percent
from reports.page import Cell, Section, Table
from reports.probes.made import made_by
from reports.text import plural

__all__ = [
    "PHASES",
    "TONES",
    "checks_section",
    "methods_section",
    "order_section",
    "phase_tables",
    "plain_number",
    "runs_section",
    "scientific",
]

Entry = dict[str, Any]

PHASES = {
    "memorised": ("End of memorisation", 1_400),
    "formed": ("Clean-up begins", 9_400),
    "cleaned": ("Clean-up ends", 14_000),
}
"""Phase to its name, and the epoch that the paper gives, read off one run."""

PUBLISHED = {
    "operation": "a+b",
    "p": 113,
    "train_fraction": 0.3,
    "weight_decay": 1.0,
    "epochs": 40_000,
    "learning_rate": 1e-3,
    "beta1": 0.9,
    "beta2": 0.98,
    "warmup": 10,
    "width": 128,
    "heads": 4,
    "neurons": 512,
    "init_scale": 1.0,
}
"""The setting of the paper's main line."""

TONES = {
    "grokked": "green",
    "learned at once": "blue",
    "memorised": "orange",
    "unfinished": "purple",
    "unfit": "grey",
    "diverged": "vermillion",
}
"""How a run ended to its colour; the page always prints the word as well."""


@dataclass(frozen=True)
class Check:
    """A number of the paper, and where ours stands."""

    name: str
    paper: float
    ours: Callable[[Entry], float | None]
    is_small: bool = True
    detail: str = ""


def _final(name: str, part: str = "") -> Callable[[Entry], float | None]:
    def read(run: Entry) -> float | None:
        found = run["measures"][-1][name]
        value: float | None = found[part] if part else found
        return value

    return read


def _ablated(choose: Callable[[Sequence[float]], float]) -> Callable[[Entry], float | None]:
    def read(run: Entry) -> float | None:
        each = [one for one in run["measures"][-1]["ablated_each"] if one is not None]
        return choose(each) if each else None

    return read


CHECKS = (
    Check("Loss", 2.412e-7, _final("loss", "all"), detail="all pairs, at the end"),
    Check(
        "Loss, only the sum directions kept",
        5.54e-8,
        _final("restricted", "all"),
        detail="restricted loss, ten directions for five frequencies",
    ),
    Check("Loss of the trigonometric formula", 4.7e-8, _final("fit_loss")),
    Check("Variance that the formula explains", 0.95, _final("fit"), is_small=False),
    Check(
        "Loss, MLP projected on its readout's directions",
        1.19e-7,
        _final("in_directions"),
        detail="two a key frequency: rank 10 for five",
    ),
    Check("Loss, MLP off those directions", 5.27, _final("off_directions"), is_small=False),
    Check(
        "Neurons with over 85 % of their variance at one frequency",
        433,
        _final("single_neurons"),
        is_small=False,
        detail="the paper's of 512",
    ),
    Check("Loss without one key frequency, least", 2.0e-4, _ablated(min), detail="all pairs"),
    Check("Loss without one key frequency, most", 2.4e-2, _ablated(max), detail="all pairs"),
)


METHODS = (
    (
        "Set-up",
        "One layer, no normalisation, no attention biases, untied; tokens a, b, =; full "
        "batch AdamW, rate rising over the first steps, cross-entropy in float64. Nanda et "
        "al. 2023, arXiv 2301.05217, section 3.",
    ),
    (
        "Restricted",
        "Loss of the logits' mean and their components along cos and sin of w(a + b) at "
        "the key frequencies, the sum directions: what the network computes along them. A "
        "look-up table has such components by chance; its own stands under Order.",
    ),
    (
        "Excluded",
        "Loss on the rows trained on of the logits without those components. Any "
        "frequency: without every function of a + b, for which no key frequency need be "
        "known; that takes something from a look-up table too.",
    ),
    (
        "Key frequencies",
        "Found once on the finished network, by the rule named below, used for "
        "every snapshot. By norms: at least a fifth of the largest, none where more "
        "than half have that. By neurons: the frequency of any with 85 % of its variance "
        "at one. A network without any is measured at those of the main line's, same seed.",
    ),
    (
        "Formula",
        "Logits as a sum of cos(w(a + b - c)), weights by least squares; variance of the "
        "logits centred over the answers.",
    ),
    (
        "Fresh",
        "Rows not trained on, nor their mirror where the operation commutes: who has "
        "stored a + b can answer b + a. Test rows are all that were not trained on, as in "
        "the paper.",
    ),
    (
        "Ended",
        "Right is 99 %. Grokked: when the rows trained on were first right, under 90 % of "
        "the fresh ones were, and at the end these are right too. Memorised: under 90 % of "
        "the fresh ones ever were. Learned at once: 90 % were as soon as the others. Else "
        "unfinished; unfit where not even the rows trained on are right at the end; "
        "diverged where the loss was no finite number any more. The end is the median of "
        "the last tenth of the snapshots.",
    ),
    (
        "Phases",
        "Memorisation ends at the least excluded loss. Clean-up is the fall of the test "
        "loss in its logarithm, from 5 % to 95 % of the way from its highest to its last "
        "value. Circuit formation lies between. Only where a run grokked.",
    ),
)
"""What the words of the report mean."""


def phase_tables(results: Entry, main: Sequence[Entry]) -> Iterator[Table]:
    """Yield the table of the phases over seeds; none where there are none to tell."""
    phases = results["phases"]
    if not phases["n_told"]:
        return
    is_published = _is_published(results)
    rows = []
    for name, (title, paper) in PHASES.items():
        one = phases[name]
        by_seed = ", ".join(
            count(run["phases"][name]) for run in main if run["phases"][name] is not None
        )
        interval = "" if one["low"] is None else f"[{count(one['low'])}, {count(one['high'])}]"
        rows.append(
            (
                Cell(title),
                Cell(f"{count(one['mean'])} {interval}".strip()),
                Cell(by_seed),
                Cell(count(paper) if is_published else "–"),
            )
        )
    yield Table(
        "Phases, in epochs",
        ("End of", "Mean over seeds, 95 % interval", "By seed", "Paper, one seed"),
        tuple(rows),
        note="The paper's were read off one run by eye; ours follow the rule under Methods."
        + _interval_told(phases["n_told"], main),
    )


def _interval_told(n: int, main: Sequence[Entry]) -> str:
    if n < 2:
        return ""
    step = main[0]["epochs"][1] - main[0]["epochs"][0]
    return (
        f" The interval is by t over the {n} seeds that have phases; snapshots are "
        f"{plural(step, 'epoch')} apart, which it does not hold."
    )


def order_section(main: Sequence[Entry]) -> Section:
    """Return what came first, seed by seed, and how low a look-up table's restricted loss gets."""
    told = [run for run in main if run["order"]]
    if not told:
        return Section(
            "order",
            "What came first",
            paragraphs=(
                "No network grokked with its inside defined, so there is no order to tell.",
            ),
            short="Order",
        )
    return Section(
        "order",
        "What came first",
        tables=(_passage_table(told), _change_table(told)),
        notes=tuple(_look_up_told(run) for run in told),
        short="Order",
    )


def _passage_table(runs: Sequence[Entry]) -> Table:
    return Table(
        "Epochs at which a loss had done 5, 50 and 95 % of its fall, in its logarithm",
        ("", "Restricted loss", "Test loss", "Restricted leads"),
        tuple(
            (
                _seed(run),
                Cell(_passage(run["order"]["restricted"])),
                Cell(_passage(run["order"]["test"])),
                Cell(_yes(run["order"]["restricted_leads"])),
            )
            for run in runs
        ),
        note="Both on the rows not trained on. It leads where it had begun, and was half-way, "
        "before the test loss.",
    )


def _change_table(runs: Sequence[Entry]) -> Table:
    return Table(
        "When clean-up began",
        (
            "",
            "Excluded loss",
            "Squared weights",
            "Gini, rise per 1,000 epochs before",
            "In clean-up",
            "Excluded rose",
            "Gini jumped",
        ),
        tuple(
            (
                _seed(run),
                Cell(f"{plain_number(run['order']['excluded_ratio'])} times"),
                Cell(f"{plain_number(run['order']['weights_ratio'])} times"),
                Cell(number(run["order"]["gini_early"], 3)),
                Cell(number(run["order"]["gini_late"], 3)),
                Cell(_yes(run["order"]["excluded_rose"])),
                Cell(_yes(run["order"]["gini_jumped"])),
            )
            for run in runs
        ),
        note="Times what they were when the rows trained on were first right. By the rule, 5 % of "
        "the test loss's fall is done when clean-up begins.",
    )


def _seed(run: Entry) -> Cell:
    return Cell(f"seed {run['run']['seed']}")


def _passage(passage: Entry) -> str:
    return ", ".join(count(passage[name]) for name in ("begun", "half", "done"))


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _look_up_told(run: Entry) -> str:
    at = run["epochs"].index(run["phases"]["formed"])
    here = run["measures"][at]["restricted"]["test"]
    return (
        f"Seed {run['run']['seed']}: restricted loss on rows not trained on was "
        f"{scientific(here)} when clean-up began. A table that only stores the same rows, and "
        f"computes nothing, gets to {scientific(run['look_up'])} along the same directions at the "
        "best of five margins: what is not clearly below that need not be a computation."
    )


def _is_published(results: Entry) -> bool:
    """Return whether the main line has the paper's setting, in all that decides it."""
    config = results["provenance"]["config"]
    given = config | config["network"] | config["train"]
    return all(given[name] == value for name, value in PUBLISHED.items())


def checks_section(main: Sequence[Entry], results: Entry) -> Section:
    """Return the paper's numbers beside ours, and the key frequencies."""
    grokked = [run for run in main if run["phases"]["outcome"] == "grokked"]
    if not grokked:
        return Section(
            "checks",
            "Beside the paper's numbers",
            paragraphs=("No network grokked: there is no finished circuit to check.",),
            short="Checks",
        )
    rows = tuple(_check_row(check, grokked) for check in CHECKS)
    note = (
        "The paper's value is of one network, ours the median over seeds with the least and the "
        "largest; the last column is ours over the paper's."
    )
    if not _is_published(results):
        note += " The setting here is another than the paper's, so nothing need agree."
    table = Table(
        "At the last snapshot",
        ("", "Paper", f"Ours, {plural(len(grokked), 'seed')}", "Ratio"),
        rows,
        note=note,
    )
    return Section(
        "checks",
        "Beside the paper's numbers",
        tables=(table, _frequency_table(main)),
        short="Checks",
    )


def _check_row(check: Check, runs: Sequence[Entry]) -> tuple[Cell, ...]:
    told = scientific if check.is_small else plain_number
    values = [value for run in runs if (value := check.ours(run)) is not None]
    if not values:
        return Cell(check.name, check.detail), Cell(told(check.paper)), Cell("–"), Cell("–")
    middle = statistics.median(values)
    spread = f"{told(min(values))} to {told(max(values))}" if len(values) > 1 else ""
    return (
        Cell(check.name, check.detail),
        Cell(told(check.paper)),
        Cell(told(middle), spread),
        Cell(plain_number(middle / check.paper)),
    )


def _frequency_table(main: Sequence[Entry]) -> Table:
    rows = tuple(
        (
            Cell(f"seed {run['run']['seed']}"),
            *(
                Cell(", ".join(map(str, run["frequencies"][rule])) or "none")
                for rule in ("embedding", "readout", "neurons")
            ),
        )
        for run in main
    )
    return Table(
        "Key frequencies by each of the three published rules",
        ("", "Embedding's norms", "Readout's norms", "Neurons' clusters"),
        rows,
        note="What is looked at is the paper's; where a norm is large enough is ours: a fifth of "
        "the largest.",
    )


def scientific(value: float | None) -> str:
    """Return a small number as `2.41 × 10⁻⁷`, one from 0.01 on in plain digits."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 0.01 <= abs(value) < 10_000:
        return plain_number(value)
    digits, _, power = f"{value:.2e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits} × 10{raised}"


def plain_number(value: float | None) -> str:
    """Return three significant digits, or a whole number from 1,000 on."""
    return "–" if value is None else f"{value:,.3g}" if abs(value) < 1000 else count(value)


def runs_section(runs: Sequence[Entry]) -> Section:
    """Return how every run ended."""
    rows = tuple(
        (
            Cell(run["name"], run["group"]),
            Cell("", badge=run["phases"]["outcome"], tone=TONES[run["phases"]["outcome"]]),
            Cell(_epoch(run["phases"]["fitted"])),
            Cell(_epoch(run["phases"]["generalised"])),
            Cell(scientific(run["measures"][-1]["loss"]["train"])),
            Cell(scientific(run["measures"][-1]["loss"]["test"])),
            Cell(
                percent(run["measures"][-1]["accuracy"]["test"]),
                f"fresh {percent(run['measures'][-1]['fresh_accuracy'])}",
            ),
            Cell(count(run["measures"][-1]["squared_weights"])),
            Cell(number(run["measures"][-1]["logit_scale"], 1)),
        )
        for run in runs
    )
    table = Table(
        "Every run",
        (
            "Run",
            "Ended",
            "Trained on right from epoch",
            "Fresh right from epoch",
            "Train loss",
            "Test loss",
            "Test right",
            "Squared weights",
            "Logit scale",
        ),
        rows,
    )
    return Section("runs", "Every run", tables=(table,), short="Runs")


def _epoch(value: int | None) -> str:
    return "never" if value is None else count(value)


def methods_section(results: Entry) -> Section:
    """Return how everything is measured, and what made it."""
    rule = ("Rule", f"Key frequencies are those of the rule `{results['rule']}`.")
    return Section(
        "methods",
        "How it is measured",
        terms=(*METHODS, rule, ("Made by", made_by(results))),
        short="Methods",
    )
