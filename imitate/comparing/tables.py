"""A table of scores, in any format that data files may have -> a `ScoreLog`."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from evals.comparing.logs import ScoredItem, ScoreLog, TaskLog
from evals.errors import DataError
from imitate.data.card import SourceCard
from imitate.data.files import FileLimits, read_rows

__all__ = ["Columns", "read_table"]

_LIMITS = FileLimits(max_row_bytes=10_000_000)
_TASK, _PROMPT = "task", "prompt"
_WORDS = {"true": 1.0, "false": 0.0, "": math.nan}


@dataclasses.dataclass(frozen=True)
class Columns:
    """Names of columns; a task's and a cluster's need not be there unless they are named."""

    item_id: str = "id"
    score: str = "score"
    task: str = ""
    cluster: str = ""


def read_table(path: Path, columns: Columns) -> ScoreLog:
    """Return the scores of a table.

    A column `task` splits it into tasks, and a column `prompt` is compared, if they are there. An
    empty score is a call that failed.

    Raises:
        DataError: The file cannot be read, lacks a column, or has a score outside [0, 1].
    """
    tasks: dict[str, list[ScoredItem]] = {}
    for number, row in read_rows(path, _LIMITS, SourceCard(path.name)):
        where = f"{path}:{number}"
        task = str(_cell(row, columns.task, where) if columns.task else row.get(_TASK, "scores"))
        item_id = str(_cell(row, columns.item_id, where))
        # tasks may number their items alike, which makes them no cluster
        cluster = f"{task} {item_id}"
        if columns.cluster:
            cluster = str(_cell(row, columns.cluster, where))
        value = _value(_cell(row, columns.score, where), columns.score, where)
        item = ScoredItem(item_id, value, cluster, str(row.get(_PROMPT) or ""))
        tasks.setdefault(task, []).append(item)
    if not tasks:
        raise DataError(f"no rows in {path.name}", where=str(path))
    return ScoreLog(
        path.name,
        {task: TaskLog(columns.score, tuple(items)) for task, items in tasks.items()},
        f"the table {path}",
    )


def _cell(row: dict[str, Any], column: str, where: str) -> Any:
    if column not in row:
        raise DataError(
            f"no column `{column}`",
            where=where,
            hint=f"there are: {', '.join(row)}; --id, --score, --task and --cluster name columns",
        )
    return row[column]


def _value(cell: Any, column: str, where: str) -> float:
    text = "" if cell is None else str(cell).strip()
    try:
        value = _WORDS[text.lower()] if text.lower() in _WORDS else float(text)
    except ValueError:
        value = math.inf
    if math.isnan(value) or 0 <= value <= 1:
        return value
    raise DataError(
        f"`{column}` is {text!r}: a score is a number in [0, 1], or empty where the call failed",
        where=where,
        hint="divide by the largest possible score",
    )
