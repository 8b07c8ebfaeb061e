"""The sizes of the probe's language model, and the names of its weights."""

from __future__ import annotations

import dataclasses
import math

from evals.errors import ModelError

__all__ = ["HEAD_SIZE", "Shape"]

HEAD_SIZE = 32
"""Widths are shared among heads of this size; a smaller width is one head."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of a GPT-2 with tied embeddings; vocabulary and positions as published.

    Raises:
        ModelError: The heads cannot share the width.
    """

    layers: int
    width: int
    vocabulary: int = 2048
    positions: int = 64

    def __post_init__(self) -> None:
        if self.width > HEAD_SIZE and self.width % HEAD_SIZE:
            raise ModelError(f"heads of {HEAD_SIZE} cannot share a width of {self.width}")

    @property
    def heads(self) -> int:
        """How many attention heads a layer has."""
        return max(1, self.width // HEAD_SIZE)

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, by its name in transformers' `GPT2Model`."""
        d = self.width
        sizes: dict[str, tuple[int, ...]] = {
            "wte.weight": (self.vocabulary, d),
            "wpe.weight": (self.positions, d),
        }
        for layer in range(self.layers):
            own = {
                **_norm("ln_1", d),
                **_linear("attn.c_attn", d, 3 * d),
                **_linear("attn.c_proj", d, d),
                **_norm("ln_2", d),
                **_linear("mlp.c_fc", d, 4 * d),
                **_linear("mlp.c_proj", 4 * d, d),
            }
            sizes |= {f"h.{layer}.{name}": size for name, size in own.items()}
        return sizes | _norm("ln_f", d)

    @property
    def n_parameters(self) -> int:
        """How many numbers a network has: V d + positions d + L (12 d^2 + 13 d) + 2 d."""
        return sum(math.prod(size) for size in self.tensors.values())


def _linear(name: str, n_in: int, n_out: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (n_in, n_out), f"{name}.bias": (n_out,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
