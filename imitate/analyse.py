"""Scores of all arms -> decisions and verdicts, controls and contrasts, for `results.json`.

In: the plan (roles, support, rule) and the scores by arm. Out: plain dictionaries as
docs/results.md describes them. The statistics are those of `evals.decision`, `evals.verdict` and
`evals.claims`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from evals.axisdata import AxisData, PublishedScore, Roles, axis_data
from evals.claims import Claim, adjust_claims, slope_claims
from evals.decision import AxisDecision, Decision, Rule, decide_axis
from evals.errors import DataError
from evals.power import MIN_CLUSTERS
from evals.records import Axis, Format, Item, Score
from evals.stats import cluster_sums, joint_bootstrap
from evals.verdict import VerdictWord, conclude
from imitate.config import Config, OutputsTeacher, PublishedTeacher, TaskConfig
from imitate.plan import TEACHER, Arm, ArmKind, Plan

__all__ = ["AxisName", "Evidence", "analyse_controls", "analyse_verdicts", "contrasts", "headline"]

AxisName = str
STYLE, FACTUALITY = "style", "factuality"
HELD_OUT, IN_SUPPORT = "capability_held_out", "capability_in_support"


class Evidence:
    """The scores of a run, as arrays for any base and any set of tasks, each made once."""

    def __init__(
        self,
        plan: Plan,
        scores: Mapping[str, Sequence[Score]],
        items: Mapping[str, Sequence[Item]],
    ) -> None:
        self.plan = plan
        self.scores = scores
        self.items = items
        self.rule = rule_of(plan.config)
        self.data: Callable[[str, frozenset[str]], AxisData | None] = cache(self._data)

    def _data(self, base: str, tasks: frozenset[str]) -> AxisData | None:
        """Return the axis data of a base's arms and its teacher on some tasks of one axis."""
        if not tasks:
            return None
        axis = self.plan.task(min(tasks)).axis
        arms = [arm.name for arm in self.plan.arms if arm.base == base]
        mine = [
            *self._of_teacher(base, axis, tasks),
            *(s for name in arms for s in self.scores.get(name, ()) if s.task in tasks),
        ]
        if not mine:
            return None
        published = published_teacher(self.plan.config, tasks)
        return axis_data(
            [dataclasses.replace(score, arm=_plain_name(score.arm)) for score in mine],
            axis,
            floor=self._floor(axis, tasks),
            published={TEACHER: published} if published else None,
        )

    def _of_teacher(self, base: str, axis: Axis, tasks: frozenset[str]) -> list[Score]:
        """Return the teacher's scores in the formats in which it was asked on all of the tasks.

        Its style scores depend on the base that it is told apart from.
        """
        name = f"{TEACHER}|{base}" if axis is Axis.STYLE else TEACHER
        scores = [score for score in self.scores.get(name, ()) if score.task in tasks]
        asked = {(score.task, score.format) for score in scores}
        whole = {f for f in Format if all((task, f) in asked for task in tasks)}
        return [score for score in scores if score.format in whole]

    def _floor(self, axis: Axis, tasks: Iterable[str]) -> float | None:
        """Axis value of guessing, or the config's floor where that is higher."""
        if axis is Axis.STYLE:
            return None
        chances = []
        for task in tasks:
            scored = [item for item in self.items[task] if not item.is_development]
            chance = [1 / len(item.choices) if item.choices else 0.0 for item in scored]
            chances.append(sum(chance) / max(len(chance), 1))
        lowest = self.plan.config.analysis.floor_points / 100
        return max(lowest, sum(chances) / len(chances))

    def decide(self, arms: Sequence[Arm], tasks: Iterable[str]) -> AxisDecision | None:
        """Return the decision on some tasks for one recipe's arms, one for each training seed."""
        base = arms[0].base or ""
        data = self.data(base, frozenset(tasks))
        if data is None or not any(arm.name in data.arms for arm in arms):
            return None
        has_teacher = TEACHER in data.arms or TEACHER in data.published
        roles = Roles(tuple(a.name for a in arms), base, TEACHER if has_teacher else None)
        return decide_axis(data, roles, self.rule)


