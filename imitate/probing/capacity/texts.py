"""The sequences of a job: uniform tokens, and text cut into three parts that share none.

In: the `text` part of a job. Out: sequences for the networks, for the reference, and for testing.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from evals.errors import ConfigError, DataError
from evals.probes.capacity.sequences import cut_windows, draw_sequences
from imitate.config import CapacityJob, SameSizeReference, TextConfig
from imitate.lab.corpus import stream_documents
from imitate.lab.recipe import PretrainRecipe
from imitate.lab.tokenizer import END_OF_TEXT, TOKENIZER_FILE
from imitate.lab.world import make_world
from imitate.probing.capacity.plan import CapacityRun, Kind

__all__ = ["TextData", "digest_of", "read_text", "sequences_of", "tokenizer_file"]

BYTES = 256

_LAB_CARD = TOKENIZER_FILE.with_name("weights") / "medium" / "lab.json"
"""Of the model whose last stage of training says what the lab's text is made of."""

IntArray = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class TextData:
    """Different sequences (., S) of one text.

    Attributes:
        train: What networks are trained on, each on the first of them.
        test: What none is trained on.
        reference: What the reference is trained on; none for an oracle.
        n_short: Documents that had fewer than S tokens.
        n_duplicates: Sequences that were there already.
        vocabulary: Tokens that the tokenizer has.
    """

    train: Tensor
    test: Tensor
    reference: Tensor
    n_short: int
    n_duplicates: int
    vocabulary: int


def sequences_of(run: CapacityRun, job: CapacityJob, text: TextData | None) -> Tensor:
    """Return (N, S) what a network is trained on."""
    if run.kind is Kind.UNIFORM:
        return draw_sequences(run.n_sequences, run.length, job.vocabulary, run.seed)
    assert text is not None, run
    return (text.reference if run.kind is Kind.REFERENCE else text.train)[: run.n_sequences]


def read_text(job: CapacityJob) -> TextData | None:
    """Return the text of a job; None where it has none.

    Raises:
        ConfigError: The vocabulary is smaller than the tokenizer's.
        DataError: The text cannot be read, or has fewer sequences than are asked for.
    """
    config = job.text
    if config is None:
        return None
    file = tokenizer_file(config)
    size = _load(file).get_vocab_size() if file else BYTES
    if size > job.vocabulary:
        raise ConfigError(
            f"`vocabulary` is {job.vocabulary:,}, and the text's tokenizer has {size:,} tokens",
            hint=f"set `vocabulary: {size}`",
        )
    n_reference = (
        config.reference.n_sequences if isinstance(config.reference, SameSizeReference) else 0
    )
    counts = [config.n_test, n_reference, max(config.n_sequences)]
    found = cut_windows(_documents(config, job.length), job.length, sum(counts))
    if int(found.tokens.max()) >= job.vocabulary:
        raise ConfigError(
            f"`vocabulary` is {job.vocabulary:,}, and the text has a token numbered "
            f"{int(found.tokens.max()):,}",
            hint="the tokenizer's numbers have gaps: set `vocabulary` above the largest",
        )
    test, reference, train = torch.split(found.tokens, counts)
    return TextData(train, test, reference, found.n_short, found.n_duplicates, size)


def digest_of(*tokens: Tensor) -> str:
    """Return a hash of sequences."""
    digest = hashlib.sha256()
    for one in tokens:
        digest.update(f"{tuple(one.shape)}".encode())
        digest.update(one.numpy().tobytes())
    return digest.hexdigest()


def tokenizer_file(config: TextConfig) -> Path | None:
    """Return the file of a text's tokenizer; None where it is read as bytes."""
    if config.tokenizer == "bytes":
        return None
    return TOKENIZER_FILE if config.tokenizer == "lab" else Path(config.tokenizer).expanduser()


def _documents(config: TextConfig, length: int) -> Iterable[IntArray]:
    """Return token ids of documents, or consecutive pieces where the text is one.

    Those of a file come in random order: what is near in it may be alike.
    """
    if config.source == "lab":
        return _pieces(_lab_tokens(config), length)
    path = Path(config.source).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the text `{path}` cannot be read: {error}") from None
    if path.suffix == ".jsonl":
        found = [_encode(document, config) for document in _texts(text, path)]
    else:
        found = list(_pieces(iter([_encode(text, config)]), length))
    order = np.random.default_rng(config.seed).permutation(len(found))
    return (found[place] for place in order)


def _lab_tokens(config: TextConfig) -> Iterator[IntArray]:
    card = json.loads(_LAB_CARD.read_text(encoding="utf-8"))
    recipe = PretrainRecipe.model_validate(card["recipe"])
    documents = stream_documents(
        make_world(recipe.world_seed),
        recipe.stages[-1].corpus(),
        random.Random(f"capacity {config.seed}"),
    )
    for document in documents:
        yield _encode(document.text + END_OF_TEXT, config)


def _pieces(tokens: Iterator[IntArray], length: int) -> Iterator[IntArray]:
    """Yield consecutive pieces of a stream; a rest that is shorter is left out."""
    flat = itertools.chain.from_iterable(part.tolist() for part in tokens)
    while len(piece := list(itertools.islice(flat, length))) == length:
        yield np.array(piece, dtype=np.int64)


def _texts(text: str, path: Path) -> Iterator[str]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError):
            found = None
        if not isinstance(found, str):
            raise DataError(f"{path}:{number} has no `text`")
        yield found


def _encode(text: str, config: TextConfig) -> IntArray:
    file = tokenizer_file(config)
    if file is None:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)
    return np.array(_load(file).encode(text).ids, dtype=np.int64)


@functools.cache
def _load(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"no tokenizer in `{file}`: {error}") from None
