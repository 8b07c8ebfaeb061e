"""Two results item by item: what pairs, what is refused, and statistics that hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar

from evals.comparing.logs import (
    PairedTask,
    Pairing,
    ScoredItem,
    ScoreLog,
    TaskLog,
    pair_logs,
)
from evals.comparing.paired import Compared, Comparison, Finding, Rule, compare_paired
from evals.comparing.words import sentences
from evals.errors import RecordError

# --- pairing --------------------------------------------------------------------------------------


def log_of(name: str, values: dict[str, float], **options: Any) -> ScoreLog:
    prompts = options.pop("prompts", {})
    settings = options.pop("settings", {})
    items = tuple(ScoredItem(i, v, i, prompts.get(i, "")) for i, v in values.items())
    metric, seeds = options.pop("metric", "acc"), options.pop("seeds", ())
    return ScoreLog(name, {"qa": TaskLog(metric, items, settings, seeds=seeds)})


def test_items_pair_by_id_and_the_rest_is_listed() -> None:
    one = log_of("one", {"a": 1.0, "b": 0.0, "c": 1.0})
    two = log_of("two", {"c": 0.0, "b": 1.0, "d": 1.0})
    paired = pair_logs([one, two]).tasks[0]
    assert paired.values.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert paired.unpaired == {"one": ("a",), "two": ("d",)}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"settings": {"shots": "5"}}, {"settings": {"shots": "0"}}, "shots: 5 against 0"),
        ({"metric": "acc"}, {"metric": "acc_norm"}, "metric: acc against acc_norm"),
        (
            {"prompts": {"a": "Q: one?\nA:"}},
            {"prompts": {"a": "Question: one?\nA:"}},
            "item a was asked with two prompts:\n--- one\n+++ two\n@@ -1,2 +1,2 @@\n"
            "-Q: one?\n+Question: one?",
        ),
    ],
)
def test_results_measured_differently_are_refused_with_the_difference(
    first: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    logs = [log_of("one", {"a": 1.0}, **first), log_of("two", {"a": 1.0}, **second)]
    with pytest.raises(RecordError) as caught:
        pair_logs(logs)
    assert message in str(caught.value)


def test_long_settings_are_cut_to_where_they_part() -> None:
    same = "x" * 1000
    logs = [
        log_of(name, {"a": 1.0}, settings={"examples": same + name * 1000})
        for name in ("one", "two")
    ]
    with pytest.raises(RecordError) as caught:
        pair_logs(logs)
    assert f"\N{HORIZONTAL ELLIPSIS}{'x' * 40}oneone" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_tasks_that_one_result_lacks_are_told() -> None:
    one, two = log_of("one", {"a": 1.0}), log_of("two", {"a": 1.0})
    more = ScoreLog("two", {**two.tasks, "extra": two.tasks["qa"]})
    found = pair_logs([one, more])
    assert found.left_out == {"one": (), "two": ("extra",)}
    teacher = ScoreLog("teacher", {"other": one.tasks["qa"]})
    with pytest.raises(RecordError, match=r"no task is in all results .*teacher: other"):
        pair_logs([one, two, teacher])


def test_what_could_not_be_checked_is_told() -> None:
    known = {"prompts": {"a": "Q"}, "settings": {"shots": "0"}}
    seen = pair_logs([log_of("one", {"a": 1.0}, **known), log_of("two", {"a": 1.0}, **known)])
    assert seen.tasks[0].notes == ()
    blind = pair_logs([log_of("one", {"a": 1.0}), log_of("two", {"a": 1.0}, **known)])
    assert "1 pairs have no prompt on record" in blind.tasks[0].notes[0]
    assert "settings such as the number of examples are not on record" in blind.tasks[0].notes[1]


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(RecordError, match="no item is in all results, which have 1, 1"):
        pair_logs([log_of("one", {"a": 1.0}), log_of("two", {"b": 1.0})])
    with pytest.raises(RecordError, match="no task is in all results"):
        pair_logs([log_of("one", {"a": 1.0}), ScoreLog("two", {})])


def test_doubled_ids_are_refused() -> None:
    items = (ScoredItem("a", 1.0, "a"), ScoredItem("a", 0.0, "a"))
    double = ScoreLog("two", {"qa": TaskLog("acc", items)})
    with pytest.raises(RecordError, match="1 items have an id that another has"):
        pair_logs([log_of("one", {"a": 1.0}), double])


# --- statistics -----------------------------------------------------------------------------------


def task_of(values: list[list[float]], clusters: list[str] | None = None) -> PairedTask:
    names = clusters or [str(number) for number in range(len(values[0]))]
    return PairedTask("qa", "acc", np.array(values), tuple(names), {})


def together(tasks: Sequence[PairedTask], rule: Rule | None = None) -> Comparison:
    names = ("one", "two", "teacher")[: max(len(task.values) for task in tasks)]
    return compare_paired(Pairing(names, tuple(tasks), {}, {}), rule or Rule())


def compared(task: PairedTask, rule: Rule) -> Compared:
    return together([task], rule).tasks[0]


def ids(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(n)))


def drawn(n: int, *, gain: float, seed: int, n_results: int = 2) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    ease = rng.random(n)
    return [[float(e < 0.5 + gain * level) for e in ease] for level in range(n_results)]


def test_difference_and_mcnemar_are_those_of_other_packages() -> None:
    rng = np.random.default_rng(4)
    first, second = (rng.random(200) < 0.5).astype(float), (rng.random(200) < 0.6).astype(float)
    found = compared(task_of([first.tolist(), second.tolist()]), Rule())
    table = [[((first == a) & (second == b)).sum() for b in (1, 0)] for a in (1, 0)]
    assert found.test == "McNemar"
    assert found.p == pytest.approx(float(mcnemar(table, exact=True).pvalue))
    t_test = stats.ttest_rel(second, first)
    low, high = t_test.confidence_interval(0.95)
    assert found.difference == pytest.approx(second.mean() - first.mean())
    assert found.ci == pytest.approx((low, high), abs=0.01)
    assert (found.n_better, found.n_worse) == (table[1][0], table[0][1])


def test_detectable_effect_is_that_of_the_t_test() -> None:
    from statsmodels.stats.power import tt_solve_power

    first, second = np.array(drawn(400, gain=0.1, seed=1))
    found = compared(task_of([first.tolist(), second.tolist()]), Rule())
    deviation = float((second - first).std(ddof=1))
    effect = tt_solve_power(nobs=400, alpha=0.05, power=0.8) * deviation
    assert found.detectable == pytest.approx(effect, rel=0.01)


def test_clusters_widen_the_interval_and_change_the_test() -> None:
    values = [[0.0] * 200, [float(number // 10 % 2) for number in range(200)]]
    alone = compared(task_of(values), Rule())
    grouped = [str(number // 10) for number in range(200)]
    together = compared(task_of(values, grouped), Rule())
    assert (alone.test, together.test) == ("McNemar", "sign flip")
    assert together.ci[1] - together.ci[0] > 2.5 * (alone.ci[1] - alone.ci[0])
    assert together.n_clusters == 20


def test_equivalence_needs_a_margin_that_holds() -> None:
    values = drawn(2000, gain=0.0, seed=2)
    noisy = [values[0], [1 - v if n % 20 == 0 else v for n, v in enumerate(values[0])]]
    found = compared(task_of(noisy), Rule(margin=0.05))
    assert found.p_equivalent < 0.05
    assert compared(task_of(noisy), Rule(margin=0.001)).p_equivalent > 0.05


ALIKE = 1 - 0.025 ** (1 / 40)
"""How far an interval reaches where 40 items are all alike: "the rule of three"."""


def seeded(name: str, by_seed: Sequence[Sequence[float]], seeds: tuple[int, ...]) -> ScoreLog:
    """Return a log of one task, of which is given what every seed scores on each item."""
    items = tuple(
        ScoredItem(str(place), float(np.mean(values)), str(place), by_seed=tuple(values))
        for place, values in enumerate(zip(*by_seed, strict=True))
    )
    return ScoreLog(name, {"qa": TaskLog("acc", items, seeds=seeds)})


def test_seeds_that_differ_widen_the_interval_and_are_tested_as_a_sample() -> None:
    gains = (0.1, 0.2, 0.3)  # the same on all of 40 items, so that all error is the seeds'
    base = log_of("base", dict.fromkeys(ids(40), 0.5))
    tuned = seeded("tuned", [[0.5 + gain] * 40 for gain in gains], (0, 1, 2))
    (found,) = compare_paired(pair_logs([base, tuned]), Rule()).tasks
    expected = stats.ttest_1samp(gains, 0.0)
    assert (found.n_seeds, found.test) == (3, "interval over seeds")
    assert found.difference == pytest.approx(0.2)

    def reaches_zero(alpha: float) -> float:
        seeds = stats.t.isf(alpha, 2) * np.std(gains, ddof=1) / 3**0.5
        return math.hypot(seeds, 1 - alpha ** (1 / 40)) - 0.2

    assert found.p == pytest.approx(2 * optimize.brentq(reaches_zero, 1e-4, 0.4), rel=1e-6)
    assert found.p > expected.pvalue
    assert found.standard_error == pytest.approx(stats.sem(gains))
    reach = math.hypot(expected.confidence_interval().high - 0.2, ALIKE)
    assert found.ci == pytest.approx((0.2 - reach, 0.2 + reach))
    assert math.isnan(found.detectable)
    (alone,) = compare_paired(pair_logs([base, log_of("one", tuned_mean(tuned))]), Rule()).tasks
    assert alone.n_seeds == 1
    assert alone.ci[1] - alone.ci[0] < (found.ci[1] - found.ci[0]) / 2


def test_seeds_that_hardly_differ_are_tested_like_those_that_do_not() -> None:
    rng = np.random.default_rng(0)
    ease = rng.random(200)
    base = log_of("base", dict(zip(ids(200), (ease < 0.4).astype(float), strict=True)))
    gained = [(ease < 0.55).astype(float), (ease < 0.55).astype(float)]
    alike = seeded("alike", gained, (0, 1))
    gained[1][np.argmax(gained[1] == 0)] = 1.0
    nearly = seeded("nearly", gained, (0, 1))
    found = [together_of([base, one]).tasks[0] for one in (alike, nearly)]
    assert all(one.finding is Finding.BETTER for one in found)
    assert 0 < found[0].p < found[1].p < 0.02
    assert all(one.ci[0] > 0 for one in found)


def together_of(logs: Sequence[ScoreLog]) -> Comparison:
    return compare_paired(pair_logs(logs), Rule())


def tuned_mean(log: ScoreLog) -> dict[str, float]:
    return {one.item_id: one.value for one in log.tasks["qa"].items}


def test_two_recipes_pair_by_seed() -> None:
    first = seeded("first", [[0.2] * 40, [0.4] * 40, [0.6] * 40], (0, 1, 2))
    second = seeded("second", [[0.3] * 40, [0.5] * 40, [0.7] * 40], (0, 1, 2))
    (found,) = compare_paired(pair_logs([first, second]), Rule()).tasks
    assert (found.first, found.second) == pytest.approx((0.4, 0.5))
    assert found.ci == pytest.approx((0.1 - ALIKE, 0.1 + ALIKE))  # each seed gains the same
    other = seeded("other", [[0.3] * 40, [0.5] * 40], (0, 3))
    with pytest.raises(RecordError, match="training seeds: 0, 1, 2 against 0, 3"):
        pair_logs([first, other])
    one = log_of("one", dict.fromkeys(ids(40), 0.5), seeds=(0,))
    with pytest.raises(RecordError, match="training seeds: 0 against 0, 1, 2"):
        pair_logs([one, first])
    pair_logs([one, log_of("another", dict.fromkeys(ids(40), 0.5), seeds=(1,))])


def test_a_mean_over_seeds_has_no_interval_of_the_gap_where_the_first_varies() -> None:
    first = seeded("first", [[0.2] * 40, [0.25] * 40, [0.3] * 40], (0, 1, 2))
    second = seeded("second", [[0.4] * 40, [0.5] * 40, [0.45] * 40], (0, 1, 2))
    teacher = log_of("teacher", dict.fromkeys(ids(40), 0.65))
    logs = [first, second, teacher]
    (found,) = together_of(logs).tasks
    assert found.gap_closed == pytest.approx(0.2 / 0.4)
    assert math.isnan(found.gap_ci[0])
    assert "no interval, as first is the mean of 3 seeds." in sentences(together_of(logs))[0]


def test_tasks_are_corrected_together_and_weigh_the_same_on_the_whole() -> None:
    small, large = task_of(drawn(100, gain=0.2, seed=3)), task_of(drawn(900, gain=0.0, seed=4))
    tasks = [
        PairedTask("small", "acc", small.values, small.clusters, {}),
        PairedTask("large", "acc", large.values, tuple(f"l{c}" for c in large.clusters), {}),
    ]
    found = together(tasks)
    mean = np.mean([one.difference for one in found.tasks])
    assert found.means[0].difference == pytest.approx(mean)
    assert found.tasks[0].p_holm == pytest.approx(2 * found.tasks[0].p)
    assert together(tasks[:1]).means == ()


def test_failed_items_are_left_out_of_both_and_counted() -> None:
    values = drawn(50, gain=0.2, seed=5)
    values[1][0] = math.nan
    found = compared(task_of(values), Rule())
    assert (found.n_items, found.n_failed) == (49, 1)


def test_gap_closed_is_told_where_there_is_a_gap() -> None:
    found = compared(task_of(drawn(500, gain=0.2, seed=6, n_results=3)), Rule())
    assert found.gap_ci[0] < 0.5 < found.gap_ci[1]
    same = drawn(500, gain=0.0, seed=7, n_results=3)
    assert math.isnan(compared(task_of(same), Rule()).gap_closed)
    few = compared(task_of(drawn(15, gain=0.25, seed=8, n_results=3)), Rule())
    assert math.isnan(few.gap_ci[0])


def test_gap_of_which_no_item_closed_any_is_no_certainty() -> None:
    found = compared(task_of([[0.0] * 60, [0.0] * 60, [1.0] * 30 + [0.0] * 30]), Rule())
    assert found.gap_closed == 0
    unseen = 1 - 0.025 ** (1 / 60)  # what 60 items may have missed, over a lead of one half
    assert found.gap_ci == pytest.approx((-2 * unseen, 2 * unseen))


def test_teacher_that_is_behind_or_lacks_a_task_closes_no_gap() -> None:
    first, second, third = drawn(300, gain=0.2, seed=10, n_results=3)
    behind = compared(task_of([third, second, first]), Rule())
    assert behind.lead == pytest.approx(np.mean(first) - np.mean(third))
    assert behind.lead_ci[1] < 0
    assert math.isnan(behind.gap_closed)
    with_teacher = PairedTask("a", "acc", np.array([first, second, third]), ids(300), {})
    without = PairedTask("b", "acc", np.array([first, second]), ids(300), {})
    found = together([with_teacher, without])
    assert not math.isnan(found.tasks[0].gap_closed)
    assert math.isnan(found.tasks[1].teacher)
    assert math.isnan(found.means[0].teacher)


def test_tasks_of_other_groups_have_means_of_their_own() -> None:
    values = np.array(drawn(100, gain=0.1, seed=11))
    tasks = [
        PairedTask(name, "acc", values, ids(100), {}, group=group)
        for name, group in (("a", "facts"), ("b", "facts"), ("c", "style"))
    ]
    assert [one.task for one in together(tasks).means] == ["2 tasks of facts"]


@pytest.mark.parametrize(
    ("gain", "n", "margin", "finding"),
    [
        (0.3, 200, 0.05, Finding.BETTER),
        (-0.3, 200, 0.05, Finding.WORSE),
        (0.0, 200, 0.05, Finding.EQUIVALENT),
        (0.04, 60, 0.01, Finding.UNRESOLVED),
        (0.3, 9, 0.05, Finding.TOO_FEW),
    ],
)
def test_finding_follows_from_tests_and_margin(
    gain: float, n: int, margin: float, finding: Finding
) -> None:
    assert compared(task_of(drawn(n, gain=gain, seed=12)), Rule(margin=margin)).finding is finding


def test_task_that_failed_on_every_item_is_refused() -> None:
    with pytest.raises(RecordError, match="on each of 12 items one of the results failed"):
        compared(task_of([[math.nan] * 12, [1.0] * 12]), Rule())


def test_few_clusters_give_no_interval() -> None:
    found = compared(task_of(drawn(9, gain=0.3, seed=9)), Rule())
    assert math.isnan(found.ci[0])
    assert math.isnan(found.p_equivalent)
    assert not math.isnan(found.p)
