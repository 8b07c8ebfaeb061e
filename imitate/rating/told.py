"""Ratings in the terminal: the raters, how far they agree, and who is preferred to whom."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evals.estimates import Estimate
from imitate.rating.importing import Contested, Heard, Ratings
from imitate.spot.answers import printable

__all__ = ["print_ratings"]

_RATERS = ("rater", "answered", "missing", "attention", "first", "seconds", "")
_CONTESTS = ("arm", "against", "rated", "won", "tied", "lost", "win rate", "all votes")

_LEGEND = (
    "In percent, with 95 % intervals over items; none under 10 of them. attention: checks passed, "
    "with an exact interval. first: how often what was shown first was preferred; 50 without "
    "position bias. seconds: median from answer to answer. win rate: by the majority, ties one "
    "half; a pair without a majority is a tie, told in brackets. all votes: every rater's vote "
    "alike. alpha: Krippendorff's, 0 by chance, 1 at best. The intervals hold the luck of the "
    "items, not that of the raters."
)


def print_ratings(ratings: Ratings, console: Console) -> None:
    """Print what was measured."""
    console.print(_rater_table(ratings))
    for task in dict.fromkeys(one.task for one in ratings.contests):
        console.print(_contest_table(ratings, task))
    nominal, ordinal = (
        _interval(one, 1, 2) for one in (ratings.agreement.nominal, ratings.agreement.ordinal)
    )
    n_twice = ratings.agreement.nominal.n
    console.print(
        f"alpha over {n_twice} pairs that two or more rated: nominal {nominal}, ordinal {ordinal}"
    )
    console.print(_LEGEND, style="dim")


def _rater_table(ratings: Ratings) -> Table:
    table = Table(title="Raters", title_justify="left")
    for column in _RATERS:
        table.add_column(column, overflow="fold")
    for one in ratings.raters:
        table.add_row(*map(Text, _rater_row(one, ratings.attention_bound)))
    return table


def _rater_row(one: Heard, bound: float) -> list[str]:
    checks = f"{one.attention.n_passed} of {one.attention.rate.n}"
    seconds = "-" if one.filled.median_s is None else f"{one.filled.median_s:.0f}"
    note = f"inattentive (under {100 * bound:.0f} %)" if one.attention.is_inattentive else ""
    return [
        printable(one.filled.rater),
        str(len(one.filled.answers)),
        str(one.n_missing),
        f"{checks}, {_interval(one.attention.rate)}" if one.attention.rate.n else checks,
        _interval(one.first),
        seconds,
        f"{note}; left out" if one.is_left_out else note,
    ]


def _contest_table(ratings: Ratings, task: str) -> Table:
    table = Table(title=f"Who is preferred on {task}", title_justify="left")
    for column in _CONTESTS:
        table.add_column(column, overflow="fold")
    for one in ratings.contests:
        if one.task == task:
            table.add_row(*map(Text, _contest_row(one)))
    return table


def _contest_row(one: Contested) -> list[str]:
    undecided = f" ({one.n_undecided})" if one.n_undecided else ""
    return [
        one.arm,
        one.against,
        f"{one.majority.rate.n} of {one.n_pairs}",
        str(one.majority.wins),
        f"{one.majority.ties}{undecided}",
        str(one.majority.losses),
        _interval(one.majority.rate),
        _interval(one.votes),
    ]


def _interval(one: Estimate, scale: float = 100, digits: int = 0) -> str:
    if math.isnan(one.value):
        return "-"
    value = f"{scale * one.value:.{digits}f}"
    if math.isnan(one.low):
        return value
    return f"{value} [{scale * one.low:.{digits}f}, {scale * one.high:.{digits}f}]"
