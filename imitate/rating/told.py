"""Ratings in the terminal: the raters, how far they agree, and who is preferred to whom."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imitate.rating.importing import Contested, Heard, Ratings
from imitate.terminal import printable

__all__ = ["print_ratings"]

_RATERS = ("rater", "answered", "attention", "first", "seconds", "")
_CONTESTS = ("arm", "against", "n", "w-t-l", "split", "win rate", "all votes")

_LEGEND = (
    "In percent, with 95 % intervals over items; none under 10 of them. attention: checks passed, "
    "with an exact interval. first: how often what was shown first was preferred; 50 without "
    "position bias. seconds: median from answer to answer. n: pairs that somebody rated. w-t-l: "
    "of them won, tied and lost by the majority. split: ties for want of a majority. win rate: "
    "ties count one half. all votes: every rater's vote alike. alpha: Krippendorff's, 0 by "
    "chance, 1 at best. The intervals hold the luck of the items, not that of the raters."
)


def print_ratings(ratings: Ratings, console: Console) -> None:
    """Print what was measured."""
    console.print(_rater_table(ratings))
    for task in dict.fromkeys(one.task for one in ratings.contests):
        console.print(_contest_table(ratings, task))
    nominal, ordinal = (
        one.as_text(1, 2) for one in (ratings.agreement.nominal, ratings.agreement.ordinal)
    )
    n_twice = ratings.agreement.nominal.n
    console.print(
        f"alpha over {n_twice} pairs that two or more rated: nominal {nominal}, ordinal {ordinal}"
    )
    console.print(_LEGEND, style="dim")


def _rater_table(ratings: Ratings) -> Table:
    bound = f"{100 * ratings.attention_bound:.0f} %"
    table = _empty_table(f"Raters; inattentive under {bound} of the checks", _RATERS)
    for one in ratings.raters:
        table.add_row(*map(Text, _rater_row(one)))
    return table


def _empty_table(title: str, columns: Sequence[str]) -> Table:
    table = Table(
        title=title, title_justify="left", box=SIMPLE, pad_edge=False, collapse_padding=True
    )
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in {"rater", "arm", ""})
    return table


def _rater_row(one: Heard) -> list[str]:
    n_shown = len(one.filled.answers) + one.n_missing
    checks = f"{one.attention.n_passed}/{one.attention.rate.n}"
    seconds = "-" if one.filled.median_s is None else f"{one.filled.median_s:.0f}"
    note = "inattentive" if one.attention.is_inattentive else ""
    return [
        printable(one.filled.rater),
        f"{len(one.filled.answers)} of {n_shown}",
        f"{checks}, {one.attention.rate.as_text(100, 0)}" if one.attention.rate.n else checks,
        one.first.as_text(100, 0),
        seconds,
        f"{note}; left out" if one.is_left_out else note,
    ]


def _contest_table(ratings: Ratings, task: str) -> Table:
    table = _empty_table(f"Who is preferred on {task}", _CONTESTS)
    for one in ratings.contests:
        if one.task == task:
            table.add_row(*map(Text, _contest_row(one)))
    return table


def _contest_row(one: Contested) -> list[str]:
    won = one.majority
    return [
        one.arm,
        one.against,
        str(won.rate.n) if won.rate.n == one.n_pairs else f"{won.rate.n} of {one.n_pairs}",
        f"{won.wins}-{won.ties}-{won.losses}",
        str(one.n_undecided),
        won.rate.as_text(100, 0),
        one.votes.as_text(100, 0),
    ]
