"""A run's folder, or a config -> its arms: those that can be asked, and why the others cannot.

What a finished run trained is found by the fingerprints in its `results.json`, so it can be asked
long after, with a newer version or on another machine; of a run that is not finished, what is there
counts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.errors import UserError
from imitate.config import Config, EndpointTeacher, ModelTeacher
from imitate.configfile import load_config
from imitate.plan import Arm, ArmKind, Plan, Stage, build_plan
from imitate.plan.arms import recorded_outputs
from imitate.run import find_finished
from imitate.store import FinishedCell, Store

__all__ = ["ServedRun", "kind_of", "read_served_run"]

_CONTROLS = {
    "null": "a constant text: no model is behind it",
    "length_padded": "made from the answers of others: no model is behind it",
    "style_prompt": "its base with an instruction before the prompt: ask the base so",
}


@dataclasses.dataclass(frozen=True)
class ServedRun:
    """A run as it can be asked. `trained` holds finished cells by name, all adapters among them."""

    folder: Path
    plan: Plan
    trained: Mapping[str, FinishedCell]

    @property
    def config(self) -> Config:
        """The run's config."""
        return self.plan.config

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms with a model at hand: the bases and what was trained on them, then the teacher."""
        able = [arm for arm in self.plan.arms if self.why_not(arm) is None]
        return tuple(sorted(able, key=lambda arm: arm.kind is ArmKind.TEACHER))

    @property
    def left_out(self) -> dict[str, str]:
        """Arms that cannot be asked, and why."""
        reasons = {arm.name: self.why_not(arm) for arm in self.plan.arms}
        return {name: reason for name, reason in reasons.items() if reason}

    def adapters(self, base: str) -> dict[str, Path]:
        """Return the folders of a base's adapters, by arm."""
        return {
            arm.name: self.trained[arm.trained_by].folder / "adapter"
            for arm in self.arms
            if arm.base == base and arm.trained_by
        }

    def why_not(self, arm: Arm) -> str | None:
        """Return why an arm has no model that could be asked, None where it has one."""
        teacher = self.config.teacher
        if arm.kind is ArmKind.TEACHER and not isinstance(teacher, ModelTeacher | EndpointTeacher):
            return f"a teacher of kind `{teacher.kind}` has no model here"
        if arm.control:
            return _CONTROLS[arm.control]
        if recorded_outputs(self.config, arm):
            return "known by recorded outputs alone: no model is here"
        if arm.trained_by and arm.trained_by not in self.trained:
            return "its adapter is not there: `imitate run` trains what is missing"
        return None


def kind_of(config: Config, arm: Arm) -> str:
    """Return what an arm is to a reader: base, imitator, control, planted, sweep or teacher."""
    mix = config.mixes.get(arm.mix or "")
    if mix and mix.is_control:
        return "control"
    if mix and mix.is_planted:
        return "planted"
    return arm.kind.value


def read_served_run(path: Path, overrides: Sequence[str] = (), *, runs: Path) -> ServedRun:
    """Return the run of a folder, or of a config file whose runs lie in `runs`.

    Raises:
        UserError: There is neither, or what it reads is gone.
    """
    if path.is_dir():
        config_path, folder = path / "config.yaml", path
        if not config_path.is_file():
            raise UserError(f"no run in `{path}`", hint="give the folder of a run, or a config")
        if overrides:
            raise UserError("`--set` goes with a config, not with a run that has its own")
        plan = build_plan(load_config(config_path))
        return ServedRun(folder, plan, _trained(plan, folder, _recorded_fingerprints(folder)))
    config = load_config(path, overrides)
    plan, folder = build_plan(config), runs / config.name
    return ServedRun(folder, plan, _trained(plan, folder, {}))


def _trained(plan: Plan, folder: Path, recorded: Mapping[str, str]) -> dict[str, FinishedCell]:
    """Return the training cells that are finished, by name."""
    store = Store(folder.resolve().parent / ".store")
    if not store.root.is_dir():
        return {}
    if not recorded:
        return find_finished(plan, store)
    names = [cell.name for cell in plan.cells if cell.stage is Stage.TRAIN]
    found = {name: store.find(Stage.TRAIN, recorded[name]) for name in names if name in recorded}
    return {name: cell for name, cell in found.items() if cell}


def _recorded_fingerprints(folder: Path) -> dict[str, str]:
    path = folder / "results.json"
    if not path.is_file():
        return {}
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return dict(results.get("provenance", {}).get("fingerprints", {}))
