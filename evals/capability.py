"""Held-out capability through lm-eval: its tasks or ours in, Items and Scores out.

Nothing else reads lm-eval's keys. Two ways in: a built-in task or a YAML file (`lm_eval_items`,
then `run_lm_eval_task`), and our own items as a task built in memory (`score_items_with_lm_eval`).
Either way a document is an item with a stable id, and every sample becomes one `Score`.

A language model is an `lm_eval.api.model.LM`; it tells a failed call by a likelihood of NaN or by
the text `FAILED_ANSWER`, and the score is a failed one. lm-eval is imported only when a function
runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from evals.errors import DataError, RecordError
from evals.factuality import score_answers
from evals.harness import FAILED_ANSWER, Document, load_documents, load_tasks, run_tasks
from evals.records import Axis, Completion, Format, Item, Outcome, Score

__all__ = ["lm_eval_items", "run_lm_eval_task", "score_items_with_lm_eval"]


def lm_eval_items(
    task: str,
    *,
    name: str,
    axis: Axis,
    n_items: int,
    n_development: int = 0,
    cluster_field: str | None = None,
    confirm_run_unsafe_code: bool = False,
) -> list[Item]:
    """Return items of an lm-eval task: those that score, then development items.

    Documents are taken in the order of their hash, development items first, so that the choice is
    a fixed random one and a larger `n_items` extends the same list. The hash is lm-eval's own
    `doc_hash`, so its logs join with ours.

    Args:
        task: A built-in task, group or tag, or the path of a task's YAML file.
        name: The task's name in our records.
        axis: What it measures.
        n_items: Scored items at most.
        n_development: Development items.
        cluster_field: Field of the document that names the unit of randomisation, such as
            `subject`; each item its own where None.
        confirm_run_unsafe_code: Allow a task that executes what a model wrote; only in a sandbox.

    Raises:
        DataError: The task is unknown, executes code, cannot be loaded, measures perplexity, lacks
            the field, or has no document left to score.
    """
    leaves = load_tasks(task, confirm_run_unsafe_code=confirm_run_unsafe_code)
    _refuse_perplexity(leaves)
    found = _by_item_id(name, leaves)
    ordered = sorted(found, key=lambda i: hashlib.sha256(i.encode()).hexdigest())
    development = ordered[:n_development]
    scored = ordered[n_development : n_development + n_items]
    if not scored:
        raise DataError(
            f"the lm-eval task `{task}` has {len(found)} documents, all of them taken by "
            f"{n_development} development items",
            hint="lower `n_development`",
        )
    return [
        _item(item_id, found[item_id], leaves, name, axis, cluster_field, item_id in development)
        for item_id in (*scored, *development)
    ]


def run_lm_eval_task(
    lm: Any,
    task: str,
    items: Sequence[Item],
    *,
    arm: str,
    format: Format,
    metric: str | None = None,
    few_shot: int | None = None,
    confirm_run_unsafe_code: bool = False,
) -> list[Score]:
    """Return one arm's scores on items of an lm-eval task, in the items' order.

    Args:
        lm: The arm, as an `lm_eval.api.model.LM`.
        task: The task that `lm_eval_items` was given.
        items: What to ask, as `lm_eval_items` returned them.
        arm: The arm's name in our records.
        format: Plain: the task's own few-shot text. Chat: the same through the chat template, the
            examples as turns.
        metric: Metric to read, or `metric,filter`; the task's first metric and filter where None.
        few_shot: Number of examples; None leaves the task's own, and a task that fixes 0 keeps it.
        confirm_run_unsafe_code: Allow a task that executes what a model wrote; only in a sandbox.

    Raises:
        DataError: As `lm_eval_items`, or the metric is no score of single items in [0, 1].
        RecordError: An item is no document of the task.
    """
    leaves = load_tasks(task, confirm_run_unsafe_code=confirm_run_unsafe_code)
    found = _by_item_id(items[0].task if items else "", leaves)
    unknown = [item.item_id for item in items if item.item_id not in found]
    if unknown:
        raise RecordError(
            f"{len(unknown)} items are no documents of `{task}`: {', '.join(unknown[:20])}",
            hint="the task's data changed since the items were drawn",
        )
    samples = run_tasks(
        lm,
        leaves,
        [found[item.item_id] for item in items],
        is_chat=format is Format.CHAT,
        few_shot=few_shot,
        confirm_run_unsafe_code=confirm_run_unsafe_code,
    )
    by_place = _samples_by_place(samples, metric)
    return [
        _score(item, by_place[found[item.item_id].leaf, found[item.item_id].place], arm, format)
        for item in items
    ]


def score_items_with_lm_eval(
    lm: Any,
    items: Sequence[Item],
    *,
    arm: str,
    format: Format,
    few_shot: Sequence[Item] = (),
    metric: Literal["acc", "acc_norm"] = "acc",
    max_tokens: int = 64,
) -> list[Score]:
    """Return one arm's scores on our own items, asked through lm-eval, in the items' order.

    Items with choices are scored by the log-likelihood of each choice, as it is (`acc`) or per
    character (`acc_norm`). The others are answered greedily, and the answer is extracted and
    matched as everywhere here (`evals.factuality`).

    Args:
        lm: The arm, as an `lm_eval.api.model.LM`.
        items: Of one kind: all with choices, or none.
        arm: The arm's name.
        format: Plain (`Q: ...`, `A: ...`) or chat.
        few_shot: Answered examples before each question, in this order; development items.
        metric: Which accuracy, for choices.
        max_tokens: Longest answer, in tokens, where it is generated.

    Raises:
        RecordError: Items with and without choices are mixed, or an example has no answer.
    """
    has_choices = {bool(item.choices) for item in (*items, *few_shot)}
    if len(has_choices) > 1:
        raise RecordError("items with choices and items without are scored apart, got both")
    is_choice = has_choices == {True}
    unanswered = [item.item_id for item in few_shot if not item.answers and not is_choice]
    if unanswered:
        raise RecordError(f"few-shot examples without an answer: {', '.join(unanswered)}")
    config = _task_config(items, few_shot, format, max_tokens, is_choice=is_choice)
    leaves = load_tasks(config)
    documents = load_documents(leaves)
    samples = run_tasks(lm, leaves, documents, is_chat=format is Format.CHAT)
    by_place = _samples_by_place(samples, metric if is_choice else None)
    ordered = [by_place[config["task"], place] for place in range(len(items))]
    if is_choice:
        pairs = zip(items, ordered, strict=True)
        return [_score(item, sample, arm, format) for item, sample in pairs]
    return score_answers(items, _completions(items, ordered, arm, format))


# --- documents as items ---------------------------------------------------------------------------


def _by_item_id(name: str, leaves: Mapping[str, Any]) -> dict[str, Document]:
    """Return the documents by the id of their item; equal documents are numbered."""
    found: dict[str, Document] = {}
    seen: Counter[str] = Counter()
    for document in load_documents(leaves):
        leaf = f"{document.leaf}/" if len(leaves) > 1 else ""
        item_id = f"{name}/{leaf}{document.doc_hash[:16]}"
        seen[item_id] += 1
        found[item_id if seen[item_id] == 1 else f"{item_id}-{seen[item_id]}"] = document
    return found


def _refuse_perplexity(leaves: Mapping[str, Any]) -> None:
    for name, leaf in leaves.items():
        if leaf.get_config("output_type") == "loglikelihood_rolling":
            raise DataError(
                f"the lm-eval task `{name}` measures the perplexity of whole texts, which is no "
                "score of single items in [0, 1]",
                hint="choose a task that is answered or chosen from: its metric is an accuracy",
            )


def _item(
    item_id: str,
    document: Document,
    leaves: Mapping[str, Any],
    name: str,
    axis: Axis,
    cluster_field: str | None,
    is_development: bool,
) -> Item:
    leaf = leaves[document.leaf]
    question = leaf.doc_to_text(document.fields)
    choices, answers, gold = _answers(leaf, document.fields, question)
    return Item(
        item_id=item_id,
        task=name,
        axis=axis,
        cluster_id=_cluster(document, cluster_field) if cluster_field else item_id,
        prompt=question if isinstance(question, str) else " / ".join(choices),
        answers=answers,
        choices=choices,
        gold=gold,
        group=document.leaf if len(leaves) > 1 else "",
        is_development=is_development,
    )


def _cluster(document: Document, field: str) -> str:
    if field not in document.fields:
        raise DataError(
            f"documents of `{document.leaf}` have no field `{field}` to cluster by",
            hint=f"their fields: {', '.join(document.fields)}",
        )
    return str(document.fields[field])


def _answers(
    leaf: Any, fields: Mapping[str, Any], question: str | int
) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Return (choices, answers, gold) of a document; tasks of several inputs choose by question."""
    target = leaf.doc_to_target(fields)
    if leaf.get_config("doc_to_choice") is None:
        several = target if isinstance(target, list) else [target]
        return (), tuple(str(one) for one in several), -1
    choices = tuple(str(choice) for choice in leaf.doc_to_choice(fields))
    gold = question if isinstance(question, int) else target
    gold = gold[0] if isinstance(gold, list) else gold
    place = gold if isinstance(gold, int) else choices.index(gold) if gold in choices else -1
    return choices, (choices[place],) if 0 <= place < len(choices) else (), place


