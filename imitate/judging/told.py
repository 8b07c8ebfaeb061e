"""Judge cards as a Markdown table, which a terminal shows as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evals.estimates import Estimate
from evals.judges.card import JudgeCard, Pull

__all__ = ["render_cards"]

SHOWN_REASONS = 3
NOT_APPLICABLE = "n/a"

_COLUMNS: Mapping[str, Callable[[JudgeCard], str]] = {
    "judge": lambda card: card.judge,
    "pairs": lambda card: card.group or "all",
    "n": lambda card: str(card.n_judgements),
    "accuracy": lambda card: _percent(card.accuracy),
    "kappa": lambda card: _number(card.kappa),
    "flips": lambda card: NOT_APPLICABLE if card.is_order_free else _percent(card.flips),
    "first": lambda card: NOT_APPLICABLE if card.is_order_free else _percent(card.first),
    "longer (labels)": lambda card: _pull(card.longer),
    "lists (labels)": lambda card: _pull(card.lists),
    "fooled": lambda card: _percent(card.fooled),
    "ties": lambda card: _short(card.ties),
    "failed": lambda card: str(card.n_failed),
}

_LEGEND = """\
In percent, but for kappa; in brackets 95 % intervals over resampled clusters, none under 10.
n: judgements, two a pair, or one of a judge that scores each answer alone: order is not applicable
(n/a) to it. accuracy: they agree with the label; a tie counts one half. kappa: agreement beyond
chance. flips: pairs on which the other order made the judge prefer the other answer. first: how
often what is shown first wins; 50 without position bias. longer, lists: how often the longer
answer, or the one that alone has a list, is preferred, and how often the labels prefer it on the
same pairs. failed: no verdict could be had or read."""

_FOOLED = """
fooled: of probes, how often the answer that is dressed up is preferred; ties are not for it."""


def render_cards(cards: Sequence[JudgeCard], told: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the cards as a table with what is to be said of the judges, and a legend.

    Args:
        cards: What is told.
        told: By judge, what `card.json` says of it.
    """
    has_probes = any(card.fooled.n for card in cards)
    columns = [name for name in _COLUMNS if name != "fooled" or has_probes]
    rows = [columns, *([_COLUMNS[name](card) for name in columns] for card in cards)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    rows.insert(1, ["-" * width for width in widths])
    lines = [_line(row, widths) for row in rows]
    own = [f"{card.judge}: {_pull(card.own)}" for card in cards if card.own.judge.n]
    notes = [f"Preference for the judge's own answers (labels): {'; '.join(own)}."] if own else []
    notes += [note for name, one in told.items() for note in _notes(name, one)]
    legend = _LEGEND + (_FOOLED if has_probes else "")
    return "\n".join([*lines, *("\n" + note for note in notes), "\n" + legend, ""])


def _notes(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is to be said of a judge beside its card."""
    if told["failures"]:
        yield f"{name}: {_reasons(told['failures'])}."
    if "auc" in told:
        auc = Estimate(**told["auc"]).as_text(1, 2)
        yield (
            f"{name}: fitted on {told['n_fitted']:,} texts of each side; tells teacher and base "
            f"apart with an AUC of {auc} on prompts that it did not see."
        )
        if told["note"]:
            yield f"{name}: {told['note']}."
    if "anchors" in told:
        held = told["anchors"]
        drift = Estimate(**held["drift"])
        rest = f"; {held['n_missing']} more were not answered" if held["n_missing"] else ""
        yield (
            f"{name}: {_percent(drift)} % of {drift.n} anchor verdicts are others than on "
            f"{held['locked']}, and {100 * held['max_drift']:g} % may be{rest}."
        )


def _reasons(counts: Mapping[str, int]) -> str:
    """Return why judgements failed, the commonest reasons first."""
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    shown = [f"{count:,} without a verdict: {reason}" for reason, count in ranked[:SHOWN_REASONS]]
    n_rest = sum(count for _, count in ranked[SHOWN_REASONS:])
    return "; ".join([*shown, f"{n_rest:,} for other reasons"] if n_rest else shown)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"


def _percent(one: Estimate) -> str:
    return one.as_text(100, 1)


def _number(one: Estimate) -> str:
    return one.as_text(1, 2)


def _pull(pull: Pull) -> str:
    return f"{_short(pull.judge)} ({_short(pull.labels)})"


def _short(one: Estimate) -> str:
    return "-" if math.isnan(one.value) else f"{100 * one.value:.0f}"
