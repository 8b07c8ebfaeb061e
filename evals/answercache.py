"""Answers kept by what was asked: a digest of the request -> the answer, one JSON file each.

Files appear whole or not at all, so several processes may share a folder. Each carries a checksum:
an entry that is damaged counts as absent, and is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from evals.errors import RunError, UserError

__all__ = ["open_cache", "read_answer", "write_answer"]


def open_cache(folder: Path) -> Path:
    """Return the folder, made where it was missing.

    Raises:
        UserError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot keep answers in `{folder}`: {error.strerror}",
            hint="name a folder that can be written",
        ) from error
    return folder


def read_answer(folder: Path, digest: str) -> dict[str, Any] | None:
    """Return the answer to a request with this digest; `None` if absent or damaged."""
    try:
        entry = json.loads(_path(folder, digest).read_text(encoding="utf-8"))
        answer = entry["answer"]
        is_whole = entry["sha256"] == _checksum(digest, answer)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return answer if is_whole and isinstance(answer, dict) else None


def write_answer(folder: Path, digest: str, answer: dict[str, Any]) -> None:
    """Keep an answer of plain JSON values.

    Raises:
        RunError: It cannot be written; what was paid for would be lost unseen.
    """
    path = _path(folder, digest)
    content = json.dumps({"sha256": _checksum(digest, answer), "answer": answer})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        os.replace(name, path)
    except OSError as error:
        raise RunError(f"cannot keep an answer in `{folder}`: {error.strerror}") from error


def _path(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / f"{digest}.json"


def _checksum(digest: str, answer: Any) -> str:
    text = json.dumps([digest, answer], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
