"""Progress on stderr: one bar for the run, one for the cell at work, each with its ETA."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Bars", "open_bars"]


class Bars:
    """The two bars of a run; without a `Progress` they stay silent."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._whole = progress.add_task("run", total=total) if progress else None

    def advance(self, amount: int) -> None:
        """Count work of the whole run as done."""
        if self._progress and self._whole is not None:
            self._progress.advance(self._whole, amount)

    @contextlib.contextmanager
    def cell(self, name: str) -> Iterator[Callable[[int, int | None, str], None]]:
        """Show one cell; yields `report(done more, total, note)`."""
        if not self._progress:
            yield lambda advance, total, note: None
            return
        progress = self._progress
        task = progress.add_task(name, total=None)

        def report(advance: int, total: int | None, note: str) -> None:
            progress.update(
                task, advance=advance, total=total, description=f"{name} {note}".rstrip()
            )

        try:
            yield report
        finally:
            progress.remove_task(task)


@contextlib.contextmanager
def open_bars(total: int, *, quiet: bool) -> Iterator[Bars]:
    """Yield the bars of a run of `total` units of work."""
    if quiet:
        yield Bars(None, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bars(progress, total)
