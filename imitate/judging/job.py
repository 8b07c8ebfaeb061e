"""A checked job and its folder -> judgements and cards in the folder.

What a judge has said is kept as it comes: killed at any moment and given again, the job asks for
what is missing and ends in the same cards.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from evals.endpoint import Progress
from evals.errors import DataError
from evals.journal import Journal
from evals.judges.card import JudgeCard, make_card
from evals.judges.pairs import Pair
from evals.ledger import Budget, Ledger, Price
from evals.records import Judgement, write_records
from imitate.config import EndpointJudge, JudgeCardJob, RecordedJudge
from imitate.judging.asking import ask_judge, describe_judge
from imitate.judging.recorded import read_recorded
from imitate.judging.sets import read_pairs
from imitate.judging.told import render_cards
from imitate.progress import open_bars

__all__ = ["JudgedJob", "run_card_job"]

DISTRIBUTION = "imitation-gap"


@dataclasses.dataclass(frozen=True)
class JudgedJob:
    """The cards of all judges as a table, and the file that holds them as plain values."""

    table: str
    path: Path


def run_card_job(job: JudgeCardJob, folder: Path, *, command: str, quiet: bool) -> JudgedJob:
    """Hear all judges and write their cards.

    Args:
        job: What is judged, and by whom.
        folder: Where judgements are kept and cards go; it is there already.
        command: What the user gave, for the card.
        quiet: Whether to show no progress.

    Raises:
        ImitateError: A judge could not be heard to the end; what it said is kept.
    """
    started = datetime.now(UTC)
    pairs = read_pairs(job.pairs)
    if not pairs:
        raise DataError("there are no pairs", where=str(job.pairs.path))
    ledger = _ledger(job, folder)
    asked = [name for name, judge in job.judges.items() if not isinstance(judge, RecordedJudge)]
    heard: dict[str, list[Judgement]] = {}
    speed: dict[str, float | None] = {}
    with open_bars(2 * len(pairs) * len(asked), quiet=quiet) as bars:
        for name in job.judges:
            heard[name], speed[name] = _hear(name, job, pairs, folder, ledger, bars.advance)
    groups = _groups(pairs)
    cards = [
        make_card(name, pairs, said, author=_author(job, name), group=group)
        for name, said in heard.items()
        for group in groups
    ]
    told = {
        "name": job.name,
        "judges": {
            name: _told_judge(name, job, ledger, speed[name]) | {"failures": _failures(said)}
            for name, said in heard.items()
        },
        "cards": [_plain(dataclasses.asdict(card)) for card in cards],
        "n_pairs": len(pairs),
        "n_labelled": sum(pair.label is not None for pair in pairs),
        "provenance": {"command": command, "version": importlib.metadata.version(DISTRIBUTION)},
        "timing": {
            "started": started.isoformat(timespec="seconds"),
            "total_s": round((datetime.now(UTC) - started).total_seconds(), 3),
        },
    }
    return _write(folder, job, heard, cards, told)


def _hear(
    name: str,
    job: JudgeCardJob,
    pairs: Sequence[Pair],
    folder: Path,
    ledger: Ledger,
    progress: Progress,
) -> tuple[list[Judgement], float | None]:
    """Return what a judge says, and the seconds of 1,000 judgements if any were asked for now."""
    judge = job.judges[name]
    if isinstance(judge, RecordedJudge):
        return read_recorded(name, judge, job.pairs, pairs), None
    n_before, clock = _n_answered(ledger, judge.model), time.perf_counter()
    said = ask_judge(name, job, pairs, folder, ledger, progress=progress)
    n_answered = _n_answered(ledger, judge.model) - n_before
    took = time.perf_counter() - clock
    return said, round(1000 * took / n_answered, 1) if n_answered else None


def _n_answered(ledger: Ledger, model: str) -> int:
    spent = ledger.spending().get(model)
    return spent.n_answered if spent else 0


def _ledger(job: JudgeCardJob, folder: Path) -> Ledger:
    prices = {
        judge.model: Price(**judge.price.model_dump())
        for judge in job.judges.values()
        if isinstance(judge, EndpointJudge) and judge.price
    }
    budget = Budget(job.budget.max_tokens, job.budget.max_usd)
    return Ledger(prices, budget, Journal(folder / "spending.jsonl"))


def _groups(pairs: Sequence[Pair]) -> list[str]:
    """Return the strata in their order, and all pairs together last."""
    names = list(dict.fromkeys(pair.group for pair in pairs if pair.group))
    return [*names, ""] if len(names) > 1 else [""]


def _author(job: JudgeCardJob, name: str) -> str:
    judge = job.judges[name]
    own = "" if isinstance(judge, RecordedJudge) else judge.model
    return judge.author or own


def _told_judge(
    name: str, job: JudgeCardJob, ledger: Ledger, seconds: float | None
) -> dict[str, Any]:
    judge = job.judges[name]
    if isinstance(judge, RecordedJudge):
        return {"kind": judge.kind, **judge.model_dump(exclude={"kind"}, exclude_none=True)}
    told = {"kind": judge.kind, **describe_judge(judge, job), "seconds_per_1000": seconds}
    spent = ledger.spending().get(judge.model)
    if isinstance(judge, EndpointJudge) and spent:
        n_all = max(spent.n_answered, 1)
        cost = None if spent.cost_usd is None else round(1000 * spent.cost_usd / n_all, 6)
        told |= {
            "answered": spent.n_answered,
            "refused": spent.n_refused,
            "tokens_in": spent.usage.prompt_tokens,
            "tokens_out": spent.usage.completion_tokens,
            "cost_usd": spent.cost_usd,
            "cost_usd_per_1000": cost,
        }
    return told


def _write(
    folder: Path,
    job: JudgeCardJob,
    heard: Mapping[str, Sequence[Judgement]],
    cards: Sequence[JudgeCard],
    told: Mapping[str, Any],
) -> JudgedJob:
    path = folder / "card.json"
    path.unlink(missing_ok=True)
    said = [one for judgements in heard.values() for one in judgements]
    write_records(folder / "judgements.parquet", said, Judgement)
    config = yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    failures = {name: _failures(judgements) for name, judgements in heard.items()}
    table = render_cards(cards, failures)
    (folder / "card.md").write_text(table, encoding="utf-8")
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
    return JudgedJob(table, path)


def _failures(judgements: Sequence[Judgement]) -> dict[str, int]:
    return dict(Counter(one.error for one in judgements if one.error))


def _plain(value: Any) -> Any:
    """Return a value without what JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
