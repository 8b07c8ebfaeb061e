"""What would waste a run, found before its first cell: settings that no base can train with."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from evals.errors import ConfigError
from evals.records import Example
from imitate.config import BaseConfig, Config, ModelTeacher
from imitate.models import ModelKind, resolve_model
from imitate.plan import Plan, Stage
from imitate.run import find_finished
from imitate.store import Store
from imitate.vllm.command import require_vllm

__all__ = ["preflight_run"]

_PROBE = (Example("preflight", "What is the capital of France?", "The capital is Paris.", "probe"),)


def preflight_run(plan: Plan, store: Store) -> None:
    """Check models and training settings; torch is imported only where something is to be trained.

    Raises:
        UserError: A model cannot be had, belongs to another world, or cannot be trained as asked;
            what is to serve them is not installed.
    """
    config = plan.config
    if "vllm" in (config.serve.backend, config.distill.backend):
        require_vllm()
    _check_worlds(config)
    trained = [cell for cell in plan.cells if cell.stage is Stage.TRAIN]
    finished = find_finished(plan, store) if store.root.is_dir() else {}
    waiting = {cell.group for cell in trained if cell.name not in finished}
    for base in config.bases:
        if base.name in waiting:
            _preflight_base(config, base)


def _preflight_base(config: Config, base: BaseConfig) -> None:
    from imitate.train import TrainJob, preflight

    rate = config.train.learning_rate
    with tempfile.TemporaryDirectory(prefix="imitate-preflight-") as folder:
        preflight(
            TrainJob(
                ref=resolve_model(base.checkpoint, config.lab),
                examples=_PROBE,
                held_out=(),
                settings=config.train,
                learning_rate=rate[0] if isinstance(rate, list) else rate,
                seed=0,
                work_dir=Path(folder),
                output_dir=Path(folder) / "adapter",
                chat_template=base.chat_template,
            )
        )


def _check_worlds(config: Config) -> None:
    """Refuse lab models that were pretrained on another world than the one that is asked about."""
    names = [base.model for base in config.bases if base.model]
    if isinstance(config.teacher, ModelTeacher):
        names.append(config.teacher.model)
    for name in names:
        ref = resolve_model(name, config.lab)
        card = Path(ref.location) / "lab.json"
        if ref.kind is not ModelKind.LAB or not card.is_file():
            continue
        seed = json.loads(card.read_text(encoding="utf-8"))["world_seed"]
        if seed != config.lab.world_seed:
            raise ConfigError(
                f"`{name}` knows world {seed}, but `lab.world_seed` is {config.lab.world_seed}",
                where=str(card),
                hint=f"set lab.world_seed={seed}, or remake the models: imitate lab pretrain",
            )
