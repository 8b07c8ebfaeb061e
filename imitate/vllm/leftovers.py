"""Servers that a killed run left behind -> found by the next one, and stopped.

Every server is noted, while it runs, in a file of the user's cache: its process and the one that
started it, each with the moment of its start, since numbers of processes are used again. Where the
owner is gone, the server's whole process group is ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from imitate.hashing import cache_folder

__all__ = ["group_members", "is_running", "noted", "stop_group", "stop_leftovers"]

_log = logging.getLogger(__name__)

GRACE_S = 15.0
"""How long a server may take to stop by itself."""
_SAME_START_S = 2.0
"""Starts that differ by less are one: they are told relative to a clock that is corrected."""


@dataclasses.dataclass(frozen=True)
class _Note:
    """Who runs and who started it: process numbers, and starts in seconds since the epoch."""

    pid: int
    started: float
    owner: int
    owner_started: float


@contextlib.contextmanager
def noted(pid: int) -> Iterator[None]:
    """Keep a note of a server, which leads a process group, while it runs."""
    me = psutil.Process()
    note = _Note(pid, psutil.Process(pid).create_time(), me.pid, me.create_time())
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{pid}.json"
    path.write_text(json.dumps(dataclasses.asdict(note)), encoding="utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def stop_leftovers() -> int:
    """Stop the servers whose owners are gone, and return how many there were."""
    stopped = 0
    for path in sorted(_folder().glob("*.json")):
        try:
            note = _Note(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # cut off by a kill: nothing to go by
            path.unlink(missing_ok=True)
            continue
        if is_running(note.owner, note.owner_started):
            continue
        if _is_ours(note):
            _log.warning("stopping a model server that a killed run left behind (%d)", note.pid)
            stop_group(note.pid)
            stopped += 1
        path.unlink(missing_ok=True)
    return stopped


def stop_group(pid: int) -> None:
    """End a process group: ask all of it first, then end what is left of it."""
    _signal(pid, signal.SIGTERM)
    if not _wait_for_end(pid, GRACE_S):
        _signal(pid, signal.SIGKILL)
        _wait_for_end(pid, GRACE_S)


def group_members(pid: int) -> list[psutil.Process]:
    """Return the processes of a group that still run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _folder() -> Path:
    return cache_folder() / "servers"


def _is_ours(note: _Note) -> bool:
    """Return whether anything of the server runs: a group keeps its number until its last end."""
    is_reused = psutil.pid_exists(note.pid) and not is_running(note.pid, note.started)
    return not is_reused and bool(group_members(note.pid))


def is_running(pid: int, started: float) -> bool:
    """Return whether the process runs that had this number and start, and no later one."""
    try:
        process = psutil.Process(pid)
        is_same = bool(abs(process.create_time() - started) < _SAME_START_S)
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:  # gone, or another user's, so not ours
        return False


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _wait_for_end(pid: int, timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if not group_members(pid):
            return True
        time.sleep(0.1)
    return False
