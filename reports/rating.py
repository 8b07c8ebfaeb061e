"""Pairs of answers -> `rate.html`, the blinded page on which people say which is better.

In: what raters may see, and nothing else. Out: one offline page that keeps what a rater says in the
browser's own storage and saves it as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jinja2

from reports.offline import TEMPLATES, content_policy, read_script, read_style, script_json

__all__ = ["rating_page"]


def rating_page(
    *, page_id: str, instructions: Sequence[str], pairs: Sequence[Mapping[str, str]]
) -> str:
    """Return the page.

    Args:
        page_id: Hash of its content, which every saved file names.
        instructions: Paragraphs that say what is judged.
        pairs: In the order in which they are shown: `id`, `prompt`, `a`, `b`.
    """
    style, script = read_style("rate.css"), read_script("rate.js")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("rate.html.j2").render(
        instructions=instructions,
        n_pairs=len(pairs),
        page_id=page_id,
        policy=content_policy(style, [script]),
        style=style,
        script=script,
        data=script_json({"page_id": page_id, "pairs": pairs}),
    )
