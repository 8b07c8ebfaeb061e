"""One vLLM server on this machine for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from _adapters import RANK, TARGETS

from evals.server import Server

__all__ = ["BASE_NAME", "vllm_server"]

BASE_NAME = "base"
START_TIMEOUT_S = 600


@contextlib.contextmanager
def vllm_server(
    model: str, adapters: Mapping[str, Path], *, dtype: str, log: Path, max_length: int = 512
) -> Iterator[Server]:
    """Yield a server of a checkpoint, as `BASE_NAME`, and its adapters, by name.

    Args:
        model: The checkpoint's folder.
        adapters: Adapters by name; where there are none, LoRA is off.
        dtype: As vLLM names it.
        log: File that takes what the server prints.
        max_length: Longest prompt and answer, in tokens.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}/v1", secrets.token_urlsafe(16))
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--served-model-name", BASE_NAME, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", dtype, "--max-model-len", str(max_length)]
    if adapters:
        command += ["--enable-lora", "--max-loras", str(len(adapters))]
        command += ["--max-lora-rank", str(RANK), "--lora-modules"]
        command += [f"{name}={folder}" for name, folder in adapters.items()]
        # without these names scoring a prompt under an adapter kills vLLM 0.32
        command += ["--lora-target-modules", *TARGETS]
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_API_KEY": str(server.api_key),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_up(process, f"http://127.0.0.1:{port}/health", log)
        yield server
    finally:
        _stop(process)


def _wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(url, timeout=5),
        ):
            return
        time.sleep(0.25)
    raise SystemExit(f"the vLLM server did not come up:\n{log.read_text()[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and its engine, which is a process of its own."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
