"""Inspect's logs, `.eval` or `.json` -> a `ScoreLog`; needs the package inspect-ai.

In: one log, or a folder of logs of one model. Out: per task the scores by sample id, what the
model was shown, and the settings of the log. Of several logs of one task the latest counts. Several
epochs give one score a sample, their mean.

Source: `EvalLog` of inspect-ai 0.3.285, `log/_log.py`; letters as in its `value_to_float`: C is 1,
P is 1/2, I and N are 0.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.comparing.logs import ScoredItem, ScoreLog, TaskLog
from evals.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

__all__ = ["is_inspect_log", "read_inspect_log"]

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}

_UNREAD = {"events", "events_data", "timelines", "store", "attachments", "output"}
"""Parts of a sample that hold most of a log, and no score."""

_NOT_ASKED = {
    *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections"),
    *("adaptive_connections", "cache", "cache_prompt", "batch", "seed", "extra_headers"),
    *("logprobs", "top_logprobs", "prompt_logprobs", "fail_on_refusal"),
}
"""Settings of generation that change no answer but by chance."""

_JSON_HEAD = re.compile(rb'\s*\{\s*"version"\s*:\s*\d+\s*,\s*"status"\s*:')


def is_inspect_log(path: Path) -> bool:
    """Return whether a file is a log of Inspect's, or a folder holds one."""
    return any(True for _ in _log_files(path))


def read_inspect_log(path: Path, *, metric: str | None = None, cluster: str = "") -> ScoreLog:
    """Return the scores of all tasks in a log.

    Args:
        path: A log, or a folder of logs of one model.
        metric: Which scorer, `SCORER` or `SCORER/KEY`; the first one if not given.
        cluster: Field of the samples' metadata that names the unit of randomisation; each sample
            is its own where empty.

    Raises:
        MissingExtraError: inspect-ai is not installed.
        DataError: A file is no log or has no scores, or lacks the scorer or the field; or a folder
            holds logs of several models.
    """
    headers = [(_read(file, header_only=True), file) for file in _log_files(path)]
    if not headers:
        raise DataError(f"no log of Inspect's in {path}", where=str(path))
    models = sorted({header.eval.model for header, _ in headers})
    if len(models) > 1:
        raise DataError(
            f"logs of {len(models)} models in one folder: {', '.join(models)}",
            where=str(path),
            hint="name one log file each",
        )
    latest: dict[str, tuple[str, Path]] = {}
    for header, file in headers:
        dated = str(header.eval.created), file
        latest[header.eval.task] = max(latest.get(header.eval.task, dated), dated)
    tasks = {
        task: _task(_read(file, header_only=False), file, metric, cluster)
        for task, (_, file) in sorted(latest.items())
    }
    return ScoreLog(path.name, tasks, f"Inspect's log {path}, of {models[0]}")


def _log_files(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return [file for file in files if file.suffix == ".eval" or _is_json_log(file)]


def _is_json_log(path: Path) -> bool:
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open("rb") as stream:
        return _JSON_HEAD.match(stream.read(200)) is not None


def _read(file: Path, *, header_only: bool) -> EvalLog:
    try:
        from inspect_ai.log import read_eval_log
    except ImportError:
        raise MissingExtraError("reading Inspect's logs", "inspect") from None
    try:
        return read_eval_log(str(file), header_only=header_only, exclude_fields=_UNREAD)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{file.name} cannot be read as a log of Inspect's: {str(error).splitlines()[0]}",
            where=str(file),
        ) from error


def _task(log: EvalLog, file: Path, metric: str | None, cluster: str) -> TaskLog:
    scorer, _, key = (metric or _first_scorer(log, file)).partition("/")
    samples: dict[str, list[EvalSample]] = {}
    for sample in log.samples or []:
        samples.setdefault(str(sample.id), []).append(sample)
    items = tuple(
        _item(log.eval.task, item_id, epochs, scorer, key, cluster, file)
        for item_id, epochs in samples.items()
    )
    told = f"{scorer}/{key}" if key else scorer
    return TaskLog(told, items, _settings(log, scorer), tuple(_notes(log, samples)))


