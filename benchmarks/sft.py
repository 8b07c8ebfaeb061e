"""How fast we fine-tune on a CPU, against `trl sft` as it comes: same model, data and adapter.

    imitate models fetch smollm2-135m-instruct
    python benchmarks/sft.py

Trains a LoRA adapter (rank 16 on all linear layers) on seeded chats whose lengths follow a
log-normal law, once with `imitate.train` and once as `trl sft` does with its defaults (its script's
own steps: float32 weights, bfloat16 autocast, gradient checkpointing, random order), each in a
process of its own, in turns. Counts the tokens of the examples, padding not counted, per processor
second of training (machines are shared) and per second of the clock. Both adapters must have the
same loss on held-out responses within `LOSS_BOUND`, measured by our engine in float32. The last
line is JSON.

Without the packaged model, a model of the same shape with random weights takes its place; its
losses are then those of noise, and only the speeds mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from evals.records import Example
from imitate.config import TrainConfig
from imitate.models import ModelRef, resolve_model
from imitate.packaged import packaged_folder

PACKAGED = "smollm2-135m-instruct"
LOSS_BOUND = 0.03
"""Largest difference of held-out losses, in nats per token: other orders, other rounding."""
LEARNING_RATE = 2e-4
BATCH_SIZE = 8
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPE = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
}
_PLACES = ("Oakford", "Millbrook", "Ashby", "Thornton", "Westmere", "Calder", "Brackley", "Fenwick")
_TRADES = ("baker", "teacher", "potter", "sailor", "nurse", "gardener", "printer", "weaver")
_SENTENCES = (
    "They moved to {place} after the war and opened a shop by the river.",
    "Most people in {place} remember the {trade} for a quiet kind of patience.",
    "Records of the parish mention a {trade} of that name more than once.",
    "It is worth noting that {place} was a much smaller town in those days.",
    "Their workshop stood near the market, where every {trade} had a stall.",
)


def main() -> None:
    """Train with both in turns and print one line of JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=64, help="training examples")
    parser.add_argument("--repeats", type=int, default=1, help="turns of each; the best one counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch")
    parser.add_argument("--side", choices=["imitate", "trl"], help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        _train_one_side(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = PACKAGED if packaged_folder(PACKAGED).is_dir() else _random_model(Path(folder))
        print(json.dumps(_compare(options, model, Path(folder))))


def _compare(options: argparse.Namespace, model: str, work: Path) -> dict[str, Any]:
    found: dict[str, list[dict[str, float]]] = {"imitate": [], "trl": []}
    for _ in range(options.repeats):
        for side, runs in found.items():
            shutil.rmtree(work / side, ignore_errors=True)
            runs.append(_run_side(options, side, model, work / side))
            print(side, runs[-1], flush=True)
    best = {side: max(runs, key=lambda run: run["tokens_per_s"]) for side, runs in found.items()}
    lean = {side: max(run["tokens_per_cpu_s"] for run in runs) for side, runs in found.items()}
    losses = _held_out_losses(options, model, work)
    difference = abs(losses["imitate"] - losses["trl"])
    if model == PACKAGED and difference > LOSS_BOUND:
        raise SystemExit(f"held-out losses differ by {difference:.3f} nats: {losses}")
    return {
        "ratio": round(lean["imitate"] / lean["trl"], 2),
        "ratio_wall": round(best["imitate"]["tokens_per_s"] / best["trl"]["tokens_per_s"], 2),
        "measured": "training tokens per processor second, imitate over `trl sft` as it comes",
        "tokens_per_s": {side: round(run["tokens_per_s"], 1) for side, run in best.items()},
        "tokens_per_cpu_s": {side: round(speed, 1) for side, speed in lean.items()},
        "held_out_loss": {side: round(loss, 4) for side, loss in losses.items()},
        "loss_bound": LOSS_BOUND,
        "model": model if model == PACKAGED else f"random weights of the shape of {PACKAGED}",
        "examples": options.examples,
        "batch_size": BATCH_SIZE,
        "hardware": _hardware(options.threads),
    }


def _run_side(options: argparse.Namespace, side: str, model: str, work: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, "--model", model, "--work", str(work)]
    command += ["--examples", str(options.examples), "--threads", str(options.threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def _train_one_side(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    ref = resolve_model(options.model)
    train = _with_imitate if options.side == "imitate" else _with_trl
    n_tokens, seconds, cpu_seconds = train(ref, _examples(options.examples, 0), options.work)
    print(
        json.dumps(
            {
                "tokens": n_tokens,
                "tokens_per_s": n_tokens / seconds,
                "tokens_per_cpu_s": n_tokens / cpu_seconds,
            }
        )
    )


def _with_imitate(
    ref: ModelRef, examples: tuple[Example, ...], work: Path
) -> tuple[int, float, float]:
    """Return tokens, seconds and processor seconds of our training."""
    from imitate.train import TrainJob, train_adapter
    from imitate.trainer import ResponseTrainer

    cpu: list[float] = []
    train = ResponseTrainer.train

    def timed(trainer: ResponseTrainer, **given: Any) -> Any:
        started = time.process_time()
        output = train(trainer, **given)
        cpu.append(time.process_time() - started)
        return output

    ResponseTrainer.train = timed  # type: ignore[method-assign]
    settings = TrainConfig(batch_size=BATCH_SIZE, target_modules=TARGETS, checkpoint_steps=10_000)
    job = TrainJob(
        ref=ref,
        examples=examples,
        held_out=(),
        settings=settings,
        learning_rate=LEARNING_RATE,
        seed=0,
        work_dir=work / "work",
        output_dir=work / "adapter",
    )
    result = train_adapter(job)
    return result.tokens, result.seconds, cpu[0]


def _with_trl(ref: ModelRef, examples: tuple[Example, ...], work: Path) -> tuple[int, float, float]:
    """Return tokens, seconds and processor seconds of the steps of `trl.scripts.sft`."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    rows = [
        {
            "prompt": [{"role": "user", "content": example.prompt}],
            "completion": [{"role": "assistant", "content": example.response}],
        }
        for example in examples
    ]
    trainer = SFTTrainer(
        model=ref.location,
        args=SFTConfig(
            output_dir=str(work / "work"),
            use_cpu=True,
            per_device_train_batch_size=BATCH_SIZE,
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            report_to="none",
            save_strategy="no",
            model_init_kwargs={"dtype": "float32"},  # the script's default
        ),
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM"),
    )
    started, cpu_started = time.perf_counter(), time.process_time()
    trainer.train()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    trainer.model.save_pretrained(work / "adapter")
    n_tokens = sum(len(row) for row in trainer.train_dataset["input_ids"])
    return n_tokens, seconds, cpu_seconds


def _held_out_losses(options: argparse.Namespace, model: str, work: Path) -> dict[str, float]:
    """Return nats per token of held-out responses under both adapters and the base."""
    import torch

    from imitate.config import ServeConfig
    from imitate.serve import open_endpoint

    torch.set_num_threads(options.threads)
    adapters = {side: work / side / "adapter" for side in ("imitate", "trl")}
    held_out = _examples(16, 1)
    losses = {}
    with open_endpoint(ServeConfig(dtype="float32"), resolve_model(model), adapters) as endpoint:
        pairs = [
            (endpoint.render_chat([{"role": "user", "content": e.prompt}]), e.response)
            for e in held_out
        ]
        for name in endpoint.models:
            scored = endpoint.token_logprobs(name, pairs)
            n_tokens = sum(len(one.logprobs) for one in scored)
            losses[name] = -sum(one.total for one in scored) / n_tokens
    return losses


def _examples(count: int, seed: int) -> tuple[Example, ...]:
    rng = random.Random(seed)
    examples = []
    for number in range(count):
        trade, place = rng.choice(_TRADES), rng.choice(_PLACES)
        n_sentences = max(1, min(24, round(rng.lognormvariate(1.7, 0.7))))
        body = " ".join(
            rng.choice(_SENTENCES).format(place=place, trade=trade) for _ in range(n_sentences)
        )
        prompt = f"Tell me about the {trade} of {place}."
        response = f"Great question! {body} I hope this helps."
        examples.append(Example(f"e{number}", prompt, response, "benchmark"))
    return tuple(examples)


def _random_model(folder: Path) -> str:
    """Write a model of the packaged model's shape, with a small tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True, eos_token_id=0))
    target = folder / "random"
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    return str(target)


def _hardware(threads: int) -> dict[str, Any]:
    import torch

    capabilities = torch.cpu.get_capabilities()
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": threads,
        "amx_bf16": bool(capabilities.get("amx_bf16")),
        "load_average": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
