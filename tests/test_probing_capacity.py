"""`imitate run` on a capacity probe: results, resume, reuse, report, and what a user gets wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from conftest import build_model
from proberuns import Stop, Stopping, results, run
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from evals.errors import ConfigError
from imitate.cli import main
from imitate.configfile import load_probe
from imitate.probing import plan_probe, run_probe
from imitate.progress import Bars
from imitate.store import Store

SMALL = """\
probe: capacity
name: small
sizes: [{layers: 1, width: 8}]
vocabulary: 256
length: 12
seeds: [0, 1]
uniform: {loads: [0.5, 2]}
text:
  tokenizer: bytes
  n_sequences: [20, 40, 80]
  n_test: 20
  prefixes: [4]
  reference: {kind: same_size, n_sequences: 100}
train: {max_steps: 60, check_every: 20, window: 1, batch: 32, warmup: 5}
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
    assert sum(json.loads(told[-1])["outcomes"].values()) == 11
    kinds = [one["run"]["kind"] for one in found["runs"]]
    assert kinds == ["uniform"] * 4 + ["reference"] + ["text"] * 6
    (size,) = found["sizes"]
    assert size["n_parameters"] == 256 * 8 + 12 * 8 + 12 * 64 + 13 * 8 + 16
    held = [one["held"]["charged"] for one in found["runs"][:4]]
    most = [max(held[0], held[2]), max(held[1], held[3])]
    assert size["capacity"]["bits"]["value"] == pytest.approx(sum(most) / 2)
    page = (runs / "small" / "report.html").read_text("utf-8")
    assert "Content-Security-Policy" in page
    words = (runs / "small" / "report.md").read_text("utf-8")
    assert "What networks hold at most" in words
    assert "Said by heart, and told from others" in words
    for name in ("held", "descent", "learning"):
        assert (runs / "small" / "figures" / f"{name}.svg").is_file()


def test_weights_are_those_of_a_gpt2_that_says_the_same(config: Path, tmp_path: Path) -> None:
    """A network's checkpoint, in transformers' own model, codes its data as the results say."""
    runs = tmp_path / "runs"
    run(config, runs, "--set", "seeds=[0]")
    first = results(runs)["runs"][0]
    weights = [
        path
        for path in sorted((runs / ".store/cells/capacity-train").glob("*/*/model.safetensors"))
        if json.loads((path.parent / "lane.json").read_text())["checks"][-1]["bits"]
        == first["checks"]["bits"][-1]
    ]
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=256,
            n_positions=12,
            n_embd=8,
            n_layer=1,
            n_head=1,
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    model.load_state_dict(load_file(weights[0]) | {"lm_head.weight": model.lm_head.weight})
    model.tie_weights()
    from evals.probes.capacity.sequences import draw_sequences

    tokens = draw_sequences(first["run"]["n_sequences"], 12, 256, seed=0)
    with torch.no_grad():
        nats = float(model(tokens, labels=tokens).loss) * tokens[:, 1:].numel()
    assert nats / math.log(2) == pytest.approx(first["checks"]["bits"][-1], rel=1e-4)


