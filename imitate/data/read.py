"""Sources to examples: a local file or a hub data set, one row at a time."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from evals.errors import DataError
from evals.records import Example
from imitate.config import DataConfig, FileSource, HubSource
from imitate.data.card import SourceCard
from imitate.data.files import FileLimits, bad_line, hash_file, read_rows
from imitate.data.formats import Layout, choose_layout, missing_column, to_text

__all__ = ["open_source", "read_examples", "read_source_rows"]

_LICENCE_COLUMNS = ("license", "licence")
_MAX_LICENCES = 20
_MAX_VALUES_SEEN = 1000
# A JSONL row may lack an optional column; after so many rows without it, it is a wrong name.
_ROWS_TO_SEE_A_COLUMN = 100


def open_source(source: FileSource | HubSource) -> SourceCard:
    """Return the card that `read_examples` fills; for a file with its sha256.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    if isinstance(source, FileSource):
        return SourceCard(source.path.name, "file", sha256=hash_file(source.path))
    name = f"{source.dataset}/{source.subset}" if source.subset else source.dataset
    return SourceCard(name, "hub", revision=source.revision or "not pinned")


def read_examples(
    source: FileSource | HubSource, data: DataConfig, card: SourceCard | None = None
) -> Iterator[Example]:
    """Yield the examples of a source as it is read; memory does not grow with it.

    Args:
        source: What to read.
        data: Limits: `max_row_bytes` and `max_bad_lines`.
        card: The source's card from `open_source`, to be filled; its name goes into the examples'
            ids.

    Raises:
        DataError: The source cannot be read, or its rows are not what the config says.
    """
    card = card or open_source(source)
    limits = FileLimits(data.max_row_bytes, data.max_bad_lines)
    where = str(source.path) if isinstance(source, FileSource) else card.name
    reader = _Reader(source, limits, card, where)
    for number, row in read_source_rows(source, limits, card):
        yield from reader.read(number, row)
    reader.finish()


def read_source_rows(
    source: FileSource | HubSource, limits: FileLimits, card: SourceCard
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the number and the values of each row of a source; what is skipped is counted.

    Raises:
        DataError: The source cannot be read.
    """
    if isinstance(source, FileSource):
        yield from read_rows(source.path, limits, card)
    else:
        yield from _read_hub(source)


class _Reader:
    """Turns the rows of one source into examples; it learns the layout from the first row."""

    def __init__(
        self, source: FileSource | HubSource, limits: FileLimits, card: SourceCard, where: str
    ) -> None:
        self._source = source
        self._limits = limits
        self._card = card
        self._where = where
        self._layout: Layout | None = None
        self._optional = {column: f"keep_where.{column}" for column in source.keep_where}
        if source.category_column:
            self._optional[source.category_column] = "category_column"
        self._columns: dict[str, None] = {}
        self._values_seen: Counter[str] = Counter()

    def read(self, number: int, row: Mapping[str, Any]) -> Iterator[Example]:
        """Yield the examples of one row."""
        card = self._card
        card.rows += 1
        if self._layout is None:
            self._layout = choose_layout(self._source, row, f"{self._where}:{number}")
            card.layout = self._layout.name
        if card.rows <= _ROWS_TO_SEE_A_COLUMN:
            self._columns |= dict.fromkeys(row)
            if card.rows == _ROWS_TO_SEE_A_COLUMN:
                self._check_columns()
        if not self._is_wanted(row):
            card.unwanted_rows += 1
            return
        self._count_licence(row)
        try:
            yield from self._make_examples(number, row, self._layout)
        except ValueError as error:
            bad_line(str(error), self._where, number, self._limits, card)

    def finish(self) -> None:
        """Complain of a source that gave nothing."""
        card = self._card
        if not card.rows:
            raise DataError(f"{card.name} holds no rows", where=self._where)
        self._check_columns()
        if card.unwanted_rows == card.rows:
            wanted = ", ".join(f"{k} = {to_text(v)}" for k, v in self._source.keep_where.items())
            seen = ", ".join(f"{v} ({n:,})" for v, n in self._values_seen.most_common(10))
            raise DataError(
                f"`keep_where` dropped all {card.rows:,} rows of {card.name}: "
                f"wanted {wanted}; seen {seen}",
                where=self._where,
                hint="YAML reads a bare yes, no, on or off as true or false: quote it",
            )

    def _check_columns(self) -> None:
        for column, key in self._optional.items():
            if column not in self._columns:
                raise missing_column(column, key, list(self._columns), self._where)

    def _is_wanted(self, row: Mapping[str, Any]) -> bool:
        for column, wanted in self._source.keep_where.items():
            value = "" if row.get(column) is None else str(row.get(column))
            if isinstance(wanted, bool):  # CSV has True, TRUE and true
                value = value.lower()
            if value != to_text(wanted):
                if len(self._values_seen) < _MAX_VALUES_SEEN:
                    self._values_seen[value[:40]] += 1
                return False
        return True

    def _make_examples(
        self, number: int, row: Mapping[str, Any], layout: Layout
    ) -> Iterator[Example]:
        card, column = self._card, self._source.category_column
        exchanges = layout.read(row)
        category = to_text(row.get(column)) if column else ""
        card.later_turns += exchanges.later_turns
        for k, (prompt, response) in enumerate(exchanges.pairs):
            card.examples += 1
            suffix = f".{k}" if len(exchanges.pairs) > 1 else ""
            example_id = f"{card.name}:{number}{suffix}"
            yield Example(example_id, prompt, response, card.name, category)

    def _count_licence(self, row: Mapping[str, Any]) -> None:
        for column in _LICENCE_COLUMNS:
            if row.get(column):
                licence = str(row[column])[:100]
                if licence in self._card.licences or len(self._card.licences) < _MAX_LICENCES:
                    self._card.licences[licence] = self._card.licences.get(licence, 0) + 1


def _read_hub(source: HubSource) -> Iterator[tuple[int, Mapping[str, Any]]]:
    datasets = importlib.import_module("datasets")
    try:
        rows = datasets.load_dataset(
            source.dataset,
            source.subset,
            split=source.split,
            revision=source.revision,
            streaming=True,
        )
        yield from enumerate(rows, 1)
    except (ConnectionError, TimeoutError) as error:
        raise DataError(
            f"the hub cannot be reached for `{source.dataset}`: {_first_line(error)}",
            hint="check the network and HF_HUB_OFFLINE, or give a local copy as `kind: file`",
        ) from None
    except (FileNotFoundError, PermissionError, ValueError) as error:
        raise DataError(
            f"the hub has no such data as `{source.dataset}`, subset `{source.subset}`, "
            f"split `{source.split}`: {_first_line(error)}",
            hint="check the names on its page; a gated data set needs `huggingface-cli login`",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
