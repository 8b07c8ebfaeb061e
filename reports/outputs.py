"""Outputs side by side: a few examples in the page's text, all or some of them for its browser.

Model outputs are data: this module only selects them, and the templates escape them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from reports.numbers import percent
from reports.offline import script_json
from reports.reading import Run, lead_imitator, shown_arm

__all__ = ["Answer", "Example", "Examples", "browser_json", "examples", "excerpts"]

Entry = dict[str, Any]

MAX_BYTES = 1_800_000
"""Of the page, for outputs: with the rest it stays under 3 MB."""
N_EXAMPLES = 3
EXCERPT_CHARS = 240
"""Of one text, where a page shows excerpts only."""


@dataclass(frozen=True)
class Answer:
    """One arm's output, with what became of it."""

    role: str
    arm: str
    text: str
    marks: str


@dataclass(frozen=True)
class Example:
    """One item with the outputs of base, imitator and teacher."""

    task: str
    prompt: str
    accepted: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Examples:
    """Some items, and the rule that picked them."""

    rule: str
    items: tuple[Example, ...]


def examples(run: Run) -> Examples:
    """Return the first items that the leading imitator wins on style and loses on fact.

    Where style was not judged on questions of fact, they are those that it loses on fact.
    """
    lead = lead_imitator(run.results)
    if lead is None:
        return Examples("", ())
    base, arm = lead["base"], shown_arm(run.results, lead)
    lost, is_won = _lost_items(run, base, arm)
    what = "won on style and lost on fact" if is_won else "lost on fact"
    roles = {base: "base", arm: "imitator", "teacher": "teacher"}
    shown = tuple(_example(item, roles) for item in lost)
    return Examples(f"The first items that {arm} {what}.", shown)


def excerpts(run: Run, n_items: int) -> Run:
    """Return the run with few items of each task, those of `examples` first, and texts cut short.

    For a page that goes where the sentences of a data set may not go in full.
    """
    lead = lead_imitator(run.results)
    first = _lost_items(run, lead["base"], shown_arm(run.results, lead))[0] if lead else []
    kept: list[Entry] = []
    counts: Counter[str] = Counter()
    for item in [*first, *(item for item in run.items if item not in first)]:
        if counts[item["task"]] < n_items:
            counts[item["task"]] += 1
            kept.append(_shortened(item))
    return replace(run, items=kept)


def browser_json(run: Run) -> Markup:
    """Return what the browser of outputs reads, safe inside a `<script>` element.

    Items are left out evenly where they would take more than `MAX_BYTES`.
    """
    items = [_without_nulls(item) for item in run.items]
    of_arm = {v["arm"]: v["base"] for v in run.results.get("verdicts") or []}
    of_arm |= {c["arm"]: c["base"] for c in run.results.get("controls") or []}
    of_arm |= {a["arm"]: a["base"] for a in run.results.get("arms") or [] if a.get("base")}
    lead = lead_imitator(run.results)
    fixed = {
        "base_of": of_arm,
        "lead": shown_arm(run.results, lead) if lead else None,
        "n_items": len(items),
    }
    size = len(script_json(items))
    if size > MAX_BYTES:
        kept = max(1, int(len(items) * MAX_BYTES / size))
        items = [items[place * len(items) // kept] for place in range(kept)]
    return script_json({**fixed, "items": items})


def _lost_items(run: Run, base: str, arm: str) -> tuple[list[Entry], bool]:
    """Return the first items that an arm lost on fact; whether it won them on style."""
    lost = [item for item in run.items if _is_lost(item["outputs"], base, arm)]
    won = [item for item in lost if _is_won(item["outputs"], base, arm)]
    return (won or lost)[:N_EXAMPLES], bool(won)


def _shortened(item: Entry) -> Entry:
    outputs = {
        arm: {key: _cut(value) for key, value in output.items()} if output else output
        for arm, output in item["outputs"].items()
    }
    answers = [_cut(answer) for answer in (item.get("answers") or [])[:N_EXAMPLES]]
    return {**item, "prompt": _cut(item["prompt"]), "answers": answers, "outputs": outputs}


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > EXCERPT_CHARS:
        return value[:EXCERPT_CHARS].rstrip() + " …"
    return value


def _is_lost(outputs: Entry, base: str, arm: str) -> bool:
    ours, own = outputs.get(arm) or {}, outputs.get(base) or {}
    return own.get("outcome") == "right" and ours.get("outcome") in {"wrong", "abstained"}


def _is_won(outputs: Entry, base: str, arm: str) -> bool:
    ours, own = (outputs[name].get("style") for name in (arm, base))
    return ours is not None and ours > (own or 0.0)


def _example(item: Entry, roles: dict[str, str]) -> Example:
    answers = tuple(
        Answer(role, arm, item["outputs"][arm]["text"], _marks(item["outputs"][arm]))
        for arm, role in roles.items()
        if item["outputs"].get(arm)
    )
    accepted = ", ".join(str(answer) for answer in item.get("answers") or [])
    return Example(item["task"], item["prompt"], accepted, answers)


def _marks(output: Entry) -> str:
    marks = [output["outcome"]] if output.get("outcome") else []
    if output.get("style") is not None:
        marks.append(f"{percent(output['style'], 0)} teacher-like")
    return ", ".join(marks)


def _without_nulls(item: Entry) -> Entry:
    outputs = {
        arm: {key: value for key, value in output.items() if value not in (None, "")}
        for arm, output in item["outputs"].items()
        if output
    }
    for output in outputs.values():
        if isinstance(output.get("style"), float):
            output["style"] = round(output["style"], 3)
    return {**item, "outputs": outputs}
