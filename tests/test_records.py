"""Records in Parquet: written in row groups, read back as they were."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evals import records
from evals.records import Example, read_records, write_records


def example(number: int) -> Example:
    return Example(f"e{number}", "Why?", "Because.", "source", support=("a|b",) * (number % 3))


def test_records_come_back_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "ROWS_AT_ONCE", 3)
    written = [example(number) for number in range(8)]
    write_records(tmp_path / "a.parquet", written, Example)
    assert read_records(tmp_path / "a.parquet", Example) == written
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3


def test_no_more_records_than_a_row_group_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "ROWS_AT_ONCE", 10)
    alive: weakref.WeakSet[Example] = weakref.WeakSet()
    most = 0

    def made() -> Iterator[Example]:
        nonlocal most
        for number in range(100):
            one = example(number)
            alive.add(one)
            most = max(most, len(alive))
            yield one

    write_records(tmp_path / "a.parquet", made(), Example)
    assert most <= 21  # one group that is made, the one before that is just let go


def test_file_without_a_record_keeps_its_type(tmp_path: Path) -> None:
    write_records(tmp_path / "a.parquet", [], Example)
    assert read_records(tmp_path / "a.parquet", Example) == []
