"""Values to JSON files and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["plain", "read_json", "write_json"]


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: NaN and infinities are None."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """Return the value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any, *, is_for_people: bool = False) -> None:
    """Write a value as JSON, whole or not at all.

    For programs keys are sorted, so that equal values are equal bytes; for people they stay in
    their order, and letters of any script as they are.
    """
    order = {"sort_keys": not is_for_people, "ensure_ascii": not is_for_people}
    partial = path.with_suffix(".partial")
    text = json.dumps(value, indent=1, allow_nan=False, **order)  # type: ignore[arg-type]
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)
