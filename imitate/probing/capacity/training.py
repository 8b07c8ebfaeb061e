"""Networks trained side by side, as one finished cell: their weights, and how they came to them.

What is written while it trains: after every check, the state that training goes on from. Killed at
any moment, it goes on from the last check, to the same bits. What a network is trained beside
changes its rounding, and nothing else.

    CELL/RUN/model.safetensors    weights of one network, names as transformers' GPT2LMHeadModel
    CELL/RUN/lane.json            how it ended, and what it held at every check
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from evals.probes.capacity.network import split_weights
from evals.probes.capacity.shape import Shape
from evals.probes.capacity.stopping import Check, Lane, Patience, Standing
from evals.probes.capacity.training import Network, Recipe, State, train_side_by_side
from imitate.config import CapacityJob
from imitate.hardware import detect_hardware
from imitate.probing.capacity.plan import CapacityRun, Kind
from imitate.probing.capacity.texts import TextData, digest_of, sequences_of
from imitate.probing.keys import made_by
from imitate.probing.tensors import read_state, write_tensors
from imitate.store import Store, file_hash, fingerprint

__all__ = [
    "STAGE",
    "recipe_of",
    "run_key",
    "saved_identity",
    "saved_lane",
    "saved_row",
    "train_part",
]

STAGE = "capacity-train"
STATE, WEIGHTS, LANE = "state.safetensors", "model.safetensors", "lane.json"
PREFIX = "transformer."

_MODULES = (
    "evals.memorization.codes",
    "evals.probes.capacity.network",
    "evals.probes.capacity.readout",
    "evals.probes.capacity.sequences",
    "evals.probes.capacity.shape",
    "evals.probes.capacity.stopping",
    "evals.probes.capacity.training",
    "imitate.probing.capacity.plan",
    "imitate.probing.capacity.texts",
    "imitate.probing.capacity.training",
)

Report = Callable[[int, int | None, str], None]


def run_key(job: CapacityJob, run: CapacityRun, text: TextData | None) -> str:
    """Return the fingerprint of all that decides a network's weights."""
    return fingerprint(
        {
            "run": dataclasses.asdict(run),
            "shape": dataclasses.asdict(run.shape(job)),
            "text": None
            if run.kind is Kind.UNIFORM or text is None
            else digest_of(sequences_of(run, job, text), text.test),
            "train": job.train.model_dump(mode="json", exclude={"learning_rate", "side_by_side"}),
        }
        | made_by(_MODULES, ("torch", "numpy"))
    )


def train_part(
    job: CapacityJob,
    runs: Sequence[CapacityRun],
    text: TextData | None,
    store: Store,
    report: Report,
) -> dict[str, Path]:
    """Train networks side by side and return the folder of each, by its key."""
    keys = [run_key(job, run, text) for run in runs]
    shape = runs[0].shape(job)

    def write(folder: Path, work: Path) -> None:
        state = _train(job, runs, text, work, report)
        for key, row, lane in zip(keys, state.rows, state.lanes, strict=True):
            (folder / key).mkdir()
            parts = split_weights(row.unsqueeze(0), shape)
            weights = {PREFIX + name: part[0].clone() for name, part in parts.items()}
            write_tensors(weights, folder / key / WEIGHTS)
            (folder / key / LANE).write_text(json.dumps(dataclasses.asdict(lane)), encoding="utf-8")

    about = {"members": keys, "runs": [run.name for run in runs]}
    cell, _ = store.compute(STAGE, fingerprint({"members": keys}), write, about)
    return {key: cell.folder / key for key in keys}


def recipe_of(job: CapacityJob, run: CapacityRun) -> Recipe:
    """Return how a network is trained."""
    train = job.train
    return Recipe(
        learning_rate=run.learning_rate,
        cut=train.cut,
        batch=train.batch,
        warmup=train.warmup,
        betas=(train.beta1, train.beta2),
        epsilon=train.epsilon,
        check_every=train.check_every,
        patience=Patience(train.window, train.least_rise, train.cuts, train.max_steps),
        is_bfloat16=train.dtype == "bfloat16",
    )


def saved_identity(folder: Path) -> str:
    """Return a hash of a trained network and of how it came to where it stands."""
    return file_hash(folder / WEIGHTS) + file_hash(folder / LANE)


def saved_row(folder: Path, shape: Shape) -> Tensor:
    """Return the weights (P,) of a trained network."""
    weights = load_file(folder / WEIGHTS)
    return torch.cat([weights[PREFIX + name].flatten() for name in shape.tensors])


def saved_lane(folder: Path) -> Lane:
    """Return how a trained network came to where it stands."""
    return _as_lane(json.loads((folder / LANE).read_text(encoding="utf-8")))


def _train(
    job: CapacityJob,
    runs: Sequence[CapacityRun],
    text: TextData | None,
    work: Path,
    report: Report,
) -> State:
    networks = [
        Network(
            run.name,
            sequences_of(run, job, text),
            run.seed,
            None if run.kind is Kind.UNIFORM or text is None else text.test,
        )
        for run in runs
    ]
    recipe = recipe_of(job, runs[0])
    state = _read_state(work / STATE)
    report(state.step if state else 0, recipe.patience.max_steps, "")
    states = train_side_by_side(
        networks, runs[0].shape(job), recipe, start=state, device=detect_hardware().device
    )
    with _flushed():
        for newer in states:
            done = newer.step - (state.step if state else 0)
            report(done, recipe.patience.max_steps, _going_told(newer))
            state = newer
            _write_state(state, work / STATE)
    assert state is not None
    return state


@contextlib.contextmanager
def _flushed() -> Iterator[None]:
    """Take what is below the normal range of floats as 0, as a processor is far slower with it.

    Not for longer than need be: it holds for all that this thread computes, statistics too.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _going_told(state: State) -> str:
    going = sum(lane.standing is Standing.GOING for lane in state.lanes)
    return f"({going} of {len(state.lanes)} still learn)"


def _write_state(state: State, path: Path) -> None:
    tensors = {"rows": state.rows, "first": state.first, "second": state.second}
    lanes = json.dumps([dataclasses.asdict(lane) for lane in state.lanes])
    write_tensors(tensors, path, {"step": str(state.step), "lanes": lanes})


def _read_state(path: Path) -> State | None:
    """Return the state to go on from; None where there is none that can be read."""
    found = read_state(path)
    if found is None:
        return None
    tensors, about = found
    lanes = tuple(_as_lane(lane) for lane in json.loads(about["lanes"]))
    return State(int(about["step"]), **tensors, lanes=lanes)


def _as_lane(told: dict[str, Any]) -> Lane:
    checks = tuple(Check(**check) for check in told["checks"])
    return Lane(checks, Standing(told["standing"]))
