"""The figure of the project: style gained against substance gained, one mark an arm.

It is drawn at a phone's width (about 350 px) and scales up. Values come in points, already
computed: nothing is estimated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from reports.labels import LabelBox, place_labels
from reports.parts import (
    Interval,
    Range,
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

__all__ = ["Mark", "draw_plane"]

SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right")
STAR = "M0,-1.15L.27,-.38L1.09,-.36L.44,.14L.68,.93L0,.46L-.68,.93L-.44,.14L-1.09,-.36L-.27,-.38Z"
SAME_FOR_ALL = {
    "base": "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "teacher": STAR,
    "control": "M-.8,-.8L.8,.8M-.8,.8L.8,-.8",
}
PLANE = (292, 255)


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
    x_range = padded([v for m in marks for v in (m.x, *(m.x_interval or ()))], 0.08)
    y_range = padded([-margin, margin, *(v for m in marks for v in _heights(m))], 0.10)
    x = alt.X(
        "x:Q", title="Style gained (points)", scale=domain(x_range), axis=value_axis(5, extent=0)
    )
    y = alt.Y("y:Q", title=y_title, scale=domain(y_range), axis=value_axis(6))
    rows = [_mark_row(mark) for mark in marks]
    layers = [
        *ground(margin, x_range, y_range, has_upright=True),
        _trails(rows, series),
        *_whiskers(rows, series),
        _symbols(rows, x, y, series, kinds),
        *_labels(marks, x_range, y_range),
    ]
    return draw(alt.layer(*layers).properties(width=PLANE[0], height=PLANE[1]))


def _heights(mark: Mark) -> tuple[float, ...]:
    return (mark.y, *(mark.y_interval or ()))


def _mark_row(mark: Mark) -> dict[str, Any]:
    x_low, x_high = mark.x_interval or (None, None)
    y_low, y_high = mark.y_interval or (None, None)
    named = {"series": mark.series, "kind": mark.kind, "trail": mark.trail, "order": mark.order}
    ends = {"x_low": x_low, "x_high": x_high, "y_low": y_low, "y_high": y_high}
    return {"x": mark.x, "y": mark.y, **named, **ends, "hollow": mark.is_hollow}


def _trails(rows: list[dict[str, Any]], series: Series) -> Any:
    on_trail = [row for row in rows if row["trail"]]
    starts = {row["trail"]: {**row, "x": 0, "y": 0, "order": -1} for row in on_trail}
    chart = chart_of([*starts.values(), *on_trail])
    return chart.mark_line(strokeWidth=1, opacity=0.55).encode(
        x=alt.X("x:Q"),
        y=alt.Y("y:Q"),
        detail=alt.Detail("trail:N"),
        order=alt.Order("order:Q"),
        color=series_colour(series, has_legend=len(series) > 1),
    )


def _whiskers(rows: list[dict[str, Any]], series: Series) -> list[Any]:
    colour = series_colour(series, has_legend=len(series) > 1)
    chart = chart_of(rows).mark_rule(strokeWidth=1.3, opacity=0.75)
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
    inks = {**dict(zip(series, colours(series), strict=True)), "": light("ink")}
    coloured = [
        {
            **row,
            "stroke": inks[row["series"]],
            "fill": light("paper") if row["hollow"] else inks[row["series"]],
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
    points = chart_of(coloured).mark_point(size=62, strokeWidth=1.5, opacity=1)
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
        chart = chart_of(rows).encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), text=alt.Text("text:N"))
        halo = light("paper")
        layers += [
            chart.mark_text(**text, stroke=halo, strokeWidth=3, fill=halo),
            chart.mark_text(**text, fill=light("ink")),
        ]
    return layers
