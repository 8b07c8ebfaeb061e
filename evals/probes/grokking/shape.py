"""The sizes of the probe's network, and the names of its weights in a state dict."""

from __future__ import annotations

import dataclasses
import math

__all__ = ["NAMES", "Shape"]

NAMES = {
    "W_E": "embed.W_E",
    "W_pos": "pos_embed.W_pos",
    "W_Q": "blocks.0.attn.W_Q",
    "W_K": "blocks.0.attn.W_K",
    "W_V": "blocks.0.attn.W_V",
    "W_O": "blocks.0.attn.W_O",
    "W_in": "blocks.0.mlp.W_in",
    "b_in": "blocks.0.mlp.b_in",
    "W_out": "blocks.0.mlp.W_out",
    "b_out": "blocks.0.mlp.b_out",
    "W_U": "unembed.W_U",
}
"""Short name to the name in a state dict."""

N_POSITIONS = 3


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of a network; defaults as published."""

    p: int = 113
    width: int = 128
    n_heads: int = 4
    n_neurons: int = 512

    @property
    def head_size(self) -> int:
        """The size of a head."""
        return self.width // self.n_heads

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, by short name."""
        d, h, k, m, v = self.width, self.n_heads, self.head_size, self.n_neurons, self.p + 1
        return {
            "W_E": (v, d),
            "W_pos": (N_POSITIONS, d),
            **dict.fromkeys(("W_Q", "W_K", "W_V"), (h, d, k)),
            "W_O": (h, k, d),
            "W_in": (d, m),
            "b_in": (m,),
            "W_out": (m, d),
            "b_out": (d,),
            "W_U": (d, v),
        }

    @property
    def n_parameters(self) -> int:
        """How many numbers a network has."""
        return sum(math.prod(shape) for shape in self.tensors.values())
