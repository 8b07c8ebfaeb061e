"""Train language models of one shape side by side until they hold no more.

In: R networks with sequences of their own, as many or few as each has. Out: after every check, the
state that training can go on from as if it had never stopped. What one network does hangs neither
on the others' data nor on when they stop: the loss is the sum of theirs, its gradient falls apart,
and each has a learning rate of its own.

When a network stops is `evals.probes.capacity.stopping`.

Source: Morris et al. (arXiv 2505.24832), section 3: GPT-2 from scratch, Adam, trained until
saturation. Ours deviate in the rule of stopping, the cuts of the rate and the batch.

Glossary: R networks; N sequences of a network; B sequences in a batch; S tokens; P parameters.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from evals.errors import DataError, RecordError
from evals.memorization.codes import CodedTokens, code_tokens, join_coded
from evals.probes.capacity.network import (
    draw_weights,
    mean_losses,
    next_token_logits,
    split_weights,
)
from evals.probes.capacity.shape import Shape
from evals.probes.capacity.stopping import Check, Lane, Patience, Standing, add_check

__all__ = [
    "Network",
    "Recipe",
    "State",
    "batches",
    "code_sequences",
    "train_side_by_side",
]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How networks are trained.

    Attributes:
        learning_rate: Of Adam, after the warm-up and before any cut.
        cut: Factor of a cut.
        batch: Sequences in a step; a network with fewer sees all of them in every step.
        warmup: Steps over which the rate rises, from 0.
        betas: Of Adam.
        epsilon: Of Adam.
        check_every: Steps between checks.
        patience: When it stops.
        is_bfloat16: Matrices are multiplied in bfloat16 while it trains; weights stay float32, and
            checks are in float32.
    """

    learning_rate: float
    cut: float
    batch: int
    warmup: int
    betas: tuple[float, float]
    epsilon: float
    check_every: int
    patience: Patience
    is_bfloat16: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """One of the networks that are trained.

    Attributes:
        name: For messages.
        tokens: (N, S) its sequences.
        seed: Of its first weights and of the order of its sequences.
        others: (M, S) sequences of the same kind that it is not trained on, if it is watched there.
    """

    name: str
    tokens: Tensor
    seed: int
    others: Tensor | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """All networks after so many steps, and what training goes on from.

    Attributes:
        step: Steps taken by those that have not stopped.
        rows: (R, P) weights.
        first: (R, P) Adam's mean of gradients.
        second: (R, P) Adam's mean of their squares.
        lanes: Where each network stands.
    """

    step: int
    rows: Tensor
    first: Tensor
    second: Tensor
    lanes: tuple[Lane, ...]


def train_side_by_side(
    networks: Sequence[Network],
    shape: Shape,
    recipe: Recipe,
    *,
    start: State | None = None,
    device: str = "cpu",
) -> Iterator[State]:
    """Yield the networks before training and after every check, until all have stopped.

    Args:
        networks: R networks whose sequences are of one length.
        shape: Of each of them.
        recipe: How they are trained.
        start: Go on from here; this state is not yielded again.
        device: Where they are trained.

    Raises:
        DataError: Sequences do not fit the shape or one another, or steps are of unlike batches.
    """
    _refuse_misfits(networks, shape, recipe)
    if start is None:
        start = _untrained(networks, shape, recipe, device)
        yield start
    state = start
    while going := [p for p, lane in enumerate(state.lanes) if lane.standing is Standing.GOING]:
        state = _train_to_check(state, going, networks, shape, recipe, device)
        yield state


@torch.no_grad()
def code_sequences(row: Tensor, shape: Shape, tokens: Tensor, *, batch: int = 128) -> CodedTokens:
    """Return how one network (P,) codes sequences (N, S), computed in float32.

    Raises:
        RecordError: A logit is no number.
    """
    weights = split_weights(row.unsqueeze(0), shape)
    parts = []
    for chunk in torch.split(tokens.to(row.device), batch):
        logits = next_token_logits(weights, shape, chunk.unsqueeze(0))
        parts.append(code_tokens(logits[0], chunk))
    return join_coded(parts)


def _train_to_check(
    state: State,
    going: Sequence[int],
    networks: Sequence[Network],
    shape: Shape,
    recipe: Recipe,
    device: str,
) -> State:
    """Return the state one check later; networks that have stopped stay as they are."""
    descent = _Descent(state, going, shape, recipe, device)
    ordered = [_Order(networks[place], recipe.batch) for place in going]
    last = min(state.step + recipe.check_every, recipe.patience.max_steps)
    for step in range(state.step, last):
        descent.step(torch.stack([order.batch(step) for order in ordered]).to(device), step)
    lanes = list(state.lanes)
    for place, row in zip(going, descent.rows, strict=True):
        network, lane = networks[place], lanes[place]
        check = _check(row, network, shape, last, lane.cuts, recipe)
        lanes[place] = add_check(lane, check, _prior_bits(network, shape), recipe.patience)
    sound = [n for n, place in enumerate(going) if lanes[place].standing is not Standing.DIVERGED]
    places = [going[n] for n in sound]
    return State(
        last,
        _replaced(state.rows, places, descent.rows[sound]),
        _replaced(state.first, places, descent.first[sound]),
        _replaced(state.second, places, descent.second[sound]),
        tuple(lanes),
    )


