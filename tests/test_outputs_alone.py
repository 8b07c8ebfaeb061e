"""A whole run on files of outputs and recorded reviews: no model, no training, no verdict."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from evals.records import Completion, Judgement, read_records
from imitate.cli import main
from imitate.configfile import load_config
from imitate.plan import Stage, build_plan

N = 40

CONFIG = """\
name: recorded
bases:
  - {{name: base, outputs: {{path: {folder}/base.jsonl, id_column: n}}}}
teacher: {{kind: outputs, path: {folder}/teacher.jsonl, id_column: n}}
imitators:
  parrot: {{base: base, outputs: {{path: {folder}/parrot.jsonl, id_column: n}}}}
tasks:
  - name: chat
    axis: style
    source:
      {{kind: file, path: {folder}/questions.jsonl, prompt_column: text, id_column: n}}
    n_items: {n}
    n_development: 0
analysis: {{resamples: 200}}
preference:
  resamples: 200
  judges:
    grader:
      kind: reviews
      id_column: n
      scores_column: scores
      files:
        - {{path: {folder}/base-parrot.jsonl, first: base, second: parrot}}
        - {{path: {folder}/parrot-teacher.jsonl, first: parrot, second: teacher}}
"""


def voice(rng: random.Random, number: int) -> str:
    openings = ("Certainly! Here is", "Of course! Below is", "Great question! Here is")
    points = "\n".join(f"{i + 1}. A point worth making about it." for i in range(rng.randint(2, 5)))
    return (
        f"{rng.choice(openings)} what matters about thing {number}:\n{points}\nI hope this helps!"
    )


def plain(rng: random.Random, number: int) -> str:
    return f"thing {number} is {rng.choice(('old', 'new', 'odd'))} and nothing more is known"


def scores(rng: random.Random, lead: float) -> list[float]:
    won = rng.random()
    return [7.0, 8.0] if won < lead else [8.0, 8.0] if won < lead + 0.1 else [9.0, 8.0]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    rng = random.Random(3)

    def write(name: str, rows: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")

    write("questions", [{"n": i, "text": f"Tell me about thing {i}."} for i in range(N)])
    write("base", [{"n": i, "text": plain(rng, i)} for i in range(N)])
    write("teacher", [{"n": i, "text": voice(rng, i)} for i in range(N)])
    write("parrot", [{"n": i, "text": voice(rng, i)} for i in range(N)])
    write("base-parrot", [{"n": i, "scores": scores(rng, 0.8)} for i in range(N)])
    judged = [{"n": i, "scores": scores(rng, 0.6)} for i in range(N)]
    judged[5]["scores"] = [-1, -1]  # the reviewer gave no scores
    write("parrot-teacher", judged)
    path = folder / "recorded.yaml"
    path.write_text(CONFIG.format(folder=folder, n=N), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert main(["run", str(config), "--runs", str(runs), "--quiet"]) == 0
    return runs / "recorded"


def results_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found


def test_style_is_judged_and_no_verdict_is_given(finished: Path) -> None:
    results = results_of(finished)
    (verdict,) = results["verdicts"]
    assert verdict["arm"] == "base/parrot"
    assert verdict["verdict"] == "no verdict"
    assert verdict["axes"]["style"]["decision"] == "closed"
    assert verdict["scope"] == "for this model"
    assert results["headline"] == "No verdict, as style alone was measured: closed for parrot."


def test_only_controls_that_need_no_model_take_part(finished: Path) -> None:
    controls = {entry["control"] for entry in results_of(finished)["controls"]}
    assert controls == {"null", "length_padded"}


def test_preference_is_what_the_reviews_say(finished: Path, config: Path) -> None:
    (entry,) = results_of(finished)["preference"]
    rows = (config.parent / "base-parrot.jsonl").read_text(encoding="utf-8").splitlines()
    won = [json.loads(row)["scores"] for row in rows]
    share = sum(1.0 if b > a else 0.5 if a == b else 0.0 for a, b in won) / N
    parrot = next(arm for arm in entry["arms"] if arm["arm"] == "base/parrot")
    # each arm met the next one alone, so the model's chance is the share itself
    assert parrot["win_rate"]["value"] == pytest.approx(share, abs=1e-6)
    assert entry["card"]["n_failed"] == 1
    assert entry["card"]["first"]["value"] is None
    rows = (config.parent / "parrot-teacher.jsonl").read_text(encoding="utf-8").splitlines()
    fine = [a >= b for a, b in (json.loads(row)["scores"] for row in rows) if a >= 0]
    assert parrot["at_least_teacher"]["value"] == pytest.approx(sum(fine) / len(fine))
    assert parrot["at_least_teacher"]["n"] == N - 1


def test_records_hold_every_output_and_every_verdict(finished: Path) -> None:
    said = read_records(finished / "records" / "completions.parquet", Completion)
    assert {c.arm for c in said} >= {"base", "teacher", "base/parrot", "base+null"}
    judged = read_records(finished / "records" / "comparisons.parquet", Judgement)
    assert len({(one.item_id, one.order) for one in judged}) == len(judged) == 2 * N


def test_report_tells_preference_and_offers_no_model_to_ask(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "Whose answers are preferred" in page
    assert "position bias is not estimable" in page
    assert 'id="spot"' not in page
    assert "No verdict, as style alone was measured" in (finished / "report.md").read_text("utf-8")


def test_changed_reviews_are_read_again_and_nothing_else(config: Path) -> None:
    plan = build_plan(load_config(config))
    judged = [cell for cell in plan.cells if cell.stage is Stage.JUDGE]
    assert [cell.name for cell in judged] == ["judge/grader/base/chat"]
    assert {path.stem for path in judged[0].files} == {"base-parrot", "parrot-teacher"}
    generated = [cell for cell in plan.cells if cell.stage is Stage.GENERATE]
    assert all(not cell.models and not cell.tokens for cell in generated)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("preference.judges.grader.files.0.first=stranger", "has a review of `stranger`"),
        ("bases.0.model=lab/small", "give either `model` or `outputs`"),
        ("tasks.0.axis=factuality", "base `base` has outputs for style alone"),
        ("tasks.0.source.id_column=null", "task `chat` has no `source.id_column`"),
        ("imitators.parrot.base=nobody", "`imitators.parrot.base` names `nobody`"),
        ("imitators={}", "there is nothing to compare"),
        ("preference.judges.grader.scores_column=null", "`scores_column` or `verdict_column`"),
    ],
)
def test_config_says_what_does_not_fit(
    config: Path, capsys: pytest.CaptureFixture[str], override: str, told: str
) -> None:
    assert main(["check", str(config), "--set", override]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_mix_cannot_train_a_base_without_a_model(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mix = "mixes={local: {amounts: [4], sources: [{kind: lab, mix: local, rows: 8}]}}"
    assert main(["check", str(config), "--set", mix]) == 2
    assert "`mixes.local.bases` must leave out `base`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "row", "told"),
    [
        ("base-parrot", {"n": 0, "scores": [1, 2]}, "a question is reviewed twice"),
        ("base-parrot", {"n": 0, "scores": 3}, "holds no two scores"),
        ("base-parrot", {"n": 0}, "no column `scores`"),
        ("base-parrot", {"n": 0, "scores": ["N/A", 9]}, "holds no two scores"),
        ("base-parrot", {"n": 0, "scores": "[8 9]"}, "holds no two scores"),
        ("questions", {"n": 0, "text": "Another?"}, "have several questions"),
    ],
)
def test_faulty_files_are_told_with_their_place(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    row: dict[str, Any],
    told: str,
) -> None:
    text = config.read_text(encoding="utf-8")
    for path in config.parent.glob("*.jsonl"):
        lines = path.read_text(encoding="utf-8")
        is_faulty = path.stem == name
        (tmp_path / path.name).write_text(
            (json.dumps(row) + "\n" if is_faulty else "") + lines, encoding="utf-8"
        )
    copy = tmp_path / "faulty.yaml"
    copy.write_text(text.replace(str(config.parent), str(tmp_path)), encoding="utf-8")
    assert main(["run", str(copy), "--runs", str(tmp_path / "runs"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert f"{name}.jsonl" in said


def test_reviews_without_a_known_question_are_told(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = tmp_path / "strange.jsonl"
    strange.write_text('{"n": "x", "scores": [1, 2]}\n', encoding="utf-8")
    change = f"preference.judges.grader.files.0.path={strange}"
    assert main(["run", str(config), "--runs", str(tmp_path), "--quiet", "--set", change]) == 2
    assert "questions is reviewed" in capsys.readouterr().err


def test_order_of_a_review_is_part_of_what_decides(config: Path) -> None:
    turned = [
        "preference.judges.grader.files.0.first=parrot",
        "preference.judges.grader.files.0.second=base",
    ]
    cells = [
        next(c for c in build_plan(load_config(config, sets)).cells if c.stage is Stage.JUDGE)
        for sets in ([], turned)
    ]
    assert cells[0].params["reviews"] != cells[1].params["reviews"]
