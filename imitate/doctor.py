"""What of the stack works on this machine, and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil

from imitate.fingerprints import VLLM
from imitate.hardware import detect_hardware
from imitate.store import library_versions
from imitate.vllm.command import missing_vllm

__all__ = ["doctor"]

IMPORT_TIMEOUT_S = 120
HUB_TIMEOUT_S = 5.0

_NEEDED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "lm_eval", "sklearn")
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def doctor() -> int:
    """Print one line for each part of the stack; the exit code is 1 where a needed one fails."""
    is_well = True
    for is_fine, line in _findings():
        is_well &= is_fine
        print(("ok    " if is_fine else "FAIL  ") + line)
    return 0 if is_well else 1


def _findings() -> Iterator[tuple[bool, str]]:
    hardware = detect_hardware()
    yield sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer)"
    yield True, f"{hardware.processor}, {hardware.threads} threads, {hardware.memory_gib:.0f} GiB"
    yield True, "bfloat16 in hardware: " + ("yes" if hardware.has_bfloat16 else "no")
    for module in _NEEDED:
        yield _module_finding(module)
    yield _cuda_finding()
    yield _own_package_finding()
    yield _vllm_finding()
    yield True, _hub_line()
    yield _memory_finding(hardware.memory_gib)
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    yield free_gb > 1, f"{free_gb:.0f} GB of disk free here"


def _module_finding(module: str) -> tuple[bool, str]:
    name = _DISTRIBUTIONS.get(module, module)
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False, f"{name} is missing: pip install imitation-gap"
    return True, f"{name} {version}"


def _cuda_finding() -> tuple[bool, str]:
    import torch

    if not torch.cuda.is_available():
        return True, "CUDA: none, everything runs on the CPU"
    return True, f"CUDA: {torch.cuda.get_device_name()}"


def _own_package_finding() -> tuple[bool, str]:
    """Notice another distribution's `evals` or `reports` in front of ours."""
    root = Path(__file__).resolve().parent.parent
    for name in ("evals", "reports"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or root not in origin.parents:
            return False, (
                f"`import {name}` finds {origin or 'nothing'} instead of ours: "
                "use an environment without that package"
            )
    return True, "`evals` and `reports` are ours"


def _vllm_finding() -> tuple[bool, str]:
    """Say whether vLLM is there and imports, which it is asked in a process of its own: 10 s."""
    versions = library_versions(VLLM)
    found = " ".join(f"{name} {one}" for name, one in versions.items() if one != "absent")
    if not found:
        return True, f"vLLM: not installed (models run in process); {missing_vllm().hint}"
    command = [sys.executable, "-c", "import vllm.entrypoints.openai.api_server"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False, f"{found} does not import within {IMPORT_TIMEOUT_S} s"
    if done.returncode == 0:
        return True, f"{found} imports"
    reason = (done.stderr.strip().splitlines() or ["without a word"])[-1]
    return False, (
        f"{found} does not import: {reason}; where it names torchvision, torchaudio or torchcodec: "
        "pip uninstall torchvision torchaudio torchcodec"
    )


def _hub_line() -> str:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return "hub: switched off by HF_HUB_OFFLINE"
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        httpx2.head(host, timeout=HUB_TIMEOUT_S)
    except httpx2.HTTPError:
        return (
            f"hub: {host} cannot be reached; local files, the lab and packaged models work without "
            "it (imitate models list), a mirror is named in HF_ENDPOINT"
        )
    return f"hub: {host} answers"


def _memory_finding(total_gib: float) -> tuple[bool, str]:
    free_gib = psutil.virtual_memory().available / 2**30
    return free_gib > 1, f"{free_gib:.1f} of {total_gib:.0f} GiB of memory free"
