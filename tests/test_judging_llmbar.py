"""LLMBar in a judge card: the published table from the recorded verdicts, and its layout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cardjobs import card_in, run, write_job

PUBLISHED = {
    "gpt-4": {"Natural": 93.5, "Neighbor": 64.2, "GPTInst": 76.6, "GPTOut": 76.6, "Manual": 75.0},
    "chatgpt": {"Natural": 79.0, "Neighbor": 17.9, "GPTInst": 29.3, "GPTOut": 43.6, "Manual": 37.0},
}
"""Accuracy of the vanilla prompt without rules. Source: LLMBar, arXiv 2310.07641, table 5."""


def test_recorded_verdicts_give_the_published_table_beside_the_discriminators(
    tmp_path: Path,
) -> None:
    data = Path(os.environ.get("IMITATE_DATA") or "no such folder")
    if not (data / "llmbar").exists():
        pytest.skip("llmbar is not in IMITATE_DATA")
    answers = data / "fastchat_vicuna80" / "answer"
    texts = {
        "path": str(answers / "answer_gpt35.jsonl"),
        "teacher_column": "text",
        "base_path": str(answers / "answer_llama-13b.jsonl"),
        "base_column": "text",
        "join_column": "question_id",
    }
    names = {"gpt-4": "GPT-4", "chatgpt": "ChatGPT"}
    judges: dict[str, Any] = {n: {"kind": "recorded", "evaluator": of} for n, of in names.items()}
    judges["voice"] = {"kind": "discriminator", "fitted_on": texts}
    write_job(tmp_path, judges, pairs={"kind": "llmbar", "path": str(data / "llmbar")})
    assert run(tmp_path) == 0
    found = {(c["judge"], c["group"]): c for c in card_in(tmp_path)["cards"]}
    for judge, by_subset in PUBLISHED.items():
        for subset, accuracy in by_subset.items():
            value = found[judge, subset]["accuracy"]["value"]
            assert round(100 * value, 1) == accuracy, (judge, subset)
    assert found["gpt-4", ""]["accuracy"]["n"] == 838
    voice = found["voice", ""]
    assert (voice["n_judgements"], voice["is_order_free"]) == (419, True)
    assert card_in(tmp_path)["judges"]["voice"]["auc"]["low"] > 0.9
    assert voice["accuracy"]["high"] < 0.5, "a voice is no merit where style is the wrong way"


def write_llmbar(folder: Path) -> None:
    """Write two pairs in LLMBar's layout, with a judge that flips on the second."""
    natural = folder / "LLMBar" / "Natural"
    verdicts = natural / "evaluators" / "Some-Judge" / "Vanilla_NoRules"
    verdicts.mkdir(parents=True)
    rows = [
        {"input": f"Do {n}.", "output_1": "done", "output_2": "no", "label": "1"} for n in (1, 2)
    ]
    said = [("1", "1"), ("1", "2")]
    results = [
        row | {"results": [{"swap = False": {"winner": a}, "swap = True": {"winner": b}}]}
        for row, (a, b) in zip(rows, said, strict=True)
    ]
    (natural / "dataset.json").write_text(json.dumps(rows))
    (verdicts / "result.json").write_text(json.dumps(results))


def test_llmbar_is_read_in_its_authors_layout(tmp_path: Path) -> None:
    write_llmbar(tmp_path)
    pairs = {"kind": "llmbar", "path": str(tmp_path), "subsets": ["Natural"]}
    write_job(tmp_path, {"old": {"kind": "recorded", "evaluator": "Some-Judge"}}, pairs=pairs)
    assert run(tmp_path) == 0
    card = card_in(tmp_path)["cards"][0]
    assert (card["accuracy"]["value"], card["flips"]["value"]) == (0.75, 0.5)


def test_missing_llmbar_says_where_it_is_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = {"kind": "llmbar", "path": str(tmp_path)}
    write_job(tmp_path, {"old": {"kind": "recorded", "evaluator": "GPT-4"}}, pairs=pairs)
    assert run(tmp_path) == 2
    assert "github.com/princeton-nlp/LLMBar" in capsys.readouterr().err
