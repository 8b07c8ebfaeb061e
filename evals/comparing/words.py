"""A comparison in plain words: what each task shows, and what stood in the way.

In: a `Comparison`. Out: sentences, the same for the terminal and the page.
"""

from __future__ import annotations

import math

from evals.comparing.paired import Compared, Comparison, Finding, Rule
from evals.gap import CLUSTERS_FOR_RATIO
from evals.power import MIN_CLUSTERS

__all__ = ["remarks", "sentence", "sentences", "told_p"]

SHOWN_IDS = 5


def sentences(comparison: Comparison) -> list[str]:
    """Return what is found: on means of tasks, if there are any, then on each task."""
    means = [sentence(one, comparison, is_mean=True) for one in comparison.means]
    return [*means, *(sentence(one, comparison) for one in comparison.tasks)]


def sentence(one: Compared, comparison: Comparison, *, is_mean: bool = False) -> str:
    """Return what one line of a comparison says, in words."""
    first, second = comparison.pairing.names[:2]
    place = f"Over {one.task}, each weighing the same" if is_mean else f"On {one.task}"
    said = f"{place}, {_found(one, first, second, comparison.rule)}"
    return f"{said} {_gap(one, first)}".rstrip()


def remarks(comparison: Comparison) -> list[str]:
    """Return what was left out and what could not be checked, task by task."""
    said = [
        f"Not compared, as only {name} has it: {_listed(tasks)}."
        for name, tasks in comparison.pairing.left_out.items()
        if tasks
    ]
    for paired, one in zip(comparison.pairing.tasks, comparison.tasks, strict=True):
        said += [
            f"{one.task}: {_items(len(ids))} of {name} {'have' if len(ids) > 1 else 'has'} no "
            f"partner: {_listed(ids)}."
            for name, ids in paired.unpaired.items()
            if ids
        ]
        if one.n_failed:
            said.append(f"{one.task}: {_items(one.n_failed)} left out, as a call failed.")
        said += [f"{one.task}: {note}." for note in paired.notes]
        is_asked = len(comparison.pairing.names) == 2 or len(paired.values) > 2
        if not is_asked:
            said.append(f"{one.task}: the teacher has no score on it.")
    return said


def told_p(p: float) -> str:
    """Return a p-value as one writes it."""
    if math.isnan(p):
        return "none"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _found(one: Compared, first: str, second: str, rule: Rule) -> str:
    test = f"{one.test} p {_equals(one.p)}"
    if told_p(one.p_holm) != told_p(one.p):
        test += f", {told_p(one.p_holm)} after Holm's correction"
    signed = f"{_signed(one.difference)} points"
    interval = f"{rule.level:.0%} interval {_signed(one.ci[0])} to {_signed(one.ci[1])}"
    margin = f"{_plain(rule.margin)} points"
    match one.finding:
        case Finding.TOO_FEW:
            return (
                f"{one.n_clusters} clusters are too few for an interval, which needs "
                f"{MIN_CLUSTERS}: {second} minus {first} is {signed} ({test})."
            )
        case Finding.BETTER | Finding.WORSE:
            is_small = one.p_equivalent_holm < 1 - rule.level
            small = f", yet within the margin of {margin}" if is_small else ""
            return (
                f"{second} is {one.finding} than {first} by {_plain(abs(one.difference))} points"
                f"{small} ({interval}; {test})."
            )
        case Finding.EQUIVALENT:
            return (
                f"{second} and {first} differ by less than the margin of {margin}: {signed} "
                f"({interval}; equivalence p {_equals(one.p_equivalent_holm)})."
            )
        case Finding.UNRESOLVED:
            return (
                f"nothing is decided between {second} and {first}: {signed} ({interval}; {test})."
                f"{_resolution(one, rule)}"
            )


def _resolution(one: Compared, rule: Rule) -> str:
    if math.isnan(one.detectable):
        return ""
    return (
        f" So many items ({one.n_items:,}) show a true difference of {_plain(one.detectable)} "
        f"points in {rule.power:.0%} of cases."
    )


def _gap(one: Compared, first: str) -> str:
    if math.isnan(one.teacher):
        return ""
    if math.isnan(one.gap_closed):
        told = "" if math.isnan(one.lead_ci[0]) else f" {_range(one.lead_ci)}"
        lead = f"{_signed(one.lead)} points{told}"
        return f"The teacher does not surely lead {first} ({lead}): there is no lead to make up."
    closed = f"Gap closed: {_percent(one.gap_closed)} of the teacher's lead of "
    closed += f"{_plain(one.lead)} points"
    if math.isnan(one.gap_ci[0]):
        if one.n_clusters < CLUSTERS_FOR_RATIO:
            return f"{closed}; no interval under {CLUSTERS_FOR_RATIO} clusters."
        return f"{closed}; no interval, as {first} is the mean of {one.n_seeds} seeds."
    return f"{closed} ({_percent(one.gap_ci[0])} to {_percent(one.gap_ci[1])})."


def _equals(p: float) -> str:
    told = told_p(p)
    return told if told.startswith("<") else f"= {told}"


def _items(n: int) -> str:
    return f"{n:,} item" if n == 1 else f"{n:,} items"


def _range(bounds: tuple[float, float]) -> str:
    return f"[{_signed(bounds[0])}, {_signed(bounds[1])}]"


def _plain(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")


def _signed(share: float) -> str:
    rounded = round(100 * share, 1) + 0.0  # no negative zero
    sign = "\N{MINUS SIGN}" if rounded < 0 else "+" if rounded > 0 else ""
    return f"{sign}{abs(rounded):.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%".replace("-", "\N{MINUS SIGN}")


def _listed(names: tuple[str, ...]) -> str:
    rest = f" and {len(names) - SHOWN_IDS} more" if len(names) > SHOWN_IDS else ""
    return ", ".join(names[:SHOWN_IDS]) + rest
