"""The note that a running endpoint leaves in its run's folder, by which `imitate spot` finds it.

It holds the key, so only its owner may read it; it is gone when the endpoint is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from evals.errors import UserError
from imitate.vllm.leftovers import is_running

__all__ = ["RunningEndpoint", "announced", "check_unserved", "find_running"]

SERVE_FILE = "serve.json"


@dataclasses.dataclass(frozen=True)
class RunningEndpoint:
    """Where an endpoint runs, `url` up to `/v1`, and the process that runs it.

    `started` is the process's start in seconds since the epoch: a process that got the number of
    one that is gone has another.
    """

    url: str
    key: str = dataclasses.field(repr=False)
    pid: int
    started: float


def find_running(folder: Path) -> RunningEndpoint | None:
    """Return the endpoint that serves a run; a note whose process is gone is removed."""
    path = folder / SERVE_FILE
    try:
        noted = RunningEndpoint(**json.loads(path.read_text(encoding="utf-8")))
    except OSError:  # there is none, or it is somebody else's
        return None
    except (ValueError, TypeError):
        noted = None
    if noted and is_running(noted.pid, noted.started):
        return noted
    path.unlink(missing_ok=True)
    return None


def check_unserved(folder: Path) -> None:
    """Raise a `UserError` where a process serves a run already."""
    if other := find_running(folder):
        raise UserError(
            f"`{folder}` is served already, at {other.url} by process {other.pid}",
            hint="ask that one, or stop it first",
        )


@contextlib.contextmanager
def announced(folder: Path, url: str, key: str) -> Iterator[None]:
    """Keep the note in a run's folder while this process serves it.

    Raises:
        UserError: Another process serves it already.
    """
    check_unserved(folder)
    pid = os.getpid()
    note = RunningEndpoint(url, key, pid, psutil.Process(pid).create_time())
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{SERVE_FILE}.{pid}.partial"
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(dataclasses.asdict(note), indent=1), encoding="utf-8")
    partial.replace(folder / SERVE_FILE)
    try:
        yield
    finally:
        (folder / SERVE_FILE).unlink(missing_ok=True)
