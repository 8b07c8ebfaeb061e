"""Cells in which judges compare arms: what they said, and how much of it is style."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from evals.errors import RecordError, RunError
from evals.estimates import Estimate
from evals.judges.card import JudgeCard, make_card
from evals.judges.llm import is_answered
from evals.judges.meetings import answers_by_item, pair_answers
from evals.judges.pairs import Pair
from evals.preference.battles import gather_battles
from evals.preference.control import Preference, measure_preference
from evals.preference.headtohead import rated_at_least
from evals.records import Judgement, read_records, write_records
from imitate.config import EndpointJudge, JudgementsJudge, ModelJudge, ReviewsJudge
from imitate.hashing import cache_folder
from imitate.jsonio import read_json, write_json
from imitate.judging.anchoring import open_anchors
from imitate.judging.asking import Asking, ask_judge, describe_judge, open_ledger
from imitate.judging.reviews import read_judgements, read_reviews
from imitate.plan import TEACHER, Cell
from imitate.plan.preferring import reviewed_arms
from imitate.stages.answering import answered_items
from imitate.stages.listening import chat_outputs
from imitate.stages.workplace import Workplace

__all__ = ["write_judgements", "write_preference"]


def write_judgements(cell: Cell, place: Workplace) -> None:
    """Write what one judge says of the arms of one base on one style task."""
    pairs = _pairs(cell, place)
    judge = place.plan.config.preference.judges[cell.params["name"]]
    name = cell.params["name"]
    match judge:
        case ReviewsJudge():
            members = [arm for arm in place.plan.arms if arm.name in cell.params["arms"]]
            arms = reviewed_arms(members)
            said = read_reviews(name, judge, pairs, task=cell.params["task"], arms=arms)
        case JudgementsJudge():
            said = read_judgements(name, judge, pairs)
        case EndpointJudge() | ModelJudge():
            said = _ask(cell, place, judge, pairs)
    write_records(place.folder / "judgements.parquet", said, Judgement)


def _ask(
    cell: Cell, place: Workplace, judge: EndpointJudge | ModelJudge, pairs: Sequence[Pair]
) -> list[Judgement]:
    """Return what a judge says of the pairs, and write beside it who it is.

    What it has said is kept in the user's cache, so that further arms cost no more than their own
    pairs; what it cost stands in the run's logs.
    """
    config, name = place.plan.config, cell.params["name"]
    rules = config.preference
    asking = Asking(
        name,
        judge,
        rules.calls,
        rules.shard_pairs,
        config.lab,
        config.serve,
        ends_with_meeting=True,
    )
    write_json(place.folder / "judge.json", {"kind": judge.kind, **describe_judge(asking)})
    place.logs.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(rules.judges, rules.budget, place.logs / "judges.jsonl")
    kept = cache_folder() / "judges"
    anchors = open_anchors(rules.anchors, config.lab, pairs, kept)
    n_anchors = len(anchors.drawn) if anchors else 0
    progress = place.progress(2 * (len(pairs) + n_anchors))
    said, _ = ask_judge(asking, pairs, kept, ledger, anchors=anchors, progress=progress)
    failed = [one.error for one in said if not is_answered(one)]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(said)} calls to the judge `{name}` failed, such as: "
            f"{failed[0]}. All others are kept: the same command asks for these alone"
        )
    return said


def write_preference(cell: Cell, place: Workplace) -> None:
    """Write which arms are preferred, raw and at equal style, and how the judge went about it."""
    said = read_records(place.input(cell.inputs[-1]) / "judgements.parquet", Judgement)
    judged = {one.item_id for one in said}
    pairs = [pair for pair in _pairs(cell, place) if pair.pair_id in judged]
    name, base = cell.params["name"], cell.params["base"]
    described = place.input(cell.inputs[-1]) / "judge.json"
    card = make_card(name, pairs, said, author=cell.params["author"] or "")
    told: dict[str, Any] = {
        "judge": name,
        "base": base,
        "task": cell.params["task"],
        "asked": read_json(described) if described.is_file() else cell.params["judge"],
        "reference": base,
        "card": _card_json(card),
        "reason": "",
    }
    try:
        found = measure_preference(
            gather_battles(pairs, said),
            base,
            resamples=cell.params["resamples"],
            seed=cell.params["seed"],
        )
    except RecordError as error:  # no verdict, or arms that never met
        told |= {"reason": error.message, "arms": []}
    else:
        told |= _preference_json(found, pairs, said)
    write_json(place.folder / "preference.json", told)


def _pairs(cell: Cell, place: Workplace) -> list[Pair]:
    task = place.plan.task(cell.params["task"])
    items = answered_items(place.items(task.name), task.few_shot)
    scored = [item for item in items if not item.is_development][: cell.params["n_items"]]
    said = chat_outputs(task.name, cell, place)
    answers = {arm: answers_by_item(c for c in mine if c.sample == 0) for arm, mine in said.items()}
    return pair_answers(scored, answers, [(a, b) for a, b in cell.params["meetings"]])


def _card_json(card: JudgeCard) -> dict[str, Any]:
    shares = {
        "flips": card.flips,
        "ties": card.ties,
        "first": card.first,
        "longer": card.longer.judge,
        "lists": card.lists.judge,
        "own": card.own.judge,
    }
    counts = ("n_pairs", "n_judgements", "n_failed")
    return {key: getattr(card, key) for key in counts} | _estimates(shares)


def _preference_json(
    found: Preference, pairs: Sequence[Pair], said: Sequence[Judgement]
) -> dict[str, Any]:
    arms = []
    for one in found.arms:
        named = {f.name: getattr(one, f.name) for f in dataclasses.fields(one) if f.name != "arm"}
        beside = {"at_least_teacher": rated_at_least(pairs, said, one.arm, TEACHER)}
        arms.append({"arm": one.arm, **_estimates({**named, **beside})})
    return {
        "arms": arms,
        "at_least_teacher": rated_at_least(pairs, said, found.reference, TEACHER).as_json(),
        "gamma": _estimates(found.gamma),
        "first": found.first.as_json(),
        "n_clusters": found.n_clusters,
        "n_battles": found.n_battles,
        "changes": [dataclasses.asdict(change) for change in found.changes],
        "boundless": list(found.boundless),
        "unbeaten": list(found.unbeaten),
        "is_separated": found.is_separated,
    }


def _estimates(named: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: value.as_json() for name, value in named.items()}
