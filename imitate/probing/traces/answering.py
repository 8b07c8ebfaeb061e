"""A trained network and the problems of one test -> its answers, greedy, as one finished cell.

Its own trace is what a user sees, and the published protocol. But likeliest words one after another
are no trace of an arm whose traces cannot be told from the problem, and so its plans are asked for
after a given trace too: such as it was trained on, another problem's, and none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaForCausalLM

from evals.endpoint import Sampling
from evals.probes.traces.arms import make_traces
from evals.probes.traces.kinds import Arm, Condition, Generator, Treatment
from evals.probes.traces.problems import Problem
from evals.probes.traces.tokens import Tokens, Vocabulary
from imitate.config import TracesJob
from imitate.decoding import decode
from imitate.hardware import detect_hardware
from imitate.network import Network
from imitate.probing.keys import made_by
from imitate.probing.traces.plan import TracesRun
from imitate.store import FinishedCell, Store, fingerprint

__all__ = ["answer_test", "load_network", "openings_of"]

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


def openings_of(
    run: TracesRun, condition: Condition, problems: Sequence[Problem], vocabulary: Vocabulary
) -> list[Tokens]:
    """Return the words that each answer begins with, which it is given."""
    reasoning, solution = vocabulary.marker("reasoning"), vocabulary.marker("solution")
    if condition is Condition.OWN:
        return [reasoning if run.has_trace else solution] * len(problems)
    if condition is Condition.NONE:
        return [solution] * len(problems)
    treatments = {
        Condition.TAUGHT: run.treatment,
        Condition.TRUE: Treatment(Arm.CORRECT),
        Condition.OTHER: Treatment(Arm.SWAPPED),
    }
    return [
        solution if trace is None else np.concatenate([reasoning, trace, solution])
        for trace in make_traces(treatments[condition], problems, vocabulary, run.seed)
    ]


def load_network(folder: Path) -> Network:
    """Return a trained network, in float32, where this machine computes."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return Network(model.to(detect_hardware().device).eval())  # type: ignore[arg-type]


def answer_test(
    job: TracesJob,
    run: TracesRun,
    trained: FinishedCell,
    kind: Generator,
    condition: Condition,
    problems: Sequence[Problem],
    store: Store,
    report: Report,
) -> list[list[str]]:
    """Return the words of every answer, what it was given included, from after the problem on."""
    vocabulary = Vocabulary(job.maze.rows, job.maze.columns)
    openings = openings_of(run, condition, problems, vocabulary)
    key = fingerprint(
        {
            "trained": trained.digest,
            "openings": hashlib.sha256(b"".join(one.tobytes() for one in openings)).hexdigest(),
            "context": job.network.context,
            "problems": hashlib.sha256(b"".join(one.identity for one in problems)).hexdigest(),
        }
        | made_by(_MODULES, ("torch", "transformers", "numpy", "numba"))
    )

    def write(folder: Path, work: Path) -> None:
        prompts = [
            np.concatenate([vocabulary.query(problem), opening])
            for problem, opening in zip(problems, openings, strict=True)
        ]
        drawn = _decode(trained.folder, prompts, vocabulary, job.network.context, report)
        answers = [
            vocabulary.text(np.concatenate([opening, own]))
            for opening, own in zip(openings, drawn, strict=True)
        ]
        (folder / ANSWERS).write_text(json.dumps(answers), encoding="utf-8")

    about = {"run": run.name, "kind": kind.value, "condition": condition.value}
    cell, _ = store.compute(STAGE, key, write, about)
    answers = json.loads((cell.folder / ANSWERS).read_text(encoding="utf-8"))
    return [answer.split() for answer in answers]


def _decode(
    folder: Path, prompts: Sequence[Tokens], vocabulary: Vocabulary, context: int, report: Report
) -> list[Tokens]:
    """Return what follows each prompt; nothing where another problem's trace fills the context."""
    fitting = [place for place, prompt in enumerate(prompts) if len(prompt) < context]
    found = [np.empty(0, np.uint16) for _ in prompts]
    with torch.inference_mode():
        answers = decode(
            load_network(folder),
            [prompts[place].tolist() for place in fitting],
            [""] * len(fitting),
            Sampling(max_tokens=context, temperature=0.0),
            _AtToken(vocabulary.ids["end"]),
            batch_tokens=BATCH_TOKENS,
            progress=lambda n: report(n, len(fitting), ""),
        )
    for place, answer in zip(fitting, answers, strict=True):
        found[place] = np.array(answer.ids, np.uint16)
    return found


class _AtToken:
    """An answer ends at a token."""

    def __init__(self, token: int) -> None:
        self._token = token

    def has_ended(self, ids: Sequence[int]) -> bool:
        """Return whether the newest token is that one."""
        return ids[-1] == self._token
