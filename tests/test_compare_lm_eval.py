"""lm-eval's sample logs, and what is read of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.comparing.lm_eval_logs import is_lm_eval_log, read_lm_eval_log
from evals.comparing.logs import pair_logs
from evals.errors import DataError, RecordError

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


def test_chat_template_of_one_side_only_is_refused(tmp_path: Path) -> None:
    logs = []
    for name, sha in (("a", None), ("b", "0abc")):
        folder = write_log(tmp_path / name, [sample(0, 1.0)])
        file = folder / "some__model" / f"results_{DATE}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template_sha": sha}))
        logs.append(read_lm_eval_log(folder))
    with pytest.raises(RecordError, match="chat template: none against 0abc"):
        pair_logs(logs)


def test_document_without_the_metric_is_told(tmp_path: Path) -> None:
    rows = [sample(0, 1.0), sample(1, 1.0)]
    del rows[1]["acc"]
    with pytest.raises(DataError, match="document 1 has no `acc`"):
        read_lm_eval_log(write_log(tmp_path, rows))


def test_folder_with_logs_of_two_models_is_refused(tmp_path: Path) -> None:
    for name in ("base", "tuned"):
        write_log(tmp_path / name, [sample(0, 1.0)])
    with pytest.raises(DataError, match="logs of 2 models in") as caught:
        read_lm_eval_log(tmp_path)
    assert str(tmp_path / "tuned" / "some__model") in str(caught.value)


def test_metric_of_which_less_is_better_is_refused(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "run", [sample(0, 1.0)])
    path = next(folder.rglob("results_*.json"))
    results = json.loads(path.read_text()) | {"higher_is_better": {"qa": {"acc": False}}}
    path.write_text(json.dumps(results))
    with pytest.raises(DataError, match="of `acc` less is better"):
        read_lm_eval_log(folder)
    path.write_text(json.dumps(results | {"higher_is_better": {"qa": {"acc": True}}}))
    assert read_lm_eval_log(folder).tasks["qa"].metric == "acc"


@pytest.mark.parametrize("line", [b'\xff\xfe{"doc_id"', b'{"doc_id": 1, "metrics": 5}'])
def test_damaged_line_is_told_with_its_place(tmp_path: Path, line: bytes) -> None:
    folder = write_log(tmp_path / "run", [sample(0, 1.0)])
    path = next(folder.rglob("samples_*.jsonl"))
    path.write_bytes(line + b"\n")
    with pytest.raises(DataError) as caught:
        read_lm_eval_log(folder)
    assert str(caught.value.where).endswith(":1")
