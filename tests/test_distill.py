"""`imitate distill`: prompts asked of a real server on loopback, and what is left in the folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from distilljobs import Runner, hash_words, prompt_of, speaking, write_job, write_prompts
from fakeserver import KEY, Body, FakeServer, Reply, Serve, answer, in_turn, refusing

from evals.errors import DataError, UserError
from evals.records import Example, read_records
from imitate.config import DataConfig, FileSource
from imitate.data import open_source, read_examples
from imitate.runfolder import claimed

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = [f"Tell me about number {i}" for i in range(8)]


def stable(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card without what differs from run to run."""
    return {key: value for key, value in card.items() if key not in ("ledger", "timing")}


# --- what comes out -------------------------------------------------------------------------------


def test_answers_become_examples_in_the_order_of_the_prompts(serve: Serve, runner: Runner) -> None:
    server = serve(speaking)
    write_prompts(runner.folder, PROMPTS)
    told = runner.run(write_job(runner.folder, server))
    assert told.code == 0
    assert told.last["n_examples"] == 8
    assert told.last["is_complete"] is True
    rows = runner.rows()
    assert [row["prompt"] for row in rows] == PROMPTS
    assert all(row["response"].startswith(f"Of {row['prompt']}: ") for row in rows)
    assert [row["prompt_id"] for row in rows] == [f"prompts.jsonl:{i}" for i in range(1, 9)]
    paths = {path for path, _, _ in server.requests}
    assert paths == {"/v1/chat/completions"}


def test_examples_are_read_as_a_source_of_a_mix(serve: Serve, runner: Runner) -> None:
    write_prompts(runner.folder, PROMPTS)
    runner.run(write_job(runner.folder, serve(speaking)))
    source = FileSource(kind="file", path=runner.runs / "job" / "examples.jsonl")
    card = open_source(source)
    read = list(read_examples(source, DataConfig(), card))
    assert card.layout == "completion"
    assert [example.prompt for example in read] == PROMPTS
    records = read_records(runner.runs / "job" / "examples.parquet", Example)
    assert [one.response for one in records] == [one.response for one in read]


def test_several_answers_to_a_prompt_stand_side_by_side(serve: Serve, runner: Runner) -> None:
    server = serve(speaking)
    write_prompts(runner.folder, PROMPTS[:3])
    runner.run(write_job(runner.folder, server, sampling={"samples": 3}, seed=5))
    rows = runner.rows()
    assert [row["sample"] for row in rows] == [0, 1, 2] * 3
    assert [row["example_id"] for row in rows[:2]] == ["prompts.jsonl:1.0", "prompts.jsonl:1.1"]
    assert len({row["response"] for row in rows}) == 9
    assert Counter(body["seed"] for _, body, _ in server.requests) == {5: 3, 6: 3, 7: 3}


def test_more_samples_pay_only_for_what_is_new(serve: Serve, runner: Runner) -> None:
    server = serve(speaking)
    write_prompts(runner.folder, PROMPTS)
    job = write_job(runner.folder, server)
    runner.run(job)
    runner.run(job, "--set", "sampling.samples=2")
    assert len(server.requests) == 16
    assert runner.card()["ledger"]["cached_in_last_run"] == 8


def test_prompts_that_repeat_or_are_empty_are_not_asked(serve: Serve, runner: Runner) -> None:
    server = serve(speaking)
    write_prompts(runner.folder, ["one", " one", "", "two"])
    runner.run(write_job(runner.folder, server))
    assert len(server.requests) == 2
    told = runner.card()["prompts"]
    assert (told["rows"], told["empty"], told["repeated"], told["prompts"]) == (4, 1, 1, 2)


