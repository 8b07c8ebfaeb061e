"""One trained network -> what it holds, as one finished cell."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from evals.probes.capacity.measures import hold_text, hold_uniform
from evals.probes.capacity.training import Lane, code_sequences
from imitate.config import CapacityJob
from imitate.probing.capacity.plan import CapacityRun, Kind
from imitate.probing.capacity.references import TextBits
from imitate.probing.capacity.texts import TextData, sequences_of
from imitate.probing.capacity.training import saved_lane, saved_row
from imitate.store import Store, fingerprint, library_versions, source_hash

__all__ = ["code_reference", "measure_run"]

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
    key: str,
    folder: Path,
    text: TextData | None,
    reference: tuple[str, TextBits] | None,
    store: Store,
) -> dict[str, Any]:
    """Return what a network holds, as plain values.

    Args:
        job: What was asked for.
        run: The network.
        key: Its fingerprint.
        folder: Its weights and checks.
        text: Of the job.
        reference: What names the reference, and what the text takes under it.
        store: Where it is kept.
    """
    own_key = fingerprint(
        {
            "trained": key,
            "reference": reference[0] if reference else None,
            "prefixes": job.text.prefixes if job.text else [],
            "source": source_hash(_MODULES),
            "libraries": library_versions(("torch", "numpy", "scikit-learn")),
        }
    )

    def write(out: Path, work: Path) -> None:
        told = _measure(job, run, folder, text, reference[1] if reference else None)
        (out / MEASURED).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    cell, _ = store.compute(STAGE, own_key, write, {"run": run.name})
    told: dict[str, Any] = json.loads((cell.folder / MEASURED).read_text(encoding="utf-8"))
    return told


def code_reference(job: CapacityJob, run: CapacityRun, folder: Path, text: TextData) -> TextBits:
    """Return what the text takes under a network that was trained on other text."""
    row, shape = saved_row(folder, run.shape(job)), run.shape(job)
    train, test = (
        code_sequences(row, shape, tokens, batch=job.train.batch, is_bfloat16=_is_bfloat16(job))
        for tokens in (text.train, text.test)
    )
    return TextBits(train.bits_after(1), test.bits_after(1))


def _measure(
    job: CapacityJob,
    run: CapacityRun,
    folder: Path,
    text: TextData | None,
    reference: TextBits | None,
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
    if run.kind is Kind.REFERENCE:
        return told
    assert text is not None
    assert reference is not None
    assert job.text is not None
    row = saved_row(folder, shape)
    trained, others = (
        code_sequences(row, shape, one, batch=job.train.batch, is_bfloat16=_is_bfloat16(job))
        for one in (tokens, text.test)
    )
    text_held = hold_text(
        trained,
        others,
        reference.train[: run.n_sequences],
        reference.test,
        vocabulary=job.vocabulary,
        n_parameters=shape.n_parameters,
        prefixes=job.text.prefixes,
        seed=run.seed,
    )
    return told | {"text": dataclasses.asdict(text_held)}


def _checks(lane: Lane) -> dict[str, list[Any]]:
    """Return what was held at every check, column by column."""
    return {
        field.name: [getattr(check, field.name) for check in lane.checks]
        for field in dataclasses.fields(lane.checks[0])
    }


def _is_bfloat16(job: CapacityJob) -> bool:
    return job.train.dtype == "bfloat16"
