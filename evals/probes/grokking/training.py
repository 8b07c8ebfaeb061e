"""Train networks of the probe side by side in one program, as published.

In: tables and settings of R networks of one shape. Out: snapshots every so many epochs, each of
which training can go on from as if it had never stopped. What one network does hangs neither on the
others' data nor on their settings: the loss is the sum of theirs, and its gradient falls apart.

Full batch; AdamW with decoupled weight decay, which each network has its own of; the rate rises
over the first steps from 0; cross-entropy in float64, whose float32 cannot tell losses under 1e-7.

A network whose loss is no finite number any more is left behind; the others go on.

Source: Nanda et al. (2023), section 3; warm-up and precision as in their public code.

Glossary: R networks; N rows trained on; E epochs between snapshots.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from evals.errors import DataError, RunError
from evals.probes.grokking.network import Weights, answer_logits, draw_weights
from evals.probes.grokking.operations import Table
from evals.probes.grokking.shape import Shape

__all__ = ["DivergedError", "Network", "Recipe", "Snapshot", "row_losses", "train_side_by_side"]

Moments = dict[str, tuple[Tensor, Tensor]]

SPECK = 1e-30
"""Gradients of logits up to here are taken as 0: 1e-18 of those that move anything."""


class DivergedError(RunError):
    """No network's loss is a finite number any more."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How networks are trained; defaults as published.

    Attributes:
        epochs: Steps: every batch is full.
        checkpoint_every: Epochs between snapshots.
        learning_rate: Of AdamW, after the warm-up.
        betas: Of AdamW.
        epsilon: Of AdamW.
        warmup: Steps over which the rate rises, from 0.
    """

    epochs: int = 40_000
    checkpoint_every: int = 100
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-8
    warmup: int = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """One of the networks that are trained.

    Attributes:
        name: For messages.
        table: What it learns; its `is_train` rows are what it sees.
        seed: Of its first weights.
        weight_decay: Its own.
        init_scale: Factor of its first weights.
    """

    name: str
    table: Table
    seed: int
    weight_decay: float = 1.0
    init_scale: float = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """All networks after so many epochs, and what training goes on from.

    Attributes:
        epoch: Steps taken.
        weights: Short name to (R, ...).
        moments: Short name to AdamW's first and second moment, (R, ...) each.
        losses: (E, R) of every epoch since the snapshot before, each before its step.
        diverged: Place of a network to the epoch at which its loss was no finite number.
    """

    epoch: int
    weights: Weights
    moments: Moments
    losses: Tensor
    diverged: Mapping[int, int] = dataclasses.field(default_factory=dict)


def train_side_by_side(
    networks: Sequence[Network],
    shape: Shape,
    recipe: Recipe,
    *,
    start: Snapshot | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Iterator[Snapshot]:
    """Yield the networks before training, every `checkpoint_every` epochs, and at the end.

    Args:
        networks: R networks whose tables have one p and as many rows to train on.
        shape: Of each of them.
        recipe: How they are trained.
        start: Go on from here; this snapshot is not yielded again.
        device: Where they are trained.
        dtype: Of the weights; the loss is float64 in any case.

    Raises:
        DataError: The networks cannot be trained side by side.
        DivergedError: No loss is finite any more; snapshots so far are good.
    """
    first, second, answers = _train_rows(networks, shape, device)
    if start is None:
        start = _untrained(networks, shape)
        yield start
    weights = {
        name: tensor.to(device, dtype, copy=True).requires_grad_()
        for name, tensor in start.weights.items()
    }
    optimizer = _optimizer(weights, start, recipe)
    decay = torch.tensor([one.weight_decay for one in networks], device=device, dtype=dtype)
    losses: list[Tensor] = []
    diverged = dict(start.diverged)
    for epoch in range(start.epoch, recipe.epochs):
        loss = row_losses(weights, first, second, answers).mean(dim=1)
        torch.autograd.backward(loss.sum())
        rate = recipe.learning_rate * min(epoch / max(recipe.warmup, 1), 1.0)
        _step(optimizer, weights, rate, decay)
        losses.append(loss.detach())
        done = epoch + 1
        if done % recipe.checkpoint_every == 0 or done == recipe.epochs:
            with torch.no_grad():  # after the last step too, before it is called good
                losses.append(row_losses(weights, first, second, answers).mean(dim=1))
            since = torch.stack(losses).cpu()
            diverged = _diverged(since, done - len(since) + 1) | diverged
            _refuse_all_diverged(networks, diverged)
            yield _snapshot(done, weights, optimizer, since[:-1], diverged)
            losses.clear()


def row_losses(weights: Weights, first: Tensor, second: Tensor, answers: Tensor) -> Tensor:
    """Return (R, N) cross-entropies in nats, in float64, of answers (R, N) to pairs."""
    logits = answer_logits(weights, first, second)
    if logits.requires_grad:
        logits.register_hook(_without_specks)  # type: ignore[no-untyped-call]
    by_row = functional.cross_entropy(
        logits.to(torch.float64).flatten(0, 1), answers.flatten(), reduction="none"
    )
    return by_row.view_as(answers)


def _without_specks(gradient: Tensor) -> Tensor:
    """Return a gradient with 0 for what is too small to count.

    Once rows are learned, most wrong answers' chances lie under float32's normal range, where a
    processor multiplies ten times as slowly.
    """
    return functional.hardshrink(gradient, SPECK)


def _train_rows(
    networks: Sequence[Network], shape: Shape, device: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (R, N) first and second tokens and answers of the rows that are trained on."""
    counts = {(one.table.p, int(one.table.is_train.sum())) for one in networks}
    if len(counts) != 1 or {p for p, _ in counts} != {shape.p}:
        told = ", ".join(f"p = {p} with {n:,} rows" for p, n in sorted(counts))
        raise DataError(
            f"networks side by side need one p and as many rows: there are {told or 'none'}"
        )
    rows = [(one.table.pairs[one.table.is_train], one.table) for one in networks]
    pairs = torch.stack([torch.from_numpy(pair) for pair, _ in rows]).to(device)
    answers = torch.stack([torch.from_numpy(table.answers[table.is_train]) for _, table in rows])
    return pairs[..., 0].contiguous(), pairs[..., 1].contiguous(), answers.to(device)


