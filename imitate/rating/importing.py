"""Ratings and their key -> `judgements.parquet` and `ratings.json` in the run's `ratings/`.

Every rater is a judge, `human:NAME`, and so is the majority of them; their judgements name pairs
and arms as those of the run's other judges of pairs do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.errors import RecordError, UserError
from evals.estimates import Estimate
from evals.judges.meetings import meeting_id
from evals.judges.pairs import Order, Pair
from evals.judges.raters import (
    NO_MAJORITY,
    Agreement,
    Attention,
    WinRate,
    check_attention,
    first_shown,
    majority_judgements,
    measure_agreement,
    measure_votes,
    measure_win_rate,
)
from evals.judges.verdicts import Winner
from evals.records import Judgement, write_records
from imitate.jsonio import plain, write_json
from imitate.provenance import describe_source
from imitate.rating.drawing import RunTexts, read_run_texts
from imitate.rating.filled import Filled, read_filled
from imitate.rating.sheet import Check, Key, Rated, read_key, show

__all__ = ["Contested", "Heard", "Ratings", "import_ratings"]

SCHEMA_VERSION = 1
_FIRST = {Winner.A: 1.0, Winner.B: 0.0, Winner.TIE: 0.5}
"""Preference for what was shown first."""


@dataclasses.dataclass(frozen=True)
class Heard:
    """One rater: what came back, how attentively, and what it says of the arms."""

    filled: Filled
    n_missing: int
    attention: Attention
    is_left_out: bool
    first: Estimate
    judgements: tuple[Judgement, ...]


@dataclasses.dataclass(frozen=True)
class Contested:
    """Two arms on one task: what the majority says, and all votes one by one."""

    task: str
    arm: str
    against: str
    n_pairs: int
    n_undecided: int
    majority: WinRate
    votes: Estimate


@dataclasses.dataclass(frozen=True)
class Ratings:
    """All that was measured, and where it is."""

    raters: tuple[Heard, ...]
    agreement: Agreement
    contests: tuple[Contested, ...]
    attention_bound: float
    path: Path


def import_ratings(
    run_folder: Path, files: Sequence[Path], key_path: Path, out: Path, *, drop_inattentive: bool
) -> Ratings:
    """Read ratings, measure them and write both files.

    Args:
        run_folder: The run whose answers were rated.
        files: What raters sent, all of it: what an earlier import wrote is replaced.
        key_path: The key of their page.
        out: Where the files go.
        drop_inattentive: Whether raters under the bound of attention count nowhere.

    Raises:
        UserError: A file or the key cannot be used, or nobody is left; nothing was written.
    """
    key = read_key(key_path)
    run = read_run_texts(run_folder)
    _check_run(key, run, key_path)
    raters = [_hear(one, key, drop_inattentive) for one in read_filled(files, key)]
    kept = [one for one in raters if not one.is_left_out]
    if not any(one.judgements for one in kept):
        raise UserError(_nobody(raters), hint="ask for more ratings")
    judged = [one.judgements for one in kept]
    votes = [one for said in judged for one in said]
    majority = majority_judgements(judged)
    pairs = [_pair(rated, run) for rated in key.pairs if not rated.check]
    clusters = {pair.pair_id: pair.cluster for pair in pairs}
    ratings = Ratings(
        raters=tuple(raters),
        agreement=measure_agreement(judged, clusters),
        contests=tuple(_contests(pairs, votes, majority)),
        attention_bound=key.attention_bound,
        path=out / "ratings.json",
    )
    answers = {pair.pair_id: pair.digest for pair in pairs}
    _write(out, key, ratings, [*votes, *majority], answers)
    return ratings


def _check_run(key: Key, run: RunTexts, path: Path) -> None:
    hint = "give the run that was exported, and the key of that page"
    try:
        page_id = show(key.pairs, key.instructions, run.texts).page_id
    except RecordError as error:
        raise RecordError(
            f"the key belongs to run `{key.run}`, not to this one: {error.message}",
            where=str(path),
            hint=hint,
        ) from None
    if page_id != key.page_id:
        raise RecordError(
            f"the answers of this run are not those that were rated: the page was {key.page_id}, "
            f"from these answers it would be {page_id}",
            where=str(path),
            hint=f"{hint}; a run that was made anew needs ratings anew",
        )


def _hear(filled: Filled, key: Key, drop_inattentive: bool) -> Heard:
    said = {name: _FIRST[choice] for name, choice in filled.answers.items()}
    checks = {pair.id: _expected(pair) for pair in key.pairs if pair.check}
    attention = check_attention(said, checks, bound=key.attention_bound)
    judgements = tuple(
        _judgement(filled.rater, pair, said[pair.id])
        for pair in key.pairs
        if not pair.check and pair.id in said
    )
    clusters = {_pair_id(pair): pair.cluster_id for pair in key.pairs if not pair.check}
    return Heard(
        filled=filled,
        n_missing=len(key.pairs) - len(said),
        attention=attention,
        is_left_out=drop_inattentive and attention.is_inattentive,
        first=first_shown(judgements, clusters),
        judgements=judgements,
    )


def _expected(pair: Rated) -> float:
    """Return the preference for what is shown first that a check asks for."""
    if pair.check is Check.SAME:
        return 0.5
    return 1.0 if pair.order is Order.FIRST else 0.0


def _judgement(rater: str, pair: Rated, first: float) -> Judgement:
    return Judgement(
        item_id=_pair_id(pair),
        judge=f"human:{rater}",
        arm=pair.arm,
        against=pair.against,
        order=int(pair.order),
        value=first if pair.order is Order.FIRST else 1 - first,
    )


def _contests(
    pairs: Sequence[Pair], votes: Sequence[Judgement], majority: Sequence[Judgement]
) -> Iterator[Contested]:
    """Yield what came of every contest, in the order of their names."""
    contests: dict[tuple[str, str, str], dict[str, Pair]] = {}
    for pair in pairs:
        named = (pair.group, pair.arm, pair.against)
        contests.setdefault(named, {})[pair.pair_id] = pair
    for named, mine in sorted(contests.items()):
        decided = [one for one in majority if one.item_id in mine]
        clusters = {pair_id: pair.cluster for pair_id, pair in mine.items()}
        yield Contested(
            *named,
            n_pairs=len(mine),
            n_undecided=sum(one.text == NO_MAJORITY for one in decided),
            majority=measure_win_rate(list(mine.values()), decided),
            votes=measure_votes([one for one in votes if one.item_id in mine], clusters),
        )


def _pair_id(rated: Rated) -> str:
    return meeting_id(rated.item_id, (rated.arm, rated.against))


def _pair(rated: Rated, run: RunTexts) -> Pair:
    return Pair(
        pair_id=_pair_id(rated),
        prompt=run.texts.prompts[rated.item_id],
        answer=run.texts.answers[rated.arm, rated.item_id],
        other_answer=run.texts.answers[rated.against, rated.item_id],
        arm=rated.arm,
        against=rated.against,
        cluster_id=rated.cluster_id,
        group=rated.task,
    )


def _nobody(raters: Sequence[Heard]) -> str:
    n_left_out = sum(one.is_left_out for one in raters)
    if n_left_out:
        return f"nobody is left: {n_left_out} of {len(raters)} raters were inattentive"
    return f"no pair was rated in {len(raters)} files"


def _write(
    out: Path,
    key: Key,
    ratings: Ratings,
    judgements: Sequence[Judgement],
    answers: Mapping[str, str],
) -> None:
    told = {
        "schema_version": SCHEMA_VERSION,
        "run": key.run,
        "page_id": key.page_id,
        "instructions": key.instructions,
        "instructions_sha256": key.instructions_sha256,
        "attention_bound": key.attention_bound,
        "n_pairs": sum(one.n_pairs for one in ratings.contests),
        "n_checks": sum(bool(pair.check) for pair in key.pairs),
        "raters": [_told_rater(one) for one in ratings.raters],
        "agreement": {
            "nominal": ratings.agreement.nominal.as_json(),
            "ordinal": ratings.agreement.ordinal.as_json(),
            "n_rated_twice": ratings.agreement.nominal.n,
        },
        "contests": [_told_contest(one) for one in ratings.contests],
        "answers": dict(answers),
        "provenance": describe_source(),
    }
    out.mkdir(parents=True, exist_ok=True)
    ratings.path.unlink(missing_ok=True)
    write_records(out / "judgements.parquet", judgements, Judgement)
    write_json(ratings.path, plain(told), is_for_people=True)


def _told_rater(one: Heard) -> dict[str, Any]:
    return {
        "rater": one.filled.rater,
        "file": one.filled.path.name,
        "file_sha256": one.filled.sha256,
        "n_answered": len(one.filled.answers),
        "n_missing": one.n_missing,
        "median_seconds": one.filled.median_s,
        "attention": one.attention.rate.as_json() | {"n_passed": one.attention.n_passed},
        "is_inattentive": one.attention.is_inattentive,
        "is_left_out": one.is_left_out,
        "first": one.first.as_json(),
    }


def _told_contest(one: Contested) -> dict[str, Any]:
    return {
        "task": one.task,
        "arm": one.arm,
        "against": one.against,
        "n_pairs": one.n_pairs,
        "n_rated": one.majority.rate.n,
        "wins": one.majority.wins,
        "ties": one.majority.ties,
        "losses": one.majority.losses,
        "n_undecided": one.n_undecided,
        "win_rate": one.majority.rate.as_json(),
        "votes": one.votes.as_json(),
    }