def test_rows_limit_the_prompts(serve: Serve, runner: Runner) -> None:
    server = serve(speaking)
    write_prompts(runner.folder, PROMPTS)
    runner.run(write_job(runner.folder, server), "--set", "prompts.rows=3")
    assert [row["prompt"] for row in runner.rows()] == PROMPTS[:3]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"question": "Why?", "id": 1}, "Why?"),
        ({"instruction": "Add.", "input": "1 and 2"}, "Add.\n\n1 and 2"),
        ({"prompt": "Why?", "response": "So."}, "Why?"),
        ({"messages": [{"role": "user", "content": "Why?"}]}, "Why?"),
        (
            {
                "conversations": [
                    {"from": "human", "value": "Why?"},
                    {"from": "gpt", "value": "So."},
                    {"from": "human", "value": "And then?"},
                ]
            },
            "Why?",
        ),
    ],
)
def test_prompts_are_recognised_in_the_usual_layouts(
    serve: Serve, runner: Runner, row: dict[str, Any], prompt: str
) -> None:
    (runner.folder / "prompts.jsonl").write_text(json.dumps(row) + "\n")
    runner.run(write_job(runner.folder, serve(speaking)))
    assert [one["prompt"] for one in runner.rows()] == [prompt]


def test_a_category_is_kept(serve: Serve, runner: Runner) -> None:
    (runner.folder / "prompts.csv").write_text("ask,topic\nWhy?,salt\n")
    prompts = {
        "kind": "file",
        "path": str(runner.folder / "prompts.csv"),
        "prompt_column": "ask",
        "category_column": "topic",
    }
    runner.run(write_job(runner.folder, serve(speaking), prompts=prompts))
    assert [(row["prompt"], row["category"]) for row in runner.rows()] == [("Why?", "salt")]


def test_a_hub_data_set_gives_prompts(serve: Serve, runner: Runner) -> None:
    hub = runner.folder / "hub"
    hub.mkdir()
    write_prompts(hub, PROMPTS, "train.jsonl")
    prompts = {"kind": "hub", "dataset": str(hub), "rows": 2}
    told = runner.run(write_job(runner.folder, serve(speaking), prompts=prompts))
    assert told.code == 0
    assert [row["prompt"] for row in runner.rows()] == PROMPTS[:2]
    assert runner.card()["prompts"]["kind"] == "hub"


def test_a_hub_data_set_that_is_not_there_is_told(runner: Runner) -> None:
    hub = runner.folder / "hub"
    hub.mkdir()
    write_prompts(hub, PROMPTS, "train.jsonl")
    prompts = {"kind": "hub", "dataset": str(hub), "split": "validation"}
    told = error_of(runner, write_job(runner.folder, "http://127.0.0.1:1/v1", prompts=prompts))
    assert "split `validation`" in told


def test_duplicates_are_dropped_and_counted(serve: Serve, runner: Runner) -> None:
    text = " ".join(hash_words("long", seed) for seed in range(8))
    near = {"near 0": text, "near 1": text}

    def script(body: Body, _: int) -> Reply:
        return answer(near.get(prompt_of(body), "Fixed."), role="assistant")

    write_prompts(runner.folder, ["near 0", "near 1", "other"])
    runner.run(write_job(runner.folder, serve(script), sampling={"samples": 2}))
    counts = runner.card()["counts"]
    assert (counts["answered"], counts["exact_duplicates"]) == (6, 3)
    assert (counts["near_duplicates"], counts["examples"]) == (1, 2)
    assert [row["prompt"] for row in runner.rows()] == ["near 0", "other"]


def test_duplicates_are_kept_where_the_job_says_so(serve: Serve, runner: Runner) -> None:
    write_prompts(runner.folder, ["one", "two"])
    job = write_job(
        runner.folder,
        serve(lambda *_: answer("Fixed.", role="assistant")),
        sampling={"samples": 2},
        exact_duplicates=False,
        near_duplicates={"enabled": False},
    )
    runner.run(job)
    assert len(runner.rows()) == 4


def test_examples_that_cannot_be_written_are_told(serve: Serve, runner: Runner) -> None:
    server = serve(speaking)
    write_prompts(runner.folder, PROMPTS)
    blocked = runner.runs / "job" / "card.txt"
    (blocked / "x").mkdir(parents=True)
    told = runner.run(write_job(runner.folder, server))
    assert told.code == 1
    assert "failed: cannot write " in told.err
    assert "all answers are kept" in told.err
    assert not (runner.runs / "job" / "card.json").exists()


