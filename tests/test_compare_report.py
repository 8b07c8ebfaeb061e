"""The page of a comparison: offline, under its policy, safe with names of anybody's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from imitate.cli import main

HOSTILE = "<script>alert(1)</script>|`x`\u001b[31m"


def write_pair(folder: Path, task: str, *, extra: str = "") -> list[str]:
    """Write two tables of 40 items each, of which the second has one more right answer in four."""
    paths = []
    for name, every in (("a", 4), ("b", 2)):
        rows = [{"id": str(n), "task": task, "score": float(n % every == 0)} for n in range(40)]
        if extra:
            rows.append({"id": f"{extra} {name}", "task": task, "score": 1.0})
        path = folder / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        paths.append(str(path))
    return paths


def test_page_says_what_the_terminal_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["compare", *write_pair(tmp_path, "qa"), "--report", str(out)]) == 0
    printed = capsys.readouterr().out
    last = json.loads(printed.splitlines()[-1])
    assert last["report"] == str(out / "comparison.html")
    page = (out / "comparison.html").read_text(encoding="utf-8")
    markdown = (out / "comparison.md").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<h1>b.jsonl against a.jsonl, on qa: better</h1>" in page
    assert "# b.jsonl against a.jsonl, on qa: better" in markdown
    sentence = "On qa, b.jsonl is better than a.jsonl by 25 points"
    assert sentence in page
    assert sentence in markdown
    assert sentence in " ".join(printed.split())
    assert '<svg class="span"' in page


def test_page_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    assert main(["compare", *write_pair(tmp_path, "qa"), "--report", str(tmp_path)]) == 0
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; ") if " " in rule)
    assert rules["default-src"] == "&#39;none&#39;"
    assert rules["style-src"].startswith("&#39;sha256-")
    assert "sha256" not in policy[1].partition("script-src")[2].partition(";")[0]
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#|data:,)', page)


def test_names_of_tasks_and_items_are_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_pair(tmp_path, HOSTILE, extra="<img src=x onerror=alert(2)>")
    assert main(["compare", *paths, "--report", str(tmp_path)]) == 0
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    markdown = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert "<img" not in markdown
    assert "\\|\\`x" in markdown
    assert "\u001b" not in capsys.readouterr().out
