"""Tensors on disk that a kill, or a full disk, leaves whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["write_tensors"]


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
