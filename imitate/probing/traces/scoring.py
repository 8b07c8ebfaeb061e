"""A trained network and the problems of one test -> its loss on their traces and on their plans.

How many plans are right says little of an arm that has none right: it may not have learned plans,
or not find them after a trace of its own. The loss on lines of its arm, of problems that it was not
trained on, tells these apart; and a trace that the problem does not decide keeps a loss that no
training takes away.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from evals.probes.traces.kinds import Condition
from evals.probes.traces.problems import Problem
from evals.probes.traces.tokens import Tokens, Vocabulary
from imitate.config import TracesJob
from imitate.jsonio import plain
from imitate.probing.keys import made_by
from imitate.probing.traces.answering import Report, load_network, openings_of
from imitate.probing.traces.plan import TracesRun
from imitate.scoring import score
from imitate.store import FinishedCell, Store, fingerprint
from imitate.tokens import EncodedPair

__all__ = ["Losses", "score_test"]

STAGE = "traces-score"
LOSSES = "losses.json"
BATCH_TOKENS = 16_384

_MODULES = (
    "evals.probes.traces.tokens",
    "imitate.decoding",
    "imitate.kvcache",
    "imitate.network",
    "imitate.probing.traces.answering",
    "imitate.probing.traces.scoring",
    "imitate.scoring",
)


@dataclasses.dataclass(frozen=True)
class Losses:
    """Cross-entropies of one network by problem, means over the tokens of a part, in nats.

    Attributes:
        trace: From after `reasoning` to `solution`; NaN of an arm without traces.
        plan: From after `solution` to `end`.

    A line that does not fit the context has NaN.
    """

    trace: tuple[float, ...]
    plan: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class _Line:
    """What a network is given of a line, and the two parts that it is asked to tell."""

    given: Tokens
    trace: Tokens
    plan: Tokens


def score_test(
    job: TracesJob,
    run: TracesRun,
    trained: FinishedCell,
    problems: Sequence[Problem],
    store: Store,
    report: Report,
) -> Losses:
    """Return the losses on the lines that a network's arm makes of the problems."""
    lines = _lines(run, problems, Vocabulary(job.maze.rows, job.maze.columns))
    parts = [part.tobytes() for one in lines for part in (one.given, one.trace, one.plan)]
    key = fingerprint(
        {
            "trained": trained.digest,
            "lines": hashlib.sha256(b" ".join(parts)).hexdigest(),
            "context": job.network.context,
        }
        | made_by(_MODULES, ("torch", "transformers", "numpy", "numba"))
    )

    def write(folder: Path, work: Path) -> None:
        losses = _score(trained.folder, lines, job.network.context, report)
        told = plain(dataclasses.asdict(losses))
        (folder / LOSSES).write_text(json.dumps(told), encoding="utf-8")

    cell, _ = store.compute(STAGE, key, write, {"run": run.name})
    told = json.loads((cell.folder / LOSSES).read_text(encoding="utf-8"))
    return Losses(**{part: tuple(map(_number, values)) for part, values in told.items()})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _lines(run: TracesRun, problems: Sequence[Problem], vocabulary: Vocabulary) -> list[_Line]:
    """Return the line of every problem; without a trace, `solution` is given."""
    taught = Condition.TAUGHT if run.has_trace else Condition.OWN
    openings = openings_of(run, taught, problems, vocabulary)
    return [
        _Line(
            given=np.concatenate([vocabulary.query(problem), opening[:1]]),
            trace=opening[1:],
            plan=np.concatenate([vocabulary.plan(problem.path), vocabulary.marker("end")]),
        )
        for problem, opening in zip(problems, openings, strict=True)
    ]


def _score(folder: Path, lines: Sequence[_Line], context: int, report: Report) -> Losses:
    pairs = {
        place: EncodedPair(
            context=tuple(one.given.tolist()),
            continuation=(*one.trace.tolist(), *one.plan.tolist()),
            starts=(),
        )
        for place, one in enumerate(lines)
        if len(one.given) + len(one.trace) + len(one.plan) <= context
    }
    with torch.inference_mode():
        scored = score(
            load_network(folder),
            list(pairs.values()),
            batch_tokens=BATCH_TOKENS,
            progress=lambda n: report(n, len(pairs), ""),
        )
    found = np.full((2, len(lines)), math.nan)
    for place, one in zip(pairs, scored, strict=True):
        n_trace = len(lines[place].trace)
        if n_trace:
            found[0, place] = -one.logprobs[:n_trace].mean()
        found[1, place] = -one.logprobs[n_trace:].mean()
    return Losses(*map(tuple, found.tolist()))
