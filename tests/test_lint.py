"""Faults of an adapter that are told before it is loaded, each by a message that names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import build_model
from safetensors.numpy import load_file, save_file

from evals.errors import ModelError
from imitate.adapters import RECORD, WEIGHTS
from imitate.config import ServeConfig
from imitate.lint import lint_adapters
from imitate.models import load_tokenizer, resolve_model, tokenizer_identity
from imitate.serve import open_endpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def adapter(tiny_adapter: Path, tmp_path: Path) -> Path:
    """A copy of an adapter, to be damaged."""
    return Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))


@pytest.fixture
def lint(tiny_model: Path) -> Callable[..., None]:
    def check(folder: Path, *, base: Path = tiny_model, max_rank: int | None = 512) -> None:
        ref = resolve_model(str(base))
        lint_adapters({"broad": folder}, ref, load_tokenizer(ref), max_rank=max_rank)

    return check


def change(folder: Path, **values: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rename_keys(folder: Path, old: str, new: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({key.replace(old, new): value for key, value in tensors.items()}, folder / WEIGHTS)


def record(folder: Path, **prompts: str) -> None:
    (folder / RECORD).write_text(json.dumps({"prompts": prompts}))


def test_a_whole_adapter_passes(adapter: Path, lint: Callable[..., None]) -> None:
    lint(adapter)


def test_keys_with_a_foreign_prefix(adapter: Path, lint: Callable[..., None]) -> None:
    rename_keys(adapter, "base_model.model.model.", "base_model.model.language_model.model.")
    with pytest.raises(
        ModelError, match=r"adapter `broad`: 12 of its 12 LoRA matrices name no layer"
    ) as caught:
        lint(adapter)
    assert "`base_model.model.language_model.model.layers.0." in str(caught.value)
    assert "such as `model.layers.0.self_attn.q_proj`" in str(caught.value)


def test_keys_without_a_prefix(adapter: Path, lint: Callable[..., None]) -> None:
    rename_keys(adapter, "base_model.model.", "")
    with pytest.raises(ModelError, match="12 of its 12 LoRA matrices name no layer"):
        lint(adapter)


def test_no_matrix_at_all(adapter: Path, lint: Callable[..., None]) -> None:
    save_file({"nothing": np.zeros(1, dtype=np.float32)}, adapter / WEIGHTS)
    with pytest.raises(ModelError, match="no of its 0 LoRA matrices name a layer"):
        lint(adapter)


def test_another_bases_shapes(adapter: Path, lint: Callable[..., None], tmp_path: Path) -> None:
    wider = build_model(tmp_path / "wider", hidden_size=96)
    with pytest.raises(ModelError, match=r"was made for another base .* a layer of \d+, this one"):
        lint(adapter, base=wider)


def test_another_base_of_the_same_shapes(adapter: Path, lint: Callable[..., None]) -> None:
    (adapter / RECORD).write_text(json.dumps({"base": {"identity": "sha256:other"}}))
    with pytest.raises(ModelError, match=r"adapter `broad` was made for `.*`, not for `.*`"):
        lint(adapter)


def test_a_rank_above_the_servers(adapter: Path, lint: Callable[..., None]) -> None:
    change(adapter, r=600)
    with pytest.raises(ModelError, match="rank 600, above the server's 512"):
        lint(adapter)
    change(adapter, r=4, rank_pattern={"q_proj": 999})
    with pytest.raises(ModelError, match="rank 999"):
        lint(adapter)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "biases"),
        ({"peft_type": "IA3"}, "of type IA3"),
    ],
)
def test_what_a_server_would_leave_out(
    adapter: Path, lint: Callable[..., None], values: dict[str, object], told: str
) -> None:
    change(adapter, **values)
    with pytest.raises(ModelError, match=told) as caught:
        lint(adapter)
    assert "serve.backend: transformers" in str(caught.value)


def test_a_swapped_chat_template(
    adapter: Path, lint: Callable[..., None], tiny_model: Path
) -> None:
    prompts = tokenizer_identity(load_tokenizer(resolve_model(str(tiny_model))))
    record(adapter, **prompts)
    lint(adapter)
    record(adapter, **(prompts | {"chat_template": "0" * 64}))
    with pytest.raises(ModelError, match="trained with another chat template") as caught:
        lint(adapter)
    assert "`chat_template`" in str(caught.value)


def test_another_tokenizer(adapter: Path, lint: Callable[..., None]) -> None:
    record(adapter, tokenizer="0" * 64)
    with pytest.raises(ModelError, match="trained with another tokenizer"):
        lint(adapter)


def test_a_digest_does_not_change_with_use(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(resolve_model(str(tiny_model)))
    before = tokenizer_identity(tokenizer)
    tokenizer(["one", "one two three"], padding=True, truncation=True, max_length=2)
    assert tokenizer_identity(tokenizer) == before


def test_a_damaged_file(adapter: Path, lint: Callable[..., None]) -> None:
    (adapter / WEIGHTS).write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="adapter `broad` is damaged"):
        lint(adapter)


def test_in_process_too(adapter: Path, tiny_model: Path) -> None:
    rename_keys(adapter, "base_model.model.model.", "base_model.model.other.")
    opened = open_endpoint(ServeConfig(), resolve_model(str(tiny_model)), {"broad": adapter})
    with pytest.raises(ModelError, match="name no layer"), opened:
        pass
