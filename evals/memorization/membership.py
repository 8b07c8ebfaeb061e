"""Was a sequence trained on? A threshold on its loss, and how well that does.

In: code lengths of sequences that a model was trained on and of others like them. Out: F1 and AUC.

Source: Morris et al. (arXiv 2505.24832), section 5. The F1 of the law (`evals.memorization.law`)
falls to 1/2, which is what a blind guess has when the F1 of both answers are averaged; that of the
members alone would never fall under 2/3. So ours is the average (macro F1), of as many of either
side, as it would move with their numbers. Its threshold is chosen on one half of the sequences and
used on the other, both ways round.

Glossary: N members; M others.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import f1_score, roc_auc_score

from evals.errors import RecordError

__all__ = ["Membership", "infer_membership"]

FloatArray = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Membership:
    """How well members are told from others by their loss.

    Attributes:
        f1: Mean of the F1 of both answers, of as many of either, thresholds from the other half.
        auc: Chance that a member has the smaller loss than one of the others; ties count half.
        n_members: Sequences trained on.
        n_others: Sequences not trained on.
    """

    f1: float
    auc: float
    n_members: int
    n_others: int


def infer_membership(member_bits: ArrayLike, other_bits: ArrayLike, *, seed: int = 0) -> Membership:
    """Return how well a threshold on code lengths (N,) and (M,) tells members from others.

    Raises:
        RecordError: There are fewer than two of either.
    """
    members, others = (np.asarray(bits, dtype=np.float64) for bits in (member_bits, other_bits))
    if min(len(members), len(others)) < 2:
        raise RecordError(
            f"membership needs 2 sequences of each side, got {len(members)} and {len(others)}"
        )
    rng = np.random.default_rng(seed)
    most = min(len(members), len(others))
    halves = [np.array_split(rng.permutation(side)[:most], 2) for side in (members, others)]
    scores = [
        _f1_at(_best_threshold(*(side[1 - place] for side in halves)), *(s[place] for s in halves))
        for place in (0, 1)
    ]
    is_member = np.repeat([True, False], [len(members), len(others)])
    auc = roc_auc_score(is_member, -np.concatenate([members, others]))
    return Membership(sum(scores) / 2, float(auc), len(members), len(others))


def _best_threshold(members: FloatArray, others: FloatArray) -> float:
    """Return the bits up to which to say `member` for the highest F1, half-way to the next seen."""
    bits = np.unique(np.concatenate([members, others]))
    found = np.searchsorted(np.sort(members), bits, side="right")
    wrong = np.searchsorted(np.sort(others), bits, side="right")
    best = int(np.argmax(_macro_f1(found, wrong, len(members), len(others))))
    return float(bits[best : best + 2].mean())


def _macro_f1(found: NDArray[np.int64], wrong: NDArray[np.int64], n: int, m: int) -> FloatArray:
    members = 2 * found / (found + wrong + n)
    others = 2 * (m - wrong) / np.maximum((n - found) + (m - wrong) + m, 1)
    mean: FloatArray = (members + others) / 2
    return mean


def _f1_at(threshold: float, members: FloatArray, others: FloatArray) -> float:
    truth = np.repeat([True, False], [len(members), len(others)])
    said = np.concatenate([members, others]) <= threshold
    return float(f1_score(truth, said, average="macro", zero_division=0))
