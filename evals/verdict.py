"""The decisions on three axes -> the verdict on one imitator.

In: the data of the axes, or their decisions. Out: `Verdict`, one word and one sentence, with the
decisions behind it. docs/verdict.md has the table and what each word means.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum

from evals.axisdata import AxisData, Roles
from evals.decision import SUBSTANCE, AxisDecision, Decision, Rule, decide_axis
from evals.joint import SEEDS_FOR_RECIPE
from evals.records import Axis

__all__ = ["Verdict", "VerdictWord", "conclude", "judge_imitator"]


class VerdictWord(StrEnum):
    """What the three axes show together; docs/verdict.md has the table.

    There is no verdict where neither facts nor capability were measured: sounding better is then
    all that could be seen.
    """

    STYLE_ONLY = "style only"
    STYLE_ONLY_WITH_LOSS = "style only with loss"
    CLOSED_BOTH = "closed both"
    PARTLY = "partly"
    SUBSTANCE_ONLY = "substance only"
    NEITHER = "neither"
    UNRESOLVED = "unresolved"
    STYLE_ALONE_MEASURED = "no verdict"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The verdict on one imitator.

    Attributes:
        word: The verdict.
        sentence: It in words, with its scope.
        scope: What it speaks of: this adapter, or the recipe.
        axes: The decisions behind it.
        open_axes: The axes that keep it unresolved.
    """

    word: VerdictWord
    sentence: str
    scope: str
    axes: Mapping[Axis, AxisDecision]
    open_axes: tuple[Axis, ...] = ()


def judge_imitator(data: Sequence[AxisData], roles: Mapping[Axis, Roles], rule: Rule) -> Verdict:
    """Return the verdict on one imitator from the scores of all axes."""
    return conclude([decide_axis(axis, roles[axis.axis], rule) for axis in data])


def conclude(decisions: Sequence[AxisDecision], *, unit: str = "adapter") -> Verdict:
    """Return the verdict that the decisions bring; an axis that is missing counts as open.

    Args:
        decisions: One for each axis that was measured.
        unit: What one imitator is: an adapter that was trained here, or a model from elsewhere.
    """
    axes = {decision.axis: decision for decision in decisions}
    word, open_axes = _word(axes)
    scope = _scope(min((d.n_seeds for d in decisions), default=1), unit)
    return Verdict(word, _sentence(word, axes, open_axes, scope), scope, axes, open_axes)


def _word(axes: Mapping[Axis, AxisDecision]) -> tuple[VerdictWord, tuple[Axis, ...]]:
    """The verdict and the axes that keep it open, in the order of docs/verdict.md."""
    style, substance = axes.get(Axis.STYLE), [axes.get(axis) for axis in SUBSTANCE]
    if not any(substance):
        return VerdictWord.STYLE_ALONE_MEASURED, _open(axes)
    is_closed = style is not None and style.decision is Decision.CLOSED
    if not is_closed and not (style is not None and style.is_shown_short):
        return VerdictWord.UNRESOLVED, (Axis.STYLE, *_open(axes))
    if is_closed and all(d is not None and d.decision is Decision.CLOSED for d in substance):
        return VerdictWord.CLOSED_BOTH, ()
    if any(d is not None and d.is_gain_in_family for d in substance):
        return VerdictWord.PARTLY if is_closed else VerdictWord.SUBSTANCE_ONLY, ()
    if _open(axes):
        return VerdictWord.UNRESOLVED, _open(axes)
    if not is_closed:
        return VerdictWord.NEITHER, ()
    has_loss = any(d is not None and d.decision is Decision.LOSS for d in substance)
    return VerdictWord.STYLE_ONLY_WITH_LOSS if has_loss else VerdictWord.STYLE_ONLY, ()


def _open(axes: Mapping[Axis, AxisDecision]) -> tuple[Axis, ...]:
    """Substance axes on which neither a gain nor the want of one is shown."""
    known = {axis for axis, d in axes.items() if d.is_gain_in_family or d.is_none_shown}
    return tuple(axis for axis in SUBSTANCE if axis not in known)


def _scope(n_seeds: int, unit: str) -> str:
    if n_seeds >= SEEDS_FOR_RECIPE:
        return f"for this recipe, over {n_seeds} training seeds"
    return f"for this {unit}" if n_seeds == 1 else f"for these {n_seeds} {unit}s"


_SENTENCES = {
    VerdictWord.STYLE_ONLY: "It sounds like the teacher and knows no more than its base",
    VerdictWord.STYLE_ONLY_WITH_LOSS: "It sounds like the teacher and knows less than its base",
    VerdictWord.CLOSED_BOTH: "It closed the gap in style, in facts and in capability",
    VerdictWord.PARTLY: "It sounds like the teacher and gained some substance",
    VerdictWord.SUBSTANCE_ONLY: "It gained substance without the teacher's style",
    VerdictWord.NEITHER: "It neither sounds like the teacher nor gained substance",
    VerdictWord.UNRESOLVED: "The data do not decide",
    VerdictWord.STYLE_ALONE_MEASURED: "No verdict, as substance was not measured",
}


def _sentence(
    word: VerdictWord, axes: Mapping[Axis, AxisDecision], open_axes: tuple[Axis, ...], scope: str
) -> str:
    """The verdict in words: axes that gained, lost or stayed open are named."""
    named = [f"{a}: {axes[a].decision if a in axes else 'not measured'}" for a in open_axes]
    if word is VerdictWord.STYLE_ALONE_MEASURED:
        named = [f"{axis}: {decision.decision}" for axis, decision in axes.items()]
    elif word is not VerdictWord.UNRESOLVED:
        shown = (Decision.CLOSED, Decision.GAIN, Decision.LOSS)
        named = [
            f"{a}: {axes[a].decision}" for a in SUBSTANCE if a in axes and axes[a].decision in shown
        ]
    told = f" ({'; '.join(named)})" if named else ""
    return f"{_SENTENCES[word]}{told}, {scope}."
