"""Examples parked on disk while it is decided which of them stay."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from evals.records import Example, arrow_schema

__all__ = ["Spill"]


class Spill:
    """A compressed file of examples: written once in batches, then read by row number.

    Args:
        path: The file; it is left to whoever owns its folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schema = arrow_schema(Example)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(str(path), self._schema, options=options)
        self._starts = [0]

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._starts[-1]

    def append(self, examples: Sequence[Example]) -> None:
        """Write examples behind those already there."""
        columns = [
            pa.array([getattr(example, field.name) for example in examples], type=field.type)
            for field in self._schema
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        self._starts.append(len(self) + len(examples))

    def close(self) -> None:
        """End writing; reading starts here."""
        self._writer.close()

    def take(self, rows: Iterable[int]) -> Iterator[tuple[int, Example]]:
        """Yield number and example of the given rows, which must ascend."""
        # No memory map: its pages would count as this process's memory.
        with pa.OSFile(str(self._path), "rb") as file:
            reader = pa.ipc.open_file(file)
            wanted: dict[int, list[int]] = {}
            for row in rows:
                wanted.setdefault(bisect_right(self._starts, row) - 1, []).append(row)
            for number, numbers in wanted.items():
                start = self._starts[number]
                batch = reader.get_batch(number)
                if len(numbers) < batch.num_rows:
                    batch = batch.take([row - start for row in numbers])
                columns = [batch.column(name).to_pylist() for name in self._schema.names]
                for row, values in zip(numbers, zip(*columns, strict=True), strict=True):
                    yield row, _make_example(*values)


def _make_example(
    example_id: str, prompt: str, response: str, source: str, category: str, support: list[str]
) -> Example:
    # One copy of a name that a million rows share.
    source, category = sys.intern(source), sys.intern(category)
    return Example(example_id, prompt, response, source, category, tuple(support))