def test_a_model_that_runs_here_teaches_too(tiny_model: Path, runner: Runner) -> None:
    write_prompts(runner.folder, PROMPTS[:5])
    job = write_job(
        runner.folder,
        "",
        teacher={"kind": "model", "model": str(tiny_model)},
        calls=None,
        sampling={"max_tokens": 24, "temperature": 1.0, "samples": 2},
        serve={"shard_items": 2},
        near_duplicates={"enabled": False},
    )
    assert runner.run(job).code == 0
    counts, whole = runner.card()["counts"], (runner.runs / "job" / "examples.jsonl").read_bytes()
    assert counts["asked"] == 10
    assert runner.card()["ledger"] is None
    assert runner.card()["teacher"]["identity"].startswith("sha256:")
    kept = sorted((runner.runs / "job" / "answers").glob("*/*/*.json"))
    assert len(kept) == 6  # three shards, twice
    kept[0].unlink()  # as a kill would have left it
    written_ns = [path.stat().st_mtime_ns for path in kept[1:]]
    assert runner.run(job).code == 0
    assert [path.stat().st_mtime_ns for path in kept[1:]] == written_ns
    assert (runner.runs / "job" / "examples.jsonl").read_bytes() == whole


# --- calls that go wrong --------------------------------------------------------------------------


def test_no_more_requests_are_under_way_than_the_job_allows(serve: Serve, runner: Runner) -> None:
    under_way, most, lock = [0], [0], threading.Lock()

    def script(body: Body, _: int) -> Reply:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.01)
        with lock:
            under_way[0] -= 1
        return speaking(body, 0)

    write_prompts(runner.folder, [f"prompt {i}" for i in range(20)])
    runner.run(write_job(runner.folder, serve(script), calls={"max_in_flight": 3}))
    assert most[0] == 3


def test_requests_keep_to_the_rate_of_the_job(serve: Serve, runner: Runner) -> None:
    at_s: list[float] = []

    def script(body: Body, _: int) -> Reply:
        at_s.append(time.monotonic())
        return speaking(body, 0)

    write_prompts(runner.folder, PROMPTS[:5])
    runner.run(write_job(runner.folder, serve(script), calls={"requests_per_minute": 1200}))
    assert at_s[-1] - at_s[0] > 4 * 0.05 - 0.02


@pytest.mark.parametrize(
    "broken",
    [Reply({}, 429, {"Retry-After": "0.1"}), Reply({}, 500), Reply(b"<html>")],
    ids=["throttled", "server-error", "garbled"],
)
def test_what_passes_by_itself_is_asked_again(serve: Serve, runner: Runner, broken: Reply) -> None:
    server = serve(lambda body, number: broken if number == 1 else speaking(body, number))
    write_prompts(runner.folder, PROMPTS[:4])
    assert runner.run(write_job(runner.folder, server)).code == 0
    assert len(server.requests) == 5
    assert [row["prompt"] for row in runner.rows()] == PROMPTS[:4]


def test_a_failed_call_is_listed_and_no_example(serve: Serve, runner: Runner) -> None:
    def script(body: Body, _: int) -> Reply:
        is_bad = prompt_of(body).endswith("2")
        return refusing("prompt too long", 400) if is_bad else speaking(body, 0)

    write_prompts(runner.folder, PROMPTS)
    told = runner.run(write_job(runner.folder, serve(script)))
    card = runner.card()
    assert told.code == 0
    assert (card["counts"]["failed"], card["counts"]["examples"]) == (1, 7)
    (failure,) = card["failed"]
    assert (failure["prompt_id"], failure["sample"]) == ("prompts.jsonl:3", 0)
    assert "replied 400: prompt too long" in failure["error"]
    assert "failed prompts.jsonl:3: " in told.out


def test_answers_that_are_not_whole_are_left_out(serve: Serve, runner: Runner) -> None:
    replies = {
        "cut": answer("Half of", "length", role="assistant"),
        "empty": answer("  ", role="assistant"),
        "filtered": answer("Some", "content_filter", role="assistant"),
        "whole": answer("All of it.", role="assistant"),
    }
    write_prompts(runner.folder, list(replies))
    runner.run(write_job(runner.folder, serve(lambda body, _: replies[prompt_of(body)])))
    counts = runner.card()["counts"]
    assert [counts[fate] for fate in ("asked", "answered", "cut_off", "empty", "filtered")] == [
        4,
        1,
        1,
        1,
        1,
    ]
    assert [row["response"] for row in runner.rows()] == ["All of it."]