# --- samples as scores ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class _Sample:
    """One document's result under one filter, and the metric that is read from it."""

    metric: str
    raw: Mapping[str, Any]


def _samples_by_place(
    samples: Mapping[str, Sequence[Mapping[str, Any]]], metric: str | None
) -> dict[tuple[str, int], _Sample]:
    """Return one sample for each (leaf, place): lm-eval logs one for every filter."""
    chosen = {}
    for leaf, logged in samples.items():
        name, filter_ = _metric_and_filter(leaf, logged, metric)
        for sample in logged:
            if sample["filter"] == filter_:
                chosen[leaf, sample["doc_id"]] = _Sample(name, sample)
    return chosen


def _metric_and_filter(
    leaf: str, logged: Sequence[Mapping[str, Any]], wanted: str | None
) -> tuple[str, str]:
    offered = list(dict.fromkeys((m, s["filter"]) for s in logged for m in s["metrics"]))
    metric, _, filter_ = (wanted or "").partition(",")
    for offer in offered:
        if metric in ("", offer[0]) and filter_ in ("", offer[1]):
            return offer
    raise DataError(
        f"the lm-eval task `{leaf}` has no metric `{wanted}`",
        hint=f"it has: {'; '.join(','.join(offer) for offer in offered)}",
    )


def _score(item: Item, sample: _Sample, arm: str, format: Format) -> Score:
    value = _value(item, sample)
    outcome = Outcome.RIGHT if value == 1.0 else Outcome.WRONG
    extracted = _extracted(item, sample)
    return Score(
        item_id=item.item_id,
        arm=arm,
        task=item.task,
        axis=item.axis,
        format=format,
        cluster_id=item.cluster_id,
        value=value,
        outcome=Outcome.FAILED if math.isnan(value) else outcome,
        extracted=extracted,
        is_extracted=extracted not in ("", "[invalid]"),
        is_development=item.is_development,
    )


