"""(context, continuation) as token ids -> log-probabilities of the continuation's tokens.

Logits are computed at scored places only. Every context is computed once for all its
continuations, and what all contexts of a batch have in common (few-shot examples) once for all of
them. The batches depend on the call's own pairs and on nothing that ran before. N scored places,
V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from imitate.decoding import batches_within
from imitate.network import Network, Rows, fill, pad
from imitate.tokens import EncodedPair

__all__ = ["Scored", "score"]

LOGITS_PER_CHUNK = 2**24
"""Logits held at a time: 64 MiB in float32."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """A continuation's log-probabilities (T,) in nats; `is_top`, `behind` as in `TokenLogprobs`."""

    logprobs: NDArray[np.float64]
    is_top: NDArray[np.bool_]
    behind: NDArray[np.float64]


def score(
    network: Network,
    pairs: Sequence[EncodedPair],
    *,
    batch_tokens: int,
    progress: Callable[[int], None] | None = None,
) -> list[Scored]:
    """Return the log-probabilities of each pair's continuation, in the order of the pairs."""
    clipped = [_clip(pair, network.max_length) for pair in pairs]
    groups = _by_context(clipped, is_shared=network.is_plain)
    found: dict[int, Scored] = {}
    widths = [
        len(context) + max(len(clipped[index].continuation) for index in indices) * len(indices)
        for context, indices in groups
    ]
    for batch in batches_within(widths, 0, batch_tokens):
        chosen = [groups[index] for index in batch]
        found.update(_score_batch(network, clipped, chosen, batch_tokens))
        if progress:
            progress(sum(len(indices) for _, indices in chosen))
    return [found[index] for index in range(len(pairs))]


def _clip(pair: EncodedPair, max_length: int) -> EncodedPair:
    """Drop what does not fit from the left, as lm-eval does; the last token is never an input."""
    excess = len(pair.context) + len(pair.continuation) - (max_length + 1)
    if excess <= 0:
        return pair
    return dataclasses.replace(pair, context=pair.context[excess:])


def _by_context(
    pairs: Sequence[EncodedPair], *, is_shared: bool
) -> list[tuple[tuple[int, ...], list[int]]]:
    """Return the contexts, each with the indices of its pairs; every pair alone if not shared."""
    if not is_shared:
        return [(pair.context, [index]) for index, pair in enumerate(pairs)]
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        groups.setdefault(pair.context, []).append(index)
    return list(groups.items())


def _score_batch(
    network: Network,
    pairs: Sequence[EncodedPair],
    groups: Sequence[tuple[tuple[int, ...], list[int]]],
    batch_tokens: int,
) -> dict[int, Scored]:
    """Return the scores of some contexts' pairs, by index.

    First tokens are scored at the contexts' ends, the rest in rows that continue the contexts.
    """
    contexts = [context for context, _ in groups]
    members = [(row, index) for row, (_, indices) in enumerate(groups) for index in indices]
    rows, ends = fill(network, contexts, max(map(len, contexts)))
    places: list[torch.Tensor] = []  # hidden states (H,) that predict the targets
    targets: list[int] = []
    owners: list[int] = []
    for row, index in members:
        if pairs[index].continuation:
            places.append(ends[row])
            targets.append(pairs[index].continuation[0])
            owners.append(index)
    longer = [(row, index) for row, index in members if len(pairs[index].continuation) > 1]
    lengths = [len(pairs[index].continuation) - 1 for _, index in longer]
    for batch in _continued(lengths, rows, batch_tokens):
        chosen = [longer[one] for one in batch]
        inputs = [pairs[index].continuation[:-1] for _, index in chosen]
        ids, is_token = pad(inputs, network.device, left=False)
        origin = torch.tensor([row for row, _ in chosen], device=network.device)
        grown = rows.select(origin, rows.length + ids.shape[1])
        hidden = grown.extend(ids, is_token)
        for place, (_, index) in enumerate(chosen):
            rest = pairs[index].continuation[1:]
            places += list(hidden[place, : len(rest)])
            targets += rest
            owners += [index] * len(rest)
    return _gather(
        pairs, [index for _, index in members], owners, _logprobs(network, places, targets)
    )


def _continued(lengths: Sequence[int], rows: Rows, batch_tokens: int) -> list[list[int]]:
    """Return the batches in which contexts are continued: one where these can be chosen once."""
    if rows.network.is_plain or not lengths:
        return batches_within(lengths, rows.length, batch_tokens)
    return [list(range(len(lengths)))]


def _logprobs(network: Network, places: Sequence[torch.Tensor], targets: Sequence[int]) -> Scored:
    """Return the log-probabilities (N,) of the targets, reduced in float64."""
    chunk = max(1, LOGITS_PER_CHUNK // network.model.config.get_text_config().vocab_size)
    found, behind, leads = [np.empty(0)], [np.empty(0)], [np.empty(0, dtype=np.bool_)]
    for start in range(0, len(places), chunk):
        logits = network.logits(torch.stack(list(places[start : start + chunk])))
        wanted = torch.tensor(targets[start : start + chunk], device=logits.device).unsqueeze(1)
        top, leader = logits.max(-1, keepdim=True)
        total = (logits - top).exp().sum(-1, keepdim=True, dtype=torch.float64)
        lag = (top - logits.gather(1, wanted)).double()
        found.append((-lag - total.log()).squeeze(1).cpu().numpy())
        behind.append(lag.squeeze(1).cpu().numpy())
        leads.append((leader == wanted).squeeze(1).cpu().numpy())
    return Scored(np.concatenate(found), np.concatenate(leads), np.concatenate(behind))


def _gather(
    pairs: Sequence[EncodedPair],
    members: Sequence[int],
    owners: Sequence[int],
    scored: Scored,
) -> dict[int, Scored]:
    by_owner: dict[int, list[int]] = {index: [] for index in members}
    for place, owner in enumerate(owners):  # first tokens come before the rest, so in order
        by_owner[owner].append(place)
    found = {}
    for index, chosen in by_owner.items():
        assert len(chosen) == len(pairs[index].continuation), (index, chosen)
        found[index] = Scored(scored.logprobs[chosen], scored.is_top[chosen], scored.behind[chosen])
    return found
