"""Prompts as token ids -> answers as token ids: batched greedy and sampled decoding.

Prompts are sorted by length and batched under a token budget, so the batches depend on the call's
own prompts and on nothing that ran before. Rows that have ended leave their batch. B rows, V
vocabulary.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from evals.endpoint import Sampling
from imitate.network import Network, fill
from imitate.tokens import answer_text

__all__ = ["Answer", "EndRule", "StopRule", "batches_within", "decode"]

COMPACT_SHARE = 0.75
"""Rows are dropped once so few of a batch are alive: dropping copies the cache."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer: all tokens drawn, with the one that ended it; whether it ended by itself."""

    ids: tuple[int, ...]
    is_stopped: bool


class EndRule(Protocol):
    """Tells whether an answer has ended."""

    def has_ended(self, ids: Sequence[int]) -> bool:
        """Return whether the newest of these tokens ends the answer."""
        ...


class StopRule:
    """Tells whether an answer has ended, by an EOS token or by a stop text.

    Decoding every answer at every token would take longer than a small model: an answer is decoded
    only when its newest token holds the last character of a stop text.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, eos: Sequence[int], stop: Sequence[str]
    ) -> None:
        self._tokenizer = tokenizer
        self._eos = frozenset(eos)
        self._stop = tuple(text for text in stop if text)
        self._suspects = _tokens_with(tokenizer, {text[-1] for text in self._stop})

    def has_ended(self, ids: Sequence[int]) -> bool:
        """Return whether the newest of these tokens ends the answer."""
        if ids[-1] in self._eos:
            return True
        if ids[-1] not in self._suspects:
            return False
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return any(stop in text for stop in self._stop)

    def text_of(self, ids: Sequence[int]) -> str:
        """Return an answer's text up to its first stop text, without special tokens."""
        return answer_text(self._tokenizer, ids, self._stop)


def decode(
    network: Network,
    prompts: Sequence[Sequence[int]],
    keys: Sequence[str],
    sampling: Sampling,
    rule: EndRule,
    *,
    batch_tokens: int,
    progress: Callable[[int], None] | None = None,
) -> list[Answer]:
    """Return one answer for each prompt; `keys` are the prompts' texts, which seed their draws."""
    answers: dict[int, Answer] = {}
    limits = [min(sampling.max_tokens, network.max_length - len(prompt)) for prompt in prompts]
    for batch in batches_within([len(p) for p in prompts], sampling.max_tokens, batch_tokens):
        drawn = _decode_batch(
            network,
            [prompts[index] for index in batch],
            [limits[index] for index in batch],
            _Picker(sampling, [keys[index] for index in batch], network.device),
            rule,
        )
        answers.update(zip(batch, drawn, strict=True))
        if progress:
            progress(len(batch))
    return [answers[index] for index in range(len(prompts))]


def batches_within(lengths: Sequence[int], extra: int, batch_tokens: int) -> list[list[int]]:
    """Return batches of indices, longest first, each within the token budget after padding.

    `extra` tokens come to each row. One row alone may exceed the budget.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    for index in order:
        width = lengths[batches[-1][0]] + extra if batches else 0
        if batches and (len(batches[-1]) + 1) * width <= batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


class _Picker:
    """Chooses next tokens: the likeliest, or one drawn with the prompt's own random numbers.

    Each prompt's numbers come from the seed and the prompt, so its sample does not depend on which
    prompts share its batch, but for rounding in the logits.
    """

    def __init__(self, sampling: Sampling, keys: Sequence[str], device: torch.device) -> None:
        self._temperature = sampling.temperature
        self._top_p = sampling.top_p
        if self._temperature > 0:
            draws = [_uniforms(sampling.seed, key, sampling.max_tokens) for key in keys]
            self._uniforms = torch.tensor(np.array(draws), device=device)

    def pick(self, logits: torch.Tensor, rows: torch.Tensor, step: int) -> torch.Tensor:
        """Return the next tokens (B,) of the given original rows, from logits (B, V)."""
        if self._temperature == 0:
            return logits.argmax(-1)
        probabilities = (logits.double() / self._temperature).softmax(-1)
        if self._top_p < 1:
            probabilities = _nucleus(probabilities, self._top_p)
        cumulative = probabilities.cumsum(-1)
        targets = self._uniforms[rows, step].unsqueeze(1) * cumulative[:, -1:]
        places = torch.searchsorted(cumulative, targets, right=True)
        return places.squeeze(1).clamp(max=logits.shape[1] - 1)


def _decode_batch(
    network: Network,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    picker: _Picker,
    rule: EndRule,
) -> list[Answer]:
    drawn: list[list[int]] = [[] for _ in prompts]
    is_stopped = [False] * len(prompts)
    capacity = max(map(len, prompts)) + max(limits)
    rows, hidden = fill(network, prompts, capacity)
    originals = torch.arange(len(prompts), device=network.device)  # which prompt a row answers
    alive = list(range(len(prompts)))  # rows of the batch that still answer
    for step in range(max(limits)):
        picked = picker.pick(network.logits(hidden), originals, step)
        tokens, names = picked.tolist(), originals.tolist()
        going = []
        for row in alive:
            answer = drawn[names[row]]
            answer.append(tokens[row])
            is_stopped[names[row]] = rule.has_ended(answer)
            if not is_stopped[names[row]] and len(answer) < limits[names[row]]:
                going.append(row)
        alive = going
        if not alive:
            break
        if len(alive) <= COMPACT_SHARE * len(tokens):
            kept = torch.tensor(alive, device=network.device)
            rows, originals, picked = rows.select(kept, capacity), originals[kept], picked[kept]
            alive = list(range(len(alive)))
        hidden = rows.extend(picked.unsqueeze(1))[:, -1]
    return [Answer(tuple(ids), ended) for ids, ended in zip(drawn, is_stopped, strict=True)]


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Return probabilities (B, V), zero outside the smallest set of tokens that reaches top_p."""
    ordered, tokens = torch.sort(probabilities, dim=-1, descending=True, stable=True)
    kept = ordered * (ordered.cumsum(-1) - ordered < top_p)
    return torch.zeros_like(probabilities).scatter(-1, tokens, kept)


def _uniforms(seed: int, key: str, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:16]))).random(count)


def _tokens_with(tokenizer: PreTrainedTokenizerBase, characters: set[str]) -> frozenset[int]:
    """Return the tokens whose text may hold one of these characters."""
    if not characters:
        return frozenset()
    # A token's text is read behind an anchor: alone, some decoders drop its leading space. Broken
    # UTF-8 shows as U+FFFD, and may be part of any character.
    anchor = tokenizer.encode("a", add_special_tokens=False)[:1]
    pairs = [[*anchor, index] for index in range(len(tokenizer))]
    texts = tokenizer.batch_decode(pairs, skip_special_tokens=True)
    wanted = characters | {"\ufffd"}
    skipped = len(tokenizer.decode(anchor))
    return frozenset(i for i, text in enumerate(texts) if not wanted.isdisjoint(text[skipped:]))
