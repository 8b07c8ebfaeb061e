"""What the grokking probe found, as words, tables and drawings."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reports.numbers import count, number, percent
from reports.page import Cell, Figure, Section, Table
from reports.probes.drawn import Band, Curve, draw_curves, draw_diagram, draw_heat, draw_spectra
from reports.text import plural

__all__ = ["ProbePage", "grokking_page"]

Entry = dict[str, Any]

MAIN, SWEEP = "main", "sweep"
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
}
"""The setting of the paper's main line."""

TONES = {
    "grokked": "green",
    "learned at once": "blue",
    "memorised": "orange",
    "unfinished": "purple",
    "unfit": "grey",
}
"""How a run ended to its colour; the page always prints the word as well."""

MOST_POINTS = 400
"""Points of a curve in a drawing."""


@dataclass(frozen=True)
class ProbePage:
    """All that both renderings say, and what the slider shows; None without one."""

    kicker: str
    headline: str
    lede: str
    sections: tuple[Section, ...]
    slider: Entry | None = None


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
        detail="of 512",
    ),
    Check("Loss without one key frequency, least", 2.0e-4, _ablated(min), detail="all pairs"),
    Check("Loss without one key frequency, most", 2.4e-2, _ablated(max), detail="all pairs"),
)


def grokking_page(results: Entry) -> ProbePage:
    """Return what a report of the grokking probe says."""
    main = [run for run in results["runs"] if run["group"] == MAIN]
    others = [run for run in results["runs"] if run["group"] not in (MAIN, SWEEP)]
    swept = [run for run in results["runs"] if run["group"] == SWEEP]
    sections = [_curves_section(main, results), _order_section(main), _checks_section(main)]
    sections += [_inside_section(main)]
    sections += [_others_section(others)] if others else []
    sections += [_sweep_section(swept)] if swept else []
    sections += [_runs_section(results["runs"]), _methods_section(results)]
    return ProbePage(
        kicker=f"{results['name']}: grokking",
        headline=results["headline"],
        lede=_lede(main, results),
        sections=tuple(sections),
        slider=_slider(main),
    )


def _lede(main: Sequence[Entry], results: Entry) -> str:
    first = main[0]
    run = first["run"]
    return (
        f"A one-layer transformer of {count(results['n_parameters'])} parameters learns "
        f"{run['operation']} mod {run['p']} from {count(first['n_train'])} of "
        f"{count(first['n_pairs'])} pairs, {plural(len(main), 'seed')}, {count(run['epochs'])} "
        "epochs. From outside, nothing but the losses is to be seen; inside, what it stores and "
        f"what it computes are measured apart. {results['inside']}"
    )


# --- the main line


def _curves_section(main: Sequence[Entry], results: Entry) -> Section:
    bands = _bands(results["phases"])
    four = (
        (
            "loss",
            "Loss",
            {"train": ("loss", "train"), "test": ("loss", "test")},
            "Loss on pairs trained on, and on the others",
            True,
        ),
        (
            "restricted-excluded",
            "Loss",
            {
                "restricted": ("restricted", "all"),
                "excluded": ("excluded", ""),
                "any frequency": ("excluded_any", ""),
            },
            "What it computes (restricted), what it stores (excluded)",
            True,
        ),
        (
            "gini",
            "Gini coefficient",
            {"embedding": ("gini_embedding", ""), "readout": ("gini_readout", "")},
            "How few frequencies carry the embedding and the readout",
            False,
        ),
        (
            "norm",
            "Sum of squares",
            {"weights": ("squared_weights", "")},
            "Sum of squared weights",
            False,
        ),
        (
            "scale",
            "Root mean square",
            {"logits": ("logit_scale", "")},
            "Scale of the logits, centred over the answers",
            False,
        ),
    )
    figures = tuple(
        Figure(
            name,
            caption,
            f"{caption}, over epochs, one line a seed.{_alt(bands)}",
            _panel(main, lines, title, bands, is_log=is_log),
        )
        for name, title, lines, caption, is_log in four
    )
    return Section(
        "curves",
        "Outside and inside, epoch by epoch",
        paragraphs=(_phases_told(results["phases"], bands),),
        figures=figures,
        tables=tuple(_phase_tables(results, main)),
        short="Curves",
    )


def _bands(phases: Entry) -> tuple[Band, ...]:
    if not phases["n_grokked"]:
        return ()
    ends = [phases[name]["mean"] for name in PHASES]
    names = ("memorisation", "circuit formation", "clean-up")
    return tuple(
        Band(name, start, end)
        for name, start, end in zip(names, [0, *ends[:-1]], ends, strict=True)
    )


