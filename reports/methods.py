"""How the numbers were made, in words, with the settings that this run declared.

Source: docs/verdict.md, which has the tables of decisions and how often they are right.
"""

from __future__ import annotations

from typing import Any

from reports.numbers import number, percent
from reports.text import plural

__all__ = ["methods"]

Entry = dict[str, Any]
Topic = tuple[str, str]

ESTIMAND = (
    "An axis is worth the mean over its tasks of the mean over each task's items. Tasks are fixed: "
    "another study would ask the same tasks about other clusters (entities, passages, subjects). "
    "I, B and T are the values of the imitator, of its own base and of the teacher, on the items "
    "that all three answered."
)
NO_GAIN = (
    "The upper bound of I − B is below m. This is an equivalence test: it rules out a gain of m or "
    "more, which a test that merely finds no difference does not. A gain surely above 0 and surely "
    "below m is no gain: it was declared beforehand not to count."
)
UNRESOLVED = (
    "Anything else: too few items. The limits say how many would do, if the truth is as measured. "
    "Under 10 clusters an axis is refused."
)
VERDICT = (
    "Style only: style closed, and on factuality and held-out capability no gain (with loss: a "
    "loss on one). Closed both: all three closed. Partly: style closed and a gain on a substance "
    "axis. Substance only: such a gain, with style shown short of closed. Neither: no gain, and "
    "style short. Unresolved: an axis that matters is open. Capability in support, which the "
    "imitation data teaches on purpose, is reported and never counts."
)
SEVERAL_TESTS = (
    "“Style only” and “closed both” need all their tests to hold, so they need no correction; a "
    "gain on either of two axes is tested at half the error each. Claims beside the verdict are "
    "corrected after Holm and never decide."
)
FORMATS = (
    "Base and imitators answer in the base's own few-shot format and in chat; each counts in its "
    "better one, chosen on development items that are never scored. So a gain must beat the base's "
    "better format, and a loss must show in both."
)
SCORING = (
    "Answers are extracted, then matched exactly; abstaining is neither right nor wrong. Style is "
    "the share of chat outputs that a discriminator of teacher against base calls the teacher's, "
    "cross-fitted by prompt, with names, numbers and answers masked. A failed call is missing, "
    "never wrong."
)


def methods(results: Entry) -> tuple[Topic, ...]:
    """Return how the numbers were made, by topic: estimand, rule, intervals, scoring."""
    rule = results.get("rule") or {}
    return (
        ("Estimand", ESTIMAND),
        ("Rule", _rule(rule)),
        ("Closed", "The lower bound of (I − B) − c (T − B) is above 0."),
        ("Gain", "The lower bound of I − B is above 0, and the upper bound reaches m."),
        ("No gain", NO_GAIN),
        ("Loss", "The upper bound of I − B is below −m, in every format that both answered in."),
        ("Uninformative", _uninformative(rule)),
        ("Unresolved", UNRESOLVED),
        ("Verdict", VERDICT),
        ("Several tests", SEVERAL_TESTS),
        ("Intervals", _intervals(rule)),
        ("Formats", FORMATS),
        ("Scoring", SCORING),
        ("Learning rate", _sentence(rule.get("learning_rate_rule"))),
    )


def _rule(rule: Entry) -> str:
    margin, share = number(rule.get("margin_points"), 1), percent(rule.get("closed_share"), 0)
    return (
        f"Written into the plan before any result: a margin m of {margin} points, a share c of "
        f"{share}, and one-sided bounds at {percent(rule.get('confidence', 0.95), 0)}. The "
        "decisions, in words:"
    )


def _uninformative(rule: Entry) -> str:
    return (
        "The base is not shown to do better than guessing (chance, and at least "
        f"{number(rule.get('floor_points'), 1)} points); or the lower bound of T − B is under 2m, "
        "so that there was too little to learn for closed or no gain to mean anything."
    )


def _intervals(rule: Entry) -> str:
    return (
        f"Two-sided 95 %, from one bootstrap ({plural(rule.get('resamples') or 0, 'resample')}, "
        f"seed {rule.get('seed', 0)}) of clusters within tasks, jointly for base, imitator and "
        "teacher, with a correction for few clusters. Differences are paired: item by item against "
        "the own base. Gap closed is (I − B) / (T − B), not clipped, shown where the interval of "
        "the teacher's lead is above 0; it never decides. From three training seeds on, bounds "
        "hold the scatter of the seeds as well."
    )


def _sentence(text: str | None) -> str:
    said = (text or "one rate was given, none was chosen").strip().rstrip(".")
    return f"{said[:1].upper()}{said[1:]}."
