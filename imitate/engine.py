"""The in-process engine: one base and its adapters on transformers, as an `Endpoint`.

The base is loaded once; each adapter acts on the shared weights or is merged into a copy in memory,
which is checked against the unmerged one. The same calls give the same bytes: nothing depends on
what ran before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evals.endpoint import BASE, Generation, Message, Progress, Sampling, TokenLogprobs
from evals.errors import EndpointError, RunError
from imitate.adapters import Adapters
from imitate.attention import use_short_attention
from imitate.decoding import Answer, StopRule, decode
from imitate.models import ModelRef, load_model
from imitate.network import Network
from imitate.scoring import score
from imitate.tokens import encode, encode_pair, render_chat, stop_ids, too_long

__all__ = ["Engine"]

AGREEMENT_TEXTS = (
    "Q: What is the capital of France?\nA: Paris\n",
    "The quick brown fox jumps over the lazy dog, and then it rests for 27 minutes.",
    "<|user|> List three rivers, with the country of each.\n",
)
AGREEMENT_BOUND = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Mean difference of token log-probabilities, merged against unmerged, in nats, at most."""


class Engine:
    """One base and its adapters, in this process."""

    def __init__(
        self,
        ref: ModelRef,
        tokenizer: PreTrainedTokenizerBase,
        adapters: Mapping[str, Path],
        *,
        dtype: torch.dtype,
        batch_tokens: int,
        merge_adapters: bool,
    ) -> None:
        assert BASE not in adapters, f"an adapter may not be named {BASE!r}"
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = load_model(ref, dtype)
        model.to(device)  # type: ignore[arg-type]
        use_short_attention(model)
        self.tokenizer = tokenizer
        self._base = Network(model)
        self._base.check_head()
        self._adapters = Adapters(model, ref, adapters)
        self._batch_tokens = batch_tokens
        self._merges = merge_adapters
        self._stop_ids = stop_ids(tokenizer, model.generation_config)
        self._current: tuple[str, Network] = (BASE, self._base)
        self._rules: dict[tuple[str, ...], StopRule] = {}

    @property
    def models(self) -> tuple[str, ...]:
        """Names that can be asked: `BASE` first, then the adapters."""
        return (BASE, *self._adapters.names)

    def acting(self, name: str) -> PreTrainedModel:
        """Return the transformers model itself, on which an adapter acts until the next call."""
        if name == BASE:
            return self._base.model
        self._current = (BASE, self._base)
        return self._adapters.unmerged(name)

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return a chat as prompt text; whole where its last turn is the assistant's."""
        is_finished = messages[-1]["role"] == "assistant"
        return render_chat(self.tokenizer, messages, is_finished=is_finished)

    @torch.inference_mode()
    def generate(
        self,
        model: str,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """Return one answer for each prompt; one that fills the context has failed."""
        network = self._network(model)
        rule = self._rule(sampling.stop)
        encoded = [encode(self.tokenizer, prompt) or [self._stop_ids[0]] for prompt in prompts]
        fits = [i for i, ids in enumerate(encoded) if len(ids) < network.max_length]
        answers = decode(
            network,
            [encoded[index] for index in fits],
            [prompts[index] for index in fits],
            sampling,
            rule,
            batch_tokens=self._batch_tokens,
            progress=progress,
        )
        if progress and len(fits) < len(prompts):
            progress(len(prompts) - len(fits))
        by_index = dict(zip(fits, answers, strict=True))
        return [
            _generation(by_index[index], rule)
            if index in by_index
            else too_long(len(encoded[index]), network.max_length)
            for index in range(len(prompts))
        ]

    @torch.inference_mode()
    def token_logprobs(
        self,
        model: str,
        pairs: Sequence[tuple[str, str]],
        *,
        progress: Progress | None = None,
    ) -> list[TokenLogprobs]:
        """Return the log-probabilities of each (context, continuation)'s continuation tokens."""
        network = self._network(model)
        encoded = [encode_pair(self.tokenizer, *pair) for pair in pairs]
        for pair, text in zip(encoded, pairs, strict=True):
            if len(pair.continuation) > network.max_length:
                raise EndpointError(
                    f"a continuation of {len(pair.continuation)} tokens exceeds the model's "
                    f"context of {network.max_length}: {text[1][:80]!r}..."
                )
        found = score(network, encoded, batch_tokens=self._batch_tokens, progress=progress)
        return [
            TokenLogprobs(
                one.logprobs, np.array(pair.starts, dtype=np.int64), one.is_top, one.behind
            )
            for one, pair in zip(found, encoded, strict=True)
        ]

    def _network(self, name: str) -> Network:
        if name not in self.models:
            raise EndpointError(f"no model `{name}` here; there are: {', '.join(self.models)}")
        if name == BASE:
            return self._base
        if self._current[0] != name:
            self._current = (BASE, self._base)  # lets go of the copy that was merged before
            self._current = (name, self._adapted(name))
        elif not self._is_merged(name):
            self._adapters.unmerged(name)
        return self._current[1]

    def _adapted(self, name: str) -> Network:
        if not self._is_merged(name):
            return Network(self._adapters.unmerged(name), like=self._base)
        merged = Network(self._adapters.merged(name), like=self._base)
        acting = Network(self._adapters.unmerged(name), like=self._base)
        self._check_agreement(name, merged, acting)
        return merged

    def _is_merged(self, name: str) -> bool:
        return self._merges and self._adapters.can_merge(name)

    def _check_agreement(self, name: str, merged: Network, acting: Network) -> None:
        pairs = [encode_pair(self.tokenizer, "", text) for text in AGREEMENT_TEXTS]
        found = [
            np.concatenate([s.logprobs for s in score(network, pairs, batch_tokens=4096)])
            for network in (merged, acting)
        ]
        difference = float(np.abs(found[0] - found[1]).mean())
        bound = AGREEMENT_BOUND[merged.model.dtype]
        if not difference <= bound:
            raise RunError(
                f"adapter `{name}`, merged, differs from itself unmerged by {difference:.2g} nats "
                f"per token (at most {bound:g}); set `serve.merge_adapters: false`"
            )

    def _rule(self, stop: tuple[str, ...]) -> StopRule:
        if stop not in self._rules:
            self._rules[stop] = StopRule(self.tokenizer, self._stop_ids, stop)
        return self._rules[stop]


def _generation(answer: Answer, rule: StopRule) -> Generation:
    reason = "stop" if answer.is_stopped else "length"
    return Generation(rule.text_of(answer.ids), len(answer.ids), reason)
