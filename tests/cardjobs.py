"""Jobs of `imitate judge-card` for tests: tables of pairs, config files, and ways to run them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import yaml
from fakeserver import Body, FakeServer, Reply, answer

from evals.records import Judgement, read_records
from imitate.cli import main

Rows = list[dict[str, str]]


def rows_of(n: int) -> Rows:
    """Pairs whose better answer says "good"; every third is labelled the other way round."""
    return [
        {
            "prompt": f"Question {number}?",
            "answer": f"good {number}" if number % 2 else f"bad {number}",
            "other": f"bad {number}" if number % 2 else f"good {number}",
            "label": ["other", "answer"][(number % 2) ^ (number % 3 == 0)],
            "subset": "even" if number % 2 == 0 else "odd",
        }
        for number in range(1, n + 1)
    ]


def write_rows(folder: Path, rows: Rows) -> Path:
    path = folder / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_job(folder: Path, judges: dict[str, Any], **parts: Any) -> Path:
    """Write a job on `pairs.csv`, or on whatever kind of pairs it is given."""
    given = parts.pop("pairs", {})
    table = {"kind": "file", "path": str(folder / "pairs.csv"), "label_column": "label"}
    pairs = given if "kind" in given else table | given
    calls = {"max_in_flight": 8, "max_retries": 4}
    job = {"name": "job", "pairs": pairs, "judges": judges, "calls": calls} | parts
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    return path


def asked(server: FakeServer, **parts: Any) -> dict[str, Any]:
    return {"kind": "endpoint", "url": server.url, "model": "gpt", "api_key_env": "KEY"} | parts


def run(folder: Path, *more: str) -> int:
    arguments = ["judge-card", str(folder / "job.yaml"), "--runs", str(folder / "runs"), "--quiet"]
    return main([*arguments, *more])


def card_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "runs" / "job" / "card.json").read_text(encoding="utf-8"))


def judgements_in(folder: Path) -> list[Judgement]:
    return read_records(folder / "runs" / "job" / "judgements.parquet", Judgement)


def prefers_good(body: Body, _: int = 0) -> Reply:
    shown = body["messages"][1]["content"]
    winner = "A" if shown.index("good") < shown.index("bad") else "B"
    return answer(json.dumps({"reason": "so", "winner": winner}), role="assistant")
