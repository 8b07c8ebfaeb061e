"""The style discriminator as a judge: it prefers the answer that sounds more like the teacher.

In: texts of teacher and base to fit on, then pairs. Out: one `Judgement` a pair: each answer is
scored alone, so there is no first and no second, and no order to be swayed by.

What it sees is masked, as on the style axis (`evals.style.discriminator`): names, numbers and
quotes are gone, so it hears the voice and knows no facts. Names are those that the fitted texts and
prompts use, so a verdict depends on its pair and on what was fitted, and on nothing else. A pair
whose prompt was fitted on is judged by a classifier that saw no text on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from sklearn.pipeline import Pipeline

from evals.judges.pairs import ALONE, Pair
from evals.records import Judgement
from evals.style.classifier import (
    Distinguishability,
    LabelledText,
    caution,
    fit_classifier,
    fit_folds,
    measure_distinguishability,
    predict,
    predict_folds,
)
from evals.style.masking import MaskRules, make_rules, mask_text

__all__ = ["VoiceExample", "VoiceJudge", "fit_voice", "judge_voices"]


@dataclasses.dataclass(frozen=True)
class VoiceExample:
    """What teacher and base answered to one prompt; an id does for a prompt that is not known."""

    prompt: str
    teacher: str
    base: str


@dataclasses.dataclass(frozen=True)
class VoiceJudge:
    """A fitted judge.

    Attributes:
        whole: The classifier of all texts.
        folds: Those without the prompts of one fold each.
        prompts: What was fitted on.
        rules: What is masked.
        told: How well teacher and base are told apart on prompts that were not fitted on.
        note: A caution, where that is not well.
    """

    whole: Pipeline
    folds: Mapping[int, Pipeline]
    prompts: frozenset[str]
    rules: MaskRules
    told: Distinguishability
    note: str


def fit_voice(examples: Sequence[VoiceExample]) -> VoiceJudge:
    """Return a judge fitted on all these texts.

    Raises:
        RecordError: There are too few prompts.
    """
    texts = [text for one in examples for text in (one.teacher, one.base)]
    rules = make_rules((), [*texts, *(one.prompt for one in examples)])
    rows = [
        LabelledText(one.prompt, mask_text(text, rules).strip(), label)
        for one in examples
        for label, text in ((1, one.teacher), (0, one.base))
    ]
    folds = fit_folds(rows, hint="fit the discriminator on more prompts")
    told = measure_distinguishability(rows, folds)
    prompts = frozenset(one.prompt for one in examples)
    return VoiceJudge(fit_classifier(rows), folds, prompts, rules, told, caution(told))


def judge_voices(name: str, judge: VoiceJudge, pairs: Sequence[Pair]) -> list[Judgement]:
    """Return one judgement of each pair: which answer is likelier the teacher's, or a tie."""
    own = _probabilities(judge, [(one.prompt, one.answer) for one in pairs])
    other = _probabilities(judge, [(one.prompt, one.other_answer) for one in pairs])
    return [_judgement(name, *one) for one in zip(pairs, own, other, strict=True)]


def _probabilities(judge: VoiceJudge, answers: Sequence[tuple[str, str]]) -> list[float]:
    """Return P(teacher's) of each (prompt, text)."""
    masked = [(prompt, mask_text(text, judge.rules).strip()) for prompt, text in answers]
    unseen = predict(judge.whole, [text for _, text in masked])
    seen = predict_folds(judge.folds, masked)
    return [
        in_fold if prompt in judge.prompts else in_whole
        for (prompt, _), in_fold, in_whole in zip(masked, seen, unseen, strict=True)
    ]


def _judgement(name: str, pair: Pair, own: float, other: float) -> Judgement:
    return Judgement(
        item_id=pair.pair_id,
        judge=name,
        arm=pair.arm,
        against=pair.against,
        order=ALONE,
        value=0.5 if own == other else float(own > other),
        text=f"the teacher's with a probability of {own:.3f} against {other:.3f}",
    )
