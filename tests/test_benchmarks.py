"""Benchmarks of the probes, at a size of seconds: they run and agree; how fast is not asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    "command",
    [
        "mazes.py --n 20 --rounds 1",
        "traces_train.py --layers 1 --width 32 --steps 2 --rounds 1",
        "batched_models.py --networks 2 --sequences 8 --batch 4 --steps 2 --rounds 1",
        "grokking_epochs.py --p 7 --epochs 2 --rounds 1 --compared 3",
    ],
)
def test_ends_with_its_figures(command: str) -> None:
    script, *options = command.split()
    ended = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert {"hardware", "versions", "command"} <= set(told)
