"""Judge cards: hand-counted values, independent packages, and simulated judges of known bias."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from evals.estimates import share_estimate
from evals.judges.card import JudgeCard, cohen_kappa, make_card
from evals.judges.correction import correct_mean, powered_mean, rogan_gladen
from evals.judges.pairs import Pair
from evals.records import Judgement


def pair(number: int, label: float | None, *, answer: str = "one", other: str = "two") -> Pair:
    return Pair(f"p{number:04}", f"Question {number}?", answer, other, "tuned", "base", label)


def vote(of: Pair, order: int, value: float, error: str = "") -> Judgement:
    return Judgement(of.pair_id, "judge", of.arm, value, of.against, order, error=error)


def votes(of: Pair, first: float, second: float) -> list[Judgement]:
    return [vote(of, 0, first), vote(of, 1, second)]


def card_of(
    pairs: Sequence[Pair], said: Sequence[tuple[float, float]], **options: str
) -> JudgeCard:
    judgements = [one for of, both in zip(pairs, said, strict=True) for one in votes(of, *both)]
    return make_card("judge", pairs, judgements, **options)


# --- hand-counted ---------------------------------------------------------------------------------


def test_card_counts_by_hand() -> None:
    pairs = [pair(number, 1.0) for number in range(6)] + [pair(number, 0.0) for number in (6, 7)]
    said = [(1, 1), (1, 1), (1, 0), (0, 0), (0.5, 0.5), (1, 0.5), (0, 0), (1, 1)]
    card = card_of(pairs, said)  # type: ignore[arg-type]
    # right: 2 + 2 + 1 + 0 + 1 + 1.5, and 2 + 0 where the other is better
    assert card.accuracy.value == pytest.approx(9.5 / 16)
    assert card.accuracy_if_steady.value == pytest.approx((2 + 2 + 0 + 1 + 2 + 0) / 12)
    assert card.flips.value == pytest.approx(1 / 8)
    assert card.ties.value == pytest.approx(3 / 16)
    # what stands first wins 1/2 of each pair that does not change, all of the flip, 3/4 of (1, 0.5)
    assert card.first.value == pytest.approx((6 * 0.5 + 1 + 0.75) / 8)
    assert (card.n_pairs, card.n_judgements, card.n_failed) == (8, 16, 0)
    assert math.isnan(card.accuracy.low)  # under 10 clusters


def test_failed_judgements_stand_apart() -> None:
    pairs = [pair(number, 1.0) for number in range(12)]
    judgements = [vote(of, 0, 1.0) for of in pairs]
    judgements += [vote(of, 1, math.nan, "no verdict") for of in pairs[:5]]
    card = make_card("judge", pairs, judgements)
    assert (card.n_judgements, card.n_failed) == (17, 5)
    assert (card.accuracy.value, card.accuracy.n) == (1.0, 12)
    assert math.isnan(card.flips.value)
    assert math.isnan(card.first.value), "one order says nothing of position"


def test_tied_labels_count_for_kappa_alone() -> None:
    pairs = [pair(0, 0.5), pair(1, 1.0), pair(2, 0.0)]
    card = card_of(pairs, [(1, 0.5), (1, 1), (1, 0)])
    assert card.accuracy.n == 4
    verdicts, labels = [1, 0.5, 1, 1, 1, 0], [0.5, 0.5, 1, 1, 0, 0]
    expected = cohen_kappa_score(*(np.array(column).astype(str) for column in (verdicts, labels)))
    assert card.kappa.value == pytest.approx(expected)


def test_pulls_stand_beside_what_labels_say() -> None:
    long, listed = "a long answer of six words", "- one\n- two"
    pairs = [pair(number, 0.0, answer=long, other="short") for number in range(12)]
    pairs += [
        pair(number, 1.0, answer=listed, other="no list but a longer one") for number in (12, 13)
    ]
    card = card_of(pairs, [(1, 1)] * 12 + [(1, 0), (1, 1)])
    assert card.longer.judge.value == pytest.approx((12 * 2 + 1) / 28)
    assert card.longer.labels.value == 0.0
    assert card.lists.judge.value == pytest.approx(3 / 4)
    assert card.lists.labels.value == 1.0


def test_own_outputs_are_told_by_their_author() -> None:
    pairs = [pair(number, 0.5) for number in range(12)]
    said = [(1, 1)] * 12
    assert card_of(pairs, said, author="tuned").own.judge.value == 1.0
    assert card_of(pairs, said, author="base").own.judge.value == 0.0
    assert math.isnan(card_of(pairs, said).own.judge.value)


def test_group_has_a_card_of_its_own() -> None:
    pairs = [Pair(f"p{n}", "Q?", "a", "b", "x", "y", 1.0, group="ab"[n % 2]) for n in range(20)]
    judgements = [one for n, of in enumerate(pairs) for one in votes(of, 1 - n % 2, 1 - n % 2)]
    assert [make_card("judge", pairs, judgements, group=g).accuracy.value for g in "ab"] == [1, 0]
    assert make_card("judge", pairs, judgements).accuracy.value == 0.5


# --- against others -------------------------------------------------------------------------------


def test_kappa_equals_sklearn() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        verdicts, labels = (rng.choice([0.0, 0.5, 1.0], 40, p=[0.3, 0.2, 0.5]) for _ in range(2))
        expected = cohen_kappa_score(verdicts.astype(str), labels.astype(str))
        assert cohen_kappa(verdicts, labels) == pytest.approx(expected, abs=1e-12)


def test_kappa_of_a_constant_judge_is_zero_however_often_it_is_right() -> None:
    pairs = [pair(number, float(number > 2)) for number in range(30)]
    card = card_of(pairs, [(1, 1)] * 30)
    assert card.accuracy.value == 0.9
    assert card.kappa.value == pytest.approx(0)


def test_kappa_of_few_disagreements_is_no_certainty() -> None:
    """Resamples of 40 pairs that all agree know nothing of a disagreement."""
    pairs = [pair(number, float(number % 2)) for number in range(40)]
    kappa = card_of(pairs, [(number % 2, number % 2) for number in range(40)]).kappa
    assert (kappa.value, kappa.high) == (1, 1)
    agreement = share_estimate(np.ones(80), [f"p{number // 2:02}" for number in range(80)])
    assert kappa.low == pytest.approx(1 - (1 - agreement.low) / 0.5)
    assert kappa.low < 0.9


def test_kappa_has_no_interval_where_labels_hardly_vary() -> None:
    said = [(number % 2, 1) for number in range(40)]
    four, five = ([pair(n, float(n >= few)) for n in range(40)] for few in (4, 5))
    assert math.isnan(card_of(four, said).kappa.low)
    assert not math.isnan(card_of(four, said).kappa.value)
    assert not math.isnan(card_of(five, said).kappa.low)


def test_place_that_sways_few_pairs_is_known_well() -> None:
    """Votes that follow the answer, not the place, make halves, which vary less than 0 and 1."""
    pairs = [pair(number, 1.0) for number in range(400)]
    said = [(1, 0) if number < 20 else (1, 1) for number in range(400)]
    first = card_of(pairs, said).first  # type: ignore[arg-type]
    error = np.std([1.0] * 20 + [0.5] * 380, ddof=1) / 20
    assert first.value == pytest.approx(0.525)
    assert first.high - first.low == pytest.approx(2 * 1.966 * error, rel=0.03)


# --- simulated judges -----------------------------------------------------------------------------


def simulate(
    n: int, *, skill: float, position: float, length: float, seed: int
) -> tuple[list[Pair], list[Judgement]]:
    """A judge whose logit adds up truth, position and length; labels and lengths independent."""
    rng = np.random.default_rng(seed)
    pairs, judgements = [], []
    for number in range(n):
        label, is_longer = (float(rng.integers(2)) for _ in range(2))
        texts = ("word " * 9, "word") if is_longer else ("word", "word " * 9)
        pairs.append(pair(number, label, answer=texts[0], other=texts[1]))
        for order in (0, 1):
            logit = skill * (2 * label - 1) + position * (1 - 2 * order)
            logit += length * (2 * is_longer - 1)
            value = float(rng.random() < 1 / (1 + math.exp(-logit)))
            judgements.append(vote(pairs[-1], order, value))
    return pairs, judgements


def chance(*logits: float) -> float:
    return float(np.mean([1 / (1 + math.exp(-logit)) for logit in logits]))


@pytest.mark.parametrize(
    ("skill", "position", "length"), [(1.5, 0.0, 0.0), (1.0, 0.8, 0.0), (1.0, 0.5, 1.0)]
)
def test_known_biases_are_recovered(skill: float, position: float, length: float) -> None:
    pairs, judgements = simulate(3000, skill=skill, position=position, length=length, seed=7)
    card = make_card("judge", pairs, judgements)
    signs = [(a, b) for a in (-1, 1) for b in (-1, 1)]
    accuracy = chance(*(skill + a * position + b * length for a, b in signs))
    first = chance(*(position + a * skill + b * length for a, b in signs))
    longer = chance(*(length + a * skill + b * position for a, b in signs))
    found = [card.accuracy, card.first, card.longer.judge, card.longer.labels]
    for estimate, truth in zip(found, (accuracy, first, longer, 0.5), strict=True):
        four_errors = estimate.high - estimate.low  # one of twelve may miss a 95 % interval
        assert abs(estimate.value - truth) < four_errors
    assert card.accuracy.high - card.accuracy.low < 0.04


# --- corrected means ------------------------------------------------------------------------------


def test_rogan_gladen_inverts_known_errors() -> None:
    labels = np.array([1.0] * 50 + [0.0] * 50 + [math.nan] * 100)
    judged = np.array([1.0] * 40 + [0.0] * 10 + [1.0] * 10 + [0.0] * 40 + [1.0] * 62 + [0.0] * 38)
    raw = (50 + 62) / 200
    assert rogan_gladen(judged, labels) == pytest.approx((raw + 0.8 - 1) / (0.8 + 0.8 - 1))


def test_judge_that_tells_nothing_apart_corrects_nothing() -> None:
    labels = np.array([1.0, 0.0] * 30 + [math.nan] * 60)
    judged = np.array([1.0, 1.0, 0.0, 0.0] * 30)
    assert math.isnan(rogan_gladen(judged, labels))
    found = correct_mean(judged, labels, [str(n) for n in range(120)], resamples=200)
    assert "cannot be shown to tell better from worse" in found.note


def test_powered_mean_is_that_of_its_formula() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random(40) < 0.6).astype(float)
    judged = np.concatenate([0.7 * labels + 0.2, rng.random(160)])
    both = np.concatenate([labels, np.full(160, math.nan)])
    weight = np.cov(labels, judged[:40])[0, 1] / (judged.var() * (1 + 40 / 160))
    expected = labels.mean() + weight * (judged[40:].mean() - judged[:40].mean())
    assert powered_mean(judged, both) == pytest.approx(expected)
    assert powered_mean(np.full(200, 0.5), both) == labels.mean()


def test_powered_mean_is_no_surer_than_labels_that_all_agree() -> None:
    labels = np.array([1.0] * 30 + [math.nan] * 90)
    judged = np.where(np.arange(120) % 5 == 0, 0.0, 1.0)
    found = correct_mean(judged, labels, [str(n) for n in range(120)], resamples=200)
    assert found.powered.value == 1
    assert found.powered.low == found.labelled.low < 0.9
    assert math.isnan(found.by_errors.value), "no label says that the other is better"


def test_labels_of_none_correct_nothing() -> None:
    found = correct_mean(np.ones(40), np.full(40, math.nan), [str(n) for n in range(40)])
    assert found.raw.value == 1
    assert math.isnan(found.powered.value)
    assert math.isnan(found.labelled.value)
    assert "cannot be shown" in found.note


def simulate_means(seed: int, *, n: int, n_labelled: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.55).astype(float)
    says = np.where(truth == 1, rng.random(n) < 0.9, rng.random(n) < 0.35).astype(float)
    labels = np.where(np.arange(n) < n_labelled, truth, math.nan)
    return says, labels


def test_corrected_means_cover_the_truth_and_the_raw_mean_does_not() -> None:
    covered = {"raw": 0, "by_errors": 0, "powered": 0, "labelled": 0}
    n_sets, clusters = 200, [str(number) for number in range(400)]
    widths = {name: 0.0 for name in covered}
    for seed in range(n_sets):
        found = correct_mean(*simulate_means(seed, n=400, n_labelled=100), clusters, resamples=300)
        assert not found.note
        for name in covered:
            one = getattr(found, name)
            covered[name] += one.low < 0.55 < one.high
            widths[name] += (one.high - one.low) / n_sets
    # 200 sets at 95 % give 183 to 197 with a chance of 99 %
    assert covered["raw"] < 100
    assert all(183 <= covered[name] <= 198 for name in ("by_errors", "powered", "labelled")), (
        covered
    )
    assert widths["powered"] < widths["labelled"]
