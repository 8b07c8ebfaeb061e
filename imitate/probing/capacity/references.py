"""What a text takes under something that knows its kind: a network of the job, or a model that is.

In: the text, and the reference that the job names. Out: bits of every sequence, from its second
token on, as one finished cell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from evals.errors import ConfigError
from evals.memorization.codes import code_tokens
from evals.probes.capacity.training import code_sequences
from imitate.config import CapacityJob, OracleReference
from imitate.hardware import detect_hardware
from imitate.models import ModelRef, context_length, load_model, load_tokenizer, resolve_model
from imitate.probing.capacity.plan import CapacityRun
from imitate.probing.capacity.texts import TextData, digest_of, tokenizer_file
from imitate.probing.capacity.training import saved_identity, saved_row
from imitate.store import Store, fingerprint, library_versions, source_hash

__all__ = ["Reference", "ask_network", "ask_oracle", "find_oracle"]

STAGE = "capacity-reference"
BITS = "bits.npz"
_MODULES = (
    "evals.memorization.codes",
    "evals.probes.capacity.network",
    "evals.probes.capacity.training",
    "imitate.models",
    "imitate.probing.capacity.references",
)
_BATCH = 64

FloatArray = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """Bits of the sequences of a text, (N,) and (M,), and what names who coded them."""

    identity: str
    train: FloatArray
    test: FloatArray


def find_oracle(job: CapacityJob) -> ModelRef | None:
    """Return the oracle of a job; None where it has none.

    Raises:
        ModelError: There is no such model.
        ConfigError: It splits text into other tokens, or takes no sequence as long.
    """
    if job.text is None or not isinstance(job.text.reference, OracleReference):
        return None
    oracle = resolve_model(job.text.reference.model)
    file = tokenizer_file(job.text)
    theirs = load_tokenizer(oracle).get_vocab()
    if file is None or Tokenizer.from_file(str(file)).get_vocab() != theirs:
        raise ConfigError(
            f"`text.reference.model`: `{oracle.name}` has another tokenizer than the text "
            f"(`{job.text.tokenizer}`), so their bits cannot be compared",
            hint="give the model's own `tokenizer.json` as `text.tokenizer`",
        )
    longest = context_length(oracle)
    if job.length > longest + 1:
        raise ConfigError(
            f"`length` is {job.length}, and `{oracle.name}` takes {longest} tokens at most"
        )
    return oracle


def ask_oracle(oracle: ModelRef, text: TextData, store: Store) -> Reference:
    """Return what a text takes under a model."""
    device = detect_hardware().device

    def load() -> Callable[[torch.Tensor], FloatArray]:
        model: torch.nn.Module = load_model(oracle, torch.float32)
        model.to(device)
        return lambda tokens: _model_bits(model, tokens.to(device))

    return _coded(oracle.identity, load, text, store)


def ask_network(
    job: CapacityJob, run: CapacityRun, folder: Path, text: TextData, store: Store
) -> Reference:
    """Return what a text takes under a network that was trained on other text."""
    shape = run.shape(job)

    def load() -> Callable[[torch.Tensor], FloatArray]:
        row = saved_row(folder, shape).to(detect_hardware().device)
        return lambda tokens: code_sequences(row, shape, tokens).bits_after(1)

    return _coded(saved_identity(folder), load, text, store)


def _coded(
    identity: str,
    load: Callable[[], Callable[[torch.Tensor], FloatArray]],
    text: TextData,
    store: Store,
) -> Reference:
    key = fingerprint(
        {
            "by": identity,
            "text": digest_of(text.train, text.test),
            "source": source_hash(_MODULES),
            "libraries": library_versions(("torch", "transformers")),
            "device": detect_hardware().device,
        }
    )

    def write(folder: Path, work: Path) -> None:
        code = load()
        np.savez(folder / BITS, train=code(text.train), test=code(text.test))

    cell, _ = store.compute(STAGE, key, write, {"by": identity})
    with np.load(cell.folder / BITS) as saved:
        return Reference(identity, saved["train"], saved["test"])


@torch.no_grad()
def _model_bits(model: torch.nn.Module, tokens: torch.Tensor) -> FloatArray:
    parts = []
    for chunk in torch.split(tokens, _BATCH):
        logits = model(chunk[:, :-1]).logits.float()
        parts.append(code_tokens(logits, chunk).bits_after(1))
    return np.concatenate(parts)
