"""A run and what is to be drawn -> `rate.html`, `rate.csv` and `key.json` in a folder."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

from evals.errors import UserError
from evals.estimates import share_estimate
from imitate.rating.drawing import Drawing, draw_pairs, find_contests, read_run_texts
from imitate.rating.sheet import (
    ATTENTION_BOUND,
    INSTRUCTIONS,
    Key,
    Sheet,
    read_key,
    show,
    write_key,
)

__all__ = ["COLUMNS", "Exported", "Render", "export_sheet"]

COLUMNS = ("page", "id", "request", "answer_a", "answer_b", "better", "rater")
"""Of `rate.csv`; raters fill the last two."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would compute."""

Render = Callable[[Sheet], str]
"""Makes the page."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written, and what it holds."""

    page: Path
    table: Path
    key: Path
    page_id: str
    n_pairs: int
    n_checks: int
    told: str


def export_sheet(run_folder: Path, drawing: Drawing, out: Path, render: Render) -> Exported:
    """Draw pairs from a run and write what raters and what the researcher gets.

    Raises:
        UserError: The run cannot give what is wanted, or another page's key is in the way.
    """
    run = read_run_texts(run_folder)
    contests = find_contests(run, drawing.contests)
    pairs = tuple(draw_pairs(run, contests, drawing))
    sheet = show(pairs, INSTRUCTIONS, run.texts)
    key = Key(sheet.page_id, run.name, drawing.seed, ATTENTION_BOUND, INSTRUCTIONS, pairs)
    page, table, kept = out / "rate.html", out / "rate.csv", out / "key.json"
    _refuse_other(kept, key)
    out.mkdir(parents=True, exist_ok=True)
    write_key(kept, key)
    page.write_text(render(sheet), encoding="utf-8")
    _write_table(table, sheet)
    n_checks = sum(bool(pair.check) for pair in pairs)
    return Exported(
        page, table, kept, sheet.page_id, len(pairs), n_checks, _told(key, len(contests), n_checks)
    )


def _refuse_other(path: Path, key: Key) -> None:
    """Refuse to replace the key of a page that raters may have: without it they rated in vain."""
    if path.exists() and read_key(path).page_id != key.page_id:
        raise UserError(
            "another page's key is there, without which its ratings mean nothing",
            where=str(path),
            hint="give another folder with --out, or move the key and its page away",
        )


def _write_table(path: Path, sheet: Sheet) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:  # the mark that Excel looks for
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for pair in sheet.pairs:
            texts = map(_defused, (pair.prompt, pair.a, pair.b))
            writer.writerow((sheet.page_id, pair.id, *texts, "", ""))


def _defused(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _told(key: Key, n_contests: int, n_checks: int) -> str:
    tasks = sorted({pair.task for pair in key.pairs})
    return (
        f"{len(key.pairs) - n_checks} pairs of {', '.join(tasks)} in {n_contests} contests, and "
        f"{n_checks} attention checks among them.\n{_resolution(key)}"
        "Raters get rate.html (or rate.csv, for a spreadsheet) and send back what it saves.\n"
        "key.json stays with you: it tells which arm wrote what."
    )


def _resolution(key: Key) -> str:
    """Return what the smallest contest can show, were it even and without ties."""
    clusters: dict[tuple[str, str], list[str]] = {}
    for pair in key.pairs:
        if not pair.check:
            clusters.setdefault((pair.arm, pair.against), []).append(pair.cluster_id)
    least = min(clusters.values(), key=len)
    even = share_estimate([number % 2 for number in range(len(least))], least)
    if even.low != even.low:
        return f"{len(least)} items in a contest are too few for an interval: give more --items.\n"
    low, high = round(100 * even.low), round(100 * even.high)
    return (
        f"An even contest of {len(least)} items has an interval of {low} to {high} %: give more "
        "--items to see less.\n"
    )
