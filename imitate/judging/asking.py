"""A judge that is asked, a shard of pairs at a time -> judgements, kept as they come.

A shard in which every call was answered is kept whole and never asked again. Within a shard a
server's answers are kept one by one, so whoever is killed pays for nothing twice.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evals.endpoint import BASE, Endpoint, Progress
from evals.generate import shards
from evals.judges.llm import REFUSED, UNREADABLE, JudgeModel, judge_pairs
from evals.judges.pairs import Pair
from evals.judges.rubric import Rubric, read_rubric
from evals.ledger import Ledger
from evals.records import Judgement, read_records, write_records
from evals.transport import CallPolicy
from imitate.config import EndpointJudge, EndpointTeacher, JudgeCardJob, ModelJudge, ModelTeacher
from imitate.models import resolve_model
from imitate.serve import open_server, open_teacher

__all__ = ["ask_judge", "describe_judge", "rubric_of"]


def ask_judge(
    name: str,
    job: JudgeCardJob,
    pairs: Sequence[Pair],
    folder: Path,
    ledger: Ledger,
    *,
    progress: Progress,
) -> list[Judgement]:
    """Return what a judge says of all pairs, in both orders.

    Args:
        name: The judge's name in the job.
        job: The job.
        pairs: What is judged.
        folder: The job's folder.
        ledger: Counts tokens and cost, and holds the budget.
        progress: Called with the number of replies that came or were there already.

    Raises:
        BudgetError: The next request could exceed the budget.
        EndpointError: The server is not there, or not any more.
        UserError: The judge, its key or its rubric cannot be used.
    """
    judge = job.judges[name]
    assert isinstance(judge, EndpointJudge | ModelJudge), name
    rubric = rubric_of(judge)
    kept = folder / "judgements" / name
    kept.mkdir(parents=True, exist_ok=True)
    parts = list(shards(pairs, job.shard_pairs))
    paths = [kept / f"{_digest([describe_judge(judge, job), _as_json(p)])}.parquet" for p in parts]
    for part, path in zip(parts, paths, strict=True):
        if path.exists():
            progress(2 * len(part))
    if all(path.exists() for path in paths):
        return [one for path in paths for one in read_records(path, Judgement)]
    found: list[Judgement] = []
    with _open(judge, job, folder, ledger) as endpoint:
        model = JudgeModel(name, endpoint, BASE, rubric, judge.max_tokens)
        for part, path in zip(parts, paths, strict=True):
            found += _judge_shard(model, part, path, progress)
    return found


def rubric_of(judge: EndpointJudge | ModelJudge) -> Rubric:
    """Return what a judge is told.

    Raises:
        DataError: There is no such rubric, or it lacks a part.
    """
    return read_rubric(judge.rubric, gives_reason=judge.gives_reason)


def describe_judge(judge: EndpointJudge | ModelJudge, job: JudgeCardJob) -> dict[str, Any]:
    """Return what locks a judge: the model, where it runs, and all that it is told; no key."""
    if isinstance(judge, EndpointJudge):
        who: dict[str, Any] = {"host": judge.url.partition("://")[2].partition("/")[0]}
    else:
        identity = resolve_model(judge.model, job.lab).identity
        who = {"identity": identity, "serve": job.serve.deciding}
    rubric = rubric_of(judge)
    return who | {
        "model": judge.model,
        "rubric": rubric.name,
        "rubric_sha256": rubric.digest,
        "max_tokens": judge.max_tokens,
    }


def _judge_shard(
    model: JudgeModel, pairs: Sequence[Pair], path: Path, progress: Progress
) -> list[Judgement]:
    if path.exists():
        return read_records(path, Judgement)
    found = judge_pairs(model, pairs, progress=progress)
    if all(not one.error or _is_answered(one) for one in found):
        partial = path.with_suffix(".partial")
        write_records(partial, found, Judgement)
        partial.replace(path)
    return found


def _is_answered(failed: Judgement) -> bool:
    """Whether the judge said something, if no verdict: asked again it would say the same."""
    return failed.error == REFUSED or failed.error.startswith(UNREADABLE)


@contextmanager
def _open(
    judge: EndpointJudge | ModelJudge, job: JudgeCardJob, folder: Path, ledger: Ledger
) -> Iterator[Endpoint]:
    if isinstance(judge, ModelJudge):
        served = ModelTeacher(kind="model", model=judge.model)
        with open_teacher(served, job.serve, job.lab, logs=folder / "logs") as endpoint:
            yield endpoint
        return
    remote = EndpointTeacher(
        kind="endpoint", url=judge.url, model=judge.model, api_key_env=judge.api_key_env
    )
    cache = folder / "answers" / _digest([judge.url])
    policy = CallPolicy(**job.calls.model_dump())
    with open_server(remote, cache=cache, policy=policy, ledger=ledger) as server:
        yield server


def _as_json(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return what decides the judgements of pairs: labels, clusters and groups do not."""
    bare = (dataclasses.replace(one, label=None, cluster_id="", group="") for one in pairs)
    return [dataclasses.asdict(pair) for pair in bare]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
