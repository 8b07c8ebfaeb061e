"""Make a lab model: recipe in, checkpoint with tokenizer, scores and model card out.

A plain loop over packed rows. A step's batch is a function of (recipe, step) alone, so a killed
run resumes from its last checkpoint with identical weights.

Glossary: B rows, T tokens of a row, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from evals.errors import ModelError
from imitate.descent import (
    descend,
    load_checkpoint,
    make_optimisers,
    save_checkpoint,
    set_rates,
)
from imitate.lab.corpus import stream_documents
from imitate.lab.recipe import Architecture, PretrainRecipe, Stage
from imitate.lab.tokenizer import END, END_OF_TEXT, PAD, load_tokenizer, token_id
from imitate.lab.world import World, make_world

__all__ = ["batch_tokens", "new_model", "pretrain", "train_model"]

CHECKPOINT_EVERY_S = 120.0
CHECKPOINT_NAME = "checkpoint.pt"
MAX_POSITIONS = 512
N_WARMUP_STEPS = 40

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a global step lies: its stage, and how far into it."""

    stage_index: int
    step: int
    n_steps: int


def new_model(architecture: Architecture, seed: int) -> LlamaForCausalLM:
    """Return a Llama model with random float32 weights."""
    config = LlamaConfig(
        vocab_size=load_tokenizer().get_vocab_size(),
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.intermediate_size,
        num_hidden_layers=architecture.n_layers,
        num_attention_heads=architecture.hidden_size // 32,
        num_key_value_heads=architecture.hidden_size // 32,
        head_dim=32,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        initializer_range=architecture.hidden_size**-0.5,
        bos_token_id=None,
        eos_token_id=[token_id(END), token_id(END_OF_TEXT)],
        pad_token_id=token_id(PAD),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)  # type: ignore[no-untyped-call]


def batch_tokens(recipe: PretrainRecipe, world: World, step: int) -> torch.Tensor:
    """Return the token ids (B, T) of a step, which depend on nothing but recipe and step."""
    tokenizer = load_tokenizer()
    end_of_text = token_id(END_OF_TEXT)
    place = _place(recipe, step)
    corpus = recipe.stages[place.stage_index].corpus()
    rng = random.Random(f"{recipe.world_seed} {recipe.seed} {place.stage_index} {place.step}")
    needed = recipe.n_batch_rows * recipe.n_block_tokens
    ids: list[int] = []
    documents = stream_documents(world, corpus, rng)
    while len(ids) < needed:
        texts = [next(documents).text for _ in range(32)]
        for encoding in tokenizer.encode_batch_fast(texts):
            ids += encoding.ids
            ids.append(end_of_text)
    return torch.tensor(ids[:needed]).view(recipe.n_batch_rows, recipe.n_block_tokens)