def _plain_name(arm: str) -> str:
    return arm.partition("|")[0]


def rule_of(config: Config) -> Rule:
    """Return the statistical rule of a config."""
    analysis = config.analysis
    return Rule(
        margin_points=analysis.margin_points,
        share=analysis.closed_share,
        alpha=round(1 - analysis.confidence, 12),
        resamples=analysis.resamples,
        seed=config.seed,
    )


def published_teacher(config: Config, tasks: Iterable[str]) -> PublishedScore | None:
    """Return the published score of an axis: the mean over its tasks, all of which must have one.

    `n` is the number of items that a single binomial score of equal error would have.
    """
    if not isinstance(config.teacher, PublishedTeacher | OutputsTeacher):
        return None
    scores = [config.teacher.scores.get(task) for task in sorted(tasks)]
    known = [score for score in scores if score is not None]
    if not known or len(known) < len(scores):
        return None
    value = sum(score.value for score in known) / len(known)
    variance = sum(s.value * (1 - s.value) / s.n for s in known) / len(known) ** 2
    n = round(value * (1 - value) / variance) if variance else sum(s.n for s in known)
    return PublishedScore(value, max(n, 1), "; ".join(score.source for score in known))


# --- verdicts -------------------------------------------------------------------------------------


def analyse_verdicts(evidence: Evidence) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the verdicts on imitators and recipes, and those on unchosen learning rates."""
    plan = evidence.plan
    verdicts, sweeps = [], []
    for arms in _recipes(plan):
        verdicts += [_verdict_entry(evidence, [arm]) for arm in arms]
        if len(arms) > 1:
            verdicts.append(_verdict_entry(evidence, arms))
    for arm in plan.arms:
        if arm.kind is ArmKind.SWEEP:
            sweeps.append(_verdict_entry(evidence, [arm]))
    return verdicts, sweeps


def _recipes(plan: Plan) -> list[list[Arm]]:
    """Imitators by base, mix and amount: arms that differ in nothing but the training seed."""
    groups: dict[tuple[Any, ...], list[Arm]] = {}
    for arm in plan.arms:
        if arm.kind is ArmKind.IMITATOR:
            groups.setdefault((arm.base, arm.mix, arm.amount), []).append(arm)
    return list(groups.values())


def _verdict_entry(evidence: Evidence, arms: Sequence[Arm]) -> dict[str, Any]:
    first, config = arms[0], evidence.plan.config
    asked = axis_tasks(config.tasks, first.mix)
    decisions = {name: evidence.decide(arms, tasks) for name, tasks in asked.items()}
    counting = [d for name, d in decisions.items() if d is not None and name != IN_SUPPORT]
    verdict = conclude(counting, unit="adapter" if first.trained_by else "model")
    mix = config.mixes.get(first.mix or "")  # none of an imitator that was trained elsewhere
    name = first.name if len(arms) == 1 else first.name.rpartition("-s")[0]
    return {
        "arm": name,
        "base": first.base,
        "mix": first.mix,
        "amount": first.amount,
        "seed": first.seed if len(arms) == 1 else None,
        "is_planted": bool(mix and mix.is_planted),
        "is_control": bool(mix and mix.is_control),
        "verdict": verdict.word.value,
        "with_loss": any(d.decision is Decision.LOSS for d in counting),
        "scope": verdict.scope,
        "sentence": f"{name}: {_lower_first(verdict.sentence)}{_missing(decisions.values())}",
        "open_axes": [axis.value for axis in verdict.open_axes],
        "rule": config.analysis.model_dump(mode="json"),
        "axes": {
            axis: describe_decision(
                evidence, decision, arms, axis_tasks(config.tasks, first.mix)[axis]
            )
            for axis, decision in decisions.items()
        },
    }


def axis_tasks(tasks: Sequence[TaskConfig], mix: str | None) -> dict[AxisName, list[str]]:
    """Return the tasks of each axis, capability split by whether the mix covers the task."""
    counted = [task for task in tasks if task.in_verdict]

    def names(axis: Axis) -> list[str]:
        return [task.name for task in counted if task.axis is axis]

    supported = {task.name for task in tasks if mix in task.in_support_of}
    return {
        STYLE: names(Axis.STYLE),
        FACTUALITY: names(Axis.FACTUALITY),
        HELD_OUT: [name for name in names(Axis.CAPABILITY) if name not in supported],
        IN_SUPPORT: [name for name in names(Axis.CAPABILITY) if name in supported],
    }


def describe_decision(
    evidence: Evidence, decision: AxisDecision | None, arms: Sequence[Arm], tasks: Sequence[str]
) -> dict[str, Any] | None:
    """Return one axis of a verdict as docs/results.md describes it."""
    data = evidence.data(arms[0].base or "", frozenset(tasks))
    if decision is None or data is None:
        return None
    by_format = {
        f.value: {
            "base": values.base,
            "imitator": values.imitator,
            "teacher": values.teacher,
            "difference": values.difference,
            "difference_ci95": values.difference_ci95,
        }
        for f, values in decision.by_format.items()
    }
    return {
        "decision": decision.decision.value,
        "reason": decision.reason,
        "base": decision.base,
        "imitator": decision.imitator,
        "teacher": decision.teacher,
        "difference": decision.difference,
        "difference_ci95": decision.difference_ci95,
        "lead": decision.lead,
        "lead_ci95": decision.lead_ci95,
        "gap_closed": decision.gap_closed,
        "gap_closed_ci95": decision.gap_closed_ci95,
        "n_items": decision.n_items,
        "n_clusters": decision.n_clusters,
        "n_failed": decision.n_failed,
        "n_seeds": decision.n_seeds,
        "items_to_resolve": decision.items_to_resolve,
        "bounds": dataclasses.asdict(decision.bounds) if decision.bounds else None,
        "best_format": {role: f.value for role, f in decision.best_format.items()},
        "formats": by_format,
        "tasks": {task: _task_values(data, arms, task) for task in tasks},
    }


def _task_values(data: AxisData, arms: Sequence[Arm], task: str) -> dict[str, float | int | None]:
    """Values of one task, each arm in the format that it is judged in on the axis; no test."""
    names = [arm.name for arm in arms]
    return {
        "base": _mean(data, [arms[0].base or ""], task),
        "imitator": _mean(data, names, task),
        "teacher": _mean(data, [TEACHER], task),
        "n_items": int((data.tasks == task).sum()),
    }


def _mean(data: AxisData, arms: Sequence[str], task: str) -> float | None:
    known = [arm for arm in arms if arm in data.arms]
    if not known:
        return None
    rows = [data.values[data.best_format[arm]][data.arms.index(arm)] for arm in known]
    values = np.stack(rows)[:, data.tasks == task]
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


_HEADLINES = {
    VerdictWord.STYLE_ONLY: "gave the teacher's style and no more substance",
    VerdictWord.STYLE_ONLY_WITH_LOSS: "gave the teacher's style and less substance",
    VerdictWord.CLOSED_BOTH: "closed the gap in style and in substance",
    VerdictWord.PARTLY: "gave the teacher's style and some substance",
    VerdictWord.SUBSTANCE_ONLY: "gave substance without the teacher's style",
    VerdictWord.NEITHER: "gave neither the teacher's style nor substance",
    VerdictWord.UNRESOLVED: "is undecided",
    VerdictWord.STYLE_ALONE_MEASURED: "was measured in style alone, so there is no verdict",
}
_NAMED = 2
_TOLD = 3


def _missing(decisions: Iterable[AxisDecision | None]) -> str:
    """A remark where calls failed: their items are missing from every arm, and count as nothing."""
    n_failed = sum(decision.n_failed for decision in decisions if decision is not None)
    if not n_failed:
        return ""
    items = "item is" if n_failed == 1 else "items are"
    return f" {n_failed} {items} left out, as a call on them failed in some arm."


def headline(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Return in one sentence what imitating did, each mix at its largest amount.

    Mixes stand together by verdict, the most frequent verdict first; a base is named where a mix
    did not do the same for all. At most two are named to a verdict, and three verdicts: the rest is
    counted; mixes that closed a gap or lost in what they teach come last. Controls stay out of it.
    """
    largest = _at_largest_amount(verdicts)
    bases: dict[str, list[str]] = {}
    by_word: dict[str, dict[str, list[str]]] = {}
    for entry in largest:
        bases.setdefault(entry["mix"], []).append(entry["base"])
        by_word.setdefault(entry["verdict"], {}).setdefault(entry["mix"], []).append(entry["base"])
    if not largest:
        return ""
    if by_word.keys() == {VerdictWord.STYLE_ALONE_MEASURED.value}:
        return _style_alone(largest)
    words = sorted(by_word, key=lambda word: -sum(map(len, by_word[word].values())))
    clauses: list[str] = []
    for word in words[:_TOLD]:
        mixes = [
            mix if mine == bases[mix] else f"{mix} ({', '.join(mine)})"
            for mix, mine in by_word[word].items()
        ]
        it = " it" if clauses else ""
        clauses.append(f"on {_listed(mixes)}{it} {_HEADLINES[VerdictWord(word)]}")
    n_others = sum(len(by_word[word]) for word in words[_TOLD:])
    if n_others:
        clauses.append(f"{n_others} more came out otherwise")
    in_support = [
        f"{_listed(mixes)} {told}"
        for decision, told in (("closed", "closed the gap"), ("loss", "lost"))
        if (mixes := _decided_in_support(largest, decision))
    ]
    if in_support:
        clauses.append(f"in support, {' and '.join(in_support)}")
    return f"Imitating {'; '.join(clauses)}."


