"""Cells that make adapters, and the one that chooses a learning rate."""

from __future__ import annotations

import random

from evals.records import Example, read_records
from imitate.models import resolve_model
from imitate.plan import Cell
from imitate.stages.workplace import Workplace, read_json, write_json

__all__ = ["split_halves", "write_adapter", "write_choice"]


def write_adapter(cell: Cell, place: Workplace) -> None:
    """Train the adapter of one cell, going on where an interrupted training stopped."""
    from imitate.train import TrainJob, train_adapter

    config = place.plan.config
    base = next(base for base in config.bases if base.name == cell.group)
    data = place.input(cell.inputs[0])
    train = read_records(data / "train.parquet", Example)[: cell.params["amount"]]
    if cell.params["half"] is not None:
        train = split_halves(train, seed=config.seed)[cell.params["half"]]
    job = TrainJob(
        model=resolve_model(base.model, config.lab),
        chat_template=base.chat_template,
        train=train,
        held_out=read_records(data / "held_out.parquet", Example),
        config=config.train,
        learning_rate=cell.params["learning_rate"],
        seed=cell.params["seed"],
        output=place.folder / "adapter",
        work=place.work,
    )
    result = train_adapter(job, progress=place.report)
    write_json(place.folder / "training.json", result.as_json())
    write_json(place.folder / "timing.json", {"tokens_per_s": result.tokens_per_s})


def write_choice(cell: Cell, place: Workplace) -> None:
    """Choose the learning rate with the lowest loss on held-out teacher responses.

    Of equal losses the lower rate wins, which changes the base less.
    """
    points = []
    for name in cell.inputs:
        rate = place.plan.by_name[name].params["learning_rate"]
        loss = read_json(place.input(name) / "training.json")["held_out_loss"]
        points.append({"learning_rate": rate, "held_out_loss": loss, "cell": name})
    best = min(points, key=lambda point: (point["held_out_loss"], point["learning_rate"]))
    write_json(
        place.folder / "choice.json", {"learning_rate": best["learning_rate"], "points": points}
    )


def split_halves(examples: list[Example], *, seed: int) -> tuple[list[Example], list[Example]]:
    """Return two random halves of examples; an odd one goes to the second."""
    order = list(range(len(examples)))
    random.Random(f"halves {seed}").shuffle(order)
    middle = len(order) // 2
    first, second = sorted(order[:middle]), sorted(order[middle:])
    return [examples[i] for i in first], [examples[i] for i in second]
