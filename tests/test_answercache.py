"""Answers that are kept: what tells requests apart, and what a damaged file does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakeserver import (
    GREEDY,
    Serve,
    answer,
    ask,
    connect,
    echoing,
    in_turn,
    refusing,
)

from evals.answercache import open_cache, read_answer, write_answer
from evals.endpoint import BASE, Sampling
from evals.errors import RunError, UserError
from evals.ledger import Spending


def test_cached_answer_makes_no_request(serve: Serve, tmp_path: Path) -> None:
    server = serve(echoing)
    first = ask(server, "a", "b", cache=tmp_path)
    with connect(server, cache=tmp_path) as endpoint:
        assert endpoint.generate(BASE, ["a", "b"], GREEDY) == first
    assert len(server.requests) == 2
    assert endpoint.ledger.spending() == {"teacher-1": Spending(n_cached=2, cost_usd=0.0)}


def test_cache_serves_another_host_and_key(serve: Serve, tmp_path: Path) -> None:
    ask(serve(echoing), cache=tmp_path)
    other = serve(lambda *_: answer("something else"))
    assert ask(other, cache=tmp_path, key="other-key")[0].text == "You said hello."
    assert other.requests == []


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": Sampling(20, seed=1)},
        {"sampling": Sampling(21)},
        {"sampling": Sampling(20, temperature=0.1)},
        {"sampling": Sampling(20, top_p=0.5)},
        {"sampling": Sampling(20, stop=("x",))},
        {"models": {BASE: "teacher-2"}},
    ],
)
def test_cache_tells_requests_apart(serve: Serve, tmp_path: Path, change: dict[str, Any]) -> None:
    server = serve(echoing)
    ask(server, cache=tmp_path)
    ask(server, cache=tmp_path, **change)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace("hello", "hullo"),
    ],
    ids=["empty", "cut", "other-type", "no-fields", "changed"],
)
def test_damaged_entry_is_asked_for_again(
    serve: Serve, tmp_path: Path, damage: Callable[[str], str]
) -> None:
    server = serve(echoing)
    first = ask(server, cache=tmp_path)
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_text()
    path.write_text(damage(whole))
    assert ask(server, cache=tmp_path) == first
    assert len(server.requests) == 2
    assert path.read_text() == whole


def test_entry_of_another_request_is_not_taken(tmp_path: Path) -> None:
    write_answer(tmp_path, "aa11", {"text": "one"})
    (tmp_path / "aa" / "aa11.json").rename(tmp_path / "aa" / "aa22.json")
    assert read_answer(tmp_path, "aa22") is None


def test_failed_answers_are_not_kept(serve: Serve, tmp_path: Path) -> None:
    script = in_turn(refusing("no", 400), answer("x", "content_filter"), answer("ok"))
    server = serve(script)
    found = [ask(server, cache=tmp_path)[0].text for _ in range(3)]
    assert found == ["", "x", "ok"]


def test_writers_of_one_entry_do_not_disturb_one_another(tmp_path: Path) -> None:
    said = {"text": "word " * 2000}
    damaged = []

    def work() -> None:
        for _ in range(30):
            write_answer(tmp_path, "ab12", said)
            damaged.append(read_answer(tmp_path, "ab12") != said)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(damaged) == 120
    assert not any(damaged)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["ab12.json"]


def test_cache_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot keep answers in") as told:
        open_cache(tmp_path / "file" / "answers")
    assert "name a folder that can be written" in str(told.value)


def test_answer_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ab").write_text("")
    with pytest.raises(RunError, match="cannot keep an answer in"):
        write_answer(tmp_path, "ab12", {})
