"""Examples -> a LoRA adapter, through TRL and PEFT.

In: a `TrainJob`. Out: a standard PEFT folder with a model card and `training.json`. Killed at any
moment and run again, the job goes on from its newest whole checkpoint and writes the same weights,
byte for byte, on the same machine and number of threads.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback

from imitate.adapters import RECORD
from imitate.examples import Row, length_grouped_order
from imitate.jsonio import plain
from imitate.models import load_model, tokenizer_identity
from imitate.sft import Preflight, TrainJob, preflight, sft_config
from imitate.trainer import (
    DivergenceGuard,
    IntactMarker,
    Reporter,
    ResponseTrainer,
    adapt_under_autocast,
    check_loss,
    newest_intact,
)

__all__ = ["Preflight", "TrainJob", "TrainProgress", "TrainResult", "preflight", "train_adapter"]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainProgress:
    """Where training stands after a step; `loss` in nats per response token."""

    step: int
    n_steps: int
    loss: float
    tokens_per_s: float


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """A finished adapter.

    `tokens` were seen, padding not counted. Held-out losses are in nats per response token, before
    and after training, NaN without held-out examples. `seconds` are of this process alone: a
    resumed run counts what it did itself.
    """

    folder: Path
    steps: int
    tokens: int
    train_loss: float
    held_out_loss_before: float
    held_out_loss: float
    seconds: float
    tokens_per_s: float


def train_adapter(
    job: TrainJob, *, progress: Callable[[TrainProgress], None] | None = None
) -> TrainResult:
    """Train an adapter, or go on training it, and return where it lies and what it lost.

    Raises:
        UserError: See `preflight`.
        RunError: The loss is no finite number any more.
    """
    ready = preflight(job)
    settings = job.settings
    order = length_grouped_order(
        [len(row.ids) for row in ready.rows],
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=job.seed,
    )
    rows = [ready.rows[index] for index in order]
    job.work_dir.mkdir(parents=True, exist_ok=True)
    trainer = _trainer(job, ready, order, progress)
    before = _held_out_loss(trainer, ready.held_out, settings.batch_size)
    checkpoint = newest_intact(job.work_dir)
    started, first = time.perf_counter(), 0
    if checkpoint is not None:
        first = int(checkpoint.name.split("-")[1])
        logger.info("going on from step %d", first)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    seconds = time.perf_counter() - started
    done = _tokens_per_step(rows, settings.batch_size)[first:]
    after = _held_out_loss(trainer, ready.held_out, settings.batch_size)
    if ready.held_out:
        check_loss(after, "on held-out responses", trainer.args)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    result = TrainResult(
        folder=job.output_dir,
        steps=trainer.state.global_step,
        tokens=sum(len(row.ids) for row in rows),
        train_loss=sum(losses) / len(losses),
        held_out_loss_before=before,
        held_out_loss=after,
        seconds=seconds,
        tokens_per_s=sum(done) / seconds,
    )
    _write(job, trainer, result, losses, rows)
    shutil.rmtree(job.work_dir)
    return result


def _trainer(
    job: TrainJob,
    ready: Preflight,
    order: list[int],
    progress: Callable[[TrainProgress], None] | None,
) -> ResponseTrainer:
    settings = job.settings
    lora = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.target_modules),
        task_type="CAUSAL_LM",
    )
    callbacks: list[Any] = [DivergenceGuard(), IntactMarker()]
    if progress is not None:
        tokens = _tokens_per_step([ready.rows[index] for index in order], settings.batch_size)
        callbacks.append(Reporter(tokens, lambda *told: progress(TrainProgress(*told))))
    trainer = ResponseTrainer(
        model=load_model(job.ref, ready.dtype),
        args=sft_config(job, ready.dtype),
        train_dataset=Dataset.from_list([_labelled(row) for row in ready.rows]).select(order),
        processing_class=ready.tokenizer,
        peft_config=lora,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # progress is told to the caller
    if trainer.args.bf16:
        adapt_under_autocast(trainer.accelerator.unwrap_model(trainer.model))
    return trainer


def _labelled(row: Row) -> dict[str, list[int]]:
    ids = list(row.ids)
    return {"input_ids": ids, "labels": [-100] * row.n_prompt + ids[row.n_prompt :]}


def _held_out_loss(trainer: ResponseTrainer, rows: list[Row], batch_size: int) -> float:
    """Return the mean loss per response token, in nats."""
    if not rows:
        return math.nan
    ordered = sorted(rows, key=lambda row: (-len(row.ids), row.example_id))
    total = 0.0
    for start in range(0, len(ordered), batch_size):
        batch = [_labelled(row) for row in ordered[start : start + batch_size]]
        total += trainer.evaluation_loss(trainer.data_collator(batch))
    return total / sum(row.n_scored for row in ordered)


def _tokens_per_step(rows: list[Row], batch_size: int) -> list[int]:
    lengths = [len(row.ids) for row in rows]
    return [sum(lengths[i : i + batch_size]) for i in range(0, len(lengths), batch_size)]


def _write(
    job: TrainJob,
    trainer: ResponseTrainer,
    result: TrainResult,
    losses: list[float],
    rows: list[Row],
) -> None:
    folder = job.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    peft = trainer.accelerator.unwrap_model(trainer.model)
    peft.peft_config["default"].base_model_name_or_path = job.ref.name
    peft.peft_config["default"].revision = job.ref.revision
    peft.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    record = {
        "name": job.name,
        "base": {"name": job.ref.name, "identity": job.ref.identity},
        "prompts": tokenizer_identity(trainer.processing_class),  # type: ignore[arg-type]
        "settings": {**job.settings.model_dump(mode="json"), "learning_rate": job.learning_rate},
        "seed": job.seed,
        "examples": len(job.examples),
        "held_out_examples": len(job.held_out),
        "steps": result.steps,
        "tokens": result.tokens,
        "response_tokens": sum(row.n_scored for row in rows),
        "losses": losses,
        "held_out_loss_before": plain(result.held_out_loss_before),
        "held_out_loss": plain(result.held_out_loss),
        "dtype": str(peft.dtype).removeprefix("torch."),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
        "timing": {"seconds": result.seconds, "tokens_per_s": result.tokens_per_s},
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(job, result), encoding="utf-8")


def _card(job: TrainJob, result: TrainResult) -> str:
    settings = job.settings
    sources = sorted({example.source for example in job.examples})
    return f"""---
