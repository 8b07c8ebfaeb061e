"""Whether two sides gave the same answers, within what another order of sums may change.

Two backends that compute the same model differ by rounding. In float32 that is nothing: all
log-probabilities agree within `SCORE_BOUND`, all texts are equal. In bfloat16 every batching and
every merging rounds differently: there the mean difference per token is bounded, and where two
sides prefer different choices, the choices must have been a tie within `TIE_BOUND`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from sweep.sides import Answers, Side

__all__ = ["SCORE_BOUND", "TIE_BOUND", "TOKEN_BOUND", "Agreement", "compare_answers", "mean_shift"]

SCORE_BOUND = {"float32": 2e-3, "bfloat16": np.inf}
"""Largest difference of a choice's log-probability, in nats."""
TOKEN_BOUND = {"float32": 1e-4, "bfloat16": 0.05}
"""Largest mean difference, in nats per token, as `evals.adapters.compare_backends` has it."""
TIE_BOUND = {"float32": 2e-3, "bfloat16": 0.5}
"""Choices this close, in nats under both sides, may change their order."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far two sides agree on some models.

    Attributes:
        dtype: Whose bounds hold.
        n_items: Multiple-choice items, of all models.
        mean_difference: Of log-probabilities, in nats per token of the choices.
        largest_difference: Of a choice's log-probability, in nats.
        same_choice: Share of items on which both prefer the same choice.
        widest_tie: Largest margin, in nats, of an item on which they prefer different choices.
        same_text: Share of generated texts that are equal.
        same_score: Share of items, of both tasks, with the same score.
        violations: Bounds that do not hold, in words.
    """

    dtype: str
    n_items: int
    mean_difference: float
    largest_difference: float
    same_choice: float
    widest_tie: float
    same_text: float
    same_score: float
    violations: tuple[str, ...]


def compare_answers(ours: Side, theirs: Side, models: Sequence[str], dtype: str) -> Agreement:
    """Return how far both sides agree; both must have been asked the same, to the character."""
    differences, tokens, margins, n_items = [], 0, [], 0
    same_text, same_score = [], []
    for model in models:
        a, b = ours.answers[model], theirs.answers[model]
        _check_same_questions(model, a, b)
        differences += [abs(a.choices[pair] - b.choices[pair]) for pair in a.choices]
        tokens += sum(a.n_tokens.values())
        found = _margins(a.choices, b.choices)
        n_items += len(found)
        margins += [margin for margin in found if margin is not None]
        same_text += [a.texts[context] == b.texts[context] for context in a.texts]
        same_score += [a.scores[item] == b.scores[item] for item in a.scores]
    agreement = Agreement(
        dtype=dtype,
        n_items=n_items,
        mean_difference=float(np.sum(differences)) / tokens,
        largest_difference=float(np.max(differences)),
        same_choice=1 - len(margins) / n_items,
        widest_tie=max(margins, default=0.0),
        same_text=float(np.mean(same_text)),
        same_score=float(np.mean(same_score)),
        violations=(),
    )
    return dataclasses.replace(agreement, violations=_violations(agreement))


def mean_shift(one: Answers, other: Answers) -> float:
    """Return the mean difference of two models' choices, in nats: how much an adapter acts."""
    return float(np.mean([abs(one.choices[pair] - other.choices[pair]) for pair in one.choices]))


def _check_same_questions(model: str, ours: Answers, theirs: Answers) -> None:
    for what in ("choices", "texts", "scores"):
        if set(getattr(ours, what)) != set(getattr(theirs, what)):
            raise SystemExit(f"{model}: the sides were not asked the same {what}")


def _margins(
    ours: Mapping[tuple[str, str], float], theirs: Mapping[tuple[str, str], float]
) -> list[float | None]:
    """Return, for each item, None if both prefer the same choice, else the larger margin."""
    items: dict[str, list[tuple[str, str]]] = {}
    for pair in ours:
        items.setdefault(pair[0], []).append(pair)
    found = []
    for pairs in items.values():
        first, second = max(pairs, key=ours.__getitem__), max(pairs, key=theirs.__getitem__)
        margins = (ours[first] - ours[second], theirs[second] - theirs[first])
        found.append(None if first == second else max(margins))
    return found


def _violations(found: Agreement) -> tuple[str, ...]:
    checks = {
        "largest difference of a log-probability": (
            found.largest_difference,
            SCORE_BOUND[found.dtype],
        ),
        "mean difference per token": (found.mean_difference, TOKEN_BOUND[found.dtype]),
        "margin of a changed choice": (found.widest_tie, TIE_BOUND[found.dtype]),
    }
    broken = [
        f"{what} {value:.3g}, at most {bound:g} nats"
        for what, (value, bound) in checks.items()
        if not value <= bound
    ]
    if found.dtype == "float32" and found.same_text < 1:
        broken.append(f"{found.same_text:.1%} of the texts are equal, all expected in float32")
    return tuple(broken)
