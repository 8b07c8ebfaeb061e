"""Local files to rows: JSONL, JSON, CSV, TSV and Parquet, gzipped or not, in bounded memory.

A row is its number and its values by column. Numbers are line numbers, for Parquet row numbers from
1, so that every complaint names its place. No line or array element above `max_row_bytes` is ever
held in memory; unreadable ones are errors, unless `max_bad_lines` lets them pass, counted.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from evals.errors import DataError
from imitate.data.arrays import ArrayCutter
from imitate.data.card import SourceCard

__all__ = ["FileLimits", "Row", "bad_line", "hash_file", "read_rows"]

Row = dict[str, Any]

_KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_CHUNK_BYTES = 1 << 20
_BATCH_BYTES = 16_000_000  # of Parquet, decoded at a time
_GZIP_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class FileLimits:
    """What a reader puts up with."""

    max_row_bytes: int
    max_bad_lines: int = 0


def read_rows(path: Path, limits: FileLimits, card: SourceCard) -> Iterator[tuple[int, Row]]:
    """Yield the number and the values of each row; what is skipped is counted on the card.

    Raises:
        DataError: The file is missing, of no known type, damaged, or has an unreadable line.
    """
    kind = _recognise_kind(path)
    try:
        if kind == "parquet":
            yield from _read_parquet(path, limits, card)
            return
        with _open(path) as stream:
            if kind == "json":
                yield from _read_array(stream, path, limits, card)
            elif kind == "jsonl":
                yield from _read_json_lines(stream, path, limits, card)
            else:
                yield from _read_csv(stream, path, limits, card, "\t" if kind == "tsv" else ",")
    except _GZIP_ERRORS as error:
        raise _damaged_gzip(path, error, card.rows) from None


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, in hex.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise DataError(
            f"no such file: {path}",
            where=str(path),
            hint=f"a relative path starts at the working directory, {Path.cwd()}",
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", where=str(path)) from None


def bad_line(why: str, path: Path | str, number: int, limits: FileLimits, card: SourceCard) -> None:
    """Count an unreadable line.

    Raises:
        DataError: More lines are unreadable than may be.
    """
    card.bad_lines += 1
    if card.bad_lines > limits.max_bad_lines:
        allowed = f"; `data.max_bad_lines` allows {limits.max_bad_lines}"
        raise DataError(
            f"line {number} {why}" + (allowed if limits.max_bad_lines else ""),
            where=f"{path}:{number}",
            hint="mend the line, or let `data.max_bad_lines` say how many may be skipped",
        )


def _recognise_kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = _KINDS.get(suffixes[-1] if suffixes else "", "")
    if not path.is_file():
        hash_file(path)
    if kind == "parquet":
        return kind
    with _open(path) as stream:
        try:
            head = stream.read(4096)
        except _GZIP_ERRORS as error:
            raise _damaged_gzip(path, error, 0) from None
    if head[:4] == b"PAR1":
        return "parquet"
    start = head.removeprefix(_BOM).lstrip()[:1]
    if kind in ("", "jsonl"):
        kind = {b"[": "json", b"{": "jsonl"}.get(start, kind)
    if not kind:
        raise DataError(
            f"cannot tell what kind of file {path.name} is",
            where=str(path),
            hint="known are .jsonl, .json, .csv, .tsv and .parquet, each also with .gz",
        )
    return kind


def _damaged_gzip(path: Path, error: Exception, n_rows: int) -> DataError:
    return DataError(
        f"{path.name} is a damaged gzip file: {error}",
        where=f"{path}, after {n_rows:,} rows",
        hint="it was probably cut short while it was copied; fetch it again",
    )


def _open(path: Path) -> IO[bytes]:
    stream = path.open("rb")
    if stream.peek(2)[:2] != b"\x1f\x8b":
        return stream
    stream.close()
    return gzip.open(path, "rb")  # type: ignore[return-value]


def _read_json_lines(
    stream: IO[bytes], path: Path, limits: FileLimits, card: SourceCard
) -> Iterator[tuple[int, Row]]:
    for number, line in _lines(stream, limits, card):
        if line.strip() and (row := _parse(line, path, number, limits, card)) is not None:
            yield number, row


def _read_array(
    stream: IO[bytes], path: Path, limits: FileLimits, card: SourceCard
) -> Iterator[tuple[int, Row]]:
    cutter = ArrayCutter(limits.max_row_bytes)
    while chunk := stream.read(_CHUNK_BYTES):
        for number, element in cutter.feed(chunk):
            if element is None:
                card.oversize_rows += 1
            elif (row := _parse(element, path, number, limits, card)) is not None:
                yield number, row
    if not cutter.is_closed:
        raise DataError(
            f"{path.name} ends inside the row that starts at line {cutter.line}",
            where=f"{path}:{cutter.line}",
            hint="a quotation mark or bracket is missing there, or the file was cut short",
        )


def _lines(stream: IO[bytes], limits: FileLimits, card: SourceCard) -> Iterator[tuple[int, bytes]]:
    """Yield numbered lines; one above the limit comes out as an empty line, and is counted."""
    number = 0
    while line := stream.readline(limits.max_row_bytes + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)
        if len(line) > limits.max_row_bytes:
            card.oversize_rows += 1
            while not line.endswith(b"\n") and (line := stream.readline(_CHUNK_BYTES)):
                pass
            line = b"\n"
        yield number, line


def _parse(
    line: bytes, path: Path, number: int, limits: FileLimits, card: SourceCard
) -> Row | None:
    try:
        row = json.loads(_decode(line.strip()))
        if isinstance(row, dict):
            return row
        why = f"holds {_kind_of(row)}, not an object with columns"
    except UnicodeDecodeError as error:
        why = _describe_encoding(error)
    except json.JSONDecodeError as error:
        why = f"is not JSON: {error.msg} at character {error.pos + 1}"
    except (RecursionError, ValueError) as error:
        why = f"is not JSON: {error}"
    bad_line(why, path, number, limits, card)
    return None


def _decode(line: bytes) -> str:
    return line.decode("utf-8")


def _describe_encoding(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    return f"is not UTF-8: byte 0x{byte:02x} at byte {error.start + 1}"


def _kind_of(value: object) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _read_csv(
    stream: IO[bytes], path: Path, limits: FileLimits, card: SourceCard, delimiter: str
) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(max(csv.field_size_limit(), limits.max_row_bytes))
    reader = csv.reader(_csv_lines(stream, path, limits, card), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        number, n_oversize = reader.line_num + 1, card.oversize_rows
        try:
            values = next(reader, None)
        except csv.Error as error:
            bad_line(f"is not CSV: {error}", path, number, limits, card)
            continue
        if values is None:
            return
        if not values or card.oversize_rows > n_oversize:
            continue
        if not header:
            header = values
        elif len(values) == len(header):
            yield number, dict(zip(header, values, strict=True))
        else:
            why = f"has {len(values)} fields, the header has {len(header)}"
            bad_line(why, path, number, limits, card)


def _csv_lines(
    stream: IO[bytes], path: Path, limits: FileLimits, card: SourceCard
) -> Iterator[str]:
    for number, line in _lines(stream, limits, card):
        try:
            yield _decode(line)
        except UnicodeDecodeError as error:
            bad_line(_describe_encoding(error), path, number, limits, card)
            yield "\n"


def _read_parquet(path: Path, limits: FileLimits, card: SourceCard) -> Iterator[tuple[int, Row]]:
    number = 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = pq.ParquetFile(_plain_parquet(path, Path(folder)))
            for group in range(file.num_row_groups):
                about = file.metadata.row_group(group)
                row_bytes = max(1, about.total_byte_size // max(1, about.num_rows))
                batch_rows = min(4096, max(1, _BATCH_BYTES // row_bytes))
                for batch in file.iter_batches(batch_size=batch_rows, row_groups=[group]):
                    for row in batch.to_pylist():
                        number += 1
                        if _n_bytes(row) > limits.max_row_bytes:
                            card.oversize_rows += 1
                        else:
                            yield number, row
        except pa.ArrowException as error:
            raise DataError(
                f"{path.name} cannot be read as Parquet: {error}",
                where=f"{path}, after {number:,} rows",
            ) from None


def _plain_parquet(path: Path, folder: Path) -> Path:
    """Return a file that can be read from its end: Parquet keeps its table of contents there."""
    with _open(path) as stream:
        if not isinstance(stream, gzip.GzipFile):
            return path
        with (folder / "plain.parquet").open("wb") as plain:
            shutil.copyfileobj(stream, plain, _CHUNK_BYTES)
    return folder / "plain.parquet"


def _n_bytes(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_n_bytes, value.values()))
    return sum(map(_n_bytes, value)) if isinstance(value, list) else 8
