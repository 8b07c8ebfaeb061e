"""Tokens per second of a vLLM server at several concurrencies, and of our engine in process.

    imitate models fetch smollm2-135m-instruct
    python benchmarks/serving.py
    python benchmarks/serving.py --quick        # minutes, with the lab's smallest model

Four kinds of requests: the base, one LoRA adapter, eight adapters mixed (each request to the next
one), and an adapter merged into a checkpoint. The first three ask one server with all adapters
loaded; the merged checkpoint is served alone, without LoRA. Every request has a prompt of its own
and is answered with the same number of tokens, whatever they are. Beside it the in-process engine
answers the same prompts, as many at once: base, merged in memory, unmerged, and eight adapters
mixed, one after another, merging counted. Rounds are repeated after one to warm up; told are the
median and the spread of output tokens per second of the clock. The last line is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import torch
from _adapters import write_random_adapters
from _machine import describe_circumstances
from _vllm import BASE_NAME, vllm_server

from evals.endpoint import BASE, Sampling
from evals.server import Server
from imitate.adapters import Adapters
from imitate.config import ServeConfig
from imitate.models import ModelRef, choose_dtype, load_model, load_tokenizer, resolve_model
from imitate.serve import open_endpoint

MERGED = "merged"
QUICK = {"model": "lab/small", "adapters": 2, "concurrency": [1, 4], "rounds": 2, "tokens": 16}
_WORDS = ("river", "baker", "candle", "letter", "harbour", "orchard", "lantern", "follows", "the")

Ask = Callable[[Sequence[str], Sequence[str]], int]
"""Models and prompts, one of each for every request -> how many tokens came back."""


@dataclasses.dataclass(frozen=True)
class Speed:
    """Output tokens per second: the median of the rounds, the slowest, the fastest."""

    median: float
    lowest: float
    highest: float


def main() -> None:
    """Measure everything and print one line of JSON at the end."""
    options = _options()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(options, Path(folder))
    most = str(max(options.concurrency))
    vllm, ours = found["vllm"], found["in_process"]
    ratios = {
        "lora_over_base": _ratio(vllm["one_lora"][most], vllm["base"][most]),
        "mixed_over_one": _ratio(vllm["loras_mixed"][most], vllm["one_lora"][most]),
        "merged_over_lora": _ratio(vllm["merged"][most], vllm["one_lora"][most]),
        "in_process_over_vllm_one_lora": _ratio(ours["merged"][most], vllm["one_lora"][most]),
        "in_process_over_vllm_mixed": _ratio(ours["loras_mixed"][most], vllm["loras_mixed"][most]),
    }
    names = ("model", "adapters", "concurrency", "rounds", "tokens", "threads")
    settings = {name: getattr(options, name) for name in names}
    told = {"ratios": ratios, "at_concurrency": int(most), "tokens_per_s": found}
    print(json.dumps(told | {"settings": settings} | describe_circumstances()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct", help="name as in a config")
    parser.add_argument("--adapters", type=int, default=8, help="LoRA adapters of rank 16")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3, help="after one to warm up")
    parser.add_argument("--tokens", type=int, default=64, help="of each prompt and each answer")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch")
    parser.add_argument("--quick", action="store_true", help="a dry run with a tiny model")
    if "--quick" in sys.argv:
        parser.set_defaults(**QUICK)
    return parser.parse_args()


def _measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return speeds by engine, kind of request and concurrency."""
    ref = resolve_model(options.model)
    dtype = choose_dtype("auto", ref)
    names = [f"adapter-{number}" for number in range(options.adapters)]
    adapters = write_random_adapters(ref, work, names)
    merged = _save_merged(ref, adapters[names[0]], dtype, work / MERGED)
    told_dtype = str(dtype).removeprefix("torch.")
    vllm, ours = {}, {}
    kinds = {"base": [BASE_NAME], "one_lora": names[:1], "loras_mixed": names}
    with vllm_server(ref.location, adapters, dtype=told_dtype, log=work / "log") as server:
        for kind, models in kinds.items():
            vllm[kind] = _speeds(options, ref, f"vLLM, {kind}", models, _server(options, server))
    with vllm_server(str(merged), {}, dtype=told_dtype, log=work / "log") as server:
        asked = _server(options, server)
        vllm["merged"] = _speeds(options, ref, "vLLM, merged", [BASE_NAME], asked)
    kinds = {"base": [BASE], "merged": names[:1], "loras_mixed": names}
    for merges in (True, False):
        serve = ServeConfig.model_validate({"dtype": told_dtype, "merge_adapters": merges})
        with open_endpoint(serve, ref, adapters) as engine:
            for kind, models in (kinds if merges else {"unmerged": names[:1]}).items():
                asked = _in_process(options, engine)
                ours[kind] = _speeds(options, ref, f"in process, {kind}", models, asked)
    return {"dtype": told_dtype, "vllm": vllm, "in_process": ours}


