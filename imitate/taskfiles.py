"""A task file of lm-eval -> every file that decides its items, for fingerprints.

lm-eval itself is not asked: importing it takes seconds, and `imitate check` reads fingerprints.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

__all__ = ["files_read", "is_task_file"]


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `!function module.name` is text."""


_Loader.add_constructor("!function", lambda loader, node: f"!function {node.value}")


def is_task_file(path: Path) -> bool:
    """Return whether a path names a task file rather than data."""
    return path.suffix in {".yaml", ".yml"}


def files_read(path: Path) -> list[Path]:
    """Return a file and, of a task file, all that it reads, in an order that its content decides.

    Followed are `include`, the members of a group (any task file beside it or below), the code
    beside a file that has `!function`, and local data: `dataset_path`, `data_files`, `data_dir`.
    """
    found: list[Path] = []
    waiting = [path]
    while waiting:
        here = waiting.pop(0)
        if here not in found:
            found.append(here)
            waiting += _named_in(here) if is_task_file(here) else []
    return found


def _named_in(path: Path) -> list[Path]:
    try:
        text = path.read_text(encoding="utf-8")
        config = yaml.load(text, Loader=_Loader)
    except (OSError, ValueError, yaml.YAMLError):
        return []  # whoever loads the task tells what is wrong with it
    if not isinstance(config, dict):
        return []
    named = [path.parent / name for name in _texts(config.get("include"))]
    if "!function" in text:
        named += sorted(path.parent.rglob("*.py"))
    if "group" in config or isinstance(config.get("task"), list):
        named += sorted(file for file in path.parent.rglob("*") if is_task_file(file))
    options = config.get("dataset_kwargs")
    options = options if isinstance(options, dict) else {}
    for name in _texts(
        [config.get("dataset_path"), options.get("data_dir"), options.get("data_files")]
    ):
        named += _local_files(name)
    return named


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _local_files(name: str) -> list[Path]:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return sorted(file for file in folder.rglob("*") if file.is_file())
    return [Path(file) for file in sorted(glob.glob(str(folder))) if Path(file).is_file()]
