"""Adapters on vLLM servers that somebody else runs: loaded for a while, and taken off again."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx2

from evals.errors import EndpointError, UserError
from evals.server import Server, checked_key, checked_url, is_loopback

__all__ = ["loaded_adapters"]

LOAD_TIMEOUT_S = 120.0
ALREADY_THERE = "has already been loaded"
"""vLLM's words where an adapter of that name, so of these weights, is there."""


@contextlib.contextmanager
def loaded_adapters(
    servers: Sequence[Server], adapters: Mapping[str, Path]
) -> Iterator[dict[str, str]]:
    """Load adapters on every server, and yield their names there.

    Names are drawn from the adapters' weights, so runs that share a server do not meet.

    Raises:
        EndpointError: A server is not there, or rejects an adapter.
        UserError: A server takes no adapters while it runs.
    """
    names = {name: _name_there(folder) for name, folder in adapters.items()}
    with contextlib.ExitStack() as stack:
        for server in servers if adapters else ():
            http = stack.enter_context(_connected(server))
            for name, folder in adapters.items():
                _load(http, names[name], folder.resolve())
                stack.callback(_unload, http, names[name])
        yield names


def _connected(server: Server) -> httpx2.Client:
    key, url = checked_key(server.api_key), checked_url(server.url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.Client(
        base_url=url, headers=headers, timeout=LOAD_TIMEOUT_S, trust_env=not is_loopback(url)
    )


def _name_there(folder: Path) -> str:
    weights = (folder / "adapter_model.safetensors").read_bytes()
    return f"imitate-{hashlib.sha256(weights).hexdigest()[:16]}"


def _load(http: httpx2.Client, name: str, folder: Path) -> None:
    try:
        reply = http.post("/load_lora_adapter", json={"lora_name": name, "lora_path": str(folder)})
    except httpx2.HTTPError as error:
        raise EndpointError(f"cannot reach {http.base_url}: {error}; is the server up?") from error
    if reply.status_code == 200 or ALREADY_THERE in reply.text:
        return
    if reply.status_code == 401:
        raise UserError(
            f"{http.base_url} refused the key",
            hint="check the variable that `serve.endpoint.api_key_env` names",
        )
    if reply.status_code == 404 and "lora" not in reply.text.lower():
        raise UserError(
            f"the server at {http.base_url} takes no adapters while it runs",
            hint="start it with `--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, on a "
            "machine that sees this run's folder; or use `serve.backend: vllm`",
        )
    raise EndpointError(
        f"{http.base_url} rejects the adapter in {folder}: {reply.status_code} {reply.text[:400]}"
    )


def _unload(http: httpx2.Client, name: str) -> None:
    with contextlib.suppress(httpx2.HTTPError):  # the server may be gone by now
        http.post("/unload_lora_adapter", json={"lora_name": name})
