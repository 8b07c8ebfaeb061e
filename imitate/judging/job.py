"""A checked job and its folder -> judgements and cards in the folder.

What a judge has said is kept as it comes: killed at any moment and given again, the job asks for
what is missing and ends in the same cards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from evals.errors import DataError
from evals.judges.card import make_card
from evals.judges.pairs import Pair
from evals.judges.probes import DRESSED
from evals.records import Judgement, write_records
from imitate.config import (
    DiscriminatorJudge,
    EndpointJudge,
    JudgeCardJob,
    ModelJudge,
    RecordedJudge,
)
from imitate.jsonio import plain, write_json
from imitate.judging.anchoring import Anchors, open_anchors
from imitate.judging.asking import open_ledger
from imitate.judging.hearing import Heard, hear_judge
from imitate.judging.sets import read_pairs
from imitate.judging.told import render_cards
from imitate.progress import open_bars
from imitate.provenance import describe_source

__all__ = ["JudgedJob", "run_card_job"]


@dataclasses.dataclass(frozen=True)
class JudgedJob:
    """The cards of all judges as a table, and the file that holds them as plain values."""

    table: str
    path: Path


def run_card_job(
    job: JudgeCardJob, folder: Path, *, command: str, quiet: bool, relock: bool = False
) -> JudgedJob:
    """Hear all judges and write their cards.

    Args:
        job: What is judged, and by whom.
        folder: Where judgements are kept and cards go; it is there already.
        command: What the user gave, for the card.
        quiet: Whether to show no progress.
        relock: Whether asked judges are locked as they are now, whatever they said before.

    Raises:
        ImitateError: A judge could not be heard to the end; what it said is kept.
    """
    started = datetime.now(UTC)
    pairs = read_pairs(job.pairs, job.lab)
    if not pairs:
        raise DataError("there are no pairs: what `pairs` names is empty")
    anchors = open_anchors(job.anchors, job.lab, pairs, folder, relock=relock)
    heard = _hear(job, pairs, folder, anchors, quiet=quiet)
    cards = [
        make_card(name, pairs, one.judgements, author=_author(job, name), lure=DRESSED, group=group)
        for name, one in heard.items()
        for group in _groups(pairs)
    ]
    told = {
        "name": job.name,
        "judges": {name: one.told for name, one in heard.items()},
        "cards": [dataclasses.asdict(card) for card in cards],
        "n_pairs": len(pairs),
        "n_labelled": sum(pair.label is not None for pair in pairs),
        "provenance": {"command": command} | describe_source(),
        "timing": {
            "started": started.isoformat(timespec="seconds"),
            "total_s": round((datetime.now(UTC) - started).total_seconds(), 3),
        },
    }
    said = [one for each in heard.values() for one in each.judgements]
    table = render_cards(cards, {name: one.told for name, one in heard.items()})
    return _write(folder, job, said, table, plain(told))


def _hear(
    job: JudgeCardJob,
    pairs: Sequence[Pair],
    folder: Path,
    anchors: Anchors | None,
    *,
    quiet: bool,
) -> dict[str, Heard]:
    ledger = open_ledger(job.judges, job.budget, folder / "spending.jsonl")
    n_asked = sum(isinstance(one, EndpointJudge | ModelJudge) for one in job.judges.values())
    n_each = len(pairs) + (len(anchors.drawn) if anchors else 0)
    with open_bars(2 * n_each * n_asked, quiet=quiet) as bars:
        return {
            name: hear_judge(
                name, job, pairs, folder, ledger, anchors=anchors, progress=bars.advance
            )
            for name in job.judges
        }


def _groups(pairs: Sequence[Pair]) -> list[str]:
    """Return the strata in their order, and all pairs together last."""
    names = list(dict.fromkeys(pair.group for pair in pairs if pair.group))
    return [*names, ""] if len(names) > 1 else [""]


def _author(job: JudgeCardJob, name: str) -> str:
    """Return the arm that is the judge itself; none where that is not known."""
    match job.judges[name]:
        case EndpointJudge() | ModelJudge() as judge:
            return judge.author or judge.model
        case RecordedJudge() as judge:
            return judge.author or ""
        case DiscriminatorJudge():
            return ""


def _write(
    folder: Path,
    job: JudgeCardJob,
    judgements: Sequence[Judgement],
    table: str,
    told: Mapping[str, Any],
) -> JudgedJob:
    path = folder / "card.json"
    path.unlink(missing_ok=True)
    write_records(folder / "judgements.parquet", judgements, Judgement)
    config = yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    (folder / "card.md").write_text(table, encoding="utf-8")
    write_json(path, told, is_for_people=True)
    return JudgedJob(table, path)
