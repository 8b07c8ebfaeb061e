"""`imitate serve`: what of a run is served, what it prints, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from fakeserver import KEY, Reply, Serve, chat_events, echoing
from rich.console import Console
from test_spot import write_config

from evals.endpoint import Sampling
from evals.errors import ConfigError, MissingExtraError
from evals.server import Server
from imitate.cli import main
from imitate.serving.arms import kind_of, read_served_run
from imitate.serving.note import SERVE_FILE, announced, find_running
from imitate.serving.upstreams import open_upstreams
from imitate.spot.answers import State
from imitate.spot.session import Session
from imitate.spot.speakers import in_process_speakers, running_speakers

pytest.importorskip("starlette", reason="needs the extra vllm, which brings starlette")
pytest.importorskip("uvicorn", reason="needs the extra vllm, which brings uvicorn")

ROOT = Path(__file__).resolve().parent.parent

# `imitate serve`, with a fake server in the place of vLLM's.
COMMAND = """
import contextlib, sys
from imitate.serving import upstreams
from imitate.serving.relay import Upstream
upstreams.open_base = lambda config, base, adapters, logs: contextlib.nullcontext(
    {name: Upstream(sys.argv[1], name, sys.argv[2]) for name in (base.name, *adapters)}
)
from imitate.cli import main
sys.exit(main(sys.argv[3:]))
"""


@contextmanager
def serving(
    upstream: str,
    *arguments: str,
    command: Sequence[str] = (),
    timeout_s: float = 60,
    **variables: str,
) -> Iterator[subprocess.Popen[str]]:
    command = command or [sys.executable, "-c", COMMAND, upstream, KEY, "serve", *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | variables,
    )
    watchdog = threading.Timer(timeout_s, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def printed(process: subprocess.Popen[str]) -> str:
    """Return what is printed until it serves."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            return "".join(lines)
    raise AssertionError("".join(lines) + (process.stderr.read() if process.stderr else ""))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_is_served_until_it_is_stopped(serve: Serve, tmp_path: Path, how: int) -> None:
    fake = serve(echoing)
    folder = write_config(tmp_path / "run")
    (folder / "report.html").write_text("<h1>report</h1>")
    with serving(fake.url, str(folder), "--port", "0") as process:
        text = printed(process)
        note = json.loads((folder / SERVE_FILE).read_text())
        url, key = note["url"].removesuffix("/v1"), note["key"]
        assert f"curl {url}/v1/chat/completions" in text
        assert f'OpenAI(base_url="{url}/v1", api_key="{key}")' in text
        assert f"imitate spot {folder}" in text
        assert f"{url}/report.html#key={key}" in text
        assert "tiny/broad-16-s0: its adapter is not there" in text
        assert "tiny+null: a constant text" in text
        listed = httpx2.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"})
        assert [one["id"] for one in listed.json()["data"]] == ["tiny", "teacher"]
        assert httpx2.get(f"{url}/report.html").text == "<h1>report</h1>"
        curl = text[text.index("curl ") : text.index("# python")].replace("\\\n", "")
        pasted = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=30)
        assert "You said What is the tallest tree?." in pasted.stdout, pasted
        process.send_signal(how)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert key not in err
    assert not (folder / SERVE_FILE).exists()


def test_the_openai_lines_work(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="needs the package openai")
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "x"}
    choice = {"index": 0, "message": {"role": "assistant", "content": "a redwood"}}
    fake = serve(lambda *_: Reply(answer | {"choices": [choice | {"finish_reason": "stop"}]}))
    folder = write_config(tmp_path / "run")
    with serving(fake.url, str(folder), "--port", "0", IMITATE_SERVE_KEY="my-key") as process:
        text = printed(process)
        assert "my-key" in text
        lines = text[text.index("from openai") : text.index("# side by side")]
        pasted = subprocess.run(
            [sys.executable, "-c", lines], capture_output=True, text=True, timeout=60
        )
    assert pasted.stdout == "a redwood\n", pasted.stderr


def test_a_config_is_served_as_its_run(serve: Serve, tmp_path: Path) -> None:
    fake = serve(lambda *_: Reply(pieces=chat_events("hello")))
    config = write_config(tmp_path / "configs") / "config.yaml"
    arguments = [str(config), "--runs", str(tmp_path), "--port", "0", "--no-teacher"]
    with serving(fake.url, *arguments) as process:
        text = printed(process)
        assert (tmp_path / "tiny" / SERVE_FILE).is_file()
    assert "no report yet" in text
    assert "teacher" not in text


