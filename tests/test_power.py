"""Planning against statsmodels, closed forms and simulated scores."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.power import tt_solve_power

from evals.power import (
    PlannedAxis,
    clusters_for,
    contrast_deviation,
    items_to_resolve,
    minimal_detectable_effect,
)

RULE = {"margin": 0.05, "share": 0.5}


@pytest.mark.parametrize(("effect", "power"), [(0.1, 0.8), (0.2, 0.9), (0.5, 0.95), (1.0, 0.98)])
def test_number_of_clusters_is_statsmodels_within_a_few(effect, power):
    theirs = tt_solve_power(effect, alpha=0.05, power=power, alternative="larger")
    assert clusters_for(effect, 1, alpha=0.05, power=power) == pytest.approx(
        theirs, rel=0.02, abs=3
    )


def test_detectable_effect_is_the_distance_that_the_clusters_were_planned_for():
    n = clusters_for(0.03, 0.4, alpha=0.05, power=0.9)
    assert minimal_detectable_effect(n, 0.4, power=0.9) <= 0.03
    assert minimal_detectable_effect(n - 1, 0.4, power=0.9) > 0.03


def test_detectable_effect_of_many_clusters_is_the_textbook_formula():
    reach = scipy.stats.norm.ppf(0.95) + scipy.stats.norm.ppf(0.8)
    assert minimal_detectable_effect(10_000, 0.5) == pytest.approx(reach * 0.005, rel=1e-3)


def test_deviation_of_independent_rates_is_the_binomial_one():
    found = contrast_deviation((0.3, 0.6), (-1, 1), overlap=0)
    assert found == pytest.approx((0.3 * 0.7 + 0.6 * 0.4) ** 0.5)


def test_arms_that_answer_alike_differ_only_where_one_gains():
    found = contrast_deviation((0.3, 0.6), (-1, 1), overlap=1)
    assert found == pytest.approx((0.3 * 0.7) ** 0.5)  # a share of 0.3 differs, all one way


def test_deviation_of_overlapping_arms_is_that_of_simulated_answers():
    rng = np.random.default_rng(0)
    luck = np.where(rng.random(200_000) < 0.4, rng.random(200_000), rng.random((3, 200_000)))
    scores = luck < np.array([[0.2], [0.5], [0.9]])
    simulated = np.std(np.array([-0.5, 1, -0.5]) @ scores)
    found = contrast_deviation((0.2, 0.5, 0.9), (-0.5, 1, -0.5), overlap=0.4)
    assert found == pytest.approx(simulated, rel=0.01)


def test_clustering_multiplies_the_items_by_the_design_effect():
    alone = items_to_resolve(PlannedAxis(icc=0), **RULE).n_items
    clustered = items_to_resolve(PlannedAxis(icc=0.2, items_per_cluster=6), **RULE).n_items
    assert clustered / alone == pytest.approx(1 + 5 * 0.2, rel=0.02)


def test_half_the_margin_needs_four_times_the_items():
    wide, narrow = (items_to_resolve(PlannedAxis(), margin=m, share=0.5) for m in (0.06, 0.03))
    assert narrow.n_items / wide.n_items == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize(
    ("effect", "decision", "limited_by"),
    [
        (0.3, "closed", "closed"),
        (0.15, "gain", "gain"),
        (0.06, "gain", "gain"),
        (0.0, "no gain", "no gain"),
        (-0.04, "no gain", "no gain"),
        (-0.1, "loss", "loss, plain"),
    ],
)
def test_plan_names_the_true_decision_and_what_limits_it(effect, decision, limited_by):
    needed = items_to_resolve(PlannedAxis(effect=effect), **RULE)
    assert (needed.decision, needed.limited_by) == (decision, limited_by)


def test_effect_inside_the_margin_is_planned_by_the_cheaper_of_both_true_statements():
    small = items_to_resolve(PlannedAxis(effect=0.01), **RULE)
    large = items_to_resolve(PlannedAxis(effect=0.045), **RULE)
    assert (small.decision, small.limited_by) == ("gain below the margin", "no gain")
    assert (large.decision, large.limited_by) == ("gain below the margin", "gain")


def test_no_number_of_items_helps_a_teacher_too_close_to_the_base():
    needed = items_to_resolve(PlannedAxis(gap=0.08), **RULE)
    assert (needed.n_items, needed.n_clusters) == (None, None)
    assert needed.limited_by == "teacher over base"


def test_fewer_than_thirty_clusters_are_never_planned():
    needed = items_to_resolve(PlannedAxis(base=0.05, gap=0.9, effect=0.9), **RULE)
    assert needed.n_clusters == 30


def test_planning_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'statsmodels', 'pandas', 'scipy.stats', 'pyarrow'}"
    code = f"import sys, evals.power; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
