"""Whose voice is it? A classifier of teacher against base, and the outputs it calls the teacher's.

In: chat completions of teacher and base on the same prompts, and of whichever arms are judged. Out:
the probability that each output is the teacher's (`Judgement`), the call that follows (`Score`),
and how far the classifier can be trusted. It sees masked text (`evals.style.masking`), so voice and
not facts, and it is cross-fitted by prompt: an output is judged by a classifier that saw no output
on the same prompt, of any arm.

Features are tf-idf weights of words, punctuation and layout marks, alone and in pairs, of at least
`MIN_SHARE` of the outputs: a word that belongs to one topic is on few prompts. Weights are
normalised, so the length of an output is no feature: padding does not make a voice (length is told
by `evals.style.stylometry`).

Source: classifier two-sample tests, Lopez-Paz and Oquab (arXiv 1610.06545); cross-fitting after
Chernozhukov et al. (arXiv 1608.00060).

Glossary: N outputs; K folds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from evals.errors import RecordError
from evals.estimates import Estimate, bootstrap_estimate, share_estimate
from evals.records import Axis, Completion, Format, Item, Judgement, Outcome, Score, index_by_item
from evals.style.masking import MaskRules, make_rules, mask_text

__all__ = ["Discriminator", "Distinguishability", "judge_style", "tell_apart"]

JUDGE = "discriminator"
N_FOLDS = 5
FEWEST_PROMPTS = 10
MIN_SHARE = 0.01
LEAST_AUC = 0.7
"""A lower bound of the AUC below this: too alike for the style score to say much."""

FloatArray = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Distinguishability:
    """How well a classifier tells two arms apart on prompts that it never saw.

    Attributes:
        auc: Probability that it ranks an output of the one above an output of the other; 0.5: it
            cannot tell.
        accuracy: Share of outputs that it calls right.
        marks: Features that most speak for the first arm, for the reader.
    """

    auc: Estimate
    accuracy: Estimate
    marks: tuple[str, ...]


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
        _Labelled(by_id[i].prompt, masked[completions[i].text], label)
        for i in usable
        for label, completions in ((1, teacher_by_item), (0, base_by_item))
    ]
    models = _fit_folds(pairs)
    values = _probabilities(models, [(by_id[c.item_id].prompt, masked[c.text]) for c in judged])
    told = _distinguishability(pairs, models)
    return Discriminator(
        judgements=tuple(_judgement(c, v) for c, v in zip(judged, values, strict=True)),
        scores=tuple(_score(by_id[c.item_id], c, v) for c, v in zip(judged, values, strict=True)),
        teacher_against_base=told,
        note=_note(told),
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
        _Labelled(prompts[i], masked[side[i].text], label)
        for i in sorted(prompts)
        for label, side in ((1, first_by_item), (0, second_by_item))
        if _is_done(first_by_item[i]) and _is_done(second_by_item[i])
    ]
    return _distinguishability(pairs, _fit_folds(pairs))


@dataclasses.dataclass(frozen=True)
class _Labelled:
    prompt: str
    text: str
    label: int


def _rules(
    completions: Sequence[Completion], items: Sequence[Item], phrases: Iterable[str]
) -> MaskRules:
    """Return rules that mask the answers of all items and the names that completions use."""
    texts = {c.text for c in completions}
    known = {phrase for item in items for phrase in (*item.answers, *item.choices)}
    return make_rules(known.union(phrases), [*texts, *(item.prompt for item in items)])


def _masked_texts(completions: Sequence[Completion], rules: MaskRules) -> dict[str, str]:
    return {text: mask_text(text, rules).strip() for text in {c.text for c in completions}}


# --- the classifier -------------------------------------------------------------------------------

_LINE_START = re.compile(r"^\s*(?P<mark>#{1,6}|[-*•+]|\d+[.)]|xnumberx[.)])\s+")
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|\*\*|[^\w\s]")


def _features(text: str) -> Iterator[str]:
    """Yield the tokens of a masked text and their pairs; a mark of layout is a token."""
    tokens = ["<text>", *_tokens(text)]
    yield from tokens
    yield from (f"{a} {b}" for a, b in itertools.pairwise(tokens))


def _tokens(text: str) -> Iterator[str]:
    for line in text.strip().splitlines():
        mark = _LINE_START.match(line)
        if mark:
            kind = mark["mark"][0]
            yield "<heading>" if kind == "#" else "<step>" if kind in "x0123456789" else "<bullet>"
        for match in _TOKEN.finditer(line, mark.end() if mark else 0):
            yield match.group().lower()
        yield "<line>"


def _fit_folds(rows: Sequence[_Labelled]) -> Mapping[int, Pipeline]:
    """Return one classifier per fold, fitted on the prompts of the other folds."""
    n_prompts = len({row.prompt for row in rows})
    if n_prompts < FEWEST_PROMPTS:
        raise RecordError(
            f"a style discriminator needs at least {FEWEST_PROMPTS} prompts that both sides "
            f"answered, got {n_prompts}",
            hint="raise `n_items` of the style task",
        )
    return {
        fold: _fit([row for row in rows if _fold(row.prompt) != fold]) for fold in range(N_FOLDS)
    }


def _fold(prompt: str) -> int:
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8]) % N_FOLDS


def _fit(rows: Sequence[_Labelled]) -> Pipeline:
    fewest = max(2, math.ceil(MIN_SHARE * len(rows)))
    # liblinear: exact on one thread, so that neither cores nor batches change a digit
    model = Pipeline(
        [
            ("weights", TfidfVectorizer(analyzer=_features, min_df=fewest, sublinear_tf=True)),
            ("classifier", LogisticRegression(C=10.0, solver="liblinear", random_state=0)),
        ]
    )
    return model.fit([row.text for row in rows], [row.label for row in rows])


def _probabilities(
    models: Mapping[int, Pipeline], outputs: Sequence[tuple[str, str]]
) -> list[float]:
    """Return P(teacher's) of every (prompt, masked text); 0 where the text is empty."""
    values = [0.0] * len(outputs)
    for fold, model in models.items():
        rows = [row for row, (prompt, text) in enumerate(outputs) if _fold(prompt) == fold and text]
        if rows:
            predicted = model.predict_proba([outputs[row][1] for row in rows])[:, 1]
            for row, value in zip(rows, predicted.tolist(), strict=True):
                values[row] = value
    return values


def _distinguishability(
    rows: Sequence[_Labelled], models: Mapping[int, Pipeline]
) -> Distinguishability:
    values = np.array(_probabilities(models, [(row.prompt, row.text) for row in rows]))
    labels = np.array([row.label for row in rows])
    prompts = [row.prompt for row in rows]
    return Distinguishability(
        auc=bootstrap_estimate(lambda i: _auc(values[i], labels[i]), prompts),
        accuracy=share_estimate((values > 0.5) == (labels == 1), prompts),
        marks=_marks(_fit(rows)),
    )


def _auc(values: FloatArray, labels: NDArray[np.int64]) -> float:
    """Return the area under the ROC curve: P(value of a 1 > value of a 0), ties counting half."""
    n_first = int(labels.sum())
    n_second = len(labels) - n_first
    if not n_first or not n_second:
        return math.nan
    rank_sum = float(rankdata(values)[labels == 1].sum())
    return (rank_sum - n_first * (n_first + 1) / 2) / (n_first * n_second)


def _marks(model: Pipeline, count: int = 12) -> tuple[str, ...]:
    names = model.named_steps["weights"].get_feature_names_out()
    weights = model.named_steps["classifier"].coef_[0]
    return tuple(str(names[i]) for i in np.argsort(-weights, kind="stable")[:count])


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


def _note(told: Distinguishability) -> str:
    if told.auc.low >= LEAST_AUC:
        return ""
    return (
        f"the discriminator hardly tells teacher and base apart (AUC {told.auc.value:.2f}, "
        f"95 % interval {told.auc.low:.2f} to {told.auc.high:.2f}): its style score says little"
    )
