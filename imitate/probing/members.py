"""Cells that hold several networks, trained side by side, each found by its own key."""

from __future__ import annotations

import json
from pathlib import Path

from imitate.store import Store

__all__ = ["find_members"]


def find_members(store: Store, stage: str) -> dict[str, Path]:
    """Return the folder of every network that a finished cell of a stage holds, by its key."""
    found: dict[str, Path] = {}
    cells = store.root / "cells" / stage
    for manifest in sorted(cells.glob("*/cell.json")):
        try:
            members = json.loads(manifest.read_text(encoding="utf-8"))["about"]["members"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if manifest.parent.name.startswith("."):  # being written, or being removed
            continue
        if any(key not in found for key in members) and store.find(stage, manifest.parent.name):
            for key in members:
                found.setdefault(key, manifest.parent / key)
    return found
