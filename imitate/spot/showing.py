"""Answers in a terminal: side by side as they grow, or one after another where there is none.

Answers are data: every text goes through `printable` and into `rich.text.Text`, which reads no
markup.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from imitate.spot.answers import Answer, Show, State
from imitate.terminal import printable

__all__ = ["side_by_side", "watched"]

MIN_COLUMN = 36
FRAME_WIDTH, FRAME_HEIGHT = 4, 2
_STYLES = {"base": "blue", "teacher": "yellow", "imitator": "green"}


@contextlib.contextmanager
def watched(console: Console) -> Iterator[Show]:
    """Yield what shows answers while they grow; in the end they stand there whole."""
    if not console.is_terminal:
        yield _one_after_another(console)
        return
    latest: list[Answer] = []
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:

            def show(answers: Sequence[Answer]) -> None:
                latest[:] = answers
                growing = side_by_side(answers, console, height=console.height - 1)
                live.update(growing, refresh=True)

            yield show
    finally:
        if latest:
            console.print(side_by_side(latest, console))


def side_by_side(
    answers: Sequence[Answer], console: Console, *, height: int | None = None
) -> RenderableType:
    """Return answers in as many columns as fit, in rows; the ends of long ones where height is."""
    n_columns = max(1, min(len(answers), console.width // MIN_COLUMN))
    n_rows = math.ceil(len(answers) / n_columns)
    most = max(1, height // n_rows - FRAME_HEIGHT) if height else None
    width = console.width // n_columns
    rows = [answers[start : start + n_columns] for start in range(0, len(answers), n_columns)]
    return Group(*(_row(row, n_columns, console, width, most) for row in rows))


def _row(
    answers: Sequence[Answer], n_columns: int, console: Console, width: int, most: int | None
) -> Table:
    grid = Table.grid(expand=True)
    for _ in range(n_columns):
        grid.add_column(ratio=1)
    bodies = [_body(answer, console, width - FRAME_WIDTH, most) for answer in answers]
    tallest = max(len(body.plain.split("\n")) for body in bodies)
    frames = [_framed(a, b, tallest) for a, b in zip(answers, bodies, strict=True)]
    grid.add_row(*frames)
    return grid


def _framed(answer: Answer, body: Text, n_lines: int) -> Panel:
    style = "red" if answer.state is State.FAILED else _STYLES.get(answer.kind, "cyan")
    title = Text(printable(answer.arm), style=f"bold {style}")
    if answer.kind not in {"", answer.arm}:
        title.append(f" · {printable(answer.kind)}", style="not bold dim")
    return Panel(
        body,
        box=ROUNDED,
        title=title,
        title_align="left",
        subtitle=Text(_status(answer), style="dim"),
        subtitle_align="right",
        border_style="dim",
        height=n_lines + FRAME_HEIGHT,
    )


def _body(answer: Answer, console: Console, width: int, most: int | None) -> Text:
    """Return an answer broken into lines, of which the last `most` are kept."""
    text = Text(printable(answer.text).strip())
    if answer.state is State.FAILED:
        text.append(("\n" if text else "") + printable(answer.note), style="red")
    text.expand_tabs(4)
    lines = list(text.wrap(console, max(1, width))) or [Text()]
    return Text("\n").join(lines[-most:] if most else lines)


def _status(answer: Answer) -> str:
    match answer.state:
        case State.WAITING | State.FAILED:
            return answer.state.value
        case State.SPEAKING:
            return f"{answer.seconds:.1f} s ..."
        case State.DONE:
            return ", ".join([f"{answer.seconds:.1f} s", *([answer.note] if answer.note else [])])


def _one_after_another(console: Console) -> Show:
    """Return what prints each answer when it and those before it are over."""
    n_shown = 0

    def show(answers: Sequence[Answer]) -> None:
        nonlocal n_shown
        for answer in answers[n_shown:]:
            if not answer.is_over:
                return
            n_shown += 1
            kind = f" ({answer.kind})" if answer.kind not in {"", answer.arm} else ""
            console.print(Text(printable(f"== {answer.arm}{kind}")), soft_wrap=True)
            told = [answer.text.strip()] if answer.text else []
            if answer.note:
                word = "failed: " if answer.state is State.FAILED else ""
                told.append(f"[{word}{answer.note}]")
            console.print(Text(printable("\n".join(told))), soft_wrap=True)
            console.print()

    return show
