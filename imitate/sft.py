"""What is checked and decided before a model trains: the job, its rows, its `SFTConfig`.

Everything here that can fail fails before weights are loaded or a GPU is touched, with a message
that says what to change.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from trl.trainer.sft_config import SFTConfig

from evals.errors import ConfigError, DataError
from evals.records import Example
from imitate.config import TrainConfig
from imitate.examples import Row, encode_examples
from imitate.models import (
    ModelRef,
    choose_dtype,
    computes_bfloat16,
    context_length,
    generation_config,
    linear_shapes,
    load_tokenizer,
)
from imitate.tokens import stop_ids

__all__ = ["Preflight", "TrainJob", "preflight", "sft_config"]

OWNED = {
    "data_seed": "the mix's `seeds`",
    "dataset_kwargs": None,
    "learning_rate": "`train.learning_rate`",
    "lr_scheduler_type": "`train.schedule`",
    "max_grad_norm": "`train.max_grad_norm`",
    "max_length": "`train.max_length`",
    "num_train_epochs": "`train.epochs`",
    "output_dir": None,
    "packing": None,
    "per_device_train_batch_size": "`train.batch_size`",
    "report_to": "`train.report_to`",
    "resume_from_checkpoint": None,
    "save_steps": "`train.checkpoint_steps`",
    "save_strategy": None,
    "save_total_limit": None,
    "seed": "the mix's `seeds`",
    "train_sampling_strategy": None,
    "trust_remote_code": None,
    "use_cpu": None,
    "warmup_steps": "`train.warmup_share`",
    "weight_decay": "`train.weight_decay`",
}
"""Fields of `SFTConfig` that `train.sft` may not set, and what sets them instead, if anything."""


@dataclasses.dataclass(frozen=True)
class TrainJob:
    """One adapter to train.

    `settings.learning_rate` may be a list to choose from: `learning_rate` is the one that counts.
    `work_dir` holds checkpoints until the adapter in `output_dir` is complete.
    """

    ref: ModelRef
    examples: tuple[Example, ...]
    held_out: tuple[Example, ...]
    settings: TrainConfig
    learning_rate: float
    seed: int
    work_dir: Path
    output_dir: Path
    chat_template: Path | None = None
    name: str = "adapter"


@dataclasses.dataclass(frozen=True)
class Preflight:
    """What training will take in: rows as tokens, and the base's dtype."""

    tokenizer: PreTrainedTokenizerBase
    rows: list[Row]
    held_out: list[Row]
    dtype: torch.dtype


def preflight(job: TrainJob) -> Preflight:
    """Return the rows of a job, having checked all that would fail or waste its training.

    Raises:
        ConfigError: Unknown or owned `train.sft` fields, a precision that the hardware lacks, LoRA
            targets that match no layer.
        ModelError: The chat template has no assistant turn, or no prompt is a token prefix.
        DataError: No examples, or examples that are too long.
    """
    if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
        raise ConfigError(
            f"TRL does not train on {torch.cuda.device_count()} GPUs from one process",
            hint="make one visible with CUDA_VISIBLE_DEVICES=0, or start with `accelerate launch`",
        )
    if not job.examples:
        raise DataError("there are no examples to train on", hint="see the data card for why")
    dtype = training_dtype(job)
    sft_config(job, dtype)
    _check_targets(job)
    tokenizer = load_tokenizer(job.ref, job.chat_template)
    ends = stop_ids(tokenizer, generation_config(job.ref))
    limit = min(job.settings.max_length, context_length(job.ref))

    def encoded(examples: tuple[Example, ...], *, truncate: bool) -> list[Row]:
        return encode_examples(tokenizer, examples, ends, max_length=limit, truncate=truncate)

    rows = encoded(job.examples, truncate=job.settings.truncate)
    # A held-out response that is cut still tells the loss of what is left of it.
    return Preflight(tokenizer, rows, encoded(job.held_out, truncate=True), dtype)


