"""A config -> the arms that are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from enum import StrEnum

from imitate.config import (
    Config,
    MixConfig,
    OutputsTeacher,
    PublishedTeacher,
    RecordedOutputs,
)
from imitate.plan.cells import TEACHER

__all__ = [
    "Arm",
    "ArmKind",
    "group_of",
    "learning_rates",
    "list_arms",
    "recorded_outputs",
    "single_rate",
    "sweep_label",
    "teacher_answers",
]


class ArmKind(StrEnum):
    """What an arm is in the comparison."""

    BASE = "base"
    TEACHER = "teacher"
    IMITATOR = "imitator"
    SWEEP = "sweep"
    CONTROL = "control"


@dataclasses.dataclass(frozen=True)
class Arm:
    """One thing compared. `trained_by` is the cell that makes its adapter.

    An imitator that was trained elsewhere has its own name as its mix, and neither amount nor seed.
    """

    name: str
    kind: ArmKind
    base: str | None = None
    mix: str | None = None
    amount: int | None = None
    seed: int | None = None
    learning_rate: float | None = None
    control: str | None = None
    trained_by: str | None = None


def list_arms(config: Config) -> Iterator[Arm]:
    """Yield every arm of a config: the teacher, then each base with its controls and imitators."""
    if teacher_answers(config):
        yield Arm(TEACHER, ArmKind.TEACHER)
    for base in config.bases:
        yield Arm(base.name, ArmKind.BASE, base=base.name)
        for control in config.controls:
            if control == "style_prompt" and not (base.model and config.mixes):
                continue  # it asks the base, and shows it examples of a mix
            name = f"{base.name}+{control}"
            yield Arm(name, ArmKind.CONTROL, base=base.name, control=control)
        for name, mix in config.mixes.items():
            if mix.bases is None or base.name in mix.bases:
                yield from _mix_arms(config, base.name, name, mix)
        for name, imitator in config.imitators.items():
            if imitator.base == base.name:
                arm = f"{base.name}/{name}"
                yield Arm(arm, ArmKind.IMITATOR, base=base.name, mix=name)


def _mix_arms(config: Config, base: str, name: str, mix: MixConfig) -> Iterator[Arm]:
    for amount in mix.amounts:
        for seed in mix.seeds:
            label = f"{base}/{name}-{amount}-s{seed}"
            yield Arm(
                label,
                ArmKind.IMITATOR,
                base=base,
                mix=name,
                amount=amount,
                seed=seed,
                learning_rate=single_rate(config, mix),
                trained_by=f"train/{label}",
            )
    if single_rate(config, mix) is None and not mix.is_control and mix.evaluate_sweep:
        for rate in learning_rates(config, mix):
            label = sweep_label(base, name, mix, rate)
            yield Arm(
                label,
                ArmKind.SWEEP,
                base=base,
                mix=name,
                amount=max(mix.amounts),
                seed=mix.seeds[0],
                learning_rate=rate,
                trained_by=f"train/{label}",
            )


def recorded_outputs(config: Config, arm: Arm) -> RecordedOutputs | None:
    """Return the file of an arm that is known by its outputs alone; None of all others."""
    if arm.kind is ArmKind.TEACHER:
        return config.teacher if isinstance(config.teacher, OutputsTeacher) else None
    if arm.kind is ArmKind.BASE:
        return next(base.outputs for base in config.bases if base.name == arm.base)
    imitator = config.imitators.get(arm.mix or "")
    return imitator.outputs if imitator else None


def sweep_label(base: str, name: str, mix: MixConfig, rate: float) -> str:
    """Return the name of the arm at one of several learning rates."""
    return f"{base}/{name}-{max(mix.amounts)}-s{mix.seeds[0]}@{rate:g}"


def learning_rates(config: Config, mix: MixConfig) -> list[float]:
    """Return the learning rates of a mix, lowest first; a control takes its parent's."""
    if mix.learning_rate is None and mix.parent:
        return learning_rates(config, config.mixes[mix.parent])
    rate = mix.learning_rate or config.train.learning_rate
    return sorted(set(rate)) if isinstance(rate, list) else [rate]


def single_rate(config: Config, mix: MixConfig) -> float | None:
    """Return the learning rate of a mix, or None where it is chosen from several."""
    rates = learning_rates(config, mix)
    return rates[0] if len(rates) == 1 else None


def group_of(arm: Arm) -> str:
    """Return the base, or the teacher, that an arm runs on."""
    return arm.base or TEACHER


def teacher_answers(config: Config) -> bool:
    """Return whether the teacher has answers, and not published scores alone."""
    return not isinstance(config.teacher, PublishedTeacher)