def train_model(
    recipe: PretrainRecipe,
    model: LlamaForCausalLM,
    *,
    checkpoint: Path,
    progress: Progress,
    stop_after: int | None = None,
) -> float:
    """Train the model in place through all stages, resuming from `checkpoint` if it is there.

    Returns the seconds that it trained, those before the checkpoint included.

    Args:
        recipe: What to train on.
        model: Weights to start from; a checkpoint replaces them.
        checkpoint: File for weights, optimisers and step, rewritten every two minutes.
        progress: Receives a line about every ten seconds.
        stop_after: Stop, with a checkpoint, after this many steps in all.
    """
    world = make_world(recipe.world_seed)
    optimisers = make_optimisers(model, recipe.weight_decay)
    start, seconds = _restore(checkpoint, recipe, model, optimisers)
    started = time.monotonic() - seconds
    n_steps = sum(_n_steps(recipe, stage) for stage in recipe.stages)
    last = n_steps if stop_after is None else min(stop_after, n_steps)
    model.train()
    forward = torch.compile(model) if recipe.is_compiled else model
    meter = _Meter(recipe, start, n_steps, progress)
    saved_at = time.monotonic()
    for step in range(start, last):
        _set_rates(optimisers, recipe, step)
        ids = batch_tokens(recipe, world, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            loss = forward(input_ids=ids, labels=ids, use_cache=False).loss
        descend(loss, model, optimisers)
        meter.tell(step, float(loss.detach()))
        if time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
            saved_at = time.monotonic()
            about = {"step": step + 1, "seconds": saved_at - started}
            save_checkpoint(checkpoint, recipe.fingerprint(), about, model, optimisers)
    seconds = time.monotonic() - started
    about = {"step": last, "seconds": seconds}
    save_checkpoint(checkpoint, recipe.fingerprint(), about, model, optimisers)
    return seconds


def pretrain(
    recipe: PretrainRecipe,
    output_root: Path,
    *,
    command: str = "",
    progress: Progress | None = None,
) -> Path:
    """Return the folder of a finished lab model, training whatever of it is missing.

    Args:
        recipe: How the model is made.
        output_root: The model lands in `output_root / recipe.name`.
        command: The command line, for the model card.
        progress: Receives progress lines; default: standard error.

    Raises:
        ModelError: `start_from` names a model that is not there.
    """
    from imitate.lab.card import write_model

    tell = progress or (lambda line: print(line, file=sys.stderr, flush=True))
    folder = output_root / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT_NAME
    model = _initial_model(recipe, output_root)
    seconds = train_model(recipe, model, checkpoint=checkpoint, progress=tell)
    write_model(model, recipe, folder, command=command, minutes=seconds / 60, progress=tell)
    checkpoint.unlink()
    return folder


def _initial_model(recipe: PretrainRecipe, output_root: Path) -> LlamaForCausalLM:
    if recipe.start_from is None:
        return new_model(recipe.architecture, recipe.seed)
    source = output_root / recipe.start_from
    if not (source / "model.safetensors").exists():
        raise ModelError(
            f"`start_from` names {recipe.start_from}, which is not in {output_root}",
            hint=f"pretrain it first: imitate lab pretrain configs/lab/{recipe.start_from}.yaml",
        )
    return LlamaForCausalLM.from_pretrained(source, dtype=torch.float32)


def _n_steps(recipe: PretrainRecipe, stage: Stage) -> int:
    return max(1, stage.n_tokens // (recipe.n_batch_rows * recipe.n_block_tokens))


def _place(recipe: PretrainRecipe, step: int) -> _Place:
    for index, stage in enumerate(recipe.stages):
        n_steps = _n_steps(recipe, stage)
        if step < n_steps:
            return _Place(index, step, n_steps)
        step -= n_steps
    raise AssertionError(f"step lies {step} behind the last stage")


def _set_rates(optimisers: list[torch.optim.Optimizer], recipe: PretrainRecipe, step: int) -> None:
    place = _place(recipe, step)
    stage = recipe.stages[place.stage_index]
    is_cold = place.stage_index == 0 or recipe.stages[place.stage_index - 1].decay_share > 0
    warmup = min(1.0, (place.step + 1) / N_WARMUP_STEPS) if is_cold else 1.0
    n_decay = stage.decay_share * place.n_steps
    decay = min(1.0, (place.n_steps - place.step) / n_decay) if n_decay else 1.0
    rates = (stage.learning_rate, stage.embedding_learning_rate)
    set_rates(optimisers, [rate * warmup * decay for rate in rates])


def _restore(
    checkpoint: Path,
    recipe: PretrainRecipe,
    model: LlamaForCausalLM,
    optimisers: list[torch.optim.Optimizer],
) -> tuple[int, float]:
    """Load a checkpoint of this very recipe, if there is one; return its step and its seconds."""
    about = load_checkpoint(checkpoint, recipe.fingerprint(), model, optimisers)
    return (int(about["step"]), float(about["seconds"])) if about else (0, 0.0)


class _Meter:
    """Tells loss, speed and time left about every ten seconds."""

    def __init__(
        self, recipe: PretrainRecipe, start: int, n_steps: int, progress: Progress
    ) -> None:
        self._n_step_tokens = recipe.n_batch_rows * recipe.n_block_tokens
        self._name, self._n_steps, self._progress = recipe.name, n_steps, progress
        self._start, self._began, self._told = start, time.monotonic(), time.monotonic()
        self._loss = 0.0

    def tell(self, step: int, loss: float) -> None:
        self._loss = 0.95 * self._loss + 0.05 * loss if step > self._start else loss
        now = time.monotonic()
        if now - self._told < 10 and step + 1 < self._n_steps:
            return
        self._told = now
        speed = (step + 1 - self._start) * self._n_step_tokens / (now - self._began)
        left = (self._n_steps - step - 1) * self._n_step_tokens / speed
        self._progress(
            f"{self._name}: step {step + 1}/{self._n_steps}, loss {self._loss:.3f}, "
            f"{speed:,.0f} tokens/s, {left / 60:.1f} min left"
        )
