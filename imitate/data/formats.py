"""What a row of each known layout says: prompts and the responses to be imitated.

- `messages`: a list of `{role, content}`, in `messages` or `conversations`;
- `sharegpt`: a list of `{from, value}`, in `conversations`;
- `alpaca`: `instruction`, perhaps `input` (or `context`), and `output` or `response`;
- `completion`: `prompt`, and `completion` or `response`;
- `hc3`: `question` and `chatgpt_answers`, of which each is an example; human answers are left;
- `columns`: any two columns, named in the config; a list of responses gives an example each.

Of a conversation the first exchange is taken, with the system prompt before it: later turns answer
to what precedes them, and one example is one prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from evals.errors import DataError
from imitate.config import TableSource

__all__ = [
    "Exchanges",
    "Layout",
    "choose_layout",
    "choose_prompt_layout",
    "missing_column",
    "to_text",
]

LAYOUTS = ("messages", "sharegpt", "alpaca", "completion", "hc3", "columns")
_CONVERSATION_COLUMNS = ("messages", "conversations", "conversation")
_ALPACA_RESPONSES = ("output", "response")
_ALPACA_INPUTS = ("input", "context")
_COMPLETION_RESPONSES = ("completion", "response")
_PROMPT_COLUMNS = ("prompt", "question", "instruction")
_ROLES = {
    **dict.fromkeys(["user", "human", "prompter"], "user"),
    **dict.fromkeys(["assistant", "gpt", "chatgpt", "bing", "bard", "model", "bot"], "assistant"),
    "system": "system",
}
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Exchanges:
    """What one row gives: prompt and response pairs, and how many later turns were left."""

    pairs: tuple[tuple[str, str], ...]
    later_turns: int = 0


@dataclass(frozen=True)
class Layout:
    """A layout with the columns that it has in this source."""

    name: str
    prompt: str
    response: str
    input: str = ""

    def read(self, row: Mapping[str, Any]) -> Exchanges:
        """Return the exchanges of a row.

        Raises:
            ValueError: A value is of a kind that the layout does not have.
        """
        if self.is_conversation:
            return _read_conversation(row.get(self.prompt))
        prompt = self.read_prompt(row)
        responses = row.get(self.response)
        if not isinstance(responses, list):
            responses = [responses]
        return Exchanges(tuple((prompt, to_text(response)) for response in responses))

    def read_prompt(self, row: Mapping[str, Any]) -> str:
        """Return the prompt of a row, whatever answer stands beside it.

        Raises:
            ValueError: A value is of a kind that the layout does not have.
        """
        if self.is_conversation:
            return _read_turns(row.get(self.prompt)).prompt
        prompt = to_text(row.get(self.prompt))
        extra = to_text(row.get(self.input)) if self.input else ""
        return f"{prompt}\n\n{extra}" if extra.strip() else prompt

    @property
    def is_conversation(self) -> bool:
        """Whether a row is a list of turns."""
        return self.name in ("messages", "sharegpt")


def choose_layout(source: TableSource, row: Mapping[str, Any], where: str) -> Layout:
    """Return the layout that the config names, or the one that the columns show.

    Raises:
        DataError: No layout fits, or a named column is missing.
    """
    wanted = source.format
    if wanted == "columns" or (wanted == "auto" and source.prompt_column):
        return _named_columns(source, row, where)
    for name in LAYOUTS[:-1] if wanted == "auto" else (wanted,):
        layout = _match(name, row)
        if layout:
            return layout
    if wanted != "auto":
        raise DataError(
            f"rows do not look like `format: {wanted}`; columns are {_listed(row)}",
            where=where,
            hint=f"{wanted} has {_NEEDS[wanted]}",
        )
    raise DataError(
        f"format not recognised; columns are {_listed(row)}",
        where=where,
        hint=f"known formats are {', '.join(LAYOUTS)}; for any two columns say "
        "`format: columns`, `prompt_column` and `response_column`",
    )


def choose_prompt_layout(column: str | None, row: Mapping[str, Any], where: str) -> Layout:
    """Return where rows have their prompt: in the column that the config names, or a known one.

    Raises:
        DataError: The named column is missing, or none is known.
    """
    if column:
        if column not in row:
            raise missing_column(column, "prompts.prompt_column", list(row), where)
        return Layout("columns", column, "")
    for name in LAYOUTS[:-1]:
        if layout := _match(name, row):
            return layout
    known = next((name for name in _PROMPT_COLUMNS if name in row), None)
    if known is None:
        raise DataError(
            f"no column of prompts recognised; columns are {_listed(row)}",
            where=where,
            hint="name it in `prompts.prompt_column`",
        )
    extra = next((c for c in _ALPACA_INPUTS if c in row), "") if known == "instruction" else ""
    return Layout("columns", known, "", extra)


_NEEDS = {
    "messages": "a list of role and content in `messages` or `conversations`",
    "sharegpt": "a list of from and value in `conversations`",
    "alpaca": "`instruction`, and `output` or `response`",
    "completion": "`prompt`, and `completion` or `response`",
    "hc3": "`question` and `chatgpt_answers`",
}


def missing_column(column: str, key: str, columns: Sequence[str], where: str) -> DataError:
    """Return the error for a column that a config names and the data lacks."""
    close = get_close_matches(column, columns, n=1) or [
        name for name in columns if name.lower() == column.lower()
    ]
    return DataError(
        f"no column `{column}` (`{key}`); columns are {_listed(columns)}",
        where=where,
        hint=f"did you mean `{close[0]}`?" if close else None,
    )


def to_text(value: Any) -> str:
    """Return a value as text: null as nothing, a list of content parts joined.

    Raises:
        ValueError: The value is an object or a list of other things.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        # Half a surrogate pair is valid JSON, but no text that a file could hold.
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return "".join(to_text(p.get("text") if isinstance(p, dict) else p) for p in value)
    raise ValueError(f"has a {type(value).__name__} where text should be")


