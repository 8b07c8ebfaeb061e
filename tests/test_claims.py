"""Side claims: slopes over arms, and Holm's correction within a family."""

import numpy as np
import pytest

from evals.claims import Claim, adjust_claims, slope_claims
from evals.errors import DataError
from evals.stats import cluster_sums, joint_bootstrap

DATA = np.log2([100, 100, 200, 200, 400, 400])
SIZE = np.log2([1, 4, 1, 4, 1, 4])
FACTORS = {"data": DATA, "size": SIZE}


def claims_of(levels, factors=FACTORS, n_items=400):
    """Claims on arms whose axis values are `levels`, with luck shared by all arms."""
    luck = np.random.default_rng(0).normal(0, 0.1, n_items)
    sample = cluster_sums(np.asarray(levels)[:, None] + luck, np.arange(n_items))
    draws = joint_bootstrap(sample, resamples=500, seed=0)
    return {c.name: c for c in slope_claims(sample, draws, factors, family="f")}


def test_slopes_are_those_of_least_squares():
    levels = np.array([0.2, 0.3, 0.25, 0.33, 0.24, 0.41])
    found = claims_of(levels)
    design = np.stack([np.ones(6), DATA, SIZE], axis=1)
    wanted = np.linalg.lstsq(design, levels, rcond=None)[0]
    assert found["slope over data"].value == pytest.approx(wanted[1])
    assert found["slope over size"].value == pytest.approx(wanted[2])
    difference = found["slope over data minus slope over size"].value
    assert difference == pytest.approx(wanted[1] - wanted[2])


def test_slope_interval_holds_a_planted_slope():
    rng = np.random.default_rng(1)
    rates = 0.1 + 0.02 * (DATA - DATA.mean()) + 0.15 * SIZE
    scores = (rng.random((6, 3000)) < rates[:, None]).astype(float)
    sample = cluster_sums(scores, np.arange(3000))
    claims = slope_claims(
        sample, joint_bootstrap(sample, resamples=2000, seed=0), FACTORS, family="f"
    )
    for claim, planted in zip(claims, (0.02, 0.15, -0.13), strict=True):
        assert claim.ci95[0] < planted < claim.ci95[1]
        assert claim.ci95[1] - claim.ci95[0] < 0.05
    assert claims[2].p < 1e-6


def test_luck_that_all_arms_share_does_not_blur_a_slope():
    low, high = claims_of(np.linspace(0.2, 0.4, 6), n_items=4000)["slope over data"].ci95
    assert high - low < 0.01


def test_factors_that_move_together_are_an_error_that_names_them():
    with pytest.raises(DataError, match="do not tell `data`, `size` apart") as error:
        claims_of(np.zeros(6), {"data": DATA, "size": 2 * DATA})
    assert error.value.hint


def test_families_are_corrected_apart_and_order_is_kept():
    claims = [Claim(f, n, 0.1, (0, 1), p) for f, n, p in
              [("x", "a", 0.01), ("y", "b", 0.02), ("x", "c", 0.04)]]  # fmt: skip
    adjusted = adjust_claims(claims)
    assert [c.name for c in adjusted] == ["a", "b", "c"]
    assert [c.p_holm for c in adjusted] == pytest.approx([0.02, 0.02, 0.04])
