"""Cells before any training: evaluation items, the teacher's answers, imitation examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imitate.config import Config, FileSource, HubSource, LabSource, OracleTeacher, Source
from imitate.plan.cells import (
    RUN,
    TEACHER,
    Cell,
    Stage,
    dump,
    source_files,
    source_params,
    teacher_models,
    teacher_params,
)

__all__ = ["data_cells", "distill_cells", "item_cells"]


def item_cells(config: Config) -> Iterator[Cell]:
    """Yield a cell for the items of each task."""
    for task in config.tasks:
        params = {
            "source": source_params(task.source),
            "task": task.name,
            "axis": task.axis.value,
            "n_items": task.n_items,
            "n_development": task.n_development,
            "seed": config.seed,
            "world": config.lab.world_seed if task.source.kind == "lab" else None,
            "few_shot": task.few_shot,
        }
        files = source_files(task.source)
        yield Cell(Stage.ITEMS, f"items/{task.name}", params=params, files=files)


def distill_cells(config: Config) -> Iterator[Cell]:
    """Yield a cell for the teacher's answers to each of the lab's sources."""
    for name, mix in config.mixes.items():
        for position, source in enumerate(mix.sources):
            if isinstance(source, LabSource):
                params = {
                    "source": source.model_dump(mode="json"),
                    "teacher": teacher_params(config.teacher),
                    "distill": dump(config.distill, "backend"),
                    "world": config.lab.world_seed,
                    "seed": config.seed,
                    "shard_items": config.serve.shard_items,
                    "serve": config.distill_serve.deciding
                    if teacher_models(config.teacher)
                    else None,
                }
                yield Cell(
                    Stage.DISTILL,
                    f"distill/{name}/{position}",
                    RUN if isinstance(config.teacher, OracleTeacher) else TEACHER,
                    params,
                    models=teacher_models(config.teacher),
                    tokens=source.rows * 120,
                )


def data_cells(config: Config) -> Iterator[Cell]:
    """Yield a cell for the examples of each mix; controls after what they are made from."""
    items = tuple(f"items/{task.name}" for task in config.tasks)
    ordered = sorted(config.mixes.items(), key=lambda pair: pair[1].is_control)
    for name, mix in ordered:
        params: dict[str, Any] = {"amount": max(mix.amounts), "seed": config.seed}
        files = tuple(source.path for source in mix.sources if isinstance(source, FileSource))
        data_sets = tuple(source for source in mix.sources if isinstance(source, HubSource))
        examples = None
        if mix.parent:
            inputs: tuple[str, ...] = (f"data/{mix.parent}",)
            params["shuffled" if mix.shuffled_from else "swapped"] = True
            examples = max(mix.amounts)
        else:
            params |= {
                "sources": [_source_params(source) for source in mix.sources],
                "data": config.data.model_dump(mode="json"),
                "decontaminate": mix.decontaminate and config.data.decontaminate,
                "world": config.lab.world_seed,
            }
            distilled = (
                f"distill/{name}/{position}"
                for position, source in enumerate(mix.sources)
                if isinstance(source, LabSource)
            )
            inputs = (*distilled, *items)
        yield Cell(
            Stage.DATA,
            f"data/{name}",
            params=params,
            inputs=inputs,
            files=files,
            data_sets=data_sets,
            examples=examples,
        )


def _source_params(source: Source) -> dict[str, Any]:
    """Return what a source says; of a file its name, which opens the ids of its examples."""
    params = source.model_dump(mode="json", exclude={"path", "revision"})
    return params | ({"name": source.path.name} if isinstance(source, FileSource) else {})
