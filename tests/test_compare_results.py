"""`imitate compare`: tables, logs and arms of runs, end to end; and each thing that it refuses."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_compare_lm_eval import DATE, sample, write_log

from evals.records import Axis, Format, Item, Outcome, Score, read_records, write_records
from imitate.cli import main

Told = tuple[int, str, str]


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    def run(*arguments: str | Path) -> Told:
        try:
            code = main(["compare", *map(str, arguments)])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        captured = capsys.readouterr()
        return code, " ".join(captured.out.split()), captured.err

    return run


def write_table(path: Path, share: float, *, n: int = 200, seed: int = 0, **columns: str) -> Path:
    """Write a table of n items, of which about this share is right."""
    rng = random.Random(seed)
    rows = [{"id": f"q{i}", "score": int(rng.random() < share)} for i in range(n)]
    more = [{name: value.format(i // 5) for name, value in columns.items()} for i in range(n)]
    lines = [json.dumps(row | extra) for row, extra in zip(rows, more, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_two_tables_are_compared(tmp_path: Path, compare: Callable[..., Told]) -> None:
    first = write_table(tmp_path / "base.jsonl", 0.4)
    second = write_table(tmp_path / "tuned.jsonl", 0.7, n=199)
    code, out, err = compare(first, second)
    assert (code, err) == (0, "")
    assert "On scores, tuned.jsonl is better than base.jsonl by" in out
    assert "scores: 1 item of base.jsonl has no partner: q199." in out
    assert "199 pairs have no prompt on record" in out
    assert "settings such as the number of examples are not on record" in out


def test_csv_with_named_columns_tasks_and_clusters(
    tmp_path: Path, compare: Callable[..., Told]
) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        rng = random.Random(seed)
        rows = [f"{i},{rng.random():.2f},t{i % 2},p{i // 8}" for i in range(160)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["key,mark,set,passage", *rows]))
    columns = ["--id", "key", "--score", "mark", "--task", "set", "--cluster", "passage"]
    code, out, _ = compare(tmp_path / "a.csv", tmp_path / "b.csv", *columns, "--json")
    assert code == 0
    told = json.loads(out)
    assert [task["task"] for task in told["tasks"]] == ["t0", "t1"]
    assert {task["n_clusters"] for task in told["tasks"]} == {20}
    assert {task["test"] for task in told["tasks"]} == {"sign flip"}
    assert told["means"][0]["task"] == "2 tasks"
    assert told["names"] == ["a.csv", "b.csv"]


def test_tasks_of_a_table_are_chosen_by_pattern(
    tmp_path: Path, compare: Callable[..., Told]
) -> None:
    paths = [write_table(tmp_path / f"{n}.jsonl", 0.5, n=n, task="mmlu_{0}") for n in (100, 101)]
    _, out, _ = compare(*paths, "--only", "mmlu_1*,mmlu_3", "--json")
    assert {task["task"] for task in json.loads(out)["tasks"]} == {
        "mmlu_3",
        "mmlu_1",
        *(f"mmlu_{n}" for n in range(10, 20)),
    }
    code, _, err = compare(*paths, "--only", "gsm8k")
    assert code == 2
    assert "no task of the table" in err
    assert "`gsm8k`" in err


def test_same_seed_gives_the_same_numbers(tmp_path: Path, compare: Callable[..., Told]) -> None:
    paths = [write_table(tmp_path / f"{n}.jsonl", n / 10, seed=n, p="{0}") for n in (4, 5)]
    one, same, other = (
        json.loads(compare(*paths, "--cluster", "p", "--json", "--seed", seed)[1])["tasks"][0]["p"]
        for seed in ("1", "1", "2")
    )
    assert one == same != other


def test_margin_decides_what_is_equivalent(tmp_path: Path, compare: Callable[..., Told]) -> None:
    first = write_table(tmp_path / "a.jsonl", 0.5)
    second = write_table(tmp_path / "b.jsonl", 0.5)
    assert "differ by less than the margin of 5 points: 0.0 points" in compare(first, second)[1]
    narrow = compare(first, second, "--margin", "0.5")[1]
    assert "nothing is decided between b.jsonl and a.jsonl" in narrow


def test_logs_of_lm_eval_are_compared_with_a_teacher(
    tmp_path: Path, compare: Callable[..., Told]
) -> None:
    rights = {"base": 20, "tuned": 40, "teacher": 60}
    for name, n_right in rights.items():
        rows = [sample(i, float(i < n_right)) for i in range(90)]
        write_log(tmp_path / name, rows)
    code, out, _ = compare(tmp_path / "base", tmp_path / "tuned", "--teacher", tmp_path / "teacher")
    assert code == 0
    assert "A base: lm-eval's sample log" in out
    assert "On qa, tuned is better than base by 22.2 points" in out
    assert "Gap closed: 50% of the teacher's lead of 44.4 points (" in out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"id": "q", "mark": 1}', "no column `score`"),
        ('{"score": 1}', "no column `id`"),
        ('{"id": "q", "score": 7}', "`score` is '7': a score is a number in [0, 1]"),
        ('{"id": "q", "score": "good"}', "`score` is 'good': a score is a number in [0, 1]"),
        ("", "no rows in a.jsonl"),
    ],
)
def test_faulty_table_is_told_with_its_place(
    tmp_path: Path, compare: Callable[..., Told], row: str, message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(row)
    code, out, err = compare(path, write_table(tmp_path / "b.jsonl", 0.5))
    assert (code, out) == (2, "")
    assert message in err
    assert str(path) in err


@pytest.mark.parametrize("margin", ["0", "-1", "all", "100"])
def test_margin_must_make_sense(compare: Callable[..., Told], margin: str) -> None:
    code, _, err = compare("a", "b", f"--margin={margin}")
    assert code == 2
    assert "points above 0 and below 100" in err


def test_what_is_no_result_is_told(tmp_path: Path, compare: Callable[..., Told]) -> None:
    table = write_table(tmp_path / "a.jsonl", 0.5)
    code, _, err = compare(table, tmp_path / "nothing")
    assert code == 2
    assert "no such file or folder" in err
    assert "RUN:ARM" in err
    (tmp_path / "empty").mkdir()
    assert "no result in the folder" in compare(table, tmp_path / "empty")[2]
    means = write_log(tmp_path / "log", [sample(0, 1.0)]) / "some__model" / f"results_{DATE}.json"
    assert "holds means of tasks, which do not pair" in compare(table, means)[2]
    assert f"`{table}` is given twice" in compare(table, table)[2]


def test_missing_package_is_told_with_its_install(
    tmp_path: Path, compare: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    (tmp_path / "base.eval").write_bytes(b"PK")
    code, _, err = compare(tmp_path / "base.eval", write_table(tmp_path / "b.jsonl", 0.5))
    assert code == 2
    assert "reading Inspect's logs needs the extra `inspect`" in err
    assert "pip install 'imitation-gap[inspect]'" in err


# --- arms of a run --------------------------------------------------------------------------------

SCORE = Score("", "", "", Axis.FACTUALITY, Format.CHAT, "", 0.0, Outcome.RIGHT)
VALUES = {"small": 0.3, "small/broad-100-s0": 0.6, "teacher": 0.9}


def task_scores(arm: str, task: str, axis: Axis, form: Format, share: float) -> list[Score]:
    """Return scores on 60 items and 20 development items, one of which failed."""
    rng = random.Random(f"{arm} {task} {form}")
    scores = []
    for number in range(80):
        is_development = number >= 60
        value = float(rng.random() < share)
        changed: dict[str, Any] = {"outcome": Outcome.RIGHT if value else Outcome.WRONG}
        if number == 0 and arm == "small":
            changed, value = {"outcome": Outcome.FAILED}, float("nan")
        item_id, cluster = f"{task}{number}", f"{task} c{number // 2}"
        scores.append(
            dataclasses.replace(
                SCORE,
                **changed,
                **{"item_id": item_id, "arm": arm, "task": task, "axis": axis, "format": form},
                cluster_id=cluster,
                value=value,
                is_development=is_development,
            )
        )
    return scores


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of one base, its imitator and a teacher; the base does better in the plain format."""
    folder = tmp_path / "run"
    (folder / "records").mkdir(parents=True)
    scores: list[Score] = []
    for arm, share in VALUES.items():
        for task in ("facts", "dates"):
            for form, worse in ((Format.PLAIN, 0.0), (Format.CHAT, 0.2)):
                scores += task_scores(arm, task, Axis.FACTUALITY, form, share - worse)
        told = "teacher|small" if arm == "teacher" else arm
        scores += task_scores(told, "chat", Axis.STYLE, Format.CHAT, share)
    scores += task_scores("large", "chat", Axis.STYLE, Format.CHAT, 0.5)
    scores += task_scores("large", "facts", Axis.FACTUALITY, Format.PLAIN, 0.5)
    items = [Item(s.item_id, s.task, s.axis, s.cluster_id, "Q?") for s in scores]
    write_records(folder / "records" / "scores.parquet", scores, Score)
    write_records(folder / "records" / "items.parquet", items, Item)
    arms: Sequence[tuple[str, str | None, str | None]] = (
        ("small", "small", None),
        ("small/broad-100-s0", "small", "broad"),
        ("teacher", None, None),
        ("large", "large", None),
    )
    results = {
        "arms": [{"arm": arm, "base": base, "mix": mix} for arm, base, mix in arms],
        "tasks": [{"name": "facts", "few_shot": 4}, {"name": "dates", "in_verdict": False}],
    }
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "plan.json").write_text("{}")
    return folder


