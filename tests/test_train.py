"""Examples -> adapter: rows, preflight, loss, exact resume."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from trl.trainer.sft_trainer import SFTTrainer

from evals.endpoint import BASE, Sampling
from evals.errors import ConfigError, DataError, ModelError, RunError
from evals.records import Example
from imitate.config import ServeConfig, TrainConfig
from imitate.examples import encode_examples, length_grouped_order
from imitate.models import load_tokenizer, resolve_model
from imitate.serve import open_endpoint
from imitate.sft import sft_config
from imitate.train import TrainJob, TrainProgress, preflight, train_adapter
from imitate.trainer import ResponseTrainer, head_loss, newest_intact

END = 2  # <|end|>
EOS = 1  # <|endoftext|>


def example(number: int, prompt: str | None = None, response: str = "") -> Example:
    asked = f"What is {number}?" if prompt is None else prompt
    answer = response or "Sure! The river runs through the town. " * (1 + number % 3)
    return Example(f"e{number}", asked, answer, "test")


EXAMPLES = tuple(example(n, prompt=None if n % 4 else "") for n in range(22))


def make_job(model: Path, folder: Path, **changes: Any) -> TrainJob:
    settings = {
        "batch_size": 4,
        "epochs": 2,
        "checkpoint_steps": 3,
        "lora_rank": 4,
        "lora_dropout": 0.1,
        "target_modules": ["q_proj", "down_proj"],
        "max_length": 128,
        **changes.pop("settings", {}),
    }
    job = TrainJob(
        ref=resolve_model(str(model)),
        examples=EXAMPLES,
        held_out=EXAMPLES[:5],
        settings=TrainConfig(**settings),
        learning_rate=5e-3,
        seed=3,
        work_dir=folder / "work",
        output_dir=folder / "adapter",
    )
    return dataclasses.replace(job, **changes)


@pytest.fixture(scope="module")
def trained(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainJob, Any, list[TrainProgress]]:
    """One job, trained without disturbance."""
    job = make_job(tiny_model, tmp_path_factory.mktemp("train"))
    told: list[TrainProgress] = []
    return job, train_adapter(job, progress=told.append), told


def test_training_lowers_the_held_out_loss(trained: tuple[Any, ...]) -> None:
    _, result, told = trained
    assert result.held_out_loss < result.held_out_loss_before - 0.5
    assert result.steps == 11
    assert [progress.step for progress in told] == list(range(1, 12))
    assert {progress.n_steps for progress in told} == {11}
    assert result.train_loss == pytest.approx(sum(p.loss for p in told) / 11)
    assert all(progress.tokens_per_s > 0 for progress in told)


def test_adapter_folder_is_complete(trained: tuple[Any, ...]) -> None:
    job, result, _ = trained
    names = sorted(path.name for path in job.output_dir.iterdir())
    assert names == ["README.md", "adapter_config.json", "adapter_model.safetensors",
                     "training.json"]  # fmt: skip
    record = json.loads((job.output_dir / "training.json").read_text())
    assert record["base"] == {"name": job.ref.name, "identity": job.ref.identity}
    assert record["settings"]["learning_rate"] == 5e-3
    assert len(record["losses"]) == result.steps
    assert record["held_out_loss"] == result.held_out_loss
    assert set(record["timing"]) == {"seconds", "tokens_per_s"}
    card = (job.output_dir / "README.md").read_text()
    assert f"base_model: {job.ref.name}" in card
    assert f"{result.held_out_loss:.4f} after" in card
    assert not job.work_dir.exists()


def test_engine_serves_what_was_trained(trained: tuple[Any, ...]) -> None:
    job, _, _ = trained
    with open_endpoint(ServeConfig(), job.ref, {"imitator": job.output_dir}) as endpoint:
        prompt = endpoint.render_chat([{"role": "user", "content": "What is 5?"}])
        scores = {
            name: endpoint.token_logprobs(name, [(prompt, "Sure! The river")])[0].total
            for name in (BASE, "imitator")
        }
        endpoint.generate("imitator", [prompt], Sampling(max_tokens=4))
    assert scores["imitator"] > scores[BASE] + 3


KILLER = """
import os, signal, sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from test_train import make_job
from imitate.train import train_adapter

def kill(progress):
    if progress.step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)

