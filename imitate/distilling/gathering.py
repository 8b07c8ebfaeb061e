"""Prompts asked of a teacher -> its answers, and what became of every call."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from evals.endpoint import Generation, Progress, Sampling
from evals.errors import ImitateError
from evals.records import Example
from imitate.config import DistillJob
from imitate.distill import is_whole
from imitate.distilling.duplicates import find_exact, find_near, sign
from imitate.distilling.refusals import is_refusal
from imitate.distilling.teacher import Ask

__all__ = ["Failure", "Fate", "Gathered", "Response", "fate_of", "gather_answers"]


class Fate(StrEnum):
    """What became of one call."""

    ANSWERED = "answered"
    CUT_OFF = "cut_off"  # at the token limit
    EMPTY = "empty"
    FILTERED = "filtered"  # withheld by the server's filter
    FAILED = "failed"
    NOT_ASKED = "not_asked"  # the job stopped before


@dataclasses.dataclass(frozen=True)
class Response:
    """One answer that became an example; `sample` numbers those to one prompt, from 0."""

    example: Example
    prompt_id: str
    sample: int
    is_refusal: bool


@dataclasses.dataclass(frozen=True)
class Failure:
    """A call that gave no answer, and why."""

    prompt_id: str
    sample: int
    error: str


@dataclasses.dataclass
class Gathered:
    """All that came of asking.

    `n_unreadable` counts calls for pairs whose answer holds none. `stopped` is what ended it early;
    `note` says in words why there is less than was asked for.
    """

    responses: list[Response] = dataclasses.field(default_factory=list)
    fates: Counter[Fate] = dataclasses.field(default_factory=Counter)
    failures: list[Failure] = dataclasses.field(default_factory=list)
    n_refused: int = 0
    n_refused_dropped: int = 0
    n_exact_duplicates: int = 0
    n_near_duplicates: int = 0
    n_unreadable: int = 0
    stopped: ImitateError | None = None
    note: str = ""

    def count(self, answer: Generation | None, prompt_id: str, sample: int) -> Fate:
        """Take note of what became of a call."""
        fate = fate_of(answer)
        self.fates[fate] += 1
        if answer and fate in (Fate.FAILED, Fate.FILTERED):
            self.failures.append(Failure(prompt_id, sample, answer.error))
        return fate

    def add(self, response: Response, *, drop_refusals: bool) -> None:
        """Keep an answer, unless it refuses and such are dropped."""
        self.n_refused += response.is_refusal
        if response.is_refusal and drop_refusals:
            self.n_refused_dropped += 1
        else:
            self.responses.append(response)


def fate_of(answer: Generation | None) -> Fate:
    """Return what became of a call."""
    if answer is None:
        return Fate.NOT_ASKED
    if answer.finish_reason == "error":
        return Fate.FILTERED if answer.is_refused else Fate.FAILED
    if is_whole(answer):
        return Fate.ANSWERED
    return Fate.CUT_OFF if answer.finish_reason == "length" else Fate.EMPTY


def gather_answers(
    job: DistillJob, asked: Sequence[Example], ask: Ask, progress: Progress
) -> Gathered:
    """Return the teacher's answers to all prompts, each as often as the job says.

    Every prompt is asked once before any is asked again, so that a job which stops early has seen
    most prompts. Answers are in the order of the prompts, those to one prompt side by side.
    """
    prompts = [example.prompt for example in asked]
    found = Gathered()
    by_sample: list[list[Generation | None]] = []
    for sample in range(job.sampling.samples):
        if found.stopped:
            by_sample.append([None] * len(prompts))
            continue
        replies = ask(prompts, _sampling(job, sample), progress)
        found.stopped = replies.stopped
        by_sample.append(replies.answers)
    for example, answers in zip(asked, zip(*by_sample, strict=True), strict=True):
        for sample, answer in enumerate(answers):
            if found.count(answer, example.example_id, sample) is Fate.ANSWERED:
                assert answer is not None
                response = _response(job, example, sample, answer)
                found.add(response, drop_refusals=job.drop_refusals)
    _drop_duplicates(job, found)
    return found


def _sampling(job: DistillJob, sample: int) -> Sampling:
    sampling = job.sampling
    return Sampling(sampling.max_tokens, job.temperature, sampling.top_p, job.seed + sample)


def _response(job: DistillJob, asked: Example, sample: int, answer: Generation) -> Response:
    text = answer.text.strip()
    suffix = f".{sample}" if job.sampling.samples > 1 else ""
    example = dataclasses.replace(
        asked, example_id=asked.example_id + suffix, response=text, source=job.name
    )
    return Response(example, asked.example_id, sample, answer.is_refused or is_refusal(text))


def _drop_duplicates(job: DistillJob, found: Gathered) -> None:
    """Drop what repeats an earlier prompt and answer, as the data stage of a run would."""
    rows = [f"{one.example.prompt}\n{one.example.response}" for one in found.responses]
    is_exact = find_exact(rows)
    if not job.exact_duplicates:
        is_exact = np.zeros(len(rows), np.bool_)
    near = job.near_duplicates
    signatures = sign(rows, near, near.shingle_words)
    is_near = find_near(signatures, ~is_exact, near) & ~is_exact
    found.n_exact_duplicates, found.n_near_duplicates = int(is_exact.sum()), int(is_near.sum())
    is_kept = ~(is_exact | is_near)
    found.responses = [one for one, kept in zip(found.responses, is_kept, strict=True) if kept]
