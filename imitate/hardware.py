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
    has_gpu = Path("/proc/driver/nvidia/version").exists() and _visible_devices() != ""
    return Hardware(
        device="cuda" if has_gpu else "cpu",
        processor=name or platform.machine(),
        threads=int(os.environ.get("OMP_NUM_THREADS") or _cores()),
        memory_gib=round(int(memory[1]) / 2**20, 1) if memory else 0.0,
        has_bfloat16=has_gpu or bool(flags & _BFLOAT16_FLAGS),
    )


def _visible_devices() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


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
