"""A classifier of two sides' texts: what each writes, and how well that tells them apart.

In: masked texts (`evals.style.masking`) with the prompt and the side of each. Out: the probability
that a text is the first side's, cross-fitted by prompt: a text is judged by a classifier that saw
no text on the same prompt.

Features are tf-idf weights of words, punctuation and layout marks, alone and in pairs, of at least
`MIN_SHARE` of the texts: a word that belongs to one topic is on few prompts. Weights are
normalised, so the length of a text is no feature: padding does not make a voice (length is told by
`evals.style.stylometry`).

Source: classifier two-sample tests, Lopez-Paz and Oquab (arXiv 1610.06545); cross-fitting after
Chernozhukov et al. (arXiv 1608.00060).

Glossary: N texts; K folds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from evals.errors import RecordError
from evals.estimates import Estimate, bootstrap_estimate, share_estimate

__all__ = [
    "Distinguishability",
    "LabelledText",
    "caution",
    "fit_classifier",
    "fit_folds",
    "measure_distinguishability",
    "predict",
    "predict_folds",
]

N_FOLDS = 5
FEWEST_PROMPTS = 10
MIN_SHARE = 0.01
LEAST_AUC = 0.7
"""A lower bound of the AUC below this: too alike for a verdict on voice to say much."""

FloatArray = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class LabelledText:
    """A masked text, what it answers, and whose it is: 1 the first side's, 0 the second's."""

    prompt: str
    text: str
    label: int


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


def fit_folds(rows: Sequence[LabelledText], *, hint: str) -> Mapping[int, Pipeline]:
    """Return one classifier per fold, fitted on the prompts of the other folds.

    Args:
        rows: Texts of both sides.
        hint: What whoever has too few prompts can do.

    Raises:
        RecordError: There are too few prompts.
    """
    n_prompts = len({row.prompt for row in rows})
    if n_prompts < FEWEST_PROMPTS:
        raise RecordError(
            f"a style discriminator needs at least {FEWEST_PROMPTS} prompts that both sides "
            f"answered, got {n_prompts}",
            hint=hint,
        )
    return {
        fold: fit_classifier([row for row in rows if _fold(row.prompt) != fold])
        for fold in range(N_FOLDS)
    }


def _fold(prompt: str) -> int:
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8]) % N_FOLDS


def fit_classifier(rows: Sequence[LabelledText]) -> Pipeline:
    """Return a classifier fitted on all these texts."""
    fewest = max(2, math.ceil(MIN_SHARE * len(rows)))
    # liblinear: exact on one thread, so that neither cores nor batches change a digit
    model = Pipeline(
        [
            ("weights", TfidfVectorizer(analyzer=_features, min_df=fewest, sublinear_tf=True)),
            ("classifier", LogisticRegression(C=10.0, solver="liblinear", random_state=0)),
        ]
    )
    return model.fit([row.text for row in rows], [row.label for row in rows])


def predict_folds(
    models: Mapping[int, Pipeline], outputs: Sequence[tuple[str, str]]
) -> list[float]:
    """Return P(first side's) of every (prompt, masked text), by a fold without its prompt."""
    values = [0.0] * len(outputs)
    for fold, model in models.items():
        rows = [row for row, (prompt, _) in enumerate(outputs) if _fold(prompt) == fold]
        for row, value in zip(rows, predict(model, [outputs[r][1] for r in rows]), strict=True):
            values[row] = value
    return values


def predict(model: Pipeline, texts: Sequence[str]) -> list[float]:
    """Return P(first side's) of every masked text; 0 where it is empty."""
    values = [0.0] * len(texts)
    rows = [row for row, text in enumerate(texts) if text]
    if rows:
        found = model.predict_proba([texts[row] for row in rows])[:, 1]
        for row, value in zip(rows, found.tolist(), strict=True):
            values[row] = value
    return values


def measure_distinguishability(
    rows: Sequence[LabelledText], models: Mapping[int, Pipeline]
) -> Distinguishability:
    """Return how well the folds' classifiers tell the two sides apart."""
    values = np.array(predict_folds(models, [(row.prompt, row.text) for row in rows]))
    labels = np.array([row.label for row in rows])
    prompts = [row.prompt for row in rows]
    return Distinguishability(
        auc=bootstrap_estimate(lambda i: _auc(values[i], labels[i]), prompts),
        accuracy=share_estimate((values > 0.5) == (labels == 1), prompts),
        marks=_marks(fit_classifier(rows)),
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


def caution(told: Distinguishability) -> str:
    """Return what to say of a discriminator that hardly discriminates; empty of a good one."""
    if told.auc.low >= LEAST_AUC:
        return ""
    return (
        f"the discriminator hardly tells teacher and base apart (AUC {told.auc.value:.2f}, "
        f"95 % interval {told.auc.low:.2f} to {told.auc.high:.2f}): its style score says little"
    )
