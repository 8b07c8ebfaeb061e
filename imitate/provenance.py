"""What a run was made of: enough to say, a year later, what was run and on what."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imitate.config import Config, ModelTeacher, ProbeJob, Section
from imitate.fingerprints import VLLM, data_digests
from imitate.hardware import detect_hardware
from imitate.models import resolve_model
from imitate.plan import Plan
from imitate.store import library_versions

__all__ = ["describe_probe", "describe_provenance", "describe_source", "shell_command"]

_VERSIONED = tuple(
    [
        "imitation-gap",
        "torch",
        "transformers",
        "trl",
        "peft",
        "accelerate",
        "datasets",
        "lm-eval",
        "tokenizers",
        "numpy",
        "scipy",
        "statsmodels",
        "scikit-learn",
        "datasketch",
        "pyarrow",
        "pandas",
    ]
)


def describe_provenance(
    plan: Plan, config_path: Path, overrides: Sequence[str], fingerprints: Mapping[str, str]
) -> dict[str, Any]:
    """Return the `provenance` part of `results.json`; it holds no clock and no path of a run."""
    config = plan.config
    made = _made(config, config_path, overrides, sorted(_VERSIONED))
    return made | {
        "versions": made["versions"] | _server_versions(config),
        "seeds": {
            "run": config.seed,
            "world": config.lab.world_seed,
            "training": {name: mix.seeds for name, mix in config.mixes.items()},
        },
        "models": _models(plan),
        "data": data_digests(plan),
        "fingerprints": dict(sorted(fingerprints.items())),
    }


def describe_probe(job: ProbeJob, config_path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the `provenance` part of a probe's `results.json`; it holds no clock and no path."""
    return _made(job, config_path, overrides, ("imitation-gap", "numpy", "scipy", "torch"))


def describe_source() -> dict[str, Any]:
    """Return which version of this project is at work; a commit where it runs from a repository."""
    commit, is_dirty = _commit()
    (version,) = library_versions(("imitation-gap",)).values()
    return {"version": version, "commit": commit, "is_dirty": is_dirty}


def _made(
    config: Section, config_path: Path, overrides: Sequence[str], distributions: Sequence[str]
) -> dict[str, Any]:
    commit, is_dirty = _commit()
    return {
        "command": shell_command("run", config_path, overrides),
        "config": config.model_dump(mode="json"),
        "commit": commit,
        "is_dirty": is_dirty,
        "versions": library_versions(distributions),
        "hardware": dataclasses.asdict(detect_hardware()),
    }


def _server_versions(config: Config) -> dict[str, str]:
    """Return what served the models, of the two distributions of vLLM the one that is there."""
    if config.serve.backend == "transformers":
        return {}
    versions = library_versions(VLLM)
    return {name: version for name, version in versions.items() if version != "absent"}


def shell_command(verb: str, config_path: Path, overrides: Sequence[str]) -> str:
    """Return what a user types for a verb with a config and its overrides."""
    sets = [word for override in overrides for word in ("--set", override)]
    return shlex.join(["imitate", verb, str(config_path), *sets])


def _models(plan: Plan) -> dict[str, str]:
    config = plan.config
    names = [base.model for base in config.bases if base.model]
    if isinstance(config.teacher, ModelTeacher):
        names.append(config.teacher.model)
    return {name: resolve_model(name, config.lab).identity for name in names}


def _commit() -> tuple[str | None, bool | None]:
    """Commit of the source tree and whether it has changes; None where there is no repository."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
