"""A base and its adapters -> an open `Endpoint`, closed when the block ends.

Each backend is one function here: it opens, yields and releases. Today there is one, in process.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from evals.endpoint import BASE, Endpoint
from evals.errors import ConfigError
from imitate.config import EndpointTeacher, LabConfig, ModelTeacher, ServeConfig
from imitate.hashing import cache_folder
from imitate.models import ModelRef, choose_dtype, load_tokenizer, resolve_model

__all__ = ["open_endpoint", "open_teacher", "teacher_key"]


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


def open_teacher(
    teacher: ModelTeacher | EndpointTeacher, serve: ServeConfig, lab: LabConfig
) -> AbstractContextManager[Endpoint]:
    """Return a context manager that serves a teacher as an endpoint's base model.

    A remote teacher's answers are kept in the user's cache, apart for each server: a run that was
    killed does not pay for them twice.

    Raises:
        ConfigError: The variable that should hold the key is not set.
        ModelError: The teacher's checkpoint cannot be used; also raised when the block is entered.
        UserError: The server's URL or key cannot be used.
    """
    if isinstance(teacher, ModelTeacher):
        return open_endpoint(serve, resolve_model(teacher.model, lab), {})
    from evals.client import OpenAIEndpoint
    from evals.server import Server

    place = hashlib.sha256(teacher.url.encode()).hexdigest()[:16]
    return OpenAIEndpoint(
        Server(teacher.url, teacher_key(teacher)),
        {BASE: teacher.model},
        cache=cache_folder() / "answers" / place,
    )


def teacher_key(teacher: EndpointTeacher) -> str | None:
    """Return the key to a teacher's server, from the environment variable that the config names.

    Raises:
        ConfigError: The variable is not set.
    """
    name = teacher.api_key_env
    if name is None:
        return None
    if not os.environ.get(name, "").strip():
        raise ConfigError(
            f"`teacher.api_key_env` names `{name}`, an environment variable that is not set",
            hint=f"export {name}=... before the run; the key itself never goes into a config",
        )
    return os.environ[name]


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
