"""Recorded outputs of a teacher -> its answers to given prompts, matched by the prompt's text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from evals.errors import DataError
from imitate.config import OutputsTeacher
from imitate.data.card import SourceCard
from imitate.data.files import FileLimits, read_rows

__all__ = ["read_outputs"]

_LIMITS = FileLimits(max_row_bytes=10_000_000)


def read_outputs(
    teacher: OutputsTeacher, prompts: Sequence[str], *, among: Sequence[str] = ()
) -> list[str | None]:
    """Return the recorded output on each prompt, None where there is none.

    Prompts match when they differ in nothing but white space. Of several outputs on one prompt the
    first counts.

    Args:
        teacher: Where the outputs are.
        prompts: What is asked, such as one shard of a task.
        among: All prompts of that task: a shard may be without outputs, the task may not.

    Raises:
        DataError: The file cannot be read, lacks a column, or has no output on any prompt.
    """
    asked = among or prompts
    about = teacher.path.stat() if teacher.path.is_file() else None
    version = (about.st_mtime_ns, about.st_size) if about else None
    outputs = _outputs(teacher.path, teacher.prompt_column, teacher.text_column, version)
    if asked and not any(outputs.get(_key(prompt)) for prompt in asked):
        raise DataError(
            f"`{teacher.path}` has an output for none of {len(asked)} prompts",
            hint="outputs are matched by prompt: see `teacher.prompt_column`",
        )
    return [outputs.get(_key(prompt)) for prompt in prompts]


@lru_cache(maxsize=1)
def _outputs(
    path: Path, prompt_column: str, text_column: str, version: tuple[int, int] | None
) -> dict[str, str]:
    """Return the outputs by prompt; a file is read once for all shards, unless it changes."""
    outputs: dict[str, str] = {}
    for number, row in read_rows(path, _LIMITS, SourceCard(path.name)):
        missing = [column for column in (prompt_column, text_column) if column not in row]
        if missing:
            raise DataError(
                f"no column `{missing[0]}` in the teacher's outputs",
                where=f"{path}:{number}",
                hint=f"columns there: {', '.join(row)}",
            )
        outputs.setdefault(_key(str(row[prompt_column])), str(row[text_column]))
    return outputs


def _key(prompt: str) -> str:
    return " ".join(prompt.split())