def test_second_run_makes_nothing_anew(config: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run(config, runs)
    first = results(runs)
    cells = {path: path.stat().st_mtime_ns for path in (runs / ".store").rglob("cell.json")}
    run(config, runs)
    assert {path: path.stat().st_mtime_ns for path in (runs / ".store").rglob("cell.json")} == cells
    second = results(runs)
    del first["timing"], second["timing"]
    assert first == second


def test_what_is_nearly_0_is_not_0_after_a_run(config: Path, tmp_path: Path) -> None:
    assert run(config, tmp_path / "runs", "--set", "text=null") == 0
    assert torch.tensor(1e-39) / 2 > 0


def test_another_seed_trains_no_more_than_itself(config: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run(config, runs)
    before = {one["run"]["seed"]: one for one in results(runs)["runs"][:2]}
    trained = set((runs / ".store" / "cells" / "capacity-train").glob("*/*"))
    run(config, runs, "--set", "seeds=[0, 1, 2]")
    new = set((runs / ".store" / "cells" / "capacity-train").glob("*/*")) - trained
    assert len([one for one in new if one.is_dir()]) == 5  # two uniform, three text
    assert [one for one in results(runs)["runs"][:2]] == [before[0], before[1]]


def test_killed_and_resumed_it_gives_identical_results(config: Path, tmp_path: Path) -> None:
    job = load_probe(config)
    plan = plan_probe(job)
    whole = run_probe(job, plan, Store(tmp_path / "whole"), Bars(None, 0))
    n_stops = 0
    for after in (2, 3, 1, 5, 4, 3):
        try:
            run_probe(job, plan, Store(tmp_path / "killed"), Stopping(after))
        except Stop:
            n_stops += 1
    resumed = run_probe(job, plan, Store(tmp_path / "killed"), Bars(None, 0))
    assert n_stops >= 4
    assert json.dumps(resumed) == json.dumps(whole)


def test_lengths_are_told_without_a_capacity(config: Path, tmp_path: Path) -> None:
    """Several lengths, none of them the job's: shares of the ceiling, and no claim beyond."""
    runs = tmp_path / "runs"
    assert run(config, runs, "--set", "uniform.lengths=[4, 8]", "--set", "text=null") == 0
    found = results(runs)
    assert found["headline"].startswith("Networks held ")
    assert "of what can be held" in found["headline"]
    assert found["sizes"][0]["capacity"] is None
    assert {one["run"]["length"] for one in found["runs"]} == {4, 8}


# --- text -----------------------------------------------------------------------------------------


def test_parts_of_a_text_share_no_sequence(config: Path) -> None:
    from imitate.config import CapacityJob
    from imitate.probing.capacity.texts import read_text

    job = load_probe(config)
    assert isinstance(job, CapacityJob)
    text = read_text(job)
    assert text is not None
    assert (len(text.test), len(text.reference), len(text.train)) == (20, 100, 80)
    together = torch.cat([text.test, text.reference, text.train])
    assert len(torch.unique(together, dim=0)) == 200
    assert bytes(text.train[0].tolist()).decode(errors="replace").isprintable()


def test_documents_of_a_file_are_cut_short_and_doubled_ones_dropped(
    config: Path, tmp_path: Path
) -> None:
    documents = [f"document number {n} tells of {n * n}" for n in range(300)]
    lines = [json.dumps({"text": text}) for text in ["short", documents[0], *documents]]
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    runs = tmp_path / "runs"
    more = ("--set", f"text.source={path}", "--set", "length=20", "--set", "train.max_steps=20")
    assert run(config, runs, *more) == 0
    assert results(runs)["text"] == {"n_duplicates": 1, "n_short": 1}


def test_pieces_of_a_file_are_shuffled(config: Path, tmp_path: Path) -> None:
    """What is near in a file is alike: else the first pieces would all be for testing."""
    from imitate.config import CapacityJob
    from imitate.probing.capacity.texts import read_text

    path = tmp_path / "text.txt"
    path.write_text("".join(f"{n:06}......" for n in range(1000)), encoding="utf-8")
    job = load_probe(config, [f"text.source={path}"])
    assert isinstance(job, CapacityJob)
    text = read_text(job)
    assert text is not None
    places = [int(bytes(row.tolist())[:6]) for row in text.test]
    assert min(places) < 300
    assert max(places) > 700
    assert torch.equal(read_text(job).test, text.test)  # type: ignore[union-attr]


@pytest.mark.parametrize("line", ['{"text": null}', '{"other": "x"}', "no json"])
def test_line_without_text_is_told(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    path = tmp_path / "text.jsonl"
    path.write_text('{"text": "a line that has two"}\n' + line, encoding="utf-8")
    assert run(config, tmp_path / "runs", "--set", f"text.source={path}") == 2
    assert f"{path}:2 has no `text`" in capsys.readouterr().err


def test_oracle_is_asked_where_its_tokens_are_the_text_s(config: Path, tmp_path: Path) -> None:
    folder = build_model(tmp_path / "oracle")
    path = tmp_path / "text.txt"
    path.write_text(" ".join(f"{n} quick foxes jump over {n * n} dogs" for n in range(900)))
    runs = tmp_path / "runs"
    more = [
        f"text.source={path}",
        f"text.tokenizer={folder / 'tokenizer.json'}",
        f"text.reference={{kind: oracle, model: {folder}}}",
        "vocabulary=400",
        "train.max_steps=20",
    ]
    assert run(config, runs, *[word for one in more for word in ("--set", one)]) == 0
    losses = {one["text"]["reference_loss"] for one in results(runs)["runs"] if "text" in one}
    assert len(losses) == 1
    assert losses.pop() > 5  # its weights are random


def test_oracle_with_another_tokenizer_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build_model(tmp_path / "oracle")
    more = ("--set", f"text.reference={{kind: oracle, model: {folder}}}")
    assert run(config, tmp_path / "runs", *more) == 2
    assert "has another tokenizer than the text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["vocabulary=100"], "`vocabulary` is 100, and the text's tokenizer has 256 tokens"),
        (["text.source=FILE"], "different sequences of 12 tokens and 200 are asked for"),
        (["text.source=/no/such/file"], "the text `/no/such/file` cannot be read"),
        (["text.tokenizer=FILE", "vocabulary=5000"], "no tokenizer in"),
    ],
)
def test_text_that_does_not_fit_is_refused_before_anything_is_trained(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    message: str,
) -> None:
    file = tmp_path / "few.txt"
    file.write_text("A short text. " * 20, encoding="utf-8")
    sets = [one.replace("FILE", str(file)) for one in overrides]
    more = [word for one in sets for word in ("--set", one)]
    assert run(config, tmp_path / "runs", *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs" / ".store" / "cells" / "capacity-train").exists()


# --- config ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("vocabulary=0", "`vocabulary` must be at least 2, got 0"),
        ("length=0", "`length` must be at least 2, got 0"),
        ("positions=8", "sequences of 12 tokens do not fit 8 positions"),
        ("uniform.n_sequences=[0]", "must be at least 1, got 0"),
        ("uniform.n_sequences=[5]", "give `loads` or `n_sequences`, and not both"),
        ("text.n_sequences=[]", "`text.n_sequences`"),
        ("text.prefixes=[12]", "`text.prefixes` must be below `length` (12), got 12"),
        ("sizes=[{layers: 1, width: 48}]", "heads of 32 cannot share a width of 48"),
        ("sizes=[{layers: 1, width: 8}, {layers: 1, width: 8}]", "`sizes` has (1, 8) twice"),
        ("seeds=[1, 2, 1]", "`seeds` has 1 twice"),
        ("text.n_sequences=[1]", "must be at least 2, got 1"),
        ("text.reference={kind: other}", "`text.reference.kind` must be one of"),
        ("train.step=5", "unknown key `train.step`"),
    ],
)
def test_wrong_values_are_told_with_their_place(config: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_probe(config, [override])
    assert message in str(caught.value)


def test_probe_that_there_is_not_is_told(config: Path) -> None:
    config.write_text(SMALL.replace("probe: capacity", "probe: capacitor"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_probe(config)
    assert "`probe` must be one of grokking, capacity" in str(caught.value)
    assert "did you mean `capacity`?" in str(caught.value)


def test_check_tells_sizes_and_networks(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(config)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "11 networks in 4 programs" in told
    assert "3,032" in told
