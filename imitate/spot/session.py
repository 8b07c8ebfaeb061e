"""A small session: each arm goes on with its own conversation, turn after turn."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fnmatch
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from evals.endpoint import Message, Sampling
from evals.errors import UserError
from imitate.spot.answers import Answer, State, ask_all
from imitate.spot.showing import watched
from imitate.spot.speakers import Speaker
from imitate.terminal import printable

__all__ = ["Session", "choose", "typed_lines"]

HELP = """\
/arms [NAMES]  whom is asked; names or patterns, such as medium* teacher
/seed N        seed of what comes next
/new           forget the conversation
/save FILE     keep it, as Markdown or, by a name that ends in .json, as JSON
/quit          leave (also Ctrl-D); Ctrl-C stops an answer"""

ASIDE = {"control", "planted", "sweep"}
"""Kinds that are asked only by name."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """One prompt and what was answered."""

    prompt: str
    sampling: Sampling
    answers: tuple[Answer, ...]


def choose(speakers: Sequence[Speaker], patterns: Sequence[str]) -> list[Speaker]:
    """Return the speakers that patterns name; without any, all but controls and the like.

    Raises:
        UserError: A pattern names nobody.
    """
    if not patterns:
        return [one for one in speakers if one.kind not in ASIDE] or list(speakers)
    names = [speaker.name for speaker in speakers]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise UserError(f"no arm `{pattern}` here", hint=f"there are: {', '.join(names)}")
    return [one for one in speakers if any(fnmatch.fnmatchcase(one.name, p) for p in patterns)]


class Session:
    """Conversations with the chosen arms."""

    def __init__(
        self,
        speakers: Sequence[Speaker],
        patterns: Sequence[str],
        sampling: Sampling,
        console: Console,
    ) -> None:
        self.speakers = speakers
        self.chosen = choose(speakers, patterns)
        self.sampling = sampling
        self.console = console
        self.turns: list[Turn] = []
        self._conversations: dict[str, list[Message]] = {}

    def say(self, prompt: str) -> list[Answer]:
        """Ask the chosen arms and show what they answer.

        An arm that fails forgets the prompt, so that it can be asked again.
        """
        asked: Message = {"role": "user", "content": prompt}
        history = {one.name: [*self._past(one.name), asked] for one in self.chosen}
        with watched(self.console) as show:
            answers = asyncio.run(ask_all(self.chosen, history, self.sampling, show))
        for answer in answers:
            if answer.state is State.DONE:
                said = {"role": "assistant", "content": answer.text}
                self._conversations[answer.arm] = [*history[answer.arm], said]
        self.turns.append(Turn(prompt, self.sampling, tuple(answers)))
        return answers

    def run(self, lines: Iterator[str]) -> None:
        """Answer lines and obey commands, until one says to leave."""
        for line in lines:
            if line in {"/quit", "/exit"}:
                return
            try:
                if line.startswith("/"):
                    self._obey(*line.split(maxsplit=1))
                elif line:
                    self.say(line)
            except UserError as error:
                self._tell(str(error))
            except KeyboardInterrupt:
                self._tell("stopped; what was said is forgotten")

    def _past(self, arm: str) -> list[Message]:
        return self._conversations.get(arm, [])

    def _obey(self, command: str, rest: str = "") -> None:
        commands: dict[str, Callable[[str], None]] = {
            "/arms": self._choose,
            "/help": lambda _: self._tell(HELP),
            "/new": self._forget,
            "/save": self._save,
            "/seed": self._set_seed,
        }
        if command not in commands:
            raise UserError(f"no command `{command}`", hint="/help lists them")
        commands[command](rest.strip())

    def _choose(self, patterns: str) -> None:
        if patterns:
            self.chosen = choose(self.speakers, patterns.replace(",", " ").split())
        for speaker in self.speakers:
            mark = "*" if speaker in self.chosen else " "
            self._tell(f"{mark} {speaker.name}  {speaker.kind}".rstrip())

    def _forget(self, _: str) -> None:
        self._conversations.clear()
        self._tell("a new conversation")

    def _set_seed(self, value: str) -> None:
        if not value.isdecimal():
            raise UserError(f"a seed is a whole number from 0, got `{value}`", hint="/seed 7")
        self.sampling = dataclasses.replace(self.sampling, seed=int(value))
        self._tell(f"seed {value}")

    def _save(self, name: str) -> None:
        if not name:
            raise UserError("`/save` needs a file", hint="/save answers.md")
        path = Path(name).expanduser()
        text = _as_json(self.turns) if path.suffix == ".json" else _as_markdown(self.turns)
        try:
            with path.open("x", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError as error:
            raise UserError(f"`{path}` cannot be written: {error.strerror}") from None
        self._tell(f"{len(self.turns)} turns in {path}")

    def _tell(self, text: str) -> None:
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def typed_lines() -> Iterator[str]:
    """Yield lines as they are typed, with history and editing, or those of a file on stdin."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin)
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (input() edits and remembers with it)
    while True:
        try:
            yield input("you> ").strip()
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()


def _as_json(turns: Sequence[Turn]) -> str:
    def told(turn: Turn) -> dict[str, Any]:
        return {
            "prompt": turn.prompt,
            "seed": turn.sampling.seed,
            "temperature": turn.sampling.temperature,
            "max_tokens": turn.sampling.max_tokens,
            "answers": [dataclasses.asdict(answer) for answer in turn.answers],
        }

    return json.dumps({"turns": [told(turn) for turn in turns]}, indent=1) + "\n"


def _as_markdown(turns: Sequence[Turn]) -> str:
    lines = ["# Spot check", ""]
    for turn in turns:
        lines += [f"## Seed {turn.sampling.seed}, temperature {turn.sampling.temperature:g}", ""]
        lines += [*_fenced(turn.prompt), ""]
        for answer in turn.answers:
            lines += [f"**{answer.arm}**", "", *_fenced(answer.text)]
            lines += ["", *([f"({answer.state}: {answer.note})", ""] if answer.note else [])]
    return "\n".join(lines)


def _fenced(text: str) -> list[str]:
    """Return text as a code block whose fence is no part of it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}text", printable(text), fence]
