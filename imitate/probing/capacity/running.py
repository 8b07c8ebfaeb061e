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
from evals.probes.capacity.stopping import Standing
from imitate.config import CapacityJob
from imitate.jsonio import plain
from imitate.probing.capacity.measuring import measure_run
from imitate.probing.capacity.plan import CapacityPlan, CapacityRun, Kind, share_programs
from imitate.probing.capacity.references import Reference, ask_network, ask_oracle, find_oracle
from imitate.probing.capacity.texts import TextData, read_text
from imitate.probing.capacity.training import STAGE, run_key, train_part
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
    asked = ask_oracle(oracle, text, store) if oracle and text else None
    trained = _train_all(job, plan, text, store, bars)
    folders = {run: trained[run_key(job, run, text)] for run in plan.runs}
    measured = []
    for run in plan.runs:
        own = None if run.kind is Kind.UNIFORM else text
        reference = None
        if own and run.kind is Kind.TEXT:
            reference = asked or _ask_own(job, run, folders, own, store)
        measured.append(measure_run(job, run, folders[run], own, reference, store))
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
    trained = find_members(store, STAGE, {run_key(job, run, text) for run in plan.runs})
    missing = [run for run in plan.runs if run_key(job, run, text) not in trained]
    for part in share_programs(missing, job.train):
        named = part[0].name if len(part) == 1 else f"{len(part)} networks, {part[0].name} ..."
        with bars.cell(named) as report:
            trained |= train_part(job, part, text, store, report)
        bars.advance(len(part))
    bars.advance(len(plan.runs) - len(missing))
    return trained


def _ask_own(
    job: CapacityJob,
    run: CapacityRun,
    folders: Mapping[CapacityRun, Path],
    text: TextData,
    store: Store,
) -> Reference:
    """Return what the text takes under the reference of a network's size."""
    (other,) = (
        one
        for one in folders
        if one.kind is Kind.REFERENCE and (one.layers, one.width) == (run.layers, run.width)
    )
    return ask_network(job, other, folders[other], text, store)


def _size(job: CapacityJob, layers: int, width: int, measured: Sequence[Entry]) -> Entry:
    """Return what networks of one size hold at most, and what becomes of text beyond it."""
    own = [
        one
        for one in measured
        if (one["run"]["layers"], one["run"]["width"], one["run"]["length"])
        == (layers, width, job.length)
    ]
    uniform = [one for one in own if one["run"]["kind"] == Kind.UNIFORM]
    texts = [one for one in own if one["run"]["kind"] == Kind.TEXT]
    if not uniform:
        return {"capacity": None}
    found = find_capacity([_point(one) for one in uniform], uniform[0]["n_parameters"])
    told: Entry = {"capacity": dataclasses.asdict(found)}
    return told | {"descent": _descent(texts, found.bits.value)} if texts else told


def _point(one: Entry) -> Point:
    held = one["held"]
    return Point(
        seed=one["run"]["seed"],
        ceiling_bits=held["ceiling"]["charged"],
        held_bits=held["charged"],
        free_bits=held["uncharged"] - held["charged"],
        has_converged=one["standing"] == Standing.CONVERGED,
    )


def _descent(texts: Sequence[Entry], capacity_bits: float) -> Entry:
    """Return where the test loss, averaged over seeds, is worst, and where that is expected.

    At the end of training, and at the best check of every network: whether the peak is there only
    for those that are trained to the end. A size of data of which a seed has diverged is left out.
    """
    by_count: dict[int, list[Entry]] = {}
    for one in texts:
        by_count.setdefault(one["run"]["n_sequences"], []).append(one)
    sound = {
        n: members
        for n, members in sorted(by_count.items())
        if all(one["standing"] != Standing.DIVERGED for one in members)
    }
    data_bits = [members[0]["text"]["data_bits"] for members in sound.values()]
    told: Entry = {
        "n_sequences": list(sound),
        "expected": expected_peak(list(sound), data_bits, capacity_bits) if sound else math.nan,
    }
    for name, loss in (("end", "test"), ("best", "least_test")):
        losses = [
            statistics.mean(one["losses"][loss] for one in members) for members in sound.values()
        ]
        told[name] = dataclasses.asdict(find_descent(list(sound), losses))
    return told


def _fit(sizes: Sequence[Entry]) -> Entry | None:
    known = [size for size in sizes if size["capacity"]]
    found = fit_capacities(
        [size["n_parameters"] for size in known],
        [size["capacity"]["bits"]["value"] for size in known],
    )
    return dataclasses.asdict(found) if found else None


def _headline(sizes: Sequence[Entry], measured: Sequence[Entry]) -> str:
    """Return how many bits a parameter holds, as far as it was shown."""
    known = [size for size in sizes if size["capacity"]]
    if not known:  # no network has the job's length
        held = [one["held"] for one in measured if "held" in one]
        shares = [
            one["charged"] / one["ceiling"]["charged"]
            for one in held
            if one["ceiling"]["charged"] > 0
        ]
        told = _range([100 * share for share in shares], 1)
        return f"Networks held {told} % of what can be held of their sequences."
    values = [size["capacity"]["per_parameter"]["value"] for size in known]
    n_plateaus = sum(size["capacity"]["is_plateau"] for size in known)
    if n_plateaus == len(known):
        shown = "a plateau at every size"
    else:
        shown = f"a plateau at {n_plateaus} of {len(known)} sizes, so a lower bound"
    said = f"Networks held {_range(values, 2)} bits a parameter: {shown}."
    descents = [size["descent"] for size in known if "descent" in size]
    if not descents:
        return said
    peaks = [one for one in descents if math.isfinite(one["end"]["peak"])]
    near = [one for one in peaks if 0.5 <= one["end"]["peak"] / one["expected"] <= 2]
    return (
        f"{said} On text, the test loss has a peak at {len(peaks)} of {len(descents)} sizes, at "
        f"{len(near)} within a factor of 2 of where the data outgrow that."
    )


def _range(values: Sequence[float], digits: int) -> str:
    least, most = (f"{end(values):.{digits}f}" for end in (min, max))
    return least if least == most else f"{least} to {most}"
