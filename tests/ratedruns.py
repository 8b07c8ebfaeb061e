"""A finished run with what raters need of it, written by hand, and raters who fill a page."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from evals.records import Axis, Completion, Format, Item, write_records

BASE, IMITATOR, TEACHER = "pebble", "pebble/broad-100-s0", "teacher"
QUALITY = {BASE: "poor", IMITATOR: "fine", TEACHER: "best"}
"""What an arm's answers say, so that raters of the tests can tell; no arm's name is in them."""

Entry = dict[str, Any]
Choose = Callable[[Entry], str]


def write_run(
    folder: Path, *, n_items: int = 24, texts: dict[tuple[str, str], str] | None = None
) -> Path:
    """Write a run of a base, its imitator, a planted one and the teacher.

    Args:
        folder: Where it goes.
        n_items: Items of the style task `chat`; `facts` has 4, and `chat` 2 for development.
        texts: By arm and item, answers other than the usual ones.
    """
    arms = [
        _arm(BASE, "base"),
        _arm(TEACHER, "teacher"),
        _arm(IMITATOR, "imitator"),
        _arm("pebble/local-100-s0", "imitator", is_planted=True),
    ]
    items = [_item("chat", number, Axis.STYLE) for number in range(n_items)]
    items += [_item("facts", number, Axis.FACTUALITY) for number in range(4)]
    items += [_item("chat", 900 + n, Axis.STYLE, is_development=True) for n in range(2)]
    answers = [
        Completion(
            item.item_id,
            arm["arm"],
            Format.CHAT,
            (texts or {}).get((arm["arm"], item.item_id))
            or f"{QUALITY.get(arm['arm'], 'odd')} answer to {item.item_id}",
            4,
            "stop",
        )
        for arm in arms
        for item in items
    ]
    (folder / "records").mkdir(parents=True, exist_ok=True)
    write_records(folder / "records" / "items.parquet", items, Item)
    write_records(folder / "records" / "completions.parquet", answers, Completion)
    results = {"schema_version": 1, "name": "tiny", "arms": arms, "verdicts": []}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder


def shown_pairs(page: Path) -> Entry:
    """Return the data that a page holds."""
    html = page.read_text(encoding="utf-8")
    data = html.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    return json.loads(data)  # type: ignore[no-any-return]


def prefers(pair: Entry) -> str:
    """Return what an attentive rater says: the better quality, or the answer that fits."""
    own = pair["prompt"].split()[-1].rstrip("?")
    if pair["a"] == pair["b"]:
        return "tie"
    fits = [text.endswith(own) for text in (pair["a"], pair["b"])]
    if not all(fits):
        return "ab"[fits.index(True)]
    ranks = [list(QUALITY.values()).index(pair[side].split()[0]) for side in "ab"]
    return "ab"[ranks.index(max(ranks))]


def fill_json(page: Path, rater: str, choose: Choose = prefers, **changes: Any) -> Path:
    """Write what the page saves for a rater, beside the page."""
    data = shown_pairs(page)
    answers = [
        {"id": pair["id"], "choice": choose(pair), "at": f"2026-01-01T10:{n // 60:02}:{n % 60:02}Z"}
        for n, pair in enumerate(data["pairs"])
    ]
    told = {"kind": "imitate ratings", "schema_version": 1, "page_id": data["page_id"]}
    told |= {"rater": rater, "answers": [one for one in answers if one["choice"]]} | changes
    path = page.parent / f"{rater or 'nobody'}.json"
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


def fill_table(
    table: Path, rater: str, choose: Choose = prefers, *, name: str = "filled.csv"
) -> Path:
    """Write the filled sheet of a rater, as a spreadsheet would."""
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        pair = {"prompt": row["request"], "a": row["answer_a"], "b": row["answer_b"]}
        row["better"] = choose(pair)
    rows[0]["rater"] = rater
    return write_table(table.parent / name, rows)


def write_table(path: Path, rows: Iterable[Entry], *, delimiter: str = ",") -> Path:
    """Write rows as a sheet."""
    listed = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(listed[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(listed)
    return path


def _arm(name: str, kind: str, *, is_planted: bool = False) -> Entry:
    base = None if kind == "teacher" else BASE
    flags = {"is_planted": is_planted, "is_control": False, "control": None}
    return {"arm": name, "kind": kind, "base": base, **flags}


def _item(task: str, number: int, axis: Axis, *, is_development: bool = False) -> Item:
    name = f"{task}-{number}"
    prompt = f"What of {name}?"
    return Item(name, task, axis, f"cluster-{name}", prompt, is_development=is_development)
