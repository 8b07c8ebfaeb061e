"""Probes in tests: run as a user does, or stopped as if killed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from imitate.cli import main
from imitate.progress import Bars

__all__ = ["Stop", "Stopping", "results", "run"]


def run(config: Path, runs: Path, *more: str) -> int:
    """Run a probe and return its exit code."""
    return main(["run", str(config), "--runs", str(runs), "--quiet", *more])


def results(runs: Path) -> dict[str, Any]:
    """Return the results of the run `small`."""
    found: dict[str, Any] = json.loads((runs / "small" / "results.json").read_text("utf-8"))
    return found


class Stop(Exception):
    """Stands for a kill."""


class Stopping(Bars):
    """Bars that stop the run at the n-th report."""

    def __init__(self, after: int) -> None:
        super().__init__(None, 0)
        self.left = after

    @contextlib.contextmanager
    def cell(self, name: str) -> Iterator[Callable[[int, int | None, str], None]]:
        """Yield what counts reports."""
        yield self._count

    def _count(self, *_: object) -> None:
        self.left -= 1
        if self.left < 0:
            raise Stop
