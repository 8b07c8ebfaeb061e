"""Cross-entropy of a readout whose logits never lie in memory whole.

Logits over a vocabulary are most of what a small language model computes, and passing them through
memory several times costs more than the products. So a few rows at a time are taken from the
products to their gradients while they lie in the processor's cache. The gradient of a mean is known
by then but for its factor, which the backward pass supplies.

Source: the fused linear cross-entropy of Liger Kernel (Hsu et al. 2024, arXiv 2410.10989).

Glossary: R networks; N rows; D width; V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["mean_cross_entropy"]

LOGITS_AT_ONCE = {"cpu": 2**19, "cuda": 2**27}
"""Numbers: about what a processor's cache holds, or a launch is worth on a GPU."""

LEAST_NATS = -80.0
"""Log-chance under which a token counts as 1e-35 likely in the gradient. Below float32's normal
range `exp` takes some 60 times as long, and where all is held by heart most tokens are there."""


def mean_cross_entropy(rows: Tensor, readout: Tensor, bias: Tensor, wanted: Tensor) -> Tensor:
    """Return (R,) mean nats of wanted tokens.

    Args:
        rows: (R, N, D) what is read.
        readout: (R, V, D) one row a token.
        bias: (R, V).
        wanted: (R, N) tokens.
    """
    losses: Tensor = _MeanCrossEntropy.apply(rows, readout, bias, wanted)  # type: ignore[no-untyped-call]
    return losses


class _MeanCrossEntropy(torch.autograd.Function):
    """Losses forward, with their gradients kept; backward, those times what comes in."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, readout: Tensor, bias: Tensor, wanted: Tensor) -> Tensor:
        n_networks, n_rows, _ = rows.shape
        at_once = LOGITS_AT_ONCE[rows.device.type] // (n_networks * readout.shape[1])
        wide = torch.promote_types(rows.dtype, torch.float32)  # bfloat16 cannot add up many parts
        losses = rows.new_zeros(n_networks, dtype=wide)
        by_rows, by_readout, by_bias = (
            torch.zeros_like(one, dtype=wide) for one in (rows, readout, bias)
        )
        step = max(32, at_once)
        for start in range(0, n_rows, step):
            here = slice(start, start + step)
            read, tokens = rows[:, here], wanted[:, here].unsqueeze(2)
            logits = torch.baddbmm(bias.unsqueeze(1), read, readout.transpose(1, 2))
            nats = torch.log_softmax(logits.to(losses.dtype), dim=2)
            losses -= nats.gather(2, tokens).sum(dim=(1, 2))
            chances = nats.clamp_(min=LEAST_NATS).exp_()
            chances.scatter_add_(2, tokens, chances.new_full(tokens.shape, -1.0))
            by_rows[:, here] = chances @ readout
            by_readout += chances.transpose(1, 2) @ read
            by_bias += chances.sum(dim=1)
        ctx.save_for_backward(by_rows, by_readout, by_bias)
        ctx.n_rows, ctx.dtypes = n_rows, (rows.dtype, readout.dtype, bias.dtype)
        return losses / n_rows

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor | None, ...]:
        factor = (incoming[0] / ctx.n_rows).view(-1, 1, 1)
        by_rows, by_readout, by_bias = ctx.saved_tensors
        found = by_rows * factor, by_readout * factor, by_bias * factor.squeeze(2)
        return *(one.to(dtype) for one, dtype in zip(found, ctx.dtypes, strict=True)), None
