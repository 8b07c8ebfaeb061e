"""The checkpoint of models trained from scratch: whole, of the right model, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from imitate.descent import (
    descend,
    load_checkpoint,
    make_optimisers,
    save_checkpoint,
    set_rates,
)


def tiny() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    return LlamaForCausalLM(config)


def step(model: LlamaForCausalLM, optimisers: list[torch.optim.Optimizer]) -> None:
    set_rates(optimisers, [1e-2, 1e-2])
    ids = torch.arange(16)[None]
    descend(model(input_ids=ids, labels=ids).loss, model, optimisers)


def test_training_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path: Path) -> None:
    path, model = tmp_path / "checkpoint.pt", tiny()
    optimisers = make_optimisers(model, weight_decay=0.1)
    step(model, optimisers)
    save_checkpoint(path, "a", {"step": 1}, model, optimisers)
    step(model, optimisers)
    other = tiny()
    others = make_optimisers(other, weight_decay=0.1)
    assert load_checkpoint(path, "a", other, others) == {"step": 1}
    step(other, others)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert not path.with_suffix(".partial").exists()


def test_nothing_else_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    path, model = tmp_path / "checkpoint.pt", tiny()
    optimisers = make_optimisers(model, weight_decay=0.1)
    assert load_checkpoint(path, "a", model, optimisers) is None
    save_checkpoint(path, "a", {"step": 1}, model, optimisers)
    assert load_checkpoint(path, "b", model, optimisers) is None


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_checkpoint_is_told_and_training_begins_anew(
    tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    path, model = tmp_path / "checkpoint.pt", tiny()
    optimisers = make_optimisers(model, weight_decay=0.1)
    save_checkpoint(path, "a", {"step": 1}, model, optimisers)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert load_checkpoint(path, "a", model, optimisers) is None
    assert "is damaged" in caplog.text
