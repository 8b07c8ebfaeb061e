"""The drawings of trends over amount, rate and size, of how answers fall out, and of shifts.

Each is drawn at a phone's width (about 350 px) and scales up. Values come in points or percents,
already computed: nothing is estimated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from reports.parts import (
    Interval,
    Series,
    chart_of,
    colours,
    domain,
    ground,
    padded,
    series_colour,
    value_axis,
)
from reports.svg import draw
from reports.theme import light

__all__ = ["ShiftPoint", "TrendPoint", "draw_outcomes", "draw_shift", "draw_trend"]

TREND = (270, 165)


@dataclass(frozen=True)
class TrendPoint:
    """One value of a line over amount, rate or size; `style` dashes it, `line` is its identity."""

    series: str
    x: float
    y: float
    interval: Interval | None = None
    is_filled: bool = True
    style: str = ""
    line: str = ""


@dataclass(frozen=True)
class ShiftPoint:
    """One name with two values in percent, before and after something is taken away."""

    name: str
    before: float
    after: float
    before_interval: Interval | None = None
    after_interval: Interval | None = None


def draw_trend(
    points: Sequence[TrendPoint],
    *,
    x_title: str,
    y_title: str,
    series: Series,
    margin: float | None = None,
    levels: dict[str, float] | None = None,
    x_format: str = ",",
    is_signed: bool = True,
) -> str:
    """Return lines with intervals over a logarithmic x.

    Args:
        points: Values in points, or in the unit of `y_title`.
        x_title: Title of the x axis.
        y_title: Title of the upright axis.
        series: Names of the lines in order, each with its colour.
        margin: Half-width of the band around zero; none where empty.
        levels: A dashed level for each series, such as the teacher's.
        x_format: How the ticks print, in d3's terms.
        is_signed: Whether values are differences, so that zero belongs into the picture.
    """
    xs = [p.x for p in points]
    always = [0.0, -(margin or 0.0), margin or 0.0] if is_signed else []
    y_range = padded([*always, *_heights(points), *(levels or {}).values()], 0.08)
    x_range = (min(xs) / 1.25, max(xs) * 1.25)
    colour = series_colour(series, has_legend=len(series) > 1)
    rows = [_trend_row(p, _dodge(p.series, series)) for p in points]
    ticks = alt.Axis(values=sorted(set(xs)), format=x_format, labelOverlap=True)
    scale = alt.Scale(type="log", domain=x_range, nice=False)
    x = alt.X("x:Q", title=x_title, scale=scale, axis=ticks)
    y = alt.Y("y:Q", title=y_title, scale=domain(y_range), axis=value_axis(5, is_signed=is_signed))
    chart = chart_of(rows)
    level_rows = [{"y": v, "series": k} for k, v in (levels or {}).items()]
    behind = ground(margin, x_range, y_range, has_upright=False) if is_signed else []
    lines = chart.mark_line(strokeWidth=1.6).encode(
        x=x, y=y, color=colour, detail=alt.Detail("line:N")
    )
    layers = [
        *behind,
        _rules(level_rows, colour, strokeDash=[5, 3], strokeWidth=1.4),
        chart.mark_rule(strokeWidth=1.4).encode(
            x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q"), color=colour
        ),
        lines.encode(strokeDash=_dash(points)),
        chart.mark_point(size=44, strokeWidth=1.6, opacity=1).encode(
            x=x, y=y, stroke=colour, fill=_filled(series)
        ),
    ]
    return draw(alt.layer(*layers).properties(width=TREND[0], height=TREND[1]))


def draw_outcomes(
    rows: Sequence[dict[str, Any]], *, outcomes: dict[str, str], arms: Sequence[str]
) -> str:
    """Return stacked bars of shares: one row a `group` and arm, one colour an `outcome`.

    Args:
        rows: Each with `group`, `arm`, `outcome` and `share` (in percent), in their order.
        outcomes: Outcome to the name of its colour, in stacking order.
        arms: Arms in order, one bar each within a group.
    """
    groups = list(dict.fromkeys(row["group"] for row in rows))
    colour = alt.Color(
        "outcome:N",
        title=None,
        scale=alt.Scale(domain=list(outcomes), range=[light(c) for c in outcomes.values()]),
        legend=alt.Legend(orient="top", direction="horizontal", symbolType="square"),
    )
    order = list(outcomes)
    shares = [{**row, "order": order.index(row["outcome"])} for row in rows]
    chart = (
        chart_of(shares)
        .mark_bar(height=11, stroke=light("paper"), strokeWidth=0.7)
        .encode(
            x=alt.X(
                "share:Q",
                title="Share of answers (%)",
                scale=alt.Scale(domain=[0, 100], nice=False),
                axis=value_axis(5, is_signed=False, extent=0),
            ),
            y=alt.Y(
                "arm:N",
                title=None,
                sort=list(arms),
                axis=alt.Axis(ticks=False, domain=False, minExtent=62),
            ),
            color=colour,
            order=alt.Order("order:Q"),
        )
        .properties(width=260, height=16 * len(arms))
    )
    header = alt.Header(
        title=None, labelOrient="top", labelAnchor="start", labelFontWeight="bold", labelPadding=3
    )
    row = alt.Row("group:N", sort=groups, header=header)
    return draw(chart.facet(row=row, spacing=20))


def draw_shift(points: Sequence[ShiftPoint], *, x_title: str, before: str, after: str) -> str:
    """Return two marks with intervals a name, on a scale of percents around an even chance.

    Args:
        points: From top to bottom.
        x_title: Title of the x axis.
        before: What the filled marks are.
        after: What the hollow marks are.
    """
    rows = [
        {"name": one.name, "x": value, "low": low, "high": high, "what": what}
        for one in points
        for what, value, bounds in (
            (before, one.before, one.before_interval),
            (after, one.after, one.after_interval),
        )
        for low, high in [bounds or (None, None)]
    ]
    scale = alt.Scale(domain=[0, 100], nice=False)
    axis = value_axis(5, is_signed=False, extent=0)
    x = alt.X("x:Q", title=x_title, scale=scale, axis=axis)
    wide = alt.Axis(ticks=False, domain=False, minExtent=62, labelLimit=190)
    y = alt.Y("name:N", title=None, sort=[one.name for one in points], axis=wide)
    inks = alt.Scale(domain=[before, after], range=[light("purple"), light("muted")])
    colour = alt.Color(
        "what:N", title=None, scale=inks, legend=alt.Legend(orient="top", symbolType="circle")
    )
    even = chart_of([{"even": 50}]).mark_rule(color=light("grey")).encode(x=alt.X("even:Q"))
    layers = [even]
    for place, what in ((-4.5, before), (4.5, after)):
        chart = chart_of([row for row in rows if row["what"] == what])
        layers += [
            chart.mark_rule(strokeWidth=1.4, yOffset=place).encode(
                x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y, color=colour
            ),
            chart.mark_point(
                size=44, strokeWidth=1.6, opacity=1, yOffset=place, filled=what == before
            ).encode(x=x, y=y, color=colour),
        ]
    return draw(alt.layer(*layers).properties(width=250, height=30 * len(points)))


def _heights(points: Sequence[TrendPoint]) -> list[float]:
    return [value for point in points for value in (point.y, *(point.interval or ()))]


def _dodge(name: str, series: Series) -> float:
    """Return a factor near one that keeps intervals of several lines apart on a log scale."""
    place = list(series).index(name) - (len(series) - 1) / 2
    return float(1.035**place)


def _trend_row(point: TrendPoint, dodge: float) -> dict[str, Any]:
    low, high = point.interval or (None, None)
    named = {
        "series": point.series,
        "style": point.style,
        "line": point.line,
        "filled": point.is_filled,
    }
    return {"x": point.x * dodge, "y": point.y, "low": low, "high": high, **named}


def _filled(series: Series) -> Any:
    scale = alt.Scale(domain=list(series), range=colours(series))
    solid = alt.Fill("series:N", scale=scale, legend=None)
    return alt.when("datum.filled").then(solid).otherwise(alt.value(light("paper")))


def _dash(points: Sequence[TrendPoint]) -> alt.StrokeDash:
    styles = list(dict.fromkeys(point.style for point in points))
    dashes = ([1, 0], [2, 3], [6, 3], [6, 3, 2, 3])
    scale = alt.Scale(domain=styles, range=[dashes[i % 4] for i in range(len(styles))])
    legend = alt.Legend(symbolSize=160) if len(styles) > 1 else None
    return alt.StrokeDash("style:N", title=None, scale=scale, legend=legend)


def _rules(rows: list[dict[str, Any]], colour: Any, **style: Any) -> Any:
    chart = chart_of(rows).mark_rule(**style)
    return chart.encode(y=alt.Y("y:Q"), color=colour)
