"""What a distillation job may say, and how its errors read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.errors import ConfigError
from imitate.config import DistillJob
from imitate.configfile import job_schema, load_job

GOOD = """\
name: tiny
prompts: {kind: file, path: prompts.jsonl}
teacher: {kind: endpoint, url: "http://127.0.0.1:8000/v1", model: m}
"""
SEEDS = GOOD.replace(
    "{kind: file, path: prompts.jsonl}", "{kind: seeds, questions: [why], pairs: 10}"
)


def load(tmp_path: Path, text: str, *overrides: str) -> DistillJob:
    path = tmp_path / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return load_job(path, overrides)


def error_of(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value)


def test_temperature_depends_on_the_kind_of_prompts(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).temperature == 0.7
    assert load(tmp_path, SEEDS).temperature == 1.0
    assert load(tmp_path, SEEDS, "sampling.temperature=0").temperature == 0.0


def test_all_errors_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    text = GOOD.replace("prompts:", "promts:") + "sampling: {samples: 0}\n"
    told = error_of(tmp_path, text, "calls.max_retries=-1")
    assert "unknown key `promts`" in told
    assert "did you mean `prompts`?" in told
    assert "job.yaml:2" in told
    assert "`prompts` is missing" in told
    assert "`sampling.samples` must be at least 1, got 0" in told
    assert "job.yaml:4" in told
    assert "`calls.max_retries` must be at least 0, got -1" in told
    assert "--> --set calls.max_retries=-1" in told


def test_a_key_of_another_kind_of_prompts_is_unknown(tmp_path: Path) -> None:
    told = error_of(tmp_path, GOOD.replace("path: prompts.jsonl", "path: p, pairs: 1"))
    assert "unknown key `prompts.pairs`" in told
    assert "keys here: prompt_column, category_column, rows, kind, path" in told


def test_a_wrong_kind_lists_the_kinds(tmp_path: Path) -> None:
    told = error_of(tmp_path, GOOD.replace("kind: file", "kind: fil"))
    assert "`prompts.kind` must be one of file, hub, seeds" in told
    told = error_of(tmp_path, GOOD.replace("kind: endpoint", "kind: oracle"))
    assert "`teacher.kind` must be one of model, endpoint" in told


@pytest.mark.parametrize("key", ["prompts.rows", "sampling.samples", "calls.max_in_flight"])
def test_a_count_of_nothing_is_refused(tmp_path: Path, key: str) -> None:
    assert f"`{key}` must be at least 1, got 0" in error_of(tmp_path, GOOD, f"{key}=0")


def test_no_pairs_are_no_job(tmp_path: Path) -> None:
    assert "`prompts.pairs` must be at least 1, got 0" in error_of(
        tmp_path, SEEDS, "prompts.pairs=0"
    )


@pytest.mark.parametrize("questions", ["[]", "[why], path: seeds.jsonl"])
def test_seed_questions_come_from_one_place(tmp_path: Path, questions: str) -> None:
    told = error_of(tmp_path, SEEDS.replace("[why]", questions))
    assert "give seed questions either in `prompts.questions` or as a file in" in told


def test_a_blank_seed_question_is_refused(tmp_path: Path) -> None:
    assert "`prompts.questions.0` " in error_of(tmp_path, SEEDS.replace("[why]", "[' ']"))


def test_a_budget_in_dollars_needs_a_price(tmp_path: Path) -> None:
    told = error_of(tmp_path, GOOD, "budget.max_usd=5")
    assert "`budget.max_usd` needs `price`: US dollars for a million tokens in and out" in told
    assert "`price.output_usd_per_million` is missing" in error_of(
        tmp_path, GOOD, "price.input_usd_per_million=5"
    )


def test_greedy_samples_would_be_equal(tmp_path: Path) -> None:
    told = error_of(tmp_path, GOOD, "sampling.samples=2", "sampling.temperature=0")
    assert "`sampling.samples` above 1 needs a temperature above 0" in told


def test_seeds_have_no_samples(tmp_path: Path) -> None:
    assert "`sampling.samples` must be 1 with seed questions" in error_of(
        tmp_path, SEEDS, "sampling.samples=2"
    )


def test_a_model_that_runs_here_has_no_calls_and_no_budget(tmp_path: Path) -> None:
    text = GOOD.replace('{kind: endpoint, url: "http://127.0.0.1:8000/v1", ', "{kind: model, ")
    assert load(tmp_path, text).teacher.kind == "model"
    told = error_of(tmp_path, text, "calls.max_in_flight=2", "budget.max_tokens=5")
    assert "`calls` is for a teacher of `kind: endpoint`" in told
    assert "`budget` is for a teacher of `kind: endpoint`" in told


def test_the_schema_describes_every_field() -> None:
    schema = json.loads(job_schema())
    sections = {"DistillJob": schema, **schema["$defs"]}
    undescribed = [
        f"{section}.{name}"
        for section, body in sections.items()
        for name, field in body.get("properties", {}).items()
        if name != "kind" and not field.get("description")
    ]
    assert undescribed == []
