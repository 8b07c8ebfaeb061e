"""Verdicts on arms that were recorded elsewhere -> judgements, as if the judge were asked now."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.errors import DataError
from evals.judges.meetings import meeting_id
from evals.judges.pairs import ALONE, Order, Pair
from evals.records import Judgement, read_records
from imitate.config import JudgementsJudge, Review, ReviewsJudge
from imitate.data.card import SourceCard
from imitate.data.files import FileLimits, read_rows
from imitate.judging.sets import read_word

__all__ = ["read_judgements", "read_reviews"]

_LIMITS = FileLimits(max_row_bytes=10_000_000)


def read_reviews(
    name: str,
    judge: ReviewsJudge,
    pairs: Sequence[Pair],
    *,
    task: str,
    arms: Mapping[str, str],
) -> list[Judgement]:
    """Return the recorded judgement of every pair whose arms were reviewed.

    A pair without a verdict in its file has failed; a verdict on a question that is not asked is
    left out.

    Args:
        name: The judge's name.
        judge: Where its verdicts are.
        pairs: What could be judged.
        task: The task, with which the ids of its items begin.
        arms: Names of arms, by how the reviews name them.

    Raises:
        DataError: A file cannot be read, lacks a column, or reviews a question twice.
    """
    found = []
    for review in judge.files:
        if {review.first, review.second} <= arms.keys():
            found += _read_file(name, judge, review, pairs, task, arms)
    return found


def read_judgements(name: str, judge: JudgementsJudge, pairs: Sequence[Pair]) -> list[Judgement]:
    """Return somebody's judgements on the pairs, whichever arm they are the preference for.

    Judgements on other items and other arms are left out.

    Args:
        name: The judge's name in the run.
        judge: Where the judgements are, and whose count.
        pairs: What could be judged.

    Raises:
        DataError: None of the judgements is on a pair, or some are on other answers.
        RecordError: The file holds no judgements.
    """
    said = [one for one in read_records(judge.path, Judgement) if one.judge == judge.judge]
    by_id = {pair.pair_id: pair for pair in pairs}
    rated = _rated_answers(judge.path)
    found, changed = [], []
    for one in said:
        for seen in (one, _from_the_other_side(one)):
            if pair := by_id.get(seen.item_id):
                found.append(replace(seen, judge=name))
                same = pair if seen is one else _with_answers_turned(pair)
                if rated.get(one.item_id, same.digest) != same.digest:
                    changed.append(seen.item_id)
    if changed:
        raise DataError(
            f"{len(changed)} judgements of `{judge.judge}` are on other answers than this run's, "
            f"such as on {changed[0]}",
            where=str(judge.path),
            hint="answers that were made anew need ratings anew",
        )
    if not found:
        raise DataError(
            f"none of {len(said)} judgements of `{judge.judge}` is on arms that meet in this run",
            where=str(judge.path),
        )
    return found


def _rated_answers(path: Path) -> dict[str, str]:
    """Return what was rated, by pair, as `imitate rate import` keeps it beside its judgements."""
    beside = path.with_name("ratings.json")
    if not beside.is_file():
        return {}
    told: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
    return dict(told.get("answers") or {})


def _with_answers_turned(pair: Pair) -> Pair:
    return replace(pair, answer=pair.other_answer, other_answer=pair.answer)


def _from_the_other_side(one: Judgement) -> Judgement:
    """Return the same verdict as the preference for the other arm."""
    item_id = one.item_id.removesuffix(meeting_id("", (one.arm, one.against)))
    other = one.against, one.arm
    return replace(
        one,
        item_id=meeting_id(item_id, other),
        arm=other[0],
        against=other[1],
        value=1 - one.value,
        order=ALONE if one.order == ALONE else 1 - one.order,
    )


def _read_file(
    name: str,
    judge: ReviewsJudge,
    review: Review,
    pairs: Sequence[Pair],
    task: str,
    arms: Mapping[str, str],
) -> list[Judgement]:
    shown = arms[review.first], arms[review.second]
    orders = {shown: Order.FIRST, shown[::-1]: Order.SECOND}
    waiting = {one.pair_id: one for one in pairs if (one.arm, one.against) in orders}
    said: dict[str, float | None] = {}
    for number, row in read_rows(review.path, _LIMITS, SourceCard(review.path.name)):
        where = f"{review.path}:{number}"
        item_id = f"{task}-{_value(row, judge.id_column, where)}"
        for meeting, order in orders.items():
            pair_id = meeting_id(item_id, meeting)
            if pair_id not in waiting:
                continue
            if pair_id in said:
                raise DataError("a question is reviewed twice", where=where)
            first = _preference_for_first(judge, row, where)
            said[pair_id] = first if first is None or order is Order.FIRST else 1 - first
    if waiting and not said:
        raise DataError(
            f"none of {len(waiting)} questions is reviewed",
            where=str(review.path),
            hint="reviews are matched by id: see `id_column`",
        )
    return [
        Judgement(
            item_id=pair_id,
            judge=name,
            arm=pair.arm,
            against=pair.against,
            order=int(orders[pair.arm, pair.against]),
            value=float("nan") if (value := said.get(pair_id)) is None else value,
            error="no verdict is recorded" if value is None else "",
        )
        for pair_id, pair in waiting.items()
    ]


def _preference_for_first(judge: ReviewsJudge, row: Mapping[str, Any], where: str) -> float | None:
    if judge.verdict_column:
        return read_word(judge.words, dict(row), judge.verdict_column, where)
    assert judge.scores_column is not None, judge
    scores = _two_scores(_value(row, judge.scores_column, where))
    if scores is None:
        value = str(row[judge.scores_column])[:80]
        raise DataError(f"`{judge.scores_column}` holds no two scores: {value}", where=where)
    one, other = scores
    if not (one >= 0 and other >= 0):  # NaN neither
        return None
    return 0.5 if one == other else float(one > other)


def _two_scores(value: Any) -> tuple[float, float] | None:
    """Return two numbers, NaN for an empty one; None where it is something else."""
    try:
        scores = json.loads(value) if isinstance(value, str) else value
        one, other = (math.nan if score is None else float(score) for score in scores)
    except (ValueError, TypeError):
        return None
    return one, other


def _value(row: Mapping[str, Any], column: str, where: str) -> Any:
    if column not in row:
        raise DataError(
            f"no column `{column}`", where=where, hint=f"columns there: {', '.join(row)}"
        )
    return row[column]
