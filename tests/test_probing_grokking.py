"""`imitate run` on a grokking probe: results, resume, reuse, report, and what a user gets wrong."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from proberuns import Stop, Stopping, results, run

from evals.errors import ConfigError, DataError, RunError
from evals.probes.grokking.measures import Frequencies
from imitate.cli import main
from imitate.configfile import is_probe, load_probe, probe_schema
from imitate.probing import plan_probe, run_probe
from imitate.progress import Bars
from imitate.store import Store

ROOT = Path(__file__).resolve().parents[1]
SMALL = """\
probe: grokking
name: small
operation: a+b
p: 7
train_fraction: 0.5
seeds: [0, 1]
network: {width: 16, heads: 2, neurons: 32}
train: {epochs: 60, checkpoint_every: 20}
contrasts:
  no-decay: {weight_decay: 0, seeds: [0]}
sweep:
  train_fraction: [0.3, 0.7]
  weight_decay: [0.5, 1]
  epochs: 20
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_run_writes_results_and_report(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    assert run(config, runs) == 0
    told = capsys.readouterr().out.splitlines()
    found = results(runs)
    assert told[0] == found["headline"]
    assert json.loads(told[-1])["outcomes"]
    assert [one["group"] for one in found["runs"]] == ["main"] * 2 + ["no-decay"] + ["sweep"] * 4
    main_line = found["runs"][0]
    assert main_line["epochs"] == [0, 20, 40, 60]
    assert (main_line["n_pairs"], main_line["n_train"]) == (49, 24)
    assert main_line["measures"][0]["loss"]["train"] > main_line["measures"][-1]["loss"]["train"]
    folder = runs / "small"
    page = (folder / "report.html").read_text("utf-8")
    assert "Content-Security-Policy" in page
    assert "slider-data" in page
    assert "Where it groks, and where not" in page
    words = (folder / "report.md").read_text("utf-8")
    assert "so there are no phases to tell" in words
    assert "no finished circuit to check" in words
    assert "there is no order to tell" in words
    for name in ("loss", "restricted-excluded", "gini", "norm", "logits", "diagram-0"):
        assert (folder / "figures" / f"{name}.svg").is_file()


def test_second_run_and_report_make_nothing_anew(config: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run(config, runs)
    first = results(runs)
    cells = {path: path.stat().st_mtime_ns for path in (runs / ".store").rglob("cell.json")}
    run(config, runs)
    assert {path: path.stat().st_mtime_ns for path in (runs / ".store").rglob("cell.json")} == cells
    second = results(runs)
    del first["timing"], second["timing"]
    assert first == second
    before = (runs / "small" / "report.md").read_text("utf-8")
    assert main(["report", str(runs / "small")]) == 0
    assert (runs / "small" / "report.md").read_text("utf-8") == before


def test_report_of_another_schema_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "results.json").write_text('{"probe": "grokking"}', encoding="utf-8")
    assert main(["report", str(folder)]) == 2
    assert "results of schema None, not 1" in capsys.readouterr().err
    (folder / "results.json").write_text('{"probe": "other"}', encoding="utf-8")
    assert main(["report", str(folder)]) == 2
    assert "no probe that there is: 'other'" in capsys.readouterr().err


def test_another_seed_trains_no_more_than_itself(config: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run(config, runs)
    trained = set((runs / ".store" / "cells" / "grokking-train").iterdir())
    before = results(runs)
    run(config, runs, "--set", "seeds=[0, 1, 2]")
    new = set((runs / ".store" / "cells" / "grokking-train").iterdir()) - trained
    assert [len(list(one.glob("*/epoch-000060.safetensors"))) for one in new] == [1]
    assert results(runs)["runs"][:2] == before["runs"][:2]


def test_killed_and_resumed_it_gives_identical_curves(config: Path, tmp_path: Path) -> None:
    job = load_probe(config)
    plan = plan_probe(job)
    whole = run_probe(job, plan, Store(tmp_path / "whole"), Bars(None, 0))
    store = tmp_path / "killed"
    n_stops = 0
    for after in (2, 3, 1, 5, 9, 14):
        try:
            run_probe(job, plan, Store(store), Stopping(after))
        except Stop:
            n_stops += 1
    resumed = run_probe(job, plan, Store(store), Bars(None, 0))
    assert n_stops >= 4
    assert json.dumps(resumed) == json.dumps(whole)


def test_torn_row_of_a_measurement_is_measured_again(config: Path, tmp_path: Path) -> None:
    from imitate.probing.grokking.measuring import _kept_rows

    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a"', encoding="utf-8")
    assert _kept_rows(path) == [{"a": 1}, {"a": 2}]
    assert path.read_text(encoding="utf-8") == '{"a": 1}\n{"a": 2}\n'


def test_loss_that_is_no_number_tells_where_the_last_good_snapshot_is(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config, tmp_path / "runs", "--set", "train.learning_rate=1e30") == 1
    said = capsys.readouterr().err
    assert "the loss is no finite number any more: a+b mod 7" in said
    assert "the last good snapshot is of epoch 0: " in said
    kept = Path(said.rpartition("epoch 0: ")[2].strip())
    assert kept.is_file()


def test_run_that_diverges_is_told_beside_those_that_do_not(config: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    wild = "contrasts={wild: {weight_decay: 1.0e+35, seeds: [0]}}"
    assert run(config, runs, "--set", wild) == 0
    ends = {one["group"]: one for one in results(runs)["runs"]}
    assert ends["wild"]["phases"]["outcome"] == "diverged"
    assert 0 < ends["wild"]["diverged"] <= 20
    assert ends["wild"]["epochs"] == [0]
    assert ends["main"]["diverged"] is None
    assert "diverged" in (runs / "small" / "report.md").read_text("utf-8")


def test_damaged_state_is_trained_anew(config: Path, tmp_path: Path) -> None:
    job = load_probe(config)
    store = tmp_path / "store"
    with contextlib.suppress(Stop):
        run_probe(job, plan_probe(job), Store(store), Stopping(2))
    (state,) = (store / "work").glob("*/state.safetensors")
    state.write_bytes(b"")
    resumed = run_probe(job, plan_probe(job), Store(store), Bars(None, 0))
    whole = run_probe(job, plan_probe(job), Store(tmp_path / "whole"), Bars(None, 0))
    assert json.dumps(resumed) == json.dumps(whole)


def test_network_without_key_frequencies_is_measured_at_those_of_the_main_line(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imitate.probing.grokking import measuring

    found = iter([Frequencies(readout=(2,)), Frequencies(readout=(1, 3)), *[Frequencies()] * 9])
    monkeypatch.setattr(measuring, "find_frequencies", lambda *_: next(found))
    job = load_probe(config)
    told = run_probe(job, plan_probe(job), Store(tmp_path / "store"), Bars(None, 0))["runs"]
    keys = [(one["group"], one["keys"], one["keys_are_lent"]) for one in told]
    assert keys[:3] == [("main", [2], False), ("main", [1, 3], False), ("no-decay", [2], True)]
    assert told[2]["measures"][-1]["restricted"]["test"] is not None


def test_full_disk_is_told_before_anything_is_trained(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    job = load_probe(config)
    with pytest.raises(RunError, match=r"larger `train\.checkpoint_every` needs less"):
        run_probe(job, plan_probe(job), Store(tmp_path / "store"), Bars(None, 0))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("p=8", "`p` must be odd, got 8; the paper has 113"),
        ("p=3", "`p` must be at least 5, got 3"),
        ("sweep.p=[7, 10]", "`p` must be odd, got 10"),
        ("train_fraction=1", "`train_fraction` must be below 1"),
        ("operation=a^b", "`operation` must be one of a+b, a-b, a*b, a/b"),
        ("network.heads=3", "`network`: 3 heads cannot share a width of 16"),
        ("train.epoch=5", "unknown key `train.epoch`"),
        ("probe=groking", "`probe` must be one of grokking; got"),
        ("seeds=[]", "`seeds`"),
    ],
)
def test_wrong_values_are_told_with_their_place(config: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_probe(config, [override])
    assert message in str(caught.value)
    assert f"--set {override}" in str(caught.value) or "small.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["operation=a/b", "p=9"], "`a/b` needs a prime p, got 9"),
        (["train_fraction=0.01"], "a share of 0.01 of 49 pairs leaves nothing to train on"),
    ],
)
def test_runs_that_cannot_be_are_refused_before_any_is_trained(
    config: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        plan_probe(load_probe(config, overrides))


def test_stages_cannot_be_forced(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config, tmp_path / "runs", "--force", "train") == 2
    assert "a probe has none" in capsys.readouterr().err


def test_check_tells_runs_epochs_and_disk(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(config)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "no-decay" in told
    assert "260 epochs in all, in 3 programs" in told


def test_published_schema_is_that_of_the_code() -> None:
    published = (ROOT / "configs" / "probe.schema.json").read_text(encoding="utf-8")
    assert published == probe_schema() + "\n"


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "probes").glob("*.yaml")), ids=str)
def test_published_probes_can_run(path: Path) -> None:
    assert is_probe(path)
    plan = plan_probe(load_probe(path))
    assert plan.runs
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert first == f"# imitate run {path.relative_to(ROOT)}"
    assert second.endswith("$schema=../probe.schema.json")


def test_widths_tell_whether_it_is_a_lack_of_room(config: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    sweep = "sweep={operation: [a+b, random], width: [8, 16], train_fraction: [0.3, 0.7]}"
    assert run(config, runs, "--set", sweep, "--set", "train.epochs=20") == 0
    found = results(runs)
    told = found["saturation"]
    assert [(one["width"], one["n_parameters"]) for one in told] == [(8, 688), (16, 2400)]
    for one in told:
        assert one["held_bits"] < 0.7 * 49 * 3  # of 34 answers, log2 7 bits each
        assert one["published_bits"] == pytest.approx(3.64 * one["n_parameters"])
    words = (runs / "small" / "report.md").read_text("utf-8")
    assert "Is it a lack of room?" in words
    assert (runs / "small" / "figures" / "diagram-1.svg").is_file()


def test_widths_that_heads_cannot_share_are_refused(config: Path) -> None:
    with pytest.raises(ConfigError, match="2 heads cannot share a width of 9"):
        load_probe(config, ["sweep.width=[8, 9]"])
