"""The servers behind the endpoint: one for each base with all its adapters, and the teacher's.

In: a run and which of it is wanted. Out: where each arm is served, while the block lasts.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evals.endpoint import BASE
from evals.server import checked_key, checked_url
from imitate.config import BaseConfig, Config, EndpointTeacher, ModelTeacher
from imitate.keys import key_from
from imitate.lint import lint_adapters
from imitate.models import (
    choose_dtype,
    context_length,
    generation_config,
    load_tokenizer,
    resolve_model,
)
from imitate.plan import TEACHER, Arm
from imitate.plan.arms import group_of
from imitate.serving.arms import ServedRun, kind_of
from imitate.serving.relay import Upstream
from imitate.tokens import stop_ids
from imitate.vllm.command import MAX_RANK
from imitate.vllm.process import VllmServer

__all__ = ["open_upstreams"]


@contextlib.contextmanager
def open_upstreams(run: ServedRun, arms: Sequence[Arm]) -> Iterator[Mapping[str, Upstream]]:
    """Serve arms of a run, and yield where each is, in their order.

    Raises:
        ImitateError: A server did not start; those before it are stopped.
    """
    wanted = {group_of(arm) for arm in arms}
    is_remote = isinstance(run.config.teacher, EndpointTeacher)
    n_ours = len(wanted - {TEACHER} if is_remote else wanted)
    config, logs = _shared_out(run.config, max(1, n_ours)), run.folder / "logs"
    found: dict[str, Upstream] = {}
    with contextlib.ExitStack() as servers:
        for base in config.bases:
            if base.name in wanted:
                opened = open_base(config, base, run.adapters(base.name), logs)
                found |= servers.enter_context(opened)
        if TEACHER in wanted:
            found |= servers.enter_context(_open_teacher(config, logs))
        yield {
            arm.name: dataclasses.replace(found[arm.name], kind=kind_of(config, arm))
            for arm in arms
        }


def _shared_out(config: Config, n_servers: int) -> Config:
    """Return a config under which so many servers share one GPU's memory."""
    share = config.serve.vllm.gpu_memory_utilization / n_servers
    vllm = config.serve.vllm.model_copy(update={"gpu_memory_utilization": share})
    serve = config.serve.model_copy(update={"vllm": vllm})
    return config.model_copy(update={"serve": serve})


@contextlib.contextmanager
def open_base(
    config: Config, base: BaseConfig, adapters: Mapping[str, Path], logs: Path
) -> Iterator[Mapping[str, Upstream]]:
    """Serve a base under its name, and each adapter (a folder) under its arm's, by vLLM.

    Raises:
        MissingExtraError: vLLM is not installed.
        ModelError: The base or an adapter cannot be served.
        RunError: The server does not start.
    """
    ref = resolve_model(base.checkpoint, config.lab)
    tokenizer = load_tokenizer(ref, base.chat_template)
    lint_adapters(adapters, ref, tokenizer, max_rank=MAX_RANK)

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=True))

    settings = config.serve.vllm
    if base.chat_template:
        template = ("--chat-template", str(base.chat_template))
        settings = settings.model_copy(update={"arguments": [*settings.arguments, *template]})
    with VllmServer(
        ref,
        adapters,
        settings,
        dtype=str(choose_dtype(config.serve.dtype, ref)).removeprefix("torch."),
        max_length=settings.max_model_len or context_length(ref),
        log=logs / f"vllm-{base.name}.log",
    ) as vllm:
        alone = Upstream(
            vllm.server.url,
            BASE,
            vllm.server.api_key,
            defaults={"stop_token_ids": list(stop_ids(tokenizer, generation_config(ref)))},
            decode=decode,
        )
        adapted = {name: dataclasses.replace(alone, model=name) for name in adapters}
        yield {base.name: alone, **adapted}


@contextlib.contextmanager
def _open_teacher(config: Config, logs: Path) -> Iterator[Mapping[str, Upstream]]:
    teacher = config.teacher
    if isinstance(teacher, EndpointTeacher):
        key = checked_key(key_from(teacher.api_key_env, "teacher.api_key_env"))
        yield {TEACHER: Upstream(checked_url(teacher.url), teacher.model, key)}
        return
    assert isinstance(teacher, ModelTeacher), teacher
    alone = BaseConfig(name=TEACHER, model=teacher.model)
    with open_base(config, alone, {}, logs) as found:
        yield found
