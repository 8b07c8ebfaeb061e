"""Recorded outputs of a teacher -> its answers to given prompts, matched by the prompt's text."""

from __future__ import annotations

from collections.abc import Sequence

from evals.errors import DataError
from imitate.config import OutputsTeacher
from imitate.data.files import FileLimits, read_rows

__all__ = ["read_outputs"]

_LIMITS = FileLimits(max_row_bytes=10_000_000)


def read_outputs(teacher: OutputsTeacher, prompts: Sequence[str]) -> list[str | None]:
    """Return the recorded output on each prompt, None where there is none.

    Prompts match when they differ in nothing but white space. Of several outputs on one prompt the
    first counts.

    Raises:
        DataError: The file cannot be read, lacks a column, or has no output on any prompt.
    """
    from imitate.data.card import SourceCard

    outputs: dict[str, str] = {}
    columns = (teacher.prompt_column, teacher.text_column)
    for number, row in read_rows(teacher.path, _LIMITS, SourceCard(teacher.path.name)):
        missing = [column for column in columns if column not in row]
        if missing:
            raise DataError(
                f"no column `{missing[0]}` in the teacher's outputs",
                where=f"{teacher.path}:{number}",
                hint=f"columns there: {', '.join(row)}",
            )
        outputs.setdefault(_key(str(row[columns[0]])), str(row[columns[1]]))
    found = [outputs.get(_key(prompt)) for prompt in prompts]
    if found and not any(found):
        raise DataError(
            f"`{teacher.path}` has an output for none of {len(prompts)} prompts",
            hint="outputs are matched by prompt: see `teacher.prompt_column`",
        )
    return found


def _key(prompt: str) -> str:
    return " ".join(prompt.split())
