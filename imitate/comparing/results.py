"""Names of results -> what they hold, whoever wrote it, and the comparison of it."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from evals.comparing.inspect_logs import is_inspect_log, read_inspect_log
from evals.comparing.lm_eval_logs import is_lm_eval_log, read_lm_eval_log
from evals.comparing.logs import ScoreLog, TaskLog, pair_logs
from evals.comparing.paired import Comparison, Rule, compare_paired
from evals.errors import DataError, UserError
from evals.records import Format
from imitate.comparing.arms import RunArm, best_formats, find_arm, is_run, read_arm
from imitate.comparing.tables import Columns, read_table

__all__ = ["Reading", "compare_results"]

KNOWN = (
    "known are lm-eval's sample logs, Inspect's .eval logs, tables with `id` and `score`, and arms "
    "of a run as RUN:ARM"
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What of a result is read.

    Attributes:
        metric: Metric of lm-eval or scorer of Inspect; the first one if not given.
        filter_name: Filter of lm-eval; the first one if not given.
        form: Format of a run's answers; on each axis the one in which the first arm does best on
            development items if not given.
        cluster: Field or column that names the unit of randomisation.
        only: Names or patterns of tasks; all of them where empty.
        columns: Names of a table's columns.
    """

    metric: str | None = None
    filter_name: str | None = None
    form: Format | None = None
    cluster: str = ""
    only: tuple[str, ...] = ()
    columns: Columns = dataclasses.field(default_factory=Columns)


def compare_results(names: Sequence[str], reading: Reading, rule: Rule) -> Comparison:
    """Return the comparison of two results, and of a teacher's if there is a third.

    Raises:
        UserError: A result cannot be read, or they do not fit together.
    """
    sources = [find_arm(name) or _existing(name) for name in names]
    arms = [source for source in sources if isinstance(source, RunArm)]
    for teacher in sources[2:]:
        if isinstance(teacher, RunArm) and teacher.is_mean:
            raise UserError(
                f"a teacher is one network, and `{teacher.name}` is the mean of several seeds",
                hint=f"name one, such as {names[2]}-s{teacher.seeds[0]}",
            )
    forms = best_formats(arms[0], reading.form) if arms else {}
    mixes = {arm.mix for arm in arms}
    logs = [
        read_arm(source, forms, mixes) if isinstance(source, RunArm) else _read(source, reading)
        for source in sources
    ]
    labelled = [
        dataclasses.replace(log, name=label, tasks=_chosen(log, reading.only))
        for log, label in zip(logs, _labels(names), strict=True)
    ]
    return compare_paired(pair_logs(labelled), rule)


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.exists():
        raise DataError(f"no such file or folder: {name}", hint=KNOWN)
    if is_run(path):
        raise DataError(f"{name} is a run: name one of its arms", hint=f"such as {name}:teacher")
    return path


def _read(path: Path, reading: Reading) -> ScoreLog:
    if is_inspect_log(path):
        return read_inspect_log(path, metric=reading.metric, cluster=reading.cluster)
    if is_lm_eval_log(path):
        return read_lm_eval_log(
            path, metric=reading.metric, filter_name=reading.filter_name, cluster=reading.cluster
        )
    if path.is_dir():
        raise DataError(f"no result in the folder {path}", where=str(path), hint=KNOWN)
    if path.name.startswith("results_") and path.suffix == ".json":
        raise DataError(
            f"{path.name} holds means of tasks, which do not pair",
            where=str(path),
            hint="name its folder; `lm_eval --log_samples` writes the items beside it",
        )
    return read_table(path, dataclasses.replace(reading.columns, cluster=reading.cluster))


def _labels(names: Sequence[str]) -> list[str]:
    """Return the names without the run, or else the folders, that all of them have in common."""
    paths = [name.rstrip("/") for name in names]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise UserError(f"`{twice}` is given twice", hint="compare two different results")
    common = os.path.commonprefix(paths)  # noqa: RUF071 (RUN:ARM is no path)
    start = (common.rfind(":") if ":" in common else common.rfind("/")) + 1
    return [path[start:] for path in paths]


def _chosen(log: ScoreLog, only: Sequence[str]) -> dict[str, TaskLog]:
    chosen = {
        task: found
        for task, found in log.tasks.items()
        if not only or any(fnmatch.fnmatchcase(task, pattern) for pattern in only)
    }
    if not chosen:
        raise UserError(
            f"no task of {log.source} is `{', '.join(only)}`",
            hint=f"there are: {', '.join(log.tasks)}",
        )
    return chosen
