"""Hub data sets: a local folder stands in for the hub, and a hub that cannot be reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evals.errors import DataError
from imitate.config import DataConfig, HubSource
from imitate.data import open_source, read_examples


def test_data_set_is_streamed(tmp_path: Path) -> None:
    rows = [{"instruction": f"Do {i}", "input": None, "output": f"Done {i}"} for i in range(3)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = HubSource(kind="hub", dataset=str(tmp_path))
    card = open_source(source)
    examples = list(read_examples(source, DataConfig(), card))
    assert [(e.prompt, e.response) for e in examples] == [
        (f"Do {i}", f"Done {i}") for i in range(3)
    ]
    assert (card.kind, card.layout, card.revision) == ("hub", "alpaca", "not pinned")


def test_split_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    source = HubSource(kind="hub", dataset=str(tmp_path), split="validation")
    with pytest.raises(DataError, match="split `validation`") as caught:
        list(read_examples(source, DataConfig()))
    assert "check the names" in str(caught.value.hint)


def test_hub_that_cannot_be_reached() -> None:
    code = (
        "from imitate.config import DataConfig, HubSource\n"
        "from imitate.data import read_examples\n"
        "from evals.errors import DataError\n"
        "try:\n"
        "    list(read_examples(HubSource(kind='hub', dataset='some/data'), DataConfig()))\n"
        "except DataError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout.startswith("error: the hub cannot be reached for `some/data`:")
    assert "hint: check the network and HF_HUB_OFFLINE, or give a local copy" in done.stdout
