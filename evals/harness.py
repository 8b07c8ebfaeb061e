"""lm-eval at arm's length: load a task, run it, and leave the process as it was.

In: a task's name, a YAML file or a config, and which documents to run. Out: lm-eval's samples, one
dict for each document and filter, which `evals.capability` reads. Around every call the global
random generators are put back, progress bars and log lines are silenced, and no cache is used (its
key omits the model). `simple_evaluate` reseeds the globals and collects four seconds of environment
each time, so we call `evaluate` below it.

Everything of lm-eval is imported inside functions: it takes seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import logging
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.errors import DataError

__all__ = ["FAILED_ANSWER", "Document", "hf_model", "load_documents", "load_tasks", "run_tasks"]

FAILED_ANSWER = "\x00failed"
"""What a language model returns for a generation that failed; a failed likelihood is NaN."""

SEED = 1234
"""lm-eval's own default: the few-shot examples are those of its command line."""


@dataclasses.dataclass(frozen=True, eq=False)
class Document:
    """One document of a leaf task: its place there, its fields, and lm-eval's hash of it."""

    leaf: str
    place: int
    fields: Mapping[str, Any]
    doc_hash: str


def load_tasks(
    task: str | dict[str, Any], *, confirm_run_unsafe_code: bool = False
) -> dict[str, Any]:
    """Return the leaf tasks of a built-in name, a YAML file or an inline config, by name.

    Args:
        task: A built-in task, group or tag; a path that ends in `.yaml`; or a task config.
        confirm_run_unsafe_code: Allow a task that executes what a model wrote; only in a sandbox.

    Raises:
        DataError: There is no such task, it executes code, or its data cannot be had.
    """
    with _quiet(), _isolated_random():
        manager, spec = _manager_of(task)
        named = spec if isinstance(spec, str) else str(spec.get("task"))
        if not confirm_run_unsafe_code and _declares_unsafe_code(manager, spec):
            raise _unsafe_code(named)
        try:
            leaves: dict[str, Any] = manager.load([spec])["tasks"]
        except (OSError, ValueError, ImportError) as error:
            raise DataError(
                f"the lm-eval task `{named}` cannot be loaded: {error}",
                hint="its data set must be on this machine or reachable; for a local one, give a "
                "task YAML with `dataset_path: json` and `data_files`",
            ) from error
    for name, leaf in leaves.items():
        if getattr(leaf, "UNSAFE_CODE", False) and not confirm_run_unsafe_code:
            raise _unsafe_code(name)
    return leaves


def load_documents(leaves: Mapping[str, Any]) -> list[Document]:
    """Return all documents of the leaf tasks, in their order."""
    import json

    from lm_eval.utils import handle_non_serializable, hash_string

    def doc_hash(fields: Mapping[str, Any]) -> str:
        # as lm-eval writes it into its samples, so that its logs join with ours
        text = json.dumps(fields, indent=2, default=handle_non_serializable, ensure_ascii=False)
        return str(hash_string(text))

    return [
        Document(name, place, fields, doc_hash(fields))
        for name, leaf in leaves.items()
        for place, fields in enumerate(leaf.eval_docs)
    ]


def run_tasks(
    lm: Any,
    leaves: Mapping[str, Any],
    documents: Sequence[Document],
    *,
    is_chat: bool,
    few_shot: int | None = None,
    confirm_run_unsafe_code: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """Return lm-eval's samples by leaf task, for the chosen documents only.

    Args:
        lm: An `lm_eval.api.model.LM`.
        leaves: What `load_tasks` returned.
        documents: Which documents to run.
        is_chat: Whether to put question and examples through the model's chat template, the
            examples as turns of their own.
        few_shot: Number of examples, where the task does not fix it at 0; None leaves the task's.
        confirm_run_unsafe_code: As in `load_tasks`.
    """
    from lm_eval.evaluator import evaluate

    chosen: dict[str, list[int]] = {}
    for document in documents:
        chosen.setdefault(document.leaf, []).append(document.place)
    # lm-eval numbers samples in the data set's order, so the places must be sorted; a leaf without
    # places would run whole, so it is left out
    places = {name: sorted(found) for name, found in chosen.items()}
    tasks = {name: leaves[name] for name in places}
    with _quiet(), _isolated_random():
        for leaf in tasks.values():
            _set_few_shot(leaf, few_shot)
        results = evaluate(
            lm,
            {"tasks": tasks, "groups": {}},
            samples=places,
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=is_chat,
            fewshot_as_multiturn=is_chat,
            confirm_run_unsafe_code=confirm_run_unsafe_code,
        )
    samples: dict[str, list[dict[str, Any]]] = results["samples"]
    return samples


def hf_model(model: Any, tokenizer: Any, *, batch_size: int) -> Any:
    """Return lm-eval's own `hf` model around a transformers model that is loaded already."""
    from lm_eval.models.huggingface import HFLM

    with _quiet():
        return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)


