"""An open teacher whose answers are kept in the job's folder, so that none is paid twice.

A server's answers are kept one by one, as they come. A model that runs here answers in batches, and
an answer's last bits depend on its batch: shards that the prompts fix are kept whole, so that an
interrupted job gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from evals.answercache import open_cache, read_answer, write_answer
from evals.client import OpenAIEndpoint
from evals.endpoint import Endpoint, Generation, Progress, Sampling
from evals.errors import ImitateError
from evals.generate import shards
from evals.ledger import Ledger
from evals.transport import CallPolicy
from evals.wire import request_generation
from imitate.config import DistillJob, EndpointTeacher
from imitate.distill import ask_teacher
from imitate.models import resolve_model
from imitate.serve import open_server, open_teacher

__all__ = ["Ask", "Replies", "answers_folder", "describe_teacher", "open_asking"]


@dataclasses.dataclass(frozen=True)
class Replies:
    """Answers in the order of the prompts; None where none is there because asking stopped."""

    answers: list[Generation | None]
    stopped: ImitateError | None = None


Ask = Callable[[Sequence[str], Sampling, Progress], Replies]


@contextmanager
def open_asking(job: DistillJob, folder: Path, ledger: Ledger) -> Iterator[Ask]:
    """Yield what asks the job's teacher and keeps its answers below the folder.

    Raises:
        ConfigError: The variable that should hold the key is not set.
        ModelError: The teacher's checkpoint cannot be used.
        UserError: The server's URL or key cannot be used.
    """
    kept = answers_folder(job, folder)
    if isinstance(job.teacher, EndpointTeacher):
        with open_server(job.teacher, cache=kept, policy=_policy(job), ledger=ledger) as server:
            yield partial(_ask_server, server, job.teacher.model, kept)
    else:
        with open_teacher(job.teacher, job.serve, job.lab, logs=folder / "logs") as endpoint:
            yield partial(_ask_model, endpoint, open_cache(kept), job.serve.shard_items)


def answers_folder(job: DistillJob, folder: Path) -> Path:
    """Return where the answers of this teacher, so sampled, are kept.

    More samples, other prompts or another pace find what is there already.
    """
    sampling = job.sampling.model_dump(include={"top_p", "max_tokens"})
    teacher = job.teacher
    where = teacher.url if isinstance(teacher, EndpointTeacher) else job.serve.deciding
    decides = [describe_teacher(job), where, sampling, job.temperature]
    return folder / "answers" / _digest(decides)[:16]


def describe_teacher(job: DistillJob) -> dict[str, Any]:
    """Return who answers: the model's name, with its host or its identity; no key."""
    teacher = job.teacher
    if isinstance(teacher, EndpointTeacher):
        host = teacher.url.partition("://")[2].partition("/")[0]
        return {"kind": "endpoint", "model": teacher.model, "host": host}
    identity = resolve_model(teacher.model, job.lab).identity
    return {"kind": "model", "model": teacher.model, "identity": identity}


def _policy(job: DistillJob) -> CallPolicy:
    return CallPolicy(**job.calls.model_dump())


def _ask_server(
    server: OpenAIEndpoint,
    model: str,
    kept: Path,
    prompts: Sequence[str],
    sampling: Sampling,
    progress: Progress,
) -> Replies:
    try:
        return Replies(list(ask_teacher(server, prompts, sampling, progress)))
    except ImitateError as error:
        answers = [_kept_answer(server, model, kept, prompt, sampling) for prompt in prompts]
        return Replies(answers, error)


def _kept_answer(
    server: OpenAIEndpoint, model: str, kept: Path, prompt: str, sampling: Sampling
) -> Generation | None:
    chat = server.render_chat([{"role": "user", "content": prompt}])
    answer = read_answer(kept, request_generation(model, chat, sampling).digest)
    return Generation(**answer) if answer else None


def _ask_model(
    endpoint: Endpoint,
    kept: Path,
    shard_items: int,
    prompts: Sequence[str],
    sampling: Sampling,
    progress: Progress,
) -> Replies:
    answers: list[Generation | None] = []
    for shard in shards(prompts, shard_items):
        digest = _digest([shard, dataclasses.asdict(sampling)])
        known = read_answer(kept, digest)
        if known is None:
            made = ask_teacher(endpoint, shard, sampling, progress)
            known = {"answers": [dataclasses.asdict(answer) for answer in made]}
            write_answer(kept, digest, known)
        else:
            progress(len(shard))
        answers += [Generation(**answer) for answer in known["answers"]]
    return Replies(answers)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
