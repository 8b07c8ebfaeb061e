"""The drawings: style against substance, trends, and how answers fall out.

Each is drawn at a phone's width (about 350 px) and scales up. Values come in points, that is in
hundredths of a score, already computed: nothing is estimated here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from reports.labels import LabelBox, place_labels
from reports.svg import draw
from reports.theme import light

__all__ = ["Mark", "TrendPoint", "draw_outcomes", "draw_plane", "draw_trend"]

Interval = tuple[float, float]
Range = tuple[float, float]
Series = Mapping[str, str]
"""Name of a base, or of a line, to the name of its colour."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right")
STAR = "M0,-1.15L.27,-.38L1.09,-.36L.44,.14L.68,.93L0,.46L-.68,.93L-.44,.14L-1.09,-.36L-.27,-.38Z"
SAME_FOR_ALL = {
    "base": "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "teacher": STAR,
    "control": "M-.8,-.8L.8,.8M-.8,.8L.8,-.8",
}
PLANE = (292, 255)
TREND = (270, 165)


@dataclass(frozen=True)
class Mark:
    """One arm in the plane; `trail` names the line that it belongs to, by `order`."""

    label: str
    series: str
    kind: str
    x: float
    y: float
    x_interval: Interval | None = None
    y_interval: Interval | None = None
    trail: str = ""
    order: float = 0
    is_hollow: bool = False


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


