"""How fast the capacity probe trains many small models in one program, against one after another.

    python benchmarks/batched_models.py

Three ways to train the same networks on the same batches, timed in turns: all in one program; one
after another with the same code; and one after another as transformers' `GPT2LMHeadModel` with
`torch.optim.Adam` on every parameter. First all three train a few steps from the same weights, and
the bits that their data then take must be equal to `TOLERANCE`. The last line is JSON. Exit code 1:
they differ.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from _machine import describe_circumstances
from transformers import GPT2Config, GPT2LMHeadModel

from evals.probes.capacity.network import draw_weights, split_weights
from evals.probes.capacity.sequences import draw_sequences
from evals.probes.capacity.shape import Shape
from evals.probes.capacity.stopping import Patience
from evals.probes.capacity.training import Network, Recipe, batches, train_side_by_side

TOLERANCE = 1e-3
"""Largest relative difference of a code length after `COMPARED` steps, in float32."""

COMPARED = 20


def batched_bits(networks: Sequence[Network], shape: Shape, recipe: Recipe) -> list[float]:
    """Return what the data of every network take after training in one program."""
    *_, state = train_side_by_side(networks, shape, recipe)
    return [lane.checks[-1].bits for lane in state.lanes]


def single_bits(networks: Sequence[Network], shape: Shape, recipe: Recipe) -> list[float]:
    """Return the same after training one network after another."""
    return [batched_bits([network], shape, recipe)[0] for network in networks]


def plain_bits(networks: Sequence[Network], shape: Shape, recipe: Recipe) -> list[float]:
    """Return the same after training transformers' model, one after another."""
    return [_plain_bits(network, shape, recipe) for network in networks]


def _plain_bits(network: Network, shape: Shape, recipe: Recipe) -> float:
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=shape.vocabulary,
            n_positions=shape.positions,
            n_embd=shape.width,
            n_layer=shape.layers,
            n_head=shape.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    parts = split_weights(draw_weights(shape, network.seed)[None], shape)
    model.transformer.load_state_dict({name: part[0] for name, part in parts.items()})
    adam = torch.optim.Adam(
        model.parameters(), recipe.learning_rate, recipe.betas, recipe.epsilon, fused=True
    )
    for step, tokens in zip(
        range(recipe.patience.max_steps), batches(network, recipe), strict=False
    ):
        for group in adam.param_groups:
            group["lr"] = recipe.learning_rate * min((step + 1) / recipe.warmup, 1.0)
        adam.zero_grad()
        model(tokens, labels=tokens).loss.backward()
        adam.step()
    with torch.no_grad():
        nats = float(model(network.tokens, labels=network.tokens).loss)
    return nats * network.tokens[:, 1:].numel() / math.log(2)


def main() -> None:
    """Check that all three ways agree, time them, print the ratios."""
    options = _options()
    shape = Shape(options.layers, options.width, options.vocabulary, options.length)
    networks = [
        Network(
            f"seed {seed}",
            draw_sequences(options.sequences, options.length, options.vocabulary, seed),
            seed,
        )
        for seed in range(options.networks)
    ]
    ways = {"batched": batched_bits, "one by one": single_bits, "transformers": plain_bits}
    compared = {
        name: way(networks, shape, _recipe(options, COMPARED)) for name, way in ways.items()
    }
    worst = max(
        abs(bits - other) / other
        for name in ("batched", "one by one")
        for bits, other in zip(compared[name], compared["transformers"], strict=True)
    )
    recipe = _recipe(options, options.steps)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            seconds[name].append(_time(lambda way=way: way(networks, shape, recipe)))  # type: ignore[misc]
        print({name: round(found[-1], 2) for name, found in seconds.items()}, file=sys.stderr)
    found = {
        "networks": options.networks,
        "parameters": shape.n_parameters,
        "tokens_a_step": options.networks * options.batch * options.length,
        "ratio": _ratio(seconds, "one by one"),
        "ratio_to_transformers": _ratio(seconds, "transformers"),
        "measured": "seconds of the other over seconds batched, median of rounds",
        "seconds": {name: round(statistics.median(found), 3) for name, found in seconds.items()},
        "largest_difference": worst,
    }
    print(json.dumps(found | describe_circumstances()))
    if worst > TOLERANCE:
        sys.exit(1)


def _ratio(seconds: dict[str, list[float]], other: str) -> float:
    rounds = zip(seconds[other], seconds["batched"], strict=True)
    return round(statistics.median(slow / fast for slow, fast in rounds), 2)


def _recipe(options: argparse.Namespace, steps: int) -> Recipe:
    return Recipe(
        learning_rate=1e-2,
        cut=0.3,
        batch=options.batch,
        warmup=5,
        betas=(0.9, 0.99),
        epsilon=1e-8,
        check_every=steps,
        patience=Patience(window=10, least_rise=0.01, cuts=2, max_steps=steps),
    )


def _time(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--vocabulary", type=int, default=64)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100, help="steps of a round, of either")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
