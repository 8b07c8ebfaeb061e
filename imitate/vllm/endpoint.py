"""Servers of vLLM's as an `Endpoint`, asked in token ids.

The base's own tokenizer renders and encodes here, as it did for training and as it does in process,
so a server sees the very tokens that the in-process engine would. A server that dies is started
again, and only what was not answered is asked again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evals import wire
from evals.calls import Answer, Caller, Reader
from evals.client import as_generation, as_logprobs
from evals.endpoint import BASE, Generation, Message, Progress, Sampling, TokenLogprobs
from evals.errors import EndpointError
from evals.server import Server
from evals.transport import CallError, CallPolicy
from evals.wire import Request
from imitate.config import RunningServerConfig, ServeConfig
from imitate.keys import key_from
from imitate.lint import lint_adapters
from imitate.models import ModelRef, choose_dtype, context_length, generation_config, load_tokenizer
from imitate.tokens import answer_text, encode, encode_pair, render_chat, stop_ids, too_long
from imitate.vllm.command import MAX_RANK
from imitate.vllm.process import VllmServer
from imitate.vllm.running import loaded_adapters

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["ServedEndpoint", "open_running", "open_vllm"]

TIMEOUT_S, DEADLINE_S = 600.0, 1800.0
"""Longest wait for one answer, and for one call with its retries: a busy CPU takes its time."""


@dataclasses.dataclass(frozen=True)
class Prompts:
    """How texts become token ids: what training, the in-process engine and a server share."""

    tokenizer: PreTrainedTokenizerBase
    stop_ids: tuple[int, ...]
    max_length: int


class ServedEndpoint:
    """A base and its adapters on servers.

    Args:
        names: The servers' name of each model, by the name under which it is asked here.
        prompts: The base's tokenizer and context.
        connect: Opens connections to the servers.
        revive: Makes the servers answer again after this error, or raises.
    """

    def __init__(
        self,
        names: Mapping[str, str],
        prompts: Prompts,
        connect: Callable[[], Caller],
        revive: Callable[[Exception], None],
    ) -> None:
        self._names = dict(names)
        self._prompts = prompts
        self._connect = connect
        self._revive = revive
        self._caller = connect()

    def close(self) -> None:
        """Close all connections."""
        self._caller.close()

    @property
    def models(self) -> tuple[str, ...]:
        """Names that can be asked: `BASE` first, then the adapters."""
        return tuple(self._names)

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return a chat as prompt text; whole where its last turn is the assistant's."""
        is_finished = messages[-1]["role"] == "assistant"
        return render_chat(self._prompts.tokenizer, messages, is_finished=is_finished)

    def generate(
        self,
        model: str,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """Return one answer for each prompt; one that fills the context has failed.

        Raises:
            EndpointError: The servers are gone and do not come back.
        """
        name, limit = self._name(model), self._prompts.max_length
        first = self._prompts.stop_ids[:1]
        encoded = [encode(self._prompts.tokenizer, one) or list(first) for one in prompts]
        fits = [place for place, ids in enumerate(encoded) if len(ids) < limit]
        requests = [
            wire.request_tokens(
                name,
                encoded[place],
                _for_prompt(sampling, prompts[place], limit - len(encoded[place])),
                self._prompts.stop_ids,
            )
            for place in fits
        ]
        answers = dict(zip(fits, self._answers(requests, wire.read_tokens, progress), strict=True))
        if progress and len(fits) < len(prompts):
            progress(len(prompts) - len(fits))
        return [
            self._read(answers[place], sampling.stop)
            if place in answers
            else too_long(len(encoded[place]), limit)
            for place in range(len(prompts))
        ]

    def token_logprobs(
        self,
        model: str,
        pairs: Sequence[tuple[str, str]],
        *,
        progress: Progress | None = None,
    ) -> list[TokenLogprobs]:
        """Return the log-probabilities of each (context, continuation)'s continuation tokens.

        Raises:
            EndpointError: The servers are gone and do not come back, or a text is too long.
        """
        name = self._name(model)
        requests = [self._scoring(name, *pair) for pair in pairs]
        return [as_logprobs(a) for a in self._answers(requests, wire.read_token_logprobs, progress)]

    def _name(self, model: str) -> str:
        if model not in self._names:
            raise EndpointError(f"no model `{model}` here; there are: {', '.join(self._names)}")
        return self._names[model]

    def _read(self, answer: Answer, stop: Sequence[str]) -> Generation:
        """Return an answer as the in-process engine spells it, from its tokens where told."""
        if isinstance(answer, CallError):
            return as_generation(answer)
        fields = dict(answer)
        if (ids := fields.pop("ids")) is not None:
            fields["text"] = answer_text(self._prompts.tokenizer, ids, stop)
        return Generation(**fields)

    def _scoring(self, name: str, context: str, continuation: str) -> Request:
        """Return the request for a pair, cut from the left where the server has no room for it.

        A server must have room for one more token, so a text that fills the context to the last
        one loses two tokens of its beginning that the in-process engine keeps.
        """
        pair = encode_pair(self._prompts.tokenizer, context, continuation)
        room = self._prompts.max_length - 1
        if len(pair.continuation) >= room:
            raise EndpointError(
                f"a continuation of {len(pair.continuation)} tokens exceeds the server's context "
                f"of {self._prompts.max_length}: {continuation[:80]!r}..."
            )
        ids = (*pair.context, *pair.continuation)[-room:]
        return wire.request_token_logprobs(name, ids, pair.starts)

    def _answers(
        self, requests: Sequence[Request], read: Reader, progress: Progress | None
    ) -> list[Answer]:
        """Return what each was answered; after a restart only what is missing is asked."""
        found: dict[int, Answer] = {}
        while len(found) < len(requests):
            waiting = [place for place in range(len(requests)) if place not in found]
            save = functools.partial(_save, found, waiting)
            asked = [requests[place] for place in waiting]
            try:
                self._caller.ask(asked, read, save=save, progress=progress)
            except EndpointError as error:
                self._revive(error)
                self._caller.close()
                self._caller = self._connect()
        return [found[place] for place in range(len(requests))]


def _save(found: dict[int, Answer], places: Sequence[int], number: int, answer: Answer) -> None:
    found[places[number]] = answer


@contextmanager
def open_vllm(
    serve: ServeConfig,
    ref: ModelRef,
    adapters: Mapping[str, Path],
    *,
    chat_template: Path | None,
    log: Path,
) -> Iterator[ServedEndpoint]:
    """Serve a base and its adapters by a vLLM server of our own.

    Raises:
        MissingExtraError: vLLM is not installed.
        RunError: The server does not start; the message has the cause and the end of its log.
    """
    prompts = _prompts(ref, chat_template, serve.vllm.max_model_len)
    lint_adapters(adapters, ref, prompts.tokenizer, max_rank=MAX_RANK)
    dtype = str(choose_dtype(serve.dtype, ref)).removeprefix("torch.")
    with VllmServer(
        ref, adapters, serve.vllm, dtype=dtype, max_length=prompts.max_length, log=log
    ) as server:

        def connect() -> Caller:
            caller = Caller([server.server], policy=_policy(serve))
            server.when_it_dies(caller.give_up)
            return caller

        names = {name: name for name in (BASE, *adapters)}
        endpoint = ServedEndpoint(names, prompts, connect, server.restart)
        try:
            yield endpoint
        finally:
            endpoint.close()


@contextmanager
def open_running(
    serve: ServeConfig,
    ref: ModelRef,
    adapters: Mapping[str, Path],
    *,
    base: str,
    chat_template: Path | None,
) -> Iterator[ServedEndpoint]:
    """Ask vLLM servers that somebody else runs; adapters are loaded there, and unloaded at the end.

    Raises:
        UserError: A server is not there, refuses the key, or takes no adapters.
    """
    where = serve.endpoint
    assert where is not None, "checked with the config"
    prompts = _prompts(ref, chat_template, serve.vllm.max_model_len)
    lint_adapters(adapters, ref, prompts.tokenizer, max_rank=MAX_RANK)
    servers = _servers(where)
    with loaded_adapters(servers, adapters) as names:
        endpoint = ServedEndpoint(
            {BASE: where.models.get(base, ref.name)} | names,
            prompts,
            lambda: Caller(servers, policy=_policy(serve)),
            _give_up,
        )
        try:
            yield endpoint
        finally:
            endpoint.close()


def _servers(where: RunningServerConfig) -> list[Server]:
    key = key_from(where.api_key_env, "serve.endpoint.api_key_env")
    return [Server(url, key) for url in where.urls]


def _give_up(error: Exception) -> None:
    """Leave a server alone that is not ours to start again."""
    raise error


def _policy(serve: ServeConfig) -> CallPolicy:
    return CallPolicy(max_in_flight=serve.max_in_flight, timeout_s=TIMEOUT_S, deadline_s=DEADLINE_S)


def _prompts(ref: ModelRef, chat_template: Path | None, wanted: int | None) -> Prompts:
    tokenizer = load_tokenizer(ref, chat_template)
    return Prompts(
        tokenizer,
        stop_ids(tokenizer, generation_config(ref)),
        wanted or context_length(ref),
    )


def _for_prompt(sampling: Sampling, prompt: str, room: int) -> Sampling:
    """Return the settings for one prompt: a seed of its own, and no more tokens than fit.

    A server draws the same numbers for every request of a seed; with one seed for all, the answers
    of different prompts would hang together.
    """
    digest = hashlib.sha256(f"{sampling.seed}\0{prompt}".encode()).digest()
    return dataclasses.replace(
        sampling,
        max_tokens=min(sampling.max_tokens, room),
        seed=int.from_bytes(digest[:4]),
    )
