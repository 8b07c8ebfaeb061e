"""Evaluation items from a user's file: questions with accepted answers, or with choices."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from evals.errors import DataError
from evals.records import Axis, Item
from imitate.config import FileItems
from imitate.data.card import SourceCard
from imitate.data.files import FileLimits, read_rows
from imitate.data.formats import missing_column, to_text
from imitate.data.words import hash_text, normalise_text

__all__ = ["read_items"]

_LIMITS = FileLimits(max_row_bytes=10_000_000)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Where a file is too short for both, scored items come first: development takes a quarter at most.
_MAX_DEVELOPMENT_SHARE = 0.25
_LABEL_BEFORE = re.compile(r"^(question|q):\s*", re.IGNORECASE)
_LABEL_BEHIND = re.compile(r"\s*\n\s*(answer|a):$", re.IGNORECASE)


def read_items(
    source: FileItems,
    task: str,
    axis: Axis,
    *,
    n_items: int,
    n_development: int,
    seed: int,
) -> list[Item]:
    """Return scored items, then development items, drawn by the seed from a file.

    The draw depends on the questions and the seed, not on their order in the file. Of several rows
    with the same question the first counts, so that no development item repeats a scored one.

    Labels that a file brings along (`Question:` before a prompt, a line `Answer:` behind it) are
    cut off, as each format puts its own; a style prompt stays as it is, to be matched with outputs.

    Args:
        source: The file and its columns; a gold index counts from 0.
        task: Name of the task, in the items' ids.
        axis: What the task measures.
        n_items: Scored items at most.
        n_development: Development items at most; a quarter of a short file.
        seed: Seed of the draw.

    Raises:
        DataError: The file cannot be read, or a row is not what the config says.
    """
    items = list(_distinct(_read(source, task, axis)))
    if not items:
        raise DataError(f"{source.path.name} holds no items", where=str(source.path))
    _check_ids(items, source)
    items.sort(key=lambda item: (hash_text(f"{seed}|{_question(item)}"), item.item_id))
    share = max(1, int(len(items) * _MAX_DEVELOPMENT_SHARE)) if len(items) > 1 else 0
    n_development = min(n_development, max(share, len(items) - n_items))
    development = items[:n_development]
    spent = {_question(item) for item in development}
    fresh = [item for item in items[n_development:] if _question(item) not in spent]
    return fresh[:n_items] + [replace(item, is_development=True) for item in development]


def _read(source: FileItems, task: str, axis: Axis) -> Iterator[Item]:
    card = SourceCard(source.path.name)
    is_checked = False
    for number, row in read_rows(source.path, _LIMITS, card):
        if not is_checked:
            _check_columns(source, row, f"{source.path}:{number}")
            is_checked = True
        try:
            item = _make_item(source, row, task, axis)
        except ValueError as error:
            raise DataError(f"row {number} {error}", where=f"{source.path}:{number}") from None
        if item.prompt:
            yield item


def _distinct(items: Iterator[Item]) -> Iterator[Item]:
    seen = set()
    for item in items:
        if (question := (_question(item), item.choices)) not in seen:
            seen.add(question)
            yield item


def _check_ids(items: Sequence[Item], source: FileItems) -> None:
    ids = Counter(item.item_id for item in items)
    if doubled := [item_id for item_id, n in ids.items() if n > 1]:
        raise DataError(
            f"{len(doubled)} ids in `{source.id_column}` have several questions, such as "
            f"{doubled[0]}",
            where=str(source.path),
        )


def _question(item: Item) -> str:
    """Return the prompt as it is compared: punctuation counts, since 12 + 7 is not 12 - 7."""
    return " ".join(item.prompt.lower().split())


def _check_columns(source: FileItems, row: Mapping[str, Any], where: str) -> None:
    for key in (
        "prompt_column",
        "answers_column",
        "choices_column",
        "gold_column",
        "cluster_column",
        "group_column",
        "id_column",
    ):
        for column in _names(getattr(source, key)):
            if column not in row:
                raise missing_column(column, key, list(row), where)
    if bool(source.choices_column) != bool(source.gold_column):
        raise DataError(
            "`choices_column` and `gold_column` go together: one of them is missing", where=where
        )


def _make_item(source: FileItems, row: Mapping[str, Any], task: str, axis: Axis) -> Item:
    prompt = normalise_text(to_text(row.get(source.prompt_column)))
    if axis is not Axis.STYLE:
        prompt = _LABEL_BEHIND.sub("", _LABEL_BEFORE.sub("", prompt))
    choices, labels = _read_choices(source, row)
    gold = _read_gold(row[source.gold_column], choices, labels) if source.gold_column else -1
    content = json.dumps([prompt, choices], ensure_ascii=False)
    digest = blake2b(content.encode(), digest_size=8).hexdigest()
    item_id = f"{task}-{_optional_text(source.id_column, row) or digest}"
    return Item(
        item_id=item_id,
        task=task,
        axis=axis,
        cluster_id=_optional_text(source.cluster_column, row) or item_id,
        prompt=prompt,
        answers=_read_answers(source, row),
        choices=choices,
        gold=gold,
        group=_optional_text(source.group_column, row),
    )


def _read_answers(source: FileItems, row: Mapping[str, Any]) -> tuple[str, ...]:
    texts = (text for column in _names(source.answers_column) for text in _as_texts(row[column]))
    return tuple(dict.fromkeys(text for text in map(normalise_text, texts) if text))


def _read_choices(
    source: FileItems, row: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the choices and their labels, `A` onwards where the file gives none."""
    columns = _names(source.choices_column)
    values = [row[column] for column in columns]
    if len(columns) != 1:
        return tuple(map(normalise_text, map(to_text, values))), tuple(_LETTERS[: len(values)])
    value = _parsed(values[0])
    labels = value.get("label") if isinstance(value, dict) else None
    choices = tuple(map(normalise_text, _as_texts(value)))
    return choices, tuple(map(str, labels)) if labels else tuple(_LETTERS[: len(choices)])


def _read_gold(value: Any, choices: Sequence[str], labels: Sequence[str]) -> int:
    text = str(value).strip()
    gold = -1
    if text in labels:
        gold = labels.index(text)
    elif text.upper() in labels:
        gold = labels.index(text.upper())
    elif text.isdigit():
        gold = int(text)
    if not 0 <= gold < len(choices):
        raise ValueError(
            f"has {text!r} as its right choice, expected an index from 0 to {len(choices) - 1} "
            f"or one of {', '.join(labels)}"
        )
    return gold


def _as_texts(value: Any) -> list[str]:
    """Return one text or many: a list, a list written as JSON, or an object with `text`."""
    value = _parsed(value)
    if isinstance(value, dict):
        value = value.get("text")
    if isinstance(value, list):
        return [to_text(part) for part in value]
    return [to_text(value)]


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _names(columns: str | list[str] | None) -> list[str]:
    if columns is None:
        return []
    return [columns] if isinstance(columns, str) else columns


def _optional_text(column: str | None, row: Mapping[str, Any]) -> str:
    return to_text(row.get(column)) if column else ""
