"""The transformer of the probe, of which only the last position's output is computed.

In: the weights of R networks side by side and N pairs of tokens. Out: their logits over p answers.

One layer, H heads, ReLU, no normalisation, no biases in attention; tokens `[a, b, =]`, of which the
logit of `=` is dropped. The loss reads the last position only, whose token is always `=`: so its
query is one vector a head, a score is one number for every token and position, and what a head adds
for a token is one row of a table. What is left for every pair is a weighted sum of three rows a
head and the MLP, whose second matrix is multiplied with the unembedding once for all pairs.

Names and layout of the weights are TransformerLens'; the published code's transposed layout is read
too (`read_weights`).

Source: Nanda et al. (2023), section 3 and their public code.

Glossary: R networks; N pairs; p modulus; D width; H heads; K head size; M neurons.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from evals.errors import ModelError
from evals.probes.grokking.shape import NAMES, Shape

__all__ = ["Weights", "answer_logits", "draw_weights", "hidden", "read_weights"]

Weights = dict[str, Tensor]
"""Name to tensor, each (R, ...): of `NAMES`, without their path."""

_ZERO = ("attn.b_Q", "attn.b_K", "attn.b_V", "attn.b_O", "unembed.b_U")
"""Biases that a TransformerLens model may carry, and that this architecture does not have."""


def draw_weights(shape: Shape, seed: int, *, scale: float = 1.0) -> Weights:
    """Return the weights of one network (1, ...) as they are before training, float32.

    Normal with standard deviation 1 / sqrt(width), the unembedding 1 / sqrt(p + 1), biases 0; all
    times `scale`.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, size in shape.tensors.items():
        spread = shape.p + 1 if name == "W_U" else shape.width
        drawn = torch.randn(1, *size, generator=generator) * (scale / spread**0.5)
        found[name] = torch.zeros_like(drawn) if name.startswith("b_") else drawn
    return found


def answer_logits(weights: Weights, first: Tensor, second: Tensor) -> Tensor:
    """Return (R, N, p) logits over the answers at the last position.

    Args:
        weights: Of R networks.
        first: (R, N) the tokens a.
        second: (R, N) the tokens b.
    """
    middle, neurons = hidden(weights, first, second)
    unembed = weights["W_U"][..., : _n_answers(weights)]
    bias = weights["b_out"].unsqueeze(1) @ unembed
    return torch.baddbmm(bias, middle, unembed) + neurons @ (weights["W_out"] @ unembed)


