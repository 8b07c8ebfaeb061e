"""What raters see, and the key to it.

In: drawn pairs and the run's texts. Out: a `Sheet`: ids that tell nothing, requests and answers as
they are shown; and the key that says what every id is. The key holds no text: shown again from the
run's records, it must give the page that it belongs to, or the run is another.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from evals.errors import DataError, RecordError
from evals.judges.pairs import Order

__all__ = [
    "ATTENTION_BOUND",
    "ATTENTION_RULE",
    "INSTRUCTIONS",
    "Check",
    "Key",
    "Rated",
    "Sheet",
    "Shown",
    "Texts",
    "read_key",
    "show",
    "write_key",
]

SCHEMA_VERSION = 1

INSTRUCTIONS = (
    "You see a request and two answers to it. Say which answer serves the person who asked better, "
    "all in all.",
    "An answer is better if it does what was asked, if what it states is true, and if it leaves "
    "out nothing that matters. Length, layout and a polite or confident tone are no merits in "
    "themselves, nor is standing first.",
    "If neither serves better, say that they are equal. Judge for yourself, by what you know; do "
    "not look answers up, and do not ask another rater or a machine.",
    "The answers are quoted as they were written. If one tells you to do something, do not.",
)

ATTENTION_BOUND = 0.75
ATTENTION_RULE = (
    "Some pairs have a known answer. Kind `other`: one answer was given to the request shown, the "
    "other by the same arm to a request of another cluster, the one that shares the fewest words "
    "with it and has not served yet; the former must be preferred. Kind `same`: one answer is "
    "shown twice; they must be called equal. The two kinds alternate, their places are random, and "
    "they look like all others. A rater who passes less than the bound of those answered, or has "
    "answered none of them, counts as inattentive."
)

WARNING = "Do not hand this file out: it tells which arm wrote which answer. It stays with you."


class Check(StrEnum):
    """What kind of attention check a pair is, if any."""

    NONE = ""
    OTHER = "other"
    SAME = "same"


@dataclasses.dataclass(frozen=True)
class Rated:
    """One line of the key.

    Attributes:
        id: Under which raters see it.
        item_id: Whose request is shown.
        task: The item's task.
        cluster_id: The item's unit of randomisation.
        arm: Who wrote one answer.
        against: Who wrote the other; the arm itself in a check.
        order: Where the arm's answer stands; in a check, the answer that must win.
        check: Whether, and how, the right choice is known.
        other_item: In a check of kind `other`, whose answer is the wrong one.
    """

    id: str
    item_id: str
    task: str
    cluster_id: str
    arm: str
    against: str
    order: Order
    check: Check = Check.NONE
    other_item: str = ""


@dataclasses.dataclass(frozen=True)
class Key:
    """What the ids of a page mean, and how they were drawn; in the page's order."""

    page_id: str
    run: str
    seed: int
    attention_bound: float
    instructions: tuple[str, ...]
    pairs: tuple[Rated, ...]

    @property
    def instructions_sha256(self) -> str:
        """Hash of what raters were told: told otherwise, they are other judges."""
        return hashlib.sha256("\n".join(self.instructions).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Shown:
    """One pair as a rater sees it."""

    id: str
    prompt: str
    a: str
    b: str


@dataclasses.dataclass(frozen=True)
class Sheet:
    """All that raters see; nothing in it depends on the arms but the answers themselves."""

    instructions: tuple[str, ...]
    pairs: tuple[Shown, ...]

    @property
    def page_id(self) -> str:
        """Hash of the content, behind a letter: no spreadsheet takes it for a number."""
        content = [self.instructions, [dataclasses.astuple(pair) for pair in self.pairs]]
        text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
        return f"p{hashlib.sha256(text.encode()).hexdigest()[:15]}"


@dataclasses.dataclass(frozen=True)
class Texts:
    """The run's words: requests by item, answers by arm and item."""

    prompts: Mapping[str, str]
    answers: Mapping[tuple[str, str], str]


def show(pairs: Sequence[Rated], instructions: tuple[str, ...], texts: Texts) -> Sheet:
    """Return what raters see of drawn pairs.

    Raises:
        RecordError: The run has no such item or answer.
    """
    try:
        return Sheet(instructions, tuple(_shown(pair, texts) for pair in pairs))
    except KeyError as error:
        raise RecordError(f"the run has no text for {error}") from None


def write_key(path: Path, key: Key) -> None:
    """Write a key as JSON."""
    told = {
        "warning": WARNING,
        "schema_version": SCHEMA_VERSION,
        "page_id": key.page_id,
        "run": key.run,
        "seed": key.seed,
        "instructions": key.instructions,
        "instructions_sha256": key.instructions_sha256,
        "attention": {"rule": ATTENTION_RULE, "bound": key.attention_bound},
        "pairs": [dataclasses.asdict(pair) for pair in key.pairs],
    }
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_key(path: Path) -> Key:
    """Return a key.

    Raises:
        DataError: There is none, or the file is something else.
    """
    hint = "give the `key.json` that `imitate rate export` wrote beside the page: --key FILE"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["schema_version"] != SCHEMA_VERSION:
            raise DataError(
                f"the key has schema version {told['schema_version']}, not {SCHEMA_VERSION}",
                where=str(path),
                hint="import with the version of the package that exported",
            )
        return Key(
            page_id=told["page_id"],
            run=told["run"],
            seed=told["seed"],
            attention_bound=told["attention"]["bound"],
            instructions=tuple(told["instructions"]),
            pairs=tuple(_rated(pair) for pair in told["pairs"]),
        )
    except OSError as error:
        raise DataError(
            f"no key can be read: {error.strerror}", where=str(path), hint=hint
        ) from None
    except (ValueError, KeyError, TypeError):
        raise DataError("this is no key of a rating page", where=str(path), hint=hint) from None


def _shown(pair: Rated, texts: Texts) -> Shown:
    own = texts.answers[pair.arm, pair.item_id]
    other = texts.answers[pair.against, pair.other_item or pair.item_id]
    a, b = (own, other) if pair.order is Order.FIRST else (other, own)
    return Shown(pair.id, texts.prompts[pair.item_id], a, b)


def _rated(told: dict[str, Any]) -> Rated:
    return Rated(**{**told, "order": Order(told["order"]), "check": Check(told["check"])})
