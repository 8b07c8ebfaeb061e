"""Cells that hold several networks, trained side by side, each found by its own key."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from imitate.store import Store

__all__ = ["find_members"]


def find_members(store: Store, stage: str, wanted: Collection[str]) -> dict[str, Path]:
    """Return the folders of the wanted networks that finished cells of a stage hold, by key."""
    found: dict[str, Path] = {}
    cells = store.root / "cells" / stage
    for manifest in sorted(cells.glob("*/cell.json")):
        try:
            members = json.loads(manifest.read_text(encoding="utf-8"))["about"]["members"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if manifest.parent.name.startswith("."):  # being written, or being removed
            continue
        new = [key for key in members if key in wanted and key not in found]
        if new and store.find(stage, manifest.parent.name):
            found |= {key: manifest.parent / key for key in new}
    return found
