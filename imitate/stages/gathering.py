"""Cells before any training: evaluation items, the teacher's answers, imitation examples."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from evals.endpoint import Progress
from evals.records import Axis, Example, Item, read_records, write_records
from imitate.config import (
    DocumentsSource,
    FileItems,
    FileSource,
    HubSource,
    LabItems,
    LabSource,
    MixConfig,
    OracleTeacher,
)
from imitate.hub import pin_source
from imitate.jsonio import write_json
from imitate.plan import Cell
from imitate.stages.workplace import Workplace

if TYPE_CHECKING:
    from imitate.data import SourceCard

__all__ = ["write_distilled", "write_examples", "write_items"]


def write_items(cell: Cell, place: Workplace) -> None:
    """Write a task's items: those that score, then development items."""
    task = place.plan.task(cell.params["task"])
    seed, config = place.plan.config.seed, place.plan.config
    items: list[Item]
    if isinstance(task.source, LabItems):
        from imitate.lab.items import lab_items
        from imitate.lab.world import make_world

        drawn = lab_items(
            make_world(config.lab.world_seed),
            task.source.task,
            n_items=task.n_items,
            n_development=task.n_development,
            seed=seed,
        )
        items = [_as_task(item, task.name, task.axis) for item in drawn]
    elif isinstance(task.source, FileItems):
        from imitate.data import read_items

        items = read_items(
            task.source,
            task=task.name,
            axis=task.axis,
            n_items=task.n_items,
            n_development=task.n_development,
            seed=seed,
        )
    else:
        from evals.capability import lm_eval_items

        items = lm_eval_items(
            task.source.task,
            name=task.name,
            axis=task.axis,
            n_items=task.n_items,
            n_development=task.n_development,
            cluster_field=task.source.cluster_field,
        )
    write_records(place.folder / "items.parquet", items, Item)


def _as_task(item: Item, name: str, axis: Axis) -> Item:
    """Return an item under its task's name, also in its id: two tasks may ask the same."""
    item_id = item.item_id if item.task == name else f"{name}/{item.item_id}"
    return dataclasses.replace(item, item_id=item_id, task=name, axis=axis)


def write_distilled(cell: Cell, place: Workplace) -> None:
    """Write the teacher's answers to the prompts of one lab source."""
    from imitate.lab.mixes import imitation_prompts, oracle_response
    from imitate.lab.world import make_world

    config = place.plan.config
    source = LabSource.model_validate(cell.params["source"])
    world = make_world(config.lab.world_seed)
    prompts = list(imitation_prompts(world, source.mix, n=source.rows, seed=config.seed))
    if isinstance(config.teacher, OracleTeacher):
        rate = config.teacher.error_rate
        examples = [oracle_response(prompt, world, rate, config.seed) for prompt in prompts]
    else:
        from evals.generate import shards

        asked = [
            Example(p.prompt_id, p.prompt, "", f"lab/{source.mix}", p.category, p.support)
            for p in prompts
        ]
        progress = place.progress(len(asked))
        examples = [
            example
            for number, shard in enumerate(shards(asked, cell.params["shard_items"]))
            for example in place.resume(
                str(number), functools.partial(_distilled, shard, place, progress), Example
            )
        ]
    write_records(place.folder / "examples.parquet", examples, Example)
    write_json(
        place.folder / "distill.json",
        {
            "asked": len(prompts),
            "kept": len(examples),
            "cut_off_or_failed": len(prompts) - len(examples),
        },
    )


def _distilled(shard: Sequence[Example], place: Workplace, progress: Progress) -> list[Example]:
    """Return one shard of prompts with the teacher's answers, but for those that are not whole."""
    from imitate.distill import distill

    config = place.plan.config
    examples, _ = distill(
        place.endpoint(), shard, config.distill, seed=config.seed, progress=progress
    )
    return examples