def _alt(bands: Sequence[Band]) -> str:
    if not bands:
        return " No phases are shaded, as no seed grokked."
    return " Shaded: " + ", ".join(
        f"{band.name} {count(band.start)} to {count(band.end)}" for band in bands[::2]
    )


def _phases_told(phases: Entry, bands: Sequence[Band]) -> str:
    if not bands:
        return "No seed grokked, so there are no phases: none are drawn and none are told."
    return (
        "Shaded are memorisation and clean-up, between them circuit formation: means over "
        f"{phases['n_grokked']} of {plural(phases['n_seeds'], 'seed')}, found by the rule under "
        "Methods. One line is one seed."
    )


def _panel(
    runs: Sequence[Entry],
    lines: dict[str, tuple[str, str]],
    title: str,
    bands: Sequence[Band],
    *,
    is_log: bool,
) -> str:
    palette = ("blue", "vermillion", "green")
    series = dict(zip(lines, palette, strict=False))
    curves = [
        Curve(name, str(run["run"]["seed"]), *_thinned(run, *where))
        for run in runs
        for name, where in lines.items()
    ]
    return draw_curves(curves, y_title=title, series=series, is_log=is_log, bands=bands)


def _thinned(run: Entry, name: str, part: str) -> tuple[list[int], list[float | None]]:
    """Return epochs and values, no more than a drawing can show."""
    step = max(1, len(run["epochs"]) // MOST_POINTS)
    rows = [one[name] for one in run["measures"]][::step]
    return run["epochs"][::step], [one[part] if part else one for one in rows]


def _phase_tables(results: Entry, main: Sequence[Entry]) -> Iterator[Table]:
    phases = results["phases"]
    if not phases["n_grokked"]:
        return
    is_published = _is_published(main)
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
        note="The paper's were read off one run by eye; ours follow the rule under Methods. The "
        f"interval is by t over {plural(phases['n_grokked'], 'seed')}.",
    )


def _order_section(main: Sequence[Entry]) -> Section:
    rows = []
    for run in main:
        order = run["order"]
        if order:
            rows.append(
                (
                    Cell(f"seed {run['run']['seed']}"),
                    Cell(percent(order["test_ratio"], 0)),
                    Cell(percent(order["restricted_ratio"], 2)),
                    Cell(f"{number(order['excluded_ratio'], 1)} times"),
                    Cell(percent(order["weights_ratio"], 0)),
                    Cell(f"{number(order['gini_ratio'], 2)} times"),
                    Cell("yes" if order["holds"] else "no"),
                )
            )
    if not rows:
        return Section(
            "order",
            "What changed first",
            paragraphs=("No seed grokked, so there is no order to tell.",),
            short="Order",
        )
    table = Table(
        "When clean-up began, against the end of memorisation",
        (
            "",
            "Test loss",
            "Restricted loss",
            "Excluded loss",
            "Squared weights",
            "Gini, rise an epoch",
            "Order holds",
        ),
        tuple(rows),
        note="The first four columns say what was left of each, or how often as large it was. The "
        "Gini coefficient's is its rise an epoch in clean-up over that in circuit formation. The "
        "order holds where restricted fell by more than the test loss did, excluded rose, and "
        "Gini rose faster in clean-up than before.",
    )
    return Section("order", "What changed first", tables=(table,), short="Order")


def _is_published(main: Sequence[Entry]) -> bool:
    return all(main[0]["run"][name] == value for name, value in PUBLISHED.items())


def _checks_section(main: Sequence[Entry]) -> Section:
    grokked = [run for run in main if run["phases"]["outcome"] == "grokked"]
    if not grokked:
        return Section(
            "checks",
            "Beside the paper's numbers",
            paragraphs=("No seed grokked: there is no finished circuit to check.",),
            short="Checks",
        )
    rows = tuple(_check_row(check, grokked) for check in CHECKS)
    note = (
        "The paper's value is of one network, ours the median over seeds with the least and the "
        "largest; the last column is ours over the paper's."
    )
    if not _is_published(main):
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
    told = scientific if check.is_small else _plain
    values = [value for run in runs if (value := check.ours(run)) is not None]
    if not values:
        return Cell(check.name, check.detail), Cell(told(check.paper)), Cell("–"), Cell("–")
    middle = statistics.median(values)
    spread = f"{told(min(values))} to {told(max(values))}" if len(values) > 1 else ""
    return (
        Cell(check.name, check.detail),
        Cell(told(check.paper)),
        Cell(told(middle), spread),
        Cell(_plain(middle / check.paper)),
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
    )