def test_arms_of_a_run_are_compared_in_the_first_one_s_better_format(
    run_folder: Path, compare: Callable[..., Told]
) -> None:
    arms = [f"{run_folder}:small", f"{run_folder}:small/broad-100-s0"]
    code, out, err = compare(*arms, "--teacher", f"{run_folder}:teacher", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["names"] == ["small", "small/broad-100-s0", "teacher"]
    tasks = {task["task"]: task for task in told["tasks"]}
    assert set(tasks) == {"facts", "dates", "chat (told from small)"}
    assert tasks["facts"]["metric"] == "factuality, plain format"
    assert tasks["chat (told from small)"]["metric"] == "style, chat format"
    assert (tasks["facts"]["n_items"], tasks["facts"]["n_failed"]) == (59, 1)
    assert tasks["facts"]["n_clusters"] == 30
    assert tasks["chat (told from small)"]["gap_closed"] is not None
    assert told["means"] == []  # of two tasks of the axis one is outside the verdict


def test_a_name_without_its_seed_is_the_mean_of_all_seeds(
    run_folder: Path, compare: Callable[..., Told]
) -> None:
    add_arms(run_folder, "small/broad-100", (0, 1), 0.6)
    add_arms(run_folder, "small/other-100", (1, 0), 0.9)
    recipes = [f"{run_folder}:small/{mix}-100" for mix in ("broad", "other")]
    code, out, err = compare(*recipes, "--only", "facts", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["names"] == ["small/broad-100", "small/other-100"]
    assert told["sources"]["small/other-100"].endswith("mean of training seeds 0, 1")
    (facts,) = told["tasks"]
    assert (facts["n_seeds"], facts["n_items"]) == (2, 60)
    pairs = []
    for seed in (0, 1):
        one = [f"{recipe}-s{seed}" for recipe in recipes]
        pairs += json.loads(compare(*one, "--only", "facts", "--json")[1])["tasks"]
    assert facts["difference"] == pytest.approx(np.mean([pair["difference"] for pair in pairs]))
    add_arms(run_folder, "small/more-100", (0, 1, 2), 0.9)
    code, _, err = compare(recipes[0], f"{run_folder}:small/more-100")
    assert code == 2
    assert "training seeds: 0, 1 against 0, 1, 2" in err
    code, _, err = compare(recipes[0], f"{run_folder}:small/other-100-s0")
    assert code == 2
    assert "training seeds: 0, 1 against 0" in err


def test_a_recipe_with_a_base_and_a_teacher(run_folder: Path, compare: Callable[..., Told]) -> None:
    add_arms(run_folder, "small/other-100", (0, 1), 0.8)
    add_arms(run_folder, "small/lone-100", (4,), 0.8)
    pair = [f"{run_folder}:small", f"{run_folder}:small/other-100", "--only", "facts", "--json"]
    code, out, err = compare(*pair, "--teacher", f"{run_folder}:teacher")
    assert (code, err) == (0, "")
    (facts,) = json.loads(out)["tasks"]
    assert facts["n_seeds"] == 2
    assert facts["gap_ci"] is not None
    code, _, err = compare(*pair, "--teacher", f"{run_folder}:small/other-100")
    assert code == 2
    assert "a teacher is one network, and `small/other-100` is the mean of several seeds" in err
    lone = [f"{run_folder}:small", f"{run_folder}:small/lone-100", "--only", "facts", "--json"]
    assert json.loads(compare(*lone)[1])["tasks"][0]["n_seeds"] == 1


def test_what_one_seed_was_not_asked_is_left_out(
    run_folder: Path, compare: Callable[..., Told]
) -> None:
    add_arms(run_folder, "small/broad-100", (0, 1), 0.6)  # seed 1 has no dates and no style
    path = run_folder / "records" / "scores.parquet"
    scores = read_records(path, Score)
    left = {("small/broad-100-s1", "facts7")}
    write_records(path, [one for one in scores if (one.arm, one.item_id) not in left], Score)
    code, out, err = compare(f"{run_folder}:small", f"{run_folder}:small/broad-100", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert [task["task"] for task in told["tasks"]] == ["facts"]
    assert told["left_out"]["small"] == ["dates", "chat (told from small)"]
    assert told["tasks"][0]["unpaired"] == {"small": ["facts7"], "small/broad-100": []}


def add_arms(folder: Path, recipe: str, seeds: Sequence[int], share: float) -> None:
    """Add the scores of a recipe's seeds on one task, where they are not there yet."""
    path = folder / "records" / "scores.parquet"
    results = json.loads((folder / "results.json").read_text())
    entries = {entry["arm"]: entry for entry in results["arms"]}
    scores = read_records(path, Score)
    for seed in seeds:
        arm = f"{recipe}-s{seed}"
        if arm not in entries:
            scores += task_scores(arm, "facts", Axis.FACTUALITY, Format.PLAIN, share)
        entries[arm] = {"arm": arm, "base": "small", "mix": recipe, "seed": seed}
    results["arms"] = list(entries.values())
    write_records(path, scores, Score)
    (folder / "results.json").write_text(json.dumps(results))


def test_format_can_be_chosen(run_folder: Path, compare: Callable[..., Told]) -> None:
    arms = [f"{run_folder}:small", f"{run_folder}:small/broad-100-s0"]
    out = compare(*arms, "--format", "chat", "--json")[1]
    assert {task["metric"] for task in json.loads(out)["tasks"]} == {
        "factuality, chat format",
        "style, chat format",
    }


def test_arms_of_two_bases_share_no_style(run_folder: Path, compare: Callable[..., Told]) -> None:
    out = compare(f"{run_folder}:small", f"{run_folder}:large")[1]
    assert "Not compared, as only small has it: dates, chat (told from small)." in out
    assert "Not compared, as only large has it: chat (told from large)." in out


def test_unknown_arm_lists_those_that_are_there(
    run_folder: Path, compare: Callable[..., Told]
) -> None:
    code, _, err = compare(f"{run_folder}:small", f"{run_folder}:smal")
    assert code == 2
    assert f"no arm `smal` in {run_folder}" in err
    assert "there are: small, small/broad-100-s0, teacher, large" in err
    assert "is a run: name one of its arms" in compare(run_folder, f"{run_folder}:small")[2]


def test_run_without_records_is_told(run_folder: Path, compare: Callable[..., Told]) -> None:
    (run_folder / "records" / "scores.parquet").unlink()
    code, _, err = compare(f"{run_folder}:small", f"{run_folder}:large")
    assert code == 2
    assert f"no records in {run_folder}" in err


def test_format_without_development_items_must_be_chosen(
    run_folder: Path, compare: Callable[..., Told]
) -> None:
    path = run_folder / "records" / "scores.parquet"
    scores = [score for score in read_records(path, Score) if not score.is_development]
    write_records(path, scores, Score)
    code, _, err = compare(f"{run_folder}:small", f"{run_folder}:small/broad-100-s0")
    assert code == 2
    assert "has no development items to choose one on" in err
    assert "choose with --format plain or chat" in err


def test_format_that_an_arm_was_not_asked_in_is_told(
    run_folder: Path, compare: Callable[..., Told]
) -> None:
    code, _, err = compare(
        f"{run_folder}:small", f"{run_folder}:large", "--format", "chat", "--only", "facts"
    )
    assert code == 2
    assert "no task of arm large of the run" in err


def test_style_told_by_two_discriminators_is_refused(
    run_folder: Path, tmp_path: Path, compare: Callable[..., Told]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(run_folder, other)
    for folder, told in ((run_folder, "aaaa"), (other, "bbbb")):
        results = json.loads((folder / "results.json").read_text())
        results["provenance"] = {"fingerprints": {"style/small/chat": told}}
        (folder / "results.json").write_text(json.dumps(results))
    own = [f"{run_folder}:{arm}" for arm in ("small", "small/broad-100-s0")]
    code, out, _ = compare(*own, "--teacher", f"{run_folder}:teacher")
    assert code == 0
    assert "chat (told from small)" in out
    code, _, err = compare(own[0], f"{other}:small/broad-100-s0")
    assert code == 2
    assert "discriminator: aaaa against bbbb" in err
