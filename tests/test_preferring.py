"""Judges of a run that are asked, and people's ratings as one of them, on recorded outputs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakeserver import KEY, Body, FakeServer, Reply, Serve, answer
from test_outputs_alone import CONFIG, N, config

from evals.records import Judgement, read_records, write_records
from imitate.cli import main

__all__ = ["config"]  # the fixture


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", KEY)


def likes_lists(body: Body, _: int = 0) -> Reply:
    """Prefers the answer that alone has a list; else, and to every fifth prompt, the first one."""
    first, second = shown_answers(body)
    is_lazy = re.search(r"about thing \d*[05]\.", first) is not None
    winner = "B" if "1. " in second and "1. " not in first and not is_lazy else "A"
    return answer(json.dumps({"reason": "so", "winner": winner}), role="assistant")


def shown_answers(body: Body) -> tuple[str, str]:
    shown = body["messages"][1]["content"]
    before, _, behind = shown.partition("<answer B")
    return before, behind


def write_run(folder: Path, config: Path, judges: dict[str, Any], **parts: Any) -> Path:
    text = CONFIG.format(folder=config.parent, n=N)
    content = yaml.safe_load(text)
    content["preference"] = {"resamples": 100, "judges": judges} | parts
    path = folder / "asked.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def asked(server: FakeServer, **parts: Any) -> dict[str, Any]:
    return {"kind": "endpoint", "url": server.url, "model": "gpt", "api_key_env": "KEY"} | parts


def run(path: Path, *more: str) -> int:
    runs = path.parent / "runs"
    return main(["run", str(path), "--runs", str(runs), "--quiet", *more])


def preference_in(path: Path) -> list[dict[str, Any]]:
    results = json.loads((path.parent / "runs" / "recorded" / "results.json").read_text("utf-8"))
    found: list[dict[str, Any]] = results["preference"]
    return found


def test_asked_judge_sees_every_arm_against_teacher_and_base_in_both_orders(
    serve: Serve, tmp_path: Path, config: Path
) -> None:
    server = serve(likes_lists)
    path = write_run(tmp_path, config, {"mine": asked(server)})
    assert run(path) == 0
    (entry,) = preference_in(path)
    # base, null, length_padded and parrot against the teacher; all but the base against the base
    assert entry["card"]["n_judgements"] == 7 * N * 2
    assert entry["card"]["n_failed"] == 0
    assert entry["asked"]["model"] == "gpt"
    assert len(entry["asked"]["rubric_sha256"]) == 64
    lists = next(arm for arm in entry["arms"] if arm["arm"] == "base/parrot")
    assert 0.8 < lists["win_rate"]["value"] < 1
    # between two answers with lists it takes the first, and says so by flipping
    assert 0 < entry["card"]["flips"]["value"] < 1
    told = (path.parent / "runs" / "recorded" / "logs" / "judges.jsonl").read_text("utf-8")
    assert KEY not in told


def test_further_arm_costs_no_more_than_its_own_pairs(
    serve: Serve, tmp_path: Path, config: Path
) -> None:
    server = serve(likes_lists)
    path = write_run(tmp_path, config, {"mine": asked(server)}, against=["base"], n_items=10)
    assert run(path) == 0
    n_before = len(server.requests)
    assert n_before <= 4 * 10 * 2  # teacher, null, length_padded and parrot
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    outputs = {"path": str(config.parent / "base.jsonl"), "id_column": "n"}
    content["imitators"]["copy"] = {"base": "base", "outputs": outputs}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    assert run(path) == 0
    assert 0 < len(server.requests) - n_before <= 10 * 2
    (entry,) = preference_in(path)
    assert {arm["arm"] for arm in entry["arms"]} >= {"base/copy", "base/parrot"}


def test_budget_stops_a_run_and_a_larger_one_goes_on(
    serve: Serve, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(likes_lists)
    path = write_run(tmp_path, config, {"mine": asked(server)}, budget={"max_tokens": 4000})
    assert run(path) == 2
    assert "budget" in capsys.readouterr().err
    n_asked = len(server.requests)
    assert run(path, "--set", "preference.budget.max_tokens=100000000") == 0
    assert 0 < n_asked < len(server.requests) <= 7 * N * 2  # nothing is paid twice


def test_drifted_judge_stops_the_run(serve: Serve, tmp_path: Path, config: Path) -> None:
    pairs = tmp_path / "anchors.jsonl"
    rows = [{"prompt": f"Say {n}.", "answer": f"1. {n}", "other": f"just {n}"} for n in range(12)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    anchors = {
        "n": 12,
        "pairs": {"kind": "file", "path": str(pairs)},
        "path": str(tmp_path / "lock.json"),
    }
    mind = [likes_lists]
    server = serve(lambda body, number: mind[0](body, number))
    path = write_run(tmp_path, config, {"mine": asked(server)}, n_items=4, anchors=anchors)
    assert run(path) == 0
    mind[0] = lambda body, _: answer('{"reason": "so", "winner": "B"}', role="assistant")
    assert run(path) == 0  # nothing is asked again
    assert run(path, "--set", "preference.n_items=6") == 1


def test_peoples_ratings_are_a_judge_like_any_other(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(tmp_path, config, {})
    assert run(path) == 0
    folder = tmp_path / "runs" / "recorded"
    ratings = folder / "ratings" / "judgements.parquet"
    ratings.parent.mkdir()

    def said(number: int, arm: str, against: str, value: float) -> Judgement:
        item_id = f"chat-{number}|{arm}|{against}"
        return Judgement(item_id, "human:majority", arm, value, against, order=number % 2)

    judged = [said(n, "base/parrot", "base", float(n % 4 > 0)) for n in range(20)]
    judged += [said(n, "base", "base/parrot", float(n % 4 == 0)) for n in range(20, 40)]
    judged += [said(n, "base/parrot", "teacher", 0.5) for n in range(20)]
    write_records(ratings, judged, Judgement)
    people = {"kind": "judgements", "path": str(ratings)}
    assert run(write_run(tmp_path, config, {"people": people})) == 0
    (entry,) = preference_in(path)
    parrot = next(arm for arm in entry["arms"] if arm["arm"] == "base/parrot")
    assert parrot["win_rate"]["value"] == pytest.approx(0.75, abs=0.06)  # place is in the model
    assert parrot["at_least_teacher"]["value"] == 1
    assert entry["card"]["n_judgements"] == 60
    kept = read_records(folder / "records" / "comparisons.parquet", Judgement)
    assert {one.judge for one in kept} == {"people"}
    stranger = write_run(tmp_path, config, {"people": people | {"judge": "human:Nobody"}})
    assert run(stranger) == 2
    assert "none of 0 judgements of `human:Nobody`" in capsys.readouterr().err


def test_anchors_of_a_run_need_a_file_and_a_lock(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(tmp_path, config, {}, anchors={"n": 5})
    assert main(["check", str(path)]) == 2
    assert "`anchors` of a run need `pairs` and `path`" in capsys.readouterr().err


def test_failed_calls_end_the_run_and_are_asked_again(
    serve: Serve, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mind = [lambda body, n: Reply(b"", 503) if n % 4 == 0 else likes_lists(body)]
    server = serve(lambda body, number: mind[0](body, number))
    calls = {"max_retries": 0}
    path = write_run(tmp_path, config, {"mine": asked(server)}, n_items=10, calls=calls)
    assert run(path) == 1
    assert "the same command asks for these alone" in capsys.readouterr().err
    n_before = len(server.requests)
    mind[0] = likes_lists
    assert run(path) == 0
    (entry,) = preference_in(path)
    assert entry["card"]["n_failed"] == 0
    assert len(server.requests) - n_before < n_before / 2


def test_ratings_of_other_answers_are_refused(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "judgements.parquet"
    write_records(
        path, [Judgement("chat-1|base/parrot|base", "j", "base/parrot", 1.0, "base", 0)], Judgement
    )
    told = {"answers": {"chat-1|base/parrot|base": "0" * 16}}
    (tmp_path / "ratings.json").write_text(json.dumps(told), encoding="utf-8")
    people = {"kind": "judgements", "path": str(path), "judge": "j"}
    assert run(write_run(tmp_path, config, {"people": people})) == 2
    assert "1 judgements of `j` are on other answers than this run's" in capsys.readouterr().err
