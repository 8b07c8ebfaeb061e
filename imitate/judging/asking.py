"""A judge that is asked, a shard of pairs at a time -> judgements, kept as they come.

A shard in which every call was answered is kept whole and never asked again. Within a shard a
server's answers are kept one by one, so whoever is killed pays for nothing twice. Anchors alone are
asked afresh by every run, and what is kept stands under the lock that they vouch for.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from evals.endpoint import BASE, Endpoint, Progress
from evals.generate import shards
from evals.journal import Journal
from evals.judges.llm import JudgeModel, is_answered, judge_pairs
from evals.judges.pairs import Pair
from evals.judges.rubric import Rubric, read_rubric
from evals.ledger import Budget, Ledger, Price
from evals.records import Judgement, read_records, write_records
from evals.transport import CallPolicy
from imitate.config import (
    EndpointJudge,
    EndpointTeacher,
    LabConfig,
    ModelJudge,
    ModelTeacher,
    ServeConfig,
)
from imitate.config.distilling import BudgetConfig, CallsConfig
from imitate.judging.anchoring import Anchored, Anchors, hold_to_anchors
from imitate.models import resolve_model
from imitate.serve import open_server, open_teacher

__all__ = ["Asking", "ask_judge", "describe_judge", "open_ledger"]

Opener = Callable[[Path | None], Endpoint]
"""Folder for answers, None where none are kept -> the judge's endpoint."""


@dataclasses.dataclass(frozen=True)
class Asking:
    """One judge that is asked, and how.

    Attributes:
        name: Under which its judgements and its spending are kept.
        judge: Who it is and what it is told.
        calls: How a server is called.
        shard_pairs: Pairs that are judged at a time and then kept.
        lab: The embedded world, where the judge is one of its models.
        serve: How a model is run here.
        ends_with_meeting: Whether a shard ends where other arms meet: then what is kept stays as
            it is when further arms are judged.
    """

    name: str
    judge: EndpointJudge | ModelJudge
    calls: CallsConfig
    shard_pairs: int
    lab: LabConfig
    serve: ServeConfig
    ends_with_meeting: bool = False


def ask_judge(
    asking: Asking,
    pairs: Sequence[Pair],
    folder: Path,
    ledger: Ledger,
    *,
    anchors: Anchors | None = None,
    progress: Progress,
) -> tuple[list[Judgement], Anchored | None]:
    """Return what a judge says of all pairs, in both orders, and what its anchors said before.

    Args:
        asking: The judge.
        pairs: What is judged.
        folder: Where what it says is kept.
        ledger: Counts tokens and cost, and holds the budget.
        anchors: What the judge is held to before it is asked anything else.
        progress: Called with the number of replies that came or were there already.

    Raises:
        BudgetError: The next request could exceed the budget.
        DriftError: The judge is not the one that was locked.
        EndpointError: The server is not there, or not any more.
        UserError: The judge, its key, its rubric or its lock cannot be used.
    """
    name, judge = asking.name, asking.judge
    rubric, described = _rubric_of(judge), describe_judge(asking)
    with _opener(asking, folder, ledger) as open_judge:

        def model(cache: Path | None) -> JudgeModel:
            return JudgeModel(name, open_judge(cache), BASE, rubric, judge.max_tokens)

        def ask(drawn: Sequence[Pair]) -> list[Judgement]:
            return judge_pairs(model(None), drawn, progress=progress)

        anchored = hold_to_anchors(anchors, name, described, ask) if anchors else None
        # kept verdicts stand under the lock that vouches for them
        lock = [anchored.lock_id] if anchored else []
        parts = _parts(asking, pairs, folder / "judgements" / name, [described, *lock])
        place = [judge.url] if isinstance(judge, EndpointJudge) else []
        cache = folder / "answers" / _digest([*place, *lock])
        return _judge_parts(parts, lambda: model(cache), progress), anchored


