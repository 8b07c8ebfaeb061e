"""Statistics against closed forms, statsmodels and scipy."""

import dataclasses
import time

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from evals.stats import (
    add_published,
    average_over_seeds,
    cluster_sums,
    contrast,
    equivalence_p,
    freedom_of_variance,
    holm,
    joint_bootstrap,
    mcnemar_p,
    share_interval,
    sign_flip_p,
)

DIFFERENCE = [1, -1]


def clustered_scores(n_clusters=60, n_arms=2, seed=0, is_uneven=True):
    """(A, N) 0/1 scores that share a cluster effect, and the (N,) cluster ids."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 12, n_clusters) if is_uneven else np.full(n_clusters, 6)
    clusters = np.repeat(np.arange(n_clusters), sizes)
    common = rng.normal(size=n_clusters)[clusters]
    scores = (common + rng.normal(size=(n_arms, len(clusters))) > 0).astype(float)
    return scores, clusters


def contrast_of(values, clusters, weights, tasks=None, resamples=2000):
    sample = cluster_sums(values, clusters, tasks)
    return contrast(sample, joint_bootstrap(sample, resamples=resamples, seed=1), weights)


def items_as_clusters(difference, resamples=2000):
    return contrast_of(difference, np.arange(len(difference)), [1], resamples=resamples)


# --- axis values and missing data


def test_axis_value_is_the_mean_over_tasks_not_over_items():
    values = [[1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0]]
    sample = cluster_sums(values, np.arange(6), ["a", "a", "a", "a", "b", "b"])
    np.testing.assert_allclose(sample.values, [0.5, (0.25 + 0.5) / 2])


def test_item_that_failed_in_one_arm_is_dropped_for_all_and_counted():
    scores, clusters = clustered_scores()
    holed = scores.copy()
    holed[0, 3] = holed[1, 3] = holed[1, 10] = np.nan
    kept = np.ones(len(clusters), dtype=bool)
    kept[[3, 10]] = False
    found, wanted = cluster_sums(holed, clusters), cluster_sums(scores[:, kept], clusters[kept])
    assert found.n_dropped == 2
    assert found.n_items == wanted.n_items == kept.sum()
    np.testing.assert_array_equal(found.sums, wanted.sums)


def test_cluster_whose_items_all_failed_no_longer_counts():
    scores, clusters = clustered_scores()
    scores[1, clusters == 7] = np.nan
    assert cluster_sums(scores, clusters).n_clusters == 59


def test_all_items_failing_leaves_nothing():
    sample = cluster_sums(np.full((2, 8), np.nan), np.arange(8))
    assert (sample.n_items, sample.n_clusters, sample.n_dropped) == (0, 0, 8)


# --- standard errors


def test_standard_error_is_the_clustered_one_of_statsmodels():
    scores, clusters = clustered_scores(is_uneven=False)
    fit = sm.OLS(scores[0] - scores[1], np.ones(len(clusters))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}
    )
    found = contrast_of(scores, clusters, DIFFERENCE)
    assert found.value == pytest.approx(fit.params[0])
    assert found.standard_error == pytest.approx(fit.bse[0], rel=1e-10)


def test_bootstrap_error_before_correction_is_statsmodels_without_correction():
    scores, clusters = clustered_scores()
    fit = sm.OLS(scores[0] - scores[1], np.ones(len(clusters))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    found = contrast_of(scores, clusters, DIFFERENCE)
    assert found.standard_error / found.widening == pytest.approx(fit.bse[0], rel=1e-10)


def test_equal_clusters_are_corrected_by_the_textbook_factor():
    clusters = np.repeat(np.arange(25), 4)
    found = contrast_of(light_tailed(np.bincount(clusters), clusters), clusters, [1])
    assert found.widening == pytest.approx((25 / 24) ** 0.5)
    assert found.degrees_of_freedom == pytest.approx(24)


def light_tailed(sizes, clusters):
    """Return scores whose sums by cluster, over the square root of their items, are uniform."""
    return (np.random.default_rng(4).uniform(-1, 1, len(sizes)) / sizes**0.5)[clusters]


def test_unequal_clusters_count_for_fewer():
    _, clusters = clustered_scores()
    sizes = np.bincount(clusters)
    found = contrast_of(light_tailed(sizes, clusters), clusters, [1])
    assert found.degrees_of_freedom == pytest.approx(sizes.sum() ** 2 / (sizes**2).sum() - 1)
    assert found.widening > (60 / 59) ** 0.5


def test_freedom_of_a_variance_is_that_of_its_own_variance():
    """Scores that are 1 in 5 %: the chi-square of that freedom spreads as sample variances do."""
    rng, n, rate = np.random.default_rng(5), 200, 0.05
    kurtosis = (1 - 6 * rate * (1 - rate)) / (rate * (1 - rate))
    freedom = freedom_of_variance(n - 1, n, kurtosis)
    variances = (rng.random((20_000, n)) < rate).var(axis=1, ddof=1)
    spread = variances.std() / variances.mean()
    assert float((2 / freedom) ** 0.5) == pytest.approx(spread, rel=0.02)
    assert freedom < (n - 1) / 2


def test_few_clusters_that_carry_a_difference_leave_fewer_degrees_of_freedom():
    moved = np.zeros(100)
    moved[:8] = 1
    found = contrast_of(moved, np.arange(100), [1])
    excess = (1 - 6 * 0.08 * 0.92) / (0.08 * 0.92)
    assert found.degrees_of_freedom == pytest.approx(2 / (2 / 99 + excess / 100))
    moved[:] = np.arange(100) % 2
    assert contrast_of(moved, np.arange(100), [1]).degrees_of_freedom == pytest.approx(99)


def test_error_and_freedom_over_two_tasks_are_welchs():
    rng = np.random.default_rng(3)
    first, second = rng.uniform(0, 1, 20), rng.uniform(0, 3, 35)
    welch = scipy.stats.ttest_ind(first, -second, equal_var=False)
    found = contrast_of(
        np.concatenate([first, second]), np.arange(55), [1], tasks=[0] * 20 + [1] * 35
    )
    assert found.degrees_of_freedom == pytest.approx(welch.df)
    assert found.value / found.standard_error == pytest.approx(welch.statistic)


def test_entity_asked_about_in_two_tasks_is_resampled_for_both_at_once():
    rng = np.random.default_rng(4)
    per_entity = rng.random(40)
    values, tasks = np.tile(per_entity, 2), np.repeat([0, 1], 40)
    shared = contrast_of(values, np.tile(np.arange(40), 2), [1], tasks)
    apart = contrast_of(values, np.arange(80), [1], tasks)
    assert shared.standard_error == pytest.approx(apart.standard_error * 2**0.5)
    assert np.std(shared.draws) == pytest.approx(np.std(apart.draws) * 2**0.5, rel=0.1)


def test_chain_of_tasks_that_share_clusters_is_one_stratum():
    values, tasks = np.zeros(8), [0, 0, 1, 1, 2, 2, 3, 3]
    sample = cluster_sums(values, ["a", "b", "b", "c", "c", "d", "x", "y"], tasks)
    assert sample.strata.tolist() == [0, 0, 0, 0, 1, 1]


# --- the bootstrap


def test_draws_spread_as_the_linearised_error_says():
    scores, clusters = clustered_scores(n_clusters=200)
    found = contrast_of(scores, clusters, DIFFERENCE, resamples=20_000)
    expected = found.standard_error / found.widening
    assert np.std(found.draws) == pytest.approx(expected, rel=0.03)
    assert np.mean(found.draws) == pytest.approx(found.value, abs=4 * expected / 20_000**0.5)


def test_percentiles_agree_with_scipys_bootstrap():
    scores, clusters = clustered_scores(n_clusters=50)
    difference = scores[0] - scores[1]
    sums, counts = np.bincount(clusters, weights=difference), np.bincount(clusters)
    theirs = scipy.stats.bootstrap(
        (sums, counts),
        lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    found = contrast_of(scores, clusters, DIFFERENCE, resamples=20_000)
    ours = np.quantile(found.draws, (0.025, 0.975))
    np.testing.assert_allclose(ours, theirs, atol=0.1 * found.standard_error)


def test_arms_are_resampled_together():
    scores, clusters = clustered_scores()
    sample = cluster_sums(np.stack([scores[0], scores[0]]), clusters)
    draws = joint_bootstrap(sample, resamples=200, seed=0)
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])


def test_same_seed_gives_the_same_draws_and_another_seed_others():
    sample = cluster_sums(*clustered_scores())
    first, again, other = (joint_bootstrap(sample, resamples=50, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_resample_without_an_item_of_a_linked_task_is_left_out():
    clusters, tasks = [*range(10), 0], [0] * 10 + [1]  # task 1 lives in cluster 0 alone
    draws = joint_bootstrap(cluster_sums(np.ones(11), clusters, tasks), resamples=500, seed=0)
    assert 0.5 < len(draws) / 500 < 0.8  # 1 - 0.9^10 is 0.65
    assert np.isfinite(draws).all()


def test_twenty_arms_of_two_thousand_clusters_take_under_five_seconds():
    values = np.random.default_rng(0).random((20, 2000))
    started = time.process_time()
    joint_bootstrap(cluster_sums(values, np.arange(2000)), resamples=10_000, seed=0)
    assert time.process_time() - started < 5


# --- bounds


def test_bounds_of_many_clusters_are_the_normal_ones():
    difference = np.random.default_rng(6).normal(0.1, 1, 3000)
    found = items_as_clusters(difference, resamples=20_000)
    reach = 1.6449 * found.standard_error
    assert found.lower(0.05) == pytest.approx(found.value - reach, abs=0.05 * reach)
    assert found.upper(0.05) == pytest.approx(found.value + reach, abs=0.05 * reach)


def test_interval_of_few_clusters_is_wider_than_the_percentiles():
    found = items_as_clusters(np.random.default_rng(7).normal(size=12), resamples=20_000)
    low, high = found.interval()
    percentiles = np.diff(np.quantile(found.draws, (0.025, 0.975)))[0]
    t_over_z = scipy.stats.t.ppf(0.975, 11) / 1.96 * (12 / 11) ** 0.5
    assert (high - low) / percentiles == pytest.approx(t_over_z, rel=0.08)


def test_quantile_of_many_draws_is_numpys():
    found = items_as_clusters(np.random.default_rng(2).normal(size=4000))
    assert found.quantile(0.2) == pytest.approx(np.quantile(found.draws, 0.2), abs=1e-4)


def test_swapping_the_arms_mirrors_the_interval():
    scores, clusters = clustered_scores()
    low, high = contrast_of(scores, clusters, DIFFERENCE).interval()
    mirrored = contrast_of(scores, clusters, [-1, 1]).interval()
    np.testing.assert_allclose(mirrored, (-high, -low))


def test_no_difference_anywhere_is_bounded_by_the_exact_binomial_bound():
    found = items_as_clusters(np.zeros(50))
    exact = scipy.stats.binomtest(0, 50).proportion_ci(0.90, method="exact").high
    assert found.upper(0.05) == pytest.approx(exact)
    assert found.lower(0.05) == pytest.approx(-exact)


def test_few_differing_clusters_are_sparse_and_five_are_not():
    four, five = np.zeros(100), np.zeros(100)
    four[:4], five[:5] = -1, -1
    assert items_as_clusters(four).is_sparse
    assert not items_as_clusters(five).is_sparse
    two = np.zeros(100)
    two[:2] = -1  # resamples alone would bound this by 0
    assert items_as_clusters(two).upper(0.05) == pytest.approx(-0.02 + 1 - 0.05**0.01)


def test_unseen_change_in_a_task_of_few_clusters_is_allowed_for():
    rng, tasks, hits = np.random.default_rng(0), [0] * 100 + [1] * 10, 0
    for _ in range(400):  # a fifth of the few clusters changes: 10 points on the axis
        changed = np.concatenate([np.zeros(100), rng.random(10) < 0.2])
        hits += contrast_of(changed, np.arange(110), [1], tasks, resamples=200).upper(0.05) >= 0.1
    assert hits / 400 > 0.95


# --- seeds and published scores


def test_training_seeds_add_their_t_bound_in_quadrature():
    scores, clusters = clustered_scores()
    alone = contrast_of(scores, clusters, DIFFERENCE)
    by_seed = [0.10, 0.14, 0.21]
    found = average_over_seeds(alone, by_seed)
    seeds = scipy.stats.t.ppf(0.95, 2) * scipy.stats.sem(by_seed)
    items = alone.upper(0.05) - alone.value
    assert found.upper(0.05) - alone.value == pytest.approx(np.hypot(items, seeds))


def test_interval_over_three_seeds_covers_the_recipe_and_that_of_items_alone_does_not():
    rng, hits = np.random.default_rng(12), np.zeros(2)
    for _ in range(300):
        rates = 0.6 + rng.normal(0, 0.05, 3)
        values = (rng.random((3, 300)) < rates[:, None]).astype(float)
        sample = cluster_sums(values, np.arange(300))
        items = contrast(sample, joint_bootstrap(sample, resamples=200, seed=0), [1 / 3] * 3)
        for i, found in enumerate((items, average_over_seeds(items, list(sample.values)))):
            hits[i] += found.lower(0.025) < 0.6 < found.upper(0.025)
    assert hits[0] / 300 < 0.75
    assert hits[1] / 300 > 0.93


def test_published_share_has_jeffreys_error():
    nothing = items_as_clusters(np.zeros(100), resamples=200_000)
    found = add_published(dataclasses.replace(nothing, is_sparse=False), 1, 0.9, 150, seed=0)
    low, high = proportion_confint(135, 150, method="jeffreys")
    assert found.value == pytest.approx(0.9)
    np.testing.assert_allclose(found.interval(), (low, high), atol=5e-4)


def test_published_share_is_independent_of_our_items():
    scores, clusters = clustered_scores()
    alone = contrast_of(scores[0], clusters, [-1], resamples=50_000)
    both = add_published(alone, 0.5, 0.7, 400, seed=3)
    assert both.value == pytest.approx(alone.value + 0.35)
    variance = alone.standard_error**2 + 0.25 * 0.7 * 0.3 / 400
    assert both.standard_error == pytest.approx(variance**0.5, rel=0.01)
    drawn = np.var(alone.draws) + 0.25 * 0.7 * 0.3 / 400
    assert np.var(both.draws) == pytest.approx(drawn, rel=0.02)


# --- p-values


def test_p_of_unclustered_difference_is_the_t_tests():
    difference = np.random.default_rng(8).normal(0.2, 1, 40)
    found = items_as_clusters(difference)
    assert found.two_sided_p() == pytest.approx(scipy.stats.ttest_1samp(difference, 0).pvalue)
    greater = scipy.stats.ttest_1samp(difference, 0.1, alternative="greater").pvalue
    assert found.one_sided_p(0.1) == pytest.approx(greater)


def test_p_of_constant_difference_is_that_of_all_signs_agreeing():
    assert items_as_clusters(np.full(12, 0.5)).two_sided_p() == pytest.approx(2 / 2**12)
    assert items_as_clusters(np.zeros(12)).two_sided_p() == 1


def test_equivalence_p_is_the_paired_tost_of_statsmodels():
    rng = np.random.default_rng(9)
    first, second = rng.random(60), rng.random(60)
    expected = ttost_paired(first, second, -0.15, 0.15)[0]
    assert equivalence_p(items_as_clusters(first - second), 0.15) == pytest.approx(expected)


def test_no_difference_in_a_dozen_clusters_is_no_equivalence():
    found = items_as_clusters(np.zeros(12))
    assert equivalence_p(found, 0.05) == pytest.approx(
        0.95**12
    )  # a change of 5 % is missed so often
    assert found.upper(equivalence_p(found, 0.05)) == pytest.approx(0.05)


def test_sign_flips_agree_with_scipys_permutation_test():
    difference = np.random.default_rng(10).normal(0.4, 1, 12)
    exact = scipy.stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    ours = sign_flip_p(difference, np.arange(12), resamples=50_000, seed=0)
    assert ours == pytest.approx(exact, abs=0.01)


def test_sign_flips_go_by_cluster():
    difference, clusters = np.repeat([1.0, 1, 1, 1], 25), np.repeat(np.arange(4), 25)
    p = sign_flip_p([*difference, np.nan], [*clusters, 9], resamples=20_000, seed=0)
    assert p == pytest.approx(2 / 2**4, abs=0.01)


def test_mcnemar_is_the_binomial_test_of_discordant_pairs():
    first = [1] * 9 + [0] * 2 + [1] * 30 + [0] * 20 + [np.nan]
    second = [0] * 9 + [1] * 2 + [1] * 30 + [0] * 20 + [1]
    assert mcnemar_p(first, second) == pytest.approx(scipy.stats.binomtest(2, 11).pvalue)


def share_of(scores, clusters=None):
    return share_interval(
        cluster_sums(scores, np.arange(len(scores)) if clusters is None else clusters)
    )


def test_share_interval_of_single_items_is_wilsons():
    low, high = proportion_confint(300, 2000, method="wilson")
    np.testing.assert_allclose(share_of([1] * 300 + [0] * 1700), (low, high), atol=1e-4)


def test_share_interval_of_alike_clusters_is_that_of_the_clusters():
    scores = [1.0] * 400 + [0.0] * 1600
    ten_times = share_of(np.repeat(scores, 10), np.repeat(np.arange(2000), 10))
    np.testing.assert_allclose(ten_times, share_of(scores), atol=1e-6)


@pytest.mark.parametrize("n_right", [0, 1, 2, 28, 29, 30])
def test_share_interval_stays_between_none_and_all(n_right):
    low, high = share_of([1] * n_right + [0] * (30 - n_right))
    assert 0 <= low <= n_right / 30 <= high <= 1
    assert high - low > 0.05


def test_share_interval_covers_the_truth_of_clustered_answers():
    rng, hits = np.random.default_rng(3), 0
    clusters = np.repeat(np.arange(30), 8)
    for _ in range(400):
        rates = rng.beta(0.9 * 4, 0.1 * 4, 30)  # intra-cluster correlation 1 / (4 + 1)
        low, high = share_of((rng.random(240) < rates[clusters]).astype(float), clusters)
        hits += low <= 0.9 <= high
    assert hits / 400 > 0.91


def test_holm_multiplies_by_the_claims_that_are_left():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({}) == {}
