"""What this machine is, without importing torch: for plans, fingerprints, provenance, `doctor`."""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
import re
from pathlib import Path

__all__ = ["Hardware", "detect_hardware"]

_BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}


@dataclasses.dataclass(frozen=True)
class Hardware:
    """The machine: `device` is "cpu" or "cuda", `threads` what torch will use, memory in GiB."""

    device: str
    processor: str
    threads: int
    memory_gib: float
    has_bfloat16: bool


@functools.cache
def detect_hardware() -> Hardware:
    """Return what the operating system says of this machine."""
    info = _read("/proc/cpuinfo")
    flags = set(_field(info, "flags").split())
    name = _field(info, "model name") or platform.processor()
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _read("/proc/meminfo"), re.M)
    has_gpu = _has_gpu()
    return Hardware(
        device="cuda" if has_gpu else "cpu",
        processor=name or platform.machine(),
        threads=_threads() or _cores(),
        memory_gib=round(int(memory[1]) / 2**20, 1) if memory else 0.0,
        has_bfloat16=has_gpu or bool(flags & _BFLOAT16_FLAGS),
    )


def _has_gpu() -> bool:
    """Return whether a driver is loaded, and a device is there and not hidden from us."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    is_hidden = visible is not None and (not visible or visible.startswith("-"))
    driver, devices = Path("/proc/driver/nvidia/version"), Path("/dev").glob("nvidia[0-9]*")
    return not is_hidden and driver.exists() and any(devices)


def _threads() -> int | None:
    """Return the threads asked for, the outermost where there are several; None where unclear."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(asked) or None if asked.isdecimal() else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(info: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", info, re.MULTILINE)
    return found[1] if found else ""


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
