"""Completions in, Scores out: right, wrong or abstained, never just right; and what they add up to.

The same extraction and match score facts and skills; an item says which axis it counts for. A
`Score` holds what was extracted; the rule that found it is a function of the text alone. Nothing
here imports anything heavy.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from evals.answers import is_match
from evals.errors import RecordError
from evals.extraction import Extraction, Rule, extract_answer
from evals.records import Completion, Format, Item, Outcome, Score

__all__ = [
    "AnswerRates",
    "Knowledge",
    "KnowledgeClasses",
    "classify_knowledge",
    "draw_few_shots",
    "measure_rates",
    "score_answer",
    "score_answers",
    "split_by_group",
    "split_by_knowledge",
]


def score_answers(items: Sequence[Item], completions: Sequence[Completion]) -> list[Score]:
    """Return one score for each completion, in the order given.

    Raises:
        RecordError: A completion's item is unknown, or one arm lacks or doubles an item in one
            format and sample; the ids are listed.
    """
    by_id = {item.item_id: item for item in items}
    _check_complete(by_id, completions)
    return [score_answer(by_id[c.item_id], c) for c in completions]


def score_answer(item: Item, completion: Completion) -> Score:
    """Return what became of one answer.

    Right has the value 1. An abstention has the outcome `abstained` and the value 1 where no answer
    is recorded, else 0. Whatever is stated where none is recorded is wrong: a hallucination. A text
    from which no answer can be extracted is wrong, with `is_extracted` false. Of an item with
    choices, a choice's letter counts as its text.
    """
    found = extract_answer(completion.text, prompt=item.prompt, format=completion.format)
    if completion.finish_reason == "error":
        outcome, value, found = Outcome.FAILED, math.nan, Extraction("", Rule.NONE)
    elif found.rule is Rule.ABSTAINED:
        outcome, value = Outcome.ABSTAINED, float(not _accepted(item))
    else:
        is_right = is_match(_chosen(found.answer, item.choices), _accepted(item))
        outcome, value = (Outcome.RIGHT, 1.0) if is_right else (Outcome.WRONG, 0.0)
    return Score(
        item_id=item.item_id,
        arm=completion.arm,
        task=item.task,
        axis=item.axis,
        format=completion.format,
        cluster_id=item.cluster_id,
        value=value,
        outcome=outcome,
        extracted=found.answer,
        is_extracted=found.is_extracted,
        is_development=item.is_development,
        sample=completion.sample,
    )


def _accepted(item: Item) -> tuple[str, ...]:
    is_known = 0 <= item.gold < len(item.choices)
    return item.answers or ((item.choices[item.gold],) if is_known else ())


def _chosen(answer: str, choices: Sequence[str]) -> str:
    """Return the choice that a letter such as `(B)` stands for, else the answer itself."""
    letter, rest = answer.strip("() ")[:1], answer.strip("() ")[1:]
    place = ord(letter.upper()) - ord("A") if letter.isascii() and letter.isalpha() else -1
    is_letter = 0 <= place < len(choices) and (not rest or rest[0] in ".):")
    return choices[place] if is_letter else answer


def _check_complete(items: Mapping[str, Item], completions: Iterable[Completion]) -> None:
    counts: dict[tuple[str, Format, int], Counter[str]] = {}
    for c in completions:
        counts.setdefault((c.arm, c.format, c.sample), Counter())[c.item_id] += 1
    for (arm, format, sample), found in counts.items():
        faults = {
            "missing": items.keys() - found.keys(),
            "doubled": {item_id for item_id, count in found.items() if count > 1},
            "unknown": found.keys() - items.keys(),
        }
        told = [f"{what}: {', '.join(sorted(ids)[:20])}" for what, ids in faults.items() if ids]
        if told:
            raise RecordError(
                f"completions of `{arm}` ({format}, sample {sample}) do not join with the items: "
                + "; ".join(told)
            )


# --- rates ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class AnswerRates:
    """How one arm's answers fall out; shares in [0, 1] of the answers that did not fail.

    Attributes:
        n: Answers that did not fail.
        n_failed: Calls that failed; in no share.
        right: Share right, a rightful abstention not counted.
        wrong: Share wrong, what could not be extracted included.
        abstained: Share that declined to answer.
        value: Mean value: right, or abstained where nothing is recorded.
        hallucination: wrong / (right + wrong): of what was attempted, the share that is false; NaN
            where nothing was attempted.
        extraction: Share from which an answer or an abstention was extracted.
    """

    n: int
    n_failed: int
    right: float
    wrong: float
    abstained: float
    value: float
    hallucination: float
    extraction: float


def measure_rates(scores: Sequence[Score]) -> AnswerRates:
    """Return the rates over the scores of one arm in one format."""
    done = [score for score in scores if score.outcome is not Outcome.FAILED]
    counts = Counter(score.outcome for score in done)
    right, wrong = counts[Outcome.RIGHT], counts[Outcome.WRONG]
    n = len(done)
    return AnswerRates(
        n=n,
        n_failed=len(scores) - n,
        right=_share(right, n),
        wrong=_share(wrong, n),
        abstained=_share(counts[Outcome.ABSTAINED], n),
        value=_share(sum(score.value for score in done), n),
        hallucination=_share(wrong, right + wrong),
        extraction=_share(sum(score.is_extracted for score in done), n),
    )


def split_by_group(scores: Sequence[Score], items: Sequence[Item]) -> dict[str, list[Score]]:
    """Return the scores by their item's `group`, such as popularity, in the items' order."""
    groups = {item.item_id: item.group for item in items}
    split: dict[str, list[Score]] = {group: [] for group in groups.values()}
    for score in scores:
        split[groups[score.item_id]].append(score)
    return split


def _share(part: float, whole: int) -> float:
    return part / whole if whole else math.nan


# --- what the base knows --------------------------------------------------------------------------


class Knowledge(StrEnum):
    """How well a base knows a fact before any fine-tuning."""

    HIGHLY_KNOWN = "highly known"
    MAYBE_KNOWN = "maybe known"
    WEAKLY_KNOWN = "weakly known"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class KnowledgeClasses:
    """The class of every item by `item_id`, and the draws of the base that decided it.

    `draws` are the (arm, format, sample) of the deciding scores: the same answers must not be
    scored again, or a class of facts that were right by luck seems to be forgotten.
    """

    classes: Mapping[str, Knowledge]
    draws: frozenset[tuple[str, Format, int]]


def draw_few_shots(
    items: Sequence[Item], *, n_draws: int, size: int, seed: int, evaluated: Sequence[Item] = ()
) -> list[tuple[Item, ...]]:
    """Return `n_draws` few-shot prompts, each of `size` items drawn without replacement.

    None holds an item of the `evaluated` prompt. Where too few others are left, or a prompt has no
    items, every draw would be the evaluated answer over again: there are none.
    """
    shown = {item.item_id for item in evaluated}
    others = sorted((i for i in items if i.item_id not in shown), key=lambda item: item.item_id)
    if not 0 < size <= len(others):
        return []
    rng = random.Random(seed)
    return [tuple(rng.sample(others, size)) for _ in range(n_draws)]


def classify_knowledge(greedy: Sequence[Score], sampled: Sequence[Score]) -> KnowledgeClasses:
    """Return what the base knows, from its own answers under several few-shot prompts.

    Highly known: the greedy answer is right under every prompt. Maybe known: under some. Weakly
    known: never, but a sampled answer is right. Unknown: none is. Failed answers are left out; an
    abstention is not right, so items without a recorded answer do not belong here.

    Source: Gekhman et al. (arXiv 2405.05904), section 3 and table 1: 10 prompts of 4 examples, 16
    samples each at temperature 0.5. We leave both numbers to the caller, and unlike the paper
    class and outcome come from different draws, because the worst of several draws is worse than
    the next one by chance alone (regression to the mean).

    Args:
        greedy: The base's scores at temperature 0, one for each few-shot prompt; number their
            `sample` from 1, so that they differ from the draw that is evaluated (0).
        sampled: The base's scores at a higher temperature, under the same prompts.
    """
    right_greedy, right_sampled = _share_right(greedy), _share_right(sampled)
    classes = {
        item_id: _knowledge(share, right_sampled.get(item_id, 0.0))
        for item_id, share in right_greedy.items()
    }
    draws = frozenset((s.arm, s.format, s.sample) for s in (*greedy, *sampled))
    return KnowledgeClasses(classes, draws)


def split_by_knowledge(
    scores: Sequence[Score], known: KnowledgeClasses
) -> dict[Knowledge, list[Score]]:
    """Return scores by what the base knew of their item; unclassified items are left out.

    Raises:
        RecordError: A score belongs to a draw that decided the classes.
    """
    used = {(s.arm, s.format, s.sample) for s in scores} & known.draws
    if used:
        arm, format, sample = min(used)
        raise RecordError(
            f"sample {sample} of `{arm}` ({format}) decided the knowledge classes and cannot be "
            "scored by them",
            hint="classify by one set of few-shot draws and score another",
        )
    split: dict[Knowledge, list[Score]] = {knowledge: [] for knowledge in Knowledge}
    for score in scores:
        if score.item_id in known.classes:
            split[known.classes[score.item_id]].append(score)
    return split


def _share_right(scores: Iterable[Score]) -> dict[str, float]:
    values: dict[str, list[bool]] = {}
    for score in scores:
        if score.outcome is not Outcome.FAILED:
            values.setdefault(score.item_id, []).append(score.outcome is Outcome.RIGHT)
    return {item_id: sum(right) / len(right) for item_id, right in values.items()}


def _knowledge(greedy: float, sampled: float) -> Knowledge:
    if greedy == 1.0:
        return Knowledge.HIGHLY_KNOWN
    if greedy > 0.0:
        return Knowledge.MAYBE_KNOWN
    return Knowledge.WEAKLY_KNOWN if sampled > 0.0 else Knowledge.UNKNOWN
