"""How many bits a sequence takes under a model, and how many of them the model holds.

In: logits over sequences of tokens, or code lengths. Out: code lengths, memorised bits against a
reference, and how much of a sequence the model completes by heart.

A model without a start token says nothing of a sequence's first token. So code lengths start at
the second, and whoever adds up says what the first is charged: log2 V, which no model can beat
that never predicts it, or nothing, as the published values have it.

Source: Morris et al. (arXiv 2505.24832), section 2. With code lengths H in bits,
mem_U(x) = H(x | reference) - H(x | reference, model), where the last is the shorter of the two
codes: hence never negative. A sum of such maxima is above 0 for noise alone; the untruncated sum
stands beside it. Total memorisation has the prior, before any training, in the reference's place;
what is total and not unintended is generalisation: what model and reference both know.

Glossary: B sequences in a batch; N sequences; S tokens of each; V vocabulary.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from evals.errors import RecordError

__all__ = [
    "CodedTokens",
    "Memorized",
    "code_tokens",
    "extraction_rates",
    "join_coded",
    "memorized",
    "memorized_by_table",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class CodedTokens:
    """Sequences as a model codes them, from the second token on.

    Attributes:
        bits: (N, S - 1) code length of every token given those before it, float64.
        is_first_choice: (N, S - 1) whether every other token was less likely.
    """

    bits: FloatArray
    is_first_choice: BoolArray

    def bits_after(self, n_given: int) -> FloatArray:
        """Return (N,) bits of every sequence whose first `n_given` tokens, at least 1, are told."""
        total: FloatArray = self.bits[:, n_given - 1 :].sum(axis=1)
        return total


def code_tokens(logits: Tensor, tokens: Tensor) -> CodedTokens:
    """Return how a model codes the tokens that it predicts.

    Args:
        logits: (B, S - 1, V), or with the last position too, which predicts nothing here.
        tokens: (B, S) whole numbers.

    Raises:
        RecordError: Shapes do not fit, or a code length is no number.
    """
    n_predicted = tokens.shape[1] - 1
    if logits.shape[0] != len(tokens) or logits.shape[1] - n_predicted not in (0, 1):
        raise RecordError(f"logits {tuple(logits.shape)} do not fit tokens {tuple(tokens.shape)}")
    predicting, wanted = logits[:, :n_predicted], tokens[:, 1:]
    nats = functional.cross_entropy(
        predicting.to(torch.float64).flatten(0, 1), wanted.flatten(), reduction="none"
    )
    if bool(nats.isnan().any()):
        raise RecordError("the model gives logits that are no numbers")
    own = predicting.gather(2, wanted.unsqueeze(2))
    is_first_choice = (predicting >= own).sum(dim=2, keepdim=True) == 1
    return CodedTokens(
        bits=(nats / math.log(2)).view_as(wanted).cpu().numpy(),
        is_first_choice=is_first_choice.squeeze(2).cpu().numpy(),
    )


def join_coded(parts: Sequence[CodedTokens]) -> CodedTokens:
    """Return batches of sequences of one length as one."""
    return CodedTokens(
        np.concatenate([part.bits for part in parts]),
        np.concatenate([part.is_first_choice for part in parts]),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Memorized:
    """What a model holds of sequences, in bits.

    Attributes:
        unintended: (N,) beyond the reference, never negative.
        untruncated: (N,) the same where the reference may be the shorter code.
        total: (N,) beyond the prior, never negative.
    """

    unintended: FloatArray
    untruncated: FloatArray
    total: FloatArray

    @property
    def generalized(self) -> FloatArray:
        """(N,) the rest of the total: what the reference knows as well."""
        return self.total - self.unintended


def memorized(
    model_bits: ArrayLike, reference_bits: ArrayLike, prior_bits: ArrayLike | None = None
) -> Memorized:
    """Return what a model holds of sequences beyond a reference and beyond a prior.

    Args:
        model_bits: (N,) code lengths under the model.
        reference_bits: (N,) under what knows the distribution and not the sequences: the exact
            distribution, a model on other data, an oracle.
        prior_bits: (N,) before any training; the reference's where empty, as for data that have
            nothing to be generalised.

    Raises:
        RecordError: The code lengths are not of as many sequences.
    """
    model, reference, prior = (
        np.asarray(bits, dtype=np.float64)
        for bits in (
            model_bits,
            reference_bits,
            reference_bits if prior_bits is None else prior_bits,
        )
    )
    if not model.shape == reference.shape == prior.shape:
        raise RecordError(
            f"code lengths of {model.shape}, {reference.shape} and {prior.shape} sequences"
        )
    return Memorized(
        unintended=np.maximum(reference - model, 0.0),
        untruncated=reference - model,
        total=np.maximum(prior - model, 0.0),
    )


def memorized_by_table(n_sequences: int, length: int, vocabulary: int) -> float:
    """Return N S log2 V - N log2 N: bits of N random sequences that a list of them holds."""
    return n_sequences * (length * math.log2(vocabulary) - math.log2(n_sequences))


def extraction_rates(coded: CodedTokens, prefixes: Sequence[int]) -> dict[int, float]:
    """Return the share of sequences that greedy decoding completes exactly, by tokens given.

    Greedy decoding reproduces a rest if and only if each of its tokens is the first choice after
    those before it, so no decoding is needed. Ties count against the sequence.
    """
    places = np.arange(coded.is_first_choice.shape[1]) + 1
    last_wrong = np.where(coded.is_first_choice, 0, places).max(axis=1)
    return {given: float((last_wrong < given).mean()) for given in prefixes}