def hidden(weights: Weights, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the residual stream before the MLP (R, N, D) and the neurons' outputs (R, N, M)."""
    middle = _attend(weights, first, second)
    before = torch.baddbmm(weights["b_in"].unsqueeze(1), middle, weights["W_in"])
    return middle, torch.relu(before)


def _attend(weights: Weights, first: Tensor, second: Tensor) -> Tensor:
    """Return (R, N, D) the last position's residual stream after attention.

    With scores s, softmax weights are exp(s) over their sum: rows are weighted by exp(s) once a
    token, and for every pair only summed and divided.
    """
    tokens, places = weights["W_E"], weights["W_pos"]
    answers, last = tokens[:, : _n_answers(weights)], tokens[:, -1:] + places[:, 2:]
    sides = (answers + places[:, :1], answers + places[:, 1:2], last)
    n_heads, head_size = weights["W_Q"].shape[1], weights["W_Q"].shape[3]
    query = (last.unsqueeze(1) @ weights["W_Q"]) / head_size**0.5  # (R, H, 1, K)
    key = (query @ weights["W_K"].transpose(-1, -2)).squeeze(2)  # (R, H, D)
    scores = [side @ key.transpose(-1, -2) for side in sides]  # (R, p, H) twice, (R, 1, H)
    highest = torch.cat(scores, dim=1).detach().amax(dim=1, keepdim=True)
    strength = [(score - highest).exp() for score in scores]
    added = [
        (one.unsqueeze(-1) * _head_outputs(weights, side)).flatten(2)
        for one, side in zip(strength, sides, strict=True)
    ]  # (R, p, H D) twice, (R, 1, H D)
    total = _rows(strength[0], first) + _rows(strength[1], second) + strength[2]
    mixed = _rows(added[0], first) + _rows(added[1], second) + added[2]
    by_head = mixed.view(*mixed.shape[:2], n_heads, -1)
    attended: Tensor = (total.reciprocal().unsqueeze(2) @ by_head).squeeze(2)
    return last + attended


def _head_outputs(weights: Weights, side: Tensor) -> Tensor:
    """Return (R, p, H, D) what every head adds when it looks at a token (R, p, D)."""
    value = side.unsqueeze(1) @ weights["W_V"]  # (R, H, p, K)
    return (value @ weights["W_O"]).transpose(1, 2)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Return (R, N, X) rows of tables (R, p, X), each network's from its own."""
    n_networks, n_rows = table.shape[:2]
    offset = torch.arange(n_networks, device=index.device).unsqueeze(1) * n_rows
    rows: Tensor = functional.embedding(index + offset, table.flatten(0, 1))
    return rows


def _n_answers(weights: Weights) -> int:
    return weights["W_E"].shape[1] - 1


def read_weights(state: Mapping[str, Tensor], *, p: int | None = None) -> Weights:
    """Return the weights (1, ...) of a state dict, in float64.

    Names may be ours, TransformerLens' or the published code's; masks and other entries are left
    alone.

    Raises:
        ModelError: A tensor is missing or of another shape, or a bias that the architecture does
            not have is not 0. The message names them all.
    """
    found = {short: state[name] for short, name in NAMES.items() if name in state}
    found |= {short: state[short] for short in NAMES if short in state and short not in found}
    missing = [NAMES[short] for short in NAMES if short not in found]
    if missing:
        raise ModelError(f"the weights lack {', '.join(missing)}")
    _refuse_biases(state)
    if found["W_O"].ndim == 2:
        found = _from_published(found)
    weights = {
        name: tensor.detach().to(torch.float64).unsqueeze(0) for name, tensor in found.items()
    }
    _refuse_other_shapes(weights, p)
    return weights


def _from_published(found: Mapping[str, Tensor]) -> Weights:
    """Return tensors of the published code, which has outputs first, in our layout."""
    n_heads = found["W_Q"].shape[0]
    turned = {name: found[name].transpose(-1, -2) for name in ("W_Q", "W_K", "W_V")}
    turned |= {name: found[name].T for name in ("W_E", "W_in", "W_out")}
    return {**found, **turned, "W_O": found["W_O"].T.reshape(n_heads, -1, len(found["W_O"]))}


def _refuse_biases(state: Mapping[str, Tensor]) -> None:
    wrong = [name for name in state if name.endswith(_ZERO) and bool(state[name].any())]
    if wrong:
        raise ModelError(f"the architecture has no {', '.join(wrong)}, and here they are not 0")


def _refuse_other_shapes(weights: Weights, p: int | None) -> None:
    sizes = {name: tuple(tensor.shape[1:]) for name, tensor in weights.items()}
    if any(len(sizes[name]) != n for name, n in (("W_E", 2), ("W_Q", 3), ("W_in", 2))):
        raise ModelError(f"weights of another architecture: {sizes}")
    n_tokens, width = sizes["W_E"]
    shape = Shape(p or n_tokens - 1, width, sizes["W_Q"][0], sizes["W_in"][1])
    wanted = shape.tensors
    wrong = [
        f"{NAMES[name]} is {sizes[name]}, not {wanted[name]}"
        for name in NAMES
        if sizes[name] != wanted[name] and not (name == "W_U" and sizes[name] == (width, shape.p))
    ]
    if wrong:
        raise ModelError(f"weights of another shape: {'; '.join(wrong)}")
