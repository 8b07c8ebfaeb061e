"""What answers cost, and a budget that is never knowingly exceeded."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakeserver import (
    GREEDY,
    ONE_BY_ONE,
    Serve,
    answer,
    ask,
    connect,
    echoing,
    refusing,
)

from evals.endpoint import BASE
from evals.errors import RecordError, RunError, UserError
from evals.journal import Journal
from evals.ledger import Budget, BudgetError, Ledger, Price, Spending, Usage


def test_ledger_counts_tokens_and_cost_by_model(serve: Serve) -> None:
    ledger = Ledger({"teacher-1": Price(1.0, 4.0)})
    with connect(serve(echoing), models={BASE: "teacher-1", "b": "other"}, ledger=ledger) as found:
        found.generate(BASE, ["x", "y"], GREEDY)
        found.generate("b", ["x"], GREEDY)
    assert ledger.spending() == {
        "teacher-1": Spending(n_answered=2, usage=Usage(20, 10), cost_usd=60e-6),
        "other": Spending(n_answered=1, usage=Usage(10, 5)),
    }


def test_tokens_are_estimated_where_the_server_counts_none(serve: Serve) -> None:
    with connect(serve(lambda *_: answer("123456789", usage=[]))) as endpoint:
        found = endpoint.generate(BASE, ["123456"], GREEDY)
    assert found[0].n_tokens == 3
    assert endpoint.ledger.spending()["teacher-1"].usage == Usage(2, 3)


def test_budget_in_tokens_stops_before_it_is_exceeded(serve: Serve, tmp_path: Path) -> None:
    server = serve(echoing)  # 15 tokens each; a request may take 21
    ledger = Ledger(budget=Budget(max_tokens=60))
    prompts = [f"{i}" for i in range(10)]
    with pytest.raises(BudgetError) as told:
        ask(server, *prompts, ledger=ledger, cache=tmp_path)
    assert "the budget is spent: 45 of 60 tokens, and the next request may take 21" in str(
        told.value
    )
    assert "raise the budget and run again" in str(told.value)
    assert len(server.requests) == 3
    assert len(list(tmp_path.rglob("*.json"))) == 3

    found = ask(server, *prompts, cache=tmp_path)
    assert [one.finish_reason for one in found] == ["stop"] * 10
    assert len(server.requests) == 10


def test_budget_in_dollars_stops_before_it_is_exceeded(serve: Serve) -> None:
    server = serve(echoing)  # 30 micro-dollars each; a request may take 81
    ledger = Ledger({"teacher-1": Price(1.0, 4.0)}, Budget(max_usd=150e-6))
    with pytest.raises(BudgetError, match=r"the budget is spent: 0\.0001 of 0\.00015 USD"):
        ask(server, *map(str, range(10)), ledger=ledger)
    assert len(server.requests) == 3


def test_budget_in_dollars_needs_a_price(serve: Serve) -> None:
    server = serve(echoing)
    with pytest.raises(UserError, match="needs the price of `teacher-1`") as told:
        ask(server, ledger=Ledger(budget=Budget(max_usd=1.0)))
    assert "price for a million tokens" in str(told.value)
    assert server.requests == []


def test_cached_answers_cost_no_budget(serve: Serve, tmp_path: Path) -> None:
    server = serve(echoing)
    first = ask(server, cache=tmp_path)
    assert ask(server, cache=tmp_path, ledger=Ledger(budget=Budget(max_tokens=0))) == first


# --- over restarts --------------------------------------------------------------------------------


def journalled(path: Path, **limits: float | None) -> Ledger:
    return Ledger({"teacher-1": Price(1.0, 4.0)}, Budget(**limits), Journal(path))  # type: ignore[arg-type]


def test_what_was_spent_before_a_restart_counts(serve: Serve, tmp_path: Path) -> None:
    server, path = serve(echoing), tmp_path / "spending.jsonl"  # 15 tokens each, 21 at most
    ask(server, "a", "b", ledger=journalled(path))
    again = journalled(path, max_tokens=60)
    with pytest.raises(BudgetError, match="45 of 60 tokens"):
        ask(server, "c", "d", ledger=again, policy=ONE_BY_ONE)
    assert len(server.requests) == 3
    assert again.spending()["teacher-1"] == Spending(
        n_answered=3, usage=Usage(30, 15), cost_usd=90e-6
    )


def test_a_request_that_a_kill_left_under_way_counts_at_its_worst(tmp_path: Path) -> None:
    path = tmp_path / "spending.jsonl"
    under_way = []
    for _ in range(2):  # two processes, each killed behind the request that it sent
        under_way.append(journalled(path).reserve("teacher-1", Usage(10, 90)))
        under_way[-1].__enter__()
    found = journalled(path, max_tokens=250)
    assert found.spending()["teacher-1"] == Spending(unsettled=Usage(20, 180), cost_usd=0.0)
    with found.reserve("teacher-1", Usage(10, 40)):
        pass
    with pytest.raises(BudgetError, match="200 of 250"), found.reserve("teacher-1", Usage(10, 41)):
        pass
    assert journalled(path).spending()["teacher-1"].unsettled == Usage(20, 180)


def test_failed_requests_leave_nothing_unsettled(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "spending.jsonl"
    ask(serve(lambda *_: refusing("too long", 400)), ledger=journalled(path))
    assert journalled(path).spending()["teacher-1"] == Spending(cost_usd=0.0)


def test_a_line_that_a_kill_cut_short_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "spending.jsonl"
    journalled(path).record("teacher-1", Spending(n_answered=1, usage=Usage(1, 2)))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    assert journalled(path).spending()["teacher-1"].usage == Usage(1, 2)
    assert path.read_bytes() == whole


def test_a_damaged_journal_is_told(tmp_path: Path) -> None:
    path = tmp_path / "spending.jsonl"
    path.write_text('{"event": "sent"}\n')
    with pytest.raises(RecordError, match="the budget cannot be kept") as told:
        journalled(path)
    assert "spending.jsonl:1" in str(told.value)
    assert "remove the file to count from nothing" in str(told.value)


def test_a_journal_that_cannot_be_written_stops_the_run(serve: Serve, tmp_path: Path) -> None:
    server, path = serve(echoing), tmp_path / "gone" / "spending.jsonl"
    with pytest.raises(RunError, match="cannot note what is spent"):
        ask(server, ledger=journalled(path))
    assert server.requests == []