def test_a_run_has_its_own_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_config(tmp_path / "run")
    assert main(["serve", str(folder), "--set", "seed=1"]) == 2
    assert "`--set` goes with a config" in capsys.readouterr().err


def test_an_unknown_base_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_config(tmp_path / "run")
    assert main(["serve", str(folder), "--base", "huge"]) == 2
    captured = capsys.readouterr().err
    assert "no base `huge` in this run" in captured
    assert "hint: there are: tiny" in captured


def test_a_run_that_is_served_is_not_served_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_config(tmp_path / "run")
    with announced(folder, "http://127.0.0.1:1/v1", "secret-key"):
        assert main(["serve", str(folder)]) == 2
    captured = capsys.readouterr().err
    assert "is served already, at http://127.0.0.1:1/v1" in captured
    assert "secret-key" not in captured


def test_a_wrong_key_or_port_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_config(tmp_path / "run")
    monkeypatch.setenv("IMITATE_SERVE_KEY", "my secret words")
    assert main(["serve", str(folder)]) == 2
    captured = capsys.readouterr().err
    assert "hint: check `IMITATE_SERVE_KEY`" in captured
    assert "secret words" not in captured
    with pytest.raises(SystemExit):
        main(["serve", str(folder), "--port", "70000"])
    assert "a whole number from 0 to 65535, got 70000" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["starlette.applications", "uvicorn"])
def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    from imitate.serving.front import build_app, serve_front

    monkeypatch.setitem(sys.modules, missing, None)
    with (
        pytest.raises(MissingExtraError, match="needs the extra `vllm") as error,
        serve_front(build_app({}, key="key"), 0),
    ):
        pass
    assert "pip install 'imitation-gap[vllm" in str(error.value.hint)


def test_a_teacher_behind_an_endpoint_needs_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = "{kind: endpoint, url: https://api.example/v1, model: big, api_key_env: BIG_KEY}"
    run = read_served_run(write_config(tmp_path / "run", teacher=teacher), runs=tmp_path)
    arms = [arm for arm in run.arms if arm.name == "teacher"]
    with pytest.raises(ConfigError, match="BIG_KEY"), open_upstreams(run, arms):
        pass
    monkeypatch.setenv("BIG_KEY", KEY)
    with open_upstreams(run, arms) as found:
        upstream = found["teacher"]
    assert (upstream.url, upstream.model) == ("https://api.example/v1", "big")
    assert (upstream.api_key, upstream.kind) == (KEY, "teacher")


def test_an_oracle_and_published_scores_are_no_models(tmp_path: Path) -> None:
    run = read_served_run(
        write_config(tmp_path / "run", teacher="{kind: published}"), runs=tmp_path
    )
    assert [arm.name for arm in run.arms] == ["tiny"]


def test_adapters_are_found_by_what_the_results_record(tmp_path: Path) -> None:
    from imitate.store import Store

    folder = write_config(tmp_path / "run")
    name = "train/tiny/broad-16-s0"

    def write(out: Path, _: Path) -> None:
        (out / "adapter").mkdir()
        (out / "adapter" / "adapter_config.json").write_text("{}")

    cell, _ = Store(tmp_path / ".store").compute("train", "f" * 40, write, {})
    results = {"provenance": {"fingerprints": {name: "f" * 40}}}
    (folder / "results.json").write_text(json.dumps(results))
    run = read_served_run(folder, runs=tmp_path)
    assert run.adapters("tiny") == {"tiny/broad-16-s0": cell.folder / "adapter"}
    assert [kind_of(run.config, arm) for arm in run.arms] == ["base", "imitator", "teacher"]


@pytest.mark.vllm
@pytest.mark.slow
def test_a_real_server_says_what_the_models_say_in_this_process(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="needs the extra vllm")
    folder = write_config(tmp_path / "run", "lab/small", "{kind: published}")
    prompt, sampling = "What is 30 + 12?", Sampling(max_tokens=40)
    with in_process_speakers(read_served_run(folder, runs=tmp_path)) as speakers:
        here = Session(speakers, [], sampling, Console(quiet=True)).say(prompt)[0]
    command = [sys.executable, "-m", "imitate.cli", "serve", str(folder), "--port", "0"]
    with serving("", command=command, timeout_s=600) as process:
        printed(process)
        running = find_running(folder)
        assert running is not None
        server = Server(running.url, running.key)
        there = Session(running_speakers(server), [], sampling, Console(quiet=True)).say(prompt)[0]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert here.state is there.state is State.DONE
    assert (there.arm, there.text) == ("tiny", here.text)
    assert process.returncode == 0
