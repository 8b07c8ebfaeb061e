"""The decision per axis: every branch of the table, and the data that lead into it."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from evals.axisdata import AxisData, PublishedScore, Roles
from evals.decision import Bounds, Decision, Rule, decide, decide_axis
from evals.records import Axis, Format

RULE = Rule(resamples=1000)
ROLES = Roles(("imitator",), "base", "teacher")

UNDECIDED = Bounds(
    gain_lower=-0.02,
    gain_upper=0.08,
    family_lower=-0.03,
    loss_uppers=(0.08, 0.08),
    closing_lower=-0.2,
    closing_upper=-0.1,
    lead_lower=0.25,
    base_over_floor=0.3,
)
SURE_GAIN = {"gain_lower": 0.10, "gain_upper": 0.20, "family_lower": 0.09}
TINY_GAIN = {"gain_lower": 0.01, "gain_upper": 0.04}
SURE_NONE = {"gain_lower": -0.03, "gain_upper": 0.03}
SURE_LOSS = {"gain_lower": -0.2, "gain_upper": -0.06, "loss_uppers": (-0.06, -0.07)}
WEAK_TEACHER = {"lead_lower": 0.099}
NO_TEACHER = {"lead_lower": None, "closing_lower": None, "closing_upper": None}
CLOSED = {**SURE_GAIN, "closing_lower": 0.01, "closing_upper": 0.2}


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({}, Decision.UNRESOLVED),
        (CLOSED, Decision.CLOSED),
        (SURE_GAIN, Decision.GAIN),
        (SURE_NONE, Decision.NO_GAIN),
        (SURE_LOSS, Decision.LOSS),
        # a gain that is also surely below the margin does not count
        (TINY_GAIN, Decision.NO_GAIN),
        (TINY_GAIN | {"closing_lower": 0.001}, Decision.NO_GAIN),
        # a loss must show in every format, and in one at least
        (SURE_LOSS | {"loss_uppers": (-0.06, -0.04)}, Decision.NO_GAIN),
        (SURE_LOSS | {"loss_uppers": ()}, Decision.NO_GAIN),
        # with nothing to learn, only what compares imitator and base alone is said
        (WEAK_TEACHER, Decision.UNINFORMATIVE),
        (WEAK_TEACHER | SURE_NONE, Decision.UNINFORMATIVE),
        (WEAK_TEACHER | TINY_GAIN, Decision.UNINFORMATIVE),
        (WEAK_TEACHER | CLOSED, Decision.GAIN),
        (WEAK_TEACHER | SURE_LOSS, Decision.LOSS),
        # from the floor only a rise can be read
        ({"base_over_floor": 0.0}, Decision.UNINFORMATIVE),
        (CLOSED | {"base_over_floor": 0.0}, Decision.CLOSED),
        (SURE_GAIN | {"base_over_floor": 0.0}, Decision.GAIN),
        (SURE_NONE | {"base_over_floor": 0.0}, Decision.UNINFORMATIVE),
        (SURE_LOSS | {"base_over_floor": -0.1}, Decision.UNINFORMATIVE),
        (SURE_NONE | {"base_over_floor": None}, Decision.NO_GAIN),
        # without a teacher's score the gap cannot be closed
        (NO_TEACHER, Decision.UNRESOLVED),
        (NO_TEACHER | SURE_GAIN, Decision.GAIN),
        (NO_TEACHER | SURE_NONE, Decision.NO_GAIN),
        (NO_TEACHER | SURE_LOSS, Decision.LOSS),
    ],
)
def test_bounds_bring_the_decision_of_the_table(changes, decision):
    assert decide(dataclasses.replace(UNDECIDED, **changes), RULE) is decision


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({"gain_upper": 0.05}, Decision.UNRESOLVED),
        ({"gain_upper": 0.0499}, Decision.NO_GAIN),
        ({"gain_lower": 0.0}, Decision.UNRESOLVED),
        ({"gain_lower": 0.0001}, Decision.GAIN),
        (CLOSED | {"closing_lower": 0.0}, Decision.GAIN),
        ({"lead_lower": 0.1}, Decision.UNRESOLVED),
        (SURE_LOSS | {"gain_upper": -0.05}, Decision.NO_GAIN),
    ],
)
def test_bound_on_the_threshold_does_not_decide(changes, decision):
    assert decide(dataclasses.replace(UNDECIDED, **changes), RULE) is decision


def test_margin_and_share_come_from_the_rule():
    data = axis(base=0.4, imitator=0.55, teacher=0.7, n_clusters=400)
    assert decide_axis(data, ROLES, RULE).decision is Decision.GAIN
    lenient = dataclasses.replace(RULE, share=0.2)
    assert decide_axis(data, ROLES, lenient).decision is Decision.CLOSED
    coarse = dataclasses.replace(RULE, margin_points=14)
    assert decide_axis(data, ROLES, coarse).decision is Decision.GAIN
    strict = dataclasses.replace(RULE, margin_points=20)
    assert decide_axis(data, ROLES, strict).decision is Decision.UNINFORMATIVE


# --- from scores to decisions


def axis(*, n_clusters=200, chat_penalty=0.1, seed=0, axis=Axis.FACTUALITY, **rates):
    """An axis with these rates; base and imitators in both formats, the teacher in chat."""
    rng = np.random.default_rng(seed)
    n = 5 * n_clusters
    shared = rng.random(n)

    def answers(rate):
        luck = np.where(rng.random(n) < 0.5, shared, rng.random(n))
        return (luck < rate).astype(float)

    arms = tuple(rates)
    unasked = np.full(n, np.nan)
    plain = [unasked if arm == "teacher" else answers(rate) for arm, rate in rates.items()]
    penalty = {arm: 0 if arm == "teacher" else chat_penalty for arm in arms}
    chat = [answers(rate - penalty[arm]) for arm, rate in rates.items()]
    best = {arm: Format.CHAT if arm == "teacher" else Format.PLAIN for arm in arms}
    clusters = np.repeat(np.arange(n_clusters), 5)
    return AxisData(
        axis=axis,
        arms=arms,
        values={Format.PLAIN: np.stack(plain), Format.CHAT: np.stack(chat)},
        clusters=clusters,
        tasks=clusters % 2,
        best_format=best,
        floor=0.0,
    )


def with_values(data, arm, changed, form=Format.PLAIN):
    """The data with some values of one arm set to others, by index."""
    values = {f: v.copy() for f, v in data.values.items()}
    for index, value in changed.items():
        values[form][data.arms.index(arm), index] = value
    return dataclasses.replace(data, values=values)


def test_decision_carries_the_numbers_of_the_report():
    data = axis(base=0.4, imitator=0.4, teacher=0.7, n_clusters=400)
    found = decide_axis(data, ROLES, RULE)
    base, imitator, _ = (
        np.mean([row[data.tasks == t].mean() for t in (0, 1)]) for row in data.values[Format.PLAIN]
    )
    assert found.decision is Decision.NO_GAIN
    assert (found.base, found.imitator) == pytest.approx((base, imitator))
    assert found.difference == pytest.approx(imitator - base)
    assert found.difference_ci95[0] < found.difference < found.difference_ci95[1]
    assert found.gap_closed == pytest.approx((imitator - base) / found.lead)
    assert found.gap_closed_ci95[0] < found.gap_closed < found.gap_closed_ci95[1]
    assert (found.n_items, found.n_clusters, found.n_failed) == (2000, 400, 0)
    assert found.best_format == {
        "base": Format.PLAIN, "imitator": Format.PLAIN, "teacher": Format.CHAT
    }  # fmt: skip
    assert found.by_format[Format.CHAT].base == pytest.approx(found.base - 0.1, abs=0.03)
    assert found.by_format[Format.CHAT].teacher == found.teacher
    assert found.by_format[Format.PLAIN].teacher is None
    assert found.items_to_resolve is None
    assert "under the margin of 5" in found.reason


def test_same_data_and_rule_give_the_same_decision():
    data = axis(base=0.4, imitator=0.45, teacher=0.7)
    assert decide_axis(data, ROLES, RULE) == decide_axis(data, ROLES, RULE)


def test_order_of_the_items_does_not_matter():
    data = axis(base=0.4, imitator=0.45, teacher=0.7)
    order = np.random.default_rng(0).permutation(len(data.clusters))
    shuffled = dataclasses.replace(
        data,
        values={f: v[:, order] for f, v in data.values.items()},
        clusters=data.clusters[order],
        tasks=data.tasks[order],
    )
    assert decide_axis(shuffled, ROLES, RULE) == decide_axis(data, ROLES, RULE)


def test_gain_must_beat_the_better_format_of_the_base():
    data = axis(base=0.5, imitator=0.5, teacher=0.8, chat_penalty=0.2, n_clusters=400)
    chatty = dataclasses.replace(data, best_format=data.best_format | {"base": Format.CHAT})
    assert decide_axis(data, ROLES, RULE).decision is Decision.NO_GAIN
    assert decide_axis(chatty, ROLES, RULE).decision is Decision.GAIN


def test_loss_in_one_format_alone_is_no_loss():
    data = axis(base=0.5, imitator=0.35, teacher=0.8, n_clusters=400)
    assert decide_axis(data, ROLES, RULE).decision is Decision.LOSS
    n = len(data.clusters)
    same_in_chat = dict(enumerate(data.values[Format.CHAT][data.arms.index("base")]))
    data = with_values(data, "imitator", same_in_chat, Format.CHAT)
    assert len(same_in_chat) == n
    found = decide_axis(data, ROLES, RULE)
    assert found.decision is Decision.NO_GAIN
    assert found.reason.endswith("it lost more than the margin, but not in every format")


def test_failed_items_leave_the_comparison_and_are_counted():
    data = axis(base=0.4, imitator=0.4, teacher=0.7)
    holed = with_values(data, "base", {0: np.nan, 1: np.nan})
    holed = with_values(holed, "teacher", {1: np.nan, 900: np.nan}, Format.CHAT)
    found = decide_axis(holed, ROLES, RULE)
    assert (found.n_failed, found.n_items) == (3, 997)
    kept = ~np.isin(np.arange(1000), [0, 1, 900])
    assert found.imitator == pytest.approx(
        np.mean([data.values[Format.PLAIN][1][kept & (data.tasks == t)].mean() for t in (0, 1)])
    )


def test_many_failures_are_told_in_the_reason():
    data = axis(base=0.4, imitator=0.4, teacher=0.7, n_clusters=400)
    few = with_values(data, "base", dict.fromkeys(range(100), np.nan))
    assert "failed" not in decide_axis(few, ROLES, RULE).reason
    many = with_values(data, "base", dict.fromkeys(range(101), np.nan))
    assert decide_axis(many, ROLES, RULE).reason.endswith("; 101 of 2000 items failed in some arm")


def test_failures_of_an_arm_that_is_not_compared_change_nothing():
    data = axis(base=0.4, imitator=0.4, teacher=0.7, other=0.5)
    holed = with_values(data, "other", dict.fromkeys(range(500), np.nan))
    assert decide_axis(holed, ROLES, RULE) == decide_axis(data, ROLES, RULE)


def test_fewer_than_ten_clusters_are_refused_and_ten_are_not():
    nine = decide_axis(axis(base=0.4, imitator=0.4, teacher=0.7, n_clusters=9), ROLES, RULE)
    assert nine.decision is Decision.REFUSED
    assert "9 clusters" in nine.reason
    assert nine.difference is None
    ten = decide_axis(axis(base=0.4, imitator=0.4, teacher=0.7, n_clusters=10), ROLES, RULE)
    assert ten.decision is not Decision.REFUSED


@pytest.mark.parametrize("n_clusters", [1, 2])
def test_task_with_fewer_than_three_clusters_is_refused(n_clusters):
    data = axis(base=0.4, imitator=0.4, teacher=0.7)
    data = dataclasses.replace(data, tasks=(data.clusters < n_clusters).astype(int))
    assert "1 tasks have fewer than 3 clusters" in decide_axis(data, ROLES, RULE).reason


def test_shown_difference_ends_where_shares_do():
    found = decide_axis(axis(base=0.0, imitator=1.0, teacher=1.0, n_clusters=20), ROLES, RULE)
    assert found.difference_ci95[1] == found.lead_ci95[1] == 1
    assert found.by_format[Format.CHAT].difference_ci95[1] <= 1


def test_task_that_failed_throughout_is_refused_not_forgotten():
    data = axis(base=0.4, imitator=0.4, teacher=0.7)
    lost = dict.fromkeys(np.flatnonzero(data.tasks == 1), np.nan)
    found = decide_axis(with_values(data, "imitator", lost), ROLES, RULE)
    assert found.decision is Decision.REFUSED
    assert "1 tasks have no item" in found.reason


def test_arm_without_scores_is_refused_by_name():
    data = axis(base=0.4, imitator=0.4, teacher=0.7)
    found = decide_axis(data, Roles(("imitator",), "base", "oracle"), RULE)
    assert found.decision is Decision.REFUSED
    assert found.reason == "`oracle` has no score on factuality"
    unread = dataclasses.replace(data, best_format=data.best_format | {"teacher": Format.PLAIN})
    assert "in its chosen format, plain" in decide_axis(unread, ROLES, RULE).reason


def test_base_that_guesses_is_uninformative():
    data = dataclasses.replace(axis(base=0.25, imitator=0.25, teacher=0.7), floor=0.25)
    found = decide_axis(data, ROLES, RULE)
    assert found.decision is Decision.UNINFORMATIVE
    assert "guessing" in found.reason
    assert found.items_to_resolve is None


def test_without_a_teacher_only_gain_no_gain_and_loss_are_decided():
    alone = Roles(("imitator",), "base")
    data = axis(base=0.4, imitator=0.7, n_clusters=400)
    found = decide_axis(data, alone, RULE)
    assert found.decision is Decision.GAIN
    assert (found.teacher, found.lead, found.gap_closed) == (None, None, None)
    data = axis(base=0.4, imitator=0.4, n_clusters=400)
    assert decide_axis(data, alone, RULE).decision is Decision.NO_GAIN


def test_published_teacher_adds_its_own_binomial_error():
    data = axis(base=0.4, imitator=0.4, n_clusters=400)
    roles = Roles(("imitator",), "base", "card")
    decisions = {}
    for n in (200, 100_000):
        published = {"card": PublishedScore(0.7, n, "the teacher's model card")}
        decisions[n] = decide_axis(dataclasses.replace(data, published=published), roles, RULE)
    few, many = decisions[200], decisions[100_000]
    assert few.decision is many.decision is Decision.NO_GAIN
    assert few.teacher == many.teacher == 0.7
    assert few.difference_ci95 == many.difference_ci95
    width = {n: np.diff(d.lead_ci95)[0] for n, d in decisions.items()}
    binomial = 2 * 1.96 * (0.7 * 0.3 / 200) ** 0.5
    assert np.hypot(width[100_000], binomial) == pytest.approx(width[200], rel=0.05)


def test_gap_closed_is_not_given_where_the_teacher_may_not_lead():
    found = decide_axis(axis(base=0.4, imitator=0.5, teacher=0.41), ROLES, RULE)
    assert found.lead_ci95[0] <= 0
    assert (found.gap_closed, found.gap_closed_ci95) == (None, None)


def test_gap_closed_is_not_clipped():
    found = decide_axis(axis(base=0.3, imitator=0.8, teacher=0.5), ROLES, RULE)
    assert found.gap_closed > 1.5
    found = decide_axis(axis(base=0.4, imitator=0.2, teacher=0.7), ROLES, RULE)
    assert found.gap_closed_ci95[1] < 0


def test_gap_closed_by_one_item_of_hundreds_has_an_interval_that_says_so():
    data = axis(base=0.4, imitator=0.4, teacher=0.8, chat_penalty=0.0)
    base = data.values[Format.PLAIN][data.arms.index("base")]
    same = with_values(data, "imitator", dict(enumerate(base)))
    first_wrong = int(np.flatnonzero(base == 0)[0])
    found = decide_axis(with_values(same, "imitator", {first_wrong: 1.0}), ROLES, RULE)
    low, high = found.gap_closed_ci95
    reach = found.difference_ci95
    assert low <= reach[0] / found.lead < 0 < reach[1] / found.lead <= high


def test_gap_closed_has_no_interval_from_few_clusters():
    found = decide_axis(axis(base=0.2, imitator=0.5, teacher=0.9, n_clusters=16), ROLES, RULE)
    assert found.gap_closed is not None
    assert found.gap_closed_ci95 is None


def seeds(*rates, n_clusters=400):
    names = [f"seed {i}" for i in range(len(rates))]
    data = axis(
        base=0.4, teacher=0.8, n_clusters=n_clusters, **dict(zip(names, rates, strict=True))
    )
    return data, Roles(tuple(names), "base", "teacher")


def test_three_seeds_are_averaged_and_widen_the_interval_by_their_spread():
    data, roles = seeds(0.4, 0.6, 0.8)
    found = decide_axis(data, roles, RULE)
    each = [decide_axis(data, Roles((s,), "base", "teacher"), RULE) for s in roles.imitator]
    assert found.n_seeds == 3
    assert found.imitator == pytest.approx(np.mean([d.imitator for d in each]))
    spread = scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem([d.imitator for d in each])
    low, high = found.difference_ci95
    assert (high - low) / 2 == pytest.approx(spread, rel=0.02)
    low, high = found.gap_closed_ci95
    assert (high - low) / 2 == pytest.approx(spread / found.lead, rel=0.05)
    assert found.decision is Decision.UNRESOLVED
    assert found.items_to_resolve is None  # more items do not narrow what the seeds spread


def test_two_seeds_are_averaged_without_a_claim_on_their_spread():
    data, roles = seeds(0.5, 0.7)
    found = decide_axis(data, roles, RULE)
    assert (found.n_seeds, found.decision) == (2, Decision.GAIN)


def test_items_to_resolve_do_resolve_four_times_in_five():
    planned = decide_axis(
        axis(base=0.4, imitator=0.4, teacher=0.7, n_clusters=40, seed=4), ROLES, RULE
    )
    assert planned.decision is Decision.UNRESOLVED
    deviation = np.diff(planned.difference_ci95)[0] / (2 * 1.96) * 200**0.5
    reach = scipy.stats.norm.ppf(0.95) + scipy.stats.norm.ppf(0.8)
    away = max(planned.difference, 0.05 - planned.difference)
    expected = (reach * deviation / away) ** 2
    assert planned.items_to_resolve == pytest.approx(expected, rel=0.15)


def test_unresolved_closing_says_how_many_items_would_settle_it():
    found = decide_axis(axis(base=0.4, imitator=0.58, teacher=0.7, n_clusters=60), ROLES, RULE)
    assert found.decision is Decision.GAIN
    assert not found.is_shown_short
    assert found.items_to_close > found.n_items
