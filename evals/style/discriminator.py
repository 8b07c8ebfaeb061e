"""Whose voice is it? A classifier of teacher against base, and the outputs it calls the teacher's.

In: chat completions of teacher and base on the same prompts, and of whichever arms are judged. Out:
the probability that each output is the teacher's (`Judgement`), the call that follows (`Score`),
and how far the classifier can be trusted. It sees masked text (`evals.style.masking`), so voice and
not facts, and it is cross-fitted by prompt: an output is judged by a classifier that saw no output
on the same prompt, of any arm. The classifier itself is `evals.style.classifier`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from evals.errors import RecordError
from evals.records import Axis, Completion, Format, Item, Judgement, Outcome, Score, index_by_item
from evals.style.classifier import (
    Distinguishability,
    LabelledText,
    caution,
    fit_folds,
    measure_distinguishability,
    predict_folds,
)
from evals.style.masking import MaskRules, make_rules, mask_text

__all__ = ["Discriminator", "Distinguishability", "judge_style", "tell_apart"]

JUDGE = "discriminator"
FEWER = "raise `n_items` of the style task"


@dataclasses.dataclass(frozen=True)
class Discriminator:
    """What the discriminator says of the judged outputs, and what it is worth.

    `note` is empty where teacher and base are told apart well enough, else the caution to print.
    """

    judgements: tuple[Judgement, ...]
    scores: tuple[Score, ...]
    teacher_against_base: Distinguishability
    note: str


def judge_style(
    items: Sequence[Item],
    *,
    base: Sequence[Completion],
    teacher: Sequence[Completion],
    judged: Sequence[Completion],
    phrases: Iterable[str] = (),
) -> Discriminator:
    """Return for every judged output whether it sounds like the teacher's.

    The score of an output is 1 where the probability is above one half. An empty output is nobody's
    voice and scores 0; a failed one has no score. The base's own value is had by judging `base`,
    the teacher's by judging its second sample. Names are masked that the prompts, the base or the
    teacher use, so no arm's value depends on which others are judged. The order of all arguments
    decides nothing.

    Args:
        items: The prompts, one each.
        base: The base's chat outputs, one for each item.
        teacher: The teacher's, one for each item.
        judged: Outputs to judge, of any arms and samples.
        phrases: What to mask beside names, numbers and quotes: the answers of all tasks.

    Raises:
        RecordError: Outputs do not join with the items, or there are too few prompts.
    """
    by_id = {item.item_id: item for item in items}
    _check_known(by_id, judged)
    teacher_by_item, base_by_item = (
        index_by_item(completions, by_id) for completions in (teacher, base)
    )
    usable = [
        i for i in sorted(by_id) if _is_done(teacher_by_item[i]) and _is_done(base_by_item[i])
    ]
    rules = _rules([*teacher, *base], items, phrases)
    masked = _masked_texts([*teacher, *base, *judged], rules)
    pairs = [
        LabelledText(by_id[i].prompt, masked[completions[i].text], label)
        for i in usable
        for label, completions in ((1, teacher_by_item), (0, base_by_item))
    ]
    models = fit_folds(pairs, hint=FEWER)
    values = predict_folds(models, [(by_id[c.item_id].prompt, masked[c.text]) for c in judged])
    told = measure_distinguishability(pairs, models)
    return Discriminator(
        judgements=tuple(_judgement(c, v) for c, v in zip(judged, values, strict=True)),
        scores=tuple(_score(by_id[c.item_id], c, v) for c, v in zip(judged, values, strict=True)),
        teacher_against_base=told,
        note=caution(told),
    )


def tell_apart(
    items: Sequence[Item],
    first: Sequence[Completion],
    second: Sequence[Completion],
    *,
    phrases: Iterable[str] = (),
) -> Distinguishability:
    """Return how well a fresh classifier tells two arms apart, cross-fitted by prompt.

    For an imitator against the teacher: an AUC of 0.5 means that no voice is left to learn, at this
    number of prompts and for this kind of classifier.

    Raises:
        RecordError: Outputs do not join with the items, or there are too few prompts.
    """
    prompts = {item.item_id: item.prompt for item in items}
    first_by_item, second_by_item = (index_by_item(side, prompts) for side in (first, second))
    masked = _masked_texts([*first, *second], _rules([*first, *second], items, phrases))
    pairs = [
        LabelledText(prompts[i], masked[side[i].text], label)
        for i in sorted(prompts)
        for label, side in ((1, first_by_item), (0, second_by_item))
        if _is_done(first_by_item[i]) and _is_done(second_by_item[i])
    ]
    return measure_distinguishability(pairs, fit_folds(pairs, hint=FEWER))


def _rules(
    completions: Sequence[Completion], items: Sequence[Item], phrases: Iterable[str]
) -> MaskRules:
    """Return rules that mask the answers of all items and the names that completions use."""
    texts = {c.text for c in completions}
    known = {phrase for item in items for phrase in (*item.answers, *item.choices)}
    return make_rules(known.union(phrases), [*texts, *(item.prompt for item in items)])


def _masked_texts(completions: Sequence[Completion], rules: MaskRules) -> dict[str, str]:
    return {text: mask_text(text, rules).strip() for text in {c.text for c in completions}}


# --- records --------------------------------------------------------------------------------------


def _is_done(completion: Completion) -> bool:
    return completion.finish_reason != "error"


def _check_known(items: Mapping[str, Item], judged: Iterable[Completion]) -> None:
    unknown = sorted({c.item_id for c in judged} - items.keys())
    if unknown:
        raise RecordError(f"{len(unknown)} judged outputs have no item: {', '.join(unknown[:20])}")


def _judgement(completion: Completion, value: float) -> Judgement:
    is_done = _is_done(completion)
    return Judgement(
        item_id=completion.item_id,
        judge=JUDGE,
        arm=completion.arm,
        value=value if is_done else math.nan,
        against="",
        error="" if is_done else completion.error or "the call failed",
    )


def _score(item: Item, completion: Completion, value: float) -> Score:
    called = Outcome.RIGHT if value > 0.5 else Outcome.WRONG
    is_done = _is_done(completion)
    return Score(
        item_id=item.item_id,
        arm=completion.arm,
        task=item.task,
        axis=Axis.STYLE,
        format=Format.CHAT,
        cluster_id=item.cluster_id,
        value=float(value > 0.5) if is_done else math.nan,
        outcome=called if is_done else Outcome.FAILED,
        is_development=item.is_development,
        sample=completion.sample,
    )
