"""What a user sees of each command: exit codes, messages, no traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from imitate.cli import main

ROOT = Path(__file__).resolve().parent.parent


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_missing_config_is_told_in_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "run", "no-such.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("error: no config file at `no-such.yaml`")
    assert "Traceback" not in err


def test_a_wrong_override_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / "configs" / "quickstart.yaml")
    code, _, err = told(capsys, "check", config, "--set", "train.lora_rank=0")
    assert code == 2
    assert "`train.lora_rank` must be at least 1, got 0" in err
    assert "--> --set train.lora_rank=0" in err


def test_check_needs_a_config_or_asks_for_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "check")
    assert code == 2
    assert "hint: imitate check CONFIG" in err
    code, out, _ = told(capsys, "check", "--schema")
    assert code == 0
    assert "properties" in json.loads(out)


def test_check_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = told(capsys, "check", str(ROOT / "configs" / "quickstart.yaml"))
    assert code == 0
    assert "what the planned items can resolve" in out
    assert list(tmp_path.iterdir()) == []


def test_check_names_a_model_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / "configs" / "quickstart.yaml")
    _, out, _ = told(capsys, "check", config, "--set", "bases.0.model=./no-model")
    assert "no model folder at `./no-model`" in " ".join(out.split())


def test_report_of_no_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "report", str(tmp_path))
    assert code == 2
    assert "no results in" in err


def test_the_published_schema_is_the_current_one() -> None:
    from imitate.configfile import config_schema

    published = (ROOT / "configs" / "schema.json").read_text(encoding="utf-8")
    assert json.loads(published) == json.loads(config_schema())


def test_the_published_schema_of_distillation_jobs_is_the_current_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    published = (ROOT / "configs" / "distill.schema.json").read_text(encoding="utf-8")
    code, out, _ = told(capsys, "distill", "--schema")
    assert code == 0
    assert json.loads(published) == json.loads(out)


DISTILL = ROOT / "configs" / "distill.yaml"
JUDGE_CARDS = {*ROOT.glob("configs/judge-*.yaml")}
RUNS = {*ROOT.glob("configs/*.yaml"), *ROOT.glob("configs/paper/*.yaml")} - {DISTILL, *JUDGE_CARDS}


def test_the_example_of_a_distillation_job_opens_with_its_command() -> None:
    from imitate.configfile import load_job

    job = load_job(DISTILL)
    first, second = DISTILL.read_text(encoding="utf-8").splitlines()[:2]
    assert first == "# imitate distill configs/distill.yaml"
    assert second.endswith("$schema=distill.schema.json")
    assert job.teacher.kind == "endpoint"
    assert job.teacher.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "path",
    sorted(RUNS),
    ids=lambda p: p.name,
)
def test_every_config_passes_check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "check", str(path))[0] == 0
    assert "imitate run configs/" in path.read_text(encoding="utf-8")


def test_reader_that_leaves_early_is_no_error() -> None:
    command = [sys.executable, "-m", "imitate.cli", "check", "--schema"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_completion_knows_the_verbs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "imitate.cli", "--print-completion", "bash"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert "doctor" in done.stdout


def test_report_with_excerpts_refuses_a_negative_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text("{}")
    code, _, stderr = told(capsys, "report", str(tmp_path), "--excerpts", "-1")
    assert code == 2
    assert "`--excerpts` must be at least 0, got -1" in stderr
