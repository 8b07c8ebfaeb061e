"""Real public data, where a machine has it: IMITATE_DATA names a folder with the sets below."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from evals.records import Axis, Item
from imitate.config import DataConfig, FileItems, FileSource
from imitate.data import open_source, prepare, read_examples, read_items

FOLDER = os.environ.get("IMITATE_DATA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="IMITATE_DATA names no folder with real data")


def find(name: str) -> Path:
    path = Path(FOLDER or "") / name
    if not path.exists():
        pytest.skip(f"{name} is not in IMITATE_DATA")
    return path


HALUEVAL: dict[str, Any] = {
    "prompt_column": "user_query",
    "response_column": "chatgpt_response",
    "keep_where": {"hallucination": "no"},
}
TRUTHFUL_QA: dict[str, Any] = {
    "prompt_column": "Question",
    "response_column": "chatgpt_answer",
    "category_column": "Category",
}
SQUAD: dict[str, Any] = {"prompt_column": "Question", "response_column": "chatgpt_answer"}


@pytest.mark.parametrize(
    ("name", "source", "layout", "n_examples"),
    [
        ("halueval/general_data.json.gz", HALUEVAL, "columns", 3692),
        ("gpteacher/codegen-instruct.json.gz", {}, "alpaca", 4535),
        ("gpteacher/roleplay-simple-deduped-roleplay-instruct.json.gz", {}, "alpaca", 1923),
        ("gpteacher/toolformer-similarity-0.6-dataset.json.gz", {}, "alpaca", 2396),
        ("mgtbench/TruthfulQA_chatgpt.csv.gz", TRUTHFUL_QA, "columns", 817),
        ("mgtbench/SQuAD1_chatgpt.csv.gz", SQUAD, "columns", 1000),
        ("self_instruct/predictions/text-davinci-003_predictions.jsonl", {}, "alpaca", 252),
        ("llm_foundry_eval/dolly_hhrlhf_train_small.jsonl.gz", {}, "completion", 1000),
    ],
)
def test_imitation_data_is_read_whole(
    name: str, source: dict[str, Any], layout: str, n_examples: int
) -> None:
    file, data = FileSource(kind="file", path=find(name), **source), DataConfig()
    card = open_source(file)
    prepared = prepare(read_examples(file, data, card), data, sources=[card])
    assert (card.layout, card.examples) == (layout, n_examples)
    # SQuAD asks several questions of one passage, some of them near duplicates.
    assert len(prepared.train) + len(prepared.held_out) > 0.94 * n_examples
    assert next(iter(prepared.card.languages)) == "en"


TRIVIA: dict[str, Any] = {"prompt_column": "context", "answers_column": ["answer", "aliases"]}
ARC: dict[str, Any] = {
    "prompt_column": "query",
    "choices_column": "choices",
    "gold_column": "gold",
}
MMLU: dict[str, Any] = {
    "choices_column": [f"choice{i}" for i in range(4)],
    "gold_column": "answer",
}


def read(name: str, source: dict[str, Any], n_items: int) -> list[Item]:
    return read_items(
        FileItems(kind="file", path=find(name), **source),
        "task",
        Axis.FACTUALITY,
        n_items=n_items,
        n_development=40,
        seed=0,
    )


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("nq_open/NQ-open.dev.jsonl", {"answers_column": "answer"}),
        ("llm_foundry_eval/world_knowledge/triviaqa_sm_sub.jsonl.gz", TRIVIA),
        ("llm_foundry_eval/world_knowledge/arc_easy.jsonl.gz", ARC),
        ("mmlu/test/anatomy_test.csv.gz", MMLU),
    ],
)
def test_evaluation_items_are_read(name: str, source: dict[str, Any]) -> None:
    items = read(name, source, 80)
    assert len(items) == 120
    for item in items:
        assert item.answers or 0 <= item.gold < len(item.choices)
        assert not item.prompt.startswith("Question:")


def test_chatgpt_answers_that_give_facts_away_are_found() -> None:
    file = FileSource(kind="file", path=find("halueval/general_data.json.gz"), **HALUEVAL)
    trivia = "llm_foundry_eval/world_knowledge/triviaqa_sm_sub.jsonl.gz"
    items = read(trivia, TRIVIA, 3000)
    data = DataConfig()
    prepared = prepare(read_examples(file, data), data, items=items)
    (hits,) = prepared.card.contamination
    # Read by hand: capitals, planets and such, each stated; well below one row in a hundred.
    assert 5 <= hits.rows <= 30
