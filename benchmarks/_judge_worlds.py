"""Simulated judges with known skill and known biases, for `statistics_simulation.py`.

Two kinds of judge. One compares pairs with labels: its card, and the means that labels correct. One
compares the answers of arms that differ in quality or in style, as text, so that features are
counted, scaled and fitted by the code that does it for real answers.

Truths are computed by summing over all cases of the population, or are what was planted; where a
model is wrong on purpose (the raw one leaves the style out) the truth is its fit to the whole
population.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from _tally import Rate, Tally, generator
from numpy.typing import NDArray
from scipy.special import expit

from evals.judges.card import JudgeCard, make_card
from evals.judges.correction import correct_mean
from evals.judges.pairs import Pair
from evals.preference.battles import FEATURES, gather_battles, style_counts
from evals.preference.bradleyterry import fit_preference, make_design
from evals.preference.control import measure_preference
from evals.records import Judgement

__all__ = ["judge_tasks"]

FloatArray = NDArray[np.float64]
RESAMPLES = 999
ORDERS = (1.0, -1.0)
LONG, SHORT = "word " * 9, "word"

UNLABELLED = 3
"""Unlabelled pairs to every labelled one."""

PARTS = 10
"""In which preferences are simulated: they take longest, and processes share them."""

REFITS = 300
"""Resamples of the prompts in a data set: three models are fitted in each."""

# --- a judge of labelled pairs


@dataclasses.dataclass(frozen=True)
class Judge:
    """A judge whose log-odds add up truth, length and place.

    Attributes:
        name: What sets it apart.
        skill: Log-odds for the better answer.
        position: For the answer shown first.
        length: For the longer answer.
        ties: Share of verdicts that are ties.
        tied_labels: Share of labels that are ties.
        better: Of the other labels, the share that says the arm is better.
        is_clustered: Whether requests have several pairs, 1 to 5, half of them alike.
    """

    name: str
    skill: float = 1.5
    position: float = 0.5
    length: float = 0.7
    ties: float = 0.1
    tied_labels: float = 0.1
    better: float = 0.5
    is_clustered: bool = False

    def says(self, label: FloatArray, is_longer: FloatArray, place: float) -> FloatArray:
        """Return (..., 3) chances of the votes 0, 0.5 and 1."""
        logit = self.skill * (2 * label - 1) + self.length * (2 * is_longer - 1)
        win = (1 - self.ties) * expit(logit + self.position * place)
        return np.stack([1 - self.ties - win, np.full_like(win, self.ties), win], axis=-1)


JUDGES = (
    Judge("right in 76 %, pulled by place and length"),
    Judge("the same, 1 to 5 pairs a request", is_clustered=True),
    Judge("right in 98 %, no ties", skill=4, position=0.3, length=0.3, ties=0, tied_labels=0),
    Judge("97 % of labels one way", better=0.97, tied_labels=0),
)
CORRECTED = (
    dataclasses.replace(JUDGES[0], better=0.6, tied_labels=0),
    dataclasses.replace(JUDGES[1], better=0.6, tied_labels=0),
    JUDGES[3],
)
"""Judges whose means are corrected: labels are 0 or 1, and 60 or 97 % say the arm is better."""


@dataclasses.dataclass(frozen=True)
class CardTruth:
    """What a card would say of all pairs that there could be."""

    accuracy: float
    kappa: float
    flips: float
    ties: float
    first: float
    longer: float


def card_truth(judge: Judge) -> CardTruth:
    """Return the truth, summed over labels, lengths and orders."""
    better = (1 - judge.tied_labels) * judge.better
    labels = {0.0: 1 - judge.tied_labels - better, 0.5: judge.tied_labels, 1.0: better}
    table = np.zeros((3, 3))  # votes by labels
    sums = dict.fromkeys(("right", "decided", "flips", "first", "longer"), 0.0)
    votes = np.array([0, 0.5, 1])
    for (row, (label, chance)), is_longer in itertools.product(
        enumerate(labels.items()), (0.0, 1.0)
    ):
        weight = chance / 2
        first, second = (judge.says(np.float64(label), np.float64(is_longer), o) for o in ORDERS)
        table[:, row] += weight * (first + second) / 2
        means = votes @ first, votes @ second
        if label != 0.5:
            sums["decided"] += weight
            sums["right"] += weight * (1 - abs(np.mean(means) - label))
        sums["flips"] += weight * (first[2] * second[0] + first[0] * second[2])
        sums["first"] += weight * (means[0] + 1 - means[1]) / 2
        sums["longer"] += weight * (np.mean(means) if is_longer else 1 - np.mean(means))
    by_chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return CardTruth(
        accuracy=sums["right"] / sums["decided"],
        kappa=(float(np.trace(table)) - by_chance) / (1 - by_chance),
        flips=sums["flips"],
        ties=judge.ties,
        first=sums["first"],
        longer=sums["longer"],
    )


@dataclasses.dataclass(frozen=True)
class Judged:
    """Labels (N,), votes of both orders (2, N) and clusters (N,) of one data set."""

    labels: FloatArray
    is_longer: FloatArray
    votes: FloatArray
    clusters: NDArray[np.int64]


def draw_judged(rng: np.random.Generator, judge: Judge, n_clusters: int) -> Judged:
    """Return what a judge said of the pairs of so many requests."""
    sizes = rng.integers(1, 6, n_clusters) if judge.is_clustered else np.ones(n_clusters, int)
    clusters = np.repeat(np.arange(n_clusters), sizes)
    case = rng.random((2, len(clusters)))
    if judge.is_clustered:
        is_alike = rng.random(len(clusters)) < 0.5
        case = np.where(is_alike, rng.random((2, n_clusters))[:, clusters], case)
    decided = (case[0] - judge.tied_labels) / (1 - judge.tied_labels)
    labels = np.where(decided < 0, 0.5, (decided < judge.better).astype(np.float64))
    is_longer = (case[1] < 0.5).astype(np.float64)
    votes = np.empty((2, len(clusters)))
    for place, row in zip(ORDERS, votes, strict=True):
        chances = judge.says(labels, is_longer, place).cumsum(axis=-1)
        row[:] = (rng.random((len(clusters), 1)) > chances[:, :2]).sum(axis=-1) / 2
    return Judged(labels, is_longer, votes, clusters)


def card_of(judged: Judged) -> JudgeCard:
    """Return the card, through pairs and judgements."""
    pairs = [
        Pair(
            f"p{n}",
            "Q?",
            *((LONG, SHORT) if is_longer else (SHORT, LONG)),
            "a",
            "b",
            label,
            f"c{c}",
        )
        for n, (is_longer, label, c) in enumerate(
            zip(judged.is_longer, judged.labels.tolist(), judged.clusters, strict=True)
        )
    ]
    said = [
        Judgement(f"p{n}", "judge", "a", vote, "b", order)
        for order, row in enumerate(judged.votes.tolist())
        for n, vote in enumerate(row)
    ]
    return make_card("judge", pairs, said)


def simulate_card(judge: Judge, n_clusters: int, data_sets: int) -> list[Rate]:
    """Shares and kappa of a judge's card."""
    rng, truth = generator("card", judge.name, n_clusters), card_truth(judge)
    tally = Tally("A judge's card", judge.name, n_clusters)
    for _ in range(data_sets):
        tally.data_sets += 1
        card = card_of(draw_judged(rng, judge, n_clusters))
        for name in ("accuracy", "kappa", "flips", "first"):
            tally.recovers(name, getattr(card, name), getattr(truth, name))
        if judge.ties:
            tally.recovers("ties", card.ties, truth.ties)
        tally.recovers("longer", card.longer.judge, truth.longer)
    return tally.rates()


