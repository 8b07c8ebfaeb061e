"""What is said of this machine, from its files and the environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imitate import hardware
from imitate.hardware import detect_hardware


@pytest.fixture(autouse=True)
def undetected() -> Iterator[None]:
    detect_hardware.cache_clear()
    yield
    detect_hardware.cache_clear()


@pytest.mark.parametrize(
    ("asked", "threads"), [("3", 3), ("2,1", 2), ("auto", 5), ("", 5), ("0", 5)]
)
def test_threads_are_those_asked_for_or_the_cores(
    monkeypatch: pytest.MonkeyPatch, asked: str, threads: int
) -> None:
    monkeypatch.setattr(hardware, "_cores", lambda: 5)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert detect_hardware().threads == threads


@pytest.mark.parametrize(("visible", "device"), [("0", "cuda"), ("-1", "cpu"), ("", "cpu")])
def test_hidden_gpu_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visible: str, device: str
) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(hardware, "Path", lambda path: tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert detect_hardware().device == device
