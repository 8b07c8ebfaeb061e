"""Cells that make adapters, and the one that chooses a learning rate."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from evals.endpoint import Endpoint
from evals.errors import DataError, ModelError
from evals.records import Example, read_records
from imitate.jsonio import plain, read_json, write_json
from imitate.models import resolve_model
from imitate.plan import Cell
from imitate.stages.workplace import Workplace

if TYPE_CHECKING:
    from imitate.train import TrainProgress

__all__ = ["response_pair", "split_halves", "write_adapter", "write_choice"]


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
        ref=resolve_model(base.checkpoint, config.lab),
        examples=tuple(train),
        held_out=tuple(read_records(data / "held_out.parquet", Example)),
        settings=config.train,
        learning_rate=cell.params["learning_rate"],
        seed=cell.params["seed"],
        work_dir=place.work,
        output_dir=place.folder / "adapter",
        chat_template=base.chat_template,
        name=f"{config.name} imitator",
    )
    result = train_adapter(job, progress=_reporter(place))
    # PEFT writes the layers in the order of a set, which differs from process to process.
    settings = read_json(job.output_dir / "adapter_config.json")
    settings["target_modules"] = sorted(settings["target_modules"])
    write_json(job.output_dir / "adapter_config.json", settings)
    # Speeds differ from run to run, so they lie apart from what decides the next cells.
    record = read_json(job.output_dir / "training.json")
    write_json(place.folder / "timing.json", record.pop("timing"))
    write_json(job.output_dir / "training.json", record)
    write_json(
        place.folder / "training.json",
        {
            "learning_rate": job.learning_rate,
            "n_examples": len(train),
            "steps": result.steps,
            "tokens": result.tokens,
            "train_loss": result.train_loss,
            "held_out_loss": plain(result.held_out_loss),
            "held_out_loss_before": plain(result.held_out_loss_before),
        },
    )


def _reporter(place: Workplace) -> Callable[[TrainProgress], None]:
    """Return a callback that shows step, loss and speed."""
    shown = 0

    def report(now: TrainProgress) -> None:
        nonlocal shown
        note = f"loss {now.loss:.3f}, {now.tokens_per_s:,.0f} tokens/s"
        place.report(now.step - shown, now.n_steps, note)
        shown = now.step

    return report


def write_choice(cell: Cell, place: Workplace) -> None:
    """Choose the learning rate with the lowest loss on held-out teacher responses.

    Of equal losses the lower rate wins, which changes the base less.
    """
    points = []
    for name in cell.inputs:
        rate = place.plan.by_name[name].params["learning_rate"]
        loss = read_json(place.input(name) / "training.json")["held_out_loss"]
        points.append({"learning_rate": rate, "held_out_loss": loss})
    if any(point["held_out_loss"] is None for point in points):
        raise DataError(
            f"no held-out responses to choose the learning rate of `{cell.name}` by",
            hint="give one `train.learning_rate`, or raise `data.held_out`",
        )
    best = min(points, key=lambda point: (point["held_out_loss"], point["learning_rate"]))
    write_json(
        place.folder / "choice.json", {"learning_rate": best["learning_rate"], "points": points}
    )


def response_pair(endpoint: Endpoint, example: Example) -> tuple[str, str]:
    """Return prompt and response as an adapter was trained on them.

    Raises:
        ModelError: The chat template does not begin the whole chat as it renders the prompt.
    """
    if not example.prompt:
        return "", example.response
    user = {"role": "user", "content": example.prompt}
    context = endpoint.render_chat([user])
    whole = endpoint.render_chat([user, {"role": "assistant", "content": example.response}])
    if not whole.startswith(context):
        raise ModelError(
            f"the chat of example `{example.example_id}` does not begin with the prompt as it is "
            f"asked: {context[-60:]!r} does not end the beginning of {whole[:200]!r}",
            hint="use a chat template that renders the prompt the same with and without an answer",
        )
    return context, whole[len(context) :]


def split_halves(examples: list[Example], *, seed: int) -> tuple[list[Example], list[Example]]:
    """Return two random halves of examples; an odd one goes to the second."""
    order = list(range(len(examples)))
    random.Random(f"halves {seed}").shuffle(order)
    middle = len(order) // 2
    first, second = sorted(order[:middle]), sorted(order[middle:])
    return [examples[i] for i in first], [examples[i] for i in second]