def simulate_corrected(judge: Judge, n_clusters: int, data_sets: int) -> list[Rate]:
    """The share that an arm wins: labels on `n_clusters` requests, three times more without."""
    rng = generator("corrected", judge.name, n_clusters)
    tally = Tally("Means corrected by labels", judge.name, n_clusters)
    for number in range(data_sets):
        tally.data_sets += 1
        judged = draw_judged(rng, judge, (1 + UNLABELLED) * n_clusters)
        labels = np.where(judged.clusters < n_clusters, judged.labels, np.nan)
        names = [f"c{cluster:05}" for cluster in judged.clusters]
        found = correct_mean(
            judged.votes.mean(axis=0), labels, names, resamples=RESAMPLES, seed=number
        )
        tally.recovers("Rogan-Gladen", found.by_errors, judge.better)
        tally.recovers("PPI++", found.powered, judge.better)
        tally.recovers("labels alone", found.labelled, judge.better)
    return tally.rates()


# --- a judge of arms

WORDS = (20, 30, 40, 60)
ARMS = {"better": 0.8, "styled": 0.0, "worse": -0.5}
"""Log-odds over the base at equal style. Only `styled` writes otherwise: twice the words, and lists
in three of four answers, where the others have one in four."""

LEAN = dict(zip(FEATURES, (1.5, 0.5, 0.0, 0.0), strict=True))
"""Log-odds of a whole feature, (a - b) / (a + b): the judge likes length and lists, bold not."""

PLACE = 0.4


@dataclasses.dataclass(frozen=True)
class PreferenceTruth:
    """What each model says of the whole population: by arm, in log-odds."""

    raw: dict[str, float]
    length_controlled: dict[str, float]
    by_style: dict[str, float]


@functools.cache
def write(words: int, n_items: int, is_bold: bool) -> str:
    """Return an answer of so many words, with list items and bold text or without."""
    told = "word " * words + ("**word**" if is_bold else "word")
    return told + "\n- item" * n_items


def possible_answers(arm: str) -> list[str]:
    """Return all answers of an arm, each as likely as the others."""
    is_styled = arm == "styled"
    lists = (0, 3, 3, 3) if is_styled else (0, 0, 0, 3)
    words = [count * (2 if is_styled else 1) for count in WORDS]
    return [write(*case) for case in itertools.product(words, lists, (False, True))]


