"""The data of one axis -> its decision: closed, gain, no gain, loss, or why none can be made.

In: the scores of an imitator, its own base and its teacher, with the cluster and task of every
item, and a rule fixed beforehand. Out: `AxisDecision`, which carries every number that the report
shows. The estimand, the table of decisions and the simulations are in docs/verdict.md.

Glossary: I, B, T the axis values of imitator, base and teacher; m the margin; c the share of the
gap T - B that counts as closing it. *Upper* and *lower* are one-sided bounds at 1 - alpha.
N items, A arms, S training seeds, R resamples. Values and differences are shares in [0, 1].
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import StrEnum

from scipy.special import stdtrit

from evals.axisdata import AxisData, Roles
from evals.gap import gap_closed
from evals.joint import JointAxis, why_not_asked, why_refused
from evals.records import Axis, Format
from evals.stats import ClusterSums, Contrast

__all__ = [
    "SUBSTANCE",
    "AxisDecision",
    "Bounds",
    "Decision",
    "FormatValues",
    "Rule",
    "decide",
    "decide_axis",
]

SUBSTANCE = (Axis.FACTUALITY, Axis.CAPABILITY)
POWER_TO_RESOLVE = 0.8
FAILURES_TO_TELL = 0.05


class Decision(StrEnum):
    """What one axis shows; docs/verdict.md has the table."""

    CLOSED = "closed"
    GAIN = "gain"
    NO_GAIN = "no gain"
    LOSS = "loss"
    UNINFORMATIVE = "uninformative"
    UNRESOLVED = "unresolved"
    REFUSED = "refused"


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a verdict is reached; written into the plan before any result.

    Attributes:
        margin_points: Smallest difference that counts, in points (100 points are a share of 1).
        share: Part of the gap between base and teacher that counts as closing it.
        alpha: One-sided error of each bound.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.
    """

    margin_points: float = 5.0
    share: float = 0.5
    alpha: float = 0.05
    resamples: int = 10_000
    seed: int = 0

    @property
    def margin(self) -> float:
        """The margin as a share."""
        return self.margin_points / 100


@dataclasses.dataclass(frozen=True)
class FormatValues:
    """The axis in one format, whichever was chosen on development items."""

    base: float
    imitator: float
    teacher: float | None
    difference: float
    difference_ci95: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The one-sided bounds that decide; None where there is no teacher, or no floor.

    Attributes:
        gain_lower: Lower bound of I - B.
        gain_upper: Upper bound of I - B.
        family_lower: Lower bound of I - B at alpha over the number of substance axes.
        loss_uppers: Upper bounds of I - B in every format that both answered in.
        closing_lower: Lower bound of (I - B) - c (T - B).
        closing_upper: Its upper bound.
        lead_lower: Lower bound of T - B.
        base_over_floor: Lower bound of B minus the floor.
    """

    gain_lower: float
    gain_upper: float
    family_lower: float
    loss_uppers: tuple[float, ...]
    closing_lower: float | None = None
    closing_upper: float | None = None
    lead_lower: float | None = None
    base_over_floor: float | None = None


@dataclasses.dataclass(frozen=True)
class AxisDecision:
    """One axis, decided, with all that the report shows of it.

    Attributes:
        axis: The axis.
        decision: The decision.
        reason: It in words, with the number that decided.
        imitator: I, in its best format, averaged over seeds.
        base: B, in its best format.
        teacher: T, or None.
        difference: I - B.
        difference_ci95: Its two-sided 95 % interval.
        lead: T - B, or None.
        lead_ci95: Its two-sided 95 % interval.
        gap_closed: (I - B) / (T - B), unclipped; None unless `lead_ci95` is above 0.
        gap_closed_ci95: Its two-sided 95 % interval; None under 20 clusters.
        bounds: The bounds that decided.
        best_format: By role (base, imitator, teacher), the format chosen on development items.
        by_format: Values in every format that base and imitator share.
        n_items: Items on which every arm has a score.
        n_clusters: Their clusters.
        n_failed: Items left out because an arm failed on them.
        n_seeds: Training seeds of the imitator.
        items_to_resolve: Items that would decide an unresolved axis with a chance of 80 %, if the
            truth is as measured; None where no number of items would.
        items_to_close: The same for "closed, or shown not to be", where that is open.
    """

    axis: Axis
    decision: Decision
    reason: str
    imitator: float | None = None
    base: float | None = None
    teacher: float | None = None
    difference: float | None = None
    difference_ci95: tuple[float, float] | None = None
    lead: float | None = None
    lead_ci95: tuple[float, float] | None = None
    gap_closed: float | None = None
    gap_closed_ci95: tuple[float, float] | None = None
    bounds: Bounds | None = None
    best_format: Mapping[str, Format] = dataclasses.field(default_factory=dict)
    by_format: Mapping[Format, FormatValues] = dataclasses.field(default_factory=dict)
    n_items: int = 0
    n_clusters: int = 0
    n_failed: int = 0
    n_seeds: int = 1
    items_to_resolve: int | None = None
    items_to_close: int | None = None

    @property
    def is_gain_in_family(self) -> bool:
        """Whether a gain holds where any of the substance axes may bring it."""
        is_gain = self.decision in (Decision.CLOSED, Decision.GAIN)
        return is_gain and self.bounds is not None and self.bounds.family_lower > 0

    @property
    def is_none_shown(self) -> bool:
        """Whether it is shown that nothing was gained."""
        return self.decision in (Decision.NO_GAIN, Decision.LOSS)

    @property
    def is_shown_short(self) -> bool:
        """Whether it is shown that the gap was not closed."""
        is_read = self.bounds is not None and self.decision is not Decision.UNINFORMATIVE
        return self.is_none_shown or (is_read and _is_short(self.bounds))


def decide_axis(data: AxisData, roles: Roles, rule: Rule) -> AxisDecision:
    """Return the decision on one axis, from one joint bootstrap over all arms and formats."""
    refusal = why_not_asked(data, roles)
    if refusal:
        return AxisDecision(data.axis, Decision.REFUSED, refusal, n_seeds=len(roles.imitator))
    joint = JointAxis(data, roles, resamples=rule.resamples, seed=rule.seed)
    refusal = why_refused(joint)
    if refusal:
        return AxisDecision(
            data.axis, Decision.REFUSED, refusal, n_failed=joint.sample.n_dropped,
            n_items=joint.sample.n_items, n_clusters=joint.sample.n_clusters,
            n_seeds=len(roles.imitator),
        )  # fmt: skip
    return _decided(joint, rule)


def decide(bounds: Bounds, rule: Rule) -> Decision:
    """Return the decision that the bounds bring, in the order of docs/verdict.md."""
    is_informative = bounds.lead_lower is None or bounds.lead_lower >= 2 * rule.margin
    if _is_at_floor(bounds) and bounds.gain_upper < rule.margin:
        return Decision.UNINFORMATIVE
    if bounds.loss_uppers and max(bounds.gain_upper, *bounds.loss_uppers) < -rule.margin:
        return Decision.LOSS
    if is_informative and bounds.gain_upper < rule.margin:
        return Decision.NO_GAIN
    if is_informative and bounds.closing_lower is not None and bounds.closing_lower > 0:
        return Decision.CLOSED
    if bounds.gain_lower > 0 and bounds.gain_upper >= rule.margin:
        return Decision.GAIN
    is_readable = is_informative and not _is_at_floor(bounds)
    return Decision.UNRESOLVED if is_readable else Decision.UNINFORMATIVE


def _is_at_floor(bounds: Bounds) -> bool:
    """Whether the base is not shown to do better than guessing, or than the config's floor."""
    return bounds.base_over_floor is not None and bounds.base_over_floor <= 0


