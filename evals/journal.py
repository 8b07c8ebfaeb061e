"""What was spent, on disk: a line for each request sent, answered and ended; read again on start.

A line is written before the request that it is of, so that a process killed at any moment has
spent at most what stands there: what was sent and never ended counts as its worst case.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Literal

from evals.errors import RecordError, RunError

__all__ = ["Entry", "Journal"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """What became of one request; `sent` and `ended` have its worst case, `answered` its usage."""

    event: Literal["sent", "answered", "ended"]
    model: str
    prompt_tokens: int
    completion_tokens: int


@dataclasses.dataclass(frozen=True)
class Journal:
    """A file of entries that one process at a time adds to."""

    path: Path

    def append(self, entry: Entry) -> None:
        """Add an entry.

        Raises:
            RunError: It cannot be written; what is spent would not count after a restart.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dataclasses.asdict(entry)) + "\n")
        except OSError as error:
            raise RunError(f"cannot note what is spent in `{self.path}`: {error}") from error

    def read(self) -> list[Entry]:
        """Return all entries; a last line that was cut short is taken off the file.

        Raises:
            RecordError: A line is damaged, so that nobody knows what was spent.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        return [self._parse(line, n) for n, line in enumerate(whole.splitlines(), 1)]

    def _parse(self, line: bytes, number: int) -> Entry:
        try:
            return Entry(**json.loads(line))
        except (ValueError, TypeError):
            raise RecordError(
                "a line of what was spent cannot be read, so the budget cannot be kept",
                where=f"{self.path}:{number}",
                hint="mend the line, or remove the file to count from nothing",
            ) from None
