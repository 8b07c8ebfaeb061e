"""The folder of a run: who may write it, what lies in it, what was there before.

RUNS/NAME/config.yaml, plan.json       what will be done and how it is judged, before any result
RUNS/NAME/results.json, outputs.json, records/, report.html, report.md, figures/
RUNS/NAME/previous/                    the same of the run before, until there are new results
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from evals.errors import UserError
from imitate.config import Config, Section
from imitate.jsonio import write_json
from imitate.plan import Plan

__all__ = [
    "check_finished",
    "claimed",
    "forget_previous",
    "set_aside",
    "write_config",
    "write_plan",
]

PREVIOUS = "previous"
_RUN_FILES = (
    "results.json",
    "outputs.json",
    "records",
    "report.html",
    "report.md",
    "figures",
    "config.yaml",
    "plan.json",
)
"""All that a run writes into its folder, results first: half moved, they are no run any more."""


@contextlib.contextmanager
def claimed(folder: Path, kind: str) -> Iterator[None]:
    """Hold a folder, which only one process and one kind of job may write.

    Args:
        folder: Where the job writes.
        kind: What the folder is of: "run", "probe", "distillation", "judge card" or "model".

    Raises:
        UserError: Another process holds it, or another kind of job wrote it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another process is at work in `{folder}`",
            hint="wait for it, or take another folder: --name for a run, --out for a model",
        ) from None
    try:
        _keep_kind(folder, kind)
        yield
    finally:
        lock.release()


def _keep_kind(folder: Path, kind: str) -> None:
    """Note what kind of job writes a folder; refuse another than the one that did."""
    note = folder / ".kind"
    if note.is_file():
        before = note.read_text(encoding="utf-8").strip()
    else:
        before = "run" if (folder / "plan.json").exists() else kind
    if before != kind:
        raise UserError(
            f"`{folder}` is the folder of a {before}, not of a {kind}",
            hint="give the job another `name`",
        )
    note.write_text(f"{kind}\n", encoding="utf-8")


def set_aside(folder: Path) -> None:
    """Move the files of the run before out of the way: what lies beside a config must be its own.

    They lie in `previous/` until this run has results of its own.
    """
    if not (folder / "results.json").is_file():
        return
    old = folder / PREVIOUS
    shutil.rmtree(old, ignore_errors=True)
    old.mkdir()
    for name in _RUN_FILES:
        if (folder / name).exists():
            (folder / name).replace(old / name)


def forget_previous(folder: Path) -> None:
    """Remove what `set_aside` had put away."""
    shutil.rmtree(folder / PREVIOUS, ignore_errors=True)


def write_plan(folder: Path, config: Config, plan: Plan) -> None:
    """Write what will be done, and by which rule it will be judged, before any result."""
    write_config(folder, config)
    cells = [{"cell": c.name, "group": c.group, "inputs": c.inputs} for c in plan.cells]
    rule = config.analysis.model_dump(mode="json")
    write_json(
        folder / "plan.json",
        {
            "rule": rule | {"learning_rate": "lowest loss on held-out teacher responses"},
            "in_support_of": {task.name: task.in_support_of for task in config.tasks},
            "arms": [arm.name for arm in plan.arms],
            "cells": cells,
        },
    )


def write_config(folder: Path, config: Section) -> None:
    """Write a config as it was resolved, every default filled in."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def check_finished(folder: Path) -> None:
    """Raise where there is no finished run.

    Raises:
        UserError: The folder has no results.
    """
    if not (folder / "results.json").is_file():
        raise UserError(f"no results in `{folder}`", hint="give the folder of a finished run")
