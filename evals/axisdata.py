"""Scores -> the data of one axis: which arms, which items, which format.

In: `Score` records of all arms. Out: `AxisData`, arrays that line up item by item, and the format
that each arm is judged in, chosen on development items.

Glossary: A arms, N items. Scores are shares in [0, 1]; NaN is a failed item, never a wrong one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evals.errors import RecordError
from evals.records import Axis, Format, Outcome, Score, index_by_item
from evals.stats import FloatArray, cluster_sums

__all__ = ["AxisData", "PublishedScore", "Roles", "axis_data", "best_format"]


@dataclasses.dataclass(frozen=True)
class PublishedScore:
    """A teacher's score without its answers: its error is binomial, independent of our items."""

    value: float
    n: int
    source: str


@dataclasses.dataclass(frozen=True)
class Roles:
    """Which arms are compared.

    Attributes:
        imitator: Arms of one recipe, one for each training seed.
        base: The imitator's own base.
        teacher: The teacher's arm; None where it has no score on the axis.
    """

    imitator: tuple[str, ...]
    base: str
    teacher: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class AxisData:
    """The scores of one axis.

    Attributes:
        axis: The axis.
        arms: (A,) names.
        values: By format, (A, N) scores; NaN where an item failed; a row of NaN where the arm was
            not asked in the format.
        clusters: (N,) cluster ids.
        tasks: (N,) task ids.
        best_format: By arm, the format chosen on development items.
        floor: Axis value of guessing; None where a low base is as it should be (style).
        published: By arm, scores that come without answers.
    """

    axis: Axis
    arms: tuple[str, ...]
    values: Mapping[Format, FloatArray]
    clusters: npt.NDArray[np.generic]
    tasks: npt.NDArray[np.generic]
    best_format: Mapping[str, Format]
    floor: float | None = None
    published: Mapping[str, PublishedScore] = dataclasses.field(default_factory=dict)

    def formats_of(self, arm: str) -> tuple[Format, ...]:
        """The formats in which an arm was asked."""
        if arm not in self.arms:
            return ()
        row = self.arms.index(arm)
        return tuple(f for f, values in self.values.items() if not np.isnan(values[row]).all())


def axis_data(
    scores: Sequence[Score],
    axis: Axis,
    *,
    floor: float | None = None,
    published: Mapping[str, PublishedScore] | None = None,
) -> AxisData:
    """Return the data of one axis.

    An arm that was asked in a format must have a score on every item of the axis, be it a failed
    one. Repeated samples are averaged over those that did not fail.

    Raises:
        RecordError: Ids are missing, doubled or differ between arms; or an arm answered in two
            formats and has no development items to choose one on.
    """
    mine = [score for score in scores if score.axis is axis]
    tested = [score for score in mine if not score.is_development]
    if not tested:
        raise RecordError(f"no scores on {axis} outside the development items")
    where = {score.item_id: (score.cluster_id, score.task) for score in tested}
    items, arms = sorted(where), tuple(sorted({score.arm for score in tested}))
    formats = [f for f in Format if any(score.format is f for score in tested)]
    return AxisData(
        axis=axis,
        arms=arms,
        values={f: np.stack([_row(_of(tested, arm, f), items) for arm in arms]) for f in formats},
        clusters=np.array([where[item][0] for item in items]),
        tasks=np.array([where[item][1] for item in items]),
        best_format={arm: best_format(mine, arm) for arm in arms},
        floor=floor,
        published=published or {},
    )


def _of(scores: Iterable[Score], arm: str, form: Format) -> list[Score]:
    return [score for score in scores if score.arm == arm and score.format is form]


def _row(scores: Sequence[Score], items: Sequence[str]) -> FloatArray:
    """(N,) the scores of one arm in one format, by item; all NaN where it has none."""
    if not scores:
        return np.full(len(items), np.nan)
    samples = sorted({score.sample for score in scores})
    columns = []
    for sample in samples:
        by_item = index_by_item([s for s in scores if s.sample == sample], items)
        columns.append([_value(by_item[item]) for item in items])
    table = np.array(columns, dtype=np.float64)
    n_answered = (~np.isnan(table)).sum(axis=0)
    total = np.nansum(table, axis=0)
    return np.where(n_answered > 0, total / np.maximum(n_answered, 1), np.nan)


def _value(score: Score) -> float:
    return float("nan") if score.outcome is Outcome.FAILED else score.value


def best_format(scores: Sequence[Score], arm: str) -> Format:
    """The format in which an arm does best on development items; the plain one if they tie."""
    asked = [f for f in Format if any(s.format is f for s in scores if s.arm == arm)]
    if len(asked) == 1:
        return asked[0]
    value = {f: _development_value(_of(scores, arm, f)) for f in asked}
    if any(v is None for v in value.values()):
        raise RecordError(
            f"`{arm}` answered in two formats, and has no development items to choose one on",
            hint="mark some items `is_development`: they choose formats and never score",
        )
    return max(asked, key=lambda f: value[f] or 0.0)


def _development_value(scores: Sequence[Score]) -> float | None:
    """The axis value on development items; None without any."""
    chosen = [s for s in scores if s.is_development and s.outcome is not Outcome.FAILED]
    if not chosen:
        return None
    values = np.array([score.value for score in chosen])
    sample = cluster_sums(values, [s.item_id for s in chosen], [s.task for s in chosen])
    return float(sample.values[0])