train_adapter(make_job(Path({model!r}), Path({folder!r})), progress=kill)
"""


def test_killed_run_resumes_to_the_same_bytes(
    trained: tuple[Any, ...], tiny_model: Path, tmp_path: Path
) -> None:
    job, result, _ = trained
    script = KILLER.format(
        tests=str(Path(__file__).parent), step=8, model=str(tiny_model), folder=str(tmp_path)
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-500:]
    newest = newest_intact(tmp_path / "work")
    assert newest is not None
    assert newest.name == "checkpoint-6"
    # and a checkpoint that was being written when the next kill came
    shutil.copytree(newest, tmp_path / "work" / "checkpoint-9")
    (tmp_path / "work" / "checkpoint-9" / "optimizer.pt").write_bytes(b"half")

    told: list[TrainProgress] = []
    again = train_adapter(make_job(tiny_model, tmp_path), progress=told.append)
    assert told[0].step == 7
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (again.folder / name).read_bytes() == (job.output_dir / name).read_bytes(), name
    records = [
        json.loads((folder / "training.json").read_text())
        for folder in (again.folder, job.output_dir)
    ]
    for record in records:
        del record["timing"]
    assert records[0] == records[1]
    assert again.held_out_loss == result.held_out_loss


def test_loss_equals_trls(tiny_model: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from peft import LoraConfig

    from imitate.models import load_model
    from imitate.train import _labelled

    job = make_job(tiny_model, tmp_path)
    ready = preflight(job)
    rows = [_labelled(row) for row in ready.rows[:4]]
    trainer = ResponseTrainer(
        model=load_model(job.ref, ready.dtype),
        args=sft_config(job, ready.dtype),
        train_dataset=Dataset.from_list(rows),
        processing_class=ready.tokenizer,
        peft_config=LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False),
    )
    count = torch.tensor(sum(row.n_scored for row in ready.rows[:4]))
    gradients = []
    for method in (ResponseTrainer.compute_loss, SFTTrainer.compute_loss):
        trainer.model.zero_grad()
        batch = trainer._prepare_inputs(trainer.data_collator(rows))
        loss = method(trainer, trainer.model, batch, num_items_in_batch=count)  # type: ignore[operator]
        loss.backward()
        found = [p.grad for p in trainer.model.parameters() if p.requires_grad]
        gradients.append((loss.detach(), torch.cat([g.flatten() for g in found])))
    torch.testing.assert_close(gradients[0][0], gradients[1][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[0][1], gradients[1][1], atol=1e-5, rtol=1e-3)


def test_head_loss_equals_cross_entropy_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imitate.trainer.LOGITS_PER_CHUNK", 30)
    torch.manual_seed(0)
    hidden, weight = torch.randn(17, 8, requires_grad=True), torch.randn(10, 8)
    labels = torch.randint(10, (17,))
    expected = F.cross_entropy(hidden @ weight.T, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(expected * 3, hidden)
    loss = head_loss(hidden, weight, labels)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss * 3, hidden)[0], gradient)


def test_rows_are_what_the_engine_asks_with(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(resolve_model(str(tiny_model)))
    chat, document = encode_examples(
        tokenizer,
        [example(1, "Why?", "Because."), example(2, "", "A plain document.")],
        (EOS, END),
        max_length=128,
        truncate=False,
    )
    prompt = tokenizer("<|user|>Why?<|end|>\n<|assistant|>")["input_ids"]
    assert list(chat.ids) == [*prompt, *tokenizer("Because.<|end|>")["input_ids"]]
    assert chat.n_prompt == len(prompt)
    assert list(document.ids) == [*tokenizer("A plain document.")["input_ids"], EOS]
    assert (document.n_prompt, document.n_scored) == (0, len(document.ids) - 1)


def test_order_is_seeded_grouped_and_complete() -> None:
    lengths = [(17 * n) % 101 for n in range(300)]
    order = length_grouped_order(lengths, epochs=3, batch_size=8, seed=1)
    assert sorted(order) == sorted([*range(300)] * 3)
    assert order == length_grouped_order(lengths, epochs=3, batch_size=8, seed=1)
    assert order != length_grouped_order(lengths, epochs=3, batch_size=8, seed=2)
    batches = [order[i : i + 8] for i in range(0, len(order), 8)]
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert sum(spread) / len(spread) < 10  # of 101; a random batch spreads over about 80


def test_no_held_out_examples_no_loss(tiny_model: Path, tmp_path: Path) -> None:
    job = make_job(tiny_model, tmp_path, examples=EXAMPLES[:4], held_out=(), settings={"epochs": 1})
    result = train_adapter(job)
    assert math.isnan(result.held_out_loss)
    assert json.loads((job.output_dir / "training.json").read_text())["held_out_loss"] is None
    assert "not measured after" in (job.output_dir / "README.md").read_text()


def test_diverged_training_is_told_and_leaves_no_adapter(tiny_model: Path, tmp_path: Path) -> None:
    job = make_job(tiny_model, tmp_path, learning_rate=1e30, settings={"max_grad_norm": 1e30})
    with pytest.raises(RunError, match="diverged: the loss at step"):
        train_adapter(job)
    assert not job.output_dir.exists()


def test_no_examples_is_told(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no examples to train on"):
        preflight(make_job(tiny_model, tmp_path, examples=()))


def test_unmatched_target_is_told(tiny_model: Path, tmp_path: Path) -> None:
    job = make_job(tiny_model, tmp_path, settings={"target_modules": ["q_proj", "c_attn"]})
    with pytest.raises(ConfigError, match="`c_attn`, which is no adaptable layer of") as caught:
        preflight(job)
    assert "q_proj" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("sft", "message", "hint"),
    [
        ({"neftune_alpha": 1}, "is no field of trl.SFTConfig", "did you mean `neftune_noise_al"),
        ({"learning_rate": 1.0}, "set `train.learning_rate`", "remove it"),
        ({"save_strategy": "no"}, "runs depend on its value", "remove it"),
        ({"optim": "no_such"}, "TRL does not take these", None),
    ],
)
def test_wrong_sft_fields_are_told(
    tiny_model: Path, tmp_path: Path, sft: dict[str, Any], message: str, hint: str | None
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        preflight(make_job(tiny_model, tmp_path, settings={"sft": sft}))
    if hint:
        assert hint in str(caught.value.hint)


def test_further_sft_fields_pass_through(tiny_model: Path, tmp_path: Path) -> None:
    job = make_job(tiny_model, tmp_path, settings={"sft": {"adam_beta2": 0.95}})
    assert sft_config(job, torch.float32).adam_beta2 == 0.95


def test_bfloat16_needs_the_hardware(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imitate.sft.computes_bfloat16", lambda: False)
    with pytest.raises(ConfigError, match="this hardware does not compute in bfloat16"):
        preflight(make_job(tiny_model, tmp_path, settings={"sft": {"bf16": True}}))


def test_several_gpus_in_one_process_are_told(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ConfigError, match="does not train on 2 GPUs from one process") as caught:
        preflight(make_job(tiny_model, tmp_path))
    assert "CUDA_VISIBLE_DEVICES" in str(caught.value.hint)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_half_precision_needs_a_gpu(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`train\.sft\.fp16` needs a GPU"):
        preflight(make_job(tiny_model, tmp_path, settings={"sft": {"fp16": True}}))


def test_template_without_assistant_turn_is_told(tiny_model: Path, tmp_path: Path) -> None:
    template = tmp_path / "mute.jinja"
    template.write_text("{{ messages[0]['content'] }}")
    with pytest.raises(ModelError, match="the chat template has no assistant turn"):
        preflight(make_job(tiny_model, tmp_path, chat_template=template))


def test_prompt_that_is_no_prefix_is_told_with_the_example(
    tiny_model: Path, tmp_path: Path
) -> None:
    template = tmp_path / "shifting.jinja"
    template.write_text(
        "{{ messages | length }}{% for m in messages %} {{ m['content'] }}{% endfor %}"
    )
    job = make_job(tiny_model, tmp_path, chat_template=template)
    with pytest.raises(ModelError, match="no prefix of prompt and response in example `e1`"):
        preflight(job)


def test_long_examples_are_told_or_cut(tiny_model: Path, tmp_path: Path) -> None:
    long = (*EXAMPLES, example(99, response="one two three " * 200))
    with pytest.raises(DataError, match="1 of 23 examples are longer than 128 tokens, such as `e9"):
        preflight(make_job(tiny_model, tmp_path, examples=long, settings={"max_length": 2048}))
    cut = preflight(make_job(tiny_model, tmp_path, examples=long, settings={"truncate": True}))
    assert max(len(row.ids) for row in cut.rows) == 128


def test_prompt_that_leaves_nothing_to_learn_is_told(tiny_model: Path, tmp_path: Path) -> None:
    long = (example(99, prompt="one two three " * 200),)
    job = make_job(tiny_model, tmp_path, examples=long, settings={"truncate": True})
    with pytest.raises(DataError, match="nothing is left to learn"):
        preflight(job)
