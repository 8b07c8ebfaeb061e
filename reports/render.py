"""A finished run -> `report.html`, one offline page, and `report.md` with its figures.

In: a run directory with `results.json`, `outputs.json` and `config.yaml`. Out: files beside them,
or elsewhere.
Everything in a run is data: the page escapes it, and its content security policy lets nothing load
and runs named scripts only, by their hash; a full report may ask a model server on this machine.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reports import figures, numbers, outputs, sections, text, theme, verdicts
from reports.alerts import alerts
from reports.offline import TEMPLATES, content_policy, read_script, read_style
from reports.page import Cell, Figure, Section, Span
from reports.reading import AXES, Run, axes_of, lead_imitator, read_run
from reports.spot import SpotPanel, spot_panel
from reports.svg import standalone

__all__ = ["ReportFiles", "comparison_markdown", "environment", "write_figures", "write_report"]

SPAN_WIDTH, SPAN_HEIGHT = 112, 16


@dataclass(frozen=True)
class ReportFiles:
    """What was written."""

    html: Path
    markdown: Path
    figures: tuple[Path, ...]


@dataclass(frozen=True)
class Report:
    """All that both renderings say."""

    name: str
    headline: str
    compared: str
    alerts: tuple[str, ...]
    lead: str
    tiles: tuple[tuple[str, Cell, str], ...]
    plane: tuple[Figure, ...]
    plane_note: str
    sections: tuple[Section, ...]
    examples: outputs.Examples
    n_outputs: int
    is_excerpt: bool
    spot: SpotPanel | None

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every figure of the report."""
        return (*self.plane, *(figure for part in self.sections for figure in part.figures))


def write_report(
    run_dir: Path, *, out_dir: Path | None = None, n_excerpts: int | None = None
) -> ReportFiles:
    """Write `report.html`, `report.md` and `figures/*.svg` of a finished run.

    Args:
        run_dir: The run.
        out_dir: Where the report goes; into the run where empty.
        n_excerpts: Items of each task whose outputs it shows, cut short; all of them, in full,
            where empty.

    Raises:
        DataError: The directory holds no readable results.
        RecordError: They have another schema version.
    """
    run = read_run(run_dir)
    if n_excerpts is not None:
        run = outputs.excerpts(run, n_excerpts)
    is_excerpt = n_excerpts is not None
    spot = None if is_excerpt else spot_panel(run.results)  # published, it reaches nobody
    report = _report(run, spot, is_excerpt=is_excerpt)
    folder = out_dir or run_dir
    folder.mkdir(parents=True, exist_ok=True)
    html, markdown = folder / "report.html", folder / "report.md"
    html.write_text(_html(report, run), encoding="utf-8")
    markdown.write_text(_markdown(report), encoding="utf-8")
    return ReportFiles(html, markdown, write_figures(folder / "figures", report.figures))


def _report(run: Run, spot: SpotPanel | None, *, is_excerpt: bool) -> Report:
    results = run.results
    lead = lead_imitator(results)
    plane = figures.plane_figures(results)
    return Report(
        name=results.get("name") or "run",
        headline=_opened(results.get("headline") or "This run reached no verdict."),
        compared=text.compared(results),
        alerts=alerts(results),
        lead=lead["arm"] if lead else "",
        tiles=_tiles(results),
        plane=plane,
        plane_note=text.plane_note(results) if plane else "",
        sections=sections.all_sections(run),
        examples=outputs.examples(run),
        n_outputs=len(run.items),
        is_excerpt=is_excerpt,
        spot=spot,
    )


def _opened(sentence: str) -> str:
    """Return a sentence with a capital at its head."""
    return sentence[:1].upper() + sentence[1:]


def _tiles(results: dict[str, Any]) -> tuple[tuple[str, Cell, str], ...]:
    """Return title, cell and reason of the leading imitator's axes, for the first screen."""
    lead = lead_imitator(results)
    if lead is None:
        return ()
    cells = {
        axis: verdicts.axis_cell(measured, verdicts.scale_of([lead], axis, results))
        for axis, measured in axes_of(lead).items()
        if axis != "capability_in_support"
    }
    reasons = {axis: axes_of(lead)[axis].get("reason") or "" for axis in cells}
    return tuple((AXES[axis], cell, reasons[axis]) for axis, cell in cells.items())


