"""Cells in which a model answers: completions, lm-eval scores, and what a base knows."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

from evals.controls import null_completions, pad_completions, second_sample, style_messages
from evals.endpoint import BASE, Endpoint, Message, Progress, Sampling
from evals.factuality import draw_few_shots, score_answers
from evals.records import (
    Axis,
    Completion,
    Example,
    Format,
    Item,
    Score,
    read_records,
    write_records,
)
from imitate.config import (
    EndpointTeacher,
    LmEvalItems,
    OracleTeacher,
    RecordedOutputs,
    TaskConfig,
)
from imitate.jsonio import write_json
from imitate.plan import N_STYLE_EXAMPLES, TEACHER, Cell, imitated_mix
from imitate.stages.workplace import Workplace

__all__ = [
    "answered_items",
    "ask_by_lm_eval",
    "few_shot_items",
    "given_id",
    "write_capability",
    "write_completions",
    "write_knowledge",
    "write_scores",
]

ARM = "arm"
"""Cells do not know arm names; whoever reads their records fills them in."""

N_KNOWLEDGE_DRAWS = 4
KNOWLEDGE_TEMPERATURE = 0.5  # Gekhman et al. (arXiv 2405.05904), section 3


def write_completions(cell: Cell, place: Workplace) -> None:
    """Write one shard of one arm's answers to a task in one format."""
    from evals.generate import generate_completions, shards

    params = cell.params
    task = place.plan.task(params["task"])
    items = place.items(task.name)
    asked = answered_items(items, task.few_shot)
    planned = shards(asked, params["shard_items"])
    shard = planned[params["shard"]] if params["shard"] < len(planned) else []
    format_ = Format(params["format"])
    is_plain = format_ is Format.PLAIN
    if params["control"] == "null":
        completions = null_completions(shard, arm=ARM, format=format_)
    elif params["control"] == "length_padded":
        base, teacher = (
            read_records(place.input(name) / "completions.parquet", Completion)
            for name in cell.inputs[1:3]
        )
        completions = pad_completions(base, teacher, arm=ARM)
    elif _is_answered_without_model(cell, place):
        completions = _told_without_model(cell, place, shard)
    else:
        completions = generate_completions(
            _endpoint(cell, place),
            _model(cell),
            ARM,
            shard,
            format_,
            _sampling(cell, place),
            few_shot_items=few_shot_items(items, task.few_shot) if is_plain else (),
            progress=place.progress(len(shard)),
        )
    numbered = [dataclasses.replace(c, sample=params["sample"]) for c in completions]
    write_records(place.folder / "completions.parquet", numbered, Completion)


def few_shot_items(items: Sequence[Item], count: int) -> list[Item]:
    """Return the development items that stand before plain questions; they are never asked.

    An item without an answer has nothing to show.
    """
    shown = [item for item in items if item.is_development and (item.answers or item.choices)]
    return shown[:count]


def answered_items(items: Sequence[Item], count: int) -> list[Item]:
    """Return the items that are asked: all but the few-shot examples."""
    shown = {item.item_id for item in few_shot_items(items, count)}
    return [item for item in items if item.item_id not in shown]


def given_id(item: Item) -> str:
    """Return the id that an item's file gives it, where the task names an `id_column`."""
    return item.item_id.removeprefix(f"{item.task}-")