def _named_columns(source: TableSource, row: Mapping[str, Any], where: str) -> Layout:
    names = {"prompt_column": source.prompt_column, "response_column": source.response_column}
    for key, column in names.items():
        if not column:
            raise DataError(
                f"`format: columns` needs `{key}`; columns are {_listed(row)}", where=where
            )
        if column not in row:
            raise missing_column(column, key, list(row), where)
    return Layout("columns", str(source.prompt_column), str(source.response_column))


def _match(name: str, row: Mapping[str, Any]) -> Layout | None:
    if name in ("messages", "sharegpt"):
        column = next((c for c in _CONVERSATION_COLUMNS if isinstance(row.get(c), list)), None)
        turns = row.get(column) if column else None
        key = "content" if name == "messages" else "value"
        fits = turns and all(isinstance(turn, dict) and key in turn for turn in turns)
        return Layout(name, column, column) if column and fits else None
    prompt, responses = {
        "alpaca": ("instruction", _ALPACA_RESPONSES),
        "completion": ("prompt", _COMPLETION_RESPONSES),
        "hc3": ("question", ("chatgpt_answers",)),
    }[name]
    response = next((column for column in responses if column in row), None)
    if prompt not in row or response is None:
        return None
    extra = next((c for c in _ALPACA_INPUTS if c in row), "") if name == "alpaca" else ""
    return Layout(name, prompt, response, extra)


@dataclass(frozen=True)
class _Turns:
    """A conversation up to its first answer, and how many answers follow."""

    prompt: str
    answers: tuple[str, ...]
    later: int


def _read_conversation(turns: Any) -> Exchanges:
    read = _read_turns(turns)
    return Exchanges(tuple((read.prompt, answer) for answer in read.answers), read.later)


def _read_turns(turns: Any) -> _Turns:
    if not isinstance(turns, list):
        raise ValueError("has no list of turns")
    told: dict[str, list[str]] = {"system": [], "user": [], "assistant": []}
    later = 0
    for turn in turns:
        role, text = _read_turn(turn)
        if told["assistant"]:
            later += role == "assistant"
        elif role in ("system", "user") or (role == "assistant" and told["user"]):
            told[role].append(text)
    prompt = "\n\n".join(filter(None, [*told["system"], *told["user"]]))
    return _Turns(prompt, tuple(told["assistant"]), later)


def _read_turn(turn: Any) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise ValueError("has a turn that is no object")
    role = turn.get("role", turn.get("from"))
    text = turn.get("content", turn.get("value"))
    return _ROLES.get(str(role).lower(), ""), to_text(text)


def _listed(columns: Mapping[str, Any] | Sequence[str]) -> str:
    names = list(columns)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more if names else "none"