def _style_alone(entries: Sequence[Mapping[str, Any]]) -> str:
    by_decision: dict[str, list[str]] = {}
    for entry in entries:
        style = entry["axes"].get(STYLE)
        by_decision.setdefault(style["decision"] if style else "open", []).append(entry["mix"])
    told = "; ".join(f"{word} for {_listed(mixes)}" for word, mixes in by_decision.items())
    return f"No verdict, as style alone was measured: {told}."


def _decided_in_support(entries: Sequence[Mapping[str, Any]], decision: str) -> list[str]:
    """Return the mixes of which an imitator came to a decision on what its mix teaches."""
    measured = ((e["mix"], (e.get("axes") or {}).get("capability_in_support")) for e in entries)
    return list(
        dict.fromkeys(mix for mix, axis in measured if axis and axis["decision"] == decision)
    )


def _at_largest_amount(verdicts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return one verdict for each mix and base: on the recipe, where it has several seeds."""
    proper = [v for v in verdicts if not (v["is_control"] or v["is_planted"])]
    amounts = {
        v["mix"]: max(w["amount"] or 0 for w in proper if w["mix"] == v["mix"]) for v in proper
    }
    return [
        entry
        for entry in proper
        if (entry["amount"] or 0) == amounts[entry["mix"]]
        and (entry["seed"] is None or _is_only_seed(entry, proper))
    ]


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_NAMED])
    if len(names) > _NAMED:
        shown.append(f"{len(names) - _NAMED} more")
    *before, last = shown
    return f"{', '.join(before)} and {last}" if before else last


def _is_only_seed(entry: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> bool:
    key = (entry["base"], entry["mix"], entry["amount"])
    return sum((other["base"], other["mix"], other["amount"]) == key for other in entries) == 1


# --- controls and contrasts -----------------------------------------------------------------------


def analyse_controls(evidence: Evidence) -> list[dict[str, Any]]:
    """Return how the arms that train nothing do, and which axes they win."""
    entries = []
    for arm in evidence.plan.arms:
        if arm.kind is not ArmKind.CONTROL:
            continue
        axes = {}
        for axis, tasks in axis_tasks(evidence.plan.config.tasks, None).items():
            decision = evidence.decide([arm], tasks)
            is_measured = decision is not None and decision.difference is not None
            axes[axis] = (
                describe_decision(evidence, decision, [arm], tasks) if is_measured else None
            )
        wins = [
            axis
            for axis, entry in axes.items()
            if entry and entry["decision"] in {Decision.CLOSED.value, Decision.GAIN.value}
        ]
        entries.append(
            {"arm": arm.name, "base": arm.base, "control": arm.control, "axes": axes, "wins": wins}
        )
    return entries


def contrasts(evidence: Evidence, sizes: Mapping[str, int | None]) -> dict[str, Any]:
    """Return the slopes over data amount and base size on every axis: the paper's own point.

    Args:
        evidence: The scores.
        sizes: Parameters by base; None where they are not known.
    """
    plan = evidence.plan
    by_mix: dict[str, Any] = {}
    claims: list[tuple[str, AxisName, Claim]] = []
    notes: list[str] = []
    for name, mix in plan.config.mixes.items():
        if mix.is_control or mix.is_planted:
            continue
        arms = [a for a in plan.arms if a.kind is ArmKind.IMITATOR and a.mix == name]
        for axis, tasks in axis_tasks(plan.config.tasks, name).items():
            try:
                found = _slopes(evidence, arms, tasks, sizes, family=f"{name} slopes")
            except DataError as error:
                notes.append(f"{name}, {axis}: {error.message}")
                continue
            claims += [(name, axis, claim) for claim in found]
    adjusted = adjust_claims([claim for _, _, claim in claims])
    for (name, axis, _), claim in zip(claims, adjusted, strict=True):
        entry = dataclasses.asdict(claim)
        by_mix.setdefault(name, {}).setdefault(axis, []).append(entry)
    return {"slopes": by_mix, "notes": notes, "unit": "axis share for each doubling"}


def _slopes(
    evidence: Evidence,
    arms: Sequence[Arm],
    tasks: Sequence[str],
    sizes: Mapping[str, int | None],
    *,
    family: str,
) -> list[Claim]:
    rows, amounts, parameters = [], [], []
    clusters = labels = None
    for arm in arms:
        data = evidence.data(arm.base or "", frozenset(tasks))
        if data is None or arm.name not in data.arms:
            return []
        rows.append(data.values[data.best_format[arm.name]][data.arms.index(arm.name)])
        clusters, labels = data.clusters, data.tasks
        amounts.append(math.log2(arm.amount or 1))
        size = sizes[arm.base or ""]
        parameters.append(math.log2(size) if size else math.nan)
    if not rows:
        return []
    factors: dict[str, list[float]] = {}
    if len(set(amounts)) > 1:
        factors["log2 examples"] = amounts
    if len(set(parameters)) > 1 and not any(map(math.isnan, parameters)):
        factors["log2 parameters"] = parameters
    if not factors:
        raise DataError("the arms vary neither in amount nor in base size")
    assert clusters is not None
    sample = cluster_sums(np.stack(rows), clusters, labels)
    if sample.n_clusters < MIN_CLUSTERS:
        raise DataError(f"{sample.n_clusters} clusters on which every arm has a score")
    draws = joint_bootstrap(sample, resamples=evidence.rule.resamples, seed=evidence.rule.seed)
    return slope_claims(sample, draws, factors, family=family)