def _decided(joint: JointAxis, rule: Rule) -> AxisDecision:
    """The decision with all its numbers."""
    has_teacher = joint.roles.teacher is not None
    gain = joint.of(imitator=1, base=-1)
    lead = joint.of(teacher=1, base=-1) if has_teacher else None
    closing = (
        joint.of(imitator=1, base=rule.share - 1, teacher=-rule.share) if has_teacher else None
    )
    bounds = _bounds(joint, rule, gain, lead, closing)
    decision = decide(bounds, rule)
    ratio, ratio_ci95 = _gap_closed(gain, lead)
    n_items = joint.sample.n_items
    is_open = not _is_at_floor(bounds) and decision in (Decision.UNRESOLVED, Decision.UNINFORMATIVE)
    may_close = decision in (Decision.GAIN, Decision.UNRESOLVED) and not _is_short(bounds)
    return AxisDecision(
        axis=joint.data.axis,
        decision=decision,
        reason=_reason(decision, bounds, rule) + _failures(joint.sample),
        imitator=joint.value_of(joint.roles.imitator),
        base=joint.value_of([joint.roles.base]),
        teacher=joint.teacher_value(),
        difference=gain.value,
        difference_ci95=_interval(gain),
        lead=None if lead is None else lead.value,
        lead_ci95=None if lead is None else _interval(lead),
        gap_closed=ratio,
        gap_closed_ci95=ratio_ci95,
        bounds=bounds,
        best_format=joint.best_formats(),
        by_format={f: _format_values(joint, f) for f in joint.same_format},
        n_items=n_items,
        n_clusters=joint.sample.n_clusters,
        n_failed=joint.sample.n_dropped,
        n_seeds=len(joint.roles.imitator),
        items_to_resolve=_items_to_resolve(n_items, rule, gain, lead, closing) if is_open else None,
        items_to_close=_items_to_close(n_items, rule, closing) if may_close and closing else None,
    )


def _bounds(
    joint: JointAxis, rule: Rule, gain: Contrast, lead: Contrast | None, closing: Contrast | None
) -> Bounds:
    alpha, floor = rule.alpha, joint.data.floor
    return Bounds(
        gain_lower=gain.lower(alpha),
        gain_upper=gain.upper(alpha),
        family_lower=gain.lower(alpha / len(SUBSTANCE)),
        loss_uppers=tuple(c.upper(alpha) for c in joint.same_format.values()),
        closing_lower=None if closing is None else closing.lower(alpha),
        closing_upper=None if closing is None else closing.upper(alpha),
        lead_lower=None if lead is None else lead.lower(alpha),
        base_over_floor=None if floor is None else joint.of(base=1).lower(alpha) - floor,
    )


