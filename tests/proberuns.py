"""Probes in tests: a run that stands for a killed one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from imitate.progress import Bars

__all__ = ["Stop", "Stopping"]


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
