"""Scoring and decoding over architectures: a sliding window, learned positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

from evals.endpoint import Sampling
from imitate.decoding import decode
from imitate.network import Network
from imitate.scoring import score
from imitate.tokens import EncodedPair

N_WORDS = 60


@pytest.fixture(scope="module")
def windowed() -> MistralForCausalLM:
    config = MistralConfig(
        vocab_size=N_WORDS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=96,
        sliding_window=8,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    return MistralForCausalLM(config).eval()


@pytest.fixture(scope="module")
def positioned() -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=N_WORDS, n_positions=24, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3
    )
    torch.manual_seed(0)
    return GPT2LMHeadModel(config).eval()


class Never:
    """No answer ends by itself."""

    def has_ended(self, ids: Sequence[int]) -> bool:
        """Return False."""
        return False


@pytest.mark.parametrize("batch_tokens", [40, 90, 4096])
@torch.inference_mode()
def test_scores_under_a_sliding_window_are_the_models_own(
    windowed: MistralForCausalLM, batch_tokens: int
) -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(12):
        n_before, n_after = int(rng.integers(1, 30)), int(rng.integers(1, 25))
        words = rng.integers(3, N_WORDS, n_before + n_after).tolist()
        pairs.append(EncodedPair(tuple(words[:n_before]), tuple(words[n_before:]), ()))
    found = score(Network(windowed), pairs, batch_tokens=batch_tokens)
    for pair, scored in zip(pairs, found, strict=True):
        ids = torch.tensor([[*pair.context, *pair.continuation]])
        own = windowed(input_ids=ids).logits[0].double().log_softmax(-1)
        places = range(len(pair.context), ids.shape[1])
        expected = [float(own[place - 1, ids[0, place]]) for place in places]
        assert scored.logprobs == pytest.approx(expected, abs=1e-4)


@torch.inference_mode()
def test_answer_that_filled_the_context_waits_beside_others(
    positioned: GPT2LMHeadModel,
) -> None:
    prompts = [[n + 3] * (23 if n == 0 else 3) for n in range(8)]
    found = decode(
        Network(positioned),
        prompts,
        [str(n) for n in range(len(prompts))],
        Sampling(max_tokens=30),
        Never(),
        batch_tokens=4096,
    )
    for prompt, answer in zip(prompts, found, strict=True):
        assert len(answer.ids) == 24 - len(prompt)
        ids = list(prompt)
        for word in answer.ids:
            assert word == int(positioned(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(word)
