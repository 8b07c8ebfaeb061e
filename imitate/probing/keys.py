"""What decides a probe's cell beside its own inputs: the code, the libraries and the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imitate.hardware import detect_hardware
from imitate.store import library_versions, source_hash

__all__ = ["made_by"]


def made_by(modules: tuple[str, ...], libraries: Sequence[str]) -> dict[str, Any]:
    """Return the part of a cell's key that says what computes it.

    On a processor the number of threads decides the order of sums, and so belongs to it.

    Args:
        modules: Of this project, by dotted name, whose source decides the result.
        libraries: Distributions whose version does.
    """
    hardware = detect_hardware()
    return {
        "source": source_hash(modules),
        "libraries": library_versions(libraries),
        "compute": [hardware.device, hardware.threads if hardware.device == "cpu" else None],
    }
