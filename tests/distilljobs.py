"""Jobs of `imitate distill` for tests: config files, and ways to run them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakeserver import Body, FakeServer, Reply, answer

from imitate.cli import main

TOPICS = ("rivers", "bridges", "stars", "bees", "salt", "maps", "bread", "locks", "wind", "ink")


def prompt_of(body: Body) -> str:
    return str(body["messages"][-1]["content"])


def speaking(body: Body, _: int) -> Reply:
    """Answer in a chat, differently for each prompt and seed."""
    prompt = prompt_of(body)
    return answer(f"Of {prompt}: {hash_words(prompt, body['seed'])}.", role="assistant")


def hash_words(prompt: str, seed: int) -> str:
    """Return ten words that another prompt or seed does not give."""
    drawn = random.Random(f"{prompt}|{seed}")
    return " ".join(f"{drawn.choice(TOPICS)}{drawn.randrange(1000)}" for _ in range(10))


def write_prompts(folder: Path, prompts: list[str], name: str = "prompts.jsonl") -> Path:
    path = folder / name
    lines = [json.dumps({"prompt": prompt}) for prompt in prompts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_job(folder: Path, server: FakeServer | str, **parts: Any) -> Path:
    """Write a job that asks a server; a part that is None is left out."""
    url = server if isinstance(server, str) else server.url
    job: dict[str, Any] = {
        "name": "job",
        "prompts": {"kind": "file", "path": str(folder / "prompts.jsonl")},
        "teacher": {
            "kind": "endpoint",
            "url": url,
            "model": "teacher-1",
            "api_key_env": "TEACHER_KEY",
        },
        "calls": {"max_in_flight": 4, "max_retries": 1},
    } | parts
    path = folder / "job.yaml"
    given = {key: value for key, value in job.items() if value is not None}
    path.write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    return path


class Told:
    """What a command said: exit code, standard output and error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def last(self) -> dict[str, Any]:
        """The last line of standard output."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


class Runner:
    """Runs jobs in a folder, as the command line does."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.runs, self.capsys = folder, folder / "runs", capsys

    def run(self, job: Path, *arguments: str) -> Told:
        """Run a job and return what it said."""
        code = main(["distill", str(job), "--runs", str(self.runs), "--quiet", *arguments])
        said = self.capsys.readouterr()
        return Told(code, said.out, said.err)

    def rows(self, name: str = "job") -> list[dict[str, Any]]:
        """Return the examples of a job."""
        lines = (self.runs / name / "examples.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def card(self, name: str = "job") -> dict[str, Any]:
        """Return the card of a job."""
        found: dict[str, Any] = json.loads((self.runs / name / "card.json").read_text("utf-8"))
        return found