def describe_judge(asking: Asking) -> dict[str, Any]:
    """Return what locks a judge: the model, where it runs, and all that it is told; no key.

    Raises:
        DataError: There is no such rubric, or it lacks a part.
        ModelError: There is no such model here.
    """
    judge = asking.judge
    if isinstance(judge, EndpointJudge):
        who: dict[str, Any] = {"host": judge.url.partition("://")[2].partition("/")[0]}
    else:
        identity = resolve_model(judge.model, asking.lab).identity
        who = {"identity": identity, "serve": asking.serve.deciding}
    rubric = _rubric_of(judge)
    return who | {
        "model": judge.model,
        "rubric": rubric.name,
        "rubric_sha256": rubric.digest,
        "max_tokens": judge.max_tokens,
    }


def open_ledger(judges: Mapping[str, Any], budget: BudgetConfig, path: Path) -> Ledger:
    """Return the ledger of a job's or a run's judges, with an account for each.

    Args:
        judges: All judges by name; only those behind a server have a price.
        budget: What they may spend together.
        path: Journal that keeps what was spent over restarts.
    """
    prices = {
        name: Price(**judge.price.model_dump())
        for name, judge in judges.items()
        if isinstance(judge, EndpointJudge) and judge.price
    }
    return Ledger(prices, Budget(budget.max_tokens, budget.max_usd), Journal(path))


def _rubric_of(judge: EndpointJudge | ModelJudge) -> Rubric:
    return read_rubric(judge.rubric, gives_reason=judge.gives_reason)


def _parts(
    asking: Asking, pairs: Sequence[Pair], kept: Path, deciding: Sequence[Any]
) -> list[tuple[Path, list[Pair]]]:
    """Return the shards, each with the file that keeps it."""
    kept.mkdir(parents=True, exist_ok=True)
    whole: list[list[Pair]] = [list(pairs)]
    if asking.ends_with_meeting:
        meetings = itertools.groupby(pairs, key=lambda pair: (pair.arm, pair.against))
        whole = [list(mine) for _, mine in meetings]
    return [
        (kept / f"{_digest([*deciding, _as_json(part)])}.parquet", list(part))
        for mine in whole
        for part in shards(mine, asking.shard_pairs)
    ]


def _judge_parts(
    parts: Sequence[tuple[Path, list[Pair]]],
    open_model: Callable[[], JudgeModel],
    progress: Progress,
) -> list[Judgement]:
    for path, part in parts:
        if path.exists():
            progress(2 * len(part))
    if all(path.exists() for path, _ in parts):
        return [one for path, _ in parts for one in read_records(path, Judgement)]
    model = open_model()
    return [one for path, part in parts for one in _judge_shard(model, part, path, progress)]


def _judge_shard(
    model: JudgeModel, pairs: Sequence[Pair], path: Path, progress: Progress
) -> list[Judgement]:
    if path.exists():
        return read_records(path, Judgement)
    found = judge_pairs(model, pairs, progress=progress)
    if all(is_answered(one) for one in found):
        partial = path.with_suffix(".partial")
        write_records(partial, found, Judgement)
        partial.replace(path)
    return found


@contextmanager
def _opener(asking: Asking, folder: Path, ledger: Ledger) -> Iterator[Opener]:
    """Yield what opens a judge; what it opened is closed in the end.

    A model that runs here is loaded when it is first needed, and once.
    """
    name, judge = asking.name, asking.judge
    with ExitStack() as stack:

        def connect(cache: Path | None) -> Endpoint:
            assert isinstance(judge, EndpointJudge), name
            remote = EndpointTeacher(
                kind="endpoint", url=judge.url, model=judge.model, api_key_env=judge.api_key_env
            )
            policy = CallPolicy(**asking.calls.model_dump())
            server = open_server(
                remote,
                cache=cache,
                policy=policy,
                ledger=ledger,
                account=name,
                key_field=f"judges.{name}.api_key_env",
            )
            return stack.enter_context(server)

        @functools.cache
        def load() -> Endpoint:
            assert isinstance(judge, ModelJudge), name
            served = ModelTeacher(kind="model", model=judge.model)
            opened = open_teacher(served, asking.serve, asking.lab, logs=folder / "logs")
            return stack.enter_context(opened)

        yield connect if isinstance(judge, EndpointJudge) else lambda _: load()


def _as_json(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return what decides the judgements of pairs: labels, clusters and groups do not."""
    bare = (dataclasses.replace(one, label=None, cluster_id="", group="") for one in pairs)
    return [dataclasses.asdict(pair) for pair in bare]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
