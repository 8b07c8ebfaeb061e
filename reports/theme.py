"""Colours, in light and dark, and the style sheet that swaps them.

Charts are drawn in the light colours. The same style rules, by attribute (`[fill="#0072b2"]`),
turn them dark in the page and in a figure's own file, so one drawing serves both and stays a plain
SVG for any other program. The hues are Okabe and Ito's, told apart with any colour vision; the dark
ones are lightened copies. Source: Okabe and Ito, Color Universal Design, 2002.
"""

from __future__ import annotations

__all__ = ["COLOURS", "PAGE", "SERIES", "TONES", "dark_rules", "light", "page_variables"]

COLOURS = {
    "ink": ("#1b1f24", "#e6e9ed"),
    "muted": ("#59636e", "#a3acb8"),
    "line": ("#d4d9e0", "#3a424d"),
    "band": ("#eceff3", "#262d36"),
    "paper": ("#fefefe", "#14181d"),
    "blue": ("#0072b2", "#5bb4f0"),
    "vermillion": ("#d55e00", "#ff8c42"),
    "green": ("#009e73", "#2fcf9f"),
    "purple": ("#b05a8a", "#e79bc8"),
    "orange": ("#b87a00", "#f2bd3f"),
    "grey": ("#8a939e", "#8b95a1"),
}
"""Name to its light and its dark colour. Marks reach 3:1 against the paper, text 4.5:1."""

SERIES = ("blue", "vermillion", "green", "purple", "orange")
"""Colours of the bases, in their order."""

TONES = {
    "closed": "blue",
    "gain": "green",
    "no gain": "muted",
    "loss": "vermillion",
    "uninformative": "muted",
    "unresolved": "orange",
    "refused": "muted",
}
"""Decision of an axis to its colour; the page always prints the word as well."""

PAGE = {
    "surface": ("#f5f7f9", "#1c2127"),
    "accent": ("#005a8e", "#7cc4f5"),
    "green-text": ("#007556", "#2fcf9f"),
    "vermillion-text": ("#b34e00", "#ff8c42"),
    "orange-text": ("#875a00", "#f2bd3f"),
}
"""Further colours of the page, which no drawing uses; those for text are darker."""


def light(name: str) -> str:
    """Return the colour that drawings are made in."""
    return COLOURS[name][0]


def dark_rules(scope: str = "") -> str:
    """Return rules that turn drawings dark, for use inside a media query."""
    rules = []
    for bright, dim in COLOURS.values():
        for attribute in ("fill", "stroke"):
            rules.append(f'{scope}[{attribute}="{bright}"]{{{attribute}:{dim}}}')
    return "\n".join(rules)


def page_variables(*, is_dark: bool) -> str:
    """Return the custom properties of the page, one line each."""
    named = {**COLOURS, **PAGE}
    return "\n".join(f"--{name}: {pair[is_dark]};" for name, pair in named.items())
