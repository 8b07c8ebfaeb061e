"""What `imitate check` estimates: against what runs took."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imitate import check
from imitate.configfile import load_config
from imitate.hardware import Hardware
from imitate.plan import Stage, build_plan
from imitate.vllm import command

QUICKSTART = Path(__file__).parent.parent / "configs" / "quickstart.yaml"


def test_the_quickstart_is_estimated_as_it_was_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    two_cores = Hardware("cpu", "two cores", threads=2, memory_gib=16, has_bfloat16=True)
    monkeypatch.setattr(check, "detect_hardware", lambda: two_cores)
    check.check(QUICKSTART, [], runs=tmp_path)
    told = re.search(r"about (\d+) min", capsys.readouterr().out)
    assert told
    assert 3 <= int(told[1]) <= 14  # seven minutes, measured


def test_an_adapter_whose_rate_is_chosen_is_trained_in_its_sweep() -> None:
    plan = build_plan(load_config(QUICKSTART, ["train.learning_rate=[1e-3,3e-3]"]))
    n_choices = sum(cell.stage is Stage.CHOOSE for cell in plan.cells)
    assert n_choices > 0
    assert len(plan.cells) - len(check._computed(plan)) == n_choices


def test_a_backend_that_is_not_installed_is_noted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    check.check(QUICKSTART, ["serve.backend=vllm"], runs=tmp_path)
    told = " ".join(capsys.readouterr().out.split())
    assert "note: serving with vLLM needs the extra `vllm" in told
    assert "pip install 'imitation-gap[vllm" in told
