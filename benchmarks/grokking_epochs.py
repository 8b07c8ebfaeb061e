"""How many epochs a second the grokking probe trains, against the published model written plainly.

    python benchmarks/grokking_epochs.py

The plain model computes every position, as the published code does: embedding, causal attention
with masked softmax, the MLP and the unembedding of all three tokens, `torch.optim.AdamW` with its
own weight decay and a `LambdaLR`. Both first train from the same weights in float64, and their
losses must be equal to `TOLERANCE` in every epoch; then both are timed in turns in float32, as they
are run. With `--side-by-side 4` ours also trains four networks in one program, against one after
another. The last line is JSON. Exit code 1: the losses differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from _machine import describe_circumstances
from torch import Tensor, nn
from torch.nn import functional

from evals.probes.grokking.network import Weights, draw_weights
from evals.probes.grokking.operations import make_table
from evals.probes.grokking.shape import NAMES, Shape
from evals.probes.grokking.training import Network, Recipe, train_side_by_side

TOLERANCE = 1e-6
"""Largest relative difference of a loss."""


class PlainTransformer(nn.Module):
    """One layer, all positions, weights in our layout."""

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        for name in NAMES:
            self.register_parameter(name, nn.Parameter(weights[name][0].to(dtype, copy=True)))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, 3, p + 1) logits of tokens (N, 3)."""
        stream = self.W_E[tokens] + self.W_pos
        query, key, value = (
            torch.einsum("npd,hdk->nhpk", stream, matrix)
            for matrix in (self.W_Q, self.W_K, self.W_V)
        )
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        is_later = torch.ones(3, 3, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(is_later, -torch.inf).softmax(dim=-1) @ value
        stream = stream + torch.einsum("nhpk,hkd->npd", mixed, self.W_O)
        neurons = functional.relu(stream @ self.W_in + self.b_in)
        return (stream + neurons @ self.W_out + self.b_out) @ self.W_U


def plain_losses(network: Network, shape: Shape, recipe: Recipe, dtype: torch.dtype) -> list[float]:
    """Return the loss of every epoch of the plain model, trained as published."""
    model = PlainTransformer(draw_weights(shape, network.seed), dtype)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=recipe.learning_rate,
        betas=recipe.betas,
        eps=recipe.epsilon,
        weight_decay=network.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(step / recipe.warmup, 1.0)
    )
    table = network.table
    pairs = torch.from_numpy(table.pairs[table.is_train])
    tokens = torch.cat([pairs, torch.full((len(pairs), 1), shape.p)], dim=1)
    answers = torch.from_numpy(table.answers[table.is_train])
    losses = []
    for _ in range(recipe.epochs):
        logits = model(tokens)[:, -1, :-1].to(torch.float64)
        loss = functional.cross_entropy(logits, answers)
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def our_losses(
    networks: list[Network], shape: Shape, recipe: Recipe, dtype: torch.dtype
) -> list[float]:
    """Return the loss of every epoch of the first network, trained by the probe."""
    snapshots = train_side_by_side(networks, shape, recipe, dtype=dtype)
    return [loss for one in snapshots for loss in one.losses[:, 0].tolist()]


def worst_difference(network: Network, shape: Shape, epochs: int) -> float:
    """Return the largest relative difference of the losses of both, in float64."""
    recipe = Recipe(epochs=epochs)
    ours = our_losses([network], shape, recipe, torch.float64)
    plain = plain_losses(network, shape, recipe, torch.float64)
    return max(abs(a - b) / b for a, b in zip(ours, plain, strict=True))


def seconds_of(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    """Compare, time in turns, and print one line of JSON at the end."""
    options = _options()
    shape = Shape(options.p)
    networks = [
        Network(f"seed {seed}", make_table("a+b", options.p, 0.3, seed), seed)
        for seed in range(max(1, options.side_by_side))
    ]
    worst = worst_difference(networks[0], shape, options.compared)
    recipe = Recipe(epochs=options.epochs)
    plain, ours, many = [], [], []
    for _ in range(options.rounds):
        plain.append(seconds_of(lambda: plain_losses(networks[0], shape, recipe, torch.float32)))
        ours.append(seconds_of(lambda: our_losses(networks[:1], shape, recipe, torch.float32)))
        if options.side_by_side > 1:
            many.append(seconds_of(lambda: our_losses(networks, shape, recipe, torch.float32)))
    ratios = sorted(slow / fast for slow, fast in zip(plain, ours, strict=True))
    found = {
        "ratio": round(statistics.median(ratios), 2),
        "measured": "epochs a second, ours over the plain model's, median of rounds",
        "ratios": [round(one, 2) for one in ratios],
        "our_epochs_per_s": round(options.epochs / statistics.median(ours), 1),
        "plain_epochs_per_s": round(options.epochs / statistics.median(plain), 1),
        "largest_relative_difference": worst,
        "settings": vars(options),
    }
    if many:
        together = [options.side_by_side * one / all_ for one, all_ in zip(ours, many, strict=True)]
        found["side_by_side"] = {
            "networks": options.side_by_side,
            "ratio": round(statistics.median(together), 2),
            "measured": "one after another over side by side, median of rounds",
        }
    print(json.dumps(found | describe_circumstances()))
    if worst > TOLERANCE:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--p", type=int, default=113)
    parser.add_argument("--epochs", type=int, default=60, help="epochs of a round, of either")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compared", type=int, default=100, help="epochs compared in float64")
    parser.add_argument("--side-by-side", type=int, default=0, metavar="R")
    return parser.parse_args()


if __name__ == "__main__":
    main()
