"""What a stage is given: its inputs, its output folder, an endpoint where it asks for one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from evals.endpoint import Endpoint, Progress
from evals.records import Completion, Example, Item, Score, read_records, write_records
from imitate.plan import Plan
from imitate.store import FinishedCell

if TYPE_CHECKING:
    from imitate.engine import Engine

__all__ = ["Workplace"]

R = TypeVar("R", Completion, Example, Score)


@dataclasses.dataclass(frozen=True)
class Workplace:
    """One cell's surroundings.

    `folder` takes the output; `work` survives a kill; `logs` lie with the run.
    `report(advance, total, note)` moves the cell's progress bar. `endpoint` opens the group's
    endpoint when it is first called; `in_process` does the same in this process, whatever serves
    the run, with adapters acting unmerged.
    """

    plan: Plan
    done: Mapping[str, FinishedCell]
    endpoint: Callable[[], Endpoint]
    in_process: Callable[[], Engine]
    folder: Path
    work: Path
    logs: Path
    report: Callable[[int, int | None, str], None]

    def input(self, cell: str) -> Path:
        """Return the folder of a finished cell."""
        return self.done[cell].folder

    def items(self, task: str) -> list[Item]:
        """Return the items of a task: those that score, then development items."""
        return read_records(self.input(f"items/{task}") / "items.parquet", Item)

    def resume(self, part: str, make: Callable[[], Sequence[R]], kind: type[R]) -> list[R]:
        """Return the records of a part of the cell: those from before a kill, else made now."""
        kept = self.work / f"{part}.parquet"
        if kept.is_file():
            found = read_records(kept, kind)
            self.report(len(found), None, "")
            return found
        partial = kept.with_suffix(".partial")
        write_records(partial, make(), kind)
        partial.replace(kept)
        return read_records(kept, kind)

    def progress(self, total: int) -> Progress:
        """Return a callback that moves the cell's bar towards `total`."""
        self.report(0, total, "")
        return lambda n: self.report(n, total, "")
