"""The drawings of the report on reasoning traces: shares by arm, and plans over damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from reports.parts import Interval, Series, chart_of, series_colour
from reports.svg import draw
from reports.theme import light

__all__ = ["Dose", "Share", "draw_doses", "draw_shares"]

PLAN, TRACE = "plan is right", "trace is a valid search"
WIDTH, ROW, DOSES = 250, 30, (290, 190)
LETTER = 7
"""Width of a letter of an arm's name, at most on average; all in pixels."""


@dataclass(frozen=True)
class Share:
    """One arm in percent: its right plans, and its valid traces if it has any."""

    arm: str
    plan: float
    plan_interval: Interval | None
    trace: float | None
    trace_interval: Interval | None


@dataclass(frozen=True)
class Dose:
    """Right plans in percent at a percent of damaged operations."""

    damage: str
    dose: float
    plan: float
    interval: Interval | None


def draw_shares(shares: Sequence[Share]) -> str:
    """Return right plans and valid traces, a row an arm, on a scale from 0 to 100 %."""
    rows = [
        _row({"arm": one.arm, "what": what, "x": value}, interval)
        for one in shares
        for what, value, interval in (
            (PLAN, one.plan, one.plan_interval),
            (TRACE, one.trace, one.trace_interval),
        )
        if value is not None
    ]
    scale = alt.Scale(domain=[0, 100], nice=False)
    x = alt.X("x:Q", title="Percent of problems", scale=scale, axis=alt.Axis(tickCount=5))
    longest = LETTER * max(len(one.arm) for one in shares)
    wide = alt.Axis(ticks=False, domain=False, labelLimit=longest, minExtent=longest)
    y = alt.Y("arm:N", title=None, sort=[one.arm for one in shares], axis=wide)
    inks = alt.Scale(domain=[PLAN, TRACE], range=[light("blue"), light("vermillion")])
    legend = alt.Legend(orient="top", symbolType="circle")
    colour = alt.Color("what:N", title=None, scale=inks, legend=legend)
    layers = []
    for place, what in ((-4.5, PLAN), (4.5, TRACE)):
        chart = chart_of([row for row in rows if row["what"] == what])
        layers += [
            chart.mark_rule(strokeWidth=1.4, yOffset=place).encode(
                x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y, color=colour
            ),
            chart.mark_point(size=44, opacity=1, filled=True, yOffset=place).encode(
                x=x, y=y, color=colour
            ),
        ]
    return draw(alt.layer(*layers).properties(width=WIDTH, height=ROW * len(shares)))


def draw_doses(doses: Sequence[Dose], series: Series) -> str:
    """Return right plans over damage, a line a kind of damage."""
    rows = [
        _row({"series": one.damage, "x": one.dose, "y": one.plan}, one.interval) for one in doses
    ]
    chart = chart_of(rows)
    colour = series_colour(series, has_legend=True)
    percents = alt.Scale(domain=[0, 100], nice=False)
    x = alt.X("x:Q", title="Percent of operations damaged", scale=percents)
    y = alt.Y("y:Q", title="Percent of plans right", scale=percents)
    layers = [
        chart.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=colour),
        chart.mark_rule(strokeWidth=1.2).encode(
            x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q"), color=colour
        ),
        chart.mark_point(size=36, filled=True, opacity=1).encode(x=x, y=y, color=colour),
    ]
    return draw(alt.layer(*layers).properties(width=DOSES[0], height=DOSES[1]))


def _row(told: dict[str, Any], interval: Interval | None) -> dict[str, Any]:
    low, high = interval or (None, None)
    return told | {"low": low, "high": high}
