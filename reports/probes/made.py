"""What made a probe's results: command, commit, machine, time."""

from __future__ import annotations

from typing import Any

from reports.numbers import number
from reports.text import plural

__all__ = ["made_by"]


def made_by(results: dict[str, Any]) -> str:
    """Return the command, commit, versions, machine and minutes behind results."""
    made = results["provenance"]
    hardware = made["hardware"]
    seconds = results["timing"]["total_s"]
    return (
        f"`{made['command']}`, commit {(made['commit'] or 'unknown')[:12]}, torch "
        f"{made['versions']['torch']}, {hardware['processor']}, "
        f"{plural(hardware['threads'], 'thread')}, {hardware['device']}; "
        f"{number(seconds / 60, 1)} minutes, less what was there already."
    )