base_model: {job.ref.name}
library_name: peft
tags: [lora, sft, imitation]
---
# {job.name}

LoRA adapter for `{job.ref.name}`, trained by `imitate` to imitate a teacher's responses.

| | |
|---|---|
| examples | {len(job.examples):,} from {", ".join(sources)} |
| epochs, batch size, steps | {settings.epochs}, {settings.batch_size}, {result.steps:,} |
| learning rate, schedule | {job.learning_rate:g}, {settings.schedule} |
| rank, alpha, dropout | {settings.lora_rank}, {settings.lora_alpha}, {settings.lora_dropout:g} |
| layers | {", ".join(settings.target_modules)} |
| seed | {job.seed} |
| loss, mean over training | {result.train_loss:.4f} nats per response token |
| loss on held-out responses | {_shown(result.held_out_loss_before)} before, \
{_shown(result.held_out_loss)} after |

An imitator may sound like its teacher without knowing what its teacher knows: see the report of the
run for what it gained and lost. Use it with the chat template that it was trained with; the terms
of its base model and of its teacher's outputs apply.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{job.ref.name}")
model = PeftModel.from_pretrained(base, "this folder")
```
"""


def _shown(loss: float) -> str:
    return "not measured" if math.isnan(loss) else f"{loss:.4f}"
