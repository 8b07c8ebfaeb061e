"""lm-eval's sample logs, as `--log_samples` writes them -> a `ScoreLog`.

In: a folder with `samples_TASK_DATE.jsonl` and `results_DATE.json`, or one samples file. Out: per
task the scores by document hash, what the model was shown, and the settings that the results file
tells. Of several runs in one folder the latest of each task counts.

Source: `EvaluationTracker` of lm-eval 0.4.13, `loggers/evaluation_tracker.py`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.comparing.logs import ScoredItem, ScoreLog, TaskLog
from evals.errors import DataError

__all__ = ["is_lm_eval_log", "read_lm_eval_log"]

_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl")

_HASHES = {"chat template": "chat_template_sha", "system instruction": "system_instruction_sha"}
"""Settings of the whole run; null where it had none."""

_Row = dict[str, Any]


def is_lm_eval_log(path: Path) -> bool:
    """Return whether a file or folder is one of lm-eval's."""
    return any(True for _ in _sample_files(path))


def read_lm_eval_log(
    path: Path, *, metric: str | None = None, filter_name: str | None = None, cluster: str = ""
) -> ScoreLog:
    """Return the scores of all tasks in a log.

    Args:
        path: A folder of results, however deep they lie in it, or one samples file.
        metric: Which metric; a task's first one if not given.
        filter_name: Which of lm-eval's filters; a task's first one if not given.
        cluster: Field of the documents that names the unit of randomisation; each document is its
            own where empty.

    Raises:
        DataError: A file is no sample log, or lacks the metric, the filter or the field; or the
            folder holds logs of several models.
    """
    latest: dict[str, tuple[str, Path]] = {}
    files = list(_sample_files(path))
    _check_one_model(path, files)
    for file in files:
        found = _SAMPLES.fullmatch(file.name)
        assert found is not None, file
        dated = found["date"], file
        latest[found["task"]] = max(latest.get(found["task"], dated), dated)
    if not latest:
        raise DataError(
            f"no sample logs in {path}",
            where=str(path),
            hint="lm-eval writes them with `--log_samples --output_path DIR`",
        )
    tasks = {
        task: _task(task, file, _settings(file, task, date), metric, filter_name, cluster)
        for task, (date, file) in sorted(latest.items())
    }
    return ScoreLog(path.name, tasks, f"lm-eval's sample log {path}")


def _check_one_model(path: Path, files: Sequence[Path]) -> None:
    """See that all logs lie in one folder: lm-eval names a folder after each model."""
    folders = sorted({str(file.parent) for file in files})
    if len(folders) > 1:
        raise DataError(
            f"logs of {len(folders)} models in {path}",
            where=str(path),
            hint=f"name one of their folders: {', '.join(folders)}",
        )


def _sample_files(path: Path) -> Iterator[Path]:
    files = [path] if path.is_file() else sorted(path.rglob("samples_*.jsonl"))
    return (file for file in files if _SAMPLES.fullmatch(file.name))


def _task(
    task: str,
    file: Path,
    settings: Mapping[str, str],
    metric: str | None,
    filter_name: str | None,
    cluster: str,
) -> TaskLog:
    rows = list(_rows(file))
    if not rows:
        raise DataError("no samples", where=str(file))
    filters = list(dict.fromkeys(str(row.get("filter", "none")) for row in rows))
    chosen = _choose(filter_name, filters, "filter", file)
    rows = [row for row in rows if str(row.get("filter", "none")) == chosen]
    name = _choose(metric, _metrics(rows[0]), "metric", file)
    seen: Counter[str] = Counter()
    items = []
    for row in rows:
        doc_hash = str(row.get("doc_hash") or row["doc_id"])
        seen[doc_hash] += 1  # a document that a task holds twice is two items
        item_id = f"{doc_hash}#{seen[doc_hash]}" if seen[doc_hash] > 1 else doc_hash
        alone = item_id if row.get("doc_hash") else f"{task} {item_id}"  # ids begin anew by task
        unit = _cluster(row, cluster, file) if cluster else alone
        items.append(ScoredItem(item_id, _value(row, name, file), unit, _shown(row)))
    _refuse_upside_down(file, name)
    told = f"{name} after {chosen}" if len(filters) > 1 else name
    return TaskLog(told, tuple(items), settings)


