"""One vLLM server on this machine for as long as a block lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from evals.endpoint import BASE
from evals.server import Server
from imitate.config import VllmConfig
from imitate.models import resolve_model
from imitate.vllm.process import VllmServer

__all__ = ["BASE_NAME", "vllm_server"]

BASE_NAME = BASE


@contextlib.contextmanager
def vllm_server(
    model: str, adapters: Mapping[str, Path], *, dtype: str, log: Path, max_length: int = 512
) -> Iterator[Server]:
    """Yield a server of a checkpoint, as `BASE_NAME`, and its adapters, by name.

    Args:
        model: The checkpoint's folder.
        adapters: Adapters by name, all of which may act in one batch.
        dtype: As vLLM names it.
        log: File that takes what the server prints.
        max_length: Longest prompt and answer, in tokens.
    """
    settings = VllmConfig(max_loras=max(1, len(adapters)))
    ref = resolve_model(model)
    with VllmServer(
        ref, adapters, settings, dtype=dtype, max_length=max_length, log=log
    ) as running:
        yield running.server
