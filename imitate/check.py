"""What a run would do and cost, and what it could tell apart; touches nothing.

Costs are estimates: multiplications per token from the size of the model, over what a machine of
this kind was measured to do. They are good to a factor of two or three, and say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evals.errors import MissingExtraError, ModelError
from evals.records import Axis
from imitate.config import Config, ModelTeacher
from imitate.configfile import is_probe, load_config, load_probe
from imitate.hardware import Hardware, detect_hardware
from imitate.models import BFLOAT16_MIN_PARAMETERS, count_parameters, resolve_model
from imitate.plan import TEACHER, Cell, Plan, Stage, build_plan
from imitate.probing import plan_probe
from imitate.probing.checking import describe_plan
from imitate.resolution import plan_json, resolution_table
from imitate.run import find_finished
from imitate.store import Store
from imitate.vllm.command import require_vllm

__all__ = ["check", "plan"]

_CORE_FLOPS = {"float32": 0.8e11, "bfloat16": 2e11}
"""Planned floating-point operations a second of one core: the quickstart's, smollm2-135m's."""

_MAX_CORES = 8
"""Models of these sizes gain nothing from more."""

_GPU_FLOPS = 3e13
"""The same of one large GPU."""

_LIBRARIES_GIB = 1.2
"""Resident memory of the imported libraries, in GiB."""

_BYTES_PER_PARAMETER = {"cpu": 48, "cuda": 14}
"""Memory of training an adapter; on a CPU activations are kept (135M, 8 x 340 tokens: 7 GiB)."""


def check(path: Path, overrides: Sequence[str], *, runs: Path) -> int:
    """Print the grid, the cells, the estimated cost, and the effect that each axis can resolve."""
    if is_probe(path):
        return _check_probe(path, overrides)
    config = load_config(path, overrides)
    plan = build_plan(config)
    hardware = detect_hardware()
    sizes, notes = _model_sizes(config)
    notes += _missing_files(plan)
    console = Console(highlight=False)
    console.print(_grid(plan))
    console.print(_cells(plan, None if notes else Store(runs / ".store")))
    console.print(_cost(plan, sizes, hardware))
    console.print(resolution_table(config))
    for note in (*notes, *_missing_server(config)):
        console.print(f"note: {note}", markup=False)
    return 0


def _check_probe(path: Path, overrides: Sequence[str]) -> int:
    """Print the networks of a probe, how long they train, and what they need."""
    job = load_probe(path, overrides)
    console = Console(highlight=False)
    for told in describe_plan(job.name, plan_probe(job)):
        console.print(told)
    return 0


def plan(path: Path, overrides: Sequence[str], *, is_json: bool) -> int:
    """Print what the items of a config can tell apart, and how many the margin asks for."""
    config = load_config(path, overrides)
    if is_json:
        print(plan_json(config))
    else:
        Console(highlight=False).print(resolution_table(config))
    return 0


def _missing_server(config: Config) -> list[str]:
    """Return what a run would miss, and what brings it."""
    if "vllm" not in (config.serve.backend, config.distill.backend):
        return []
    try:
        require_vllm()
    except MissingExtraError as error:
        return [f"{error.message}; {error.hint}"]
    return []


def _grid(plan: Plan) -> Table:
    config = plan.config
    table = Table(title=f"{config.name}: what is compared", title_justify="left")
    table.add_column("task")
    table.add_column("axis")
    for column in ("items", "development", "formats", "arms", "answers"):
        table.add_column(column, justify="right")
    for task in config.tasks:
        formats = 1 if task.axis is Axis.STYLE else len(task.formats)
        arms = len(plan.arms)
        answers = (task.n_items + task.n_development) * formats * arms
        numbers = (task.n_items, task.n_development, formats, arms, answers)
        table.add_row(task.name, task.axis.value, *(f"{n:,}" for n in numbers))
    kinds = Counter(arm.kind.value for arm in plan.arms)
    table.caption = "arms: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return table


def _cells(plan: Plan, store: Store | None) -> Table:
    finished = find_finished(plan, store) if store and store.root.is_dir() else {}
    table = Table(title="cells of work", title_justify="left")
    table.add_column("stage")
    for column in ("cells", "finished", "tokens (estimate)"):
        table.add_column(column, justify="right")
    for stage in Stage:
        cells = [cell for cell in plan.cells if cell.stage is stage]
        if cells:
            done = sum(cell.name in finished for cell in cells)
            tokens = sum(cell.tokens for cell in cells)
            table.add_row(stage.value, str(len(cells)), str(done), f"{tokens:,}" if tokens else "")
    return table


def _cost(plan: Plan, sizes: dict[str, int], hardware: Hardware) -> str:
    if not sizes:
        return "time and memory: unknown, as the size of no model could be read\n"
    seconds = sum(_seconds(cell, sizes, hardware) for cell in _computed(plan))
    memory = _LIBRARIES_GIB + max(sizes.values()) * _BYTES_PER_PARAMETER[hardware.device] / 2**30
    return (
        f"on this machine ({hardware.processor}, {hardware.threads} threads, {hardware.device}): "
        f"about {_duration(seconds)}, within a factor of three; "
        f"memory about {memory:.1f} of {hardware.memory_gib:.0f} GiB\n"
    )


def _computed(plan: Plan) -> list[Cell]:
    """Return the cells but those that share all work with another, whichever rate is chosen."""
    return [cell for cell in plan.cells if not _is_swept(cell, plan)]


def _is_swept(cell: Cell, plan: Plan) -> bool:
    """Return whether a training will turn out to be a point of the sweep that its rate is from."""
    if not cell.chosen_by:
        return False
    points = [plan.by_name[name] for name in plan.by_name[cell.chosen_by].inputs]
    return any(
        cell.params | {"learning_rate": point.params["learning_rate"]} == point.params
        and cell.inputs == point.inputs
        for point in points
    )


def _seconds(cell: Cell, sizes: dict[str, int], hardware: Hardware) -> float:
    parameters = sizes.get(cell.group, max(sizes.values()))
    passes = 3 if cell.stage is Stage.TRAIN else 1
    overhead = {Stage.TRAIN: 2.0, Stage.ANALYSE: 5.0, Stage.STYLE: 2.0}.get(cell.stage, 0.2)
    return overhead + 2 * passes * parameters * cell.tokens / _speed(parameters, hardware)


def _speed(parameters: int, hardware: Hardware) -> float:
    """Return the planned floating-point operations a second with a model of this size."""
    if hardware.device != "cpu":
        return _GPU_FLOPS
    is_bfloat16 = hardware.has_bfloat16 and parameters >= BFLOAT16_MIN_PARAMETERS
    cores = min(hardware.threads, _MAX_CORES)
    return cores * _CORE_FLOPS["bfloat16" if is_bfloat16 else "float32"]


def _model_sizes(config: Config) -> tuple[dict[str, int], list[str]]:
    """Parameters of each group's model, and a note for each that could not be looked at."""
    names = {base.name: base.model for base in config.bases if base.model}
    if isinstance(config.teacher, ModelTeacher):
        names[TEACHER] = config.teacher.model
    sizes: dict[str, int] = {}
    notes = []
    for group, name in names.items():
        try:
            ref = resolve_model(name, config.lab)
        except ModelError as error:
            notes.append(f"{error.message}; {error.hint}")
            continue
        if size := count_parameters(ref):
            sizes[group] = size
    return sizes, notes


def _missing_files(plan: Plan) -> list[str]:
    files = dict.fromkeys(path for cell in plan.cells for path in cell.files)
    return [
        f"no file at `{path}`; relative paths start at the working directory"
        for path in files
        if not path.is_file()
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
