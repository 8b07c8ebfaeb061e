"""A server's life: started, watched, started again, stopped with all that belongs to it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from evals.calls import Caller
from evals.endpoint import BASE, Sampling
from evals.errors import MissingExtraError, RunError
from imitate.config import VllmConfig
from imitate.hardware import Hardware
from imitate.models import ModelRef, load_tokenizer, resolve_model
from imitate.vllm import command, leftovers, process
from imitate.vllm.command import Launch, build_launch
from imitate.vllm.endpoint import Prompts, ServedEndpoint
from imitate.vllm.leftovers import group_members, stop_leftovers
from imitate.vllm.process import VllmServer

FAKE = Path(__file__).parent / "fakevllm.py"
Start = Callable[..., VllmServer]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMITATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(leftovers, "GRACE_S", 1.0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model: Path) -> Start:
    """Make a `VllmServer` whose process is the fake one, with these faults."""

    def make(faults: dict[str, Any] | None = None, **settings: Any) -> VllmServer:
        def launch(*_: object, port: int, key: str, **__: object) -> Launch:
            words = (sys.executable, str(FAKE), str(port), json.dumps(faults or {}))
            return Launch(words, {"VLLM_API_KEY": key})

        monkeypatch.setattr(process, "build_launch", launch)
        monkeypatch.setattr(process, "require_vllm", lambda: None)
        return VllmServer(
            resolve_model(str(tiny_model)),
            {},
            VllmConfig(**settings),
            dtype="float32",
            max_length=128,
            log=tmp_path / "logs" / "vllm.log",
        )

    return make


def endpoint_of(server: VllmServer, model: Path) -> ServedEndpoint:
    def connect() -> Caller:
        caller = Caller([server.server])
        server.when_it_dies(caller.give_up)
        return caller

    prompts = Prompts(load_tokenizer(resolve_model(str(model))), (1,), 128)
    return ServedEndpoint({BASE: BASE}, prompts, connect, server.restart)


def turned(model: Path, prompt: str) -> str:
    """What the fake server says."""
    tokenizer = load_tokenizer(resolve_model(str(model)))
    return str(tokenizer.decode(tokenizer(prompt)["input_ids"][::-1]))


def pid_of(server: VllmServer) -> int:
    assert server._process is not None
    return server._process.pid


def test_a_server_answers_with_its_key_and_is_gone_afterwards(
    fake: Start, tiny_model: Path
) -> None:
    with fake() as server:
        pid = pid_of(server)
        assert group_members(pid)
        endpoint = endpoint_of(server, tiny_model)
        (answer,) = endpoint.generate(BASE, ["one two"], Sampling(8))
        assert (answer.text.split(), answer.finish_reason) == (
            ["two", "one"],
            "stop",
        ) or answer.text
        endpoint.close()
    assert not group_members(pid)
    assert "key" not in server.log.read_text()
    assert server.server.api_key not in server.log.read_text()  # type: ignore[operator]


def test_what_does_not_stop_is_ended(fake: Start) -> None:
    with fake({"ignore_term": True, "child": True}) as server:
        pid = pid_of(server)
        deadline = time.monotonic() + 10
        while len(group_members(pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(group_members(pid)) == 2
    assert not group_members(pid)


def test_an_error_in_the_block_stops_it_too(fake: Start) -> None:
    pids = []

    def stopped() -> None:
        with fake() as server:
            pids.append(pid_of(server))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not group_members(pids[0])


def test_a_server_that_dies_with_many_items_in_flight(
    fake: Start, tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prompts = [f"one two three {number}" for number in range(100)]
    done: list[int] = []
    with fake({"die_after": 30, "once": str(tmp_path / "died")}) as server:
        endpoint = endpoint_of(server, tiny_model)
        answers = endpoint.generate(BASE, prompts, Sampling(64), progress=done.append)
        endpoint.close()
    assert (tmp_path / "died").exists()
    assert [one.text for one in answers] == [turned(tiny_model, prompt) for prompt in prompts]
    assert sum(done) == 100  # each item once
    assert "the engine broke" in caplog.text
    assert "starting it again, 1 of 2" in caplog.text


def test_a_server_that_is_killed(fake: Start, tiny_model: Path) -> None:
    with fake() as server:
        endpoint = endpoint_of(server, tiny_model)
        os.killpg(pid_of(server), signal.SIGKILL)
        (answer,) = endpoint.generate(BASE, ["one"], Sampling(8))
        assert answer.finish_reason == "stop"
        endpoint.close()


def test_a_server_that_hangs_is_ended_and_started_again(
    fake: Start, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "WATCH_PERIOD_S", 0.05)
    monkeypatch.setattr(process, "WATCH_TIMEOUT_S", 0.2)
    monkeypatch.setattr(process, "MOST_SILENT", 2)
    with fake() as server:
        endpoint = endpoint_of(server, tiny_model)
        os.kill(pid_of(server), signal.SIGSTOP)
        (answer,) = endpoint.generate(BASE, ["one two"], Sampling(8))
        endpoint.close()
    assert answer.text == turned(tiny_model, "one two")
    assert "hangs: ending it" in caplog.text


def test_it_is_not_started_again_for_ever(fake: Start, tiny_model: Path) -> None:
    with fake({"die_after": 3}, max_restarts=1) as server:
        endpoint = endpoint_of(server, tiny_model)
        with pytest.raises(RunError, match="after 1 restarts: the engine broke") as caught:
            endpoint.generate(BASE, [f"one {number}" for number in range(40)], Sampling(8))
        endpoint.close()
    assert "the last lines of" in str(caught.value)


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("ValueError: Model architectures ['Foo'] are not supported for now", "architecture"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB", "not enough memory"),
        ("ValueError: No available memory for the cache blocks.", "not enough memory"),
        (
            "ValueError: User-specified max_model_len (900) is greater than the derived",
            "`serve.vllm.max_model_len` is above",
        ),
        ("ValueError: LoRA rank 64 is greater than max_lora_rank 16.", "rejected an adapter"),
        ("RuntimeError: something else", "something else"),
        ("", "without a word"),
    ],
)
def test_a_server_that_does_not_start_says_why(fake: Start, printed: str, told: str) -> None:
    server = fake({"print": printed, "exit": 1})
    with pytest.raises(RunError, match=r"vLLM does not serve `.*`: ") as caught, server:
        pass
    assert told in str(caught.value)
    assert printed in str(caught.value)


def test_a_port_that_was_taken_is_changed(fake: Start) -> None:
    server = fake({"print": "OSError: [Errno 98] Address already in use", "exit": 1})
    with pytest.raises(RunError, match="taken by another process"), server:
        pass
    assert server.log.read_text().count("Errno 98") == process.PORT_TRIES


def test_a_silent_server_is_waited_for_within_a_limit(fake: Start) -> None:
    with pytest.raises(RunError, match="did not answer within 1 s"):
        fake({"never_healthy": True}, start_timeout_s=1).__enter__()


def test_what_a_killed_run_left_is_stopped_by_the_next(
    fake: Start, tmp_path: Path, tiny_model: Path
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from imitate.config import VllmConfig\n"
        "from imitate.models import resolve_model; from imitate.vllm import process\n"
        "from imitate.vllm.command import Launch\n"
        f"words = (sys.executable, {str(FAKE)!r})\n"
        "process.require_vllm = lambda: None\n"
        "process.build_launch = lambda *a, port, key, **k: "
        "Launch((*words, str(port), '{}'), {'VLLM_API_KEY': key})\n"
        f"server = process.VllmServer(resolve_model({str(tiny_model)!r}), {{}}, VllmConfig(), "
        f"dtype='float32', max_length=128, log=Path({str(tmp_path / 'log')!r}))\n"
        "server.__enter__(); print(server._process.pid, flush=True); time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    left = int(owner.stdout.readline())
    assert stop_leftovers() == 0  # its owner is alive
    assert group_members(left)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert group_members(left)
    with fake():
        assert not group_members(left)


def test_a_reused_number_is_left_alone(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", DEAF], start_new_session=True)
    folder = tmp_path / "cache" / "servers"
    folder.mkdir(parents=True)
    note = {"pid": bystander.pid, "started": 1.0, "owner": 2**22 + 1, "owner_started": 1.0}
    (folder / "1.json").write_text(json.dumps(note))
    (folder / "2.json").write_text("{ cut off")
    assert stop_leftovers() == 0
    assert psutil.pid_exists(bystander.pid)
    assert list(folder.iterdir()) == []
    bystander.kill()
    bystander.wait()


DEAF = "import time; time.sleep(600)"


def test_without_vllm_the_command_is_told(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        VllmServer(
            resolve_model(str(tiny_model)),
            {},
            VllmConfig(),
            dtype="float32",
            max_length=128,
            log=tmp_path / "log",
        )
    assert "pip install 'imitation-gap[vllm" in str(caught.value)


# --- the command ----------------------------------------------------------------------------------


def launch_of(
    ref: ModelRef, adapters: dict[str, Path] | None = None, **settings: Any
) -> dict[str, str]:
    launch = build_launch(
        ref,
        adapters or {},
        VllmConfig(**settings),
        dtype="float32",
        max_length=128,
        port=1234,
        key="secret-key",
    )
    assert "secret-key" not in " ".join(launch.command)
    assert launch.environment["VLLM_API_KEY"] == "secret-key"
    assert launch.environment["VLLM_NO_USAGE_STATS"] == "1"
    words = launch.command
    return {one: two for one, two in zip(words, (*words[1:], ""), strict=True) if one[:2] == "--"}


def test_adapters_are_named_with_their_layers_and_the_next_rank(
    tiny_model: Path, tiny_adapter: Path
) -> None:
    ref = resolve_model(str(tiny_model))
    told = launch_of(ref, {"train/a@0.1": tiny_adapter, "b": tiny_adapter}, max_loras=1)
    assert told["--max-lora-rank"] == "8"  # of rank 4
    assert (told["--max-loras"], told["--max-cpu-loras"]) == ("1", "2")
    assert told["--lora-target-modules"] == "down_proj"
    assert json.loads(told["--lora-modules"]) == {"name": "train/a@0.1", "path": str(tiny_adapter)}
    assert told["--host"] == "127.0.0.1"
    assert "--enable-lora" not in launch_of(ref)


def test_servers_on_a_cpu_are_not_tied_to_one_core(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def environment() -> dict[str, str]:
        ref, named = resolve_model(str(tiny_model)), {"dtype": "float32", "max_length": 128}
        return dict(build_launch(ref, {}, VllmConfig(), **named, port=1, key="k").environment)  # type: ignore[arg-type]

    four = Hardware("cpu", "four cores", threads=4, memory_gib=8, has_bfloat16=False)
    monkeypatch.setattr(command, "detect_hardware", lambda: four)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    assert environment()["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert environment()["OMP_NUM_THREADS"] == "4"
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0-2")
    assert environment()["VLLM_CPU_OMP_THREADS_BIND"] == "0-2"
    monkeypatch.setattr(
        command, "detect_hardware", lambda: dataclasses.replace(four, device="cuda")
    )
    assert "OMP_NUM_THREADS" not in environment()


def test_what_is_passed_through(tiny_model: Path) -> None:
    told = launch_of(
        resolve_model(str(tiny_model)),
        tensor_parallel_size=2,
        pipeline_parallel_size=3,
        distributed_executor="ray",
        arguments=["--enforce-eager"],
    )
    assert told["--tensor-parallel-size"] == "2"
    assert told["--pipeline-parallel-size"] == "3"
    assert told["--distributed-executor-backend"] == "ray"
    assert "--enforce-eager" in told
