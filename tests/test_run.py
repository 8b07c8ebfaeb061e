"""A whole run on a tiny model: complete, reusable, resumable after a kill, byte for byte."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evals.records import Example
from imitate.cli import main
from imitate.configfile import load_config
from imitate.fingerprints import cell_fingerprint
from imitate.plan import Plan, Stage, build_plan
from imitate.progress import Bars
from imitate.run import execute_plan
from imitate.stages import Workplace
from imitate.store import Store

ROOT = Path(__file__).resolve().parent.parent

CONFIG = """\
name: tiny
bases:
  - {{name: tiny, model: {model}}}
teacher: {{kind: oracle, error_rate: 0.1}}
mixes:
  broad:
    sources: [{{kind: lab, mix: broad, rows: 60}}]
    amounts: [16, 32]
  shuffled: {{shuffled_from: broad, amounts: [32]}}
  swapped: {{swapped_from: broad, amounts: [32]}}
data: {{max_held_out: 8}}
train:
  {{learning_rate: [1e-3, 3e-3], batch_size: 4, max_length: 256, lora_rank: 4, checkpoint_steps: 2}}
serve: {{shard_items: 16}}
analysis: {{resamples: 200}}
memorisation: {{amounts: [16, 32]}}
tasks:
  - name: chat
    axis: style
    source: {{kind: lab, task: chat}}
    n_items: 24
    n_development: 4
    max_tokens: 12
    temperature: 0.7
  - name: facts
    axis: factuality
    source: {{kind: lab, task: facts}}
    n_items: 24
    n_development: 8
    max_tokens: 6
    max_plain_tokens: 4
  - name: addition
    axis: capability
    source: {{kind: lab, task: addition}}
    n_items: 12
    n_development: 6
    max_tokens: 6
    max_plain_tokens: 4
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    from imitate.lab.tokenizer import load_tokenizer, save_tokenizer_files

    folder = tmp_path_factory.mktemp("tiny")
    set_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=load_tokenizer().get_vocab_size(),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
            tie_word_embeddings=True,
            max_position_embeddings=512,
        )
    )
    model.save_pretrained(folder / "model")
    save_tokenizer_files(folder / "model")
    path = folder / "tiny.yaml"
    path.write_text(CONFIG.format(model=folder / "model"), encoding="utf-8")
    return path