def scientific(value: float | None) -> str:
    """Return a small number as `2.41 × 10⁻⁷`, one from 0.01 on in plain digits."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 0.01 <= abs(value) < 10_000:
        return _plain(value)
    digits, _, power = f"{value:.2e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits} × 10{raised}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}" if abs(value) < 1000 else count(value)


# --- inside


def _inside_section(main: Sequence[Entry]) -> Section:
    run = next((one for one in main if one["phases"]["outcome"] == "grokked"), main[0])
    spectra, keys = run["spectra"], run["keys"]
    if spectra["embedding"][0] is None:
        return Section(
            "inside",
            "Before and after",
            paragraphs=(
                "The operation is not that of a cyclic group: there are no coordinates in which "
                "it is a sum, and so no spectra.",
            ),
            short="Inside",
        )
    seed = run["run"]["seed"]
    figures = [
        Figure(
            f"spectrum-{name}-{when}",
            f"{title}, epoch {count(spectra['epochs'][place])}",
            f"Norm of the {name}'s component at every frequency, seed {seed}, epoch "
            f"{spectra['epochs'][place]}",
            draw_spectra(spectra[name][place], keys),
        )
        for name, title in (("embedding", "Embedding"), ("readout", "Readout of the MLP"))
        for when, place in (("before", 0), ("after", -1))
    ]
    figures.append(
        Figure(
            "logits",
            f"Mean logit by a + b and answer, at the end: blue above 0, orange below, up to "
            f"{number(_reach(run['logits_by_sum']), 0)}",
            f"Heat map of the mean logit by a + b, across, and answer, up, seed {seed}: the "
            "diagonal is the right answer, and its echoes are the key frequencies",
            draw_heat(
                list(zip(*run["logits_by_sum"], strict=True)),
                x_title="a + b, in the group's coordinates",
                y_title="Answer",
            ),
        )
    )
    return Section(
        "inside",
        "Before and after",
        paragraphs=(
            f"Seed {seed}: before training every frequency carries as much as any other; after it, "
            f"{len(keys)} do the work ({', '.join(map(str, keys)) or 'none'}).",
        ),
        figures=tuple(figures),
        short="Inside",
    )


def _reach(rows: Sequence[Sequence[float]]) -> float:
    return max(abs(one) for row in rows for one in row)


def _slider(main: Sequence[Entry]) -> Entry | None:
    """Return spectra and losses at some snapshots of every seed, for the page's slider."""
    runs = [
        {
            "name": f"seed {run['run']['seed']}",
            "keys": run["keys"],
            "epochs": run["spectra"]["epochs"],
            "embedding": run["spectra"]["embedding"],
            "readout": run["spectra"]["readout"],
            "losses": [_at_epoch(run, epoch) for epoch in run["spectra"]["epochs"]],
        }
        for run in main
        if run["spectra"]["embedding"][0] is not None
    ]
    return {"runs": runs} if runs else None


def _at_epoch(run: Entry, epoch: int) -> Entry:
    row = run["measures"][run["epochs"].index(epoch)]
    return {
        "train": row["loss"]["train"],
        "test": row["loss"]["test"],
        "restricted": row["restricted"]["all"],
        "excluded": row["excluded"],
    }


# --- beside the main line


def _others_section(runs: Sequence[Entry]) -> Section:
    figures = tuple(
        Figure(
            f"contrast-{group}",
            f"{group}: {_what(members[0])}",
            f"Train and test loss over epochs of {group}, one line a seed",
            _panel(
                members,
                {"train": ("loss", "train"), "test": ("loss", "test")},
                "Loss",
                (),
                is_log=True,
            ),
        )
        for group, members in _by_group(runs).items()
    )
    told = tuple(
        f"`{group}` ({_what(members[0])}): {_ends(members)}"
        for group, members in _by_group(runs).items()
    )
    return Section(
        "contrasts", "Where it should not grok", figures=figures, notes=told, short="Contrasts"
    )


def _what(run: Entry) -> str:
    one = run["run"]
    return (
        f"{one['operation']} mod {one['p']}, {percent(one['train_fraction'], 0)} seen, weight "
        f"decay {one['weight_decay']:g}, {count(one['epochs'])} epochs"
    )


def _ends(runs: Sequence[Entry]) -> str:
    said = []
    for run in runs:
        last = run["measures"][-1]["accuracy"]
        said.append(
            f"seed {run['run']['seed']} {run['phases']['outcome']}, {percent(last['train'])} of "
            f"the pairs trained on and {percent(last['test'])} of the others right at the end"
        )
    return "; ".join(said)


