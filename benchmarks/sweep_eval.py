"""How fast a sweep of adapters is evaluated, against a fresh `lm_eval` process for each of them.

    imitate models fetch smollm2-135m-instruct
    python benchmarks/sweep_eval.py
    python benchmarks/sweep_eval.py --quick        # a minute, with the lab's smallest model

Eight random LoRA adapters of one base answer the same two lm-eval task files: multiple choice with
few-shot examples, and worked answers to word problems. Ours is one process that asks all adapters
as the cells of `imitate run` do, on the engine that a run would choose: in process on a CPU, one
vLLM server on a GPU. Theirs is what people do today: `lm_eval --model hf --model_args
pretrained=...,peft=...`, once for each adapter, with the dtype and batch size that a trial with the
first adapter found fastest (not counted). Everything else is counted, from the start of the first
process to the end of the last.

Scores must be the same: see `sweep/agreement.py` for the bounds. Where the sides ran in bfloat16,
both are asked again in float32, for the first adapter, not counted: there log-probabilities must
agree and texts be equal, and each side's bfloat16 is compared with it. `--vllm` adds lm-eval
against one vLLM server with all adapters. Exit code 1: the scores are not the same. The last line
is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _adapters import write_random_adapters
from _machine import describe_circumstances
from _vllm import vllm_server
from sweep.agreement import compare_answers, mean_shift
from sweep.ours import Spec
from sweep.sides import Limits, LmEval, Side, children_cpu_seconds, run_lm_eval, run_ours
from sweep.tasks import write_tasks

from evals.endpoint import BASE
from imitate.models import ModelRef, choose_dtype, resolve_model

LEAST_SHIFT = 0.25
"""An adapter that moves choices less than this, in nats, may hide in bfloat16's rounding (0.05)."""
N_CONCURRENT = 32
TRIAL_TIMEOUT_S = 600.0
QUICK = {"model": "lab/small", "adapters": 2, "items": 10, "generations": 10, "trial_items": 5}


@dataclasses.dataclass(frozen=True)
class Bench:
    """What is measured: a base, its adapters, the tasks, and how."""

    ref: ModelRef
    adapters: dict[str, Path]
    tasks: dict[str, Path]
    work: Path
    options: argparse.Namespace


def main() -> None:
    """Measure all sides and print one line of JSON at the end."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(_bench(options, Path(folder)))
    print(json.dumps(found))
    if found["violations"]:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct", help="name as in a config")
    parser.add_argument("--adapters", type=int, default=8, help="LoRA adapters of rank 16")
    parser.add_argument("--items", type=int, default=200, help="questions with four choices each")
    parser.add_argument("--generations", type=int, default=100, help="generated answers")
    parser.add_argument("--max-tokens", type=int, default=64, help="longest answer, in tokens")
    parser.add_argument(
        "--sampler",
        choices=["default", "first_n"],
        default="default",
        help="few-shot examples: drawn for each item (lm-eval's default), or the same for all",
    )
    parser.add_argument("--dtype", default="auto", help="ours, as in a config's `serve.dtype`")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], help="theirs")
    parser.add_argument("--batch-sizes", nargs="+", default=["16", "32", "64", "auto"])
    parser.add_argument("--trial-items", type=int, default=64, help="items a task in a trial")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch")
    parser.add_argument("--vllm", action="store_true", help="also lm-eval against a vLLM server")
    parser.add_argument(
        "--vllm-adapters", type=int, help="ask only so many of the server's adapters; all if empty"
    )
    parser.add_argument("--quick", action="store_true", help="a dry run with a tiny model")
    if "--quick" in sys.argv:
        parser.set_defaults(**QUICK, batch_sizes=["16"], dtypes=["float32"])
    return parser.parse_args()


def _bench(options: argparse.Namespace, work: Path) -> Bench:
    ref = resolve_model(options.model)
    names = [f"adapter-{number}" for number in range(options.adapters)]
    tasks = write_tasks(
        work / "tasks",
        n_choices=options.items,
        n_generations=options.generations,
        max_tokens=options.max_tokens,
        sampler=options.sampler,
    )
    adapters = write_random_adapters(ref, work / "adapters", names)
    return Bench(ref, adapters, tasks, work, options)


def _measure(bench: Bench) -> dict[str, Any]:
    """Return the last line: both sides timed, then compared."""
    options, names = bench.options, tuple(bench.adapters)
    dtype = str(choose_dtype(options.dtype, bench.ref)).removeprefix("torch.")
    their_dtype, batch_size = _fastest_hf(bench)
    ours = _ours(bench, names, dtype)
    _tell(f"ours: one process, {_engine()}, {dtype}", ours)
    theirs = _hf(bench, names, their_dtype, batch_size)
    _tell(f"lm_eval --model hf: {len(names)} processes, {their_dtype}, {batch_size}", theirs)
    found = {
        "ratio": round(theirs.seconds / ours.seconds, 2),
        "ratio_cpu": round(theirs.cpu_seconds / ours.cpu_seconds, 2),
        "measured": "seconds of lm_eval --model hf, a process an adapter, over ours",
        "imitate": _told(ours) | {"engine": _engine(), "dtype": dtype},
        "lm_eval_hf": _told(theirs) | {"dtype": their_dtype, "batch_size": batch_size},
    }
    is_exact = {dtype, their_dtype} == {"float32"}
    rounding = "float32" if is_exact else "bfloat16"
    agreements = {"timed": compare_answers(ours, theirs, names, rounding)}
    if options.vllm:
        server = _vllm(bench, dtype)
        asked = tuple(server.answers)
        found["lm_eval_vllm"] = _told(server) | {
            "adapters": len(asked),
            "ratio": round(server.seconds / len(asked) * len(names) / ours.seconds, 2),
        }
        agreements["vllm"] = compare_answers(ours, server, asked, "bfloat16")
    exact = _ours(bench, (BASE, names[0]), "float32")
    if not is_exact:
        reference = _hf(bench, names[:1], "float32", batch_size)
        agreements["float32"] = compare_answers(exact, reference, names[:1], "float32")
        found["rounding"] = {
            side: round(mean_shift(one.answers[names[0]], exact.answers[names[0]]), 4)
            for side, one in (("imitate", ours), ("lm_eval_hf", theirs))
        }
    shifts = [mean_shift(ours.answers[name], exact.answers[BASE]) for name in names]
    violations = [f"{of}: {broken}" for of, one in agreements.items() for broken in one.violations]
    if min(shifts) < LEAST_SHIFT:
        violations.append(f"an adapter moves choices by {min(shifts):.2g} nats only: does it act?")
    return (
        found
        | {
            "agreement": {of: dataclasses.asdict(one) for of, one in agreements.items()},
            "violations": violations,
            "adapters_shift_nats": [round(shift, 2) for shift in shifts],
            "settings": {name: getattr(options, name) for name in _SETTINGS},
        }
        | describe_circumstances()
    )


_SETTINGS = ("model", "adapters", "items", "generations", "max_tokens", "sampler", "threads")


def _engine() -> str:
    """Return what a run would choose: vLLM's LoRA is slow on a CPU and fast on a GPU."""
    import torch

    return "vllm" if torch.cuda.is_available() else "in process"