def without_timing(path: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    results.pop("timing")
    return results


@pytest.fixture(scope="module")
def finished(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert main(["run", str(config), "--runs", str(runs), "--quiet"]) == 0
    return runs


def test_a_run_ends_in_results_and_a_report(finished: Path) -> None:
    results = without_timing(finished / "tiny" / "results.json")
    assert {v["arm"] for v in results["verdicts"]} == {
        "tiny/broad-16-s0",
        "tiny/broad-32-s0",
        "tiny/shuffled-32-s0",
        "tiny/swapped-32-s0",
    }
    card = results["data_card"]["swapped"]
    assert card["swapped_from"] == "broad"
    assert 0 < card["foreign_share"] < 1
    assert (finished / "tiny" / "report.html").is_file()
    assert (finished / "tiny" / "report.md").is_file()
    proofs = {arm["arm"]: arm["adapter_proof"] for arm in results["arms"]}
    assert proofs["tiny"] is None
    assert all(proofs[v["arm"]]["shift"] > 1e-5 for v in results["verdicts"])
    assert "teacher|tiny" in results["tasks_by_arm"]


def test_a_finished_run_can_be_rated_by_people(finished: Path, tmp_path: Path) -> None:
    wanted = ["--items", "5", "--out", str(tmp_path)]
    assert main(["rate", "export", str(finished / "tiny"), *wanted]) == 0
    pairs = json.loads((tmp_path / "key.json").read_text(encoding="utf-8"))["pairs"]
    met = {(pair["arm"], pair["against"]) for pair in pairs if not pair["check"]}
    imitators = ("tiny/broad-16-s0", "tiny/broad-32-s0")
    assert met == {(arm, other) for arm in imitators for other in ("teacher", "tiny")}
    assert len(pairs) == 4 * 5 + 8


def test_the_last_line_of_stdout_is_json(
    config: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(config), "--runs", str(finished), "--quiet"]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out.strip().splitlines()[-1])
    assert set(told) == {"run", "report", "results", "verdicts"}
    assert "0 computed" in captured.err


def test_another_seed_computes_only_what_is_new(
    config: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = ["--set", "mixes.broad.seeds=[0, 1]"]
    arguments = ["run", str(config), "--runs", str(finished), "--quiet", "--name", "seeds"]
    assert main([*arguments, *seeds]) == 0
    capsys.readouterr()
    timing = json.loads((finished / "seeds" / "results.json").read_text())["timing"]
    computed = {cell["cell"] for cell in timing["cells"] if not cell["reused"]}
    assert computed
    assert all("-s1" in cell or cell.startswith(("style/", "analyse")) for cell in computed)
    verdicts = without_timing(finished / "seeds" / "results.json")["verdicts"]
    pooled = [v for v in verdicts if v["seed"] is None]
    assert {v["learning_rate"] for v in pooled} == {
        v["learning_rate"] for v in verdicts if v["seed"] == 1
    }


def computed_with(config: Path, runs: Path, name: str, *sets: str) -> set[str]:
    """Run with some keys changed, and return the cells that were computed for it."""
    overrides = [part for one in sets for part in ("--set", one)]
    runs_to = ["--runs", str(runs), "--quiet", "--name", name]
    assert main(["run", str(config), *runs_to, *overrides]) == 0
    timing = json.loads((runs / name / "results.json").read_text())["timing"]
    return {cell["cell"] for cell in timing["cells"] if not cell["reused"]}


# These read what every task's items hold (what is masked, what is kept out of the data), or all.
READ_ALL = ("data/", "style/", "memorise/", "analyse")


def test_another_task_computes_only_what_is_new(config: Path, finished: Path) -> None:
    task = (
        "  - {name: letters, axis: style, source: {kind: lab, task: chat}, n_items: 12, "
        "n_development: 2, max_tokens: 8, temperature: 0.7}\n"
    )
    longer = config.with_name("longer.yaml")
    longer.write_text(config.read_text(encoding="utf-8") + task, encoding="utf-8")
    computed = computed_with(longer, finished, "tasks")
    assert "generate/tiny/letters/chat/0-0" in computed
    assert all("/letters" in cell or cell.startswith(READ_ALL) for cell in computed)
    style = without_timing(finished / "tasks" / "results.json")["style"]
    for part in ("discriminator", "stylometry", "fresh_classifier"):
        assert set(style[part]) == {"chat", "letters"}
    of_one = without_timing(finished / "tiny" / "results.json")["style"]["stylometry"]["chat"]
    assert style["stylometry"]["chat"] == of_one


def test_a_smaller_amount_computes_only_what_is_new(config: Path, finished: Path) -> None:
    computed = computed_with(config, finished, "less", "mixes.broad.amounts=[8, 16, 32]")
    assert "train/tiny/broad-8-s0" in computed
    assert all("broad-8-s0" in cell or cell.startswith(("style/", "analyse")) for cell in computed)


def test_a_larger_amount_trains_no_smaller_one_again(config: Path, tmp_path: Path) -> None:
    prints = []
    for amounts in ("[16, 32]", "[16, 32, 40]"):
        sets = [f"mixes.broad.amounts={amounts}", "train.learning_rate=1e-3"]
        plan = build_plan(load_config(config, sets))
        wanted = {Stage.ITEMS, Stage.DISTILL, Stage.DATA}
        cells = tuple(cell for cell in plan.cells if cell.stage in wanted)
        store = Store(tmp_path)
        done = execute_plan(Plan(plan.config, plan.arms, cells), store, bars=Bars(None, 0)).cells
        trained = [plan.by_name[f"train/tiny/{arm}-s0"] for arm in ("broad-16", "shuffled-32")]
        prints.append([cell_fingerprint(cell, done, plan.config.lab) for cell in trained])
    assert prints[0] == prints[1]


def test_a_forced_stage_is_made_anew_to_the_same_results(
    config: Path, finished: Path, tmp_path: Path
) -> None:
    runs = shutil.copytree(finished, tmp_path / "runs")
    assert main(["run", str(config), "--runs", str(runs), "--quiet", "--force", "score"]) == 0
    timing = json.loads((runs / "tiny" / "results.json").read_text())["timing"]
    assert {cell["stage"] for cell in timing["cells"] if not cell["reused"]} == {"score"}
    assert without_timing(runs / "tiny" / "results.json") == without_timing(
        finished / "tiny" / "results.json"
    )


def test_an_adapter_that_does_not_act_stops_the_run(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(config), "--runs", str(tmp_path), "--quiet"]
    rate = ["--set", "train.learning_rate=1e-30"]
    assert main([*arguments, *rate]) == 2
    assert "does not act: its log-probabilities differ" in capsys.readouterr().err
    assert not (tmp_path / "tiny" / "results.json").exists()


def test_a_failed_run_leaves_no_results_of_another_config(
    config: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = shutil.copytree(finished, tmp_path / "runs")
    (tmp_path / "bad.jsonl").write_text("no json\n")
    source = f"tasks.1.source={{kind: file, path: {tmp_path / 'bad.jsonl'}}}"
    teacher = "teacher={kind: published}"
    broad = f"mixes.broad.sources=[{{kind: file, path: {tmp_path / 'bad.jsonl'}}}]"
    arguments = ["run", str(config), "--runs", str(runs), "--quiet"]
    assert main([*arguments, "--set", source, "--set", teacher, "--set", broad]) == 2
    capsys.readouterr()
    folder = runs / "tiny"
    assert not {"results.json", "report.html", "report.md"} & {p.name for p in folder.iterdir()}
    assert without_timing(folder / "previous" / "results.json") == without_timing(
        finished / "tiny" / "results.json"
    )
    assert "kind: oracle" in (folder / "previous" / "config.yaml").read_text()
    assert main(arguments) == 0
    assert (folder / "results.json").is_file()
    assert not (folder / "previous").exists()


def test_a_part_of_a_cell_survives_a_kill(tmp_path: Path) -> None:
    shown: list[int] = []
    place = Workplace(
        plan=None,  # type: ignore[arg-type]
        done={},
        endpoint=None,  # type: ignore[arg-type]
        in_process=None,  # type: ignore[arg-type]
        folder=tmp_path,
        work=tmp_path,
        logs=tmp_path,
        report=lambda advance, total, note: shown.append(advance),
    )
    made = [Example("1", "Who?", "Ada.", "lab")]
    assert place.resume("0", lambda: made, Example) == made

    def killed() -> list[Example]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.resume("1", killed, Example)
    assert place.resume("0", killed, Example) == made
    assert place.resume("1", lambda: made, Example) == made
    assert shown == [1]


def test_a_flipped_byte_in_the_store_is_recomputed_to_the_same_results(
    config: Path, finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = without_timing(finished / "tiny" / "results.json")
    cell = next((finished / ".store" / "cells" / "score").iterdir())
    path = cell / "scores.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert main(["run", str(config), "--runs", str(finished), "--quiet"]) == 0
    assert "is damaged" in caplog.text
    assert without_timing(finished / "tiny" / "results.json") == before


def start(config: Path, runs: Path) -> subprocess.Popen[bytes]:
    """Start a run that an interrupt reaches, even where the tests are a job in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "imitate.cli", "run", str(config), "--runs", str(runs), "--quiet"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def kill_and_resume(config: Path, runs: Path, *, n_kills: int, seed: int) -> int:
    """Kill a run at random moments, start it again each time; return how often it was killed."""
    rng = random.Random(seed)
    kills = 0
    while kills < n_kills:
        process = start(config, runs)
        try:
            process.wait(timeout=rng.uniform(1.0, 14.0))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        process.communicate()
        break
    process = start(config, runs)
    _, err = process.communicate()
    assert process.returncode == 0, err.decode()
    return kills


@pytest.mark.slow
def test_killed_twenty_times_a_run_gives_the_same_results(
    config: Path, finished: Path, tmp_path: Path
) -> None:
    kills = 0
    attempt = 0
    while kills < 20:
        runs = tmp_path / f"runs-{attempt}"
        kills += kill_and_resume(config, runs, n_kills=20 - kills, seed=attempt)
        killed = without_timing(runs / "tiny" / "results.json")
        assert killed == without_timing(finished / "tiny" / "results.json")
        attempt += 1
    assert kills >= 20


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_keeps_what_is_finished_and_says_how_to_go_on(
    config: Path, tmp_path: Path, how: signal.Signals
) -> None:
    process = start(config, tmp_path)
    store = tmp_path / ".store" / "cells"
    deadline = time.monotonic() + 120
    while not (store / "train").is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Give the same command again to go on" in err
    assert b"Traceback" not in err
    assert list((store / "data").iterdir())


def test_a_folder_in_use_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from filelock import FileLock

    (tmp_path / "tiny").mkdir()
    with FileLock(tmp_path / "tiny" / ".lock"):
        code = main(["run", str(config), "--runs", str(tmp_path), "--quiet"])
    assert code == 2
    assert "another process is at work" in capsys.readouterr().err


def test_a_model_in_the_making_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from filelock import FileLock

    (tmp_path / "small").mkdir()
    recipe = str(ROOT / "configs" / "lab" / "small.yaml")
    with FileLock(tmp_path / "small" / ".lock"):
        code = main(["lab", "pretrain", recipe, "--out", str(tmp_path)])
    assert code == 2
    assert "another process is at work" in capsys.readouterr().err
    assert not list(tmp_path.rglob("checkpoint*"))


@pytest.mark.parametrize("setting", ["world_seed=abc", "world_seed=-1", "name=other"])
def test_a_recipe_takes_another_world_and_nothing_else(
    setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(ROOT / "configs" / "lab" / "small.yaml")
    assert main(["lab", "pretrain", recipe, "--set", setting, "--out", str(tmp_path)]) == 2
    assert f"`--set {setting}`" in capsys.readouterr().err
