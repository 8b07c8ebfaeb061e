"""What raters send back -> who said what, checked against the key.

Two kinds of file: the JSON that the page saves, and the filled `rate.csv`. Files are only read;
every fault of every file is told at once, and then nothing is written.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from evals.errors import DataError
from evals.judges.verdicts import Winner
from imitate.rating.exporting import COLUMNS
from imitate.rating.sheet import Key

__all__ = ["KIND", "Filled", "read_filled"]

KIND = "imitate ratings"
SCHEMA_VERSION = 1
MAX_NAME = 60
SHOWN_FAULTS = 12
RESERVED = "majority"

_WORDS = {
    "a": Winner.A,
    "1": Winner.A,
    "b": Winner.B,
    "2": Winner.B,
    "equal": Winner.TIE,
    "tie": Winner.TIE,
    "=": Winner.TIE,
    "3": Winner.TIE,
}


@dataclasses.dataclass(frozen=True)
class Filled:
    """What one rater said.

    Attributes:
        rater: The name given.
        answers: By id of the page; what was left open is missing.
        path: The file.
        sha256: Its hash.
        median_s: Median seconds from one answer to the next; None of a table.
    """

    rater: str
    answers: Mapping[str, Winner]
    path: Path
    sha256: str
    median_s: float | None = None


@dataclasses.dataclass(frozen=True)
class _Line:
    """One answer as it stands in a file."""

    where: str
    page: str
    id: str
    word: str


class _Fault(Exception):
    """A file cannot be read at all."""


def read_filled(paths: Sequence[Path], key: Key) -> list[Filled]:
    """Return what every file's rater said, in the order of the files.

    Raises:
        DataError: A file cannot be read, belongs to another page, names an id that the page lacks
            or one twice, has a word that is no choice, or a rater comes twice.
    """
    found, faults = [], []
    for path in paths:
        try:
            one, wrong = _read(path, key)
        except _Fault as fault:
            faults.append(f"{path}: {fault}")
            continue
        found.append(one)
        faults += [f"{path}: {fault}" for fault in wrong]
    faults += _doubled_raters(found)
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults[:SHOWN_FAULTS])
        rest = f"\n  and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise DataError(
            f"the ratings cannot be used as they are:\n{shown}{rest}",
            hint="nothing was written and no file was changed: mend them and import all again",
        )
    return found


def _read(path: Path, key: Key) -> tuple[Filled, list[str]]:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise _Fault(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _Fault("is not UTF-8; save the sheet as CSV UTF-8") from None
    if text.lstrip().startswith("{"):
        name, lines, median_s = _from_json(text)
    else:
        name, lines = _from_table(text)
        median_s = None
    rater = _clean_name(name)
    answers, faults = _checked(lines, key)
    return Filled(rater, answers, path, hashlib.sha256(content).hexdigest(), median_s), faults


def _from_json(text: str) -> tuple[str, list[_Line], float | None]:
    try:
        told: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise _Fault(f"is not whole JSON: {error}") from None
    if told.get("kind") != KIND or told.get("schema_version") != SCHEMA_VERSION:
        raise _Fault("is not what a rating page of this version saves")
    try:
        page, rater, answers = str(told["page_id"]), str(told["rater"]), told["answers"]
        lines = [
            _Line(f"answer {number}", page, str(one["id"]), str(one["choice"]))
            for number, one in enumerate(answers, 1)
        ]
        times = sorted(datetime.fromisoformat(one["at"]) for one in answers)
    except (KeyError, TypeError, ValueError) as error:
        raise _Fault(f"lacks a part of what the page saves: {error!r}") from None
    return rater, lines, _median_gap(times)


def _from_table(text: str) -> tuple[str, list[_Line]]:
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise _Fault(f"is not whole CSV: {error}") from None
    needed = {"page", "id", "better", "rater"}
    missing = sorted(needed - set(reader.fieldnames or ()))
    if missing:
        raise _Fault(f"has no column {', '.join(missing)}: rate.csv has {', '.join(COLUMNS)}")
    names = {value for row in rows if (value := _cell(row, "rater"))}
    if len(names) != 1:
        told = f"has several raters ({', '.join(sorted(names))})" if names else "names no rater"
        raise _Fault(f"{told}: write one name into the column `rater`, in one row or in all")
    return names.pop(), [
        _Line(f"row {number}", _cell(row, "page"), _cell(row, "id"), _cell(row, "better"))
        for number, row in enumerate(rows, 2)
        if any(_cell(row, column) for column in ("page", "id", "better"))
    ]


def _cell(row: Mapping[str, Any], column: str) -> str:
    return str(row[column] or "").strip()


def _checked(lines: Iterable[_Line], key: Key) -> tuple[dict[str, Winner], list[str]]:
    """Return the answers that stand, and what is wrong with the others."""
    listed = list(lines)
    pages = Counter(line.page for line in listed)
    other = [page for page in pages if page != key.page_id]
    if other:
        raise _Fault(f"belongs to page {other[0] or '(none)'}, the key to page {key.page_id}")
    answers: dict[str, Winner] = {}
    known, seen = {pair.id for pair in key.pairs}, set[str]()
    faults: list[str] = []
    for line in listed:
        faults += _faults(line, known, seen)
        seen.add(line.id)
        if line.word.lower() in _WORDS:
            answers[line.id] = _WORDS[line.word.lower()]
    return answers, faults


def _faults(line: _Line, known: Collection[str], seen: Collection[str]) -> Iterator[str]:
    if line.id not in known:
        yield f"{line.where} has the id `{line.id[:40]}`, which the page does not know"
    elif line.id in seen:
        yield f"{line.where} answers `{line.id}` a second time"
    if line.word and line.word.lower() not in _WORDS:
        yield f"{line.where} says `{line.word[:40]}`, which is none of a, b, equal"


def _doubled_raters(found: Sequence[Filled]) -> list[str]:
    first: dict[str, Path] = {}
    faults = []
    for one in found:
        known = first.setdefault(one.rater.casefold(), one.path)
        if known is not one.path:
            faults.append(
                f"{one.path}: `{one.rater}` has rated in {known} too: give the file that counts, "
                "or set two people's names apart"
            )
    return faults


def _clean_name(name: str) -> str:
    plain = "".join(c for c in unicodedata.normalize("NFC", name) if c.isprintable())
    clean = re.sub(r"\s+", " ", plain).strip()
    if not clean:
        raise _Fault("names no rater")
    if len(clean) > MAX_NAME:
        raise _Fault(f"names a rater in more than {MAX_NAME} characters")
    if clean.casefold() == RESERVED:
        raise _Fault(f"names the rater `{clean}`, which is kept for the majority of all")
    return clean


def _median_gap(times: Sequence[datetime]) -> float | None:
    gaps = [(late - early).total_seconds() for early, late in itertools.pairwise(times)]
    return round(statistics.median(gaps), 1) if gaps else None
