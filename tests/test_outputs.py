"""Recorded outputs of a teacher: matched by prompt, read once, judged by the whole task."""

import json
from pathlib import Path

import pytest

from evals.errors import DataError
from imitate import outputs
from imitate.config import OutputsTeacher
from imitate.outputs import read_outputs


@pytest.fixture
def teacher(tmp_path: Path) -> OutputsTeacher:
    path = tmp_path / "outputs.jsonl"
    rows = [{"q": "Why  so?", "a": "So."}, {"q": "Who?", "a": "She."}, {"q": "Who?", "a": "He."}]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return OutputsTeacher(kind="outputs", path=path, prompt_column="q", text_column="a")


def test_prompts_match_but_for_white_space_and_the_first_counts(teacher: OutputsTeacher) -> None:
    assert read_outputs(teacher, ["Who?", "Why so?\n", "When?"]) == ["She.", "So.", None]


def test_shard_without_outputs_is_no_error_where_its_task_has_some(teacher: OutputsTeacher) -> None:
    assert read_outputs(teacher, ["When?"], among=["When?", "Who?"]) == [None]


def test_task_without_outputs_is_an_error_that_counts_all_its_prompts(
    teacher: OutputsTeacher,
) -> None:
    with pytest.raises(DataError, match="an output for none of 2 prompts"):
        read_outputs(teacher, ["When?"], among=["When?", "Where?"])


def test_missing_column_is_told_with_its_line(teacher: OutputsTeacher) -> None:
    wrong = teacher.model_copy(update={"text_column": "answer"})
    with pytest.raises(DataError, match="no column `answer`") as caught:
        read_outputs(wrong, ["Who?"])
    assert str(caught.value.where).endswith("outputs.jsonl:1")


def test_file_is_read_once_for_all_shards_unless_it_changes(
    teacher: OutputsTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, rows = [], outputs.read_rows
    monkeypatch.setattr(outputs, "read_rows", lambda *asked: read.append(1) or rows(*asked))
    for _ in range(3):
        read_outputs(teacher, ["Who?"])
    assert len(read) == 1
    teacher.path.write_text(json.dumps({"q": "Who?", "a": "They all."}))
    assert read_outputs(teacher, ["Who?"]) == ["They all."]


def test_empty_value_is_no_output(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"q": "Who?", "a": null}\n{"q": "Why?", "a": "So."}\n', encoding="utf-8")
    recorded = OutputsTeacher(kind="outputs", path=path, prompt_column="q", text_column="a")
    assert read_outputs(recorded, ["Who?", "Why?"]) == [None, "So."]