def _value(item: Item, sample: _Sample) -> float:
    """Return a metric's value, NaN where a call failed."""
    if _has_failed(sample):
        return math.nan
    raw = sample.raw[sample.metric]
    is_number = isinstance(raw, bool | int | float) or hasattr(raw, "item")
    if not is_number or not 0.0 <= float(raw) <= 1.0:
        raise DataError(
            f"the metric `{sample.metric}` of `{item.task}` is no score of single items in [0, 1], "
            f"got {raw!r}",
            hint=f"choose another: {', '.join(sample.raw['metrics'])}",
        )
    return float(raw)


def _has_failed(sample: _Sample) -> bool:
    answers = [answer for request in sample.raw["resps"] for answer in request]
    return any(
        answer == FAILED_ANSWER if isinstance(answer, str) else math.isnan(answer[0])
        for answer in answers
        if isinstance(answer, str | tuple)
    )


def _log_likelihoods(sample: _Sample) -> list[float]:
    """Return the log-likelihoods of the choices; none where the answer was generated."""
    answers = [one[0] if isinstance(one, list) else one for one in sample.raw["filtered_resps"]]
    return [float(one[0]) for one in answers if isinstance(one, tuple)]


def _extracted(item: Item, sample: _Sample) -> str:
    """Return the choice that a model prefers, or what the task's filter left of its answer."""
    likelihoods = _log_likelihoods(sample)
    if not likelihoods:
        answers = sample.raw["filtered_resps"]
        first = answers[0] if answers else ""
        return str(first[0] if isinstance(first, list) and first else first).strip()
    if len(likelihoods) != len(item.choices):
        return str(max(likelihoods))
    lengths = [len(c) if sample.metric == "acc_norm" else 1 for c in item.choices]
    per_length = [one / (length or 1) for one, length in zip(likelihoods, lengths, strict=True)]
    return item.choices[per_length.index(max(per_length))]


