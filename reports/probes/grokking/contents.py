"""What the grokking probe found, as words and drawings; its tables are `tables`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reports.numbers import count, number, percent
from reports.page import Figure, ProbePage, Section, Slider
from reports.probes.grokking.drawn import (
    Band,
    Curve,
    draw_curves,
    draw_diagram,
    draw_heat,
    draw_spectra,
)
from reports.probes.grokking.room import saturation_section
from reports.probes.grokking.tables import (
    PHASES,
    TONES,
    checks_section,
    methods_section,
    order_section,
    phase_tables,
    runs_section,
    scientific,
)
from reports.text import plural

__all__ = ["grokking_page"]

Entry = dict[str, Any]

MAIN, SWEEP = "main", "sweep"

MOST_POINTS = 400
"""Points of a curve in a drawing."""


def grokking_page(results: Entry) -> ProbePage:
    """Return what a report of the grokking probe says."""
    main = [run for run in results["runs"] if run["group"] == MAIN]
    others = [run for run in results["runs"] if run["group"] not in (MAIN, SWEEP)]
    swept = [run for run in results["runs"] if run["group"] == SWEEP]
    sections = [_curves_section(main, results), order_section(main), checks_section(main, results)]
    sections += [_inside_section(main)]
    sections += [_others_section(others)] if others else []
    sections += [_sweep_section(swept)] if swept else []
    sections += [saturation_section(results)] if results.get("saturation") else []
    sections += [runs_section(results["runs"]), methods_section(results)]
    return ProbePage(
        kicker=f"{results['name']}: grokking",
        headline=results["headline"],
        lede=_lede(main, results),
        first=_first_figures(main, results),
        first_note=_phases_told(results["phases"]),
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
        f"epochs. {results['inside']}"
    )


def _first_figures(main: Sequence[Entry], results: Entry) -> tuple[Figure, ...]:
    outside = {"train": ("loss", "train"), "test": ("loss", "test")}
    inside = {
        "restricted": ("restricted", "all"),
        "excluded": ("excluded", ""),
        "any frequency": ("excluded_any", ""),
    }
    return (
        _figure(main, results, "loss", "Outside: the loss", "Loss", outside, is_log=True),
        _figure(
            main,
            results,
            "restricted-excluded",
            "Inside: only (restricted) and without (excluded) the sum directions",
            "Loss",
            inside,
            is_log=True,
        ),
    )


def _curves_section(main: Sequence[Entry], results: Entry) -> Section:
    gini = {"embedding": ("gini_embedding", ""), "readout": ("gini_readout", "")}
    panels = (
        ("gini", "How few frequencies carry embedding and readout", "Gini coefficient", gini),
        ("norm", "Sum of squared weights", "Sum of squares", {"weights": ("squared_weights", "")}),
        (
            "scale",
            "Scale of the logits, centred over the answers",
            "Root mean square",
            {"logits": ("logit_scale", "")},
        ),
    )
    return Section(
        "curves",
        "The phases",
        figures=tuple(_figure(main, results, *panel, is_log=False) for panel in panels),
        tables=tuple(phase_tables(results, main)),
        short="Phases",
    )


def _figure(
    runs: Sequence[Entry],
    results: Entry,
    name: str,
    caption: str,
    title: str,
    lines: dict[str, tuple[str, str]],
    *,
    is_log: bool,
) -> Figure:
    bands = _bands(results["phases"])
    return Figure(
        name,
        caption,
        f"{caption}, over epochs, one line a seed: {', '.join(lines)}.{_alt(bands)}",
        _panel(runs, lines, title, bands, is_log=is_log),
    )


def _bands(phases: Entry) -> tuple[Band, ...]:
    if not phases["n_told"]:
        return ()
    ends = [phases[name]["mean"] for name in PHASES]
    names = ("memorisation", "circuit formation", "clean-up")
    return tuple(
        Band(name, start, end)
        for name, start, end in zip(names, [0, *ends[:-1]], ends, strict=True)
    )


def _alt(bands: Sequence[Band]) -> str:
    if not bands:
        return " No phases are shaded."
    return " Shaded: " + ", ".join(
        f"{band.name} {count(band.start)} to {count(band.end)}" for band in bands[::2]
    )


def _phases_told(phases: Entry) -> str:
    if not phases["n_told"]:
        return "There are no phases to tell, and none are drawn."
    return (
        "Shaded are memorisation and clean-up, between them circuit formation: means over "
        f"{phases['n_told']} of {plural(phases['n_seeds'], 'seed')}, found by the rule under "
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
            f"Heat map of the mean logit by a + b, across, and answer, up, seed {seed}; right "
            "answers are the diagonal",
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
        paragraphs=(_spectra_told(run),),
        figures=tuple(figures),
        short="Inside",
    )


def _spectra_told(run: Entry) -> str:
    seed, keys = run["run"]["seed"], run["keys"]
    if not keys or run["keys_are_lent"]:
        return f"Seed {seed}: no frequency stands out at the end, as none did before training."
    return (
        f"Seed {seed}: before training all frequencies carry about as much; after it, "
        f"{len(keys)} stand out ({', '.join(map(str, keys))})."
    )


def _reach(rows: Sequence[Sequence[float]]) -> float:
    return max(abs(one) for row in rows for one in row)


def _slider(main: Sequence[Entry]) -> Slider | None:
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
    return Slider("spectra.js", {"runs": runs}) if runs else None


def _at_epoch(run: Entry, epoch: int) -> Entry:
    row = run["measures"][run["epochs"].index(epoch)]
    return {
        "train": row["loss"]["train"],
        "test": row["loss"]["test"],
        "restricted": row["restricted"]["all"],
        "excluded": row["excluded"],
    }


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
        f"{group} ({_what(members[0])}): {_ends(members)}"
        for group, members in _by_group(runs).items()
    )
    return Section(
        "contrasts", "Beside the main line", figures=figures, notes=told, short="Contrasts"
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
        last = run["measures"][-1]
        said.append(
            f"seed {run['run']['seed']} {run['phases']['outcome']}, "
            f"{percent(last['accuracy']['train'])} of the rows trained on right at the end, "
            f"{percent(last['accuracy']['test'])} of the others and "
            f"{percent(last['fresh_accuracy'])} of the fresh ones{_lent_told(run)}"
        )
    return "; ".join(said)


def _lent_told(run: Entry) -> str:
    if not run["keys_are_lent"]:
        return ""
    last = run["measures"][-1]
    return (
        "; at the main line's key frequencies its restricted loss on rows not trained on is "
        f"{scientific(last['restricted']['test'])} (a table that only stores: "
        f"{scientific(run['look_up'])}), its excluded loss {scientific(last['excluded'])} beside a "
        f"train loss of {scientific(last['loss']['train'])}"
    )


def _by_group(runs: Sequence[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for run in runs:
        groups.setdefault(run["group"], []).append(run)
    return groups


def _sweep_section(runs: Sequence[Entry]) -> Section:
    return Section(
        "sweep",
        "Where it groks, and where not",
        paragraphs=(
            "Each tile is a run, coloured by how it ended; the number is the epoch at which the "
            "fresh rows were first right. Of several seeds the middle one is shown.",
        ),
        figures=tuple(
            _diagram(place, name, members, upright)
            for place, (name, members, upright) in enumerate(_planes(runs))
        ),
        short="Sweep",
    )


def _planes(runs: Sequence[Entry]) -> list[tuple[str, list[Entry], str]]:
    """Return runs by what differs neither across nor upright: widths go up where they differ."""
    has_widths = len({one["run"].get("width") for one in runs}) > 1
    upright, other = ("width", "weight_decay") if has_widths else ("weight_decay", "width")
    planes: dict[tuple[str, int, float], list[Entry]] = {}
    for one in runs:
        run = one["run"]
        planes.setdefault((run["operation"], run["p"], run.get(other)), []).append(one)
    return [(f"{key[0]} mod {key[1]}", members, upright) for key, members in planes.items()]


def _diagram(place: int, name: str, members: Sequence[Entry], upright: str) -> Figure:
    title = upright.replace("_", " ")
    return Figure(
        f"diagram-{place}",
        name,
        f"How runs of {name} ended, by share seen and {title}: "
        + "; ".join(f"{run['name']}: {run['phases']['outcome']}" for run in members),
        draw_diagram(
            [_tile(one, upright) for one in _middle_seeds(members, upright)],
            x_title="Share of pairs trained on (%)",
            y_title=title.capitalize(),
            outcomes=TONES,
        ),
    )


def _middle_seeds(runs: Sequence[Entry], upright: str) -> list[Entry]:
    cells: dict[tuple[float, float], list[Entry]] = {}
    for run in runs:
        one = run["run"]
        cells.setdefault((one["train_fraction"], one[upright]), []).append(run)
    return [
        sorted(each, key=lambda run: run["phases"]["generalised"] or math.inf)[(len(each) - 1) // 2]
        for each in cells.values()
    ]


def _tile(run: Entry, upright: str) -> Entry:
    return {
        "x": round(100 * run["run"]["train_fraction"], 6),
        "y": run["run"][upright],
        "outcome": run["phases"]["outcome"],
        "epoch": run["phases"]["generalised"],
    }