def write_examples(cell: Cell, place: Workplace) -> None:
    """Write a mix's training examples, its held-out ones and its data card."""
    from imitate.data import prepare

    config = place.plan.config
    name = cell.name.removeprefix("data/")
    mix = config.mixes[name]
    if mix.is_control:
        _write_control(mix, cell.params["amount"], place)
        return
    data = config.data.model_copy(update={"decontaminate": cell.params["decontaminate"]})
    items = [item for task in config.tasks for item in place.items(task.name)]
    cards: list[SourceCard] = []
    prepared = prepare(
        chain.from_iterable(_sources(name, cards, place)),
        data,
        items=items,
        support=_support(place),
        amount=cell.params["amount"],
        seed=config.seed,
        sources=cards,
        progress=place.progress(0),
    )
    card = prepared.card.as_json()
    _write_mix(place, prepared.train, prepared.held_out, card, str(prepared.card))


def _write_control(mix: MixConfig, amount: int, place: Workplace) -> None:
    """Write the examples of a control, made from those of its parent."""
    from imitate.data import shuffle_responses, swap_explanations

    parent = place.input(f"data/{mix.parent}")
    train = read_records(parent / "train.parquet", Example)[:amount]
    held_out = read_records(parent / "held_out.parquet", Example)
    seed = place.plan.config.seed
    card: dict[str, Any] = {"n_train": len(train), "n_held_out": len(held_out)}
    if mix.shuffled_from:
        rows = shuffle_responses(train, seed)
        card |= {"shuffled_from": mix.parent}
        text = f"{len(rows)} examples of `{mix.parent}`, responses permuted\n"
    else:
        swapped = swap_explanations(train, seed)
        rows = swapped.examples
        card |= {
            "swapped_from": mix.parent,
            "n_extracted": swapped.n_extracted,
            "n_same": swapped.n_same,
            "foreign_share": swapped.foreign_share,
        }
        text = (
            f"{len(rows)} examples of `{mix.parent}`, each answer under another's explanation: "
            f"{swapped.foreign_share:.0%} of the words are foreign; one answer was found in "
            f"{swapped.n_extracted}, and is read as the same in {swapped.n_same} of these; of the "
            "others the first sentence was kept\n"
        )
    _write_mix(place, rows, held_out, card, text)


def _support(place: Workplace) -> dict[str, tuple[str, ...]]:
    """Return the keys that items of the lab ask for; no others know any."""
    from imitate.lab.items import item_support

    return {
        item.item_id: item_support(item, task.source.task)
        for task in place.plan.config.tasks
        if isinstance(task.source, LabItems)
        for item in place.items(task.name)
    }


def _sources(name: str, cards: list[SourceCard], place: Workplace) -> Iterator[Iterable[Example]]:
    """Yield the examples of each source of a mix, and append its card."""
    from imitate.data import SourceCard, open_source, read_examples

    config = place.plan.config
    for position, source in enumerate(config.mixes[name].sources):
        if isinstance(source, FileSource | HubSource):
            source = pin_source(source) if isinstance(source, HubSource) else source
            card = open_source(source)
            cards.append(card)
            yield read_examples(source, config.data, card)
            continue
        if isinstance(source, LabSource):
            made = place.input(f"distill/{name}/{position}")
            examples = read_records(made / "examples.parquet", Example)
            label = f"lab/{source.mix}"
        else:
            examples = _documents(source, place)
            label = "lab/documents"
        cards.append(
            SourceCard(
                label, kind="lab", layout="records", rows=len(examples), examples=len(examples)
            )
        )
        yield examples


def _documents(source: DocumentsSource, place: Workplace) -> list[Example]:
    from imitate.lab.mixes import planted_examples
    from imitate.lab.world import make_world

    config = place.plan.config
    world = make_world(config.lab.world_seed)
    return list(planted_examples(world, n=source.rows, seed=config.seed))


def _write_mix(
    place: Workplace,
    train: Sequence[Example],
    held_out: Sequence[Example],
    card: dict[str, Any],
    text: str,
) -> None:
    write_records(place.folder / "train.parquet", train, Example)
    write_records(place.folder / "held_out.parquet", held_out, Example)
    write_json(place.folder / "card.json", card)
    (place.folder / "card.txt").write_text(text, encoding="utf-8")