def _ours(bench: Bench, models: tuple[str, ...], dtype: str) -> Side:
    spec = Spec(
        engine=_engine(),
        model=bench.options.model,
        adapters={name: str(folder) for name, folder in bench.adapters.items()},
        models=models,
        tasks={name: str(path) for name, path in bench.tasks.items()},
        dtype=dtype,
        answers=str(bench.work / "ours.json"),
        log=str(bench.work / "vllm.log"),
    )
    return run_ours(spec, bench.options.threads)


def _hf(
    bench: Bench,
    names: tuple[str, ...],
    dtype: str,
    batch_size: str,
    limits: Limits | None = None,
) -> Side:
    model = bench.ref.location
    how = {name: LmEval.hf(model, bench.adapters[name], dtype, batch_size) for name in names}
    return run_lm_eval(how, bench.tasks, bench.work, bench.options.threads, limits=limits)


def _fastest_hf(bench: Bench) -> tuple[str, str]:
    """Return the dtype and batch size with which `hf` answers some items fastest.

    A trial ends when it has taken twice as long as the best so far: `auto` tries the model's whole
    context at batch size 64 first, which takes minutes on a CPU, and more memory than there is.
    """
    options = bench.options
    settings = list(itertools.product(options.dtypes, options.batch_sizes))
    if len(settings) == 1:
        return settings[0]
    work: dict[tuple[str, str], float] = {}
    longest_s = TRIAL_TIMEOUT_S
    for dtype, batch_size in sorted(settings, key=lambda one: one[1] == "auto"):
        limits = Limits(options.trial_items, longest_s, _most_memory())
        try:
            side = _hf(bench, (next(iter(bench.adapters)),), dtype, batch_size, limits)
        except subprocess.TimeoutExpired:
            print(f"trial: hf, {dtype}, {batch_size}: given up after {longest_s:.0f} s", flush=True)
            continue
        seconds = side.phases["choices"] + side.phases["generations"]
        longest_s = min(longest_s, 2 * side.seconds)
        work[dtype, batch_size] = seconds
        print(f"trial: hf, {dtype}, {batch_size}: {seconds:.1f} s at work", flush=True)
    return min(work, key=work.__getitem__)


def _most_memory() -> int | None:
    """Return four fifths of a CPU's memory; a GPU's driver reserves more than it uses."""
    if _engine() == "vllm":
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 4 // 5


def _vllm(bench: Bench, dtype: str) -> Side:
    """Return what lm-eval gets from one server with all adapters, the server's start counted."""
    options = bench.options
    asked = list(bench.adapters)[: options.vllm_adapters]
    model, log = bench.ref.location, bench.work / "vllm.log"
    started, started_cpu = time.perf_counter(), children_cpu_seconds()
    with vllm_server(model, bench.adapters, dtype=dtype, log=log) as server:
        start_s = time.perf_counter() - started
        how = {name: LmEval.server(server, name, model, N_CONCURRENT) for name in asked}
        side = run_lm_eval(how, bench.tasks, bench.work, options.threads)
    phases = dict(side.phases) | {"server": start_s}
    cpu = children_cpu_seconds() - started_cpu
    side = Side(side.answers, side.seconds + start_s, cpu, phases)
    _tell(f"lm_eval on a vLLM server: {len(asked)} of {len(bench.adapters)} adapters", side)
    return side


def _tell(what: str, side: Side) -> None:
    parts = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in side.phases.items())
    print(f"{what}: {side.seconds:.1f} s ({parts})", flush=True)
    for name, answers in side.answers.items():
        right = sum(answers.scores.values()) / len(answers.scores)
        print(f"  {name}: {right:.3f} right", flush=True)


def _told(side: Side) -> dict[str, Any]:
    return {
        "seconds": round(side.seconds, 1),
        "cpu_seconds": round(side.cpu_seconds, 1),
        "phases_s": {phase: round(seconds, 1) for phase, seconds in side.phases.items()},
    }


if __name__ == "__main__":
    main()