# --- our own items as a task ----------------------------------------------------------------------


def _task_config(
    items: Sequence[Item],
    few_shot: Sequence[Item],
    format: Format,
    max_tokens: int,
    *,
    is_choice: bool,
) -> dict[str, Any]:
    """Return an lm-eval task over our items, which its factory builds without touching a file."""
    config: dict[str, Any] = {
        "task": "imitate_items",
        "custom_dataset": lambda **_: _data_sets(items, few_shot),
        "test_split": "test",
        "doc_to_text": _plain_question if format is Format.PLAIN else "prompt",
        "doc_to_target": "gold" if is_choice else "answer",
        "target_delimiter": " ",
        "fewshot_delimiter": "\n",
        "num_fewshot": len(few_shot),
        "metadata": {"version": 1},
    }
    if few_shot:
        config |= {"fewshot_split": "few_shot", "fewshot_config": {"sampler": "first_n"}}
    if is_choice:
        return config | {
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "metric_list": [
                {"metric": metric, "aggregation": "mean", "higher_is_better": True}
                for metric in ("acc", "acc_norm")
            ],
        }
    return config | {
        "output_type": "generate_until",
        "process_results": lambda doc, answers: {"answered": float(bool(answers[0].strip()))},
        "metric_list": [{"metric": "answered", "aggregation": "mean", "higher_is_better": True}],
        "generation_kwargs": {
            "until": ["\n"] if format is Format.PLAIN else [],
            "max_gen_toks": max_tokens,
            "do_sample": False,
            "temperature": 0.0,
        },
    }


def _plain_question(doc: Mapping[str, Any]) -> str:
    return f"Q: {doc['prompt']}\nA:"


def _data_sets(items: Sequence[Item], few_shot: Sequence[Item]) -> Any:
    from datasets import Dataset, DatasetDict

    splits = {"test": items, "few_shot": few_shot}
    return DatasetDict(
        {name: Dataset.from_list([_doc(item) for item in split]) for name, split in splits.items()}
    )


def _doc(item: Item) -> dict[str, Any]:
    return {
        "prompt": item.prompt,
        "choices": list(item.choices),
        "gold": item.gold,
        "answer": item.answers[0] if item.answers else "",
    }


def _completions(
    items: Sequence[Item], samples: Sequence[_Sample], arm: str, format: Format
) -> list[Completion]:
    return [
        Completion(
            item_id=item.item_id,
            arm=arm,
            format=format,
            text="" if _has_failed(sample) else str(sample.raw["resps"][0][0]),
            n_tokens=0,
            finish_reason="error" if _has_failed(sample) else "stop",
        )
        for item, sample in zip(items, samples, strict=True)
    ]
