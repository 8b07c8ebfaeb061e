"""Cells that train adapters, choose a learning rate, and measure what two halves hold by rote."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evals.records import Axis, Format
from imitate.config import Config, MixConfig
from imitate.plan.arms import Arm, learning_rates, single_rate, sweep_label
from imitate.plan.cells import (
    TEACHER,
    Cell,
    Stage,
    all_items,
    base_config,
    dump,
    source_files,
    template_files,
)

__all__ = [
    "N_PROVED",
    "memorise_cells",
    "prove_cells",
    "reference_cells",
    "train_cells",
    "used_adapters",
]

N_PROVED = 4
"""Examples on which an adapter is proved to act, and a server to run it as PEFT does."""


def train_cells(config: Config, base: str) -> Iterator[Cell]:
    """Yield the cells that train a base's adapters and choose its learning rates."""
    ordered = sorted(config.mixes.items(), key=lambda pair: pair[1].is_control)
    for name, mix in ordered:
        if base == TEACHER or (mix.bases is not None and base not in mix.bases):
            continue
        if single_rate(config, mix) is None and not mix.is_control:
            yield from _sweep_cells(config, base, name, mix)
        for amount in mix.amounts:
            for seed in mix.seeds:
                label = f"train/{base}/{name}-{amount}-s{seed}"
                yield _train_cell(config, base, name, label, amount=amount, seed=seed)
        if is_memorised(config, base, mix):
            yield from _half_cells(config, base, name, mix)


def _sweep_cells(config: Config, base: str, name: str, mix: MixConfig) -> Iterator[Cell]:
    points = []
    for rate in learning_rates(config, mix):
        label = f"train/{sweep_label(base, name, mix, rate)}"
        amount, seed = max(mix.amounts), mix.seeds[0]
        yield _train_cell(config, base, name, label, amount=amount, seed=seed, rate=rate)
        points.append(label)
    yield Cell(
        Stage.CHOOSE,
        f"choose/{base}/{name}",
        params={"rule": "lowest held-out loss"},
        inputs=tuple(points),
    )


def _train_cell(
    config: Config,
    base: str,
    mix_name: str,
    label: str,
    *,
    amount: int,
    seed: int,
    rate: float | None = None,
    half: int | None = None,
) -> Cell:
    train = dump(config.train, "learning_rate", "report_to")
    mix = config.mixes[mix_name]
    rate = rate if rate is not None else single_rate(config, mix)
    rule = f"choose/{base}/{mix.parent or mix_name}"
    params = {
        "train": train,
        "learning_rate": rate,
        "amount": amount,
        "seed": seed,
        "half": half,
    }
    return Cell(
        Stage.TRAIN,
        label,
        base,
        params,
        inputs=(f"data/{mix_name}",),
        models=(base_config(config, base).checkpoint,),
        files=template_files(config, base),
        examples=amount,
        chosen_by=rule if rate is None else None,
        tokens=amount * config.train.epochs * min(config.train.max_length // 2, 250),
    )


def _half_cells(config: Config, base: str, name: str, mix: MixConfig) -> Iterator[Cell]:
    for amount in memorised_amounts(config, mix):
        for half, label in enumerate(_halves(base, name, amount)):
            yield _train_cell(
                config, base, name, label, amount=amount, seed=mix.seeds[0], half=half
            )


def memorise_cells(config: Config, base: str) -> Iterator[Cell]:
    """Yield the cells that measure what adapters of two halves hold by rote."""
    for name, mix in config.mixes.items():
        if base == TEACHER or not is_memorised(config, base, mix):
            continue
        for amount in memorised_amounts(config, mix):
            params = {
                "amount": amount,
                "seed": config.seed,
                "serve": config.serve.deciding,
            }
            yield Cell(
                Stage.MEMORISE,
                f"memorise/{base}/{name}-{amount}",
                base,
                params,
                inputs=(f"data/{name}", *_halves(base, name, amount), *all_items(config)),
                models=(base_config(config, base).checkpoint,),
                files=template_files(config, base),
                examples=amount,
                tokens=3 * amount * 120,
            )


def used_adapters(config: Config, base: str, arms: Iterable[Arm]) -> dict[str, str]:
    """Return the mix of each adapter of a base that is measured, by the cell that trains it."""
    used = {arm.trained_by: str(arm.mix) for arm in arms if arm.trained_by}
    for name, mix in config.mixes.items():
        if base != TEACHER and is_memorised(config, base, mix):
            for amount in memorised_amounts(config, mix):
                used |= dict.fromkeys(_halves(base, name, amount), name)
    return used


def reference_cells(config: Config, base: str, adapters: Mapping[str, str]) -> Iterator[Cell]:
    """Yield the cells that say how adapters act in PEFT, where a server is to be held to it.

    lm-eval's own model scores the first adapter, and the base, beside it.
    """
    tasks = config.tasks
    task = next((t for t in tasks if t.axis is Axis.CAPABILITY and Format.PLAIN in t.formats), None)
    for number, (trained_by, mix) in enumerate(adapters.items()):
        if config.serve.backend == "transformers":
            return
        scored = task.name if task and number == 0 else None
        params = {"dtype": config.serve.dtype, "seed": config.seed, "scored": scored}
        inputs = (f"data/{mix}", trained_by, *((f"items/{scored}",) if scored else ()))
        cell = _on_adapter(config, base, Stage.REFERENCE, trained_by, params, inputs)
        source = source_files(task.source) if task and scored else ()
        yield dataclasses.replace(cell, files=(*cell.files, *source))


def prove_cells(config: Config, base: str, adapters: Mapping[str, str]) -> Iterator[Cell]:
    """Yield the cells that prove, before anything is measured, that a base's adapters act."""
    for trained_by, mix in adapters.items():
        inputs: tuple[str, ...] = (f"data/{mix}", trained_by)
        if config.serve.backend != "transformers":
            inputs += (trained_by.replace("train/", "reference/", 1),)
        params = {"serve": config.serve.deciding}
        yield _on_adapter(config, base, Stage.PROVE, trained_by, params, inputs)


def _on_adapter(
    config: Config,
    base: str,
    stage: Stage,
    trained_by: str,
    params: dict[str, Any],
    inputs: tuple[str, ...],
) -> Cell:
    """Return a cell that looks at one adapter through a few examples of what it was trained on."""
    return Cell(
        stage,
        trained_by.replace("train", stage.value, 1),
        base,
        params,
        inputs=inputs,
        models=(base_config(config, base).checkpoint,),
        files=template_files(config, base),
        examples=N_PROVED,
        adapter=trained_by,
        tokens=3 * 250 * N_PROVED,
    )


def _halves(base: str, name: str, amount: int) -> tuple[str, str]:
    label = f"train/{base}/{name}-{amount}-half"
    return f"{label}0", f"{label}1"


def is_memorised(config: Config, base: str, mix: MixConfig) -> bool:
    is_trained = mix.bases is None or base in mix.bases
    return config.memorisation.enabled and is_trained and not (mix.is_control or mix.is_planted)


def memorised_amounts(config: Config, mix: MixConfig) -> list[int]:
    most = max(mix.amounts)
    return sorted({min(amount, most) for amount in config.memorisation.amounts or [most]})
