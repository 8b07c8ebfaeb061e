"""Networks trained side by side, as one finished cell: every snapshot of every network.

What is written while it trains: the weights of each network at each snapshot, and, after them, the
state that training goes on from. Killed at any moment, it goes on from the last whole snapshot, to
the same bits. What a network is trained beside changes its rounding, and nothing else.

    CELL/RUN/epoch-000100.safetensors    weights of one network, names as TransformerLens has them
    CELL/RUN/diverged.json               the epoch at which its loss was no finite number, if it was
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from evals.errors import RunError
from evals.probes.grokking.network import Weights, read_weights
from evals.probes.grokking.shape import NAMES
from evals.probes.grokking.training import (
    DivergedError,
    Network,
    Recipe,
    Snapshot,
    train_side_by_side,
)
from imitate.config import GrokkingJob
from imitate.hardware import detect_hardware
from imitate.probing.grokking.plan import GrokkingRun
from imitate.probing.keys import made_by
from imitate.probing.tensors import read_state, write_tensors
from imitate.store import Store, fingerprint

__all__ = [
    "STAGE",
    "diverged_at",
    "run_key",
    "saved_epochs",
    "saved_weights",
    "train_part",
]

STAGE = "grokking-train"
STATE = "state.safetensors"
DIVERGED = "diverged.json"

_MODULES = (
    "evals.probes.grokking.operations",
    "evals.probes.grokking.network",
    "evals.probes.grokking.shape",
    "evals.probes.grokking.training",
    "imitate.probing.grokking.plan",
    "imitate.probing.grokking.training",
)

Report = Callable[[int, int | None, str], None]


def run_key(job: GrokkingJob, run: GrokkingRun) -> str:
    """Return the fingerprint of all that decides a network's snapshots."""
    return fingerprint(
        {
            "run": dataclasses.asdict(run),
            "network": job.network.model_dump(mode="json"),
            "train": job.train.model_dump(
                mode="json", exclude={"epochs", "checkpoint_every", "side_by_side"}
            ),
        }
        | made_by(_MODULES, ("torch", "numpy"))
    )


def train_part(
    job: GrokkingJob, runs: Sequence[GrokkingRun], store: Store, report: Report
) -> dict[str, Path]:
    """Train networks side by side and return the folder of each, by its key.

    Raises:
        RunError: No loss is a finite number any more; snapshots so far are kept.
    """
    keys = [run_key(job, run) for run in runs]

    def write(folder: Path, work: Path) -> None:
        diverged = _train(job, runs, keys, work, report)
        for place, key in enumerate(keys):
            (folder / key).mkdir()
            for saved in sorted((work / key).glob("epoch-*.safetensors")):
                _link(saved, folder / key / saved.name)
            if place in diverged:
                told = json.dumps({"epoch": diverged[place]})
                (folder / key / DIVERGED).write_text(told, encoding="utf-8")

    about = {"members": keys, "runs": [run.name for run in runs]}
    cell, _ = store.compute(STAGE, fingerprint({"members": keys}), write, about)
    return {key: cell.folder / key for key in keys}


def diverged_at(folder: Path) -> int | None:
    """Return the epoch at which a network's loss was no finite number; None where it never was."""
    path = folder / DIVERGED
    if not path.is_file():
        return None
    return int(json.loads(path.read_text(encoding="utf-8"))["epoch"])


def saved_epochs(folder: Path) -> list[int]:
    """Return the epochs at which a network was saved, rising."""
    return sorted(int(path.stem.partition("-")[2]) for path in folder.glob("epoch-*.safetensors"))


def saved_weights(folder: Path, epoch: int) -> Weights:
    """Return the weights (1, ...) of a network at an epoch, in float64."""
    return read_weights(load_file(folder / _file_name(epoch)))


def _train(
    job: GrokkingJob, runs: Sequence[GrokkingRun], keys: Sequence[str], work: Path, report: Report
) -> Mapping[int, int]:
    """Train to the end and return which networks diverged, and when."""
    for key in keys:
        (work / key).mkdir(exist_ok=True)
    networks = [
        Network(run.name, run.table(), run.seed, run.weight_decay, job.network.init_scale)
        for run in runs
    ]
    start = _read_state(work / STATE, len(runs))
    done = start.epoch if start else 0
    diverged = start.diverged if start else {}
    report(done, runs[0].epochs, "")
    snapshots = train_side_by_side(
        networks,
        runs[0].shape(job),
        _recipe(job, runs[0]),
        start=start,
        device=detect_hardware().device,
        dtype=getattr(torch, job.train.dtype),
    )
    try:
        for snapshot in snapshots:
            _save(snapshot, keys, work)
            report(snapshot.epoch - done, runs[0].epochs, "")
            done, diverged = snapshot.epoch, snapshot.diverged
    except DivergedError as error:
        last = work / keys[0] / _file_name(done)
        raise RunError(f"{error}; the last good snapshot is of epoch {done:,}: {last}") from None
    return diverged


def _recipe(job: GrokkingJob, run: GrokkingRun) -> Recipe:
    train = job.train
    return Recipe(
        epochs=run.epochs,
        checkpoint_every=run.checkpoint_every,
        learning_rate=train.learning_rate,
        betas=(train.beta1, train.beta2),
        epsilon=train.epsilon,
        warmup=train.warmup,
    )


def _save(snapshot: Snapshot, keys: Sequence[str], work: Path) -> None:
    """Write the weights of every network that is sound, then the state to go on from."""
    for place, key in enumerate(keys):
        if place in snapshot.diverged:
            continue
        own = {NAMES[name]: tensor[place].clone() for name, tensor in snapshot.weights.items()}
        write_tensors(own, work / key / _file_name(snapshot.epoch))
    state = dict(snapshot.weights)
    for name, (first, second) in snapshot.moments.items():
        state |= {f"first.{name}": first, f"second.{name}": second}
    diverged = json.dumps(list(snapshot.diverged.items()))
    write_tensors(state, work / STATE, {"epoch": str(snapshot.epoch), "diverged": diverged})


def _link(saved: Path, path: Path) -> None:
    """Give a file a second name, or, where the disk cannot, copy it."""
    try:
        os.link(saved, path)
    except OSError:
        shutil.copyfile(saved, path)


def _read_state(path: Path, n_networks: int) -> Snapshot | None:
    """Return the snapshot to go on from; None where there is none that can be read."""
    found = read_state(path)
    if found is None:
        return None
    tensors, about = found
    names = [name for name in NAMES if f"first.{name}" in tensors]
    return Snapshot(
        epoch=int(about["epoch"]),
        weights={name: tensors[name] for name in NAMES},
        moments={name: (tensors[f"first.{name}"], tensors[f"second.{name}"]) for name in names},
        losses=torch.empty(0, n_networks, dtype=torch.float64),
        diverged={place: epoch for place, epoch in json.loads(about["diverged"])},
    )


def _file_name(epoch: int) -> str:
    return f"epoch-{epoch:06}.safetensors"