def _is_short(bounds: Bounds | None) -> bool:
    """Whether the gap is shown not to be closed."""
    return bounds is not None and bounds.closing_upper is not None and bounds.closing_upper < 0


def _interval(difference: Contrast) -> tuple[float, float]:
    """The 95 % interval, as far as a difference of two shares can go."""
    low, high = difference.interval()
    return max(-1.0, low), min(1.0, high)


def _gap_closed(
    gain: Contrast, lead: Contrast | None
) -> tuple[float | None, tuple[float, float] | None]:
    """(I - B) / (T - B) and its interval; None where T - B may be 0, or too few clusters are."""
    if lead is None or lead.interval()[0] <= 0:
        return None, None
    value, interval = gap_closed(gain, lead)
    return value, None if math.isnan(interval[0]) else interval


def _format_values(joint: JointAxis, at: Format) -> FormatValues:
    difference = joint.same_format[at]
    return FormatValues(
        base=joint.value_of([joint.roles.base], at),
        imitator=joint.value_of(joint.roles.imitator, at),
        teacher=joint.teacher_value(at),
        difference=difference.value,
        difference_ci95=_interval(difference),
    )


def _items_to_resolve(
    n_items: int, rule: Rule, gain: Contrast, lead: Contrast | None, closing: Contrast | None
) -> int | None:
    """Items that the nearest decision needs; None where no number of items brings one."""

    def items(result: Contrast, distance: float) -> float:
        return _items_for(result, distance, rule, n_items)

    informative = 0.0 if lead is None else items(lead, lead.value - 2 * rule.margin)
    options = [
        items(gain, gain.value),  # gain
        items(gain, -rule.margin - gain.value),  # loss
        max(informative, items(gain, rule.margin - gain.value)),  # no gain
    ]
    if closing is not None:
        options.append(max(informative, items(closing, closing.value)))  # closed
    return None if math.isinf(min(options)) else math.ceil(min(options))


def _items_to_close(n_items: int, rule: Rule, closing: Contrast) -> int | None:
    """Items that show the gap closed, or not closed; None where no number does."""
    needed = _items_for(closing, abs(closing.value), rule, n_items)
    return None if math.isinf(needed) else math.ceil(needed)


def _items_for(result: Contrast, distance: float, rule: Rule, n_items: int) -> float:
    """Items with which a bound clears `distance` with a chance of 80 %; inf where none do.

    Source: the standard error falls with the square root of the items; the seeds' part stays.
    """
    freedom = result.degrees_of_freedom
    reach = -float(stdtrit(freedom, rule.alpha) + stdtrit(freedom, 1 - POWER_TO_RESOLVE))
    seeds = 0.0
    if result.seed_error:
        seeds = reach * result.seed_error
    if distance <= seeds:
        return math.inf
    scaled = reach * result.standard_error / (distance**2 - seeds**2) ** 0.5
    return max(n_items + 1.0, n_items * float(scaled) ** 2)


def _reason(decision: Decision, bounds: Bounds, rule: Rule) -> str:
    """The decision in words, with the bound that decided, in points."""
    m = rule.margin_points
    if decision is Decision.UNINFORMATIVE:
        return _why_uninformative(bounds, rule)
    low, high = _points(bounds.gain_lower), _points(bounds.gain_upper)
    if decision is Decision.CLOSED:
        return (
            f"closed at least {rule.share:g} of the gap: {_points(bounds.closing_lower)} points "
            "to spare at the lower bound"
        )
    if decision is Decision.GAIN:
        return f"at least {low} points above its base"
    if decision is Decision.LOSS:
        worst = _points(max(bounds.gain_upper, *bounds.loss_uppers))
        return f"at best {worst} points against its base, in every format; the margin is {m:g}"
    if decision is Decision.NO_GAIN:
        remark = ""
        if bounds.gain_lower > 0:
            remark = f"; above 0 ({low}), but too little to count"
        elif bounds.gain_upper < -rule.margin:
            remark = "; it lost more than the margin, but not in every format"
        return f"at best {high} points against its base, under the margin of {m:g}{remark}"
    return f"between {low} and {high} points against its base: neither a gain nor none is shown"


def _failures(sample: ClusterSums) -> str:
    """A remark where so many items failed that those left may be of another kind."""
    asked = sample.n_items + sample.n_dropped
    if sample.n_dropped <= FAILURES_TO_TELL * asked:
        return ""
    return f"; {sample.n_dropped} of {asked} items failed in some arm"


def _why_uninformative(bounds: Bounds, rule: Rule) -> str:
    if _is_at_floor(bounds):
        return "the base is not shown to do better than guessing, so it could show no loss"
    return (
        f"the teacher is shown to lead the base by {_points(bounds.lead_lower)} points only; "
        f"under {2 * rule.margin_points:g} there is too little to learn"
    )


def _points(share: float | None) -> str:
    assert share is not None
    return f"{100 * share:+.1f}"
