"""Tensors on disk that a kill, or a full disk, leaves whole or not at all.

What training goes on from is such a file: one that is damaged is told, and training begins anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["read_state", "write_tensors"]

_log = logging.getLogger(__name__)


def write_tensors(
    tensors: Mapping[str, Tensor], path: Path, about: Mapping[str, str] | None = None
) -> None:
    """Write tensors beside their place, and move them there once they lie on the disk.

    Raises:
        OSError: The disk does not take them.
    """
    partial = path.with_suffix(".partial")
    try:
        save_file(dict(tensors), partial, metadata=dict(about) if about else None)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Return the tensors of a file and what is told of them; None where none can be read."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except SafetensorError as error:
        _log.warning("%s is damaged (%s): training anew", path, error)
        return None
