"""Our statistics against independent packages, each to the digits that are stated."""

from __future__ import annotations

import evalica
import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from evals.comparing.logs import PairedTask, Pairing
from evals.comparing.paired import Rule, compare_paired
from evals.estimates import bootstrap_estimate, share_estimate, totals_estimate
from evals.gap import gap_closed
from evals.judges.card import cohen_kappa
from evals.judges.correction import correct_mean
from evals.preference.battles import FEATURES, Battles
from evals.preference.bradleyterry import fit_preference, make_design
from evals.stats import (
    Contrast,
    cluster_sums,
    contrast,
    guarded_equivalence_p,
    joint_bootstrap,
    sign_flip_p,
)

RESAMPLES = 20_000


def paired_scores(n_clusters: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(3, N) 0/1 scores of two results and a teacher, 1 to 5 items a cluster, and the clusters."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(n_clusters), rng.integers(1, 6, n_clusters))
    common = rng.normal(size=n_clusters)[clusters]
    levels = np.array([[0.0], [0.3], [1.0]])
    scores = common + levels + rng.normal(size=(3, len(clusters))) > 0
    return scores.astype(float), clusters


def contrasts_of(scores: np.ndarray, clusters: np.ndarray) -> tuple[Contrast, Contrast]:
    """Second minus first, teacher minus first."""
    sample = cluster_sums(scores, clusters)
    draws = joint_bootstrap(sample, resamples=RESAMPLES, seed=1)
    return contrast(sample, draws, [-1, 1, 0]), contrast(sample, draws, [-1, 0, 1])


# --- two results


def test_error_of_a_comparison_is_that_of_clustered_least_squares() -> None:
    """To ten digits, before the correction for unequal clusters, which statsmodels has not."""
    scores, clusters = paired_scores()
    found = contrasts_of(scores, clusters)[0]
    fit = sm.OLS(scores[1] - scores[0], np.ones(len(clusters))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    assert found.value == pytest.approx(fit.params[0], rel=1e-10)
    assert found.standard_error / found.widening == pytest.approx(fit.bse[0], rel=1e-10)


def test_interval_of_many_clusters_is_scipys_bca() -> None:
    """To a tenth of the interval's half-width: what is left is Monte Carlo and skew."""
    scores, clusters = paired_scores(n_clusters=800)
    moved = scores[1] - scores[0]
    sums, counts = np.bincount(clusters, weights=moved), np.bincount(clusters)
    theirs = scipy.stats.bootstrap(
        (sums, counts),
        lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        n_resamples=RESAMPLES // 4,
        method="BCa",
        rng=np.random.default_rng(5),
    ).confidence_interval
    ours = contrasts_of(scores, clusters)[0].interval()
    assert np.allclose(ours, theirs, atol=0.1 * (theirs.high - theirs.low) / 2)


def test_ratio_of_gaps_is_scipys_percentile_interval() -> None:
    """To a twentieth of the half-width, with 800 clusters."""
    scores, clusters = paired_scores(n_clusters=800)
    parts = [np.bincount(clusters, weights=scores[arm] - scores[0]) for arm in (1, 2)]
    theirs = scipy.stats.bootstrap(
        tuple(parts),
        lambda own, lead, axis: own.sum(axis=axis) / lead.sum(axis=axis),
        paired=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(6),
    ).confidence_interval
    value, ours = gap_closed(*contrasts_of(scores, clusters))
    assert value == pytest.approx(parts[0].sum() / parts[1].sum(), rel=1e-12)
    assert np.allclose(ours, theirs, atol=0.05 * (theirs.high - theirs.low) / 2)


def test_sign_flips_of_clusters_are_scipys_permutations_of_cluster_sums() -> None:
    """To 0.01, the Monte-Carlo error of both: scipy flips all 2^12 ways."""
    rng = np.random.default_rng(10)
    clusters = np.repeat(np.arange(12), rng.integers(1, 6, 12))
    moved = rng.choice([-1.0, 0.0, 0.5, 1.0], len(clusters), p=[0.1, 0.5, 0.1, 0.3])
    exact = scipy.stats.permutation_test(
        (np.bincount(clusters, weights=moved),),
        np.sum,
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    assert sign_flip_p(moved, clusters, resamples=50_000, seed=0) == pytest.approx(exact, abs=0.01)


def test_comparison_has_the_p_values_of_statsmodels() -> None:
    """McNemar and Holm to twelve digits, equivalence to three, over three tasks of single items."""
    tasks, mcnemars, tosts = [], [], []
    for seed in range(3):
        scores = paired_scores(n_clusters=400, seed=seed)[0][:2, :400]
        names = tuple(map(str, range(400)))
        tasks.append(PairedTask(f"task {seed}", "acc", scores, names, {}))
        a, b = scores.astype(bool)
        table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
        mcnemars.append(float(mcnemar(table, exact=True).pvalue))
        tosts.append(float(ttost_paired(scores[1], scores[0], -0.15, 0.15)[0]))
    pairing = Pairing(("one", "two"), tuple(tasks), {}, {})
    found = compare_paired(pairing, Rule(margin=0.15, resamples=RESAMPLES)).tasks
    assert [one.p for one in found] == pytest.approx(mcnemars, rel=1e-12)
    adjusted = multipletests(mcnemars, method="holm")[1]
    assert [one.p_holm for one in found] == pytest.approx(list(adjusted), rel=1e-12)
    for one, tost in zip(found, tosts, strict=True):
        assert one.p_equivalent >= tost * (1 - 1e-9)
        assert one.p_equivalent == pytest.approx(tost, abs=5e-3)


def test_guarded_equivalence_allows_for_changes_that_no_cluster_shows() -> None:
    """Where one cluster of 40 changed, it is the exact p of the bound, and not that of t."""
    moved = np.zeros(40)
    moved[0] = 1
    sample = cluster_sums(moved, np.arange(40))
    one = contrast(sample, joint_bootstrap(sample, resamples=2000, seed=0), [1])
    assert guarded_equivalence_p(one, 0.1) == pytest.approx((1 - (0.1 - 1 / 40)) ** 40, rel=1e-4)


# --- judges


def test_share_of_single_items_is_scipys_wilson_interval() -> None:
    """To three digits at 2,000 items: ours takes t for z."""
    theirs = scipy.stats.binomtest(1740, 2000).proportion_ci(method="wilson")
    ours = share_estimate([1.0] * 1740 + [0.0] * 260, [str(n) for n in range(2000)])
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=5e-4)


def test_share_of_halves_is_the_t_interval_where_halves_vary_less() -> None:
    """Of 0, 0.5 and 1 around one half, to a hundredth of the half-width: Wilson's hardly bends."""
    values = np.repeat([0.0, 0.5, 1.0], [300, 1400, 300])
    error = scipy.stats.sem(values)
    low, high = scipy.stats.t.interval(0.95, 1999, values.mean(), error)
    ours = share_estimate(values, [str(n) for n in range(2000)])
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.02 * error)


def test_kappa_and_its_interval_are_those_of_statsmodels() -> None:
    """Kappa to twelve digits; its interval, resampled here, to a tenth of the half-width."""
    rng = np.random.default_rng(3)
    labels = rng.choice([0.0, 0.5, 1.0], 3000, p=[0.4, 0.1, 0.5])
    verdicts = np.where(rng.random(3000) < 0.6, labels, rng.choice([0.0, 0.5, 1.0], 3000))
    table = [[((verdicts == a) & (labels == b)).sum() for b in (0, 0.5, 1)] for a in (0, 0.5, 1)]
    theirs = cohens_kappa(np.array(table))
    assert cohen_kappa(verdicts, labels) == pytest.approx(theirs.kappa, rel=1e-12)
    ours = bootstrap_estimate(
        lambda rows: cohen_kappa(verdicts[rows], labels[rows]), [str(n) for n in range(3000)]
    )
    half = (theirs.kappa_upp - theirs.kappa_low) / 2
    assert ours.low == pytest.approx(theirs.kappa_low, abs=0.1 * half)
    assert ours.high == pytest.approx(theirs.kappa_upp, abs=0.1 * half)


def test_all_resamples_at_once_are_the_same_resamples() -> None:
    """To twelve digits: sums by cluster in place of rows one by one."""
    rng = np.random.default_rng(4)
    values, clusters = rng.random(200), [f"c{one:02}" for one in rng.integers(0, 40, 200)]
    slow = bootstrap_estimate(lambda rows: float(values[rows].mean()), clusters, seed=2)
    rows = np.stack([values, np.ones(200)], axis=1)
    quick = totals_estimate(lambda sums: sums[..., 0] / sums[..., 1], rows, clusters, seed=2)
    assert (quick.value, quick.low, quick.high) == pytest.approx((slow.value, slow.low, slow.high))


def test_powered_mean_has_the_error_of_its_closed_form() -> None:
    """To 3 %: the variance of PPI++ (Angelopoulos et al., section 3) at its own lambda."""
    rng = np.random.default_rng(5)
    truth = (rng.random(3000) < 0.6).astype(float)
    judged = np.where(rng.random(3000) < 0.85, truth, 1 - truth)
    labels = np.where(np.arange(3000) < 1000, truth, np.nan)
    found = correct_mean(judged, labels, [f"c{n:04}" for n in range(3000)], resamples=5000).powered
    known, seen, rest = truth[:1000], judged[:1000], judged[1000:]
    weight = np.cov(known, seen)[0, 1] / (judged.var() * (1 + 1000 / 2000))
    variance = (known - weight * seen).var() / 1000 + weight**2 * rest.var() / 2000
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * variance**0.5, rel=0.03)


