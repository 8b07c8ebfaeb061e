"""A causal language model as the engine runs it: rows of tokens in, float32 logits out.

B rows, Q new tokens, T tokens so far, H hidden size, V vocabulary. Rows are padded on the left when
they are filled, so that all of them grow at the same column; a prefix that all rows share is
computed once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from transformers import Cache, PreTrainedModel

from evals.errors import ModelError
from imitate.kvcache import is_plain, new_cache, select_rows

__all__ = ["Network", "Rows", "fill"]

MIN_SHARED_PREFIX = 8
"""Shortest common prefix, in tokens, that is worth a forward pass of its own."""


class Network:
    """A model with its logits computed only where they are asked for, always in float32."""

    def __init__(self, model: PreTrainedModel, *, like: Network | None = None) -> None:
        self.model = model
        self.device = model.device
        self.backbone = model.base_model
        self.is_plain = is_plain(model.config)
        config = model.config.get_text_config()
        self.max_length: int = config.max_position_embeddings
        self._head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        self._softcap: float | None = getattr(config, "final_logit_softcapping", None)
        self._weight = self._float_weight(like)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return next-token logits (N, V) in float32 of hidden states (N, H).

        bfloat16 logits have steps of 1/8 at a value of 20 and would tie; products of bfloat16
        numbers are exact in float32, so the hardware's bfloat16 units compute them all the same
        (1.3 times the time of bfloat16 logits, a third of float32's).
        """
        if self._weight is None:
            logits: torch.Tensor = self._head(hidden).float()
        else:
            bias = None if self._head.bias is None else self._head.bias.float()
            with _bfloat16_products(self._head.weight.dtype is torch.bfloat16):
                logits = F.linear(hidden.float(), self._weight, bias)
        return logits if self._softcap is None else self._softcap * (logits / self._softcap).tanh()

    def check_head(self) -> None:
        """Make sure that `logits` are the model's own.

        Raises:
            ModelError: The architecture does more to its logits than this engine knows.
        """
        ids = torch.arange(2, 10, device=self.device).unsqueeze(0)
        with torch.inference_mode():
            own = self.model(input_ids=ids, use_cache=False).logits[0].float()
            ours = self.logits(self.backbone(input_ids=ids, use_cache=False).last_hidden_state[0])
        step = 2**-7 if self.model.dtype is torch.bfloat16 else 1e-4
        if not torch.allclose(own, ours, rtol=2 * step, atol=2 * step * float(own.abs().max())):
            raise ModelError(
                f"the architecture {type(self.model).__name__} transforms its logits in a way "
                "that the in-process engine does not know",
            )

    def _float_weight(self, like: Network | None) -> torch.Tensor | None:
        """Return the head's weight (V, H) in float32; one copy for models that share the head."""
        if type(self._head) is not torch.nn.Linear:
            return None
        if like is not None and self._head.weight is like._head.weight:
            return like._weight
        return self._head.weight.detach().float()


@dataclasses.dataclass
class Rows:
    """Rows of tokens inside a network.

    `mask` (B, C) is 1 where a row has a token among the `length` columns in use; `counts` (B,) are
    the tokens of each row.
    """

    network: Network
    cache: Cache
    mask: torch.Tensor
    counts: torch.Tensor
    length: int = 0

    def extend(self, ids: torch.Tensor, is_token: torch.Tensor | None = None) -> torch.Tensor:
        """Append columns (B, Q); return their hidden states (B, Q, H).

        A row that has ended, and only waits for the others, stays at the last position.
        """
        used = torch.ones_like(ids) if is_token is None else is_token
        end = self.length + ids.shape[1]
        self.mask[:, self.length : end] = used
        positions = (self.counts.unsqueeze(1) + used.cumsum(1) - 1).clamp(
            min=0, max=self.network.max_length - 1
        )
        output = self.network.backbone(
            input_ids=ids,
            attention_mask=self.mask[:, :end],
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.length = end
        self.counts = self.counts + used.sum(1)
        return output.last_hidden_state  # type: ignore[no-any-return]

    def select(self, rows: torch.Tensor, capacity: int) -> Rows:
        """Return these rows, each as often as it is named, with room for `capacity` columns.

        Of a network that is not plain these rows are spent then.
        """
        mask = self.mask.new_zeros(len(rows), capacity)
        mask[:, : self.length] = self.mask[rows, : self.length]
        cache = select_rows(self.cache, rows, capacity)
        return Rows(self.network, cache, mask, self.counts[rows], self.length)


def fill(
    network: Network, sequences: Sequence[Sequence[int]], capacity: int
) -> tuple[Rows, torch.Tensor]:
    """Return rows that hold these sequences, and the hidden states (B, H) of their last tokens.

    `capacity` is in columns; the longest sequence takes that many columns as it has tokens.
    """
    shared = _shared_prefix(sequences) if network.is_plain else 0
    if shared:
        first = _empty(network, 1, shared)
        first.extend(torch.tensor([sequences[0][:shared]], device=network.device))
        one_each = torch.zeros(len(sequences), dtype=torch.long, device=network.device)
        rows = first.select(one_each, capacity)
    else:
        rows = _empty(network, len(sequences), capacity)
    ids, is_token = pad([sequence[shared:] for sequence in sequences], network.device, left=True)
    return rows, rows.extend(ids, is_token)[:, -1]


def pad(
    sequences: Sequence[Sequence[int]], device: torch.device, *, left: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids (B, Q) and a mask of the same shape, 1 where there is a token."""
    width = max(map(len, sequences))
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    is_token = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        columns = slice(width - len(sequence), width) if left else slice(0, len(sequence))
        ids[row, columns] = torch.tensor(sequence)
        is_token[row, columns] = 1
    return ids.to(device), is_token.to(device)


def _empty(network: Network, rows: int, capacity: int) -> Rows:
    mask = torch.zeros(rows, capacity, dtype=torch.long, device=network.device)
    cache = new_cache(network.model.config, capacity)
    return Rows(network, cache, mask, mask.sum(1))


def _shared_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all sequences share, leaving at least one to each; 0 if too few."""
    if len(sequences) < 2:
        return 0
    ordered = sorted(map(list, sequences))  # what the extremes share, all between them share
    shortest = min(map(len, sequences))
    pairs = zip(ordered[0], ordered[-1], strict=False)
    differing = (place for place, (low, high) in enumerate(pairs) if low != high)
    shared = min(next(differing, shortest), shortest - 1)
    return shared if shared >= MIN_SHARED_PREFIX else 0


@contextmanager
def _bfloat16_products(is_on: bool) -> Iterator[None]:
    """Let float32 matrix products use bfloat16 units; exact only where both factors fit in it."""
    if not is_on:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
