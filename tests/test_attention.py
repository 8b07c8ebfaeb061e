"""Our attention of few new tokens against torch's fused one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from imitate import attention
from imitate.attention import MAX_QUERIES, attend, use_short_attention
from imitate.models import load_model, resolve_model

ROWS, HEADS, GROUPS, SIZE, N_KEYS = 5, 6, 2, 32, 40


class Layer(torch.nn.Module):
    """What torch's function reads of an attention layer."""

    num_key_value_groups = HEADS // GROUPS
    is_causal = True


def make_inputs(n_queries: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return queries, keys, values and a causal mask whose rows are padded on the left."""
    generator = torch.Generator().manual_seed(n_queries)
    query = torch.randn(ROWS, HEADS, n_queries, SIZE, generator=generator)
    key, value = torch.randn(2, ROWS, GROUPS, N_KEYS, SIZE, generator=generator)
    mask = torch.ones(n_queries, N_KEYS, dtype=torch.bool).tril(N_KEYS - n_queries)
    mask = mask.repeat(ROWS, 1, 1, 1)
    for row in range(ROWS):
        mask[row, :, :, : 3 * row] = False
    return query.to(dtype), key.to(dtype), value.to(dtype), mask


@pytest.mark.parametrize("n_queries", [1, 2, MAX_QUERIES])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_few_queries_see_what_torch_sees(
    n_queries: int, dtype: torch.dtype, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs(n_queries, dtype)
    expected, _ = sdpa_attention_forward(Layer(), *inputs, scaling=0.2)
    monkeypatch.setattr(attention, "sdpa_attention_forward", None)  # not to be called
    found, _ = attend(Layer(), *inputs, scaling=0.2)
    assert found.dtype is dtype
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= bound


def test_one_query_without_a_mask_sees_everything() -> None:
    query, key, value, _ = make_inputs(1, torch.float32)
    expected, _ = sdpa_attention_forward(Layer(), query, key, value, None)
    found, _ = attend(Layer(), query, key, value, None)
    assert (found - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(("n_queries", "is_masked"), [(MAX_QUERIES + 1, True), (2, False)])
def test_other_shapes_are_torchs(n_queries: int, is_masked: bool) -> None:
    query, key, value, mask = make_inputs(n_queries, torch.float32)
    given = mask if is_masked else None
    expected, _ = sdpa_attention_forward(Layer(), query, key, value, given)
    found, _ = attend(Layer(), query, key, value, given)
    assert torch.equal(found, expected)


def test_a_query_that_may_see_nothing_is_no_nan() -> None:
    query, key, value, mask = make_inputs(2, torch.float32)
    mask[0] = False
    found, _ = attend(Layer(), query, key, value, mask)
    assert found.isfinite().all()


def test_only_torchs_own_attention_is_replaced(tiny_model: Path) -> None:
    model = load_model(resolve_model(str(tiny_model)), torch.float32)
    model.set_attn_implementation("eager")
    use_short_attention(model)
    assert model.config._attn_implementation == "eager"
    model.set_attn_implementation("sdpa")
    use_short_attention(model)
    assert model.config._attn_implementation == attention.NAME
