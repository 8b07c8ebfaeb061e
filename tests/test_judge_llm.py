"""A language model as a judge: both orders, what is read in its replies, and what is kept."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from fakeserver import ONE_BY_ONE, Body, Reply, Serve, answer, connect, refusing

from evals.client import OpenAIEndpoint
from evals.endpoint import BASE
from evals.errors import RecordError
from evals.judges.llm import REFUSED, UNREADABLE, JudgeModel, judge_pairs
from evals.judges.pairs import Order, Pair, gather_votes
from evals.judges.rubric import read_rubric
from evals.records import Judgement, read_records, write_records

PAIRS = [
    Pair(f"p{number}", f"Question {number}?", "good " * number, "bad", "tuned", "base")
    for number in range(1, 6)
]


def judge(endpoint: OpenAIEndpoint, rubric: str = "quality") -> JudgeModel:
    return JudgeModel("gpt", endpoint, BASE, read_rubric(rubric))


def says(winner: str) -> Reply:
    return answer(json.dumps({"reason": "so", "winner": winner}), role="assistant")


def prefers_good(body: Body, _: int) -> Reply:
    shown = body["messages"][1]["content"]
    return says("A" if shown.index("good") < shown.index("bad") else "B")


def test_both_orders_are_asked_and_told_apart(serve: Serve) -> None:
    server = serve(prefers_good)
    with connect(server) as endpoint:
        found = judge_pairs(judge(endpoint), PAIRS)
    assert [(one.item_id, one.order) for one in found] == [
        (pair.pair_id, order) for pair in PAIRS for order in (0, 1)
    ]
    assert all(one.value == 1 and not one.error for one in found)
    assert {(one.judge, one.arm, one.against) for one in found} == {("gpt", "tuned", "base")}
    schema = server.requests[0][1]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["winner"]["enum"] == ["A", "B", "tie"]


def test_flip_stays_a_flip(serve: Serve) -> None:
    with connect(serve(lambda *_: says("A"))) as endpoint:
        found = judge_pairs(judge(endpoint), PAIRS[:1])
    assert [one.value for one in found] == [1.0, 0.0]
    assert gather_votes(PAIRS[:1], found)[0].is_flip


def test_tie_is_one_half_and_no_flip(serve: Serve) -> None:
    with connect(serve(lambda *_: says("tie"))) as endpoint:
        found = judge_pairs(judge(endpoint), PAIRS[:1])
    assert [one.value for one in found] == [0.5, 0.5]
    assert gather_votes(PAIRS[:1], found)[0].is_flip is False


def test_unreadable_and_failed_replies_are_failed_records_with_their_text(
    serve: Serve, tmp_path: Path
) -> None:
    def script(_: Body, number: int) -> Reply:
        replies = [
            answer("Hard to say.", role="assistant"),
            answer("Well, let me think about", "length", role="assistant"),
            refusing("bad prompt", 400),
            answer("", refusal="I will not judge."),
        ]
        return replies[number]

    with connect(serve(script), policy=ONE_BY_ONE) as endpoint:
        found = judge_pairs(judge(endpoint), PAIRS[:2])
    assert [one.text for one in found] == [
        "Hard to say.",
        "Well, let me think about",
        "",
        "I will not judge.",
    ]
    assert found[0].error == UNREADABLE
    assert "5 tokens, the most allowed" in found[1].error
    assert "bad prompt" in found[2].error
    assert found[3].error == REFUSED
    assert all(math.isnan(one.value) for one in found)
    write_records(tmp_path / "judgements.parquet", found, Judgement)
    assert [one.error for one in read_records(tmp_path / "judgements.parquet", Judgement)] == [
        one.error for one in found
    ]


def test_server_without_schemas_is_asked_without(serve: Serve) -> None:
    def script(body: Body, _: int) -> Reply:
        if "response_format" in body:
            return refusing("'response_format' of type 'json_schema' is not supported", 400)
        return prefers_good(body, 0)

    server = serve(script)
    with connect(server, policy=ONE_BY_ONE) as endpoint:
        found = judge_pairs(judge(endpoint), PAIRS)
    assert all(one.value == 1 for one in found)
    assert sum("response_format" in body for _, body, _ in server.requests) == 1


def test_interrupted_judging_asks_for_the_rest_alone(serve: Serve, tmp_path: Path) -> None:
    server = serve(prefers_good)
    with connect(server, cache=tmp_path) as endpoint:
        judge_pairs(judge(endpoint), PAIRS[:2])
    with connect(server, cache=tmp_path) as endpoint:
        found = judge_pairs(judge(endpoint), PAIRS)
    assert len(server.requests) == len(found) == 10


def test_rubric_of_facts_needs_references(serve: Serve) -> None:
    with (
        connect(serve(prefers_good)) as endpoint,
        pytest.raises(RecordError, match="needs a reference, which 5 pairs lack, such as p1"),
    ):
        judge_pairs(judge(endpoint, "facts"), PAIRS)


# --- votes ----------------------------------------------------------------------------------------


def vote(pair_id: str, order: int, value: float = 1.0, error: str = "") -> Judgement:
    return Judgement(pair_id, "gpt", "tuned", value, "base", order, error=error)


def test_failed_judgement_is_no_vote() -> None:
    found = gather_votes(PAIRS[:1], [vote("p1", 0, math.nan, "no"), vote("p1", 1, 0.0)])
    assert (found[0].first, found[0].second, found[0].is_flip) == (None, 0.0, None)


@pytest.mark.parametrize(
    ("judgements", "message"),
    [
        ([vote("p1", 0), vote("p1", 0)], "two judgements of one pair in one order: p1"),
        ([vote("p9", 0)], "no known pair and order: p9, 0"),
        ([vote("p1", 2)], "no known pair and order: p1, 2"),
    ],
)
def test_votes_join_with_pairs(judgements: list[Judgement], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        gather_votes(PAIRS, judgements)


def test_pairs_need_ids_of_their_own() -> None:
    with pytest.raises(RecordError, match="1 pairs have an id that another has too"):
        gather_votes([PAIRS[0], PAIRS[0]], [])


def test_order_is_where_the_arm_was_shown() -> None:
    assert [int(order) for order in Order] == [0, 1]