def test_strengths_are_those_of_evalica_with_ties() -> None:
    """To four digits of a log-odd; ties count one half in both."""
    rng = np.random.default_rng(7)
    n_rows, n_arms = 3000, 5
    one, other = (rng.integers(0, n_arms, n_rows) for _ in range(2))
    other = np.where(one == other, (one + 1) % n_arms, other)
    levels = np.linspace(-1, 1, n_arms)
    chance = 1 / (1 + np.exp(levels[other] - levels[one]))
    won = np.where(rng.random(n_rows) < 0.15, 0.5, rng.random(n_rows) < chance).astype(float)
    names = np.array([f"arm {number}" for number in range(n_arms)])
    battles = Battles(
        tuple(names),
        one,
        other,
        won,
        np.where(one < other, 1.0, -1.0),  # one order for each two arms, so place has no part
        np.zeros((n_rows, len(FEATURES))),
        tuple(map(str, range(n_rows))),
    )
    winners = {0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw, 1.0: evalica.Winner.X}
    scores = evalica.bradley_terry(
        names[one].tolist(),
        names[other].tolist(),
        [winners[vote] for vote in won],
        tolerance=1e-12,
        limit=10_000,
    ).scores
    expected = np.log(scores / scores["arm 0"])
    ours = fit_preference(make_design(battles, "arm 0")).strengths
    assert ours == pytest.approx(expected[list(names[1:])].to_numpy(), abs=1e-4)
