"""What can be known of an adapter before it is loaded: whether it will act, here and on a server.

An adapter whose keys name no layer of its base loads with nothing active and no error, and then
reads exactly like "imitation added nothing". In: an adapter's folder, its base and the tokenizer
that will render its prompts. Out: nothing, or a `ModelError` that says what does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from evals.errors import ModelError
from imitate.adapters import RECORD, WEIGHTS, check_adapter
from imitate.models import ModelRef, linear_shapes, tokenizer_identity

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["lint_adapters"]

PREFIX = "base_model.model."
"""What PEFT, and vLLM after it, expect before the name of a layer."""

UNSERVED = {
    "modules_to_save": "whole layers beside the adapter (`modules_to_save`)",
    "use_dora": "DoRA",
    "lora_bias": "biases of its own (`lora_bias`)",
    "trainable_token_indices": "trained token embeddings (`trainable_token_indices`)",
}
"""What an adapter may have that a vLLM server refuses or leaves out."""


def lint_adapters(
    adapters: Mapping[str, Path],
    ref: ModelRef,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_rank: int | None = None,
) -> None:
    """Make sure that adapters fit their base, and a server where they are to be served.

    Args:
        adapters: Folder of each, by name.
        ref: The base.
        tokenizer: What will render and encode their prompts.
        max_rank: The highest rank that a server takes; None where none is used.

    Raises:
        ModelError: One does not; the message has the adapter's name and what differs.
    """
    shapes = linear_shapes(ref) if adapters else {}
    for name, folder in adapters.items():
        check_adapter(name, folder, ref)
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        if max_rank is not None:
            _check_served(name, config, max_rank)
        if config.get("peft_type") == "LORA":
            _check_keys(name, _shapes_of(name, folder), shapes, ref)
        _check_prompts(name, folder, tokenizer)


def _check_served(name: str, config: dict[str, Any], max_rank: int) -> None:
    if config.get("peft_type") != "LORA":
        raise ModelError(
            f"adapter `{name}` is of type {config.get('peft_type')}, and a server takes LoRA alone",
            hint="serve it in process: `serve.backend: transformers`",
        )
    rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    if rank > max_rank:
        raise ModelError(
            f"adapter `{name}` has rank {rank}, above the server's {max_rank}",
            hint="train with a lower `train.lora_rank`, or serve in process "
            "(`serve.backend: transformers`)",
        )
    extras = [told for key, told in UNSERVED.items() if config.get(key)]
    extras += ["biases"] if config.get("bias", "none") != "none" else []
    if extras:
        raise ModelError(
            f"adapter `{name}` has {' and '.join(extras)}, which a server would not apply",
            hint="serve it in process: `serve.backend: transformers`",
        )


def _shapes_of(name: str, folder: Path) -> dict[str, list[int]]:
    """Return the shapes of an adapter's tensors, from the header of its file."""
    try:
        with safe_open(folder / WEIGHTS, framework="np") as file:
            return {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"adapter `{name}` is damaged: {error}", where=str(folder)) from error


def _check_keys(
    name: str,
    found: Mapping[str, list[int]],
    layers: Mapping[str, tuple[int, int]],
    ref: ModelRef,
) -> None:
    """Each pair of matrices must belong to a layer of the base, and fit it."""
    halves = {key: shape for key, shape in found.items() if _layer_of(key) is not None}
    foreign = [key for key in halves if _layer_of(key) not in layers]
    if foreign or not halves:
        example = foreign[0] if foreign else next(iter(found), "no tensor at all")
        raise ModelError(
            f"adapter `{name}`: {len(foreign) or 'no'} of its {len(halves)} LoRA matrices "
            f"{'name no layer' if foreign else 'name a layer'} of `{ref.name}`, such as "
            f"`{example}`; it would load with them left out and no error",
            hint=f"keys are `{PREFIX}LAYER.lora_A.weight`, with LAYER as in the base, such as "
            f"`{next(iter(layers), 'model.layers.0.self_attn.q_proj')}`",
        )
    for key, shape in halves.items():
        outputs, inputs = layers[str(_layer_of(key))]
        expected = inputs if ".lora_A." in key else outputs
        given = shape[1] if ".lora_A." in key else shape[0]
        if given != expected:
            raise ModelError(
                f"adapter `{name}` was made for another base than `{ref.name}`: `{key}` is for a "
                f"layer of {given}, this one has {expected}",
                hint="an adapter works only on the very weights that it was trained on",
            )


def _layer_of(key: str) -> str | None:
    """Return the layer that a LoRA matrix adapts, its key if it has none; None for others."""
    for half in (".lora_A.weight", ".lora_B.weight"):
        if key.endswith(half):
            layer = key.removesuffix(half)
            return layer.removeprefix(PREFIX) if layer.startswith(PREFIX) else key
    return None


def _check_prompts(name: str, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """An adapter of ours recorded how its prompts were rendered and split; they must be so now."""
    record = folder / RECORD
    if not record.is_file():
        return
    trained = json.loads(record.read_text(encoding="utf-8")).get("prompts", {})
    now = tokenizer_identity(tokenizer)
    for what, words in (("tokenizer", "tokenizer"), ("chat_template", "chat template")):
        if what in trained and trained[what] != now[what]:
            raise ModelError(
                f"adapter `{name}` was trained with another {words} than it is asked with "
                f"({trained[what][:12]}, now {now[what][:12]})",
                hint="give the base the `chat_template` that it was trained with"
                if what == "chat_template"
                else "use the tokenizer that lies beside the base that it was trained on",
            )
