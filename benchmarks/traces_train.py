"""Training on traces: our loop against a plain Hugging Face `Trainer`, tokens a second.

    python benchmarks/traces_train.py

In: mazes, a size of network and a number of steps. Out: one line of JSON with the ratio, in turns.

Both train the same Llama, from the same weights, on the same lines of the correct arm; tokens are
those of the lines, without padding. Ours puts lines of a length together and trains matrices with
Muon; the Trainer has as many lines a step, in random order, padded to the longest, and AdamW. Both
must give the same loss to the same batch before any step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from _machine import describe_circumstances
from torch import Tensor
from transformers import Trainer, TrainingArguments

from evals.probes.traces.kinds import Arm, Generator, Treatment
from evals.probes.traces.tokens import Vocabulary
from imitate.config import TracesJob
from imitate.descent import descend, make_optimisers, set_rates
from imitate.probing.traces.plan import TracesRun
from imitate.probing.traces.problems import Lines, draw_all, lines_of
from imitate.probing.traces.training import as_batch, batch_lines, new_network

TOLERANCE = 1e-5
"""Largest relative difference of the two losses of the same batch."""
RATE = 1e-3


def train_ours(job: TracesJob, vocabulary: Vocabulary, lines: Lines, steps: int) -> float:
    """Return the tokens a second of our loop."""
    network = new_network(job, vocabulary, seed=0)
    optimisers = make_optimisers(network, weight_decay=0.1)
    set_rates(optimisers, [RATE, RATE])
    batches = batch_lines(lines.n_correct, job.train.batch_tokens, 0, 0)[:steps]
    network.train()
    started = time.perf_counter()
    for batch in batches:
        ids, labels = as_batch(lines, batch, is_all_learned=False)
        loss = network(input_ids=ids, labels=labels, use_cache=False).loss
        descend(loss, network, optimisers)
    n_tokens = sum(len(lines.lines[place]) for batch in batches for place in batch)
    return n_tokens / (time.perf_counter() - started)


def plain_trainer(
    job: TracesJob, vocabulary: Vocabulary, lines: Lines, steps: int, scratch: Path
) -> Trainer:
    """Return a Trainer of the same network, with about as many tokens a step."""
    mean = sum(map(len, lines.lines)) / len(lines.lines)
    arguments = TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=max(1, round(job.train.batch_tokens / mean)),
        max_steps=steps,
        learning_rate=RATE,
        max_grad_norm=1.0,
        lr_scheduler_type="constant",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )

    def collate(places: list[int]) -> dict[str, Tensor]:
        ids, labels = as_batch(lines, places, is_all_learned=False)
        return {"input_ids": ids, "labels": labels}

    return Trainer(
        model=new_network(job, vocabulary, seed=0),
        args=arguments,
        train_dataset=list(range(len(lines.lines))),  # type: ignore[arg-type]
        data_collator=collate,  # type: ignore[arg-type]
    )


def main() -> None:
    """Check that both agree on a batch, time them in turns, print the ratio."""
    options = _options()
    job = TracesJob.model_validate(
        {
            "probe": "traces",
            "name": "benchmark",
            "maze": {
                "rows": options.side,
                "columns": options.side,
                "generator": Generator.SEARCHFORMER,
                "n_train": options.lines,
            },
            "arms": [{"kind": Arm.CORRECT}],
            "network": {"layers": options.layers, "width": options.width, "context": 2048},
            "train": {"batch_tokens": options.batch_tokens},
            "test": {"n": 10},
        }
    )
    problems = draw_all(job)
    words = problems.vocabulary
    lines = lines_of(job, TracesRun(Treatment(Arm.CORRECT), seed=0), problems)
    rates: dict[str, list[float]] = {"ours": [], "trainer": []}
    with tempfile.TemporaryDirectory() as scratch:
        worst = _difference(job, words, lines, Path(scratch))
        for _ in range(options.rounds):
            rates["ours"].append(train_ours(job, words, lines, options.steps))
            trainer = plain_trainer(job, words, lines, options.steps, Path(scratch))
            rows = trainer.args.per_device_train_batch_size * options.steps
            found = trainer.train()
            mean = sum(map(len, lines.lines)) / len(lines.lines)
            rates["trainer"].append(rows * mean / found.metrics["train_runtime"])
            print({name: round(own[-1]) for name, own in rates.items()}, file=sys.stderr)
    pairs = zip(rates["ours"], rates["trainer"], strict=True)
    told = {
        "parameters": new_network(job, words, seed=0).num_parameters(),
        "tokens_a_line": sum(map(len, lines.lines)) / len(lines.lines),
        "ratio": round(statistics.median(fast / slow for fast, slow in pairs), 2),
        "tokens_a_second": {name: round(statistics.median(own)) for name, own in rates.items()},
        "largest_difference": worst,
    }
    print(json.dumps(told | describe_circumstances()))
    if worst > TOLERANCE:
        sys.exit(1)


def _difference(job: TracesJob, vocabulary: Vocabulary, lines: Lines, scratch: Path) -> float:
    """Return the relative difference of the losses that both give to the same lines."""
    trainer = plain_trainer(job, vocabulary, lines, 1, scratch)
    batch = trainer.data_collator(list(range(8)))
    with torch.no_grad():
        theirs = float(trainer.compute_loss(trainer.model, dict(batch)))  # type: ignore[arg-type]
        network = new_network(job, vocabulary, seed=0)
        ids, labels = as_batch(lines, range(8), is_all_learned=False)
        ours = float(network(input_ids=ids, labels=labels, use_cache=False).loss)
    return abs(ours - theirs) / theirs


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=5, help="rows and columns")
    parser.add_argument("--lines", type=int, default=4000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=200, help="of a round, of either")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
