"""LoRA adapters on one base: checked, loaded, acting on the fly or merged into a copy in memory.

The base model's tensors are never written. Two twins of its structure share them: one carries all
adapters (PEFT), of which one acts at a time; in the other the adapted layers hold merged weights of
one adapter, computed in float32 and cast to the base's dtype. A merged model runs about three times
as fast as an unmerged one on a CPU.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from transformers import PreTrainedModel

from evals.errors import ModelError
from imitate.models import ModelRef

__all__ = ["WEIGHTS", "Adapters", "check_adapter"]

WEIGHTS = "adapter_model.safetensors"
RECORD = "training.json"
"""Our own record beside an adapter; its `base` tells which weights it was trained on."""


def check_adapter(name: str, folder: Path, ref: ModelRef) -> None:
    """Make sure that a folder holds a PEFT adapter in safetensors for this base.

    Raises:
        ModelError: It does not; where the adapter is for another base, both are named.
    """
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"adapter `{name}`: no adapter_config.json in {folder}")
    if not (folder / WEIGHTS).is_file():
        raise ModelError(
            f"adapter `{name}`: no {WEIGHTS} in {folder}",
            hint="pickled adapters are never read, as loading them can run code; save the adapter "
            "with `save_pretrained(folder)`",
        )
    config = json.loads((folder / "adapter_config.json").read_text())
    made_for = str(config.get("base_model_name_or_path") or "a base without a name")
    if _is_other_base(folder, made_for, ref):
        raise _other_base(name, made_for, ref)


class Adapters:
    """All adapters of one base."""

    def __init__(self, base: PreTrainedModel, ref: ModelRef, folders: Mapping[str, Path]) -> None:
        self._base = base
        self._merged: tuple[str, PreTrainedModel] | None = None
        self._ids = {name: f"adapter_{number}" for number, name in enumerate(folders)}
        self._peft: PeftModel | None = None
        for name, folder in folders.items():
            check_adapter(name, folder, ref)
            self._load(name, folder, ref)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the adapters, in the order given."""
        return tuple(self._ids)

    def unmerged(self, name: str) -> PreTrainedModel:
        """Return the model on which this adapter acts, until another one is asked for."""
        assert self._peft is not None, name
        self._peft.set_adapter(self._ids[name])
        self._peft.requires_grad_(False)
        return self._peft.get_base_model()  # type: ignore[return-value]

    def can_merge(self, name: str) -> bool:
        """Return whether the adapter is plain LoRA, all of which fits into the base's weights."""
        assert self._peft is not None, name
        config = self._peft.peft_config[self._ids[name]]
        extras = ("use_dora", "modules_to_save", "trainable_token_indices", "lora_bias")
        is_plain = config.peft_type == "LORA" and getattr(config, "bias", "none") == "none"
        return is_plain and not any(getattr(config, extra, None) for extra in extras)

    def merged(self, name: str) -> PreTrainedModel:
        """Return the model with this adapter merged in; the one merged before is let go."""
        if self._merged is None or self._merged[0] != name:
            self._merged = None
            self._merged = (name, self._merge(name))
        return self._merged[1]

    def _load(self, name: str, folder: Path, ref: ModelRef) -> None:
        try:
            if self._peft is None:
                twin = _twin(self._base)
                self._peft = PeftModel.from_pretrained(twin, folder, adapter_name=self._ids[name])
            else:
                self._peft.load_adapter(folder, adapter_name=self._ids[name])
        except SafetensorError as error:
            raise ModelError(f"adapter `{name}` is damaged: {error}", where=str(folder)) from error
        except (RuntimeError, ValueError, KeyError) as error:  # shapes or layers do not fit
            made_for = str(PeftConfig.from_pretrained(str(folder)).base_model_name_or_path)
            raise _other_base(name, made_for, ref) from error
        self._peft.eval()
        self._peft.requires_grad_(False)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _merge(self, name: str) -> PreTrainedModel:
        twin = _twin(self._base)
        for path, layer in self.unmerged(name).named_modules():
            if not isinstance(layer, LoraLayer) or self._ids[name] not in layer.lora_A:
                continue
            base_weight = layer.get_base_layer().weight
            delta = layer.get_delta_weight(self._ids[name]).float()  # type: ignore[attr-defined]
            merged = (base_weight.float() + delta).to(base_weight.dtype)
            twin.get_submodule(path).weight = torch.nn.Parameter(merged, requires_grad=False)
        return twin


def _twin(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model of the same structure that shares all tensors."""
    shared: dict[int, Any] = {
        id(tensor): tensor for tensor in itertools.chain(model.parameters(), model.buffers())
    }
    return copy.deepcopy(model, shared)


def _is_other_base(folder: Path, made_for: str, ref: ModelRef) -> bool:
    """Return whether an adapter is known to be for another base.

    Our own adapters record the base's content. For others only hub ids are comparable: a folder's
    name says nothing on another machine; there the shapes decide when the weights are loaded.
    """
    record = folder / RECORD
    if record.is_file():
        base = json.loads(record.read_text()).get("base", {})
        if "identity" in base:
            return bool(base["identity"] != ref.identity)
    is_hub_id = made_for.count("/") == 1 and not made_for.startswith((".", "/", "~"))
    return is_hub_id and ref.kind == "hub" and made_for.casefold() != ref.name.casefold()


def _other_base(name: str, made_for: str, ref: ModelRef) -> ModelError:
    return ModelError(
        f"adapter `{name}` was made for `{made_for}`, not for `{ref.name}`",
        hint="an adapter works only on the very weights that it was trained on",
    )
