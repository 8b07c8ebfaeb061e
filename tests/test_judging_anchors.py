"""Anchors in a job: locked at first, asked afresh ever after, and what stops the job."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from fakeserver import KEY, Body, FakeServer, Reply, Serve, answer, refusing

from evals.errors import ConfigError
from imitate.config import ModelTeacher
from imitate.configfile import load_card_job
from imitate.serve import open_teacher

N, ANCHORS = 30, 10


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", KEY)


class Judge:
    """Prefers what is good; of the first so many answers it is told to give, it gives others."""

    def __init__(self, serve: Serve) -> None:
        self.n_wrong = 0
        self.n_failing = 0
        self.server: FakeServer = serve(self.reply)

    def reply(self, body: Body, number: int) -> Reply:
        """Return what it says to a request."""
        if self.n_failing:
            self.n_failing -= 1
            return refusing("bad prompt", 400)
        if self.n_wrong:
            self.n_wrong -= 1
            return answer('{"winner": "tie"}', role="assistant")
        return prefers_good(body, number)

    @property
    def n_asked(self) -> int:
        """Requests so far."""
        return len(self.server.requests)


@pytest.fixture
def judge(serve: Serve) -> Judge:
    return Judge(serve)


Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path, judge: Judge) -> Start:
    """Return a function that writes the job and runs it."""
    write_rows(tmp_path, rows_of(N))

    def started(*arguments: str, anchors: dict[str, Any] | None = None, **parts: Any) -> int:
        given = {"n": ANCHORS} | (anchors or {})
        own = {"model": parts.pop("model", "gpt"), "max_tokens": parts.pop("max_tokens", 256)}
        judges = {"mine": asked(judge.server, **own, rubric=parts.pop("rubric", "quality"))}
        write_job(tmp_path, judges, anchors=given, **parts)
        return run(tmp_path, *arguments)

    return started


def locks_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "runs" / "job" / "anchors.json").read_text())


def test_a_judge_is_locked_at_first_and_asked_afresh_ever_after(
    tmp_path: Path, judge: Judge, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start() == 0
    assert judge.n_asked == 2 * (N + ANCHORS)
    lock = locks_in(tmp_path)["judges"]["mine"]
    assert len(lock["verdicts"]) == 2 * ANCHORS
    assert lock["judge"]["model"] == "gpt"
    assert len(lock["judge"]["rubric_sha256"]) == 64
    capsys.readouterr()
    assert start() == 0
    assert judge.n_asked == 2 * (N + 2 * ANCHORS), "anchors alone are asked again"
    told = card_in(tmp_path)["judges"]["mine"]
    assert (told["anchors"]["drift"]["value"], told["anchors"]["drift"]["n"]) == (0, 20)
    assert told["answered"] == judge.n_asked, "anchors are paid as all else is"
    out = capsys.readouterr().out
    assert re.search(r"mine: 0\.0 \[0\.0, [\d.]+\] % of 20 anchor verdicts are others than on", out)
    assert "and 10 % may be." in out


def test_noise_within_the_bound_passes_and_moves_no_lock(
    tmp_path: Path, judge: Judge, start: Start
) -> None:
    assert start() == 0
    before = locks_in(tmp_path)
    judge.n_wrong = 2
    assert start() == 0
    told = card_in(tmp_path)["judges"]["mine"]["anchors"]
    assert told["drift"]["value"] == pytest.approx(0.1)
    assert len(told["changed"]) == 2
    assert locks_in(tmp_path) == before


def test_drift_beyond_the_bound_stops_the_job_before_anything_else_is_asked(
    tmp_path: Path, judge: Judge, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start() == 0
    for kept in ("judgements", "answers"):
        shutil.rmtree(tmp_path / "runs" / "job" / kept)
    n_before, judge.n_wrong = judge.n_asked, 7
    assert start() == 1
    assert judge.n_asked == n_before + 2 * ANCHORS
    said = capsys.readouterr().err
    assert "failed: the judge `mine` has drifted: 7 of 20 anchor verdicts are others than" in said
    assert "35.0 % (95 % interval" in said
    assert "`anchors.max_drift` allows 10 %" in said
    assert "anchors.json" in said
    assert "shown first: " in said
    assert " -> tied" in said
    assert "and 2 more" in said
    assert "`--relock`, or remove the lock" in said


def test_few_anchors_drift_without_an_interval(
    judge: Judge, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(anchors={"n": 5}) == 0
    judge.n_wrong = 4
    assert start(anchors={"n": 5}) == 1
    assert re.search(r"4 of 10 anchor verdicts .*, 40\.0 %, and `anch", capsys.readouterr().err)


def test_relocking_accepts_the_judge_and_asks_everything_again(
    tmp_path: Path, judge: Judge, start: Start
) -> None:
    assert start() == 0
    judge.n_wrong = 8
    assert start() == 1
    n_before, judge.n_wrong = judge.n_asked, 2 * (N + ANCHORS)
    assert start("--relock") == 0
    assert judge.n_asked == n_before + 2 * (N + ANCHORS)
    assert {one.value for one in judgements_in(tmp_path)} == {0.5}, "no old verdict is left"
    judge.n_wrong = 2 * ANCHORS
    assert start() == 0
    assert judge.n_asked == n_before + 2 * (N + 2 * ANCHORS)


def test_relocking_a_judge_that_is_the_same_asks_nothing_again(judge: Judge, start: Start) -> None:
    assert start() == 0
    n_before = judge.n_asked
    assert start("--relock") == 0
    assert judge.n_asked == n_before + 2 * ANCHORS


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"model": "gpt-2"}, "`model` was `gpt`, now `gpt-2`"),
        ({"max_tokens": 99}, "`max_tokens` was `256`, now `99`"),
        ({"rubric": "style"}, "`rubric` was `quality`, now `style`; `rubric_sha256` was `"),
        ({"anchors": {"n": 12}}, "`n` was `10`, now `12`; `pairs_sha256` was `"),
        ({"anchors": {"seed": 5}}, "`seed` was `0`, now `5`"),
    ],
)
def test_another_judge_by_the_config_is_told_as_such(
    judge: Judge,
    start: Start,
    capsys: pytest.CaptureFixture[str],
    parts: dict[str, Any],
    message: str,
) -> None:
    assert start() == 0
    n_before = judge.n_asked
    assert start(**parts) == 2
    assert judge.n_asked == n_before, "nothing is asked, and nothing paid"
    said = capsys.readouterr().err
    assert f"the judge `mine` is not as it was locked: {message}" in said
    assert "hint: change it back, or accept the judge as it is now" in said
    assert start("--relock", **parts) == 0


def test_another_host_is_no_other_judge(
    tmp_path: Path, serve: Serve, judge: Judge, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start() == 0
    old, judge.server = judge.server.url, serve(judge.reply)
    assert start() == 0
    judge.n_wrong = 8
    assert start() == 1
    said = capsys.readouterr().err
    assert f"it was asked at {old.split('/')[2]}, now at {judge.server.url.split('/')[2]}" in said


def test_jobs_share_a_lock_and_anchors_of_their_own(
    tmp_path: Path, judge: Judge, start: Start
) -> None:
    (tmp_path / "more").mkdir()
    own = write_rows(tmp_path / "more", rows_of(15))
    lock = tmp_path / "locks" / "anchors.json"
    anchors = {"path": str(lock), "pairs": {"kind": "file", "path": str(own)}}
    assert start(anchors=anchors) == 0
    assert lock.exists()
    write_rows(tmp_path, rows_of(N + 10))
    assert start(anchors=anchors, name="another") == 0
    judge.n_wrong = 8
    assert start(anchors=anchors, name="another") == 1


def test_anchors_that_were_not_answered_are_not_compared(
    tmp_path: Path, judge: Judge, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = {"max_in_flight": 1, "max_retries": 0}
    assert start(calls=calls) == 0
    judge.n_failing = 5
    assert start(calls=calls) == 0
    told = card_in(tmp_path)["judges"]["mine"]["anchors"]
    assert (told["drift"]["n"], told["n_missing"]) == (15, 5)
    assert "and 10 % may be; 5 more were not answered." in capsys.readouterr().out
    judge.n_failing = 11
    assert start(calls=calls) == 1
    assert "9 of 20 anchor verdicts came, too few to tell" in capsys.readouterr().err


def test_budget_holds_for_anchors(
    tmp_path: Path, judge: Judge, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(budget={"max_tokens": 600}, calls={"max_in_flight": 1}) == 2
    assert "the budget is spent" in capsys.readouterr().err
    assert judge.n_asked < 2 * ANCHORS
    assert not (tmp_path / "runs" / "job" / "anchors.json").exists()


@pytest.mark.parametrize("text", ["{", '{"version": 2, "judges": {}}', '{"judges": []}', "[]"])
def test_a_damaged_lock_is_told(
    tmp_path: Path, start: Start, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert start() == 0
    (tmp_path / "runs" / "job" / "anchors.json").write_text(text)
    assert start() == 2
    assert "not a lock of anchors that can be read" in capsys.readouterr().err


def test_a_lock_that_cannot_be_kept_is_told(
    tmp_path: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert start(anchors={"path": str(tmp_path / "file" / "anchors.json")}) == 2
    assert "cannot keep the lock of the anchors" in capsys.readouterr().err


def test_more_anchors_than_pairs_are_told(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(anchors={"n": 31}) == 2
    assert "31 anchors are asked for, and there are 30 pairs" in capsys.readouterr().err


def test_relocking_needs_anchors(
    tmp_path: Path, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path, rows_of(4))
    write_job(tmp_path, {"mine": asked(judge.server)})
    assert run(tmp_path, "--relock") == 2
    assert "`--relock` is for a job with `anchors`" in capsys.readouterr().err


def test_anchors_are_for_asked_judges(tmp_path: Path) -> None:
    judges = {"old": {"kind": "recorded", "verdict_column": "label"}}
    write_job(tmp_path, judges, anchors={})
    with pytest.raises(ConfigError, match="`anchors` are for asked judges: there is none"):
        load_card_job(tmp_path / "job.yaml")


def test_a_model_that_runs_here_is_loaded_once_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def counting(teacher: ModelTeacher, *arguments: Any, **options: Any) -> Any:
        opened.append(teacher.model)
        return open_teacher(teacher, *arguments, **options)

    monkeypatch.setattr("imitate.judging.asking.open_teacher", counting)
    write_rows(tmp_path, rows_of(4))
    rubric = tmp_path / "short.md"
    rubric.write_text("Who wins?\n---\n{{prompt}}\nA: {{first}}\nB: {{second}}")
    judge = {"kind": "model", "model": "lab/small", "rubric": str(rubric), "max_tokens": 4}
    write_job(tmp_path, {"mine": judge}, anchors={"n": 2})
    for n_runs in (1, 2):
        assert run(tmp_path) == 0
        assert len(opened) == n_runs
    told = card_in(tmp_path)["judges"]["mine"]["anchors"]
    assert (told["drift"]["value"], told["drift"]["n"]) == (0, 4)