def write_figures(folder: Path, drawn: tuple[Figure, ...]) -> tuple[Path, ...]:
    """Write the figures and remove those that an earlier report left."""
    folder.mkdir(exist_ok=True)
    paths = tuple(folder / f"{figure.name}.svg" for figure in drawn)
    for stale in set(folder.glob("*.svg")) - set(paths):
        stale.unlink()
    for path, figure in zip(paths, drawn, strict=True):
        drawing = standalone(figure.svg, caption=figure.caption, description=figure.alt)
        path.write_text(drawing, encoding="utf-8")
    return paths


# --- HTML -----------------------------------------------------------------------------------------


def _html(report: Report, run: Run) -> str:
    names = ("browser.js", *(("spot.js",) if report.spot else ()))
    scripts = [read_script(name) for name in names]
    style = read_style("report.css")
    template = environment(is_html=True).get_template("report.html.j2")
    return template.render(
        report=report,
        style=style,
        scripts=scripts,
        policy=content_policy(style, scripts, may_ask=report.spot is not None),
        outputs_json=outputs.browser_json(run),
    )


def _breakable(name: str) -> Markup:
    """Return an arm's name, escaped, that may break after its base."""
    return Markup("/<wbr>").join(name.split("/"))


def _span_svg(span: Span) -> Markup:
    """Return an interval as a drawing for a table cell; the cell's text says the same."""
    width = span.scale_high - span.scale_low

    def at(value: float) -> float:
        return 4 + (SPAN_WIDTH - 8) * (value - span.scale_low) / width

    half, colours = SPAN_HEIGHT / 2, {name: pair[0] for name, pair in theme.COLOURS.items()}
    left, right, zero = at(-span.margin), at(span.margin), at(0)
    parts = [
        f'<rect x="{left:.1f}" width="{right - left:.1f}" height="{SPAN_HEIGHT}" '
        f'fill="{colours["line"]}" fill-opacity=".6"/>',
        f'<path d="M{zero:.1f},0V{SPAN_HEIGHT}" stroke="{colours["grey"]}"/>',
        f'<path d="M{at(span.low):.1f},{half}H{at(span.high):.1f}" stroke="{colours["ink"]}" '
        'stroke-width="2"/>',
        f'<circle cx="{at(span.value):.1f}" cy="{half}" r="3.2" fill="{colours["ink"]}"/>',
    ]
    if span.teacher is not None:
        x = at(span.teacher)
        parts.append(
            f'<path d="M{x:.1f},{half + 1}l3.5,6h-7Z" fill="{colours["muted"]}"/>',
        )
    return Markup(
        f'<svg class="span" viewBox="0 0 {SPAN_WIDTH} {SPAN_HEIGHT}" width="{SPAN_WIDTH}" '
        f'height="{SPAN_HEIGHT}" aria-hidden="true">{"".join(parts)}</svg>'
    )


# --- Markdown -------------------------------------------------------------------------------------


def _markdown(report: Report) -> str:
    return environment(is_html=False).get_template("report.md.j2").render(report=report)


def comparison_markdown(section: Section) -> str:
    """Return the tables that set several runs side by side, as Markdown."""
    return environment(is_html=False).get_template("comparison.md.j2").render(section=section)


def _escape_markdown(value: object) -> object:
    """Escape what a template prints, unless a filter has said that it is safe."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        value = value.replace(mark, entity)
    escaped = re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", value)
    return re.sub(r"\s*\n\s*", " ", escaped)


def _fenced(value: str) -> Markup:
    """Return text as a code block whose fence is longer than any within."""
    longest = max((len(run) for run in re.findall(r"`+", value)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}text\n{value}\n{fence}")


# --- both -----------------------------------------------------------------------------------------


@functools.cache
def environment(*, is_html: bool) -> jinja2.Environment:
    """Return what renders templates: as HTML it escapes all that is printed, as Markdown too."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=is_html,
        finalize=None if is_html else _escape_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "drawn": Markup,
        "fenced": _fenced,
        "attribute": Markup.escape,
        "span_svg": _span_svg,
        "count": numbers.count,
        "breakable": _breakable,
        "code_spans": _html_code_spans if is_html else _markdown_code_spans,
    }
    return environment


def _html_code_spans(value: str) -> Markup:
    """Return escaped text in which `words` between backticks are code."""
    escaped = str(Markup.escape(value))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))


def _markdown_code_spans(value: str) -> Markup:
    parts = re.split(r"`([^`]+)`", value)
    parts[::2] = [str(_escape_markdown(part)) for part in parts[::2]]
    parts[1::2] = [f"`{part}`" for part in parts[1::2]]
    return Markup("".join(parts))