def _refuse_upside_down(file: Path, metric: str) -> None:
    """Refuse a metric of which less is better: every sentence on it would say the contrary."""
    found = _SAMPLES.fullmatch(file.name)
    assert found is not None, file
    directions = (_results(file, found["date"]).get("higher_is_better") or {}).get(found["task"])
    if (directions or {}).get(metric) is False:
        raise DataError(
            f"of `{metric}` less is better, as its results say, and scores here are better higher",
            where=str(file),
            hint="choose another with --metric, or give a table with 1 - score",
        )


def _rows(file: Path) -> Iterator[_Row]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError:
                raise DataError(f"line {number} is not JSON", where=f"{file}:{number}") from None
            is_sample = isinstance(row, dict) and {"doc_id", "metrics"} <= row.keys()
            if not is_sample or not isinstance(row["metrics"], list):
                raise DataError(
                    f"line {number} is no sample of lm-eval's: `doc_id` or `metrics` is missing",
                    where=f"{file}:{number}",
                )
            yield row


def _metrics(row: _Row) -> list[str]:
    """Return the metrics that have a number for one sample; perplexities have not."""
    return [
        name
        for name in row["metrics"]
        if isinstance(row.get(name), int | float) and 0 <= row[name] <= 1
    ]


def _value(row: _Row, metric: str, file: Path) -> float:
    value = row.get(metric)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DataError(
            f"document {row['doc_id']} has no `{metric}` in [0, 1], but {value!r}", where=str(file)
        )
    return float(value)


def _choose(wanted: str | None, there: Sequence[str], what: str, file: Path) -> str:
    if wanted is None and there:
        return there[0]
    if wanted is None or wanted not in there:
        raise DataError(
            f"no {what} `{wanted}` with a value in [0, 1]" if wanted else f"no usable {what}",
            where=str(file),
            hint=f"there are: {', '.join(there) or 'none'}",
        )
    return wanted


def _cluster(row: _Row, field: str, file: Path) -> str:
    document = row.get("doc")
    if not isinstance(document, dict) or field not in document:
        there = ", ".join(document) if isinstance(document, dict) else "none"
        raise DataError(
            f"no field `{field}` in the documents", where=str(file), hint=f"there are: {there}"
        )
    return str(document[field])


def _shown(row: _Row) -> str:
    """Return all that the model was shown for a sample: contexts and continuations, each once."""
    arguments = row.get("arguments")
    parts = arguments.values() if isinstance(arguments, dict) else ()
    texts = [
        text
        for part in parts
        if isinstance(part, dict)
        for text in part.values()
        if isinstance(text, str)
    ]
    return "\n".join(dict.fromkeys(texts))


def _settings(file: Path, task: str, date: str) -> dict[str, str]:
    """Return what the results file beside the samples says of how the task was asked."""
    results = _results(file, date)
    task_config = (results.get("configs") or {}).get(task) or {}
    found = {
        "few-shot examples": (results.get("n-shot") or {}).get(task),
        "version of the task": (results.get("versions") or {}).get(task),
        "few-shot as turns": results.get("fewshot_as_multiturn"),
        "output type": task_config.get("output_type"),
        "stop and sampling": task_config.get("generation_kwargs"),
    }
    told = {name: json.dumps(value) for name, value in found.items() if value is not None}
    for name, key in _HASHES.items():
        if key in results:
            told[name] = str(results[key] or "none")
    return told


def _results(file: Path, date: str) -> dict[str, Any]:
    """Return the results file beside the samples; empty where there is none that can be read."""
    try:
        found = json.loads(file.with_name(f"results_{date}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