def sft_config(job: TrainJob, dtype: torch.dtype) -> SFTConfig:
    """Return TRL's configuration of a job.

    Raises:
        ConfigError: A field of `train.sft` is unknown, set elsewhere, or not valid.
    """
    settings = job.settings
    _check_fields(settings.sft)
    on_cpu = not torch.cuda.is_available()
    fields: dict[str, Any] = {
        "output_dir": str(job.work_dir),
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": settings.batch_size,
        "num_train_epochs": 1,  # the order of the rows holds all epochs
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": _warmup_steps(job),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "save_strategy": "steps",
        "save_steps": settings.checkpoint_steps,
        "save_total_limit": 2,  # the older one is intact while the newer one is being written
        "logging_steps": 1,  # so that a resumed run logs the same losses
        "logging_nan_inf_filter": False,  # a loss that is no number is not shown as 0
        "report_to": list(settings.report_to) or "none",
        "bf16": dtype is torch.bfloat16,
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "gradient_checkpointing": not on_cpu,  # on a CPU memory is not what is short
        "max_length": None,  # rows are cut beforehand
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "train_sampling_strategy": "sequential",
        "seed": job.seed,
        "data_seed": job.seed,
        "disable_tqdm": True,
    }
    try:
        return SFTConfig(**{**fields, **settings.sft})
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        raise ConfigError(f"TRL does not take these `train` settings: {error}") from error


def training_dtype(job: TrainJob) -> torch.dtype:
    """Return the dtype of the frozen base: `train.sft.bf16` where given, else what is fast here.

    Raises:
        ConfigError: bfloat16 is asked for on hardware that does not compute in it.
    """
    asked = job.settings.sft.get("bf16")
    if asked and not computes_bfloat16():
        raise ConfigError(
            "`train.sft.bf16` is true, but this hardware does not compute in bfloat16",
            hint="leave `bf16` out: it is chosen by hardware and model size",
        )
    setting = "auto" if asked is None else "bfloat16" if asked else "float32"
    return choose_dtype(setting, job.ref)


def n_steps(job: TrainJob) -> int:
    """Return the number of optimiser steps on one device."""
    rows = len(job.examples) * job.settings.epochs
    accumulated = int(job.settings.sft.get("gradient_accumulation_steps", 1))
    batches = -(-rows // job.settings.batch_size)
    return -(-batches // accumulated)


def _warmup_steps(job: TrainJob) -> int:
    return round(job.settings.warmup_share * n_steps(job))


def _check_fields(sft: dict[str, Any]) -> None:
    known = {field.name for field in dataclasses.fields(SFTConfig) if field.init}
    for name in sft:
        if name in OWNED:
            instead = OWNED[name]
            raise ConfigError(
                f"`train.sft.{name}` is not yours to set: "
                + (f"set {instead}" if instead else "runs depend on its value"),
                hint="remove it from `train.sft`",
            )
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"`train.sft.{name}` is no field of trl.SFTConfig",
                hint=f"did you mean `{close[0]}`?" if close else None,
            )
    for name in ("bf16_full_eval", "tf32", "fp16"):
        if sft.get(name) and not torch.cuda.is_available():
            raise ConfigError(f"`train.sft.{name}` needs a GPU, and there is none here")


def _check_targets(job: TrainJob) -> None:
    """Make sure that each LoRA target names a layer; PEFT only complains if none of them does."""
    linear = {path.rsplit(".", 1)[-1] for path in linear_shapes(job.ref)}
    linear -= {"lm_head"}  # TRL computes the loss from the head's own weight
    missing = [target for target in job.settings.target_modules if target not in linear]
    if missing:
        raise ConfigError(
            f"`train.target_modules` names {', '.join(f'`{name}`' for name in missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} no adaptable layer of `{job.ref.name}`",
            hint=f"its linear layers are {', '.join(sorted(linear))}",
        )
