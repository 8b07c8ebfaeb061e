"""Anchors: which are drawn, and what counts as a change."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from evals.errors import RecordError, RunError
from evals.judges.anchors import Change, digest_pairs, draw_anchors, measure_drift, verdicts_of
from evals.judges.llm import UNREADABLE
from evals.judges.pairs import Pair
from evals.records import Judgement

PAIRS = [Pair(f"p{n:03}", f"Question {n}?", "one", "two", "tuned", "base") for n in range(100)]


def said(pair: Pair, order: int, value: float, error: str = "") -> Judgement:
    return Judgement(pair.pair_id, "judge", pair.arm, value, pair.against, order, error=error)


def test_a_larger_number_adds_to_the_same_anchors() -> None:
    few, many = (draw_anchors(PAIRS, n, seed=0) for n in (10, 30))
    assert len(few) == 10
    assert set(few) < set(many)
    assert many == sorted(many, key=lambda pair: pair.pair_id)
    assert few == draw_anchors(PAIRS[::-1], 10, seed=0)[::-1]
    assert few != draw_anchors(PAIRS, 10, seed=1)


def test_anchors_are_drawn_from_everywhere() -> None:
    """Of 100 pairs, each is among 10 in a tenth of the draws."""
    drawn = [int(one.pair_id[1:]) for s in range(200) for one in draw_anchors(PAIRS, 10, seed=s)]
    counts = np.bincount(drawn, minlength=100)
    assert 5 < counts.min() <= counts.max() < 40


def test_more_anchors_than_pairs_are_refused() -> None:
    with pytest.raises(RecordError, match="101 anchors are asked for, and there are 100 pairs"):
        draw_anchors(PAIRS, 101, seed=0)


def test_identity_is_what_the_judge_is_shown() -> None:
    one = PAIRS[:3]
    relabelled = [dataclasses.replace(pair, label=1.0, group="g", cluster_id="c") for pair in one]
    other = [dataclasses.replace(one[0], answer="One"), *one[1:]]
    assert digest_pairs(relabelled) == digest_pairs(one) != digest_pairs(other)


def test_failed_calls_are_no_verdicts_and_unreadable_replies_are() -> None:
    found = verdicts_of(
        [
            said(PAIRS[0], 0, 1.0),
            said(PAIRS[0], 1, math.nan, UNREADABLE),
            said(PAIRS[1], 0, math.nan, "503: overloaded"),
        ]
    )
    assert found == {("p000", 0): 1.0, ("p000", 1): None}


def test_drift_is_the_share_that_changed() -> None:
    anchors = PAIRS[:20]
    keys = [(pair.pair_id, order) for pair in anchors for order in (0, 1)]
    before = dict.fromkeys(keys, 1.0)
    changed = {keys[0]: 0.0, keys[1]: None, keys[6]: 0.5}
    drift = measure_drift(anchors, before, before | changed)
    assert (drift.share.value, drift.share.n) == (3 / 40, 40)
    assert 0 < drift.share.low < 3 / 40 < drift.share.high
    assert drift.changes[1] == Change("p000", 1, 1.0, None)
    assert [str(one) for one in drift.changes] == [
        "p000 shown first: won -> lost",
        "p000 shown second: won -> no verdict",
        "p003 shown first: won -> tied",
    ]


def test_what_is_missing_now_is_neither_the_same_nor_changed() -> None:
    before: dict[tuple[str, int], float | None] = {(pair.pair_id, 0): 1.0 for pair in PAIRS[:20]}
    now = {key: value for key, value in list(before.items())[:15]}
    drift = measure_drift(PAIRS[:20], before, now)
    assert (drift.share.value, drift.share.n, drift.n_missing) == (0.0, 15, 5)
    with pytest.raises(RunError, match="9 of 20 anchor verdicts came, too few"):
        measure_drift(PAIRS[:20], before, dict(list(now.items())[:9]))


def test_a_noisy_judge_drifts_as_much_as_it_is_noisy() -> None:
    """Each verdict is another with a chance of 5 %, in 100 replays of 100 pairs."""
    rng = np.random.default_rng(0)
    keys = [(pair.pair_id, order) for pair in PAIRS for order in (0, 1)]
    before = dict.fromkeys(keys, 1.0)
    drifts = [
        measure_drift(PAIRS, before, {key: float(rng.random() > 0.05) for key in keys}).share
        for _ in range(100)
    ]
    assert np.mean([one.value for one in drifts]) == pytest.approx(0.05, abs=0.006)
    # 100 intervals at 95 %: at least 89 hold the truth with a chance of 99 %
    assert sum(one.low < 0.05 < one.high for one in drifts) >= 89