def test_a_job_without_any_example_has_failed(serve: Serve, runner: Runner) -> None:
    write_prompts(runner.folder, PROMPTS[:3])
    server = serve(lambda *_: refusing("prompt too long", 400))
    told = runner.run(write_job(runner.folder, server))
    assert told.code == 1
    assert "failed: no call gave an example: asked 3, failed 3; the first: " in told.err
    assert not (runner.runs / "job" / "examples.jsonl").exists()


# --- refusals -------------------------------------------------------------------------------------


def refusing_some(body: Body, _: int) -> Reply:
    match prompt_of(body):
        case "by text":
            return answer("I\u2019m sorry, but I can\u2019t help with that.", role="assistant")
        case "by server":
            return answer("", refusal="No.")
    return speaking(body, 0)


def test_refusals_are_marked_and_counted(serve: Serve, runner: Runner) -> None:
    write_prompts(runner.folder, ["by text", "by server", "neither"])
    runner.run(write_job(runner.folder, serve(refusing_some)))
    assert [row["is_refusal"] for row in runner.rows()] == [True, True, False]
    counts = runner.card()["counts"]
    assert (counts["refused"], counts["refused_dropped"], counts["examples"]) == (2, 0, 3)


def test_marked_refusals_can_be_left_out_by_a_mix(serve: Serve, runner: Runner) -> None:
    write_prompts(runner.folder, ["by text", "by server", "neither"])
    runner.run(write_job(runner.folder, serve(refusing_some)))
    path = runner.runs / "job" / "examples.jsonl"
    source = FileSource(kind="file", path=path, keep_where={"is_refusal": False})
    assert [one.prompt for one in read_examples(source, DataConfig())] == ["neither"]


def test_refusals_are_dropped_where_the_job_says_so(serve: Serve, runner: Runner) -> None:
    write_prompts(runner.folder, ["by text", "by server", "neither"])
    runner.run(write_job(runner.folder, serve(refusing_some), drop_refusals=True))
    assert [row["prompt"] for row in runner.rows()] == ["neither"]
    counts = runner.card()["counts"]
    assert (counts["refused"], counts["refused_dropped"]) == (2, 2)


# --- what is spent --------------------------------------------------------------------------------

PRICE = {"input_usd_per_million": 1.0, "output_usd_per_million": 4.0}
SMALL = {"max_tokens": 20}


def test_the_card_says_who_answered_how_and_at_what_cost(serve: Serve, runner: Runner) -> None:
    server = serve(speaking)
    write_prompts(runner.folder, PROMPTS)
    sampling = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 99}
    runner.run(write_job(runner.folder, server, sampling=sampling, price=PRICE, seed=3))
    card = runner.card()
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert card["teacher"] == {"kind": "endpoint", "model": "teacher-1", "host": host}
    assert card["sampling"] == {**sampling, "samples": 1, "seed": 3}
    assert card["ledger"] == {
        "answered": 8,
        "tokens_in": 80,
        "tokens_out": 40,
        "tokens_unsettled": 0,
        "cost_usd": pytest.approx(240e-6),
        "cached_in_last_run": 0,
    }
    year = time.strftime("%Y")
    assert card["timing"]["first_answer"].startswith(year)
    assert card["timing"]["first_answer"] <= card["timing"]["last_answer"]
    assert card["provenance"]["command"].startswith("imitate distill ")
    assert len(card["prompts"]["sha256"]) == 64


def test_a_budget_stops_the_job_and_a_larger_one_goes_on(serve: Serve, runner: Runner) -> None:
    server = serve(speaking)  # 15 tokens each; a request may take more than 20
    write_prompts(runner.folder, PROMPTS)
    job = write_job(runner.folder, server, sampling=SMALL, budget={"max_tokens": 90})
    told = runner.run(job)
    n_paid = len(server.requests)
    assert told.code == 2
    assert 2 <= n_paid < 8
    assert f"incomplete: {n_paid} examples are in " in told.err
    assert "error: the budget is spent: " in told.err
    assert "hint: raise the budget and run again" in told.err
    card = runner.card()
    assert card["is_complete"] is False
    assert card["stopped"].startswith("the budget is spent")
    assert (card["counts"]["examples"], card["counts"]["not_asked"]) == (n_paid, 8 - n_paid)
    assert len(runner.rows()) == n_paid

    assert runner.run(job).code == 2  # spent is spent, also after a restart
    assert len(server.requests) == n_paid
    done = runner.run(job, "--set", "budget.max_tokens=1000")
    assert done.code == 0
    assert len(server.requests) == 8
    assert [row["prompt"] for row in runner.rows()] == PROMPTS
    assert runner.card()["ledger"]["tokens_in"] == 80


