"""A base and its adapters -> an open `Endpoint`, closed when the block ends.

Each backend is one function here: it opens, yields and releases. Today there is one, in process.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from evals.endpoint import Endpoint
from imitate.config import ServeConfig
from imitate.models import ModelRef, choose_dtype, load_tokenizer

__all__ = ["open_endpoint"]


def open_endpoint(
    serve: ServeConfig,
    ref: ModelRef,
    adapters: Mapping[str, Path],
    *,
    chat_template: Path | None = None,
) -> AbstractContextManager[Endpoint]:
    """Return a context manager that serves a base and its adapters by name.

    Raises:
        ModelError: The base or an adapter cannot be used; raised when the block is entered.
    """
    match serve.backend:
        case "transformers":
            return _in_process(serve, ref, adapters, chat_template)


@contextmanager
def _in_process(
    serve: ServeConfig, ref: ModelRef, adapters: Mapping[str, Path], chat_template: Path | None
) -> Iterator[Endpoint]:
    from imitate.engine import Engine

    engine = Engine(
        ref,
        load_tokenizer(ref, chat_template),
        adapters,
        dtype=choose_dtype(serve.dtype, ref),
        batch_tokens=serve.batch_tokens,
        merge_adapters=serve.merge_adapters,
    )
    try:
        yield engine
    finally:
        del engine
        gc.collect()  # models hold reference cycles; the next base needs the memory
