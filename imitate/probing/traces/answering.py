"""A trained network and the problems of one test -> its answers, greedy, as one finished cell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from evals.endpoint import Sampling
from evals.probes.traces.kinds import Arm, Generator
from evals.probes.traces.problems import Problem
from evals.probes.traces.tokens import Vocabulary
from imitate.config import TracesJob
from imitate.decoding import decode
from imitate.hardware import detect_hardware
from imitate.network import Network
from imitate.probing.traces.plan import TracesRun
from imitate.store import FinishedCell, Store, fingerprint, library_versions, source_hash

__all__ = ["answer_test", "has_trace"]

STAGE = "traces-answer"
ANSWERS = "answers.json"
BATCH_TOKENS = 60_000
"""Tokens of a batch, those that are still to be drawn counted."""

_MODULES = (
    "evals.probes.traces.tokens",
    "imitate.decoding",
    "imitate.kvcache",
    "imitate.network",
    "imitate.probing.traces.answering",
)

Report = Callable[[int, int | None, str], None]


def opening_of(run: TracesRun) -> str:
    """Return the word that an answer begins with, which it is given."""
    return "reasoning" if has_trace(run) else "solution"


def has_trace(run: TracesRun) -> bool:
    """Return whether a network was trained to say something before its plan."""
    return run.treatment.arm is not Arm.SOLUTION_ONLY


def answer_test(
    job: TracesJob,
    run: TracesRun,
    trained: FinishedCell,
    kind: Generator,
    problems: Sequence[Problem],
    store: Store,
    report: Report,
) -> list[list[str]]:
    """Return the words of every answer, from after the problem to `end`."""
    hardware = detect_hardware()
    key = fingerprint(
        {
            "trained": trained.digest,
            "opening": opening_of(run),
            "context": job.network.context,
            "problems": hashlib.sha256(b"".join(one.identity for one in problems)).hexdigest(),
            "source": source_hash(_MODULES),
            "libraries": library_versions(("torch", "transformers", "numpy", "numba")),
            "compute": [hardware.device, hardware.threads if hardware.device == "cpu" else None],
        }
    )

    def write(folder: Path, work: Path) -> None:
        answers = _decode(job, run, trained.folder, problems, report)
        (folder / ANSWERS).write_text(json.dumps(answers), encoding="utf-8")

    cell, _ = store.compute(STAGE, key, write, {"run": run.name, "kind": kind.value})
    answers = json.loads((cell.folder / ANSWERS).read_text(encoding="utf-8"))
    return [answer.split() for answer in answers]


def _decode(
    job: TracesJob,
    run: TracesRun,
    folder: Path,
    problems: Sequence[Problem],
    report: Report,
) -> list[str]:
    vocabulary = Vocabulary(job.maze.rows, job.maze.columns)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    network = Network(model.to(detect_hardware().device).eval())  # type: ignore[arg-type]
    opening = vocabulary.marker(opening_of(run)).tolist()
    prompts = [vocabulary.query(problem).tolist() + opening for problem in problems]
    with torch.inference_mode():
        answers = decode(
            network,
            prompts,
            [""] * len(prompts),
            Sampling(max_tokens=job.network.context, temperature=0.0),
            _AtToken(vocabulary.ids["end"]),
            batch_tokens=BATCH_TOKENS,
            progress=lambda n: report(n, len(problems), ""),
        )
    words = vocabulary.tokens
    return [" ".join(words[token] for token in [*opening, *answer.ids]) for answer in answers]


class _AtToken:
    """An answer ends at a token."""

    def __init__(self, token: int) -> None:
        self._token = token

    def has_ended(self, ids: Sequence[int]) -> bool:
        """Return whether the newest token is that one."""
        return ids[-1] == self._token
