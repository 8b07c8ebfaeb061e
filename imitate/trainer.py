"""TRL's `SFTTrainer` with a loss that costs less on a CPU, and checkpoints known to be whole.

TRL computes logits at every position on a CPU. Here they are computed where a label is, in chunks,
and since the head is frozen its gradient is taken in the same pass. S scored positions, H hidden
size, V vocabulary.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.trainer.sft_trainer import SFTTrainer

from evals.errors import RunError

__all__ = [
    "DivergenceGuard",
    "IntactMarker",
    "Reporter",
    "ResponseTrainer",
    "adapt_under_autocast",
    "check_loss",
    "head_loss",
    "newest_intact",
]

LOGITS_PER_CHUNK = 2**25
"""Logits held at a time: 128 MiB in float32."""

_HEAD_EXTRAS = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)
"""Settings of architectures that transform logits: TRL's own loss knows them."""

MARKER = "intact.json"
"""Written last into a checkpoint, with the sizes of its files."""


class ResponseTrainer(SFTTrainer):
    """SFTTrainer with the loss of labelled positions only, and without TRL's telemetry."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss per labelled token; on a GPU and in unusual cases as TRL computes it."""
        if return_outputs or num_items_in_batch is None or not self._is_simple():
            loss: Any = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[no-untyped-call]
            return loss
        return self._summed_loss(inputs) / num_items_in_batch

    def evaluation_loss(self, inputs: dict[str, Any]) -> float:
        """Return the summed loss of a batch, in nats, without gradients."""
        model: Any = self.model
        model.eval()
        prepared = self._prepare_inputs(inputs)
        with torch.no_grad(), self.accelerator.autocast():
            loss = self.compute_loss(model, prepared, num_items_in_batch=torch.tensor(1))
        # TRL scales by the number of processes, whose gradients are averaged in training
        return float(loss) / int(self.accelerator.num_processes)

    def _summed_loss(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Return the summed loss of a batch, in nats, past the model's wrappers."""
        base = _base_of(self)
        # No mask: rows are padded on the right, where no scored token looks, and attention without
        # a mask needs no copies of the keys for each query head.
        with self.accelerator.autocast():
            hidden = base.base_model(input_ids=inputs["input_ids"], use_cache=False)[0]
        labels = inputs["labels"][:, 1:]
        is_scored = labels != -100
        head = base.get_output_embeddings()
        return head_loss(hidden[:, :-1][is_scored], head.weight, labels[is_scored])

    def _is_simple(self) -> bool:
        base = _base_of(self)
        head, config = base.get_output_embeddings(), base.config.get_text_config()
        return (
            self.accelerator.device.type == "cpu"
            and self.accelerator.num_processes == 1
            and self.label_smoother is None
            and getattr(self.args, "loss_type", None) == "nll"
            and not self.aux_loss_enabled
            and type(head) is torch.nn.Linear
            and head.bias is None
            and not head.weight.requires_grad
            and not any(getattr(config, name, None) for name in _HEAD_EXTRAS)
        )

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write no card into checkpoints; the finished adapter gets ours."""

    def _send_telemetry(self) -> None:
        """Tell nobody about a training run."""


def _base_of(trainer: SFTTrainer) -> Any:
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    return model.get_base_model()


def head_loss(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy () in nats of hidden (S, H) under a frozen head (V, H)."""
    total: torch.Tensor = _HeadLoss.apply(hidden, weight, labels)  # type: ignore[no-untyped-call]
    return total


class _HeadLoss(torch.autograd.Function):
    """Loss and gradient in one pass over chunks: the logits are never held all at once."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss, keeping its gradient with respect to the hidden states."""
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradients = []
        chunk = max(1, LOGITS_PER_CHUNK // weight.shape[0])
        for start in range(0, len(labels), chunk):
            states = hidden[start : start + chunk].to(weight.dtype)
            wanted = labels[start : start + chunk]
            logprobs = (states @ weight.T).float().log_softmax(-1)
            places = wanted.unsqueeze(1)
            total -= logprobs.gather(1, places).sum()
            gradient = logprobs.exp_()
            gradient.scatter_add_(1, places, torch.full_like(places, -1, dtype=gradient.dtype))
            gradients.append(gradient.to(weight.dtype) @ weight)
        ctx.save_for_backward(torch.cat(gradients).to(hidden.dtype) if gradients else hidden)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Return the kept gradient, scaled."""
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.to(gradient.dtype), None, None


def adapt_under_autocast(model: torch.nn.Module) -> None:
    """Let adapters take their inputs as they are.

    PEFT casts every adapted layer's input to the adapter's float32, which autocast then casts back:
    an eighth of a step's time on a CPU.
    """
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.cast_input_dtype_enabled = False


class IntactMarker(TrainerCallback):
    """Marks a checkpoint once all its files are written."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the marker, which a process killed while saving never writes."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
        (folder / MARKER).write_text(json.dumps(sizes, sort_keys=True))


class DivergenceGuard(TrainerCallback):
    """Ends training at the first loss that is no finite number, before its weights are saved."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Look at the step just logged."""
        check_loss(state.log_history[-1].get("loss", 0.0), f"at step {state.global_step}", args)


def check_loss(loss: float, where: str, args: TrainingArguments) -> None:
    """Refuse a loss that is no finite number.

    Raises:
        RunError: Training diverged.
    """
    if not math.isfinite(loss):
        raise RunError(
            f"training diverged: the loss {where} is {loss} at `train.learning_rate` "
            f"{args.learning_rate:g}; lower it, or take it out of the rates that are tried"
        )


class Reporter(TrainerCallback):
    """Tells step, loss and speed after each step."""

    def __init__(self, tokens: list[int], tell: Callable[[int, int, float, float], None]) -> None:
        self._tokens = tokens  # tokens of each step
        self._tell = tell
        self._began: tuple[float, int] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock, at the step from which a resumed run goes on."""
        self._began = (time.perf_counter(), state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Report the step just logged."""
        newest = state.log_history[-1]
        if "loss" not in newest or self._began is None:
            return
        started, first = self._began
        seconds = time.perf_counter() - started
        done = sum(self._tokens[first : state.global_step])
        self._tell(state.global_step, state.max_steps, newest["loss"], done / max(seconds, 1e-9))


def newest_intact(work_dir: Path) -> Path | None:
    """Return the newest whole checkpoint, having removed those that were cut off while written."""
    intact = []
    for folder in work_dir.glob("checkpoint-*"):
        if _is_intact(folder):
            intact.append(folder)
        else:
            shutil.rmtree(folder)
    return max(intact, key=lambda folder: int(folder.name.split("-")[1]), default=None)


def _is_intact(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / MARKER).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