def _untrained(networks: Sequence[Network], shape: Shape) -> Snapshot:
    drawn = [draw_weights(shape, one.seed, scale=one.init_scale) for one in networks]
    weights = {name: torch.cat([one[name] for one in drawn]) for name in drawn[0]}
    return Snapshot(0, weights, {}, torch.empty(0, len(networks), dtype=torch.float64))


def _optimizer(weights: Weights, start: Snapshot, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW without its weight decay, which `_step` takes for every network by itself."""
    optimizer = torch.optim.AdamW(
        list(weights.values()),
        lr=recipe.learning_rate,
        betas=recipe.betas,
        eps=recipe.epsilon,
        weight_decay=0.0,
        fused=True,
    )
    for name, (first, second) in start.moments.items():
        like = weights[name]
        optimizer.state[like] = {
            "step": torch.tensor(float(start.epoch), device=like.device),
            "exp_avg": first.to(like.device, like.dtype, copy=True),
            "exp_avg_sq": second.to(like.device, like.dtype, copy=True),
        }
    return optimizer


def _step(optimizer: torch.optim.AdamW, weights: Weights, rate: float, decay: Tensor) -> None:
    with torch.no_grad():
        for tensor in weights.values():
            tensor.mul_((1 - rate * decay).view(-1, *(1,) * (tensor.ndim - 1)))
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _diverged(losses: Tensor, first_epoch: int) -> dict[int, int]:
    """Return the networks with a loss (E, R) that is not finite, and the first such epoch."""
    wrong = ~losses.isfinite()
    return {
        place: first_epoch + int(wrong[:, place].nonzero()[0])
        for place in wrong.any(dim=0).nonzero().flatten().tolist()
    }


def _refuse_all_diverged(networks: Sequence[Network], diverged: Mapping[int, int]) -> None:
    if len(diverged) == len(networks):
        told = ", ".join(
            f"{networks[place].name} at epoch {epoch:,}" for place, epoch in diverged.items()
        )
        raise DivergedError(
            f"the loss is no finite number any more: {told}; a lower learning rate may help"
        )


def _snapshot(
    epoch: int,
    weights: Weights,
    optimizer: torch.optim.AdamW,
    losses: Tensor,
    diverged: Mapping[int, int],
) -> Snapshot:
    moments = {}
    for name, tensor in weights.items():
        state = optimizer.state[tensor]
        moments[name] = (state["exp_avg"].cpu().clone(), state["exp_avg_sq"].cpu().clone())
    kept = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
    return Snapshot(epoch, kept, moments, losses, diverged)
