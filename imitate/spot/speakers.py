"""Who answers for each arm: a running endpoint, the models in this process, recorded outputs."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx2

from evals.endpoint import BASE, Generation, Message, Sampling
from evals.errors import DataError, EndpointError, UserError
from evals.server import Server, is_loopback
from imitate.config import EndpointTeacher, OutputsTeacher
from imitate.keys import key_from
from imitate.plan import TEACHER, Arm, ArmKind
from imitate.plan.arms import group_of
from imitate.run import Endpoints
from imitate.serving.arms import ServedRun, kind_of
from imitate.spot.stream import Piece, stream_chat

__all__ = ["Speaker", "in_process_speakers", "recorded_teacher", "running_speakers"]

LISTING_S = 30

Ask = Callable[[Sequence[Message], Sampling], AsyncIterator[Piece]]
"""A conversation whose last turn is the user's -> the pieces of an answer."""


@dataclasses.dataclass(frozen=True)
class Speaker:
    """An arm that answers. `kind` is empty where an endpoint does not tell it."""

    name: str
    kind: str
    ask: Ask


def running_speakers(server: Server) -> list[Speaker]:
    """Return the arms of a running endpoint.

    Raises:
        EndpointError: Nothing answers there, or not as an endpoint does.
        UserError: It refuses the key.
    """
    headers = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    try:
        reply = httpx2.get(
            f"{server.url}/models",
            headers=headers,
            timeout=LISTING_S,
            trust_env=not is_loopback(server.url),
        )
    except httpx2.HTTPError:
        raise EndpointError(f"nothing answers at {server.url}; is `imitate serve` up?") from None
    if reply.status_code == 401:
        raise UserError(
            f"the endpoint at {server.url} refuses the key",
            hint="put the key that `imitate serve` printed into IMITATE_SERVE_KEY",
        )
    try:
        listed = [(str(one["id"]), str(one.get("kind", ""))) for one in reply.json()["data"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise EndpointError(f"{server.url} lists no models, as an endpoint does") from None
    return [
        Speaker(name, kind, functools.partial(stream_chat, server, name)) for name, kind in listed
    ]


def recorded_teacher(teacher: OutputsTeacher) -> Speaker:
    """Return a teacher that is known by its outputs: it answers the prompts of its file."""

    async def ask(messages: Sequence[Message], _: Sampling) -> AsyncIterator[Piece]:
        from imitate.outputs import read_outputs

        if len(messages) > 1:
            raise DataError("recorded outputs answer first turns only: `/new` starts afresh")
        try:
            output = read_outputs(teacher, [messages[-1]["content"]])[0]
        except DataError as error:
            raise DataError(f"no recorded output on this prompt: {error.message}") from error
        yield Piece(output or "", "stop")

    return Speaker(TEACHER, "teacher, recorded", ask)


@contextlib.contextmanager
def in_process_speakers(run: ServedRun) -> Iterator[list[Speaker]]:
    """Yield the arms of a run, answered in this process: one model is open, one arm at a time."""
    serve = run.config.serve.model_copy(update={"backend": "transformers"})
    plan = dataclasses.replace(run.plan, config=run.config.model_copy(update={"serve": serve}))
    endpoints = Endpoints(plan, dict(run.trained), run.folder / "logs")
    queue = ThreadPoolExecutor(1, thread_name_prefix="models")

    def generate(arm: Arm, messages: Sequence[Message], sampling: Sampling) -> Generation:
        endpoint = endpoints.get(group_of(arm))
        prompt = endpoint.render_chat(messages)
        return endpoint.generate(arm.trained_by or BASE, [prompt], sampling)[0]

    async def ask(
        arm: Arm, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[Piece]:
        loop = asyncio.get_running_loop()
        one = await loop.run_in_executor(queue, generate, arm, messages, sampling)
        if one.error:
            raise EndpointError(one.error)
        yield Piece(one.text, one.finish_reason)

    try:
        teacher = run.config.teacher
        yield [
            Speaker(arm.name, kind_of(run.config, arm), _remote(teacher))
            if arm.kind is ArmKind.TEACHER and isinstance(teacher, EndpointTeacher)
            else Speaker(arm.name, kind_of(run.config, arm), functools.partial(ask, arm))
            for arm in run.arms
        ]
    finally:
        queue.shutdown(cancel_futures=True)
        endpoints.close()


def _remote(teacher: EndpointTeacher) -> Ask:
    return functools.partial(
        stream_chat,
        Server(teacher.url.rstrip("/"), key_from(teacher.api_key_env, "teacher.api_key_env")),
        teacher.model,
    )