def test_a_budget_in_dollars_is_not_passed(serve: Serve, runner: Runner) -> None:
    server = serve(speaking)  # 30 micro-dollars each
    write_prompts(runner.folder, PROMPTS)
    job = write_job(runner.folder, server, sampling=SMALL, price=PRICE, budget={"max_usd": 200e-6})
    told = runner.run(job)
    assert told.code == 2
    assert "USD" in told.err
    assert 0 < runner.card()["ledger"]["cost_usd"] <= 200e-6


def test_a_budget_in_dollars_wants_the_price_of_all_that_was_spent(
    serve: Serve, runner: Runner
) -> None:
    server = serve(speaking)
    write_prompts(runner.folder, PROMPTS[:2])
    job = write_job(runner.folder, server, price=PRICE, budget={"max_usd": 1.0})
    runner.run(job)
    told = runner.run(job, "--set", "teacher.model=teacher-2")
    assert told.code == 2
    assert "a budget in US dollars needs the price of `teacher-1`" in told.err
    assert len(server.requests) == 2


def test_what_was_answered_before_the_server_went_is_kept(serve: Serve, runner: Runner) -> None:
    def script(body: Body, number: int) -> Reply:
        return speaking(body, 0) if number < 3 else refusing("no credit", 402)

    server = serve(script)
    write_prompts(runner.folder, PROMPTS)
    job = write_job(runner.folder, server, calls={"max_in_flight": 1})
    told = runner.run(job)
    assert told.code == 2
    assert "incomplete: 3 examples are in " in told.err
    assert "has no credit left" in told.err
    assert [row["prompt"] for row in runner.rows()] == PROMPTS[:3]
    server.script = speaking
    assert runner.run(job).code == 0
    assert len(runner.rows()) == 8


