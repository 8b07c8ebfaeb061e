"""How fast the in-process engine evaluates, against lm-eval's own `hf` model, at equal scores.

    imitate models fetch smollm2-135m-instruct
    python benchmarks/engine.py

Asks the same model, with the same LoRA adapter, for log-probabilities of multiple-choice questions
with few-shot examples and for short generations: once through `HFLM` (`peft=`, so unmerged), once
through our engine (adapter merged in memory) behind `evals.lm`. In float32 the log-probabilities
must agree within `SCORE_BOUND` and the generations must be equal; in bfloat16 only speeds are
told, since every batching rounds differently there. Loading is not timed. Ratios are of
processor seconds, since machines are shared; the clock is told too. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from evals.lm import endpoint_lm
from imitate.config import ServeConfig
from imitate.models import ModelRef, load_model, resolve_model
from imitate.serve import open_endpoint

SCORE_BOUND = 2e-3
"""Largest difference of a continuation's log-probability, in nats, in float32."""
N_SHOTS = 4
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_NOUNS = ("river", "baker", "candle", "mountain", "letter", "harbour", "orchard", "lantern")
_VERBS = ("follows", "carries", "remembers", "answers", "leaves", "finds")


def main() -> None:
    """Measure both and print one line of JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct", help="name as in a config")
    parser.add_argument("--items", type=int, default=40, help="questions with four choices each")
    parser.add_argument("--generations", type=int, default=32, help="generated answers")
    parser.add_argument("--max-tokens", type=int, default=32, help="longest answer, in tokens")
    parser.add_argument("--batch", type=int, default=32, help="batch size of `hf`")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        adapter = _random_adapter(resolve_model(options.model), Path(folder))
        found = {dtype: _compare(options, adapter, dtype) for dtype in options.dtype}
    first = found[options.dtype[-1]]
    print(
        json.dumps(
            {
                "ratio": first["ratio"],
                "measured": f"processor seconds of `hf` over ours, {options.dtype[-1]}, "
                "one adapter, choices and generations together, loading not counted",
                "by_dtype": found,
                "score_bound": SCORE_BOUND,
                "model": options.model,
                "items": options.items,
                "generations": options.generations,
                "hardware": {
                    "processor": platform.processor() or platform.machine(),
                    "threads": options.threads,
                    "load_average": round(os.getloadavg()[0], 1),
                    "torch": torch.__version__,
                },
            }
        )
    )


def _compare(options: argparse.Namespace, adapter: Path, dtype: str) -> dict[str, Any]:
    choices, questions = _requests(options)
    ours = _ours(options, adapter, dtype, choices, questions)
    theirs = _theirs(options, adapter, dtype, choices, questions)
    gaps = [abs(a[0] - b[0]) for a, b in zip(ours["scores"], theirs["scores"], strict=True)]
    n_equal = sum(a == b for a, b in zip(ours["texts"], theirs["texts"], strict=True))
    if dtype == "float32" and (max(gaps) > SCORE_BOUND or n_equal < len(questions)):
        raise SystemExit(f"scores differ by {max(gaps):.2g}, {n_equal} equal texts")
    told = {
        f"{what}_s": {"imitate": round(ours[what], 2), "hf": round(theirs[what], 2)}
        for what in ("choices", "generations", "choices_cpu", "generations_cpu")
    }
    return {
        "ratio": round(_total(theirs, "_cpu") / _total(ours, "_cpu"), 2),
        "ratio_wall": round(_total(theirs) / _total(ours), 2),
        **told,
        "largest_score_gap": round(max(gaps), 5),
        "equal_texts": f"{n_equal} of {len(questions)}",
    }


def _total(side: dict[str, Any], kind: str = "") -> float:
    return float(side["choices" + kind] + side["generations" + kind])


def _ours(
    options: argparse.Namespace, adapter: Path, dtype: str, choices: list[Any], questions: list[Any]
) -> dict[str, Any]:
    serve = ServeConfig.model_validate({"dtype": dtype})
    with open_endpoint(serve, resolve_model(options.model), {"imitator": adapter}) as endpoint:
        endpoint.token_logprobs("imitator", [("warm", " up")])
        lm = endpoint_lm(endpoint, "imitator")
        return _timed(lm.loglikelihood, lm.generate_until, choices, questions)


def _theirs(
    options: argparse.Namespace, adapter: Path, dtype: str, choices: list[Any], questions: list[Any]
) -> dict[str, Any]:
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(
        pretrained=resolve_model(options.model).location,
        peft=str(adapter),
        device="cpu",
        dtype=dtype,
        batch_size=options.batch,
    )
    lm.loglikelihood(choices[:1], disable_tqdm=True)
    return _timed(
        lambda asked: lm.loglikelihood(asked, disable_tqdm=True),
        lambda asked: lm.generate_until(asked, disable_tqdm=True),
        choices,
        questions,
    )


def _timed(
    score: Callable[[list[Any]], Any],
    generate: Callable[[list[Any]], Any],
    choices: list[Any],
    questions: list[Any],
) -> dict[str, Any]:
    marks = [(time.perf_counter(), time.process_time())]
    scores = score(choices)
    marks.append((time.perf_counter(), time.process_time()))
    texts = generate(questions)
    marks.append((time.perf_counter(), time.process_time()))
    (first, second), (first_cpu, second_cpu) = (
        [marks[i + 1][clock] - marks[i][clock] for i in (0, 1)] for clock in (0, 1)
    )
    return {
        "scores": scores,
        "texts": texts,
        "choices": first,
        "generations": second,
        "choices_cpu": first_cpu,
        "generations_cpu": second_cpu,
    }


def _requests(options: argparse.Namespace) -> tuple[list[Any], list[Any]]:
    from lm_eval.api.instance import Instance

    rng = random.Random(0)

    def question() -> str:
        a, b, c = rng.sample(_NOUNS, 3)
        return f"If the {a} {rng.choice(_VERBS)} the {b}, which of them is near the {c}?"

    def sentence() -> str:
        return f"the {rng.choice(_NOUNS)} that {rng.choice(_VERBS)} the {rng.choice(_NOUNS)}"

    shots = "".join(f"Q: {question()}\nA: {sentence()}\n" for _ in range(N_SHOTS))
    choices = []
    for number in range(options.items):
        context = f"{shots}Q: {question()}\nA:"
        for _ in range(4):
            pair = (context, f" {sentence()}")
            choices.append(
                Instance("loglikelihood", {}, pair, len(choices), metadata=("t", number, 1))
            )
    kwargs = {"until": ["\n\n"], "max_gen_toks": options.max_tokens, "do_sample": False}
    questions = [
        Instance(
            "generate_until",
            {},
            (f"Here is a story about {sentence()}, and about {sentence()}.", kwargs),
            number,
            metadata=("t", number, 1),
        )
        for number in range(options.generations)
    ]
    return choices, questions


def _random_adapter(ref: ModelRef, folder: Path) -> Path:
    """Write an adapter that changes the model a little, as a trained one does."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, init_lora_weights=False)
    peft = get_peft_model(load_model(ref, torch.float32), config)
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            parameter.data *= 0.15
    peft.save_pretrained(folder / "adapter")
    return folder / "adapter"


if __name__ == "__main__":
    main()
