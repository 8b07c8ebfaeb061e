"""`imitate judge-card`: sets by name and by columns, judges of all kinds, resume and faults."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cardjobs import (
    asked,
    card_in,
    judgements_in,
    prefers_good,
    rows_of,
    run,
    write_job,
    write_rows,
)
from fakeserver import KEY, Body, Reply, Serve, answer, refusing

from evals.errors import ConfigError, DataError
from imitate.configfile import card_job_schema, load_card_job
from imitate.judging.sets import text_in

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", KEY)


# --- what comes out -------------------------------------------------------------------------------


def test_asked_judge_gets_a_card(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path, rows_of(30))
    server = serve(prefers_good)
    price = {"input_usd_per_million": 1.0, "output_usd_per_million": 2.0}
    write_job(tmp_path, {"mine": asked(server, price=price)}, pairs={"group_column": "subset"})
    assert run(tmp_path) == 0
    card = card_in(tmp_path)
    assert [(one["group"], one["n_judgements"]) for one in card["cards"]] == [
        ("odd", 30),
        ("even", 30),
        ("", 60),
    ]
    assert card["cards"][2]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert card["cards"][2]["flips"]["value"] == 0
    told = card["judges"]["mine"]
    assert (told["answered"], told["tokens_in"], told["tokens_out"]) == (60, 600, 300)
    assert told["cost_usd_per_1000"] == pytest.approx(1000 * (10 * 1.0 + 5 * 2.0) / 1e6)
    assert told["seconds_per_1000"] > 0
    assert told["rubric"] == "quality"
    out = capsys.readouterr().out
    assert "| mine" in out
    assert "66.7 [" in out
    assert json.loads(out.splitlines()[-1])["card"].endswith("card.json")


def test_card_equals_a_recount_of_the_raw_judgements(serve: Serve, tmp_path: Path) -> None:
    rows = rows_of(40)
    write_rows(tmp_path, rows)
    drawn = random.Random(5)

    def moody(body: Body, _: int) -> Reply:
        winner = drawn.choice(["A", "A", "B", "tie", "cannot say"])
        return answer(f'{{"winner": "{winner}"}}', role="assistant")

    write_job(tmp_path, {"mine": asked(serve(moody))})
    assert run(tmp_path) == 0
    card, said = card_in(tmp_path)["cards"][0], judgements_in(tmp_path)
    labels = {str(n): 1.0 if row["label"] == "answer" else 0.0 for n, row in enumerate(rows, 2)}
    valid = [one for one in said if not one.error]
    by_pair: dict[str, list[float]] = {}
    for one in valid:
        by_pair.setdefault(one.item_id, []).append(one.value)
    both = [values for values in by_pair.values() if len(values) == 2]
    right = [1 - abs(one.value - labels[one.item_id]) for one in valid]
    assert card["n_failed"] == len(said) - len(valid) > 0
    assert card["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert card["ties"]["value"] == pytest.approx(np.mean([one.value == 0.5 for one in valid]))
    assert card["flips"]["value"] == pytest.approx(np.mean([abs(a - b) == 1 for a, b in both]))
    assert card["first"]["value"] == pytest.approx(np.mean([(a + 1 - b) / 2 for a, b in both]))


def test_recorded_verdicts_name_the_answer_and_not_its_place(tmp_path: Path) -> None:
    rows = [
        row | {"one": "a", "two": "b" if n % 4 == 0 else "a"} for n, row in enumerate(rows_of(40))
    ]
    write_rows(tmp_path, rows)
    judge = {"kind": "recorded", "verdict_column": "one", "swapped_column": "two"}
    write_job(tmp_path, {"old": judge})
    assert run(tmp_path) == 0
    card = card_in(tmp_path)["cards"][0]
    assert card["flips"]["value"] == pytest.approx(1 / 4)
    assert card["first"]["value"] == pytest.approx(0.5 + 0.25 / 2)


def test_one_recorded_order_leaves_position_open(tmp_path: Path) -> None:
    write_rows(tmp_path, [row | {"one": "tie"} for row in rows_of(12)])
    write_job(tmp_path, {"old": {"kind": "recorded", "verdict_column": "one"}})
    assert run(tmp_path) == 0
    card = card_in(tmp_path)["cards"][0]
    assert card["first"]["value"] is None
    assert card["flips"]["value"] is None
    assert card["accuracy"]["value"] == 0.5


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_pairs", [120, pytest.param(1000, marks=pytest.mark.slow)])
def test_faulty_endpoint_loses_and_doubles_nothing_over_two_kills(
    serve: Serve, tmp_path: Path, n_pairs: int
) -> None:
    """30 % errors, 10 % garbage, 5 % hangs, killed twice; what failed for good is asked again."""
    rows = rows_of(n_pairs)
    write_rows(tmp_path, rows)
    drawn = random.Random(11)

    def faulty(body: Body, _: int) -> Reply:
        luck = drawn.random()
        if luck < 0.3:
            return refusing("overloaded", 500)
        if luck < 0.4:
            return Reply(b"<html>oops")
        if luck < 0.45:
            return Reply(prefers_good(body).body, before=lambda: time.sleep(2.0))
        return prefers_good(body)

    server = serve(faulty)
    calls = {"max_in_flight": 32, "max_retries": 4, "timeout_s": 1.0}
    write_job(tmp_path, {"mine": asked(server)}, calls=calls, shard_pairs=n_pairs // 5)
    command = [sys.executable, "-m", "imitate.cli", "judge-card", str(tmp_path / "job.yaml")]
    command += ["--runs", str(tmp_path / "runs"), "--quiet"]
    for n_wanted in (n_pairs // 2, 3 * n_pairs // 2):
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"KEY": KEY})
        wait_until(lambda n=n_wanted, p=process: len(server.requests) >= n or p.poll() is not None)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    for _ in range(6):
        assert subprocess.run(command, cwd=ROOT, env=os.environ | {"KEY": KEY}).returncode == 0
        said = judgements_in(tmp_path)
        assert len(said) == len({(one.item_id, one.order) for one in said}) == 2 * n_pairs
        if not any(one.error for one in said):
            break
    assert not any(one.error for one in said)
    assert all(one.value == float(rows[int(one.item_id) - 2]["answer"] > "c") for one in said)
    answered = card_in(tmp_path)["judges"]["mine"]["answered"]
    assert 2 * n_pairs <= answered <= 2 * n_pairs + 2 * 32, "at most what a kill interrupted, again"


def wait_until(is_so: Any, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_failed_calls_are_asked_again_and_unreadable_replies_are_not(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path, rows_of(10))
    is_well = False

    def script(body: Body, _: int) -> Reply:
        prompt = body["messages"][1]["content"]
        if "Question 1?" in prompt:
            return answer("Who knows.", role="assistant")
        if "Question 2?" in prompt and not is_well:
            return refusing("bad prompt", 400)
        return prefers_good(body)

    server = serve(script)
    write_job(tmp_path, {"mine": asked(server)})
    assert run(tmp_path) == 0
    assert card_in(tmp_path)["cards"][0]["n_failed"] == 4
    assert sorted(card_in(tmp_path)["judges"]["mine"]["failures"].values()) == [2, 2]
    assert "mine: 2 without a verdict: " in capsys.readouterr().out
    is_well, n_before = True, len(server.requests)
    assert run(tmp_path) == 0
    assert card_in(tmp_path)["cards"][0]["n_failed"] == 2
    assert len(server.requests) == n_before + 2
    assert run(tmp_path) == 0
    assert len(server.requests) == n_before + 2


def test_budget_stops_before_it_is_passed(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path, rows_of(10))
    server = serve(prefers_good)
    calls = {"max_in_flight": 1}
    write_job(tmp_path, {"mine": asked(server)}, calls=calls, budget={"max_tokens": 600})
    assert run(tmp_path) == 2
    assert "budget" in capsys.readouterr().err
    assert 0 < len(server.requests) < 20
    assert not (tmp_path / "runs" / "job" / "card.json").exists()
    assert run(tmp_path, "--set", "budget.max_tokens=1000000") == 0
    assert len(server.requests) == 20


def test_a_key_that_is_not_set_is_told_by_its_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KEY")
    write_rows(tmp_path, rows_of(4))
    judge = {"kind": "endpoint", "url": "http://127.0.0.1:1/v1", "model": "m", "api_key_env": "KEY"}
    write_job(tmp_path, {"mine": judge})
    assert run(tmp_path) == 2
    assert "`judges.mine.api_key_env` names `KEY`" in capsys.readouterr().err


def test_two_judges_of_one_model_are_paid_apart(serve: Serve, tmp_path: Path) -> None:
    """One model at two prices, under two rubrics: each has its own tokens and its own bill."""
    write_rows(tmp_path, rows_of(10))
    server = serve(prefers_good)
    prices = {
        name: {"input_usd_per_million": dear, "output_usd_per_million": dear}
        for name, dear in (("cheap", 1.0), ("dear", 10.0))
    }
    judges = {name: asked(server, price=price) for name, price in prices.items()}
    judges["dear"] |= {"rubric": "style"}
    write_job(tmp_path, judges, budget={"max_usd": 1.0})
    assert run(tmp_path) == 0
    told = card_in(tmp_path)["judges"]
    assert [told[name]["answered"] for name in prices] == [20, 20]
    assert [told[name]["cost_usd_per_1000"] for name in prices] == pytest.approx([0.015, 0.15])


def test_key_is_in_no_file(serve: Serve, tmp_path: Path) -> None:
    write_rows(tmp_path, rows_of(4))
    write_job(tmp_path, {"mine": asked(serve(prefers_good))})
    assert run(tmp_path) == 0
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert files
    assert not any(KEY.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"answer_column": "reply"}, "no column `reply`"),
        ({"label_column": "subset"}, "`subset` says `odd`, which names neither answer"),
        ({"path": "nowhere.csv"}, "no such file"),
    ],
)
def test_unusable_table_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pairs: dict[str, str], message: str
) -> None:
    write_rows(tmp_path, rows_of(4))
    write_job(tmp_path, {"old": {"kind": "recorded", "verdict_column": "label"}}, pairs=pairs)
    assert run(tmp_path) == 2
    assert message in capsys.readouterr().err


def test_column_that_holds_no_text_is_told() -> None:
    with pytest.raises(DataError, match="`extra` has a dict where text should be"):
        text_in({"extra": {"a": 1}}, "extra", "pairs.jsonl:1")


RUNNING = {"backend": "endpoint", "endpoint": {"urls": ["http://127.0.0.1:1/v1"]}}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"judges": {"a": {"kind": "recorded"}}}, "recorded verdicts need `verdict_column`"),
        (
            {
                "judges": {"a": {"kind": "endpoint", "url": "http://h/v1", "model": "m"}},
                "budget": {"max_usd": 1.0},
            },
            "`budget.max_usd` needs its `price`",
        ),
        (
            {"judges": {"a": {"kind": "model", "model": "m"}}, "serve": RUNNING},
            "a server that runs already is a judge of `kind: endpoint`",
        ),
    ],
)
def test_parts_that_do_not_agree_are_refused(
    tmp_path: Path, parts: dict[str, Any], message: str
) -> None:
    write_job(tmp_path, **parts)
    with pytest.raises(ConfigError) as caught:
        load_card_job(tmp_path / "job.yaml")
    assert message in str(caught.value)


def test_the_published_schema_is_the_current_one_and_the_examples_fit() -> None:
    published = (ROOT / "configs" / "judge-card.schema.json").read_text(encoding="utf-8")
    assert json.loads(published) == json.loads(card_job_schema())
    assert load_card_job(ROOT / "configs" / "judge-card.yaml").name == "llmbar"
    assert load_card_job(ROOT / "configs" / "judge-probes.yaml").name == "judge-probes"