def draw_plane(
    marks: Sequence[Mark],
    *,
    y_title: str,
    margin: float,
    series: Series,
    kinds: Sequence[str],
) -> str:
    """Return the figure of the project: points of style gained against points of substance gained.

    Args:
        marks: Arms, most important first: earlier ones get their labels first.
        y_title: Title of the upright axis.
        margin: Points below which a gain counts as none, drawn as a band.
        series: Bases in order, each with its colour.
        kinds: Mixes in order, one shape each.
    """
    x_range = _padded([v for m in marks for v in (m.x, *(m.x_interval or ()))], 0.08)
    y_range = _padded([-margin, margin, *(v for m in marks for v in _heights(m))], 0.10)
    x = alt.X("x:Q", title="Style gained (points)", scale=_domain(x_range), axis=_axis(5, extent=0))
    y = alt.Y("y:Q", title=y_title, scale=_domain(y_range), axis=_axis(6))
    rows = [_mark_row(mark) for mark in marks]
    layers = [
        *_ground(margin, x_range, y_range, has_upright=True),
        _trails(rows, series),
        *_whiskers(rows, series),
        _symbols(rows, x, y, series, kinds),
        *_labels(marks, x_range, y_range),
    ]
    return draw(alt.layer(*layers).properties(width=PLANE[0], height=PLANE[1]))


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
    zero = [0.0] if is_signed else []
    band = [-margin, margin] if margin is not None else []
    heights = [v for p in points for v in (p.y, *(p.interval or ()))]
    y_range = _padded([*zero, *band, *heights, *(levels or {}).values()], 0.08)
    xs = [p.x for p in points]
    x_range = (min(xs) / 1.25, max(xs) * 1.25)
    colour = _series_colour(series, has_legend=len(series) > 1)
    rows = [_trend_row(p, _dodge(p.series, series)) for p in points]
    ticks = alt.Axis(values=sorted(set(xs)), format=x_format, labelOverlap=True)
    scale = alt.Scale(type="log", domain=x_range, nice=False)
    x = alt.X("x:Q", title=x_title, scale=scale, axis=ticks)
    y = alt.Y("y:Q", title=y_title, scale=_domain(y_range), axis=_axis(5, is_signed=is_signed))
    chart = _chart(rows)
    level_rows = [{"y": v, "series": k} for k, v in (levels or {}).items()]
    ground = _ground(margin, x_range, y_range, has_upright=False) if is_signed else []
    lines = chart.mark_line(strokeWidth=1.6).encode(
        x=x, y=y, color=colour, detail=alt.Detail("line:N")
    )
    layers = [
        *ground,
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
        _chart(shares)
        .mark_bar(height=11, stroke=light("paper"), strokeWidth=0.7)
        .encode(
            x=alt.X(
                "share:Q",
                title="Share of answers (%)",
                scale=alt.Scale(domain=[0, 100], nice=False),
                axis=_axis(5, is_signed=False, extent=0),
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


# --- parts ----------------------------------------------------------------------------------------


def _chart(rows: Sequence[dict[str, Any]]) -> Any:
    # Typed loosely on purpose: altair's own types name every colour of the web for each argument.
    return alt.Chart({"values": list(rows)})


def _axis(ticks: int, *, is_signed: bool = True, extent: float = 36) -> alt.Axis:
    shown = "(datum.value > 0 ? '+' : '') + replace(datum.label, '-', '\N{MINUS SIGN}')"
    return alt.Axis(
        tickCount=ticks, minExtent=extent, labelExpr=shown if is_signed else "datum.label"
    )


def _domain(bounds: Range) -> alt.Scale:
    return alt.Scale(domain=list(bounds), nice=False, zero=False)


def _padded(values: Sequence[float], share: float) -> Range:
    low, high = min(values), max(values)
    room = share * ((high - low) or 1.0)
    return (low - room, high + room)


def _heights(mark: Mark) -> tuple[float, ...]:
    return (mark.y, *(mark.y_interval or ()))


def _mark_row(mark: Mark) -> dict[str, Any]:
    x_low, x_high = mark.x_interval or (None, None)
    y_low, y_high = mark.y_interval or (None, None)
    named = {"series": mark.series, "kind": mark.kind, "trail": mark.trail, "order": mark.order}
    ends = {"x_low": x_low, "x_high": x_high, "y_low": y_low, "y_high": y_high}
    return {"x": mark.x, "y": mark.y, **named, **ends, "hollow": mark.is_hollow}


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


def _colours(series: Series) -> list[str]:
    return [light(colour) for colour in series.values()]


def _series_colour(series: Series, *, has_legend: bool) -> alt.Color:
    legend = None
    if has_legend:
        legend = alt.Legend(
            symbolType="stroke", symbolSize=160, symbolStrokeWidth=3, symbolOpacity=1, columns=5
        )
    scale = alt.Scale(domain=list(series), range=_colours(series))
    return alt.Color("series:N", title=None, scale=scale, legend=legend)


def _filled(series: Series) -> Any:
    scale = alt.Scale(domain=list(series), range=_colours(series))
    solid = alt.Fill("series:N", scale=scale, legend=None)
    return alt.when("datum.filled").then(solid).otherwise(alt.value(light("paper")))


def _dash(points: Sequence[TrendPoint]) -> alt.StrokeDash:
    styles = list(dict.fromkeys(point.style for point in points))
    dashes = ([1, 0], [2, 3], [6, 3], [6, 3, 2, 3])
    scale = alt.Scale(domain=styles, range=[dashes[i % 4] for i in range(len(styles))])
    legend = alt.Legend(symbolSize=160) if len(styles) > 1 else None
    return alt.StrokeDash("style:N", title=None, scale=scale, legend=legend)


def _ground(
    margin: float | None, x_range: Range, y_range: Range, *, has_upright: bool
) -> list[Any]:
    """Return the band of no gain and the zero lines."""
    layers = []
    if margin is not None:
        row = {"x": x_range[0], "x2": x_range[1], "y": -margin, "y2": margin}
        band = _chart([row]).mark_rect(fill=light("band"))
        layers.append(
            band.encode(x=alt.X("x:Q"), x2=alt.X2("x2:Q"), y=alt.Y("y:Q"), y2=alt.Y2("y2:Q"))
        )
    zero = _chart([{"zero": 0}]).mark_rule(color=light("grey"), strokeWidth=1)
    layers.append(zero.encode(y=alt.Y("zero:Q")))
    if has_upright:
        layers.append(zero.encode(x=alt.X("zero:Q")))
    return layers


def _rules(rows: list[dict[str, Any]], colour: Any, **style: Any) -> Any:
    chart = _chart(rows).mark_rule(**style)
    return chart.encode(y=alt.Y("y:Q"), color=colour)


def _trails(rows: list[dict[str, Any]], series: Series) -> Any:
    on_trail = [row for row in rows if row["trail"]]
    starts = {row["trail"]: {**row, "x": 0, "y": 0, "order": -1} for row in on_trail}
    chart = _chart([*starts.values(), *on_trail])
    return chart.mark_line(strokeWidth=1, opacity=0.55).encode(
        x=alt.X("x:Q"),
        y=alt.Y("y:Q"),
        detail=alt.Detail("trail:N"),
        order=alt.Order("order:Q"),
        color=_series_colour(series, has_legend=len(series) > 1),
    )


def _whiskers(rows: list[dict[str, Any]], series: Series) -> list[Any]:
    colour = _series_colour(series, has_legend=len(series) > 1)
    chart = _chart(rows).mark_rule(strokeWidth=1.3, opacity=0.75)
    across = chart.transform_filter("isValid(datum.x_low)")
    upright = chart.transform_filter("isValid(datum.y_low)")
    return [
        across.encode(x=alt.X("x_low:Q"), x2=alt.X2("x_high:Q"), y=alt.Y("y:Q"), color=colour),
        upright.encode(x=alt.X("x:Q"), y=alt.Y("y_low:Q"), y2=alt.Y2("y_high:Q"), color=colour),
    ]


def _symbols(
    rows: list[dict[str, Any]], x: Any, y: Any, series: Series, kinds: Sequence[str]
) -> Any:
    present = {row["kind"] for row in rows}
    shapes = {kind: SHAPES[i % len(SHAPES)] for i, kind in enumerate(kinds)} | SAME_FOR_ALL
    shapes = {kind: shape for kind, shape in shapes.items() if kind in present}
    colours = {**dict(zip(series, _colours(series), strict=True)), "": light("ink")}
    coloured = [
        {
            **row,
            "stroke": colours[row["series"]],
            "fill": light("paper") if row["hollow"] else colours[row["series"]],
        }
        for row in rows
    ]
    muted = light("muted")
    to_name = [kind for kind in shapes if kind not in {"base", "teacher"}]
    legend = alt.Legend(
        values=to_name, symbolFillColor=muted, symbolStrokeColor=muted, symbolSize=60
    )
    shape = alt.Shape(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(shapes), range=list(shapes.values())),
        legend=legend,
    )
    points = _chart(coloured).mark_point(size=62, strokeWidth=1.5, opacity=1)
    fill, stroke = alt.Fill("fill:N", scale=None), alt.Stroke("stroke:N", scale=None)
    return points.encode(x=x, y=y, fill=fill, stroke=stroke, shape=shape)


def _labels(marks: Sequence[Mark], x_range: Range, y_range: Range) -> list[Any]:
    width, height = PLANE

    def across(value: float) -> float:
        return width * (value - x_range[0]) / (x_range[1] - x_range[0])

    def down(value: float) -> float:
        return height * (y_range[1] - value) / (y_range[1] - y_range[0])

    boxes = [LabelBox(mark.label, across(mark.x), down(mark.y)) for mark in marks]
    layers = []
    placed = place_labels(boxes, width=width, height=height)
    for align in ("left", "right", "center"):
        rows = [
            {
                "text": label.text,
                "x": x_range[0] + label.x / width * (x_range[1] - x_range[0]),
                "y": y_range[1] - label.y / height * (y_range[1] - y_range[0]),
            }
            for label in placed
            if label.align == align
        ]
        if not rows:
            continue
        text = {"align": align, "baseline": "middle", "fontSize": 11}
        chart = _chart(rows).encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), text=alt.Text("text:N"))
        halo = light("paper")
        layers += [
            chart.mark_text(**text, stroke=halo, strokeWidth=3, fill=halo),
            chart.mark_text(**text, fill=light("ink")),
        ]
    return layers
