"""Judge cards as a Markdown table, which a terminal shows as well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evals.estimates import Estimate
from evals.judges.card import JudgeCard, Pull

__all__ = ["render_cards"]

SHOWN_REASONS = 3

_COLUMNS = (
    "judge",
    "pairs",
    "n",
    "accuracy",
    "kappa",
    "flips",
    "first",
    "longer (labels)",
    "lists (labels)",
    "ties",
    "failed",
)

_LEGEND = """\
In percent, but for kappa; in brackets 95 % intervals over resampled clusters, none under 10.
n: judgements, two a pair. accuracy: they agree with the label; a tie counts one half. kappa:
agreement beyond chance. flips: pairs on which the other order made the judge prefer the other
answer. first: how often what is shown first wins; 50 without position bias. longer, lists: how
often the longer answer, or the one that alone has a list, is preferred, and how often the labels
prefer it on the same pairs. failed: no verdict could be had or read."""


def render_cards(cards: Sequence[JudgeCard], failures: Mapping[str, Mapping[str, int]]) -> str:
    """Return the cards as a table with a legend.

    Args:
        cards: What is told.
        failures: By judge, how often each reason left a judgement without a verdict.
    """
    rows = [_row(card) for card in cards]
    widths = [max(len(row[i]) for row in [_COLUMNS, *rows]) for i in range(len(_COLUMNS))]
    lines = [_line(_COLUMNS, widths), _line(["-" * width for width in widths], widths)]
    lines += [_line(row, widths) for row in rows]
    own = [f"{card.judge}: {_pull(card.own)}" for card in cards if card.own.judge.n]
    told = f"\nPreference for the judge's own answers (labels): {'; '.join(own)}.\n" if own else ""
    told += "".join(f"\n{name}: {_reasons(of)}.\n" for name, of in failures.items() if of)
    return "\n".join(lines) + f"\n{told}\n{_LEGEND}\n"


def _reasons(counts: Mapping[str, int]) -> str:
    """Return why judgements failed, the commonest reasons first."""
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    shown = [f"{count:,} without a verdict: {reason}" for reason, count in ranked[:SHOWN_REASONS]]
    n_rest = sum(count for _, count in ranked[SHOWN_REASONS:])
    return "; ".join([*shown, f"{n_rest:,} for other reasons"] if n_rest else shown)


def _row(card: JudgeCard) -> list[str]:
    return [
        card.judge,
        card.group or "all",
        str(card.n_judgements),
        _percent(card.accuracy),
        _number(card.kappa),
        _percent(card.flips),
        _percent(card.first),
        _pull(card.longer),
        _pull(card.lists),
        _short(card.ties),
        str(card.n_failed),
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"


def _percent(one: Estimate) -> str:
    return _with_interval(one, 100, 1)


def _number(one: Estimate) -> str:
    return _with_interval(one, 1, 2)


def _pull(pull: Pull) -> str:
    return f"{_short(pull.judge)} ({_short(pull.labels)})"


def _short(one: Estimate) -> str:
    return "-" if math.isnan(one.value) else f"{100 * one.value:.0f}"


def _with_interval(one: Estimate, scale: float, digits: int) -> str:
    if math.isnan(one.value):
        return "-"
    value = f"{scale * one.value:.{digits}f}"
    if math.isnan(one.low):
        return value
    return f"{value} [{scale * one.low:.{digits}f}, {scale * one.high:.{digits}f}]"