def _set_few_shot(leaf: Any, few_shot: int | None) -> None:
    """Set the number of examples as lm-eval's command line does: a task that says 0 means it."""
    own = leaf.get_config("num_fewshot")
    if own != 0:
        leaf.set_config(key="num_fewshot", value=(own or 0) if few_shot is None else few_shot)
    leaf.set_fewshot_seed(seed=SEED)


# --- finding tasks --------------------------------------------------------------------------------


def _manager_of(task: str | dict[str, Any]) -> tuple[Any, str | dict[str, Any]]:
    """Return the task manager that knows a task, and what to ask it for."""
    from lm_eval.tasks import TaskManager

    if isinstance(task, dict):
        return TaskManager(include_defaults=False), task
    if Path(task).suffix in (".yaml", ".yml"):
        return _manager_of_file(task)
    manager = _built_in_manager()
    if task not in manager.task_index:
        close = difflib.get_close_matches(task, manager.all_tasks, n=3)
        meant = f"did you mean `{'`, `'.join(close)}`?" if close else "lm-eval ls tasks lists them"
        raise DataError(f"lm-eval has no task `{task}`", hint=meant)
    return manager, task


def _manager_of_file(task: str) -> tuple[Any, str]:
    """Return a manager for a task file; a group's members are looked for beside its file."""
    import yaml
    from lm_eval.tasks import TaskManager

    path = Path(task).expanduser().resolve()
    if not path.is_file():
        raise DataError(
            f"there is no task file `{task}`", hint="relative paths start at the working directory"
        )
    try:
        config = _unresolved(path)
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"`{task}` is no task file of lm-eval: {error}") from error
    if "group" not in config:
        return TaskManager(include_defaults=False), str(path)
    manager = TaskManager(include_defaults=False, include_path=str(path.parent))
    return manager, str(config["group"])


def _unresolved(path: str | Path) -> dict[str, Any]:
    """Return a task file's config with its `!function` entries unread: no code is imported."""
    from lm_eval.tasks._yaml_loader import load_yaml

    config: dict[str, Any] = load_yaml(path, resolve_func=False)
    return config


@functools.cache
def _built_in_manager() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()  # indexes thousands of files: 7 s


def _declares_unsafe_code(manager: Any, spec: str | dict[str, Any]) -> bool:
    """Return whether a task's own config says that it executes code, before any is imported.

    Members of a group or a tag are looked at as well, as far as they are named.
    """
    if isinstance(spec, dict):
        return bool(spec.get("unsafe_code"))
    entry = manager.task_index.get(spec)
    config = (entry.cfg if entry else _unresolved(spec)) or {}
    task = config.get("task")
    listed = [m for m in task if isinstance(m, str)] if isinstance(task, list) else []
    is_tag = entry is not None and entry.kind.name == "TAG"  # a task's own `tags` lead to siblings
    members = [*listed, *(entry.tags if is_tag else ())]
    known = [m for m in members if m != spec and m in manager.task_index]
    return bool(config.get("unsafe_code")) or any(_declares_unsafe_code(manager, m) for m in known)


def _unsafe_code(task: str) -> DataError:
    return DataError(
        f"the lm-eval task `{task}` executes code that a model wrote; it is refused here",
        hint="only inside a sandbox: pass `confirm_run_unsafe_code=True`; HumanEval and its kin "
        "also want HF_ALLOW_CODE_EVAL=1 in the environment",
    )


# --- leaving the process as it was ----------------------------------------------------------------


@contextlib.contextmanager
def _isolated_random() -> Iterator[None]:
    """Seed the global generators for tasks that draw from them, and put them back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    random.seed(SEED)
    np.random.seed(SEED)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch and torch_state is not None:
            torch.set_rng_state(torch_state)


def _silent(bar: Any, *given: Any, **named: Any) -> Any:
    """Return a progress bar that shows nothing, whatever its maker wants."""
    return bar(*given, **(named | {"disable": True}))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence lm-eval's log lines and its bars; errors still pass."""
    import lm_eval.api.task  # noqa: F401

    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    loaded = [module for name, module in sys.modules.items() if name.startswith("lm_eval.")]
    places: list[Any] = [module for module in loaded if hasattr(module, "tqdm")]
    bars = [place.tqdm for place in places]
    for place, bar in zip(places, bars, strict=True):
        place.tqdm = functools.partial(_silent, bar)
    try:
        yield
    finally:
        logger.setLevel(level)
        for place, bar in zip(places, bars, strict=True):
            place.tqdm = bar
