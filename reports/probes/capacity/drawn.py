"""The drawings of the capacity probe: bits held over bits of data, losses over sizes and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from reports.parts import Series, chart_of, series_colour
from reports.svg import draw
from reports.theme import light

__all__ = ["Line", "draw_held", "draw_lines"]

SIZE = (320, 230)


@dataclass(frozen=True)
class Line:
    """One line with its marks: its series names its colour, its run tells it from others."""

    series: str
    run: str
    x: Sequence[float]
    y: Sequence[float | None]


def draw_held(lines: Sequence[Line], *, series: Series, capacities: Sequence[float]) -> str:
    """Return bits held over bits of data, both logarithmic, with what could be held at most.

    Args:
        lines: One a size and seed.
        series: Names of the sizes, each with its colour.
        capacities: Of the sizes, as rules across.
    """
    rows = [row for row in _rows(lines) if row["y"] > 0]  # nothing held has no logarithm
    reach = [min(row["x"] for row in rows), max(row["x"] for row in rows)]
    whole = chart_of([{"x": value, "y": value} for value in reach])
    diagonal = whole.mark_line(color=light("grey"), strokeDash=[4, 3]).encode(
        x=alt.X("x:Q"), y=alt.Y("y:Q")
    )
    across = chart_of([{"y": value} for value in capacities])
    rules = across.mark_rule(color=light("grey"), strokeWidth=0.8).encode(y=alt.Y("y:Q"))
    return draw(
        alt.layer(
            rules,
            diagonal,
            *_lines(rows, series, x_title="Bits of data", y_title="Bits held", is_log_y=True),
        ).properties(width=SIZE[0], height=SIZE[1])
    )


def draw_lines(
    lines: Sequence[Line],
    *,
    series: Series,
    x_title: str,
    y_title: str,
    marks: Sequence[float] = (),
) -> str:
    """Return lines over a logarithmic axis, with uprights where something is expected.

    Args:
        lines: What is drawn; missing values leave gaps.
        series: Names of the lines, each with its colour.
        x_title: Title of the axis across.
        y_title: Title of the upright axis.
        marks: Places across at which something is expected.
    """
    drawn = _lines(_rows(lines), series, x_title=x_title, y_title=y_title, is_log_y=False)
    uprights = chart_of([{"x": mark} for mark in marks])
    rule = uprights.mark_rule(color=light("ink"), strokeDash=[4, 3]).encode(x=alt.X("x:Q"))
    layers = [rule, *drawn] if marks else drawn
    return draw(alt.layer(*layers).properties(width=SIZE[0], height=SIZE[1]))


def _rows(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [
        {"x": x, "y": y, "series": line.series, "run": f"{line.series}/{line.run}"}
        for line in lines
        for x, y in zip(line.x, line.y, strict=True)
        if y is not None and x > 0
    ]


def _lines(
    rows: Sequence[dict[str, Any]],
    series: Series,
    *,
    x_title: str,
    y_title: str,
    is_log_y: bool,
) -> list[Any]:
    log = alt.Scale(type="log", nice=False)
    base = chart_of(rows).encode(
        x=alt.X("x:Q", title=x_title, scale=log, axis=alt.Axis(tickCount=5, format="~s")),
        y=alt.Y(
            "y:Q",
            title=y_title,
            scale=log if is_log_y else alt.Scale(zero=False),
            axis=alt.Axis(tickCount=5, format="~s"),
        ),
        color=series_colour(series, has_legend=True),
    )
    return [
        base.mark_line(strokeWidth=1.3).encode(detail=alt.Detail("run:N")),
        base.mark_point(filled=True, size=28, opacity=1),
    ]
