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
        prompts: What was fitted on, white space folded.
        texts: The prompt of every masked text that was fitted on.
        rules: What is masked.
        told: How well teacher and base are told apart on prompts that were not fitted on.
        note: A caution, where that is not well.
    """

    whole: Pipeline
    folds: Mapping[int, Pipeline]
    prompts: frozenset[str]
    texts: Mapping[str, str]
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
        LabelledText(_folded(one.prompt), mask_text(text, rules).strip(), label)
        for one in examples
        for label, text in ((1, one.teacher), (0, one.base))
    ]
    folds = fit_folds(rows, hint="fit the discriminator on more prompts")
    told = measure_distinguishability(rows, folds)
    prompts = frozenset(row.prompt for row in rows)
    by_text = {row.text: row.prompt for row in rows if row.text}
    return VoiceJudge(fit_classifier(rows), folds, prompts, by_text, rules, told, caution(told))


def judge_voices(name: str, judge: VoiceJudge, pairs: Sequence[Pair]) -> list[Judgement]:
    """Return one judgement of each pair: which answer is likelier the teacher's, or a tie."""
    masked = [
        tuple(mask_text(text, judge.rules).strip() for text in (one.answer, one.other_answer))
        for one in pairs
    ]
    seen = [_seen_as(judge, one.prompt, texts) for one, texts in zip(pairs, masked, strict=True)]
    own, other = (_probabilities(judge, seen, side) for side in zip(*masked, strict=True))
    return [_judgement(name, *one) for one in zip(pairs, own, other, strict=True)]


def _seen_as(judge: VoiceJudge, prompt: str, texts: Sequence[str]) -> str | None:
    """Return the prompt under which a pair, or one of its texts, was fitted on; None if unseen."""
    if (folded := _folded(prompt)) in judge.prompts:
        return folded
    return next((judge.texts[text] for text in texts if text in judge.texts), None)


def _probabilities(
    judge: VoiceJudge, seen: Sequence[str | None], texts: Sequence[str]
) -> list[float]:
    """Return P(teacher's) of each masked text, by a classifier that was not fitted on it."""
    in_whole = predict(judge.whole, texts)
    in_fold = predict_folds(judge.folds, [(p or "", t) for p, t in zip(seen, texts, strict=True)])
    return [
        whole if prompt is None else fold
        for prompt, whole, fold in zip(seen, in_whole, in_fold, strict=True)
    ]


def _folded(prompt: str) -> str:
    return " ".join(prompt.split())


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
