"""Altair charts to SVG: small, deterministic, and free of anything but shapes and text.

A drawing is parsed and rebuilt from a list of allowed elements and attributes. What comes out may
therefore stand unescaped in a page, whatever the names in the results are.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import altair as alt
import vl_convert as vlc

from reports.theme import COLOURS, dark_rules

__all__ = ["draw", "standalone"]

NAMESPACE = "http://www.w3.org/2000/svg"
FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
INK, MUTED, LINE = (COLOURS[name][0] for name in ("ink", "muted", "line"))
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "padding": {"left": 4, "right": 8, "top": 8, "bottom": 4},
    "view": {"stroke": None},
    "axis": {
        **{"labelColor": INK, "labelFontSize": 11.5, "domain": False, "tickColor": LINE},
        **{"titleColor": INK, "titleFontSize": 12, "titleFontWeight": "normal"},
        **{"titlePadding": 8, "gridColor": LINE, "gridWidth": 0.6},
    },
    "header": {"labelColor": INK, "labelFontSize": 12},
    "legend": {
        **{"labelColor": INK, "labelFontSize": 11.5, "labelLimit": 150, "titleColor": MUTED},
        **{"orient": "bottom", "direction": "horizontal", "columns": 4, "columnPadding": 12},
        **{"offset": 8, "rowPadding": 3, "symbolStrokeWidth": 1.6},
        "layout": {"bottom": {"direction": "vertical", "anchor": "start", "margin": 4}},
    },
}
"""The look of all drawings, in Vega-Lite's terms; sizes in pixels."""
HEADROOM = 28
"""Height of a figure's caption in its own file, in pixels."""
TAGS = {"svg", "g", "path", "line", "rect", "circle", "text", "tspan"}
ATTRIBUTES = {
    *("width", "height", "viewBox", "transform", "d", "x", "y", "x1", "x2", "y1", "y2"),
    *("fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray"),
    *("stroke-linecap", "stroke-linejoin", "opacity", "text-anchor"),
    *("font-family", "font-size", "font-weight", "font-style"),
}


def draw(chart: alt.TopLevelMixin) -> str:
    """Return the chart as an `<svg>` element with a transparent background."""
    drawn = vlc.vegalite_to_svg({**chart.to_dict(validate=False), "config": CONFIG})
    root = _rebuilt(ET.fromstring(drawn))
    if root is None:
        raise AssertionError(f"not an SVG document: {drawn[:80]!r}")
    root.set("xmlns", NAMESPACE)
    root.set("font-family", FONT)
    return ET.tostring(root, encoding="unicode")


def standalone(svg: str, *, caption: str, description: str) -> str:
    """Return the drawing as a file of its own: on a card, light or dark as the reader has it."""
    root = ET.fromstring(svg)
    width, height = float(root.get("width", "0")), float(root.get("height", "0")) + HEADROOM
    root.set("height", f"{height:g}")
    root.set("viewBox", f"0 {-HEADROOM} {width:g} {height:g}")
    root.set("role", "img")
    paper, dim = COLOURS["paper"]
    rules = f"@media (prefers-color-scheme: dark) {{\n.paper{{fill:{dim}}}\n{dark_rules()}\n}}"
    top = f"{-HEADROOM}"
    card = {"y": top, "width": f"{width:g}", "height": f"{height:g}", "rx": "6", "fill": paper}
    heading = {"x": "12", "y": "-8", "font-size": "13", "font-weight": "600", "fill": INK}
    ET.register_namespace("", NAMESPACE)
    for place, (tag, attributes, text) in enumerate(
        (
            ("title", {}, description),
            ("style", {}, rules),
            ("rect", {"class": "paper", **card}, None),
            ("text", heading, caption),
        )
    ):
        element = ET.Element(f"{{{NAMESPACE}}}{tag}", attributes)
        element.text = text
        root.insert(place, element)
    return ET.tostring(root, encoding="unicode") + "\n"


def _rebuilt(element: ET.Element) -> ET.Element | None:
    """Return a copy of what can be seen, or nothing."""
    tag = element.tag.rpartition("}")[2]
    if tag not in TAGS or element.get("display") == "none":
        return None
    copy = ET.Element(tag, {k: v for k, v in element.attrib.items() if k in ATTRIBUTES})
    copy.attrib.pop("font-family", None)
    copy.text = element.text
    copy.extend(part for child in element if (part := _rebuilt(child)) is not None)
    is_empty = not len(copy) and not (copy.text or "").strip()
    if is_empty and (tag in {"g", "text", "tspan"} or copy.get("d", "x") in {"", "M0,0h0v0h0Z"}):
        return None
    return copy
