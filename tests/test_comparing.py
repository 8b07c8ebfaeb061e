"""Two results item by item: what pairs, what is refused, and statistics that hold."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from evals.comparing.lm_eval_logs import is_lm_eval_log, read_lm_eval_log
from evals.comparing.logs import PairedTask, ScoredItem, ScoreLog, TaskLog, pair_logs
from evals.comparing.paired import Rule, compare_paired
from evals.errors import DataError, RecordError

# --- pairing --------------------------------------------------------------------------------------


def log_of(name: str, values: dict[str, float], **options: Any) -> ScoreLog:
    prompts = options.pop("prompts", {})
    settings = options.pop("settings", {})
    items = tuple(ScoredItem(i, v, i, prompts.get(i, "")) for i, v in values.items())
    return ScoreLog(name, {"qa": TaskLog(options.pop("metric", "acc"), items, settings)})


def test_items_pair_by_id_and_the_rest_is_listed() -> None:
    one = log_of("one", {"a": 1.0, "b": 0.0, "c": 1.0})
    two = log_of("two", {"c": 0.0, "b": 1.0, "d": 1.0})
    paired = pair_logs([one, two])[0]
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


def drawn(n: int, *, gain: float, seed: int, n_results: int = 2) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    ease = rng.random(n)
    return [[float(e < 0.5 + gain * level) for e in ease] for level in range(n_results)]


def test_difference_and_mcnemar_are_those_of_other_packages() -> None:
    rng = np.random.default_rng(4)
    first, second = (rng.random(200) < 0.5).astype(float), (rng.random(200) < 0.6).astype(float)
    found = compare_paired([task_of([first.tolist(), second.tolist()])], Rule()).tasks[0]
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
    found = compare_paired([task_of([first.tolist(), second.tolist()])], Rule()).tasks[0]
    deviation = float((second - first).std(ddof=1))
    effect = tt_solve_power(nobs=400, alpha=0.05, power=0.8) * deviation
    assert found.detectable == pytest.approx(effect, rel=0.01)


def test_clusters_widen_the_interval_and_change_the_test() -> None:
    values = [[0.0] * 200, [float(number // 10 % 2) for number in range(200)]]
    alone = compare_paired([task_of(values)], Rule()).tasks[0]
    grouped = [str(number // 10) for number in range(200)]
    together = compare_paired([task_of(values, grouped)], Rule()).tasks[0]
    assert (alone.test, together.test) == ("McNemar", "sign flip")
    assert together.ci[1] - together.ci[0] > 2.5 * (alone.ci[1] - alone.ci[0])
    assert together.n_clusters == 20


def test_equivalence_needs_a_margin_that_holds() -> None:
    values = drawn(2000, gain=0.0, seed=2)
    noisy = [values[0], [1 - v if n % 20 == 0 else v for n, v in enumerate(values[0])]]
    found = compare_paired([task_of(noisy)], Rule(margin=0.05)).tasks[0]
    assert found.p_equivalent < 0.05
    assert compare_paired([task_of(noisy)], Rule(margin=0.001)).tasks[0].p_equivalent > 0.05


def test_tasks_are_corrected_together_and_weigh_the_same_on_the_whole() -> None:
    small, large = task_of(drawn(100, gain=0.2, seed=3)), task_of(drawn(900, gain=0.0, seed=4))
    tasks = [
        PairedTask("small", "acc", small.values, small.clusters, {}),
        PairedTask("large", "acc", large.values, tuple(f"l{c}" for c in large.clusters), {}),
    ]
    found = compare_paired(tasks, Rule())
    assert found.overall is not None
    mean = np.mean([one.difference for one in found.tasks])
    assert found.overall.difference == pytest.approx(mean)
    assert found.tasks[0].p_holm == pytest.approx(2 * found.tasks[0].p)
    assert compare_paired(tasks[:1], Rule()).overall is None


def test_failed_items_are_left_out_of_both_and_counted() -> None:
    values = drawn(50, gain=0.2, seed=5)
    values[1][0] = math.nan
    found = compare_paired([task_of(values)], Rule()).tasks[0]
    assert (found.n_items, found.n_failed) == (49, 1)


def test_gap_closed_is_told_where_there_is_a_gap() -> None:
    found = compare_paired([task_of(drawn(500, gain=0.2, seed=6, n_results=3))], Rule()).tasks[0]
    assert found.gap_ci[0] < 0.5 < found.gap_ci[1]
    same = drawn(500, gain=0.0, seed=7, n_results=3)
    assert math.isnan(compare_paired([task_of(same)], Rule()).tasks[0].gap_closed)
    few = compare_paired([task_of(drawn(15, gain=0.25, seed=8, n_results=3))], Rule()).tasks[0]
    assert math.isnan(few.gap_ci[0])


def test_few_clusters_give_no_interval() -> None:
    found = compare_paired([task_of(drawn(9, gain=0.3, seed=9))], Rule()).tasks[0]
    assert math.isnan(found.ci[0])
    assert math.isnan(found.p_equivalent)
    assert not math.isnan(found.p)


# --- lm-eval's logs -------------------------------------------------------------------------------

DATE = "2026-11-24T10-00-00.123456"


def write_log(
    folder: Path, rows: list[dict[str, Any]], *, date: str = DATE, n_shot: int = 2
) -> Path:
    inner = folder / "some__model"
    inner.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (inner / f"samples_qa_{date}.jsonl").write_text(lines)
    results = {"n-shot": {"qa": n_shot}, "configs": {"qa": {"output_type": "multiple_choice"}}}
    (inner / f"results_{date}.json").write_text(json.dumps(results))
    return folder


def sample(number: int, acc: float, **more: Any) -> dict[str, Any]:
    return {
        "doc_id": number,
        "doc": {"question": f"Q{number}", "subject": f"s{number // 3}"},
        "arguments": {
            "gen_args_0": {"arg_0": f"Q{number}\nA:", "arg_1": " yes"},
            "gen_args_1": {"arg_0": f"Q{number}\nA:", "arg_1": " no"},
        },
        "filter": "none",
        "metrics": ["acc", "perplexity"],
        "doc_hash": f"h{number}",
        "acc": acc,
        "perplexity": [-3.0, 2],
    } | more


def test_sample_log_is_read(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "run", [sample(0, 1.0), sample(1, 0.0), sample(1, 1.0)])
    assert is_lm_eval_log(folder)
    assert not is_lm_eval_log(Path(__file__).parent)
    task = read_lm_eval_log(folder).tasks["qa"]
    assert [(one.item_id, one.value) for one in task.items] == [
        ("h0", 1.0),
        ("h1", 0.0),
        ("h1#2", 1.0),
    ]
    assert task.metric == "acc"
    assert task.items[0].prompt == "Q0\nA:\n yes\n no"
    assert task.settings["few-shot examples"] == "2"


def test_latest_log_of_a_task_counts(tmp_path: Path) -> None:
    write_log(tmp_path, [sample(0, 0.0)])
    write_log(tmp_path, [sample(0, 1.0)], date="2026-11-25T10-00-00.000000")
    assert read_lm_eval_log(tmp_path).tasks["qa"].items[0].value == 1.0


def test_clusters_are_a_field_of_the_documents(tmp_path: Path) -> None:
    write_log(tmp_path, [sample(number, 1.0) for number in range(6)])
    items = read_lm_eval_log(tmp_path, cluster="subject").tasks["qa"].items
    assert [one.cluster for one in items] == ["s0"] * 3 + ["s1"] * 3
    with pytest.raises(DataError, match="no field `topic`") as caught:
        read_lm_eval_log(tmp_path, cluster="topic")
    assert "question, subject" in str(caught.value)


def test_filter_and_metric_are_chosen_by_name(tmp_path: Path) -> None:
    rows = [sample(0, value, filter=name) for name, value in (("strict", 0.0), ("flexible", 1.0))]
    write_log(tmp_path, rows)
    read = read_lm_eval_log(tmp_path, filter_name="flexible").tasks["qa"]
    assert (read.items[0].value, read.metric) == (1.0, "acc after flexible")
    with pytest.raises(DataError, match="no metric `f1`"):
        read_lm_eval_log(tmp_path, metric="f1")
    with pytest.raises(DataError, match="no metric `perplexity`"):
        read_lm_eval_log(tmp_path, metric="perplexity")


def test_other_shots_are_refused(tmp_path: Path) -> None:
    logs = [
        read_lm_eval_log(write_log(tmp_path / name, [sample(0, 1.0)], n_shot=shots))
        for name, shots in (("a", 0), ("b", 5))
    ]
    with pytest.raises(RecordError, match="few-shot examples: 0 against 5"):
        pair_logs(logs)


def test_file_that_is_no_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sample logs"):
        read_lm_eval_log(tmp_path)
    path = tmp_path / f"samples_qa_{DATE}.jsonl"
    path.write_text('{"question": "what?"}\n')
    with pytest.raises(DataError, match="`doc_id` or `metrics` is missing"):
        read_lm_eval_log(path)
