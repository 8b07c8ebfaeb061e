"""What a text takes under something that knows its kind: a network of the job, or a model that is.

In: the text, and the reference that the job names. Out: bits of every sequence, from its second
token on.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from evals.errors import ConfigError
from evals.memorization.codes import code_tokens
from imitate.config import CapacityJob, OracleReference
from imitate.hardware import detect_hardware
from imitate.models import ModelRef, load_model, load_tokenizer, resolve_model
from imitate.probing.capacity.texts import TextData, tokenizer_file
from imitate.store import Store, fingerprint, library_versions, source_hash

__all__ = ["TextBits", "ask_oracle", "check_oracle", "find_oracle"]

STAGE = "capacity-oracle"
BITS = "bits.npz"
_MODULES = ("evals.memorization.codes", "imitate.models", "imitate.probing.capacity.references")
_BATCH = 64

FloatArray = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class TextBits:
    """Bits of the sequences of a text under a reference: (N,) and (M,)."""

    train: FloatArray
    test: FloatArray


def find_oracle(job: CapacityJob) -> ModelRef | None:
    """Return the oracle of a job; None where it has none.

    Raises:
        ModelError: There is no such model.
        ConfigError: It splits text into other tokens.
    """
    if job.text is None or not isinstance(job.text.reference, OracleReference):
        return None
    oracle = resolve_model(job.text.reference.model)
    check_oracle(oracle, job)
    return oracle


def check_oracle(oracle: ModelRef, job: CapacityJob) -> None:
    """Refuse a model whose tokens are not the text's."""
    assert job.text is not None
    file = tokenizer_file(job.text)
    theirs = load_tokenizer(oracle).get_vocab()
    if file is None or Tokenizer.from_file(str(file)).get_vocab() != theirs:
        raise ConfigError(
            f"`text.reference.model`: `{oracle.name}` has another tokenizer than the text "
            f"(`{job.text.tokenizer}`), so their bits cannot be compared",
            hint="give the model's own `tokenizer.json` as `text.tokenizer`",
        )


def ask_oracle(oracle: ModelRef, text: TextData, store: Store) -> TextBits:
    """Return what a text takes under a model, computed once."""
    key = fingerprint(
        {
            "model": oracle.identity,
            "text": text.digest,
            "source": source_hash(_MODULES),
            "libraries": library_versions(("torch", "transformers")),
            "device": detect_hardware().device,
        }
    )

    def write(folder: Path, work: Path) -> None:
        model: torch.nn.Module = load_model(oracle, torch.float32)
        model.to(detect_hardware().device)
        np.savez(folder / BITS, train=_bits(model, text.train), test=_bits(model, text.test))

    cell, _ = store.compute(STAGE, key, write, {"model": oracle.name})
    with np.load(cell.folder / BITS) as saved:
        return TextBits(train=saved["train"], test=saved["test"])


@torch.no_grad()
def _bits(model: torch.nn.Module, tokens: torch.Tensor) -> FloatArray:
    device = next(model.parameters()).device
    parts = []
    for chunk in torch.split(tokens.to(device), _BATCH):
        logits = model(chunk[:, :-1]).logits.float()
        parts.append(code_tokens(logits, chunk).bits_after(1))
    return np.concatenate(parts)
