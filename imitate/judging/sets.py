"""Benchmarks by name, and files by columns -> pairs with labels.

Two sets are known by name, as their authors publish them: LLMBar, and the human majority of
MT-bench that comes with it. Everything else is a file and the names of its columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals.errors import DataError
from evals.judges.pairs import Pair
from imitate.config import (
    FilePairs,
    LabConfig,
    LlmBarPairs,
    MtBenchPairs,
    ProbePairs,
    VerdictWords,
)
from imitate.data.card import SourceCard
from imitate.data.files import FileLimits, Row, read_rows
from imitate.data.formats import to_text

__all__ = ["llmbar_folder", "read_llmbar_file", "read_pairs", "read_word", "table_rows", "text_in"]

ONE, OTHER = "output_1", "output_2"
"""Arms of pairs whose authors are not told."""

_LIMITS = FileLimits(max_row_bytes=10_000_000)


def read_pairs(
    config: LlmBarPairs | MtBenchPairs | FilePairs | ProbePairs, lab: LabConfig
) -> list[Pair]:
    """Return the pairs of a set.

    Args:
        config: The set.
        lab: The embedded world, where probes ask about it.

    Raises:
        DataError: A file is missing, lacks a column, or has a label that cannot be read.
    """
    match config:
        case LlmBarPairs():
            return [
                pair
                for subset in config.subsets
                for pair in _llmbar(llmbar_folder(config.path, subset) / "dataset.json", subset)
            ]
        case MtBenchPairs():
            return list(_llmbar(config.path / "Processed" / "MT-Bench" / "dataset.json", ""))
        case FilePairs():
            return [
                _pair(config, number, row) for number, row in table_rows(config.path, config.rows)
            ]
        case ProbePairs():
            from imitate.judging.probing import probe_pairs

            return probe_pairs(config, lab)


def llmbar_folder(root: Path, subset: str) -> Path:
    """Return the folder of one of LLMBar's subsets."""
    return root / "LLMBar" / (subset if subset == "Natural" else f"Adversarial/{subset}")


def table_rows(path: Path, at_most: int | None) -> Iterator[tuple[int, Row]]:
    """Yield the number and the values of each row of a file, as many as are wanted.

    Raises:
        DataError: The file is missing, of no known type, or damaged.
    """
    for taken, found in enumerate(read_rows(path, _LIMITS, SourceCard(path.name))):
        if taken == at_most:
            return
        yield found


def read_word(words: VerdictWords, row: Row, column: str, where: str) -> float | None:
    """Return which answer a column names: 1, 0, 0.5 for neither; None where it is empty.

    Raises:
        DataError: There is no such column, or its word is not known.
    """
    word = text_in(row, column, where).strip().lower()
    if not word:
        return None
    for value, known in ((1.0, words.answer), (0.0, words.other), (0.5, words.tie)):
        if word in (one.lower() for one in known):
            return value
    raise DataError(
        f"`{column}` says `{word[:80]}`, which names neither answer",
        where=where,
        hint="say in `pairs.words` how the table names them",
    )


def _pair(config: FilePairs, number: int, row: Row) -> Pair:
    where = f"{config.path}:{number}"

    def value(column: str | None, otherwise: str = "") -> str:
        return text_in(row, column, where) if column else otherwise

    prompt = value(config.prompt_column)
    label = config.label_column
    return Pair(
        pair_id=value(config.id_column, str(number)),
        prompt=prompt,
        answer=value(config.answer_column),
        other_answer=value(config.other_column),
        arm=value(config.arm_column, "answer"),
        against=value(config.against_column, "other"),
        label=read_word(config.words, row, label, where) if label else None,
        cluster_id=value(config.cluster_column, prompt),
        group=value(config.group_column),
        reference=value(config.reference_column),
    )


def text_in(row: Row, column: str, where: str) -> str:
    """Return the text in a column.

    Raises:
        DataError: There is no such column, or no text in it.
    """
    if column not in row:
        raise DataError(
            f"no column `{column}`", where=where, hint=f"columns there: {', '.join(row)}"
        )
    try:
        return to_text(row[column])
    except ValueError as error:
        raise DataError(f"`{column}` {error}", where=where) from None


def _llmbar(path: Path, group: str) -> Iterator[Pair]:
    for number, row in enumerate(read_llmbar_file(path)):
        yield Pair(
            pair_id=f"{group}/{number:03}" if group else f"{number:03}",
            prompt=row["input"],
            answer=row["output_1"],
            other_answer=row["output_2"],
            arm=ONE,
            against=OTHER,
            label=float(str(row["label"]) == "1"),
            group=group,
        )


def read_llmbar_file(path: Path) -> list[dict[str, Any]]:
    """Return the rows of one of LLMBar's files.

    Raises:
        DataError: It is missing, or not what LLMBar publishes.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror}",
            where=str(path),
            hint="`pairs.path` is the folder `Dataset` of github.com/princeton-nlp/LLMBar",
        ) from None
    except ValueError as error:
        raise DataError(f"not JSON: {error}", where=str(path)) from None
    needed = {"input", "output_1", "output_2", "label"}
    if not isinstance(rows, list) or not all(needed <= set(row) for row in rows):
        raise DataError(
            f"not a file of LLMBar's: every row needs {', '.join(sorted(needed))}", where=str(path)
        )
    return rows
