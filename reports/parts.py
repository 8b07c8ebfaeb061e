"""What the drawings share: axes, scales, colours of the bases, and the band of no gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from reports.theme import light

__all__ = [
    "Interval",
    "Range",
    "Series",
    "chart_of",
    "colours",
    "domain",
    "ground",
    "padded",
    "series_colour",
    "value_axis",
]

Interval = tuple[float, float]
Range = tuple[float, float]
Series = Mapping[str, str]
"""Name of a base, or of a line, to the name of its colour."""


def chart_of(rows: Sequence[dict[str, Any]]) -> Any:
    """Return a chart of these rows."""
    # Typed loosely on purpose: altair's own types name every colour of the web for each argument.
    return alt.Chart({"values": list(rows)})


def value_axis(ticks: int, *, is_signed: bool = True, extent: float = 36) -> alt.Axis:
    """Return an axis of points or percents, with signs where they mean something."""
    shown = "(datum.value > 0 ? '+' : '') + replace(datum.label, '-', '\N{MINUS SIGN}')"
    return alt.Axis(
        tickCount=ticks, minExtent=extent, labelExpr=shown if is_signed else "datum.label"
    )


def domain(bounds: Range) -> alt.Scale:
    """Return a linear scale over exactly these bounds."""
    return alt.Scale(domain=list(bounds), nice=False, zero=False)


def padded(values: Sequence[float], share: float) -> Range:
    """Return bounds around the values, with a share of their width as room."""
    low, high = min(values), max(values)
    room = share * ((high - low) or 1.0)
    return (low - room, high + room)


def colours(series: Series) -> list[str]:
    """Return the colours to draw in."""
    return [light(colour) for colour in series.values()]


def series_colour(series: Series, *, has_legend: bool) -> alt.Color:
    """Return the channel that colours marks by series."""
    legend = None
    if has_legend:
        legend = alt.Legend(
            symbolType="stroke", symbolSize=160, symbolStrokeWidth=3, symbolOpacity=1, columns=5
        )
    scale = alt.Scale(domain=list(series), range=colours(series))
    return alt.Color("series:N", title=None, scale=scale, legend=legend)


def ground(margin: float | None, x_range: Range, y_range: Range, *, has_upright: bool) -> list[Any]:
    """Return the band of no gain and the zero lines."""
    layers = []
    if margin is not None:
        row = {"x": x_range[0], "x2": x_range[1], "y": -margin, "y2": margin}
        band = chart_of([row]).mark_rect(fill=light("band"))
        layers.append(
            band.encode(x=alt.X("x:Q"), x2=alt.X2("x2:Q"), y=alt.Y("y:Q"), y2=alt.Y2("y2:Q"))
        )
    zero = chart_of([{"zero": 0}]).mark_rule(color=light("grey"), strokeWidth=1)
    layers.append(zero.encode(y=alt.Y("zero:Q")))
    if has_upright:
        layers.append(zero.encode(x=alt.X("zero:Q")))
    return layers