def test_the_key_is_in_no_file_and_in_no_output(serve: Serve, runner: Runner) -> None:
    def script(body: Body, number: int) -> Reply:
        is_bad = number % 3 == 1
        return refusing(f"your key {KEY} is odd", 400) if is_bad else speaking(body, 0)

    server = serve(script)
    write_prompts(runner.folder, PROMPTS)
    told = runner.run(write_job(runner.folder, server, price=PRICE))
    assert server.requests[0][2]["Authorization"] == f"Bearer {KEY}"
    assert runner.card()["counts"]["failed"] > 0
    assert KEY not in told.out + told.err
    written = [path for path in runner.folder.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


# --- stopped and started again --------------------------------------------------------------------


class Slow:
    """Answers slowly, and counts how often each prompt was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def script(self, body: Body, _: int) -> Reply:
        """Answer after a while."""
        with self._lock:
            self.asked[prompt_of(body)] += 1
        return Reply(speaking(body, 0).body, before=lambda: time.sleep(0.03))


def start(job: Path, runs: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "imitate.cli", "distill", str(job), "--runs", str(runs)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )


def wait_for(count: int, slow: Slow, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many requests have come."""
    end = time.monotonic() + 60
    while slow.asked.total() < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()


def test_a_job_that_is_killed_twice_is_complete_and_pays_nothing_twice(
    serve: Serve, runner: Runner
) -> None:
    n_in_flight, prompts = 4, [f"Tell me about number {i}" for i in range(60)]
    slow = Slow()
    server = serve(slow.script)
    write_prompts(runner.folder, prompts)
    job = write_job(runner.folder, server, calls={"max_in_flight": n_in_flight})
    folder = runner.runs / "job"
    for until in (18, 40):
        process = start(job, runner.runs)
        wait_for(until, slow, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (folder / "card.json").exists()
    kept = {path.name for path in folder.glob("answers/*/*/*.json")}
    assert 20 < len(kept) < 60
    assert runner.run(job).code == 0

    assert [row["prompt"] for row in runner.rows()] == prompts
    twice = [prompt for prompt, n in slow.asked.items() if n > 1]
    assert len(twice) <= 2 * n_in_flight
    assert slow.asked.total() <= 60 + 2 * n_in_flight
    assert runner.card()["ledger"]["cached_in_last_run"] == len(kept)
    assert runner.card()["ledger"]["answered"] <= slow.asked.total()
    assert not list(folder.glob("*.partial"))

    other = serve(slow.script)
    fresh = Runner(runner.folder / "fresh", runner.capsys)
    fresh.folder.mkdir()
    write_prompts(fresh.folder, prompts)
    fresh.run(write_job(fresh.folder, other, calls={"max_in_flight": 1}))
    for name in ("examples.jsonl", "examples.parquet"):
        assert (fresh.runs / "job" / name).read_bytes() == (folder / name).read_bytes()
    for part in ("counts", "failed", "sampling", "prompts", "is_complete"):
        assert fresh.card()[part] == runner.card()[part]


def test_a_budget_holds_over_a_kill(serve: Serve, runner: Runner) -> None:
    slow = Slow()
    write_prompts(runner.folder, [f"Tell me about number {i}" for i in range(60)])
    budget = {"max_tokens": 600}  # a request takes 15
    job = write_job(runner.folder, serve(slow.script), sampling=SMALL, budget=budget)
    process = start(job, runner.runs)
    wait_for(15, slow, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert runner.run(job).code == 2
    ledger = runner.card()["ledger"]
    spent = ledger["tokens_in"] + ledger["tokens_out"]
    assert 15 * slow.asked.total() <= spent + ledger["tokens_unsettled"] <= 600
    assert spent > 300


def test_the_folder_of_a_run_is_left_alone(runner: Runner) -> None:
    (runner.runs / "job").mkdir(parents=True)
    (runner.runs / "job" / "plan.json").write_text("{}")
    told = error_of(runner, write_job(runner.folder, "http://127.0.0.1:1/v1"))
    assert "is the folder of a run" in told
    assert "give the job another `name`" in told


def test_a_run_leaves_the_folder_of_a_distillation_alone(tmp_path: Path) -> None:
    with claimed(tmp_path / "job", "distillation"):
        pass
    with claimed(tmp_path / "job", "distillation"):
        pass
    with (
        pytest.raises(UserError, match="is the folder of a distillation, not of a run"),
        claimed(tmp_path / "job", "run"),
    ):
        pass


def test_a_finished_job_asks_nothing_and_gives_the_same_bytes(serve: Serve, runner: Runner) -> None:
    server = serve(speaking)
    write_prompts(runner.folder, PROMPTS)
    job = write_job(runner.folder, server)
    runner.run(job)
    examples = (runner.runs / "job" / "examples.jsonl").read_bytes()
    card = runner.card()
    runner.run(job)
    assert len(server.requests) == 8
    assert (runner.runs / "job" / "examples.jsonl").read_bytes() == examples
    assert stable(runner.card()) == stable(card)


def test_ctrl_c_says_how_to_go_on(serve: Serve, runner: Runner) -> None:
    slow = Slow()
    write_prompts(runner.folder, [f"prompt {i}" for i in range(60)])
    process = start(write_job(runner.folder, serve(slow.script)), runner.runs)
    wait_for(10, slow, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "finished work is kept. Give the same command again to go on." in err.decode()
    assert "Traceback" not in err.decode()


def test_two_processes_do_not_share_a_folder(serve: Serve, runner: Runner) -> None:
    slow = Slow()
    write_prompts(runner.folder, [f"prompt {i}" for i in range(60)])
    job = write_job(runner.folder, serve(slow.script))
    process = start(job, runner.runs)
    wait_for(4, slow, process)
    told = runner.run(job)
    process.kill()
    process.communicate()
    assert told.code == 2
    assert "another process is at work in" in told.err


# --- what a user gets wrong -----------------------------------------------------------------------


def error_of(runner: Runner, job: Path, *arguments: str) -> str:
    told = runner.run(job, *arguments)
    assert told.code == 2, told.err
    assert "Traceback" not in told.err
    assert told.out == ""
    return told.err


def test_a_missing_file_is_told(runner: Runner) -> None:
    job = write_job(runner.folder, "http://127.0.0.1:1/v1")
    assert "error: no such file: " in error_of(runner, job)


def test_a_file_without_prompts_is_told(runner: Runner) -> None:
    write_prompts(runner.folder, ["", " "])
    told = error_of(runner, write_job(runner.folder, "http://127.0.0.1:1/v1"))
    assert "prompts.jsonl holds no prompts: 2 rows, 2 without text" in told
    (runner.folder / "prompts.jsonl").write_text("")
    told = error_of(runner, write_job(runner.folder, "http://127.0.0.1:1/v1"))
    assert "prompts.jsonl holds no prompts: 0 rows" in told


def test_a_missing_column_is_told(runner: Runner) -> None:
    write_prompts(runner.folder, ["hello"])
    job = write_job(runner.folder, "http://127.0.0.1:1/v1")
    told = error_of(runner, job, "--set", "prompts.prompt_column=promt")
    assert "no column `promt` (`prompts.prompt_column`); columns are prompt" in told
    assert "did you mean `prompt`?" in told
    told = error_of(runner, job, "--set", "prompts.category_column=topic")
    assert "no column `topic` (`prompts.category_column`)" in told


def test_columns_that_are_not_recognised_are_told(runner: Runner) -> None:
    (runner.folder / "prompts.jsonl").write_text('{"text": "hello"}\n')
    told = error_of(runner, write_job(runner.folder, "http://127.0.0.1:1/v1"))
    assert "no column of prompts recognised; columns are text" in told
    assert "name it in `prompts.prompt_column`" in told


def test_a_prompt_of_the_wrong_kind_is_told(runner: Runner) -> None:
    (runner.folder / "prompts.jsonl").write_text('{"prompt": {"a": 1}}\n')
    told = error_of(runner, write_job(runner.folder, "http://127.0.0.1:1/v1"))
    assert "row 1 has a dict where text should be" in told


def test_a_key_that_is_not_set_is_told(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEACHER_KEY")
    write_prompts(runner.folder, ["hello"])
    told = error_of(runner, write_job(runner.folder, "http://127.0.0.1:1/v1"))
    assert "names `TEACHER_KEY`, an environment variable that is not set" in told


def test_a_url_with_a_secret_is_refused_and_not_repeated(runner: Runner) -> None:
    write_prompts(runner.folder, ["hello"])
    told = error_of(runner, write_job(runner.folder, "http://me:hunter2@127.0.0.1:1/v1"))
    assert "may hold no user name, password" in told
    assert "hunter2" not in told
    files = [path for path in runner.runs.rglob("*") if path.is_file()]
    assert not [path for path in files if b"hunter2" in path.read_bytes()]


def test_a_server_that_is_not_there_is_told(runner: Runner) -> None:
    write_prompts(runner.folder, ["hello"])
    job = write_job(runner.folder, "http://127.0.0.1:1/v1", calls={"max_retries": 0})
    told = runner.run(job)
    assert told.code == 1
    assert "failed: cannot reach http://127.0.0.1:1/v1" in told.err
    assert "is the server up, and the URL right?" in told.err


def test_a_server_without_the_model_is_told(serve: Serve, runner: Runner) -> None:
    write_prompts(runner.folder, ["hello"])
    server = serve(lambda *_: refusing("no model teacher-1", 404))
    told = error_of(runner, write_job(runner.folder, server))
    assert "knows no such model or path: no model teacher-1" in told
    assert "/models lists the models" in told


def test_a_command_without_a_config_is_told(runner: Runner) -> None:
    from imitate.cli import main

    assert main(["distill"]) == 2
    assert "hint: imitate distill CONFIG" in runner.capsys.readouterr().err


def test_a_refused_key_is_told(serve: Serve, runner: Runner) -> None:
    write_prompts(runner.folder, ["hello"])
    server: FakeServer = serve(in_turn(refusing("bad key", 401)))
    assert "refused the key" in error_of(runner, write_job(runner.folder, server))


def test_data_errors_name_the_place(runner: Runner) -> None:
    from imitate.config import FilePrompts
    from imitate.distilling.prompts import read_prompts

    (runner.folder / "prompts.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        read_prompts(FilePrompts(kind="file", path=runner.folder / "prompts.jsonl"))
