"""Cells that listen to what was said: style of every arm, and what an adapter holds by rote."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from evals.endpoint import BASE, require_scored
from evals.errors import RecordError
from evals.estimates import Estimate
from evals.memorization.halves import ScoredResponse, measure_memorization
from evals.records import (
    Completion,
    Example,
    Format,
    Item,
    Judgement,
    Score,
    read_records,
    write_records,
)
from evals.style.masking import find_content, make_rules
from imitate.jsonio import write_json
from imitate.plan import TEACHER, Cell
from imitate.stages.answering import answered_items
from imitate.stages.training import response_pair, split_halves
from imitate.stages.workplace import Workplace

__all__ = ["chat_outputs", "write_memorisation", "write_style"]


def write_style(cell: Cell, place: Workplace) -> None:
    """Write who sounds like the teacher, for all arms of one base on one style task."""
    from evals.style.discriminator import judge_style, tell_apart
    from evals.style.stylometry import measure_stylometry

    task = place.plan.task(cell.params["task"])
    items = answered_items(place.items(task.name), task.few_shot)
    phrases = _phrases(place)
    outputs = chat_outputs(task.name, cell, place)
    teacher = [c for c in outputs[TEACHER] if c.sample == 0]
    second = [c for c in outputs[TEACHER] if c.sample == 1]
    base = outputs[cell.params["base"]]
    arms = {name: said for name, said in outputs.items() if name != TEACHER}
    judged = [c for said in arms.values() for c in said] + (second or teacher)
    found = judge_style(items, base=base, teacher=teacher, judged=judged, phrases=phrases)
    place.report(0, len(arms), "stylometry")
    stylometry: dict[str, Any] = {}
    fresh: dict[str, Any] = {}
    # A teacher that was recorded once is no ceiling: its outputs would be compared with themselves.
    for name, said in {**arms, **({TEACHER: second} if second else {})}.items():
        described, _ = measure_stylometry(items, said, teacher)
        stylometry[name] = _estimates(described)
        told = _told_apart(tell_apart, items, said, teacher, phrases)
        if told and name != TEACHER:
            fresh[name] = told
        place.report(1, len(arms), "stylometry")
    judgements, on_facts = list(found.judgements), {}
    for told in cell.params["told"]:
        heard, on_facts[told] = _heard_on(told, cell, place, phrases)
        judgements += heard
    write_records(place.folder / "scores.parquet", found.scores, Score)
    write_records(place.folder / "judgements.parquet", judgements, Judgement)
    write_json(
        place.folder / "style.json",
        {
            "discriminator": _estimates(found.teacher_against_base) | {"note": found.note},
            "stylometry": stylometry,
            "fresh_classifier": fresh,
            "on_facts": on_facts,
        },
    )


def _told_apart(
    tell_apart: Any,
    items: Sequence[Item],
    said: Sequence[Completion],
    teacher: Sequence[Completion],
    phrases: Iterable[str],
) -> dict[str, Any] | None:
    try:
        return _estimates(tell_apart(items, said, teacher, phrases=phrases))
    except RecordError:  # too few prompts with an answer of both sides
        return None


def chat_outputs(task: str, cell: Cell, place: Workplace) -> dict[str, list[Completion]]:
    """Return the chat outputs of every arm that was asked, by arm."""
    found = {}
    for arm in cell.params["arms"]:
        prefix = f"generate/{arm}/{task}/{Format.CHAT}/"
        said = [
            dataclasses.replace(completion, arm=arm)
            for name in cell.inputs
            if name.startswith(prefix)
            for completion in read_records(place.input(name) / "completions.parquet", Completion)
        ]
        if said:
            found[arm] = said
    return found


def _heard_on(
    task: str, cell: Cell, place: Workplace, phrases: Iterable[str]
) -> tuple[tuple[Judgement, ...], dict[str, float]]:
    """Judge the chat answers to factual questions, by a discriminator of their own.

    Returns the judgements and, by arm, the share that is called the teacher's.
    """
    from evals.style.discriminator import judge_style

    asked = place.plan.task(task)
    items = answered_items(place.items(task), asked.few_shot)
    outputs = chat_outputs(task, cell, place)
    teacher = outputs.pop(TEACHER)
    judged = [completion for said in outputs.values() for completion in said]
    base = outputs[cell.params["base"]]
    found = judge_style(items, base=base, teacher=teacher, judged=judged, phrases=phrases)
    values: dict[str, list[float]] = {}
    for score in found.scores:
        if score.value == score.value:
            values.setdefault(score.arm, []).append(score.value)
    return found.judgements, {arm: sum(v) / len(v) for arm, v in values.items()}


def _phrases(place: Workplace) -> list[str]:
    """Every accepted answer of the run: what is masked before a voice is judged."""
    return sorted(
        {
            answer
            for task in place.plan.config.tasks
            for item in place.items(task.name)
            for answer in (*item.answers, *item.choices)
        }
    )


def write_memorisation(cell: Cell, place: Workplace) -> None:
    """Write the bits that the adapters of two halves hold of their own responses."""
    data = place.input(cell.inputs[0])
    examples = read_records(data / "train.parquet", Example)[: cell.params["amount"]]
    halves = split_halves(examples, seed=place.plan.config.seed)
    adapters = cell.inputs[1:3]
    rules = make_rules(_phrases(place), [example.response for example in examples])
    endpoint = place.endpoint()
    progress = place.progress(3 * len(examples))
    responses = []
    for half, member, reference in zip(halves, adapters, reversed(adapters), strict=True):
        pairs = [response_pair(endpoint, example) for example in half]
        own = require_scored(endpoint.token_logprobs(member, pairs, progress=progress))
        other = require_scored(endpoint.token_logprobs(reference, pairs, progress=progress))
        base = require_scored(endpoint.token_logprobs(BASE, pairs, progress=progress))
        responses += [
            ScoredResponse(e.example_id, e.prompt, a, b, c, tuple(find_content(text, rules)))
            for e, (_, text), a, b, c in zip(half, pairs, own, other, base, strict=True)
        ]
    measured = measure_memorization(responses, seed=place.plan.config.seed)
    described = _estimates(measured) | {
        "n_examples": len(responses),
        "n_tokens": measured.n_tokens,
        "n_content_tokens": measured.n_content_tokens,
    }
    write_json(place.folder / "memorisation.json", described)


def _estimates(record: Any) -> dict[str, Any]:
    """Return the estimates of a dataclass as JSON, by name."""
    named = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    return {n: v.as_json() for n, v in named.items() if isinstance(v, Estimate)}