def write_capability(cell: Cell, place: Workplace) -> None:
    """Write one arm's scores on a capability task in one format, by lm-eval.

    Items of our own are asked shard by shard, each kept over a kill. A task of lm-eval is asked as
    a whole: each call of it would load all of its data again.
    """
    from evals.generate import shards
    from evals.lm import endpoint_lm

    task = place.plan.task(cell.params["task"])
    items = place.items(task.name)
    format_ = Format(cell.params["format"])
    if _is_answered_without_model(cell, place):
        asked = answered_items(items, task.few_shot)
        scores = score_answers(asked, _told_without_model(cell, place, asked))
        write_records(place.folder / "scores.parquet", scores, Score)
        return
    if reason := _why_unscored(cell, place, items):
        write_records(place.folder / "scores.parquet", [], Score)
        write_json(place.folder / "left_out.json", {"reason": reason})
        return
    lm = endpoint_lm(_endpoint(cell, place), _model(cell))
    shown = few_shot_items(items, task.few_shot)
    if isinstance(task.source, LmEvalItems):
        scores = ask_by_lm_eval(lm, task, items, shown, format_)
    else:
        asked = answered_items(items, task.few_shot)
        progress = place.progress(len(asked))
        scores = []
        for number, shard in enumerate(shards(asked, cell.params["shard_items"])):
            ask = functools.partial(ask_by_lm_eval, lm, task, shard, shown, format_)
            scores += place.resume(str(number), ask, Score)
            progress(len(shard))
    write_records(place.folder / "scores.parquet", scores, Score)


def ask_by_lm_eval(
    lm: Any, task: TaskConfig, asked: Sequence[Item], shown: Sequence[Item], format_: Format
) -> list[Score]:
    """Return a model's scores on items of a capability task, its own or lm-eval's."""
    from evals.capability import run_lm_eval_task, score_items_with_lm_eval

    if isinstance(task.source, LmEvalItems):
        return run_lm_eval_task(
            lm,
            task.source.task,
            asked,
            arm=ARM,
            format=format_,
            metric=task.source.metric,
            few_shot=task.few_shot,
        )
    is_plain = format_ is Format.PLAIN
    return score_items_with_lm_eval(
        lm,
        asked,
        arm=ARM,
        format=format_,
        few_shot=shown if is_plain else [],
        max_tokens=task.max_plain_tokens if is_plain else task.max_tokens,
    )


def _why_unscored(cell: Cell, place: Workplace, items: Sequence[Item]) -> str | None:
    """Return why an endpoint cannot answer multiple choice in a chat; None where it can."""
    is_endpoint = isinstance(place.plan.config.teacher, EndpointTeacher) and cell.group == TEACHER
    is_chat = cell.params["format"] == Format.CHAT
    if not is_endpoint or not is_chat or not any(item.choices for item in items):
        return None
    return (
        "multiple choice in a chat needs log-probabilities behind the chat template, which the "
        "teacher's server keeps to itself"
    )


def write_scores(cell: Cell, place: Workplace) -> None:
    """Write the scores of one arm's completions on a factuality task, in all formats."""
    task = place.plan.task(cell.inputs[0].removeprefix("items/"))
    asked = answered_items(place.items(task.name), task.few_shot)
    completions = [
        completion
        for name in cell.inputs[1:]
        for completion in read_records(place.input(name) / "completions.parquet", Completion)
    ]
    write_records(place.folder / "scores.parquet", score_answers(asked, completions), Score)


def write_knowledge(cell: Cell, place: Workplace) -> None:
    """Write a base's scores under several few-shot prompts: greedy (1, 2, ...) and sampled.

    Sample numbers start at 1, greedy ones first, so that no draw that classifies is the one that
    is evaluated (0).
    """
    from evals.generate import generate_completions

    task = place.plan.task(cell.params["task"])
    items = place.items(task.name)
    shown = few_shot_items(items, len(items))
    asked = [item for item in items if not item.is_development]
    draws = draw_few_shots(
        shown,
        n_draws=N_KNOWLEDGE_DRAWS,
        size=task.few_shot,
        seed=place.plan.config.seed,
        evaluated=few_shot_items(items, task.few_shot),
    )
    progress = place.progress(2 * len(draws) * len(asked))

    def answers(number: int, temperature: float, draw: Sequence[Item]) -> list[Score]:
        completions = generate_completions(
            place.endpoint(),
            BASE,
            ARM,
            asked,
            Format.PLAIN,
            Sampling(task.max_plain_tokens, temperature, seed=number),
            few_shot_items=draw,
            progress=progress,
        )
        numbered = [dataclasses.replace(c, sample=number) for c in completions]
        return score_answers(asked, numbered)

    drawn = itertools.product((0.0, KNOWLEDGE_TEMPERATURE), draws)
    scores: list[Score] = []
    for number, (temperature, draw) in enumerate(drawn, 1):
        answered = functools.partial(answers, number, temperature, draw)
        scores += place.resume(str(number), answered, Score)
    write_records(place.folder / "scores.parquet", scores, Score)


