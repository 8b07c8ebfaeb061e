"""Execute a plan: every cell once, those that are finished already not at all.

Cells run in the plan's order. At most one endpoint is open: it is opened when the first unfinished
cell of a group needs it, with every adapter of the group, and closed when another group begins or
training or a judge needs the memory. A kill at any moment leaves finished cells, and what an
unfinished one resumes from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evals.endpoint import Endpoint
from imitate.config import EndpointTeacher, ModelTeacher, ServeConfig
from imitate.fingerprints import cell_fingerprint, resolved_params
from imitate.models import resolve_model
from imitate.plan import TEACHER, Cell, Plan, Stage
from imitate.progress import Bars
from imitate.stages import Workplace, run_stage
from imitate.store import FinishedCell, Store

if TYPE_CHECKING:
    from imitate.engine import Engine

__all__ = ["CellTiming", "Endpoints", "Finished", "execute_plan", "find_finished", "work_of"]


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
        """Close what is open, and hold it no more: its memory is for what is opened next."""
        self._open, self._endpoint = None, None
        self._stack.close()

    def get(self, group: str, *, is_distilling: bool = False) -> Endpoint:
        """Return the endpoint of a group, with all adapters of the group that are trained."""
        config = self.plan.config
        return self._get(group, config.distill_serve if is_distilling else config.serve)

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
        ref = resolve_model(base.checkpoint, config.lab)
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
    if cell.stage in (Stage.TRAIN, Stage.JUDGE):
        endpoints.close()
    params = resolved_params(cell, endpoints.done)
    with bars.cell(cell.name) as report, _named(cell):

        def write(folder: Path, work: Path) -> None:
            place = Workplace(
                plan=endpoints.plan,
                done=endpoints.done,
                endpoint=lambda: endpoints.get(
                    cell.group, is_distilling=cell.stage is Stage.DISTILL
                ),
                in_process=lambda: endpoints.in_process(cell.group),
                folder=folder,
                work=work,
                logs=endpoints.logs,
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
