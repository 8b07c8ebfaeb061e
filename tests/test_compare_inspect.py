"""Inspect's logs, made here by Inspect itself with a mock model, and what is read of them."""

from __future__ import annotations

import gc
import importlib.util
import json
import math
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from evals.comparing.inspect_logs import is_inspect_log, read_inspect_log
from evals.comparing.logs import pair_logs
from evals.errors import DataError, RecordError
from imitate.cli import main

if importlib.util.find_spec("inspect_ai") is None:
    pytest.skip("needs the extra `inspect`", allow_module_level=True)

pytestmark = [  # what inspect-ai leaves open or calls by an old name is not ours to mend
    pytest.mark.filterwarnings(f"ignore::{name}")
    for name in (
        "ResourceWarning",
        "DeprecationWarning",
        "pytest.PytestUnraisableExceptionWarning",
    )
]

RIGHT, WRONG = "the answer is yes", "the answer is no"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    yield
    gc.collect()  # streams that inspect-ai leaves open must not warn in the next test


def evaluate(folder: Path, answers: Sequence[str], **options: Any) -> Path:
    """Ask six questions of a mock model that gives these answers, and return the log."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate, system_message

    samples = [
        Sample(id=f"q{n}", input=f"Question {n}?", target="yes", metadata={"topic": f"t{n // 3}"})
        for n in range(6)
    ]
    example = options.pop("example", "")
    solver = [*([system_message(example)] if example else []), generate()]
    task = Task(
        dataset=samples,
        solver=options.pop("solver", solver),
        scorer=options.pop("scorer", includes()),
        name="yes_or_no",
        version=options.pop("version", 0),
    )
    outputs = [ModelOutput.from_content("mockllm/model", answer) for answer in answers]
    for output in outputs:
        output.usage = ModelUsage()  # or else tokens are counted with a tokenizer from the network
    model = get_model("mockllm/model", custom_outputs=outputs, memoize=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logs = eval(task, model=model, log_dir=str(folder), max_samples=1, **options)
    return Path(logs[0].location.removeprefix("file://"))


def values(path: Path, **options: Any) -> list[float]:
    return [item.value for item in read_inspect_log(path, **options).tasks["yes_or_no"].items]


def test_log_is_read_with_scores_prompts_and_settings(tmp_path: Path) -> None:
    path = evaluate(tmp_path, [RIGHT, WRONG] * 3, temperature=0.5)
    assert is_inspect_log(path)
    assert is_inspect_log(tmp_path)
    log = read_inspect_log(path).tasks["yes_or_no"]
    assert log.metric == "includes"
    assert [item.item_id for item in log.items] == [f"q{n}" for n in range(6)]
    assert [item.value for item in log.items] == [1, 0] * 3
    assert log.items[2].prompt == "user: Question 2?"
    assert log.settings["generation"] == '{"temperature": 0.5}'
    assert read_inspect_log(tmp_path).tasks["yes_or_no"].items == log.items


def test_json_log_reads_the_same(tmp_path: Path) -> None:
    binary = evaluate(tmp_path / "a", [RIGHT, WRONG] * 3)
    text = evaluate(tmp_path / "b", [RIGHT, WRONG] * 3, log_format="json")
    assert text.suffix == ".json"
    assert values(binary) == values(text)
    other = tmp_path / "other.json"
    other.write_text('{"results": {}}')
    assert not is_inspect_log(other)


def test_epochs_are_averaged_and_told(tmp_path: Path) -> None:
    first, second = [RIGHT] * 3 + [WRONG] * 3, [RIGHT] + [WRONG] * 5
    path = evaluate(tmp_path, [*first, *second], epochs=2)
    log = read_inspect_log(path).tasks["yes_or_no"]
    assert sorted(item.value for item in log.items) == [0, 0, 0, 0.5, 0.5, 1]
    assert log.notes == ("each score is the mean of 2 epochs",)


def test_clusters_are_a_field_of_the_metadata(tmp_path: Path) -> None:
    path = evaluate(tmp_path, [RIGHT] * 6)
    items = read_inspect_log(path, cluster="topic").tasks["yes_or_no"].items
    assert [item.cluster for item in items] == ["t0"] * 3 + ["t1"] * 3
    with pytest.raises(DataError, match="no field `subject`") as caught:
        read_inspect_log(path, cluster="subject")
    assert "there are: topic" in str(caught.value)


def test_sample_that_fails_is_no_zero(tmp_path: Path) -> None:
    from inspect_ai.solver import Generate, Solver, TaskState, solver

    @solver
    def breaking() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            if state.sample_id == "q1":
                raise ValueError("out of order")
            return await generate(state)

        return solve

    path = evaluate(tmp_path, [RIGHT] * 6, solver=breaking(), fail_on_error=False)
    assert [math.isnan(value) for value in values(path)] == [n == 1 for n in range(6)]


def scoring(value: Any) -> Any:
    from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
    from inspect_ai.solver import TaskState

    @scorer(metrics={"*": [mean()]} if isinstance(value, dict) else [mean()])
    def judged() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            return Score(value=value)

        return score

    return judged()


@pytest.mark.parametrize(
    ("given", "read"),
    [("C", 1), ("I", 0), ("P", 0.5), ("N", 0), (0.25, 0.25), (True, 1), ("0.75", 0.75)],
)
def test_letters_and_numbers_are_scores(tmp_path: Path, given: Any, read: float) -> None:
    assert values(evaluate(tmp_path, [RIGHT] * 6, scorer=scoring(given))) == [read] * 6


def test_scorer_and_key_are_chosen_by_name(tmp_path: Path) -> None:
    path = evaluate(tmp_path, [RIGHT] * 6, scorer=scoring({"style": 0.2, "fact": 0.9}))
    assert values(path, metric="judged/fact") == [0.9] * 6
    with pytest.raises(DataError, match="`judged` gives several scores") as caught:
        read_inspect_log(path)
    assert "choose: --metric judged/style, --metric judged/fact" in str(caught.value)
    with pytest.raises(DataError, match="no scorer `match`") as caught:
        read_inspect_log(path, metric="match")
    assert "there are: judged" in str(caught.value)


@pytest.mark.parametrize("value", [7, "B"])
def test_score_out_of_range_is_refused(tmp_path: Path, value: Any) -> None:
    path = evaluate(tmp_path, [RIGHT] * 6, scorer=scoring(value))
    with pytest.raises(DataError, match="it must be C, P, I, N or a number in"):
        read_inspect_log(path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"example": "Q: Is it? A: yes"},
            'against [["system_message", {"template": "Q: Is it? A: yes"}]',
        ),
        ({"version": 2}, "version of the task: 0 against 2"),
        ({"temperature": 1.0}, 'generation: {} against {"temperature": 1.0}'),
    ],
)
def test_logs_asked_differently_are_refused(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    logs = [
        read_inspect_log(evaluate(tmp_path / "a", [RIGHT] * 6)),
        read_inspect_log(evaluate(tmp_path / "b", [RIGHT] * 6, **options)),
    ]
    with pytest.raises(RecordError, match="was measured differently") as caught:
        pair_logs(logs)
    assert told in str(caught.value)


def test_prompt_is_what_solvers_made_of_the_input(tmp_path: Path) -> None:
    path = evaluate(tmp_path, [RIGHT] * 6, example="Q: Is it? A: yes")
    item = read_inspect_log(path).tasks["yes_or_no"].items[0]
    assert item.prompt == "system: Q: Is it? A: yes\nuser: Question 0?"


def test_folder_with_logs_of_two_models_is_refused(tmp_path: Path) -> None:
    evaluate(tmp_path, [RIGHT] * 6)
    other = evaluate(tmp_path / "b", [RIGHT] * 6, log_format="json")
    log = json.loads(other.read_text())
    log["eval"]["model"] = "another/model"
    other.write_text(json.dumps(log))
    with pytest.raises(DataError, match=r"logs of 2 models in one folder: another/model, mockllm"):
        read_inspect_log(tmp_path)


def test_damaged_log_is_told(tmp_path: Path) -> None:
    path = evaluate(tmp_path, [RIGHT] * 6)
    cut = tmp_path / "cut.eval"
    cut.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"cut\.eval cannot be read as a log of Inspect's"):
        read_inspect_log(cut)


def test_log_without_scores_is_told(tmp_path: Path) -> None:
    path = evaluate(tmp_path, [RIGHT] * 6, score=False)
    with pytest.raises(DataError, match="no scores in") as caught:
        read_inspect_log(path)
    assert "inspect score" in str(caught.value)


def test_two_logs_are_compared_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = evaluate(tmp_path / "a", [WRONG] * 12, epochs=2)
    second = evaluate(tmp_path / "b", [RIGHT] * 12, epochs=2)
    shutil.move(first, tmp_path / "base.eval")
    shutil.move(second, tmp_path / "tuned.eval")
    assert main(["compare", str(tmp_path / "base.eval"), str(tmp_path / "tuned.eval")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "6 clusters are too few for an interval" in out
    assert "tuned.eval minus base.eval is +100.0 points (McNemar p = 0.031)" in out
    assert "yes_or_no: base.eval: each score is the mean of 2 epochs." in out