def _model(cell: Cell) -> str:
    return cell.adapter or BASE


def _sampling(cell: Cell, place: Workplace) -> Sampling:
    """The task's settings; a teacher on a style task samples as it did for the imitation data."""
    params, distill = cell.params, place.plan.config.distill
    sampling = Sampling(params["max_tokens"], params["temperature"], seed=params["seed"])
    if cell.group != TEACHER or place.plan.task(params["task"]).axis is not Axis.STYLE:
        return sampling
    sampling = dataclasses.replace(sampling, temperature=distill.temperature, top_p=distill.top_p)
    return second_sample(sampling) if params["sample"] else sampling


def _endpoint(cell: Cell, place: Workplace) -> Endpoint:
    if cell.params.get("control") != "style_prompt":
        return place.endpoint()
    mix = place.input(f"data/{imitated_mix(place.plan.config)}")
    examples = read_records(mix / "train.parquet", Example)[:N_STYLE_EXAMPLES]
    shown = [(e.prompt, e.response) for e in examples if e.prompt]
    return _StylePrompted(place.endpoint(), tuple(shown))


@dataclasses.dataclass(frozen=True)
class _StylePrompted:
    """An endpoint whose chats begin with the request to sound like the teacher."""

    endpoint: Endpoint
    examples: tuple[tuple[str, str], ...]

    @property
    def models(self) -> tuple[str, ...]:
        return self.endpoint.models

    def render_chat(self, messages: Sequence[Message]) -> str:
        return self.endpoint.render_chat(style_messages(messages[-1]["content"], self.examples))

    def generate(self, model, prompts, sampling, *, progress: Progress | None = None):  # type: ignore[no-untyped-def]
        return self.endpoint.generate(model, prompts, sampling, progress=progress)

    def token_logprobs(self, model, pairs, *, progress: Progress | None = None):  # type: ignore[no-untyped-def]
        return self.endpoint.token_logprobs(model, pairs, progress=progress)


def _is_answered_without_model(cell: Cell, place: Workplace) -> bool:
    teacher = place.plan.config.teacher
    is_oracle = "teacher" in cell.params and isinstance(teacher, OracleTeacher)
    return is_oracle or "recorded" in cell.params


def _told_without_model(cell: Cell, place: Workplace, items: Sequence[Item]) -> list[Completion]:
    """Return what recorded outputs or the oracle say; a prompt without an output has failed."""
    config, sample = place.plan.config, cell.params.get("sample", 0)
    texts: Sequence[str | None]
    if "recorded" not in cell.params:
        from imitate.lab.oracle import oracle_answers
        from imitate.lab.world import make_world

        assert isinstance(config.teacher, OracleTeacher), config.teacher
        world = make_world(config.lab.world_seed)
        rate, seed = config.teacher.error_rate, config.seed + sample
        texts = oracle_answers(items, world, error_rate=rate, seed=seed)
    else:
        from imitate.outputs import read_outputs

        (path,) = cell.files
        recorded = RecordedOutputs(path=path, **cell.params["recorded"])
        whole = place.items(cell.params["task"])
        asked, among = (
            [given_id(item) if recorded.id_column else item.prompt for item in part]
            for part in (items, whole)
        )
        texts = read_outputs(recorded, asked, among=among)
    return [
        Completion(
            item_id=item.item_id,
            arm=ARM,
            format=Format(cell.params["format"]),
            text=text or "",
            n_tokens=0,
            finish_reason="error" if text is None else "stop",
            error="no recorded output on this prompt" if text is None else "",
        )
        for item, text in zip(items, texts, strict=True)
    ]
