"""Probes in a job: questions of the lab and of files, and a served judge whose bias is known."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from cardjobs import asked, card_in, run, write_job
from fakeserver import KEY, Body, Reply, Serve, answer

from evals.errors import ConfigError
from evals.judges.pairs import Pair
from evals.judges.probes import DRESSED, PLAIN
from imitate.config import LabConfig, LabProbeItems, ProbePairs
from imitate.configfile import load_card_job
from imitate.judging.sets import read_pairs

_ANSWER = re.compile(r"<answer [AB] \w+>\n(.*?)\n</answer [AB] \w+>", re.DOTALL)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", KEY)


def lab_pairs(**parts: Any) -> list[Pair]:
    items = LabProbeItems(kind="lab", **parts)
    return read_pairs(ProbePairs(kind="probes", items=items, kinds=["stylish"]), LabConfig())


def right_and_wrong(pair: Pair) -> tuple[str, str]:
    texts = {pair.arm: pair.answer, pair.against: pair.other_answer}
    return texts[PLAIN], texts[DRESSED]


# --- where questions come from --------------------------------------------------------------------


def test_lab_questions_need_no_data_and_have_one_right_answer() -> None:
    pairs = lab_pairs(n=40)
    assert len(pairs) == len({pair.cluster for pair in pairs}) == 40
    for pair in pairs:
        right, wrong = right_and_wrong(pair)
        assert pair.reference in right
        assert f"{pair.reference}." not in wrong.replace("**", "")
        if pair.pair_id.startswith("stylish/addition"):
            assert int(pair.reference) == sum(map(int, re.findall(r"\d+", pair.prompt)))


def test_wrong_answers_of_the_lab_are_near_misses() -> None:
    for pair in lab_pairs(n=30, tasks=["largest", "sorting", "reversal"]):
        _, wrong = right_and_wrong(pair)
        if "largest" in pair.pair_id:
            others = set(re.findall(r"\d+", pair.prompt)) - {pair.reference}
            assert any(f"{other}." in wrong for other in others)
        else:
            stated = re.search(r"\b([a-z](?: [a-z]){2,5})\.", wrong)
            assert stated
            assert stated[1] != pair.reference
            assert len(stated[1]) == len(pair.reference)


def test_questions_about_the_world_have_wrong_answers_of_their_kind() -> None:
    pairs = lab_pairs(n=12, tasks=["facts", "translation"])
    assert len(pairs) == 12
    years = [pair for pair in pairs if pair.pair_id.endswith("/birth_year")]
    assert all(re.search(r"\b1[89]\d\d\b", right_and_wrong(pair)[1]) for pair in years)


def test_the_lab_says_when_it_has_too_few_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = {"kind": "lab", "n": 100_000, "tasks": ["facts"]}
    write_job(tmp_path, JUDGE, pairs={"kind": "probes", "items": items})
    assert run(tmp_path) == 2
    assert "`facts` has" in capsys.readouterr().err


JUDGE = {"voice": {"kind": "model", "model": "lab/teacher"}}


def write_questions(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"kind": "file", "path": str(path)}


def questions(n: int) -> list[dict[str, Any]]:
    return [
        {"prompt": f"Where is town {i}?", "right": f"in valley {i}", "wrong": f"on hill {i}; afar"}
        for i in range(n)
    ]


def test_questions_of_a_file(tmp_path: Path) -> None:
    items = write_questions(tmp_path, questions(5)) | {"wrong_separator": ";", "rows": 4}
    write_job(tmp_path, JUDGE, pairs={"kind": "probes", "items": items, "kinds": ["stylish"]})
    job = load_card_job(tmp_path / "job.yaml")
    pairs = read_pairs(job.pairs, job.lab)
    assert [pair.pair_id for pair in pairs] == [f"stylish/{number}" for number in (1, 2, 3, 4)]
    assert [pair.cluster for pair in pairs] == [f"Where is town {i}?" for i in range(4)]
    right, wrong = right_and_wrong(pairs[0])
    assert "in valley 0" in right
    assert "on hill 0" in wrong
    assert "afar" not in wrong


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Q?", "right": "a"}, "no column `wrong`"),
        ({"prompt": "Q?", "right": "a", "wrong": []}, "which 1 items lack, such as 2"),
        ({"prompt": "Q?", "right": "a", "wrong": ["a", "b"]}, "which 1 items lack, such as 2"),
    ],
)
def test_unusable_questions_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: dict[str, Any], message: str
) -> None:
    items = write_questions(tmp_path, [*questions(1), row])
    write_job(tmp_path, JUDGE, pairs={"kind": "probes", "items": items})
    assert run(tmp_path) == 2
    assert message in capsys.readouterr().err


def test_an_empty_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "questions.csv").write_text("prompt,right,wrong\n")
    items = {"kind": "file", "path": str(tmp_path / "questions.csv")}
    write_job(tmp_path, JUDGE, pairs={"kind": "probes", "items": items})
    assert run(tmp_path) == 2
    assert "there are no pairs" in capsys.readouterr().err


def test_probes_have_no_recorded_verdicts(tmp_path: Path) -> None:
    pairs = {"kind": "probes", "items": {"kind": "lab"}}
    write_job(tmp_path, {"old": {"kind": "recorded", "evaluator": "GPT-4"}}, pairs=pairs)
    with pytest.raises(ConfigError, match="no verdicts are recorded with these pairs"):
        load_card_job(tmp_path / "job.yaml")


# --- a judge whose bias is known ------------------------------------------------------------------

SLOPE = 0.02
"""Log-odds that a word more earns an answer."""


def chance_of(one: str, other: str) -> float:
    return 1 / (1 + math.exp(-SLOPE * (len(one.split()) - len(other.split()))))


def likes_length(body: Body, _: int) -> Reply:
    """Prefer the longer answer, the surer the longer: a stated bias, drawn from what is shown."""
    first, second = _ANSWER.findall(body["messages"][1]["content"])
    digest = hashlib.sha256(json.dumps([first, second]).encode()).digest()
    drawn = int.from_bytes(digest[:4]) / 2**32
    winner = "A" if drawn < chance_of(first, second) else "B"
    return answer(json.dumps({"reason": "so", "winner": winner}), role="assistant")


def test_a_known_length_bias_is_recovered_by_kind(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = {"kind": "probes", "items": {"kind": "lab", "n": 100}}
    write_job(tmp_path, {"mine": asked(serve(likes_length))}, pairs=pairs, shard_pairs=1000)
    job = load_card_job(tmp_path / "job.yaml")
    expected: dict[str, list[float]] = {}
    for pair in read_pairs(job.pairs, job.lab):
        right, wrong = right_and_wrong(pair)
        expected.setdefault(pair.group, []).append(chance_of(wrong, right))
    assert run(tmp_path) == 0
    cards = {card["group"]: card for card in card_in(tmp_path)["cards"]}
    assert list(cards) == ["stylish", "padded", "listed", "confident", "null", "injected", ""]
    for kind, chances in expected.items():
        fooled = cards[kind]["fooled"]
        assert fooled["low"] < sum(chances) / len(chances) < fooled["high"], kind
        assert fooled["high"] - fooled["low"] < 0.25
        assert fooled["n"] == 200
    assert cards["padded"]["fooled"]["low"] > cards["listed"]["fooled"]["high"]
    assert cards["padded"]["accuracy"]["value"] is None, "neither answer is the better one"
    out = capsys.readouterr().out
    assert "| fooled " in out.splitlines()[0]
    assert "fooled: of probes" in out