def _by_group(runs: Sequence[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for run in runs:
        groups.setdefault(run["group"], []).append(run)
    return groups


def _sweep_section(runs: Sequence[Entry]) -> Section:
    figures = []
    planes: dict[tuple[str, int], list[Entry]] = {}
    for run in runs:
        planes.setdefault((run["run"]["operation"], run["run"]["p"]), []).append(run)
    for place, ((operation, p), members) in enumerate(planes.items()):
        figures.append(
            Figure(
                f"diagram-{place}",
                f"{operation} mod {p}",
                f"How runs of {operation} mod {p} ended, by share seen and weight decay: "
                + "; ".join(f"{run['name']}: {run['phases']['outcome']}" for run in members),
                draw_diagram(
                    [_tile(one) for one in _middle_seeds(members)],
                    x_title="Share of pairs trained on (%)",
                    y_title="Weight decay",
                    outcomes=TONES,
                ),
            )
        )
    return Section(
        "sweep",
        "Where it groks, and where not",
        paragraphs=(
            "Each tile is a run, coloured by how it ended; the number is the epoch from which on "
            "99 % of the pairs not trained on are right. Of several seeds the middle one is shown.",
        ),
        figures=tuple(figures),
        short="Sweep",
    )


def _middle_seeds(runs: Sequence[Entry]) -> list[Entry]:
    cells: dict[tuple[float, float], list[Entry]] = {}
    for run in runs:
        one = run["run"]
        cells.setdefault((one["train_fraction"], one["weight_decay"]), []).append(run)
    return [
        sorted(each, key=lambda run: run["phases"]["generalised"] or math.inf)[(len(each) - 1) // 2]
        for each in cells.values()
    ]


def _tile(run: Entry) -> Entry:
    return {
        "x": round(100 * run["run"]["train_fraction"], 6),
        "y": run["run"]["weight_decay"],
        "outcome": run["phases"]["outcome"],
        "epoch": run["phases"]["generalised"],
    }


# --- all runs, and how


def _runs_section(runs: Sequence[Entry]) -> Section:
    rows = tuple(
        (
            Cell(run["name"], run["group"]),
            Cell("", badge=run["phases"]["outcome"], tone=TONES[run["phases"]["outcome"]]),
            Cell(_epoch(run["phases"]["fitted"])),
            Cell(_epoch(run["phases"]["generalised"])),
            Cell(scientific(run["measures"][-1]["loss"]["train"])),
            Cell(scientific(run["measures"][-1]["loss"]["test"])),
            Cell(percent(run["measures"][-1]["accuracy"]["test"])),
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
            "Train 99 % from epoch",
            "Test 99 % from epoch",
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


def _methods_section(results: Entry) -> Section:
    made = results["provenance"]
    hardware = made["hardware"]
    seconds = results["timing"]["total_s"]
    return Section(
        "methods",
        "How it is measured",
        terms=(
            (
                "Set-up",
                "One layer, no normalisation, no attention biases, untied; tokens a, b, =; full "
                "batch AdamW, rate rising over the first steps, cross-entropy in float64. Nanda et "
                "al. 2023, arXiv 2301.05217, section 3.",
            ),
            (
                "Restricted",
                "Loss of the logits' mean and their components along cos and sin of w(a + b) at "
                "the key frequencies: what the network computes, alone.",
            ),
            (
                "Excluded",
                "Loss on the pairs trained on of the logits without those components: what it "
                "stores, alone. Any frequency: without every function of a + b, for which no key "
                "frequency need be known. On a table without a rule both stand above the train "
                "loss by what those components hold by chance: within 5 % of it in the logarithm.",
            ),
            (
                "Key frequencies",
                f"Found once on the finished network, by the rule `{results['rule']}`, used for "
                "every snapshot. By norms: at least a fifth of the largest, none where more "
                "than half have that. By neurons: the frequency of any with 85 % of its variance "
                "at one.",
            ),
            (
                "Formula",
                "Logits as a sum of cos(w(a + b - c)), weights by least squares; variance of the "
                "logits centred over the answers.",
            ),
            (
                "Ended",
                "Grokked: 99 % of the pairs trained on were right while under 90 % of the others "
                "were, and later, for good, 99 % of those. Memorised: the former alone.",
            ),
            (
                "Phases",
                "Memorisation ends at the least excluded loss. Clean-up is the fall of the test "
                "loss in its logarithm, from 5 % to 95 % of the way from its highest to its last "
                "value. Only where a run grokked.",
            ),
            (
                "Made by",
                f"`{made['command']}`, commit {(made['commit'] or 'unknown')[:12]}, torch "
                f"{made['versions']['torch']}, {hardware['processor']}, {hardware['threads']} "
                f"threads, {hardware['device']}; {number(seconds / 60, 1)} minutes, less what was "
                "there already.",
            ),
        ),
        short="Methods",
    )
