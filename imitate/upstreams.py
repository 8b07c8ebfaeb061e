"""The servers behind the endpoint: one for each base with all its adapters, and the teacher's.

In: a run and which of it is wanted. Out: where each arm is served, while the block lasts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from evals.errors import RunError
from evals.server import checked_key, checked_url
from imitate.config import BaseConfig, Config, EndpointTeacher, ModelTeacher
from imitate.keys import key_from
from imitate.plan import TEACHER, Arm
from imitate.plan.arms import group_of
from imitate.relay import Upstream
from imitate.served import ServedRun, kind_of

__all__ = ["open_upstreams"]


@contextlib.contextmanager
def open_upstreams(run: ServedRun, arms: Sequence[Arm]) -> Iterator[Mapping[str, Upstream]]:
    """Serve arms of a run, and yield where each is, in their order.

    Raises:
        ImitateError: A server did not start; those before it are stopped.
    """
    config = run.config
    wanted = {group_of(arm) for arm in arms}
    found: dict[str, Upstream] = {}
    with contextlib.ExitStack() as servers:
        for base in config.bases:
            if base.name in wanted:
                opened = open_base(config, base, run.adapters(base.name))
                found |= servers.enter_context(opened)
        if TEACHER in wanted:
            found |= servers.enter_context(_open_teacher(config))
        yield {
            arm.name: Upstream(at.url, at.model, at.api_key, kind_of(config, arm))
            for arm in arms
            if (at := found[arm.name])
        }


def open_base(
    config: Config, base: BaseConfig, adapters: Mapping[str, Path]
) -> AbstractContextManager[Mapping[str, Upstream]]:
    """Serve a base under its name, and each adapter (a folder) under its arm's.

    Raises:
        RunError: Nothing here serves it.
    """
    raise RunError(f"no server of models is here to serve `{base.name}` and {len(adapters)} more")


@contextlib.contextmanager
def _open_teacher(config: Config) -> Iterator[Mapping[str, Upstream]]:
    teacher = config.teacher
    if isinstance(teacher, EndpointTeacher):
        key = checked_key(key_from(teacher.api_key_env, "teacher.api_key_env"))
        yield {TEACHER: Upstream(checked_url(teacher.url), teacher.model, key)}
        return
    assert isinstance(teacher, ModelTeacher), teacher
    alone = BaseConfig(name=TEACHER, model=teacher.model)
    with open_base(config, alone, {}) as found:
        yield found
