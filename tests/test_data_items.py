"""Evaluation items from a user's file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from evals.errors import DataError
from evals.records import Axis, Item
from imitate.config import FileItems
from imitate.data import read_items


def read(
    path: Path, n_items: int = 100, n_development: int = 0, seed: int = 0, **source: Any
) -> list[Item]:
    return read_items(
        FileItems(kind="file", path=path, **source),
        "quiz",
        Axis.FACTUALITY,
        n_items=n_items,
        n_development=n_development,
        seed=seed,
    )


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def questions(n: int) -> list[dict[str, Any]]:
    return [{"question": f"What is {i}?", "answer": [f"thing {i}"]} for i in range(n)]


def test_questions_with_answers(tmp_path: Path) -> None:
    rows = [{"question": "Who? ", "answer": ["Ann", "Ann", ""], "topic": "people", "bin": "head"}]
    path = write(tmp_path / "quiz.jsonl", rows)
    (item,) = read(path, answers_column="answer", cluster_column="topic", group_column="bin")
    assert (item.task, item.axis, item.prompt) == ("quiz", Axis.FACTUALITY, "Who?")
    assert item.answers == ("Ann",)
    assert (item.cluster_id, item.group) == ("people", "head")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Ann", ("Ann",)),
        (7, ("7",)),
        (["a", "b"], ("a", "b")),
        ('["a", "b"]', ("a", "b")),
        ({"text": ["a"], "answer_start": [3]}, ("a",)),
        ("[sic", ("[sic",)),
        (None, ()),
    ],
)
def test_answers_come_in_several_shapes(
    tmp_path: Path, value: Any, expected: tuple[str, ...]
) -> None:
    path = write(tmp_path / "quiz.jsonl", [{"question": "Who?", "answer": value}])
    assert read(path, answers_column="answer")[0].answers == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Question: Who?\nAnswer:", "Who?"),
        ("Question: Who?", "Who?"),
        ("Q: Who?\n\nA: ", "Who?"),
        ("question:Who?\n answer:", "Who?"),
        ("Ann sat.\nQuestion: Who?\nAnswer:", "Ann sat.\nQuestion: Who?"),
        ("Which word stands before the answer:", "Which word stands before the answer:"),
        ("Q is which letter?", "Q is which letter?"),
    ],
)
def test_labels_that_the_file_brings_are_cut(tmp_path: Path, prompt: str, expected: str) -> None:
    path = write(tmp_path / "quiz.jsonl", [{"question": prompt, "answer": "Ann"}])
    assert read(path, answers_column="answer")[0].prompt == expected


def test_style_prompts_keep_their_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", [{"question": "Question: Who?\nAnswer:"}])
    chat = FileItems(kind="file", path=path)
    (item,) = read_items(chat, "chat", Axis.STYLE, n_items=1, n_development=0, seed=0)
    assert item.prompt == "Question: Who?\nAnswer:"


def test_answers_of_several_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "quiz.jsonl", [{"question": "Who?", "answer": "a", "aliases": ["b"]}])
    assert read(path, answers_column=["answer", "aliases"])[0].answers == ("a", "b")


@pytest.mark.parametrize(
    ("choices", "gold", "expected"),
    [
        (["x", "y", "z"], 2, 2),
        (["x", "y", "z"], "B", 1),
        (["x", "y", "z"], "c", 2),
        (["x", "y", "z"], "0", 0),
        ({"text": ["x", "y"], "label": ["1", "2"]}, "2", 1),
    ],
)
def test_gold_is_an_index_or_a_letter(
    tmp_path: Path, choices: Any, gold: Any, expected: int
) -> None:
    row = {"question": "Which?", "choices": choices, "key": gold}
    path = write(tmp_path / "quiz.jsonl", [row])
    (item,) = read(path, choices_column="choices", gold_column="key")
    assert item.gold == expected
    assert item.choices[:2] == ("x", "y")


def test_choices_in_a_column_each(tmp_path: Path) -> None:
    path = tmp_path / "quiz.csv.gz"
    path.write_bytes(gzip.compress(b"question,a,b,key\nWhich?,x,y,1\n"))
    (item,) = read(path, choices_column=["a", "b"], gold_column="key")
    assert (item.choices, item.gold) == (("x", "y"), 1)


def test_ids_depend_on_the_question_alone(tmp_path: Path) -> None:
    one = read(write(tmp_path / "one.jsonl", questions(20)), answers_column="answer")
    other = read(write(tmp_path / "other.jsonl", questions(20)[::-1]), answers_column="answer")
    assert one == other
    assert len({item.item_id for item in one}) == 20
    assert all(item.cluster_id == item.item_id for item in one)


def test_larger_draw_extends_the_smaller(tmp_path: Path) -> None:
    path = write(tmp_path / "quiz.jsonl", questions(50))
    assert read(path, n_items=10) == read(path, n_items=30)[:10]
    assert read(path, n_items=10) != read(path, n_items=10, seed=1)


def test_development_items_are_others(tmp_path: Path) -> None:
    path = write(tmp_path / "quiz.jsonl", questions(50) + questions(50))
    items = read(path, n_items=30, n_development=10)
    assert [item.is_development for item in items] == [False] * 30 + [True] * 10
    assert len({item.prompt for item in items}) == 40


def test_development_takes_a_quarter_of_a_short_file_at_most(tmp_path: Path) -> None:
    path = write(tmp_path / "quiz.jsonl", questions(20))
    items = read(path, n_items=100, n_development=40)
    assert [item.is_development for item in items].count(True) == 5
    assert len(items) == 20


def test_same_prompt_with_other_choices_stays_on_one_side(tmp_path: Path) -> None:
    rows = [
        {"question": f"Which is right in {i % 10}?", "choices": [f"a{i}", f"b{i}"], "key": 0}
        for i in range(40)
    ]
    path = write(tmp_path / "quiz.jsonl", rows)
    source = {"choices_column": "choices", "gold_column": "key"}
    items = read(path, n_items=40, n_development=6, **source)
    scored = {item.prompt for item in items if not item.is_development}
    development = {item.prompt for item in items if item.is_development}
    assert not scored & development
    assert development


def test_sums_that_differ_by_an_operator_are_two_items(tmp_path: Path) -> None:
    rows = [{"question": f"25 {sign} 7 ="} for sign in "+-*"]
    assert len(read(write(tmp_path / "quiz.jsonl", rows))) == 3


def test_missing_column(tmp_path: Path) -> None:
    path = write(tmp_path / "quiz.jsonl", questions(1))
    with pytest.raises(DataError, match=r"no column `answers` \(`answers_column`\)") as caught:
        read(path, answers_column="answers")
    assert caught.value.hint == "did you mean `answer`?"
    assert caught.value.where == f"{path}:1"


def test_choices_without_gold(tmp_path: Path) -> None:
    path = write(tmp_path / "quiz.jsonl", [{"question": "q", "choices": ["a"]}])
    with pytest.raises(DataError, match="`choices_column` and `gold_column` go together"):
        read(path, choices_column="choices")


@pytest.mark.parametrize("gold", [2, "E", -1, ""])
def test_gold_that_is_no_choice(tmp_path: Path, gold: Any) -> None:
    rows = [{"question": f"q{i}", "choices": ["a", "b"], "key": g} for i, g in enumerate([0, gold])]
    path = write(tmp_path / "quiz.jsonl", rows)
    message = "as its right choice, expected an index from 0 to 1 or one of A, B"
    with pytest.raises(DataError, match=message) as caught:
        read(path, choices_column="choices", gold_column="key")
    assert caught.value.where == f"{path}:2"


def test_no_items(tmp_path: Path) -> None:
    path = write(tmp_path / "quiz.jsonl", [{"question": "  "}])
    with pytest.raises(DataError, match=r"quiz\.jsonl holds no items"):
        read(path)
