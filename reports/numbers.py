"""Numbers as the report prints them; a missing number is a dash.

Scores come as shares in [0, 1]; differences print in points, which are hundredths of a score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = [
    "count",
    "duration",
    "number",
    "p_value",
    "percent",
    "points",
    "points_interval",
    "ratio_interval",
    "share_interval",
]

MISSING = "–"
MINUS = "\N{MINUS SIGN}"


def _fixed(value: float, digits: int, *, is_signed: bool = False) -> str:
    rounded = round(value, digits) + 0.0  # no negative zero
    sign = MINUS if rounded < 0 else "+" if is_signed and rounded > 0 else ""
    return f"{sign}{abs(rounded):,.{digits}f}"


def _is_missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def number(value: float | None, digits: int = 2) -> str:
    """Return a plain number, `1,234.50`."""
    return MISSING if value is None or _is_missing(value) else _fixed(value, digits)


def p_value(value: float | None) -> str:
    """Return a p-value, `0.031` or `< 0.001`."""
    return "< 0.001" if value is not None and value < 0.001 else number(value, 3)


def count(value: float | None) -> str:
    """Return a whole number, `1,234`."""
    return number(value, 0)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share in percent, `46.0 %`."""
    if value is None or _is_missing(value):
        return MISSING
    return f"{_fixed(100 * value, digits)}\N{NO-BREAK SPACE}%"


def points(value: float | None, digits: int = 1) -> str:
    """Return a difference of shares in points with its sign, `+4.2`."""
    if value is None or _is_missing(value):
        return MISSING
    return _fixed(100 * value, digits, is_signed=True)


def _interval(bounds: Sequence[float] | None, scale: float, digits: int) -> str:
    if not bounds or any(_is_missing(bound) for bound in bounds):
        return ""
    low, high = (_fixed(scale * bound, digits) for bound in bounds)
    return f"[{low}, {high}]"


def points_interval(bounds: Sequence[float] | None, digits: int = 1) -> str:
    """Return an interval of a difference in points, or nothing where there is none."""
    return _interval(bounds, 100, digits)


def share_interval(bounds: Sequence[float] | None, digits: int = 1) -> str:
    """Return an interval of a share in percent, without the sign of it."""
    return _interval(bounds, 100, digits)


def ratio_interval(bounds: Sequence[float] | None, digits: int = 2) -> str:
    """Return an interval of a plain number."""
    return _interval(bounds, 1, digits)


def duration(seconds: float | None) -> str:
    """Return a time as a reader would say it, `8 min 32 s`."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{_fixed(seconds, 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