def _save_merged(ref: ModelRef, adapter: Path, dtype: torch.dtype, folder: Path) -> Path:
    """Write an adapter, merged as our engine merges it, as a checkpoint."""
    model = Adapters(load_model(ref, dtype), ref, {MERGED: adapter}).merged(MERGED)
    model.save_pretrained(folder)
    load_tokenizer(ref).save_pretrained(folder)
    return folder


def _speeds(
    options: argparse.Namespace, ref: ModelRef, what: str, models: Sequence[str], ask: Ask
) -> dict[str, dict[str, float]]:
    """Return the speed at each concurrency: so many requests a round, all at once."""
    found = {}
    prompts, turns = _prompts(ref, options.tokens), itertools.cycle(models)
    for n_concurrent in options.concurrency:
        rounds = []
        for _ in range(options.rounds + 1):
            asked = list(itertools.islice(prompts, n_concurrent))
            whom = list(itertools.islice(turns, n_concurrent))
            started = time.perf_counter()
            n_tokens = ask(whom, asked)
            rounds.append(n_tokens / (time.perf_counter() - started))
            expected = n_concurrent * options.tokens
            if n_tokens != expected:
                raise SystemExit(f"{what}: {n_tokens} tokens came back, {expected} asked for")
        speed = Speed(statistics.median(rounds[1:]), min(rounds[1:]), max(rounds[1:]))
        told = {name: round(value, 1) for name, value in dataclasses.asdict(speed).items()}
        found[str(n_concurrent)] = told
        print(f"{what}, {n_concurrent} at once: {told} tokens/s", flush=True)
    return found


def _server(options: argparse.Namespace, server: Server) -> Ask:
    """Return a way to ask a server, all requests at once."""
    headers = {"Authorization": f"Bearer {server.api_key}"}

    def ask(models: Sequence[str], prompts: Sequence[str]) -> int:
        with (
            httpx2.Client(headers=headers, timeout=600) as client,
            ThreadPoolExecutor(len(prompts)) as pool,
        ):

            def one(model: str, prompt: str) -> int:
                body = {
                    "model": model,
                    "prompt": prompt,
                    "max_tokens": options.tokens,
                    "temperature": 0,
                    "ignore_eos": True,
                }
                reply = client.post(f"{server.url}/completions", json=body)
                reply.raise_for_status()
                return int(reply.json()["usage"]["completion_tokens"])

            return sum(pool.map(one, models, prompts))

    return ask


def _in_process(options: argparse.Namespace, engine: Any) -> Ask:
    """Return a way to ask our engine, the prompts of each model in one batch."""
    engine._stop_ids = (-1,)  # no token ends an answer, as `ignore_eos` has it on a server

    def ask(models: Sequence[str], prompts: Sequence[str]) -> int:
        n_tokens = 0
        for model in dict.fromkeys(models):
            own = [prompt for name, prompt in zip(models, prompts, strict=True) if name == model]
            answers = engine.generate(model, own, Sampling(options.tokens))
            n_tokens += sum(answer.n_tokens for answer in answers)
        return n_tokens

    return ask


def _prompts(ref: ModelRef, n_tokens: int) -> Iterator[str]:
    """Yield prompts of about so many tokens, no two alike, so that no cache knows them."""
    tokenizer, rng = load_tokenizer(ref), random.Random(0)
    for number in itertools.count():
        text = f"{number}: " + " ".join(rng.choice(_WORDS) for _ in range(n_tokens))
        yield tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"][:n_tokens])


def _ratio(one: dict[str, float], other: dict[str, float]) -> float:
    return round(one["median"] / other["median"], 2)


if __name__ == "__main__":
    main()
