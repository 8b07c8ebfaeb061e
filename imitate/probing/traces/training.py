"""One network, trained on the lines of its arm, as one finished cell.

Lines whose correct ones are of about the same length share a batch; which ones is decided by seed
and epoch alone, so that all arms see the same problems in the same order. Killed at any moment, a
run goes on from its last checkpoint, on a CPU to the same bits.

    CELL/model.safetensors, config.json    as transformers saves a Llama
    CELL/training.json                     what it was trained on, and its loss

Source: Stechly et al. (arXiv 2505.13775) train a model of 0.5 billion parameters from scratch; ours
is far smaller, and its hidden matrices are trained with Muon.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from evals.errors import RunError
from evals.probes.traces.tokens import Vocabulary
from imitate.config import TracesJob
from imitate.descent import (
    descend,
    load_checkpoint,
    make_optimisers,
    save_checkpoint,
    set_rates,
)
from imitate.hardware import detect_hardware
from imitate.probing.keys import made_by
from imitate.probing.traces.plan import TracesRun, hidden_width
from imitate.probing.traces.problems import Lines, ProblemSet, lines_of
from imitate.store import FinishedCell, Store, fingerprint

__all__ = ["as_batch", "batch_lines", "new_network", "run_key", "told_of", "train_run"]

STAGE = "traces-train"
TOLD = "training.json"
CHECKPOINT = "checkpoint.pt"
POOL = 2048
"""Lines among which those of a length are looked for: more pad less, and mix less."""
LAST_RATE = 0.05
"""Share of the learning rate that is left at the end."""
IGNORED = -100  # the label of a token that is not learned

_MODULES = (
    "evals.probes.traces.arms",
    "evals.probes.traces.mazes",
    "evals.probes.traces.problems",
    "evals.probes.traces.search",
    "evals.probes.traces.tokens",
    "imitate.descent",
    "imitate.probing.traces.plan",
    "imitate.probing.traces.problems",
    "imitate.probing.traces.training",
)

Report = Callable[[int, int | None, str], None]


def run_key(job: TracesJob, run: TracesRun, problems: ProblemSet) -> str:
    """Return the fingerprint of all that decides a network's weights."""
    trained_on = hashlib.sha256(b"".join(one.identity for one in problems.train))
    return fingerprint(
        {
            "run": dataclasses.asdict(run),
            "problems": trained_on.hexdigest(),
            "maze": job.maze.model_dump(mode="json"),
            "network": job.network.model_dump(mode="json"),
            "train": job.train.model_dump(
                mode="json", exclude={"matched_tokens", "checkpoint_every"}
            ),
        }
        | made_by(_MODULES, ("torch", "transformers", "numpy", "numba"))
    )


def train_run(
    job: TracesJob, run: TracesRun, problems: ProblemSet, store: Store, report: Report
) -> FinishedCell:
    """Return the cell of a trained network.

    Raises:
        DataError: A line does not fit.
        RunError: The loss is no finite number any more.
    """
    key = run_key(job, run, problems)

    def write(folder: Path, work: Path) -> None:
        lines = lines_of(job, run, problems)
        network, told = _train(job, run, problems, lines, work / CHECKPOINT, key, report)
        network.save_pretrained(folder)
        (folder / TOLD).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    cell, _ = store.compute(STAGE, key, write, {"run": run.name})
    return cell


def told_of(cell: FinishedCell) -> dict[str, Any]:
    """Return what a network was trained on, and its loss."""
    told: dict[str, Any] = json.loads((cell.folder / TOLD).read_text(encoding="utf-8"))
    return told


