"""A probe's results -> `report.html`, `report.md` and its figures.

What a probe found is words, tables and drawings, built once by its own module and rendered here.
Everything in a run is data: the page escapes it, loads nothing, and runs one script of ours at
most, by its hash.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.errors import DataError, RecordError
from reports.offline import content_policy, read_script, read_style, script_json
from reports.probes.capacity.contents import capacity_page
from reports.probes.grokking.contents import grokking_page
from reports.probes.traces.contents import traces_page
from reports.render import environment, write_figures

__all__ = ["is_probe", "write_probe"]

_PAGES = {
    "grokking": (grokking_page, 1),
    "capacity": (capacity_page, 1),
    "traces": (traces_page, 2),
}
"""By probe: what draws its page, and the schema version of the results that this reads."""


def is_probe(folder: Path) -> bool:
    """Return whether a run's results are those of a probe.

    Raises:
        DataError: The folder holds no readable results.
    """
    return "probe" in _read(folder)


def write_probe(folder: Path, *, out_dir: Path | None = None) -> Path:
    """Write the report of a finished probe and return its page.

    Args:
        folder: The run.
        out_dir: Where the report goes; into the run where empty.

    Raises:
        DataError: The folder holds no readable results of a probe that there is.
        RecordError: They have another schema version.
    """
    results = _read(folder)
    if results.get("probe") not in _PAGES:
        raise DataError(f"`{folder}` holds no probe that there is: {results.get('probe')!r}")
    draw, version = _PAGES[results["probe"]]
    if results.get("schema_version") != version:
        raise RecordError(
            f"`{folder}` has results of schema {results.get('schema_version')}, not {version}",
            hint="run the probe again: what is trained already is not trained anew",
        )
    page = draw(results)
    out = out_dir or folder
    out.mkdir(parents=True, exist_ok=True)
    html, markdown = out / "report.html", out / "report.md"
    style = read_style("report.css")
    script = read_script(page.slider.script) if page.slider else None
    told = environment(is_html=True).get_template("probe.html.j2")
    html.write_text(
        told.render(
            page=page,
            style=style,
            policy=content_policy(style, [script] if script else []),
            script=script,
            slider_json=script_json(page.slider.data if page.slider else None),
        ),
        encoding="utf-8",
    )
    template = environment(is_html=False).get_template("probe.md.j2")
    markdown.write_text(template.render(page=page), encoding="utf-8")
    below = (figure for section in page.sections for figure in section.figures)
    write_figures(out / "figures", (*page.first, *below))
    return html


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"no readable results in `{folder}`: {error}") from None
    return found
