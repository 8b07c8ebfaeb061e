"""What a judge is told: a text file with an instruction, a line `---`, and what it is shown.

In: one of ours by name, or a file of the user's. Out: `Rubric`, which renders a pair as chat
messages. Its digest is part of what locks a judge: another wording is another judge.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from evals.endpoint import Message
from evals.errors import DataError
from evals.judges.pairs import Order, Pair

__all__ = ["RUBRICS", "Rubric", "read_rubric", "rubric_path"]

_FOLDER = Path(__file__).parent / "rubrics"

RUBRICS = tuple(sorted(path.stem for path in _FOLDER.glob("*.md")))
"""The rubrics that we ship: what each judges is its name."""

_NEEDED = {"prompt", "first", "second"}
_KNOWN = _NEEDED | {"reference", "mark"}
_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")

_HOW_TO_ANSWER = {
    True: 'Answer with JSON: {"reason": "one sentence", "winner": "A"}, where the winner is "A", '
    '"B" or "tie".',
    False: 'Answer with JSON: {"winner": "A"}, where the winner is "A", "B" or "tie".',
}


@dataclasses.dataclass(frozen=True)
class Rubric:
    """What is judged, in words.

    Attributes:
        name: What is judged, such as "style".
        instruction: The system message.
        template: The user's message, with `{{prompt}}`, `{{first}}`, `{{second}}`, and as it likes
            `{{reference}}` and `{{mark}}`: hexadecimal digits that no text of the pair holds.
        gives_reason: Whether the judge says why before it says who.
    """

    name: str
    instruction: str
    template: str
    gives_reason: bool = True

    @property
    def needs_reference(self) -> bool:
        """Whether only pairs with a reference can be judged."""
        return "reference" in _PLACE.findall(self.template)

    @property
    def schema(self) -> str:
        """The JSON schema of an answer, as text, for servers that hold their answers to one."""
        winner = {"type": "string", "enum": ["A", "B", "tie"]}
        reason = {"reason": {"type": "string"}} if self.gives_reason else {}
        properties = {**reason, "winner": winner}
        return json.dumps(
            {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            }
        )

    @property
    def digest(self) -> str:
        """Identity of all that the judge is told."""
        told = [self.instruction, self.template, _HOW_TO_ANSWER[self.gives_reason]]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def render(self, pair: Pair, order: Order) -> list[Message]:
        """Return what the judge is shown, with the answer of the pair's `arm` at its place."""
        answers = [pair.answer, pair.other_answer]
        first, second = answers if order is Order.FIRST else reversed(answers)
        texts = {
            "prompt": pair.prompt,
            "reference": pair.reference,
            "first": first,
            "second": second,
        }
        values = texts | {"mark": _mark(texts)}
        shown = _PLACE.sub(lambda place: values[place[1]], self.template)
        return [
            {"role": "system", "content": self.instruction},
            {"role": "user", "content": f"{shown}\n{_HOW_TO_ANSWER[self.gives_reason]}"},
        ]


def read_rubric(name: str, *, gives_reason: bool = True) -> Rubric:
    """Return one of our rubrics by its name, or the one in a file.

    Raises:
        DataError: There is no such rubric, or it lacks a part.
    """
    path = rubric_path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"no rubric `{name}` can be read: {error}",
            hint=f"ours are {', '.join(RUBRICS)}; else give the path of a text file",
        ) from error
    instruction, rule, template = text.partition("\n---\n")
    places = set(_PLACE.findall(template))
    faults = [
        *([] if rule else ["no line `---` between the instruction and what is shown"]),
        *(f"`{{{{{place}}}}}` is missing" for place in sorted(_NEEDED - places) if rule),
        *(f"`{{{{{place}}}}}` is not known" for place in sorted(places - _KNOWN)),
    ]
    if faults:
        raise DataError(f"the rubric cannot be used: {'; '.join(faults)}", where=str(path))
    return Rubric(path.stem, instruction.strip(), template.strip(), gives_reason)


def rubric_path(name: str) -> Path:
    """Return the file of one of our rubrics, or the path that a user gives."""
    return _FOLDER / f"{name}.md" if name in RUBRICS else Path(name)


def _mark(texts: dict[str, str]) -> str:
    """Return digits that the texts do not hold, so that none can close its own fence."""
    whole = json.dumps(texts, sort_keys=True)
    mark = hashlib.sha256(whole.encode()).hexdigest()[:8]
    while mark in whole:
        mark = hashlib.sha256(mark.encode()).hexdigest()[:8]
    return mark
