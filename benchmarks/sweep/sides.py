"""Each side of the sweep in fresh processes: what it answered, how long it took, and where.

Seconds are the clock's, from the start of the first process to the end of the last, and of
processors, of all processes together. Phases are told by our process itself, and read from the
time at which lm-eval's log lines arrive.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.server import Server
from sweep.ours import Spec

__all__ = ["Answers", "Limits", "LmEval", "Side", "children_cpu_seconds", "run_lm_eval", "run_ours"]

BENCHMARKS = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Answers:
    """One model's answers.

    `choices` are nats by (context, continuation), `texts` by context, `scores` by the head of
    lm-eval's document hash; `n_tokens` are those of the continuations, where the side tells them.
    """

    choices: Mapping[tuple[str, str], float]
    texts: Mapping[str, str]
    scores: Mapping[str, float]
    n_tokens: Mapping[tuple[str, str], int]


@dataclasses.dataclass(frozen=True)
class Side:
    """What one side answered, by model, and what it took."""

    answers: Mapping[str, Answers]
    seconds: float
    cpu_seconds: float
    phases: Mapping[str, float]


def run_ours(spec: Spec, threads: int) -> Side:
    """Return what our one process answers for all models of a spec."""
    path = Path(spec.answers).with_suffix(".spec.json")
    path.write_text(json.dumps(dataclasses.asdict(spec)))
    started, started_cpu, called = time.perf_counter(), children_cpu_seconds(), time.time()
    done = subprocess.run(
        [sys.executable, "-m", "sweep.ours", str(path)],
        env=_environment(threads, Path(spec.answers).parent / "ours"),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds, cpu = time.perf_counter() - started, children_cpu_seconds() - started_cpu
    if done.returncode:
        raise SystemExit(f"our side failed:\n{done.stderr[-3000:]}")
    told = json.loads(Path(spec.answers).read_text())
    phases = dict(told["phases"])
    phases["start"] += told["started"] - called
    phases["end"] = seconds - sum(phases.values())
    return Side({m: _read_ours(a) for m, a in told["answers"].items()}, seconds, cpu, phases)


@dataclasses.dataclass(frozen=True)
class LmEval:
    """How lm-eval is called for one model."""

    kind: str
    model_args: Mapping[str, Any]
    batch_size: str
    label: str
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @staticmethod
    def hf(model: str, adapter: Path | None, dtype: str, batch_size: str) -> LmEval:
        """Return how people evaluate an adapter."""
        peft = {"peft": str(adapter)} if adapter else {}
        arguments = {"pretrained": model, **peft, "dtype": dtype}
        return LmEval("hf", arguments, batch_size, f"hf {dtype}, batch size {batch_size}")

    @staticmethod
    def server(server: Server, name: str, tokenizer: str, n_concurrent: int) -> LmEval:
        """Return how people evaluate one model of a server."""
        arguments = {
            "model": name,
            "base_url": f"{server.url}/completions",
            "tokenizer": tokenizer,
            "tokenizer_backend": "huggingface",
            "num_concurrent": n_concurrent,
        }
        key = {"OPENAI_API_KEY": str(server.api_key)}
        label = f"vLLM, {n_concurrent} concurrent"
        return LmEval("local-completions", arguments, "1", label, key)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Items of each task at most, and what one process may take."""

    items: int | None = None
    seconds: float = 36_000.0
    memory_bytes: int | None = None


def run_lm_eval(
    how: Mapping[str, LmEval],
    tasks: Mapping[str, Path],
    work: Path,
    threads: int,
    *,
    limits: Limits | None = None,
) -> Side:
    """Return what fresh lm-eval processes answer, one for each model.

    Raises:
        subprocess.TimeoutExpired: A process took longer than allowed.
    """
    answers: dict[str, Answers] = {}
    phases = dict.fromkeys(_LINES, 0.0)
    seconds, started_cpu = 0.0, children_cpu_seconds()
    for name, one in how.items():
        environment = _environment(threads, work / "lm_eval") | dict(one.environment)
        with tempfile.TemporaryDirectory(dir=work) as output:
            started = time.perf_counter()
            taken = _one_process(one, tasks, Path(output), limits or Limits(), environment)
            seconds += time.perf_counter() - started
            phases = {phase: phases[phase] + taken[phase] for phase in phases}
            answers[name] = _read_samples(Path(output))
    return Side(answers, seconds, children_cpu_seconds() - started_cpu, phases)


_LINES = {
    "start": "Selected Tasks:",
    "load": "Building contexts for",
    "tasks": "Running loglikelihood requests",
    "choices": "Running generate_until requests",
    "generations": "Saving results aggregated",
    "end": None,
}
"""Phases in their order, and the log line that ends each."""


def _one_process(
    how: LmEval,
    tasks: Mapping[str, Path],
    output: Path,
    limits: Limits,
    environment: dict[str, str],
) -> dict[str, float]:
    """Return the seconds of each phase of one lm-eval process, which writes its samples."""
    command = [sys.executable, "-m", "lm_eval", "run", "--model", how.kind, "--model_args"]
    command += [",".join(f"{name}={value}" for name, value in how.model_args.items())]
    command += ["--tasks", *map(str, tasks.values()), "--batch_size", how.batch_size]
    command += ["--log_samples", "--output_path", str(output)]
    command += ["--limit", str(limits.items)] if limits.items else []
    marks = [time.perf_counter()]
    waiting = [line for line in _LINES.values() if line]
    log: list[str] = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        if limits.memory_bytes:
            most = (limits.memory_bytes, limits.memory_bytes)
            resource.prlimit(process.pid, resource.RLIMIT_DATA, most)
        timer = threading.Timer(limits.seconds, process.kill)
        timer.start()
        assert process.stderr is not None
        for line in process.stderr:
            log.append(line)
            if waiting and waiting[0] in line:
                marks.append(time.perf_counter())
                waiting.pop(0)
    timer.cancel()
    marks.append(time.perf_counter())
    if marks[-1] - marks[0] >= limits.seconds:
        raise subprocess.TimeoutExpired("lm_eval", limits.seconds)
    if process.returncode or waiting:
        raise SystemExit(f"lm-eval failed ({how.label}):\n{''.join(log[-40:])}")
    return {phase: marks[i + 1] - marks[i] for i, phase in enumerate(_LINES)}


def _environment(threads: int, cache: Path) -> dict[str, str]:
    """Return a process's environment: offline, our code importable, data sets cached apart."""
    paths = [str(BENCHMARKS), str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(cache),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TOKENIZERS_PARALLELISM": "false",
    }


def children_cpu_seconds() -> float:
    """Return the processor seconds of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _read_ours(told: Mapping[str, Any]) -> Answers:
    return Answers(
        choices={(c, t): nats for c, t, nats, _ in told["choices"]},
        texts={context: text for context, text in told["texts"]},
        scores=told["scores"],
        n_tokens={(c, t): n for c, t, _, n in told["choices"]},
    )


def _read_samples(folder: Path) -> Answers:
    choices, texts, scores = {}, {}, {}
    for path in sorted(folder.rglob("samples_*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            scores[sample["doc_hash"][:16]] = float(sample[sample["metrics"][0]])
            asked = [one for _, one in sorted(sample["arguments"].items())]
            for one, (answer,) in zip(asked, sample["resps"], strict=True):
                if isinstance(answer, str):
                    texts[one["arg_0"]] = answer
                else:
                    choices[one["arg_0"], one["arg_1"]] = float(answer[0])
    return Answers(choices, texts, scores, {})
