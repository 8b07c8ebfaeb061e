"""Which files a task file of lm-eval reads."""

from pathlib import Path

import pytest

from imitate.taskfiles import files_read


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text("output_type: generate_until\n")
    (tmp_path / "utils.py").write_text("def clean(doc): return doc\n")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "notes.txt").write_text("read by nobody\n")
    path = tmp_path / "cities.yaml"
    path.write_text(
        "include: base.yaml\ntask: cities\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: '{tmp_path}/*.jsonl'}}}}\n"
        "process_docs: !function utils.clean\n"
    )
    return path


def names(path: Path) -> list[str]:
    return [file.name for file in files_read(path)]


def test_includes_code_and_data_are_found(task: Path) -> None:
    assert names(task) == ["cities.yaml", "base.yaml", "utils.py", "rows.jsonl"]


def test_members_of_a_group_are_found_beside_it(task: Path) -> None:
    group = task.parent / "both.yaml"
    group.write_text("group: both\ntask: [cities]\n")
    assert set(names(group)) >= {"both.yaml", "cities.yaml", "rows.jsonl", "utils.py"}


def test_a_file_of_data_reads_nothing_else(tmp_path: Path) -> None:
    assert files_read(tmp_path / "rows.jsonl") == [tmp_path / "rows.jsonl"]


@pytest.mark.parametrize("text", ["- one\n", "a: [", "include: gone.yaml\n"])
def test_a_broken_task_file_is_left_to_whoever_loads_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    assert files_read(path)[0] == path


def test_includes_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: b.yaml\n")
    (tmp_path / "b.yaml").write_text("include: a.yaml\n")
    assert names(tmp_path / "a.yaml") == ["a.yaml", "b.yaml"]
