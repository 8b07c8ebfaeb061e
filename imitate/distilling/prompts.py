"""A file or a hub data set -> prompts, each asked once, and what was left of the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evals.errors import DataError
from evals.records import Example
from imitate.config import FilePrompts, FileSource, HubPrompts, HubSource, SeedPrompts
from imitate.data import SourceCard, open_source
from imitate.data.files import FileLimits
from imitate.data.formats import choose_prompt_layout, missing_column, to_text
from imitate.data.read import read_source_rows
from imitate.data.words import normalise_text
from imitate.hub import pin_source

__all__ = ["PromptSet", "Seeds", "read_prompts", "read_seeds"]

_LIMITS = FileLimits(max_row_bytes=10_000_000)


@dataclass
class PromptSet:
    """Examples without a response, and counts of the rows that gave none.

    `n_empty` rows had no text in the prompt; `n_repeated` had one that was there already.
    """

    source: SourceCard
    asked: list[Example] = dataclasses.field(default_factory=list)
    n_empty: int = 0
    n_repeated: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return where the prompts come from, and their counts, as plain values."""
        source = self.source
        return {
            "kind": source.kind,
            "name": source.name,
            "sha256": source.sha256,
            "revision": source.revision,
            "rows": source.rows,
            "empty": self.n_empty,
            "repeated": self.n_repeated,
            "prompts": len(self.asked),
        }


@dataclass(frozen=True)
class Seeds:
    """Seed questions, and what is wanted of their kind."""

    config: SeedPrompts
    questions: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the seed questions, and what was wanted, as plain values."""
        return {
            "kind": "seeds",
            "questions": list(self.questions),
            "pairs": self.config.pairs,
            "pairs_per_call": self.config.pairs_per_call,
        }


def read_prompts(config: FilePrompts | HubPrompts) -> PromptSet:
    """Return the distinct prompts of a source, in its order.

    Raises:
        DataError: It cannot be read, has no such column, or holds no prompt.
    """
    source = _source(config)
    found = PromptSet(open_source(source))
    where = str(source.path) if isinstance(source, FileSource) else found.source.name
    seen: set[str] = set()
    for example in _read(config, source, found.source, where):
        if not example.prompt:
            found.n_empty += 1
        elif example.prompt in seen:
            found.n_repeated += 1
        else:
            seen.add(example.prompt)
            found.asked.append(example)
            if len(found.asked) == config.rows:
                break
    if not found.asked:
        raise DataError(
            f"{found.source.name} holds no prompts: {found.source.rows:,} rows, "
            f"{found.n_empty:,} without text",
            where=where,
            hint="`prompts.prompt_column` names the column with the prompt",
        )
    return found


def read_seeds(config: SeedPrompts) -> Seeds:
    """Return the distinct seed questions, from the config or its file.

    Raises:
        DataError: As `read_prompts`.
    """
    if config.path:
        table = FilePrompts(kind="file", path=config.path, prompt_column=config.prompt_column)
        questions = [example.prompt for example in read_prompts(table).asked]
    else:
        questions = [normalise_text(question) for question in config.questions]
    return Seeds(config, tuple(dict.fromkeys(questions)))


def _source(config: FilePrompts | HubPrompts) -> FileSource | HubSource:
    if isinstance(config, FilePrompts):
        return FileSource(kind="file", path=config.path)
    place = config.model_dump(include={"dataset", "subset", "split", "revision"})
    return pin_source(HubSource(kind="hub", **place))


def _read(
    config: FilePrompts | HubPrompts, source: FileSource | HubSource, card: SourceCard, where: str
) -> Iterator[Example]:
    layout = None
    column = config.category_column
    for number, row in read_source_rows(source, _LIMITS, card):
        card.rows += 1
        place = f"{where}:{number}"
        if layout is None:
            layout = choose_prompt_layout(config.prompt_column, row, place)
            card.layout = layout.name
            if column and column not in row:
                raise missing_column(column, "prompts.category_column", list(row), place)
        try:
            prompt = normalise_text(layout.read_prompt(row))
            category = to_text(row.get(column)) if column else ""
        except ValueError as error:
            raise DataError(f"row {number} {error}", where=place) from None
        yield Example(f"{card.name}:{number}", prompt, "", card.name, category)