def new_network(job: TracesJob, vocabulary: Vocabulary, seed: int) -> LlamaForCausalLM:
    """Return a Llama with random float32 weights."""
    shape, ids = job.network, vocabulary.ids
    heads = shape.width // shape.head_size
    config = LlamaConfig(
        vocab_size=len(vocabulary.tokens),
        hidden_size=shape.width,
        intermediate_size=hidden_width(shape.width),
        num_hidden_layers=shape.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=shape.head_size,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        initializer_range=shape.width**-0.5,
        pad_token_id=ids["<pad>"],
        bos_token_id=None,
        eos_token_id=ids["end"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)  # type: ignore[no-untyped-call]


def batch_lines(
    lengths: Sequence[int], batch_tokens: int, seed: int, epoch: int
) -> list[list[int]]:
    """Return the places of all lines in batches of about the same length, in a random order.

    A batch is cut where its correct lines, padded, would be more tokens than it may have.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    for pool in np.array_split(order, max(1, len(order) // POOL)):
        current: list[int] = []
        for place in sorted(pool.tolist(), key=lambda one: lengths[one]):
            if current and (len(current) + 1) * lengths[place] > batch_tokens:
                batches.append(current)
                current = []
            current.append(place)
        batches.append(current)
    return [batches[place] for place in rng.permutation(len(batches))]


def _train(
    job: TracesJob,
    run: TracesRun,
    problems: ProblemSet,
    lines: Lines,
    checkpoint: Path,
    key: str,
    report: Report,
) -> tuple[LlamaForCausalLM, dict[str, Any]]:
    """Return a trained network and what is told of its training."""
    device = detect_hardware().device
    network = new_network(job, problems.vocabulary, run.seed)
    network.to(device)  # type: ignore[arg-type]
    optimisers = make_optimisers(network, job.train.weight_decay)
    about = load_checkpoint(checkpoint, key, network, optimisers) or {"step": 0, "losses": []}
    steps = list(_steps(job, run, lines))
    forward = torch.compile(network) if job.train.compiled else network
    network.train()
    losses: list[float] = about["losses"]
    report(about["step"], len(steps), "")
    for number in range(about["step"], len(steps)):
        _set_rates(job, optimisers, number, len(steps))
        ids, labels = as_batch(lines, steps[number], is_all_learned=job.train.loss_on == "all")
        with torch.autocast(device, torch.bfloat16, enabled=job.train.dtype == "bfloat16"):
            loss = forward(input_ids=ids.to(device), labels=labels.to(device), use_cache=False).loss
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise RunError(f"{run.name}: the loss is {losses[-1]} at step {number + 1:,}")
        descend(loss, network, optimisers)
        if (number + 1) % job.train.checkpoint_every == 0:
            told = {"step": number + 1, "losses": losses}
            save_checkpoint(checkpoint, key, told, network, optimisers)
        report(1, len(steps), f"loss {losses[-1]:.3f}")
    network.eval()  # type: ignore[no-untyped-call]
    return network, _told(lines, steps, losses)


def _steps(job: TracesJob, run: TracesRun, lines: Lines) -> Iterator[list[int]]:
    """Yield the places of every step's lines, as many as the run's budget has."""
    epochs = (
        batch_lines(lines.n_correct, job.train.batch_tokens, run.seed, epoch)
        for epoch in itertools.count()
    )
    if not run.is_matched:
        yield from itertools.chain.from_iterable(itertools.islice(epochs, job.train.epochs))
        return
    left = job.train.epochs * sum(lines.n_correct)
    for batch in itertools.chain.from_iterable(epochs):
        if left <= 0:
            return
        left -= sum(len(lines.lines[place]) for place in batch)
        yield batch


def as_batch(
    lines: Lines, places: Sequence[int], *, is_all_learned: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens (B, T) of lines, padded at the end, and what is learned of them."""
    width = max(len(lines.lines[place]) for place in places)
    ids = torch.zeros(len(places), width, dtype=torch.int64)
    labels = torch.full_like(ids, IGNORED)
    for row, place in enumerate(places):
        line = torch.from_numpy(lines.lines[place].astype(np.int64))
        first = 0 if is_all_learned else lines.n_query[place]
        ids[row, : len(line)] = line
        labels[row, first : len(line)] = line[first:]
    return ids, labels


def _set_rates(
    job: TracesJob, optimisers: Sequence[torch.optim.Optimizer], number: int, n_steps: int
) -> None:
    train = job.train
    risen = min(1.0, (number + 1) / max(train.warmup, 1))
    fallen = 1 - (1 - LAST_RATE) * number / n_steps
    set_rates(
        optimisers,
        [rate * risen * fallen for rate in (train.learning_rate, train.embedding_learning_rate)],
    )


def _told(lines: Lines, steps: Sequence[Sequence[int]], losses: Sequence[float]) -> dict[str, Any]:
    """Return what was trained on, and the loss as at most a hundred means over steps."""
    parts = np.array_split(np.asarray(losses), min(100, len(losses)))
    seen = [place for step in steps for place in step]
    n_tokens = sum(len(lines.lines[place]) for place in seen)
    return {
        "n_lines": len(lines.lines),
        "mean_tokens": lines.n_tokens / len(lines.lines),
        "n_steps": len(steps),
        "n_tokens": n_tokens,
        "n_after_problem": n_tokens - sum(lines.n_query[place] for place in seen),
        "n_problems": len(seen),
        "losses": [float(part.mean()) for part in parts],
    }
