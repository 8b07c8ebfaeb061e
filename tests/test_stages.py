"""Cells at work on an endpoint that is a fake: what they ask, keep over a kill, and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.endpoint import BASE, Generation, Message, Progress, Sampling, TokenLogprobs
from evals.errors import ModelError
from evals.records import Axis, Example, Item, Score, read_records, write_records
from imitate.configfile import load_config
from imitate.plan import Cell, Plan, build_plan
from imitate.stages import Workplace, run_stage
from imitate.stages.analysing import add_style
from imitate.store import FinishedCell

CONFIG = """\
name: stages
bases: [{name: small, model: lab/small}]
teacher: {kind: model, model: lab/teacher}
mixes: {broad: {sources: [{kind: lab, mix: broad, rows: 40}], amounts: [16]}}
train: {learning_rate: 1e-3}
serve: {shard_items: 16}
tasks:
  - {name: chat, axis: style, source: {kind: lab, task: chat}}
  - {name: facts, axis: factuality, source: {kind: lab, task: facts}, few_shot: 1}
  - name: cities
    axis: capability
    source: {kind: file, path: cities.jsonl, choices_column: choices, gold_column: gold}
"""
SERVER = "teacher={kind: endpoint, url: 'http://127.0.0.1:1/v1', model: m}"


class Answering:
    """Answers every prompt; an adapter shifts all log-probabilities; it dies at call `dies_at`."""

    def __init__(self, *, shift: float = 0.5, dies_at: int = 0) -> None:
        self.shift, self.dies_at = shift, dies_at
        self.models: tuple[str, ...] = (BASE, "train/small/broad-16-s0")
        self.asked: list[int] = []
        self.scored: list[tuple[str, str]] = []

    def render_chat(self, messages: Sequence[Message]) -> str:  # noqa: D102
        return "".join(f"<{m['role']}>{m['content']}" for m in messages)

    def generate(  # noqa: D102
        self,
        model: str,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        progress: Progress | None = None,
    ) -> list[Generation]:
        self.asked.append(len(prompts))
        if len(self.asked) == self.dies_at:
            raise KeyboardInterrupt
        return [Generation(f" {prompt[-9:]}, {sampling.seed}", 3, "stop") for prompt in prompts]

    def token_logprobs(  # noqa: D102
        self,
        model: str,
        pairs: Sequence[tuple[str, str]],
        *,
        progress: Progress | None = None,
    ) -> list[TokenLogprobs]:
        self.scored += pairs
        shift = 0.0 if model == BASE else self.shift
        found = []
        for _, text in pairs:
            logprobs = np.full(len(text), -1.0 + shift)
            nothing = np.zeros(len(text))
            found.append(TokenLogprobs(logprobs, np.arange(len(text)), nothing > 0, nothing))
        return found


def planned(tmp_path: Path, *overrides: str) -> Plan:
    (tmp_path / "stages.yaml").write_text(CONFIG, encoding="utf-8")
    return build_plan(load_config(tmp_path / "stages.yaml", overrides))


def nothing() -> Any:
    raise AssertionError("no endpoint is needed here")


@pytest.fixture
def do(tmp_path: Path) -> Callable[..., Path]:
    """Run one cell on inputs that are written first; its work folder outlives it."""

    def run(plan: Plan, cell: Cell, endpoint: Callable[[], Any] = nothing) -> Path:
        done = {}
        for name in cell.inputs:
            folder = tmp_path / name
            folder.mkdir(parents=True, exist_ok=True)
            done[name] = FinishedCell(folder, name, 0.0)
            if name.startswith("data/"):
                examples = [Example("1", "Who?", "Certainly! Ada.", "lab")]
                write_records(folder / "train.parquet", examples, Example)
            if name.startswith("items/"):
                write_records(folder / "items.parquet", items_of(name), Item)
        out, work = tmp_path / "out", tmp_path / "work"
        out.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        run_stage(
            cell,
            Workplace(
                plan=plan,
                done=done,
                endpoint=endpoint,
                in_process=endpoint,  # type: ignore[arg-type]
                folder=out,
                work=work,
                logs=work,
                report=lambda advance, total, note: None,
            ),
        )
        return out

    return run


def items_of(cell: str) -> list[Item]:
    task = cell.partition("/")[2]
    if task == "cities":
        return [
            Item(f"c{i}", task, Axis.CAPABILITY, f"c{i}", "Where?", ("A",), ("A", "B"), 0)
            for i in range(4)
        ]
    return [
        Item(
            f"f{i}", task, Axis.FACTUALITY, f"f{i}", f"Who is {i}?", ("Ada",), is_development=i > 8
        )
        for i in range(12)
    ]


def test_an_adapter_is_proved_on_a_response_of_the_teacher(
    tmp_path: Path, do: Callable[..., Path]
) -> None:
    plan, endpoint = planned(tmp_path), Answering()
    cell = plan.by_name["prove/small/broad-16-s0"]
    out = do(plan, cell, lambda: endpoint)
    proof = json.loads((out / "proof.json").read_text())
    assert proof == {"shift": 0.5, "largest_shift": 0.5, "base_drift": 0.0, "n_tokens": 26}
    assert set(endpoint.scored) == {("<user>Who?", "<assistant>Certainly! Ada.")}
    assert len(endpoint.scored) == 3


def test_an_adapter_that_does_nothing_stops_the_run(
    tmp_path: Path, do: Callable[..., Path]
) -> None:
    plan = planned(tmp_path)
    with pytest.raises(ModelError, match="adapter `train/small/broad-16-s0` does not act"):
        do(plan, plan.by_name["prove/small/broad-16-s0"], lambda: Answering(shift=0.0))


def test_distilling_goes_on_where_it_was_killed(tmp_path: Path, do: Callable[..., Path]) -> None:
    plan = planned(tmp_path)
    cell = plan.by_name["distill/broad/0"]
    killed, after = Answering(dies_at=3), Answering()
    with pytest.raises(KeyboardInterrupt):
        do(plan, cell, lambda: killed)
    out = do(plan, cell, lambda: after)
    assert (killed.asked, after.asked) == ([16, 16, 8], [8])
    assert len(read_records(out / "examples.parquet", Example)) == 40
    assert json.loads((out / "distill.json").read_text())["cut_off_or_failed"] == 0


def test_what_a_base_knows_is_asked_on_where_it_was_killed(
    tmp_path: Path, do: Callable[..., Path]
) -> None:
    plan = planned(tmp_path)
    cell = plan.by_name["knowledge/small/facts"]
    killed, after = Answering(dies_at=4), Answering()
    with pytest.raises(KeyboardInterrupt):
        do(plan, cell, lambda: killed)
    out = do(plan, cell, lambda: after)
    assert len(killed.asked) == 4
    assert len(after.asked) == 5
    scores = read_records(out / "scores.parquet", Score)
    assert [score.sample for score in scores] == [n for n in range(1, 9) for _ in range(9)]


def test_multiple_choice_in_a_servers_chat_is_left_out_with_the_reason(
    tmp_path: Path, do: Callable[..., Path]
) -> None:
    plan = planned(tmp_path, SERVER)
    out = do(plan, plan.by_name["capability/teacher/cities/chat"])
    assert read_records(out / "scores.parquet", Score) == []
    reason = json.loads((out / "left_out.json").read_text())["reason"]
    assert "needs log-probabilities" in reason


def test_tables_of_several_style_tasks_and_bases_stand_side_by_side() -> None:
    style: dict[str, Any] = {
        part: {} for part in ("discriminator", "stylometry", "fresh_classifier", "on_facts")
    }
    for task in ("chat", "letters"):
        for base in ("small", "medium"):
            told = f"{task} {base}"
            described = {
                "discriminator": told,
                "stylometry": {base: told},
                "fresh_classifier": {f"{base}/broad": told},
                "on_facts": {"facts": {base: 0.5}} if task == "chat" else {},
            }
            add_style(style, task, base, described)
    both = {"chat": ("chat small", "chat medium"), "letters": ("letters small", "letters medium")}
    for part in ("discriminator", "stylometry"):
        assert {t: (s["small"], s["medium"]) for t, s in style[part].items()} == both
    assert style["fresh_classifier"]["letters"]["medium/broad"] == "letters medium"
    assert style["on_facts"] == {"facts": {"small": 0.5, "medium": 0.5}}
