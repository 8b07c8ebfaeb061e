"""One trained network -> what it holds, as one finished cell."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from evals.probes.capacity.measures import hold_text, hold_uniform
from evals.probes.capacity.stopping import Lane
from evals.probes.capacity.training import code_sequences
from imitate.config import CapacityJob
from imitate.hardware import detect_hardware
from imitate.probing.capacity.plan import CapacityRun, Kind
from imitate.probing.capacity.references import Reference
from imitate.probing.capacity.texts import TextData, digest_of, sequences_of
from imitate.probing.capacity.training import saved_identity, saved_lane, saved_row
from imitate.store import Store, fingerprint, library_versions, source_hash

__all__ = ["measure_run"]

STAGE = "capacity-measure"
MEASURED = "measured.json"
_MODULES = (
    "evals.memorization.codes",
    "evals.memorization.law",
    "evals.memorization.membership",
    "evals.probes.capacity",
    "imitate.probing.capacity",
)


def measure_run(
    job: CapacityJob,
    run: CapacityRun,
    folder: Path,
    text: TextData | None,
    reference: Reference | None,
    store: Store,
) -> dict[str, Any]:
    """Return what a network holds, as plain values.

    Args:
        job: What was asked for.
        run: The network.
        folder: Its weights and checks.
        text: Of the job; None for a network on uniform tokens.
        reference: What the text takes under the reference; for a network on text alone.
        store: Where it is kept.
    """
    key = fingerprint(
        {
            "run": dataclasses.asdict(run),
            "trained": saved_identity(folder),
            "reference": reference.identity if reference else None,
            "text": digest_of(sequences_of(run, job, text), text.test) if text else None,
            "vocabulary": job.vocabulary,
            "prefixes": job.text.prefixes if job.text else [],
            "source": source_hash(_MODULES),
            "libraries": library_versions(("torch", "numpy", "scikit-learn")),
        }
    )

    def write(out: Path, work: Path) -> None:
        told = _measure(job, run, folder, text, reference)
        (out / MEASURED).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    cell, _ = store.compute(STAGE, key, write, {"run": run.name})
    told: dict[str, Any] = json.loads((cell.folder / MEASURED).read_text(encoding="utf-8"))
    return told


def _measure(
    job: CapacityJob,
    run: CapacityRun,
    folder: Path,
    text: TextData | None,
    reference: Reference | None,
) -> dict[str, Any]:
    lane, shape = saved_lane(folder), run.shape(job)
    told = {
        "run": dataclasses.asdict(run),
        "n_parameters": shape.n_parameters,
        "standing": str(lane.standing),
        "checks": _checks(lane),
    }
    tokens = sequences_of(run, job, text)
    if run.kind is Kind.UNIFORM:
        held = hold_uniform(lane.checks[-1].bits, tokens, job.vocabulary)
        return told | {"held": dataclasses.asdict(held)}
    assert text is not None, run
    told["losses"] = _losses(lane, tokens, text.test)
    if run.kind is Kind.REFERENCE:
        return told
    assert reference is not None, run
    assert job.text is not None, run
    row = saved_row(folder, shape).to(detect_hardware().device)
    held_text = hold_text(
        code_sequences(row, shape, tokens, batch=job.train.batch),
        code_sequences(row, shape, text.test, batch=job.train.batch),
        reference.train[: run.n_sequences],
        reference.test,
        vocabulary=text.vocabulary,
        n_parameters=shape.n_parameters,
        prefixes=job.text.prefixes,
        seed=run.seed,
    )
    return told | {"text": dataclasses.asdict(held_text)}


def _losses(lane: Lane, tokens: Tensor, others: Tensor) -> dict[str, float]:
    """Return bits a token at the end, and the least on what was not trained on, and when."""
    n_trained, n_others = tokens[:, 1:].numel(), others[:, 1:].numel()
    watched = [(check.other_bits or 0.0, check.step) for check in lane.checks]
    least, step = min(watched)
    return {
        "train": lane.checks[-1].bits / n_trained,
        "test": watched[-1][0] / n_others,
        "least_test": least / n_others,
        "least_test_step": step,
    }


def _checks(lane: Lane) -> dict[str, list[Any]]:
    """Return what was held at every check, column by column."""
    return {
        field.name: [getattr(check, field.name) for check in lane.checks]
        for field in dataclasses.fields(lane.checks[0])
    }
