"""What a trained network holds of its sequences, in bits.

In: code lengths of the sequences that it was trained on, and of others. Out: bits held against the
uniform prior, and against a reference that knows the kind of text and not these sequences.

Source: Morris et al. (arXiv 2505.24832), sections 2 to 5. Uniform sequences have nothing to be
generalised: all that is held is memorised. The published values count the first token, which no
network here predicts, as held; the charged ones do not, and are what a lower bound may claim.

Glossary: N sequences trained on; M others; S tokens of each; V vocabulary; P parameters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from evals.memorization.codes import CodedTokens, extraction_rates, memorized
from evals.memorization.law import predict_membership
from evals.memorization.membership import Membership, infer_membership
from evals.probes.capacity.sequences import Ceiling, find_ceiling

__all__ = ["HeldText", "HeldUniform", "hold_text", "hold_uniform"]

FloatArray = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class HeldUniform:
    """Bits of uniform sequences that a network holds.

    Attributes:
        data_bits: N S log2 V.
        charged: Bits held, the first token charged log2 V.
        uncharged: Bits held, the first token charged nothing.
        ceiling: The most that can be.
    """

    data_bits: float
    charged: float
    uncharged: float
    ceiling: Ceiling


def hold_uniform(code_bits: float, tokens: Tensor, vocabulary: int) -> HeldUniform:
    """Return what is held of (N, S) sequences whose tokens from the second on take `code_bits`."""
    n_sequences, length = tokens.shape
    per_token = math.log2(vocabulary)
    data_bits = n_sequences * length * per_token
    return HeldUniform(
        data_bits=data_bits,
        charged=data_bits - n_sequences * per_token - code_bits,
        uncharged=data_bits - code_bits,
        ceiling=find_ceiling(tokens, vocabulary),
    )


@dataclasses.dataclass(frozen=True)
class HeldText:
    """What a network holds of text; bits are sums over its N sequences, first tokens left out.

    Attributes:
        data_bits: Code length under the reference: what there is to be memorised.
        unintended: Beyond the reference, sequence by sequence never negative.
        untruncated: The same, also where the reference has the shorter code.
        generalized: Beyond the uniform prior, and known to the reference as well.
        reference_loss: The reference's bits a token on the others.
        reference_auc: How well the reference's loss tells the two apart, of which it saw neither:
            0.5 unless they differ by more than training.
        extracted: Tokens given to the share of sequences trained on that it completes exactly.
        completed: The same for the others, which it can only guess.
        membership: How well its loss tells what it was trained on.
        law_f1: What the published law expects of that.
    """

    data_bits: float
    unintended: float
    untruncated: float
    generalized: float
    reference_loss: float
    reference_auc: float
    extracted: dict[int, float]
    completed: dict[int, float]
    membership: Membership
    law_f1: float


def hold_text(
    trained: CodedTokens,
    others: CodedTokens,
    reference_bits: FloatArray,
    reference_other_bits: FloatArray,
    *,
    vocabulary: int,
    n_parameters: int,
    prefixes: Sequence[int],
    seed: int = 0,
) -> HeldText:
    """Return what a network holds of text.

    Args:
        trained: How it codes the N sequences that it was trained on.
        others: How it codes M others.
        reference_bits: (N,) what the first take under the reference, from the second token on.
        reference_other_bits: (M,) what the others take.
        vocabulary: V, of the prior: tokens that the text may have.
        n_parameters: P, for the law.
        prefixes: Tokens given, for extraction.
        seed: Of the halves on which thresholds are chosen.
    """
    n_sequences, n_predicted = trained.bits.shape
    own, other = trained.bits_after(1), others.bits_after(1)
    prior = np.full(n_sequences, n_predicted * math.log2(vocabulary))
    found = memorized(own, reference_bits, prior)
    return HeldText(
        data_bits=math.fsum(reference_bits),
        unintended=math.fsum(found.unintended),
        untruncated=math.fsum(found.untruncated),
        generalized=math.fsum(found.generalized),
        reference_loss=float(reference_other_bits.mean()) / n_predicted,
        reference_auc=infer_membership(reference_bits, reference_other_bits, seed=seed).auc,
        extracted=extraction_rates(trained, prefixes),
        completed=extraction_rates(others, prefixes),
        membership=infer_membership(own, other, seed=seed),
        law_f1=predict_membership(n_sequences, n_parameters),
    )