class _Descent:
    """Networks between two checks: Adam on rows of weights, with a rate for each."""

    def __init__(
        self, state: State, going: Sequence[int], shape: Shape, recipe: Recipe, device: str
    ) -> None:
        self.rows, self.first, self.second = (
            tensor.to(device)[list(going)].clone()
            for tensor in (state.rows, state.first, state.second)
        )
        self._shape, self._recipe, self._device = shape, recipe, device
        self._rates = [recipe.learning_rate * recipe.cut ** state.lanes[p].cuts for p in going]
        self._weights = {
            name: tensor.requires_grad_()
            for name, tensor in split_weights(self.rows.detach(), shape).items()
        }
        gradients = torch.zeros_like(self.rows)
        self._gradients = list(split_weights(gradients, shape).values())
        parameters = [row.requires_grad_() for row in self.rows.detach()]
        groups = [{"params": [one], "lr": 0.0} for one in parameters]
        self._adam = torch.optim.Adam(groups, betas=recipe.betas, eps=recipe.epsilon, fused=True)
        for place, parameter in enumerate(parameters):
            parameter.grad = gradients[place]
            self._adam.state[parameter] = {
                "step": torch.tensor(float(state.step), device=device),
                "exp_avg": self.first[place],
                "exp_avg_sq": self.second[place],
            }

    def step(self, tokens: Tensor, number: int) -> None:
        """Take one step on sequences (R, B, S)."""
        with _precision(self._device, self._recipe.is_bfloat16):
            losses = mean_losses(self._weights, self._shape, tokens)
        found = torch.autograd.grad(losses.sum(), list(self._weights.values()))
        torch._foreach_copy_(self._gradients, list(found))
        risen = min((number + 1) / max(self._recipe.warmup, 1), 1.0)
        for group, rate in zip(self._adam.param_groups, self._rates, strict=True):
            group["lr"] = rate * risen
        self._adam.step()


def _check(
    row: Tensor, network: Network, shape: Shape, step: int, cuts: int, recipe: Recipe
) -> Check:
    """Return what a network holds; bits are NaN where it is broken."""
    try:
        bits = _code_length(row, network.tokens, shape, recipe)
        others = network.others
        other_bits = None if others is None else _code_length(row, others, shape, recipe)
    except RecordError:
        return Check(step, math.nan, cuts)
    return Check(step, bits, cuts, other_bits)


def _code_length(row: Tensor, tokens: Tensor, shape: Shape, recipe: Recipe) -> float:
    return math.fsum(code_sequences(row, shape, tokens, batch=recipe.batch).bits_after(1))


def _prior_bits(network: Network, shape: Shape) -> float:
    n_sequences, length = network.tokens.shape
    return n_sequences * (length - 1) * math.log2(shape.vocabulary)


def batches(network: Network, recipe: Recipe) -> Iterator[Tensor]:
    """Yield the sequences (B, S) of every step, without end."""
    order = _Order(network, recipe.batch)
    return (order.batch(step) for step in itertools.count())


class _Order:
    """Endless shuffled passes over a network's sequences, cut into batches."""

    def __init__(self, network: Network, batch: int) -> None:
        self._tokens, self._seed = network.tokens, network.seed
        self._batch = min(batch, len(network.tokens))
        self._shuffled = functools.lru_cache(maxsize=2)(self._shuffle)

    def batch(self, step: int) -> Tensor:
        """Return (B, S) the sequences of a step, whatever steps came before it."""
        n = len(self._tokens)
        places = range(step * self._batch, (step + 1) * self._batch)
        passes = sorted({place // n for place in places})
        first = passes[0] * n
        shuffled = torch.cat([self._shuffled(number) for number in passes])
        return self._tokens[shuffled[places.start - first : places.stop - first]]

    def _shuffle(self, number: int) -> Tensor:
        drawn = np.random.default_rng([self._seed, number]).permutation(len(self._tokens))
        return torch.from_numpy(drawn)


def _untrained(networks: Sequence[Network], shape: Shape, recipe: Recipe, device: str) -> State:
    rows = torch.stack([draw_weights(shape, network.seed) for network in networks])
    lanes = tuple(
        Lane((_check(row.to(device), network, shape, 0, 0, recipe),))
        for row, network in zip(rows, networks, strict=True)
    )
    return State(0, rows, torch.zeros_like(rows), torch.zeros_like(rows), lanes)


def _replaced(whole: Tensor, places: Sequence[int], part: Tensor) -> Tensor:
    found = whole.clone()
    found[list(places)] = part.detach().to(whole.device)
    return found


def _precision(device: str, is_bfloat16: bool) -> contextlib.AbstractContextManager[None]:
    if not is_bfloat16:
        return contextlib.nullcontext()
    return torch.autocast(device, torch.bfloat16)


def _refuse_misfits(networks: Sequence[Network], shape: Shape, recipe: Recipe) -> None:
    lengths = sorted({network.tokens.shape[1] for network in networks})
    if len(lengths) != 1:
        raise DataError(f"networks side by side need sequences of one length, got {lengths}")
    if not 2 <= lengths[0] <= shape.positions:
        raise DataError(f"sequences of {lengths[0]} tokens do not fit {shape.positions} positions")
    for network in networks:
        if not len(network.tokens):
            raise DataError(f"{network.name}: there is no sequence to train on")
        least, most = int(network.tokens.min()), int(network.tokens.max())
        if least < 0 or most >= shape.vocabulary:
            raise DataError(
                f"{network.name}: tokens {least} to {most} do not fit a vocabulary of "
                f"{shape.vocabulary}"
            )
    sizes = sorted({min(recipe.batch, len(network.tokens)) for network in networks})
    if len(sizes) != 1:
        raise DataError(f"networks side by side need batches of one size, got {sizes}")
