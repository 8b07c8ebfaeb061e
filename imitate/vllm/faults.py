"""What a vLLM server printed -> why it ended, in our words, with what to do about it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

__all__ = ["Cause", "explain_exit", "tail_of"]

N_TAIL_LINES = 12
_PREFIX = re.compile(r"^\(\w[\w-]* pid=\d+\) ")
_NOISE = re.compile(r"nanobind|leaked (?:function|type|instance)|skipped remainder")
"""What a compiled library prints as its process ends, after all that matters."""
_ERROR = re.compile(r"(?:^|\s)(\w*(?:Error|Exception|Interrupt)): (.+)$", re.MULTILINE)

_KNOWN = (
    (r"address already in use", "the port was taken by another process"),
    (
        r"out of memory|Cannot allocate memory|No available memory for the cache blocks|"
        r"larger than the available KV cache memory|less than desired GPU memory|"
        r"not enough memory|DefaultCPUAllocator: can't allocate",
        "there is not enough memory; lower `serve.vllm.max_model_len`, "
        "`serve.vllm.gpu_memory_utilization` or `serve.vllm.kv_cache_gib`, or free some",
    ),
    (
        r"Model architectures .* are not supported|no vLLM implementation|"
        r"does not recognize this architecture",
        "vLLM does not know the model's architecture; serve it in process "
        "(`serve.backend: transformers`)",
    ),
    (
        r"max_model_len .* is greater than the derived|"
        r"exceeds? .*max_position_embeddings",
        "`serve.vllm.max_model_len` is above the model's own context",
    ),
    (
        r"LoRA rank \d+ is greater than max_lora_rank|[Ll]o[Rr][Aa].*(?:not supported|unexpected)|"
        r"expected target modules in|No adapter found|vLLM only supports modules_to_save|"
        r"Loading lora .* failed|does not yet support DoRA|does not support LoRA",
        "it rejected an adapter",
    ),
)


@dataclasses.dataclass(frozen=True)
class Cause:
    """Why a server ended; `is_port_taken` where another port would do."""

    message: str
    is_port_taken: bool = False


def explain_exit(printed: str) -> Cause:
    """Return why a server ended, as far as what it printed tells."""
    told = _last_error(printed)
    for number, (pattern, message) in enumerate(_KNOWN):
        if re.search(pattern, printed, re.IGNORECASE):
            return Cause(f"{message}{f' ({told})' if told else ''}", is_port_taken=number == 0)
    return Cause(told or "it ended without a word")


def tail_of(log: Path, n_lines: int = N_TAIL_LINES) -> str:
    """Return the last lines of a log, each indented."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [f"  {line[:240]}" for line in lines if line.strip() and not _NOISE.search(line)]
    return "\n".join(told[-n_lines:])


def _last_error(printed: str) -> str:
    """Return the first error that names its reason; later ones only follow from it."""
    lines = (_PREFIX.sub("", line) for line in printed.splitlines())
    found = _ERROR.findall("\n".join(lines))
    told = [text.strip() for kind, text in found if "EngineCore" not in text]
    return told[0][:300] if told else ""
