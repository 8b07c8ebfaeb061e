"""One judge of a job -> its judgements, and what the card tells of it."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.endpoint import Progress
from evals.judges.pairs import Pair
from evals.ledger import Ledger, Spending
from evals.records import Judgement
from imitate.config import (
    DiscriminatorJudge,
    EndpointJudge,
    JudgeCardJob,
    ModelJudge,
    RecordedJudge,
)
from imitate.judging.anchoring import Anchors
from imitate.judging.asking import Asking, ask_judge, describe_judge
from imitate.judging.recorded import read_recorded

__all__ = ["Heard", "hear_judge"]


@dataclasses.dataclass(frozen=True)
class Heard:
    """What a judge said, and what is to be told of it as plain values."""

    judgements: list[Judgement]
    told: dict[str, Any]


def hear_judge(
    name: str,
    job: JudgeCardJob,
    pairs: Sequence[Pair],
    folder: Path,
    ledger: Ledger,
    *,
    anchors: Anchors | None,
    progress: Progress,
) -> Heard:
    """Return what a judge says of the pairs.

    Args:
        name: The judge's name in the job.
        job: The job.
        pairs: What is judged.
        folder: The job's folder, where asked judges' answers are kept.
        ledger: Counts tokens and cost, and holds the budget.
        anchors: What an asked judge is held to.
        progress: Called with the number of an asked judge's replies.

    Raises:
        ImitateError: The judge could not be heard to the end; what it said is kept.
    """
    judge = job.judges[name]
    match judge:
        case RecordedJudge():
            told = judge.model_dump(exclude={"kind"}, exclude_none=True)
            said = read_recorded(name, judge, job.pairs, pairs)
        case DiscriminatorJudge():
            from imitate.judging.voices import hear_voices

            said, told = hear_voices(name, judge, pairs)
        case EndpointJudge() | ModelJudge():
            asking = Asking(name, judge, job.calls, job.shard_pairs, job.lab, job.serve)
            n_before, clock = _spent(ledger, name).n_answered, time.perf_counter()
            said, anchored = ask_judge(
                asking, pairs, folder, ledger, anchors=anchors, progress=progress
            )
            took, spent = time.perf_counter() - clock, _spent(ledger, name)
            n_answered = spent.n_answered - n_before
            seconds = round(1000 * took / n_answered, 1) if n_answered else None
            told = describe_judge(asking) | {"seconds_per_1000": seconds}
            told |= _cost(spent) if isinstance(judge, EndpointJudge) else {}
            told |= {"anchors": dict(anchored.told)} if anchored else {}
    failures = Counter(one.error for one in said if one.error)
    return Heard(said, {"kind": judge.kind, **told, "failures": dict(failures)})


def _spent(ledger: Ledger, name: str) -> Spending:
    return ledger.spending().get(name, Spending())


def _cost(spent: Spending) -> dict[str, Any]:
    n_all = max(spent.n_answered, 1)
    by_1000 = None if spent.cost_usd is None else round(1000 * spent.cost_usd / n_all, 6)
    return {
        "answered": spent.n_answered,
        "refused": spent.n_refused,
        "tokens_in": spent.usage.prompt_tokens,
        "tokens_out": spent.usage.completion_tokens,
        "cost_usd": spent.cost_usd,
        "cost_usd_per_1000": by_1000,
    }
