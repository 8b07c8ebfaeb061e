"""Content identities of folders: sha256 over names and contents, each large file hashed once.

Hashing 270 MB takes about a second, and a run asks for the same folder often: digests of large
files are remembered by path, size and modification time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from pathlib import Path

__all__ = ["cache_folder", "folder_identity", "remember"]

_REMEMBERED_MIN_BYTES = 4_000_000
_COUNTED = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Files that decide what a checkpoint or an adapter computes; a README does not."""


def cache_folder() -> Path:
    """Return the folder for what is fetched or computed once: IMITATE_CACHE, or the user's own."""
    override = os.environ.get("IMITATE_CACHE")
    return Path(override) if override else Path.home() / ".cache" / "imitate"


def folder_identity(
    folder: Path, *, ignore: tuple[str, ...] = (), counted: tuple[str, ...] | None = _COUNTED
) -> str:
    """Return `sha256:...` over the names and contents of a folder's files, a checkpoint's or all.

    With `counted` None every file counts, also those of folders below.
    """
    files = folder.iterdir() if counted else folder.rglob("*")
    names = sorted(
        str(path.relative_to(folder))
        for path in files
        if path.is_file()
        and (counted is None or path.suffix in counted)
        and path.name not in ignore
    )
    whole = hashlib.sha256()
    for name in names:
        whole.update(f"{name}\0{_file_digest(folder / name)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest_as_of(path.resolve(), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _digest_as_of(path: Path, size: int, mtime_ns: int) -> str:
    """Return the digest of a file of this size and time: once a process, large ones once at all."""
    if size < _REMEMBERED_MIN_BYTES:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    key = f"{path}|{size}|{mtime_ns}"
    memory = cache_folder() / "hashes" / (hashlib.sha256(key.encode()).hexdigest() + ".json")
    try:
        return str(json.loads(memory.read_text())["sha256"])
    except (OSError, ValueError, KeyError):
        pass
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    remember(memory, {"path": str(path), "sha256": digest})
    return digest


def remember(memory: Path, content: dict[str, str]) -> None:
    """Write a small file whole or not at all; where the cache is read-only, not at all."""
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=memory.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
        os.replace(temporary, memory)
    except OSError:
        return
