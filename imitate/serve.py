"""A base and its adapters -> an open `Endpoint`, closed when the block ends.

Each backend is one context manager: it opens, yields and releases. The in-process engine is bound
here, servers of vLLM's in `imitate.vllm`.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evals.endpoint import BASE, Endpoint
from imitate.config import EndpointTeacher, LabConfig, ModelTeacher, ServeConfig
from imitate.hashing import cache_folder
from imitate.keys import key_from
from imitate.models import ModelRef, choose_dtype, load_tokenizer, resolve_model

if TYPE_CHECKING:
    from evals.client import OpenAIEndpoint
    from evals.ledger import Ledger
    from evals.transport import CallPolicy

__all__ = ["open_endpoint", "open_server", "open_teacher"]


def open_endpoint(
    serve: ServeConfig,
    ref: ModelRef,
    adapters: Mapping[str, Path],
    *,
    name: str = BASE,
    chat_template: Path | None = None,
    logs: Path = Path("logs"),
) -> AbstractContextManager[Endpoint]:
    """Return a context manager that serves a base and its adapters by name.

    Args:
        serve: Which backend, and how.
        ref: The base's checkpoint.
        adapters: Folder of each adapter, by the name under which it is asked.
        name: What the config calls the base.
        chat_template: Replaces the tokenizer's own.
        logs: Folder for what a server of our own prints.

    Raises:
        ModelError: The base or an adapter cannot be used; raised when the block is entered, as are
            the errors of servers.
    """
    match serve.backend:
        case "transformers":
            return _in_process(serve, ref, adapters, chat_template)
        case "vllm":
            from imitate.vllm.endpoint import open_vllm

            log = logs / f"vllm-{name}.log"
            return open_vllm(serve, ref, adapters, chat_template=chat_template, log=log)
        case "endpoint":
            from imitate.vllm.endpoint import open_running

            return open_running(serve, ref, adapters, base=name, chat_template=chat_template)


def open_teacher(
    teacher: ModelTeacher | EndpointTeacher,
    serve: ServeConfig,
    lab: LabConfig,
    *,
    logs: Path = Path("logs"),
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
        ref = resolve_model(teacher.model, lab)
        return open_endpoint(serve, ref, {}, name="teacher", logs=logs)
    place = hashlib.sha256(teacher.url.encode()).hexdigest()[:16]
    return open_server(teacher, cache=cache_folder() / "answers" / place)


def open_server(
    teacher: EndpointTeacher,
    *,
    cache: Path | None = None,
    policy: CallPolicy | None = None,
    ledger: Ledger | None = None,
    account: str = "",
    key_field: str = "teacher.api_key_env",
) -> OpenAIEndpoint:
    """Return a remote teacher as an endpoint's base model; it is closed when its block ends.

    Args:
        teacher: Where it is.
        cache: Folder that keeps its answers; each is asked afresh where empty.
        policy: How it is called.
        ledger: Counts tokens and cost, and holds the budget.
        account: Under which it counts them; under the model's name there where empty.
        key_field: Where the config names the variable that holds the key.

    Raises:
        ConfigError: The variable that should hold the key is not set.
        UserError: The server's URL or key cannot be used.
    """
    from evals.client import OpenAIEndpoint
    from evals.server import Server

    server = Server(teacher.url, key_from(teacher.api_key_env, key_field))
    models = {BASE: teacher.model}
    return OpenAIEndpoint(
        server, models, policy=policy, cache=cache, ledger=ledger, account=account
    )


@contextmanager
def _in_process(
    serve: ServeConfig, ref: ModelRef, adapters: Mapping[str, Path], chat_template: Path | None
) -> Iterator[Endpoint]:
    from imitate.engine import Engine
    from imitate.lint import lint_adapters

    tokenizer = load_tokenizer(ref, chat_template)
    lint_adapters(adapters, ref, tokenizer)
    engine = Engine(
        ref,
        tokenizer,
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
