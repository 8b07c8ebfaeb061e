"""The drawings of the grokking probe: curves over epochs, spectra, heat maps, the phase diagram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from reports.parts import Series, chart_of, colours, series_colour
from reports.svg import draw
from reports.theme import light

__all__ = ["Band", "Curve", "draw_curves", "draw_diagram", "draw_heat", "draw_spectra"]

SIZE = (300, 165)


@dataclass(frozen=True)
class Curve:
    """One line: its series names its colour, its run tells it from others of the series."""

    series: str
    run: str
    epochs: Sequence[int]
    values: Sequence[float | None]


@dataclass(frozen=True)
class Band:
    """A phase, from an epoch to another."""

    name: str
    start: float
    end: float


def draw_curves(
    curves: Sequence[Curve], *, y_title: str, series: Series, is_log: bool, bands: Sequence[Band]
) -> str:
    """Return lines over epochs, with the phases shaded behind them.

    Args:
        curves: The lines; missing values leave gaps.
        y_title: Title of the upright axis.
        series: Names of the series in order, each with its colour.
        is_log: Whether the upright axis is logarithmic.
        bands: Phases, every other one shaded.
    """
    rows: list[dict[str, Any]] = [
        {"x": epoch, "y": value, "series": curve.series, "run": f"{curve.series}/{curve.run}"}
        for curve in curves
        for epoch, value in zip(curve.epochs, curve.values, strict=True)
        if value is not None and (value > 0 or not is_log)
    ]
    last = max((row["x"] for row in rows), default=1)
    x = alt.X(
        "x:Q",
        title="Epoch",
        scale=alt.Scale(domain=[0, last], nice=False),
        axis=alt.Axis(tickCount=5, format="~s"),
    )
    scale = alt.Scale(type="log") if is_log else alt.Scale(zero=False)
    axis = alt.Axis(format=".0e", tickCount=6) if is_log else alt.Axis(tickCount=5)
    lines = (
        chart_of(rows)
        .mark_line(strokeWidth=1.3, clip=True)
        .encode(
            x=x,
            y=alt.Y("y:Q", title=y_title, scale=scale, axis=axis),
            color=series_colour(series, has_legend=True),
            detail=alt.Detail("run:N"),
        )
    )
    return draw(alt.layer(*_shaded(bands), lines).properties(width=SIZE[0], height=SIZE[1]))


def _shaded(bands: Sequence[Band]) -> list[Any]:
    shaded = [{"x": one.start, "x2": one.end} for one in bands[::2]]
    if not shaded:
        return []
    band = chart_of(shaded).mark_rect(fill=light("band"))
    return [band.encode(x=alt.X("x:Q"), x2=alt.X2("x2:Q"))]


def draw_spectra(norms: Sequence[float], keys: Sequence[int]) -> str:
    """Return bars of the norm at every frequency, the key ones in another colour."""
    rows = [
        {"k": k, "norm": norm, "kind": "key frequency" if k in keys else "other"}
        for k, norm in enumerate(norms, 1)
    ]
    series = {"key frequency": "blue", "other": "grey"}
    chart = (
        chart_of(rows)
        .mark_bar(width=max(1.5, 0.7 * SIZE[0] / len(rows)))
        .encode(
            x=alt.X(
                "k:Q",
                title="Frequency",
                scale=alt.Scale(domain=[0, len(rows) + 1], nice=False),
                axis=alt.Axis(tickCount=8),
            ),
            y=alt.Y("norm:Q", title="Norm", axis=alt.Axis(tickCount=4)),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=list(series), range=colours(series)),
            ),
        )
    )
    return draw(chart.properties(width=SIZE[0], height=110))


def draw_heat(values: Sequence[Sequence[float]], *, x_title: str, y_title: str) -> str:
    """Return a square of values around 0, as colours between two."""
    rows = [
        {"x": x, "y": y, "value": value}
        for y, row in enumerate(values)
        for x, value in enumerate(row)
    ]
    reach = max((abs(row["value"]) for row in rows), default=1.0) or 1.0
    n, side = len(values), 230
    cell = side / n
    scale = alt.Scale(domain=[-0.5, n - 0.5], nice=False)
    chart = (
        chart_of(rows)
        .mark_rect(width=cell + 0.3, height=cell + 0.3)
        .encode(
            x=alt.X("x:Q", title=x_title, scale=scale, axis=alt.Axis(tickCount=5)),
            y=alt.Y("y:Q", title=y_title, scale=scale, axis=alt.Axis(tickCount=5)),
            color=alt.Color(
                "value:Q",
                scale=alt.Scale(
                    domain=[-reach, 0, reach],
                    range=[light("vermillion"), light("paper"), light("blue")],
                ),
                legend=None,
            ),
        )
    )
    return draw(chart.properties(width=side, height=side))


def draw_diagram(
    rows: Sequence[dict[str, Any]], *, x_title: str, y_title: str, outcomes: Series
) -> str:
    """Return a grid of runs, coloured by how they ended, with the epoch where they generalised.

    Args:
        rows: Each with `x`, `y`, `outcome` and `epoch` (None where never).
        x_title: What goes across.
        y_title: What goes up.
        outcomes: Outcome to its colour.
    """
    told = [{**row, "text": _short(row["epoch"])} for row in rows]
    base = chart_of(told).encode(
        x=alt.X("x:O", title=x_title, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("y:O", title=y_title, sort="descending"),
    )
    present = {name: outcomes[name] for name in outcomes if any(r["outcome"] == name for r in rows)}
    tiles = base.mark_rect(stroke=light("paper"), strokeWidth=2, opacity=0.75).encode(
        color=alt.Color(
            "outcome:N", title=None, scale=alt.Scale(domain=list(present), range=colours(present))
        )
    )
    words = base.mark_text(fontSize=11, color=light("ink")).encode(text=alt.Text("text:N"))
    width = 52 * len({row["x"] for row in rows})
    height = 26 * len({row["y"] for row in rows})
    return draw(alt.layer(tiles, words).properties(width=width, height=height))


def _short(epoch: int | None) -> str:
    if epoch is None or not math.isfinite(epoch):
        return "–"
    return f"{epoch / 1000:.1f}k" if epoch >= 1000 else f"{epoch}"
