"""What the stages pass to one another: Item, Completion, Judgement, Score; Parquet in and out.

Every record is a frozen dataclass; a file holds records of one type and carries the schema version.
Joins go by `item_id`, and by nothing else.
"""

from __future__ import annotations

import dataclasses
import itertools
import types
import typing
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from evals.errors import RecordError

__all__ = [
    "DOCUMENT",
    "SCHEMA_VERSION",
    "Axis",
    "Completion",
    "Example",
    "Format",
    "Item",
    "Judgement",
    "Outcome",
    "Score",
    "index_by_item",
    "read_records",
    "write_records",
]

SCHEMA_VERSION = 1

ROWS_AT_ONCE = 50_000
"""Records written as one row group: so many are held in memory."""

DOCUMENT = "document"
"""Category of an example that is a plain document."""


class Axis(StrEnum):
    """What a task measures."""

    STYLE = "style"
    FACTUALITY = "factuality"
    CAPABILITY = "capability"


class Format(StrEnum):
    """How a question is put to a model: the base's own few-shot format, or its chat template."""

    PLAIN = "plain"
    CHAT = "chat"


class Outcome(StrEnum):
    """What became of one answer. A failed call is a failed record, never a wrong answer."""

    RIGHT = "right"
    WRONG = "wrong"
    ABSTAINED = "abstained"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class Example:
    """One imitation example: a prompt and the response to be imitated.

    `support` names what the response states or exercises, such as `entity|attribute` or a skill,
    so that overlap with the evaluation is exact where the source knows it. A plain document, with
    nothing to answer, has an empty prompt and the category `DOCUMENT`.
    """

    example_id: str
    prompt: str
    response: str
    source: str
    category: str = ""
    support: tuple[str, ...] = ()

    @property
    def is_document(self) -> bool:
        """Whether this is a plain document, to be learned whole."""
        return not self.prompt and self.category == DOCUMENT


@dataclasses.dataclass(frozen=True)
class Item:
    """One evaluation question.

    `cluster_id` is the unit of randomisation (subject, passage, entity). `answers` are all accepted
    answers; empty where none is recorded, so that abstaining is right. `choices` with the index
    `gold` make a multiple-choice item. `is_development` items choose formats, and never score.
    `group` is a stratum to report by, such as popularity.
    """

    item_id: str
    task: str
    axis: Axis
    cluster_id: str
    prompt: str
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    gold: int = -1
    group: str = ""
    is_development: bool = False


@dataclasses.dataclass(frozen=True)
class Completion:
    """What one arm answered to one item; `sample` numbers repeated draws from 0."""

    item_id: str
    arm: str
    format: Format
    text: str
    n_tokens: int
    finish_reason: str  # "stop", "length" or "error"
    sample: int = 0
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What one judge said of one output, alone or against another arm's.

    `value` in [0, 1] is the preference for `arm` (or the probability that the output is the
    teacher's). `order` is the position at which `arm` was shown: 0 first, 1 second, -1 alone.
    """

    item_id: str
    judge: str
    arm: str
    value: float
    against: str = ""
    order: int = -1
    text: str = ""
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Score:
    """How one arm did on one item in one format; `value` in [0, 1], NaN where `outcome` failed."""

    item_id: str
    arm: str
    task: str
    axis: Axis
    format: Format
    cluster_id: str
    value: float
    outcome: Outcome
    extracted: str = ""
    is_extracted: bool = True
    is_development: bool = False
    sample: int = 0


RecordT = TypeVar("RecordT", Example, Item, Completion, Judgement, Score)
AnsweredT = TypeVar("AnsweredT", Item, Completion, Judgement, Score)

_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


def arrow_schema(record_type: type[Any]) -> pa.Schema:
    """Return the Arrow schema of a record type, with the schema version in its metadata."""
    hints = typing.get_type_hints(record_type)
    fields = [pa.field(f.name, _arrow_type(hints[f.name])) for f in dataclasses.fields(record_type)]
    metadata = {"record": record_type.__name__, "schema_version": str(SCHEMA_VERSION)}
    return pa.schema(fields, metadata=metadata)


def write_records(path: Path, records: Iterable[RecordT], record_type: type[RecordT]) -> None:
    """Write records of one type to a Parquet file, in the order given, a row group at a time."""
    schema = arrow_schema(record_type)
    left = iter(records)
    with pq.ParquetWriter(path, schema) as writer:
        while rows := list(itertools.islice(left, ROWS_AT_ONCE)):
            columns = [
                pa.array([_to_plain(getattr(row, field.name)) for row in rows], type=field.type)
                for field in schema
            ]
            writer.write_table(pa.table(columns, schema=schema))


def read_records(path: Path, record_type: type[RecordT]) -> list[RecordT]:
    """Return the records of a Parquet file.

    Raises:
        RecordError: The file holds another record type or schema version.
    """
    table = pq.read_table(path)
    metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    found = (metadata.get("record"), metadata.get("schema_version"))
    if found != (record_type.__name__, str(SCHEMA_VERSION)):
        raise RecordError(
            f"expected {record_type.__name__} records of schema {SCHEMA_VERSION}, "
            f"found {found[0] or 'no record type'} of schema {found[1] or 'unknown'}",
            where=str(path),
            hint="the file was written by another version; run the stage again",
        )
    hints = typing.get_type_hints(record_type)
    names = [f.name for f in dataclasses.fields(record_type)]
    columns = [_from_plain(table.column(name).to_pylist(), hints[name]) for name in names]
    return [record_type(*row) for row in zip(*columns, strict=True)]


def index_by_item(records: Sequence[AnsweredT], expected: Iterable[str]) -> dict[str, AnsweredT]:
    """Return records by `item_id`, exactly one for each expected id.

    Raises:
        RecordError: An id is missing, doubled or unexpected; the ids are listed.
    """
    found: dict[str, AnsweredT] = {}
    doubled = set()
    for record in records:
        item_id = record.item_id
        if item_id in found:
            doubled.add(item_id)
        found[item_id] = record
    wanted = set(expected)
    faults = {
        "doubled": sorted(doubled),
        "missing": sorted(wanted - found.keys()),
        "unexpected": sorted(found.keys() - wanted),
    }
    told = [f"{len(ids)} {what} ({_listed(ids)})" for what, ids in faults.items() if ids]
    if told:
        raise RecordError("records do not join on `item_id`: " + "; ".join(told))
    return found


def _listed(ids: Sequence[str], limit: int = 20) -> str:
    rest = f", and {len(ids) - limit} more" if len(ids) > limit else ""
    return ", ".join(ids[:limit]) + rest


def _arrow_type(hint: Any) -> pa.DataType:
    if isinstance(hint, types.GenericAlias):  # tuple[str, ...]
        return pa.list_(_arrow_type(typing.get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return pa.string()
    return _ARROW_TYPES[hint]


def _to_plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _from_plain(values: list[Any], hint: Any) -> list[Any]:
    if isinstance(hint, types.GenericAlias):
        return [tuple(value) for value in values]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return [hint(value) for value in values]
    return values
