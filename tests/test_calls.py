"""Calls to several servers, and calls that are given up, beside what `test_client` holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fakeserver import KEY, Body, FakeServer, Reply, Script, Waits, answer, refusing

from evals import wire
from evals.calls import Answer, Caller
from evals.endpoint import Sampling
from evals.errors import EndpointError
from evals.ledger import Budget, Ledger, Price
from evals.server import Server
from evals.transport import CallError, CallPolicy

Serve = Callable[[Script], FakeServer]


def caller_of(*servers: FakeServer | str, **policy: Any) -> Caller:
    urls = [server if isinstance(server, str) else server.url for server in servers]
    return Caller(
        [Server(url, KEY) for url in urls], policy=CallPolicy(**policy), clock=Waits().clock()
    )


def ask(caller: Caller, n: int) -> dict[int, Answer]:
    found: dict[int, Answer] = {}
    requests = [wire.request_tokens("base", [1, 2, n], Sampling(4), [0]) for n in range(n)]
    caller.ask(requests, wire.read_tokens, save=found.__setitem__)
    caller.close()
    return found


def told(body: Body, _: int) -> Reply:
    reply = answer("", usage={"prompt_tokens": 3, "completion_tokens": 1})
    reply.body["choices"][0]["token_ids"] = body["prompt"][-1:]
    return reply


def ids_of(answers: dict[int, Answer]) -> list[Sequence[int]]:
    return [found["ids"] for _, found in sorted(answers.items()) if isinstance(found, dict)]


def test_replicas_take_turns(serve: Serve) -> None:
    first, second = serve(told), serve(told)
    answers = ask(caller_of(first, second), 20)
    assert ids_of(answers) == [[n] for n in range(20)]
    assert len(first.requests) == len(second.requests) == 10


def test_a_replica_that_is_gone_is_passed_over(serve: Serve) -> None:
    here = serve(told)
    gone = serve(told)
    gone.close()
    answers = ask(caller_of(gone, here, max_retries=0), 6)
    assert ids_of(answers) == [[n] for n in range(6)]
    assert len(here.requests) == 6


def test_no_replica_at_all_is_an_error(serve: Serve) -> None:
    gone = serve(told)
    gone.close()
    with pytest.raises(EndpointError, match="cannot reach"):
        ask(caller_of(gone, gone.url, max_retries=0), 2)


def test_a_failed_call_is_told_beside_the_others(serve: Serve) -> None:
    def script(body: Body, number: int) -> Reply:
        is_bad = body["prompt"][-1] == 1
        return refusing("no such thing", 400) if is_bad else told(body, number)

    answers = ask(caller_of(serve(script)), 3)
    assert isinstance(answers[1], CallError)
    assert ids_of(answers) == [[0], [2]]


def test_given_up_calls_are_errors_and_no_failed_records(serve: Serve) -> None:
    caller: Caller

    def script(body: Body, number: int) -> Reply:
        if body["prompt"][-1] == 0:
            return told(body, number)
        caller.give_up()
        return refusing("the engine is dead", 500)

    caller = caller_of(serve(script), max_in_flight=1)
    found: dict[int, Answer] = {}
    requests = [wire.request_tokens("base", [1, n], Sampling(4), [0]) for n in range(4)]
    with pytest.raises(EndpointError, match="the server is gone"):
        caller.ask(requests, wire.read_tokens, save=found.__setitem__)
    caller.close()
    assert list(found) == [0]  # what was answered by then stays good


def logprobs_reply(columns: Any) -> Reply:
    return Reply({"choices": [{"text": "", "prompt_logprobs": columns}], "usage": {}})


def test_scores_of_token_ids_are_read_with_rank_and_lag() -> None:
    request = wire.request_token_logprobs("base", [5, 6, 7], [0, 3])
    columns = [
        None,
        {"6": {"logprob": -1.5, "rank": 2}, "9": {"logprob": -0.5, "rank": 1}},
        {"7": {"logprob": -0.1, "rank": 1}},
    ]
    assert wire.read_token_logprobs(request, logprobs_reply(columns).body) == {
        "logprobs": [-1.5, -0.1],
        "starts": [0, 3],
        "is_top": [False, True],
        "behind": [1.0, 0.0],
    }


@pytest.mark.parametrize("columns", [None, [], [None, None, None], [{}, {}, {"8": {}}]])
def test_a_server_that_does_not_score_tokens_is_an_error(columns: Any) -> None:
    request = wire.request_token_logprobs("base", [5, 6, 7], [0, 3])
    with pytest.raises(EndpointError, match="it must be one of vLLM's"):
        wire.read_token_logprobs(request, logprobs_reply(columns).body)


def test_requests_for_other_tokens_are_other_requests() -> None:
    requests = [
        wire.request_tokens("base", [1, 2], Sampling(4), [0]),
        wire.request_tokens("base", [1, 3], Sampling(4), [0]),
        wire.request_tokens("base", [1, 2], Sampling(4), [9]),
        wire.request_token_logprobs("base", [1, 2], [0]),
        wire.request_token_logprobs("base", [1, 2], [1]),
    ]
    assert len({request.digest for request in requests}) == 5
    assert requests[0].at_most.prompt_tokens == 2


def test_two_callers_of_one_model_book_on_accounts_of_their_own(serve: Serve) -> None:
    server = serve(told)
    prices = {"cheap": Price(1.0, 1.0), "dear": Price(10.0, 10.0)}
    ledger = Ledger(prices, Budget(max_usd=1.0))
    for account, n in (("cheap", 2), ("dear", 3)):
        caller = Caller([Server(server.url, KEY)], ledger=ledger, account=account)
        assert len(ids_of(ask(caller, n))) == n
    spent = ledger.spending()
    assert spent.keys() == {"cheap", "dear"}
    assert [spent[name].cost_usd for name in prices] == pytest.approx([8e-6, 120e-6])
