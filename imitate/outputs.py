"""Recorded outputs -> an arm's answers to given prompts, matched by the prompt's text or by id."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from evals.errors import DataError
from imitate.config import RecordedOutputs
from imitate.data.card import SourceCard
from imitate.data.files import FileLimits, read_rows

__all__ = ["read_outputs"]

_LIMITS = FileLimits(max_row_bytes=10_000_000)


def read_outputs(
    recorded: RecordedOutputs, asked: Sequence[str], *, among: Sequence[str] = ()
) -> list[str | None]:
    """Return the recorded output on each prompt, None where there is none.

    Prompts match when they differ in nothing but white space. Of several outputs on one prompt the
    first counts.

    Args:
        recorded: Where the outputs are.
        asked: Prompts, such as those of one shard of a task; ids, where outputs go by id.
        among: All prompts of that task: a shard may be without outputs, the task may not.

    Raises:
        DataError: The file cannot be read, lacks a column, or has no output on any prompt.
    """
    whole = among or asked
    about = recorded.path.stat() if recorded.path.is_file() else None
    version = (about.st_mtime_ns, about.st_size) if about else None
    key_column = recorded.id_column or recorded.prompt_column
    outputs = _outputs(recorded.path, key_column, recorded.text_column, version)
    if whole and not any(outputs.get(_key(prompt)) for prompt in whole):
        by = "id: see `id_column`" if recorded.id_column else "prompt: see `prompt_column`"
        raise DataError(
            f"`{recorded.path}` has an output for none of {len(whole)} prompts",
            hint=f"outputs are matched by {by} of the outputs",
        )
    return [outputs.get(_key(prompt)) for prompt in asked]


@lru_cache(maxsize=1)
def _outputs(
    path: Path, key_column: str, text_column: str, version: tuple[int, int] | None
) -> dict[str, str]:
    """Return the outputs by prompt; a file is read once for all shards, unless it changes."""
    outputs: dict[str, str] = {}
    for number, row in read_rows(path, _LIMITS, SourceCard(path.name)):
        missing = [column for column in (key_column, text_column) if column not in row]
        if missing:
            raise DataError(
                f"no column `{missing[0]}` in the recorded outputs",
                where=f"{path}:{number}",
                hint=f"columns there: {', '.join(row)}",
            )
        if row[text_column] is not None:
            outputs.setdefault(_key(str(row[key_column])), str(row[text_column]))
    return outputs


def _key(prompt: str) -> str:
    return " ".join(prompt.split())
