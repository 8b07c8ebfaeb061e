"""What makes a page self-contained: its style, its scripts, and the policy that allows no more.

A page of ours loads nothing and runs named scripts only, by their hash; trusted types are off, so
that even those cannot turn text into markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from reports import theme

__all__ = ["TEMPLATES", "content_policy", "read_script", "read_style", "script_json"]

TEMPLATES = Path(__file__).parent / "templates"


def read_script(name: str) -> Markup:
    """Return one of our scripts."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def read_style(name: str) -> Markup:
    """Return one of our style sheets, with the theme's colours in it."""
    sheet = (TEMPLATES / name).read_text(encoding="utf-8")
    parts = {
        "/* LIGHT */": theme.page_variables(is_dark=False),
        "/* DARK */": theme.page_variables(is_dark=True),
        "/* DARK DRAWINGS */": theme.dark_rules("svg "),
    }
    for mark, rules in parts.items():
        sheet = sheet.replace(mark, rules)
    return Markup(sheet)


def content_policy(style: str, scripts: Sequence[str], *, may_ask: bool = False) -> str:
    """Return a policy under which nothing loads and only these elements count.

    A page that may ask reaches the servers of this machine, and nobody else.
    """
    asked = {"connect-src": "'self' http://127.0.0.1:*"} if may_ask else {}
    rules = {
        "default-src": "'none'",
        **asked,
        "script-src": " ".join(map(_hash, scripts)),
        "style-src": _hash(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def script_json(value: Any) -> Markup:
    """Return JSON that cannot end the element it stands in, nor open another."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
