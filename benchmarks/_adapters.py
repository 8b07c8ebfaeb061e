"""Random LoRA adapters of one base, for benchmarks: what they compute matters little, only cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from imitate.models import ModelRef, load_model

__all__ = ["RANK", "TARGETS", "write_random_adapters"]

RANK = 16
SCALE = 0.6
"""Of a linear layer's usual random weights, in both factors: moves a choice of 3 tokens by about
0.6 nats with SmolLM2-135M, far more than bfloat16 rounds, and leaves its answers English."""
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def write_random_adapters(ref: ModelRef, folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Write one adapter a name, each from a seed of its own; return their folders."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS, task_type="CAUSAL_LM")
    peft = get_peft_model(load_model(ref, torch.float32), config)
    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        for parameter_name, parameter in peft.named_parameters():
            if "lora_" in parameter_name:
                torch.nn.init.kaiming_uniform_(parameter, a=5**0.5)
                parameter.data *= SCALE
        peft.save_pretrained(folder / name)
    return {name: folder / name for name in names}