@functools.cache
def lean(answer: str, other: str) -> float:
    """Return the log-odds that style earns an answer."""
    counts = zip(style_counts(answer), style_counts(other), LEAN.values(), strict=True)
    return sum(weight * (a - b) / (a + b) for a, b, weight in counts if a + b)


@functools.cache
def preference_truth() -> PreferenceTruth:
    """Return the fits to every pair of possible answers, with chances in place of verdicts."""
    pairs = [
        Pair(f"{arm}-{n}", "Q?", *texts, arm, "base")
        for arm in ARMS
        for n, texts in enumerate(
            itertools.product(possible_answers(arm), possible_answers("base"))
        )
    ]
    battles = gather_battles(
        pairs, [Judgement(p.pair_id, "judge", p.arm, 1.0, "base", o) for p in pairs for o in (0, 1)]
    )
    chances = [_chance(pair, place) for pair in pairs for place in ORDERS]
    whole = dataclasses.replace(battles, preference=np.array(chances))
    raw, by_length = (make_design(whole, "base", features) for features in ((), (0,)))
    earned = {
        arm: float(np.mean([lean(p.answer, p.other_answer) for p in pairs if p.arm == arm]))
        for arm in ARMS
    }
    return PreferenceTruth(
        raw=dict(zip(raw.arms, fit_preference(raw).strengths.tolist(), strict=True)),
        length_controlled=dict(
            zip(by_length.arms, fit_preference(by_length).strengths.tolist(), strict=True)
        ),
        by_style={arm: earned[arm] / (earned[arm] + own) for arm, own in ARMS.items()},
    )


def _chance(pair: Pair, place: float) -> float:
    logit = ARMS[pair.arm] + lean(pair.answer, pair.other_answer) + PLACE * place
    return float(expit(logit))


def draw_battles(rng: np.random.Generator, n_prompts: int) -> tuple[list[Pair], list[Judgement]]:
    """Return pairs of every arm with the base on every prompt, and verdicts in both orders."""
    answers = {arm: possible_answers(arm) for arm in (*ARMS, "base")}
    pairs = [
        Pair(f"{arm}-{n}", "Q?", *_pick(rng, answers, arm), arm, "base", cluster_id=f"q{n}")
        for n in range(n_prompts)
        for arm in ARMS
    ]
    chances = np.array([[_chance(pair, place) for place in ORDERS] for pair in pairs])
    votes = (rng.random(chances.shape) < chances).astype(np.float64)
    said = [
        Judgement(pair.pair_id, "judge", pair.arm, vote, "base", order)
        for pair, row in zip(pairs, votes.tolist(), strict=True)
        for order, vote in enumerate(row)
    ]
    return pairs, said


def _pick(rng: np.random.Generator, answers: dict[str, list[str]], arm: str) -> tuple[str, str]:
    own, other = (answers[name] for name in (arm, "base"))
    return own[rng.integers(len(own))], other[rng.integers(len(other))]


def simulate_preference(part: int, n_prompts: int, data_sets: int) -> list[Rate]:
    """Strengths in three models, the share through style, and what the judge leans to.

    One part of the data sets, the first or any of `PARTS`.
    """
    tally = Tally("Preference with style controlled", "three arms against the base", n_prompts)
    rng, truth = generator("preference", n_prompts, part), preference_truth()
    for number in range(part * data_sets // PARTS, (part + 1) * data_sets // PARTS):
        tally.data_sets += 1
        pairs, said = draw_battles(rng, n_prompts)
        battles = gather_battles(pairs, said)
        found = measure_preference(battles, "base", resamples=REFITS, seed=number)
        for one in found.arms:
            tally.recovers(f"raw, {one.arm}", one.raw, truth.raw[one.arm])
            by_length = truth.length_controlled[one.arm]
            tally.recovers(f"at equal length, {one.arm}", one.length_controlled, by_length)
            tally.recovers(f"at equal style, {one.arm}", one.style_controlled, ARMS[one.arm])
            tally.recovers(f"by style, {one.arm}", one.by_style, truth.by_style[one.arm])
        tally.recovers("place", found.first, PLACE)
        for name, unit in zip(FEATURES, feature_units(pairs), strict=True):
            if unit > 0:
                tally.recovers(name, found.gamma[name], LEAN[name] * unit)
    return tally.rates()


def feature_units(pairs: Sequence[Pair]) -> FloatArray:
    """Return (K,) the root mean square of each feature over these pairs: gamma's unit."""
    rows = []
    for pair in pairs:
        counts = zip(style_counts(pair.answer), style_counts(pair.other_answer), strict=True)
        rows.append([(a - b) / (a + b) if a + b else 0.0 for a, b in counts])
    return np.asarray(np.sqrt((np.asarray(rows) ** 2).mean(axis=0)))


def judge_tasks() -> list[Callable[[int, int], list[Rate]]]:
    """Return the simulations of judges, each to be called with clusters and data sets."""
    return [
        *(functools.partial(simulate_card, judge) for judge in JUDGES),
        *(functools.partial(simulate_corrected, judge) for judge in CORRECTED),
        *(functools.partial(simulate_preference, part) for part in range(PARTS)),
    ]
