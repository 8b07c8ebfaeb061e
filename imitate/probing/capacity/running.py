"""The capacity probe: a checked job -> networks trained until they hold no more, as results.

What is finished is not made again, and a kill costs no more than the steps since the last check.
Results hold no clock and no path of a run, but under `timing`.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.memorization.law import BITS_PER_PARAMETER
from evals.probes.capacity.curve import Point, find_capacity, fit_capacities
from evals.probes.capacity.descent import expected_peak, find_descent
from evals.probes.capacity.training import Standing
from imitate.config import CapacityJob
from imitate.models import ModelRef
from imitate.probing.capacity.measuring import code_reference, measure_run
from imitate.probing.capacity.plan import CapacityPlan, Kind, share_programs
from imitate.probing.capacity.references import TextBits, ask_oracle, find_oracle
from imitate.probing.capacity.texts import TextData, read_text
from imitate.probing.capacity.training import STAGE, run_key, train_part
from imitate.probing.jsonable import plain
from imitate.probing.members import find_members
from imitate.progress import Bars
from imitate.store import Store

__all__ = ["run_capacity"]

SCHEMA_VERSION = 1
"""Of the probe's `results.json`; `reports.probes.page` reads this one."""

Entry = dict[str, Any]


def run_capacity(job: CapacityJob, plan: CapacityPlan, store: Store, bars: Bars) -> Entry:
    """Return what networks hold: each by itself, and capacities by size.

    Raises:
        UserError: The text or the oracle does not fit the job.
    """
    oracle, text = find_oracle(job), read_text(job)
    trained = _train_all(job, plan, text, store, bars)
    references = _references(job, plan, oracle, text, trained, store)
    measured = []
    for run in plan.runs:
        key = run_key(job, run, text)
        reference = references.get((run.layers, run.width)) if run.kind is Kind.TEXT else None
        measured.append(measure_run(job, run, key, trained[key], text, reference, store))
        bars.advance(1)
    sizes = [
        {"layers": layers, "width": width, "n_parameters": n, **_size(job, layers, width, measured)}
        for (layers, width), n in sorted(plan.n_parameters.items())
    ]
    found: Entry = plain(
        {
            "probe": "capacity",
            "schema_version": SCHEMA_VERSION,
            "name": job.name,
            "bits_per_parameter": BITS_PER_PARAMETER,
            "headline": _headline(sizes, measured),
            "sizes": sizes,
            "fit": _fit(sizes),
            "text": text and {"n_short": text.n_short, "n_duplicates": text.n_duplicates},
            "runs": measured,
        }
    )
    return found


def _train_all(
    job: CapacityJob, plan: CapacityPlan, text: TextData | None, store: Store, bars: Bars
) -> dict[str, Path]:
    trained = find_members(store, STAGE)
    missing = [run for run in plan.runs if run_key(job, run, text) not in trained]
    for part in share_programs(missing, job.train.side_by_side):
        named = part[0].name if len(part) == 1 else f"{len(part)} networks, {part[0].name} ..."
        with bars.cell(named) as report:
            trained |= train_part(job, part, text, store, report)
        bars.advance(len(part))
    bars.advance(len(plan.runs) - len(missing))
    return trained


def _references(
    job: CapacityJob,
    plan: CapacityPlan,
    oracle: ModelRef | None,
    text: TextData | None,
    trained: Mapping[str, Path],
    store: Store,
) -> dict[tuple[int, int], tuple[str, TextBits]]:
    """Return what the text takes under the reference of every size, and what names it."""
    if text is None:
        return {}
    if oracle:
        told = (oracle.identity, ask_oracle(oracle, text, store))
        return {(size.layers, size.width): told for size in job.sizes}
    found = {}
    for run in plan.runs:
        if run.kind is Kind.REFERENCE:
            key = run_key(job, run, text)
            found[run.layers, run.width] = (key, code_reference(job, run, trained[key], text))
    return found


def _size(job: CapacityJob, layers: int, width: int, measured: Sequence[Entry]) -> Entry:
    """Return what networks of one size hold at most, and what becomes of text beyond it."""
    own = [
        one
        for one in measured
        if (one["run"]["layers"], one["run"]["width"]) == (layers, width)
        and one["run"]["length"] == job.length
    ]
    uniform = [one for one in own if one["run"]["kind"] == Kind.UNIFORM]
    told: Entry = {}
    for name in ("charged", "uncharged"):
        points = [_point(one, name) for one in uniform]
        found = find_capacity(points, uniform[0]["n_parameters"]) if points else None
        told[name] = found and dataclasses.asdict(found)
    texts = [one for one in own if one["run"]["kind"] == Kind.TEXT]
    if texts and told["charged"]:
        told["descent"] = _descent(texts, told["charged"]["bits"]["value"])
    return told


def _point(one: Entry, name: str) -> Point:
    held = one["held"]
    return Point(
        seed=one["run"]["seed"],
        data_bits=held["data_bits"],
        held_bits=held[name],
        has_converged=one["standing"] == Standing.CONVERGED,
    )


def _descent(texts: Sequence[Entry], capacity_bits: float) -> Entry:
    """Return where the test loss, averaged over seeds, is worst, and where that is expected."""
    by_count: dict[int, list[Entry]] = {}
    for one in texts:
        by_count.setdefault(one["run"]["n_sequences"], []).append(one["text"])
    counts = sorted(by_count)
    losses = [statistics.mean(one["test_loss"] for one in by_count[n]) for n in counts]
    data_bits = [by_count[n][0]["data_bits"] for n in counts]
    found = find_descent(counts, losses, expected_peak(counts, data_bits, capacity_bits))
    return {
        **dataclasses.asdict(found),
        "ratio": found.ratio,
        "n_sequences": counts,
        "test_losses": losses,
    }


def _fit(sizes: Sequence[Entry]) -> Entry | None:
    known = [size for size in sizes if size["charged"]]
    found = fit_capacities(
        [size["n_parameters"] for size in known],
        [size["charged"]["bits"]["value"] for size in known],
    )
    return dataclasses.asdict(found) if found else None


def _headline(sizes: Sequence[Entry], measured: Sequence[Entry]) -> str:
    """Return how many bits a parameter holds, as far as it was shown."""
    known = [size for size in sizes if size["charged"]]
    if not known:  # no network has the job's length
        held = [one["held"] for one in measured if "held" in one]
        shares = sorted(one["charged"] / one["ceiling"]["charged"] for one in held)
        return (
            f"Networks held {100 * shares[0]:.1f} to {100 * shares[-1]:.1f} % of what can be held "
            "of their sequences."
        )
    values = [size["charged"]["per_parameter"]["value"] for size in known]
    n_plateaus = sum(size["charged"]["is_plateau"] for size in known)
    if n_plateaus == len(known):
        shown = "a plateau at every size"
    else:
        shown = f"a plateau at {n_plateaus} of {len(known)} sizes, so a lower bound"
    said = f"Networks held up to {_range(values, 2)} bits a parameter: {shown}."
    descents = [size["descent"] for size in known if "descent" in size]
    if not descents:
        return said
    ratios = [one["ratio"] for one in descents if math.isfinite(one["ratio"])]
    said += f" On text, the test loss peaked inside the sizes tried in {len(ratios)} of "
    said += f"{len(descents)}"
    return f"{said}, at {_range(ratios, 1)} times the expected size." if ratios else f"{said}."


def _range(values: Sequence[float], digits: int) -> str:
    least, most = (f"{end(values):.{digits}f}" for end in (min, max))
    return least if least == most else f"{least} to {most}"
