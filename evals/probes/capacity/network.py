"""GPT-2s of one shape side by side, as one batch of weights.

In: the weights of R networks, one row of numbers each, and sequences for each. Out: logits, or the
mean loss. A network here is transformers' `GPT2LMHeadModel` without dropout, to rounding;
what a normalisation scales is multiplied into the matrix that reads it, once for all tokens.

Source: Morris et al. (arXiv 2505.24832), section 3, whose networks are transformers' GPT-2 with
tied embeddings and positions for 64 tokens.

Glossary: R networks; B sequences of each; S tokens; V vocabulary; D width; P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from evals.probes.capacity.readout import mean_cross_entropy
from evals.probes.capacity.shape import Shape

__all__ = ["Weights", "draw_weights", "mean_losses", "next_token_logits", "split_weights"]

Weights = dict[str, Tensor]
"""Name to tensor, each (R, ...): of `Shape.tensors`."""

_SPREAD = 0.02
"""Standard deviation of first weights, as transformers draws GPT-2's."""


def draw_weights(shape: Shape, seed: int) -> Tensor:
    """Return the weights (P,) of one network before training, float32.

    Normal, what is added to the residual stream smaller by sqrt(2 L); scales 1, biases 0.
    """
    generator = torch.Generator().manual_seed(seed)
    row = torch.empty(1, shape.n_parameters)
    for name, tensor in split_weights(row, shape).items():
        if name.endswith("bias"):
            tensor.zero_()
        elif ".ln_" in name or name.startswith("ln_"):
            tensor.fill_(1.0)
        else:
            spread = _SPREAD / math.sqrt(2 * shape.layers) if "c_proj" in name else _SPREAD
            tensor.normal_(0.0, spread, generator=generator)
    return row[0]


def split_weights(rows: Tensor, shape: Shape) -> Weights:
    """Return views (R, ...) of rows (R, P), by name."""
    sizes = shape.tensors
    parts = torch.split(rows, [math.prod(size) for size in sizes.values()], dim=1)
    return {
        name: part.view(len(rows), *size)
        for (name, size), part in zip(sizes.items(), parts, strict=True)
    }


def mean_losses(weights: Mapping[str, Tensor], shape: Shape, tokens: Tensor) -> Tensor:
    """Return (R,) mean nats of every token but the first of sequences (R, B, S)."""
    stream = _stream(weights, shape, tokens)
    readout, bias = _readout(weights)
    return mean_cross_entropy(stream, readout, bias, tokens[..., 1:].flatten(1))


def next_token_logits(weights: Mapping[str, Tensor], shape: Shape, tokens: Tensor) -> Tensor:
    """Return (R, B, S - 1, V) logits of the tokens after each but the last of (R, B, S)."""
    n_networks, n_sequences, length = tokens.shape
    readout, bias = _readout(weights)
    logits = _linear(_stream(weights, shape, tokens), readout.transpose(1, 2), bias)
    return logits.view(n_networks, n_sequences, length - 1, -1)


def _stream(weights: Mapping[str, Tensor], shape: Shape, tokens: Tensor) -> Tensor:
    """Return (R, B (S - 1), D) what the readout reads at each token but the last, normalised."""
    n_sequences, length = tokens.shape[1:]
    places = weights["wpe.weight"][:, None, : length - 1]
    stream = (_rows(weights["wte.weight"], tokens[..., :-1]) + places).flatten(1, 2)
    for layer in range(shape.layers):
        own = {
            name.removeprefix(f"h.{layer}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"h.{layer}.")
        }
        stream = stream + _attend(own, stream, n_sequences, shape.heads)
        stream = stream + _think(own, stream)
    return functional.layer_norm(stream, stream.shape[-1:])


def _readout(weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return (R, V, D) and (R, V): the embedding, with the last normalisation's scale and shift."""
    embedding = weights["wte.weight"]
    scale, shift = weights["ln_f.weight"], weights["ln_f.bias"]
    return embedding * scale.unsqueeze(1), (embedding @ shift.unsqueeze(2)).squeeze(2)


def _attend(own: Weights, stream: Tensor, n_sequences: int, n_heads: int) -> Tensor:
    """Return what attention adds to the residual stream (R, B S, D)."""
    n_networks, n_rows, width = stream.shape
    read = _read(own, "ln_1", stream, own["attn.c_attn.weight"], own["attn.c_attn.bias"])
    parts = read.view(n_networks * n_sequences, -1, 3, n_heads, width // n_heads)
    query, key, value = parts.permute(2, 0, 3, 1, 4)  # (R B, H, S, K) each
    mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    heads = mixed.transpose(1, 2).reshape(n_networks, n_rows, width)
    return _linear(heads, own["attn.c_proj.weight"], own["attn.c_proj.bias"])


def _think(own: Weights, stream: Tensor) -> Tensor:
    """Return what the MLP adds to the residual stream (R, B S, D)."""
    read = _read(own, "ln_2", stream, own["mlp.c_fc.weight"], own["mlp.c_fc.bias"])
    neurons = functional.gelu(read, approximate="tanh")
    return _linear(neurons, own["mlp.c_proj.weight"], own["mlp.c_proj.bias"])


def _read(own: Weights, norm: str, stream: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """Return the normalised stream times a matrix; the norm's scale and shift go into both."""
    scale, shift = own[f"{norm}.weight"], own[f"{norm}.bias"]
    normed = functional.layer_norm(stream, stream.shape[-1:])
    moved = (shift.unsqueeze(1) @ matrix).squeeze(1)
    return _linear(normed, scale.unsqueeze(2) * matrix, moved + bias)


def _linear(rows: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias.unsqueeze(1), rows, matrix)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Return (R, B, S, D) rows of tables (R, V, D), each network's from its own."""
    n_networks, n_rows = table.shape[:2]
    offset = torch.arange(n_networks, device=index.device).view(-1, 1, 1) * n_rows
    rows: Tensor = functional.embedding(index + offset, table.flatten(0, 1))
    return rows
