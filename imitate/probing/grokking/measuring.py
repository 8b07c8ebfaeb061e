"""One trained network -> what was measured at each of its snapshots, as one finished cell."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.probes.grokking.fourier import FrequencyRule
from evals.probes.grokking.measures import (
    Measures,
    Split,
    find_frequencies,
    logits_by_sum,
    look_up,
    measure_weights,
    spectra,
)
from evals.probes.grokking.phases import Order, Outcome, Phases, check_order, find_phases
from imitate.jsonio import plain
from imitate.probing.grokking.plan import GrokkingRun
from imitate.probing.grokking.training import diverged_at, saved_epochs, saved_weights
from imitate.store import Store, fingerprint, library_versions, source_hash

__all__ = ["MEASURED", "measure_run"]

STAGE = "grokking-measure"
MEASURED = "measured.json"

_MODULES = (
    "evals.probes.grokking",
    "imitate.probing.grokking.measuring",
    "imitate.probing.grokking.plan",
    "imitate.probing.grokking.training",
)
_PICTURES = 40
"""Snapshots of which the spectra are kept, for pictures."""

Report = Callable[[int, int | None, str], None]


def measure_run(
    run: GrokkingRun,
    key: str,
    folder: Path,
    rule: FrequencyRule,
    store: Store,
    report: Report,
    *,
    lent: Sequence[int] = (),
) -> dict[str, Any]:
    """Return what was measured, as plain values; NaN is None.

    Args:
        run: What was trained.
        key: Fingerprint of the trained network.
        folder: Its snapshots.
        rule: Which rule names the key frequencies.
        lent: Key frequencies of another network, for one that has none of its own.
        store: Where it is kept.
        report: Progress, by snapshot.
    """
    own_key = fingerprint(
        {
            "trained": key,
            "rule": rule.value,
            "lent": list(lent),
            "source": source_hash(_MODULES),
            "libraries": library_versions(("torch", "numpy", "scipy")),
        }
    )

    def write(out: Path, work: Path) -> None:
        told = _measure(run, folder, rule, lent, work / "rows.jsonl", report)
        text = json.dumps(told, indent=1, allow_nan=False)
        (out / MEASURED).write_text(text + "\n", encoding="utf-8")

    cell, _ = store.compute(STAGE, own_key, write, {"run": run.name})
    told: dict[str, Any] = json.loads((cell.folder / MEASURED).read_text(encoding="utf-8"))
    return told


def _measure(
    run: GrokkingRun,
    folder: Path,
    rule: FrequencyRule,
    lent: Sequence[int],
    kept: Path,
    report: Report,
) -> dict[str, Any]:
    table, epochs = run.table(), saved_epochs(folder)
    final = saved_weights(folder, epochs[-1])
    frequencies = find_frequencies(final, table)
    own = frequencies.by(rule)
    keys = own or tuple(lent)
    rows = _kept_rows(kept)
    report(len(rows), len(epochs), "measured")
    with kept.open("a", encoding="utf-8") as file:
        for epoch in epochs[len(rows) :]:
            found = measure_weights(saved_weights(folder, epoch), table, keys)
            rows.append(dataclasses.asdict(found))
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
            report(1, len(epochs), "measured")
    measured = [_as_measures(row) for row in rows]
    phases, diverged = find_phases(epochs, measured), diverged_at(folder)
    if diverged is not None:
        phases = Phases(Outcome.DIVERGED)
    order = check_order(epochs, measured, phases)
    pictured = _spread_over(epochs, _PICTURES)
    told = {
        "run": dataclasses.asdict(run),
        "n_pairs": len(table.pairs),
        "n_train": int(table.is_train.sum()),
        "n_parameters": sum(tensor.numel() for tensor in final.values()),
        "frequencies": dataclasses.asdict(frequencies),
        "keys": list(keys),
        "keys_are_lent": bool(keys) and not own,
        "look_up": look_up(table, keys),
        "diverged": diverged,
        "phases": dataclasses.asdict(phases),
        "order": order and dataclasses.asdict(order) | _held(order),
        "epochs": epochs,
        "measures": rows,
        "spectra": {
            "epochs": pictured,
            **_stacked(
                [dataclasses.asdict(spectra(saved_weights(folder, e), table)) for e in pictured]
            ),
        },
        "logits_by_sum": _rounded(logits_by_sum(final, table)),
    }
    plained: dict[str, Any] = plain(told)
    return plained


def _held(order: Order) -> dict[str, bool]:
    """Return which of the paper's statements about the order hold."""
    return {
        "restricted_leads": order.restricted_leads,
        "excluded_rose": order.excluded_rose,
        "gini_jumped": order.gini_jumped,
    }


def _kept_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows that an interrupted measurement left; a torn last line is none."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    path.write_text("".join(whole), encoding="utf-8")
    return [json.loads(line) for line in whole]


def _as_measures(row: dict[str, Any]) -> Measures:
    splits = {name: Split(**value) for name, value in row.items() if isinstance(value, dict)}
    return Measures(**(row | splits))


def _spread_over(epochs: Sequence[int], most: int) -> list[int]:
    places = np.unique(np.linspace(0, len(epochs) - 1, min(most, len(epochs))).round().astype(int))
    return [epochs[place] for place in places]


def _stacked(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [_rounded(row[name]) for row in rows] for name in rows[0]}


def _rounded(values: Any) -> Any:
    """Return an array as lists of six significant digits: for pictures."""
    if values is None:
        return None
    return [
        _rounded(one) if getattr(one, "ndim", 0) else float(f"{one:.6g}")
        for one in np.asarray(values)
    ]