def _first_scorer(log: EvalLog, file: Path) -> str:
    for sample in log.samples or []:
        if sample.scores:
            return str(next(iter(sample.scores)))
    why = f": {log.error.message.splitlines()[0]}" if log.error else ""
    raise DataError(
        f"no scores in {file.name}, whose status is `{log.status}`{why}",
        where=str(file),
        hint="`inspect score LOG` scores a log that has answers",
    )


def _item(
    task: str,
    item_id: str,
    epochs: Sequence[EvalSample],
    scorer: str,
    key: str,
    cluster: str,
    file: Path,
) -> ScoredItem:
    values = [_value(sample, scorer, key, file) for sample in epochs]
    scored = [value for value in values if not math.isnan(value)]
    return ScoredItem(
        item_id=item_id,
        value=sum(scored) / len(scored) if scored else math.nan,
        cluster=_cluster(epochs[0], cluster, file) if cluster else f"{task} {item_id}",
        prompt=_shown(min(epochs, key=lambda sample: sample.epoch)),
    )


def _value(sample: EvalSample, scorer: str, key: str, file: Path) -> float:
    """Return a sample's score; NaN where it failed or was not scored."""
    if sample.error or not sample.scores:
        return math.nan
    if scorer not in sample.scores:
        raise DataError(
            f"no scorer `{scorer}`", where=str(file), hint=f"there are: {', '.join(sample.scores)}"
        )
    value: Any = sample.scores[scorer].value
    if isinstance(value, Mapping):
        value = _part(value, scorer, key, file)
    if isinstance(value, str):
        value = _LETTERS.get(value, value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.inf
    if math.isnan(number) or 0 <= number <= 1:
        return number
    raise DataError(
        f"sample {sample.id} has the score {value!r} of `{scorer}`: it must be C, P, I, N or a "
        "number in [0, 1]",
        where=str(file),
        hint="name another scorer with --metric, or export rescaled scores as CSV",
    )


def _part(value: Mapping[str, Any], scorer: str, key: str, file: Path) -> Any:
    if key in value:
        return value[key]
    raise DataError(
        f"`{scorer}` gives several scores" + (f", none of them `{key}`" if key else ""),
        where=str(file),
        hint="choose: " + ", ".join(f"--metric {scorer}/{name}" for name in value),
    )


def _cluster(sample: EvalSample, field: str, file: Path) -> str:
    if field not in sample.metadata:
        raise DataError(
            f"no field `{field}` in the metadata of the samples",
            where=str(file),
            hint=f"there are: {', '.join(sample.metadata) or 'none'}",
        )
    return str(sample.metadata[field])


def _shown(sample: EvalSample) -> str:
    """Return what the model was shown before its first answer; "" where it came to none.

    The messages hold what solvers added, such as examples, a system message or a template.
    """
    shown: list[str] = []
    for message in sample.messages:
        if message.role == "assistant" and message.source == "generate":
            return "\n".join(shown)
        shown.append(f"{message.role}: {message.text}")
    return ""


def _settings(log: EvalLog, scorer: str) -> dict[str, str]:
    spec, config = log.eval, log.eval.config
    generation = _given(log.plan.config) | _given(spec.model_generate_config)
    found = {
        "version of the task": spec.task_version,
        "arguments of the task": spec.task_args,
        "data set": spec.dataset.name,
        "solvers": [[step.solver, step.params] for step in log.plan.steps],
        "generation": {k: v for k, v in generation.items() if k not in _NOT_ASKED},
        "limits": [config.message_limit, config.token_limit, config.time_limit],
        "scorer": [[one.name, one.options] for one in spec.scorers or [] if one.name == scorer],
    }
    return {name: json.dumps(value, default=str, sort_keys=True) for name, value in found.items()}


def _given(config: Any) -> dict[str, Any]:
    return dict(config.model_dump(mode="json", exclude_none=True))


def _notes(log: EvalLog, samples: Mapping[str, Sequence[EvalSample]]) -> list[str]:
    notes = []
    n_epochs = max(map(len, samples.values()), default=1)
    if n_epochs > 1:
        notes.append(f"each score is the mean of {n_epochs} epochs")
    if log.status != "success":
        notes.append(f"the log ended early, its status is `{log.status}`")
    if log.invalidated:
        notes.append("the log has samples that were marked invalid")
    return notes
