"""Style against substance: equal to statsmodels, and right where the truth is planted."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import statsmodels.api as sm

from evals.errors import RecordError
from evals.judges.pairs import Pair
from evals.preference.battles import FEATURES, Battles, gather_battles, style_counts
from evals.preference.bradleyterry import fit_preference, make_design
from evals.preference.control import OrderChange, measure_preference
from evals.records import Judgement

ALL = tuple(range(len(FEATURES)))


def simulate(
    strengths: dict[str, float],
    styles: dict[str, float],
    *,
    n_prompts: int,
    gamma: float = 1.0,
    place: float = 0.3,
    seed: int = 0,
) -> Battles:
    """Every arm meets the base on every prompt in both orders; style is one feature plus noise."""
    rng = np.random.default_rng(seed)
    arms = ("base", *sorted(strengths))
    rows = []
    for prompt in range(n_prompts):
        for index, name in enumerate(arms[1:], 1):
            style = np.zeros(len(FEATURES))
            style[0] = styles[name] + rng.normal()
            style[1:] = rng.normal(size=len(FEATURES) - 1)
            for sign in (1.0, -1.0):
                logit = strengths[name] + gamma * style[0] + place * sign
                won = float(rng.random() < 1 / (1 + math.exp(-logit)))
                rows.append((index, won, sign, style, str(prompt)))
    one, won, sign, style, clusters = zip(*rows, strict=True)
    return Battles(
        arms=arms,
        one=np.array(one),
        other=np.zeros(len(rows), dtype=np.int64),
        preference=np.array(won),
        place=np.array(sign),
        style=np.array(style),
        clusters=clusters,
    )


# --- the table ------------------------------------------------------------------------------------


def test_features_are_counted_and_compared() -> None:
    text = "# Title\n\nSome **bold** words:\n- one\n- two\n"
    assert style_counts(text) == (9, 2, 1, 1)
    pairs = [
        Pair("p1", "Q1", "one two three", "one", "tuned", "base"),
        Pair("p2", "Q2", "one", "one", "tuned", "base"),
    ]
    said = [
        Judgement(f"p{n}", "j", "tuned", 1.0, "base", order) for n in (1, 2) for order in (0, 1)
    ]
    battles = gather_battles(pairs, said)
    assert battles.arms == ("base", "tuned")
    length = battles.style[:, 0]
    assert length[0] > 0 == length[2]
    assert np.sqrt((length**2).mean()) == pytest.approx(1)
    assert not battles.style[:, 1:].any()
    assert battles.place.tolist() == [1.0, -1.0, 1.0, -1.0]


def test_only_verdicts_count() -> None:
    pairs = [Pair("p1", "Q1", "one", "two", "tuned", "base")]
    failed = Judgement("p1", "j", "tuned", math.nan, "base", 0, error="no")
    with pytest.raises(RecordError, match="no judgement has a verdict"):
        gather_battles(pairs, [failed])


# --- the model ------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [(), (0,), ALL])
def test_coefficients_equal_those_of_statsmodels(features: tuple[int, ...]) -> None:
    battles = simulate({"a": 0.5, "b": -0.3, "c": 1.5}, {"a": 1, "b": 0, "c": -1}, n_prompts=200)
    design = make_design(battles, "base", features)
    weights = np.random.default_rng(1).integers(0, 4, len(battles.one)).astype(float)
    arms = _by_arm(battles, design.arms)
    matrix = np.hstack([arms, battles.style[:, list(features)], battles.place[:, None]])
    family = sm.families.Binomial()
    fit = sm.GLM(design.preference, matrix, family, freq_weights=weights).fit(tol=1e-12)
    ours = fit_preference(design, weights)
    assert ours.coefficients == pytest.approx(np.asarray(fit.params), abs=1e-6)


def test_resamples_are_fitted_together_as_they_are_one_by_one() -> None:
    battles = simulate({"a": 0.5, "b": -0.3, "c": 9.0}, {"a": 1, "b": 0, "c": -1}, n_prompts=40)
    design = make_design(battles, "base", ALL)
    weights = np.random.default_rng(1).integers(0, 4, (7, len(battles.one))).astype(float)
    together = fit_preference(design, weights, fit_preference(design))
    alone = [fit_preference(design, one) for one in weights]
    for name in ("coefficients", "strengths", "gamma", "place"):
        expected = np.array([getattr(one, name) for one in alone])
        assert getattr(together, name) == pytest.approx(expected, abs=1e-5)


def _by_arm(battles: Battles, arms: tuple[str, ...]) -> np.ndarray:
    """Return the columns of the arms written out: 1 of who is preferred, -1 of whom it met."""
    sides = np.array(battles.arms)[battles.one], np.array(battles.arms)[battles.other]
    return np.array([(sides[0] == arm).astype(float) - (sides[1] == arm) for arm in arms]).T


def test_strengths_are_the_log_odds_where_there_is_one_arm() -> None:
    battles = simulate({"a": 0.7}, {"a": 0.0}, n_prompts=300, gamma=0.0, place=0.0)
    wins = battles.preference.mean()
    fit = fit_preference(make_design(battles, "base"))
    # the place is balanced but not orthogonal to chance
    assert fit.strengths[0] == pytest.approx(math.log(wins / (1 - wins)), abs=0.01)


def test_arm_that_always_wins_stays_finite() -> None:
    battles = simulate({"a": 50.0, "b": 0.0}, {"a": 0, "b": 0}, n_prompts=50)
    fit = fit_preference(make_design(battles, "base"))
    assert 5 < fit.strengths[0] < 50
    assert np.isfinite(fit.coefficients).all()


def test_arms_that_never_met_are_refused() -> None:
    battles = simulate({"a": 0.0, "b": 0.0}, {"a": 0, "b": 0}, n_prompts=20)
    apart = Battles(
        ("a", "b", "base", "c"),
        np.where(battles.one == 1, 0, 1),
        np.where(battles.one == 1, 2, 3),
        battles.preference,
        battles.place,
        battles.style,
        battles.clusters,
    )
    with pytest.raises(RecordError, match="a, base with b, c"):
        make_design(apart, "base")
    with pytest.raises(RecordError, match="no arm `teacher`"):
        make_design(battles, "teacher")


# --- style control --------------------------------------------------------------------------------


def test_planted_style_is_attributed_to_style_and_planted_quality_is_not() -> None:
    battles = simulate(
        {"styled": 0.0, "better": 1.2, "both": 0.6},
        {"styled": 1.2, "better": 0.0, "both": 0.6},
        n_prompts=600,
        seed=3,
    )
    found = {one.arm: one for one in measure_preference(battles, "base", resamples=200).arms}
    assert found["styled"].by_style.low < 1 < found["styled"].by_style.high
    assert found["styled"].style_controlled.low < 0 < found["styled"].style_controlled.high
    assert found["better"].by_style.low < 0 < found["better"].by_style.high
    assert found["better"].style_controlled.low > 0.9
    assert found["both"].by_style.low < 0.5 < found["both"].by_style.high
    assert found["both"].by_style.high - found["both"].by_style.low < 0.4
    assert all(one.raw.low > 0 for one in found.values())


def test_what_stretches_the_scale_alone_is_no_style() -> None:
    """A feature that moves the judge but not with the arm leaves the share at zero."""
    battles = simulate({"a": 1.0}, {"a": 0.0}, n_prompts=800, gamma=2.0, seed=5)
    arm = measure_preference(battles, "base", resamples=200).arms[0]
    assert arm.style_controlled.value > 1.25 * arm.raw.value, "non-collapsible"
    assert abs(arm.by_style.value) < 0.12
    assert arm.by_style.low < 0 < arm.by_style.high


def test_place_and_gamma_are_recovered() -> None:
    battles = simulate({"a": 0.4}, {"a": 0.2}, n_prompts=800, gamma=0.8, place=0.5, seed=6)
    found = measure_preference(battles, "base", resamples=200)
    assert found.first.low < 0.5 < found.first.high
    assert found.gamma["length"].low < 0.8 < found.gamma["length"].high
    assert all(found.gamma[n].low < 0 < found.gamma[n].high for n in ("lists", "headers", "bold"))
    assert (found.n_clusters, found.n_battles) == (800, 1600)


def test_share_of_nothing_is_undefined_and_few_prompts_give_no_interval() -> None:
    nothing = simulate({"a": 0.0}, {"a": 0.0}, n_prompts=100, seed=8)
    assert math.isnan(measure_preference(nothing, "base", resamples=100).arms[0].by_style.value)
    few = simulate({"a": 1.2}, {"a": 1.0}, n_prompts=19, seed=0)
    share = measure_preference(few, "base", resamples=100).arms[0].by_style
    assert not math.isnan(share.value)
    assert math.isnan(share.low)


def test_arm_that_turns_the_controlled_order_round_is_told() -> None:
    """Where a third arm's length costs it wins, length looks bad for all."""
    battles = simulate({"plain": 0.6, "wordy": 0.3}, {"plain": 0.0, "wordy": 0.6}, n_prompts=400)
    assert measure_preference(battles, "base", resamples=20).changes == ()
    rng = np.random.default_rng(2)
    n_rows = 2000
    style = np.zeros((n_rows, len(FEATURES)))
    style[:, 0] = rng.normal(scale=3, size=n_rows)
    chance = 1 / (1 + np.exp(2 * style[:, 0]))
    with_third = Battles(
        arms=(*battles.arms, "third"),
        one=np.concatenate([battles.one, np.full(n_rows, 3)]),
        other=np.concatenate([battles.other, np.zeros(n_rows, dtype=np.int64)]),
        preference=np.concatenate(
            [battles.preference, (rng.random(n_rows) < chance).astype(float)]
        ),
        place=np.concatenate([battles.place, np.tile([1.0, -1.0], n_rows // 2)]),
        style=np.concatenate([battles.style, style]),
        clusters=(*battles.clusters, *(str(row % 400) for row in range(n_rows))),
    )
    told = measure_preference(with_third, "base", resamples=20).changes
    assert OrderChange(without="third", stronger="wordy", weaker="plain") in told


def test_pure_noise_is_covered() -> None:
    """At nominal 95 %, 100 sets of pure chance leave 0 outside in 0 to 11 of them (99.8 %)."""
    outside = 0
    for seed in range(100):
        battles = simulate({"a": 0.0}, {"a": 0.0}, n_prompts=60, seed=seed)
        one = measure_preference(battles, "base", resamples=100).arms[0].style_controlled
        outside += not one.low < 0 < one.high
    assert outside <= 11


# --- what has no finite answer --------------------------------------------------------------------


def test_arm_that_always_wins_has_no_strength_and_leaves_the_others_theirs() -> None:
    whole = simulate({"tuned": 0.5, "zealot": 0.0}, {"tuned": 0.0, "zealot": 0.0}, n_prompts=40)
    is_zealot = whole.one == whole.arms.index("zealot")
    preference = np.where(is_zealot, 1.0, whole.preference)
    battles = dataclasses.replace(whole, preference=preference)
    found = measure_preference(battles, "base", resamples=50)
    assert found.boundless == ("zealot",)
    tuned, zealot = found.arms
    assert zealot.arm == "zealot"
    assert math.isnan(zealot.raw.value)
    assert math.isnan(zealot.win_rate.value)
    alone = measure_preference(whole.without("zealot"), "base", resamples=50)
    assert tuned.raw.value == pytest.approx(alone.arms[0].raw.value, abs=0.1)


def test_one_tie_is_enough_for_a_finite_strength() -> None:
    whole = simulate({"tuned": 0.0}, {"tuned": 0.0}, n_prompts=30)
    preference = np.ones(len(whole.one))
    preference[3] = 0.5
    battles = dataclasses.replace(whole, preference=preference)
    found = measure_preference(battles, "base", resamples=50)
    assert found.boundless == ()
    assert found.arms[0].raw.value > 3


def test_place_that_decides_every_verdict_has_no_finite_weight() -> None:
    whole = simulate({"tuned": 0.0}, {"tuned": 0.0}, n_prompts=30)
    always_first = dataclasses.replace(whole, preference=(whole.place + 1) / 2)
    found = measure_preference(always_first, "base", resamples=50)
    assert math.isnan(found.first.value)
    assert found.arms[0].win_rate.value == pytest.approx(0.5, abs=0.01)


def test_style_that_foresees_every_verdict_leaves_only_the_raw_numbers() -> None:
    whole = simulate({"tuned": 0.0}, {"tuned": 0.3}, n_prompts=60, seed=2)
    longer = (whole.style[:, 0] > 0).astype(float)
    battles = dataclasses.replace(whole, preference=longer)
    found = measure_preference(battles, "base", resamples=20)
    assert found.is_separated
    assert found.changes == ()
    assert math.isnan(found.gamma["length"].value)
    assert math.isnan(found.arms[0].controlled_win_rate.value)
    assert found.arms[0].win_rate.value == pytest.approx(longer.mean(), abs=1e-3)


def test_weights_do_not_depend_on_which_arm_a_row_names_first() -> None:
    pairs = [
        Pair(f"p{n}", f"Q{n}", "word " * (n % 7 + 2), "word " * (n % 4 + 1), "tuned", "base")
        for n in range(40)
    ]
    said = [
        Judgement(p.pair_id, "j", "tuned", float(n % 3 > 0), "base", 0) for n, p in enumerate(pairs)
    ]
    turned = [
        dataclasses.replace(
            p, answer=p.other_answer, other_answer=p.answer, arm="base", against="tuned"
        )
        if n % 2
        else p
        for n, p in enumerate(pairs)
    ]
    turned_said = [
        dataclasses.replace(one, arm="base", against="tuned", value=1 - one.value, order=1)
        if n % 2
        else one
        for n, one in enumerate(said)
    ]
    straight = measure_preference(gather_battles(pairs, said), "base", resamples=10)
    mixed = measure_preference(gather_battles(turned, turned_said), "base", resamples=10)
    assert mixed.gamma["length"].value == pytest.approx(straight.gamma["length"].value)
    assert mixed.arms[0].raw.value == pytest.approx(straight.arms[0].raw.value)
