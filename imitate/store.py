"""Finished cells: written whole or not at all, checked on reading, shared between runs.

A cell is a folder of files under its fingerprint, with a manifest of their hashes. It is written
beside its place and renamed into it, so a kill at any moment leaves either nothing or all of it.
Scratch that should survive a kill (training checkpoints) lies in the cell's work folder until then.

    RUNS/.store/cells/STAGE/FINGERPRINT/    files, and cell.json with their hashes
    RUNS/.store/work/FINGERPRINT/           what an interrupted cell resumes from
    RUNS/.store/locks/FINGERPRINT.lock      one writer at a time
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from evals.errors import RunError

__all__ = ["FinishedCell", "Store", "file_hash", "fingerprint", "library_versions", "source_hash"]

MANIFEST = "cell.json"
TIMING_PREFIX = "timing"
"""Files whose name starts so hold clocks and speeds: kept and checked, but no part of a digest."""

_ROOT = Path(__file__).resolve().parent.parent
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FinishedCell:
    """A cell as it lies on disk. `digest` covers the content of its files, but for timing."""

    folder: Path
    digest: str
    seconds: float


class Store:
    """Cells under one folder; several runs may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._checked: dict[str, FinishedCell] = {}

    def find(self, stage: str, key: str) -> FinishedCell | None:
        """Return a finished cell whose files are as they were written, or None.

        A cell with a changed or missing file counts as none, with a warning: it will be computed
        again, and replaced.

        Raises:
            RunError: The disk does not let it be read, which says nothing about the cell.
        """
        if key in self._checked:
            return self._checked[key]
        folder = self._folder(stage, key)
        try:
            if not folder.is_dir():
                return None
            cell = _read_checked(folder)
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s %s is damaged (%s): computing it again", stage, key[:12], error)
            return None
        except OSError as error:
            raise RunError(
                f"a finished cell cannot be read: {error}; it may well be whole: see to the "
                f"permissions and the disk of {self.root}, and give the same command again"
            ) from error
        self._checked[key] = cell
        return cell

    def compute(
        self,
        stage: str,
        key: str,
        write: Callable[[Path, Path], None],
        about: Mapping[str, Any],
        *,
        anew: bool = False,
    ) -> tuple[FinishedCell, bool]:
        """Return a cell and whether it was computed now, by `write(output folder, work folder)`.

        Another process that computes the same cell is waited for. With `anew`, a finished cell is
        computed all the same, from its beginning; it stays in its place until the new one is whole,
        as another run may be reading it.

        Raises:
            RunError: The disk is full, or the store cannot be written.
        """
        with _disk_errors(self.root), self._locked(key):
            if not anew and (found := self.find(stage, key)):
                return found, False
            work = self.root / "work" / key
            if anew:
                shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True, exist_ok=True)
            folder = self._folder(stage, key)
            folder.parent.mkdir(parents=True, exist_ok=True)
            started = time.perf_counter()
            with _scratch(folder.with_name(f".writing-{key}")) as scratch:
                write(scratch, work)
                _seal(scratch, dict(about), time.perf_counter() - started)
                _replace(scratch, folder)
            shutil.rmtree(work, ignore_errors=True)
            cell = _read_manifest(folder)
            self._checked[key] = cell
            return cell, True

    def _folder(self, stage: str, key: str) -> Path:
        return self.root / "cells" / stage / key

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.warning("another run computes cell %s: waiting for it", key[:12])
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return the sha256 of a value's canonical JSON: equal values, equal fingerprints."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def file_hash(path: Path) -> str:
    """Return the sha256 of a file's bytes, read again only if its size or time has changed."""
    stat = path.stat()
    return _hash_once(path, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _hash_once(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def source_hash(modules: tuple[str, ...]) -> str:
    """Return the sha256 over the source of modules or packages of this project, by dotted name."""
    digest = hashlib.sha256()
    for module in modules:
        path = _ROOT.joinpath(*module.split("."))
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            digest.update(f"{file.relative_to(_ROOT)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def library_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the version of each distribution, `absent` where there is none, without imports."""
    return {name: _installed_version(name) for name in names}


@functools.cache
def _installed_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _read_checked(folder: Path) -> FinishedCell:
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    for name, expected in files.items():
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise ValueError(f"{name} has changed")
    cell = _read_manifest(folder)
    if cell.digest != _digest(files):
        raise ValueError(f"{MANIFEST} has changed")
    return cell


def _read_manifest(folder: Path) -> FinishedCell:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return FinishedCell(folder, manifest["digest"], manifest["seconds"])


def _seal(folder: Path, about: dict[str, Any], seconds: float) -> None:
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {"about": about, "files": files, "digest": _digest(files), "seconds": seconds}
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())


def _digest(files: Mapping[str, str]) -> str:
    return fingerprint(
        {n: h for n, h in files.items() if not Path(n).name.startswith(TIMING_PREFIX)}
    )


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, gone afterwards; what a killed process left of it goes too."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(scratch: Path, folder: Path) -> None:
    """Put a whole cell in its place; one that is there gives way at that moment."""
    if folder.exists():
        with _scratch(folder.with_name(f".replaced-{folder.name}")) as old:
            os.replace(folder, old)
            os.replace(scratch, folder)
    else:
        os.replace(scratch, folder)


@contextlib.contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    """Tell errors of the disk under the store."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise RunError(
                f"the disk is full: {root} has {shutil.disk_usage(root).free / 1e6:.0f} MB left; "
                "finished cells are kept: free some space and give the same command again"
            ) from error
        if not str(error.filename or "").startswith(str(root)) or error.errno == errno.ENOENT:
            raise
        raise RunError(
            f"the store cannot be written: {error.strerror}: {error.filename}; finished cells are "
            "kept: see to its permissions and its disk, and give the same command again"
        ) from error
