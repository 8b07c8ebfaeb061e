"""One step down, for language models trained from scratch, and the file that training goes on from.

Hidden matrices train with Muon, embeddings and norms with AdamW, each at a rate of its own that is
set at every step.

Source: Jordan et al. (2024), "Muon"; rates matched to AdamW's root mean square, as Liu et al.
(arXiv 2502.16982).
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

__all__ = ["descend", "load_checkpoint", "make_optimisers", "save_checkpoint", "set_rates"]

CLIP_NORM = 1.0
"""Largest norm of a gradient."""

_log = logging.getLogger(__name__)


def make_optimisers(model: PreTrainedModel, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the hidden matrices, which alone decay, and AdamW for the rest."""
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    known = set(map(id, hidden))
    rest = [p for p in model.parameters() if id(p) not in known]
    muon = torch.optim.Muon(
        hidden, lr=1.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(rest, lr=1.0, betas=(0.9, 0.98), weight_decay=0.0)
    return [muon, adamw]


def set_rates(optimisers: Sequence[torch.optim.Optimizer], rates: Sequence[float]) -> None:
    """Set the learning rate of each for the next step."""
    for optimiser, rate in zip(optimisers, rates, strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate


def descend(
    loss: torch.Tensor, model: PreTrainedModel, optimisers: Sequence[torch.optim.Optimizer]
) -> None:
    """Take one step."""
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def save_checkpoint(
    path: Path,
    identity: str,
    about: Mapping[str, Any],
    model: PreTrainedModel,
    optimisers: Sequence[torch.optim.Optimizer],
) -> None:
    """Write all that training goes on from, whole or not at all.

    Args:
        path: The file.
        identity: Of what is trained: nothing else goes on from it.
        about: What comes back: numbers, strings and lists of them.
        model: With its weights.
        optimisers: With their moments.
    """
    state = {
        "identity": identity,
        "about": dict(about),
        "model": model.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def load_checkpoint(
    path: Path,
    identity: str,
    model: PreTrainedModel,
    optimisers: Sequence[torch.optim.Optimizer],
) -> dict[str, Any] | None:
    """Put weights and moments in place and return what was saved about them.

    None where there is no file, where it is of something else, or where it is damaged.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        _log.warning("%s is damaged (%s): training anew", path, error)
        return None
    if state.get("identity") != identity:
        return None
    model.load_state_dict(state["model"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    about: dict[str, Any] = state["about"]
    return about
