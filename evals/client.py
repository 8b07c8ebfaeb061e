"""An OpenAI-compatible server, vLLM's or a hosted one, as an `Endpoint`.

In: prompts. Out: answers in the order of the prompts, some requests under way at a time, each
looked up in a cache first and paid from a budget. One call that fails for good is a failed
`Generation`; a server that is not there, refuses the key or does not know the model is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from evals import wire
from evals.answercache import open_cache, read_answer, write_answer
from evals.endpoint import Generation, Message, Progress, Sampling, TokenLogprobs
from evals.errors import EndpointError, ImitateError, UserError
from evals.ledger import Ledger, Spending
from evals.server import Server
from evals.transport import CallError, CallPolicy, Clock, Fault, Transport
from evals.wire import Request

__all__ = ["OpenAIEndpoint"]

ResultT = TypeVar("ResultT")
Reader = Callable[[Request, dict[str, Any]], dict[str, Any]]


class OpenAIEndpoint:
    """Models of one server; open connections until it is closed.

    Args:
        server: Where the server is, and its key.
        models: The server's name of each model, by the name under which it is asked here: `BASE`
            first, then the adapters.
        policy: How calls are made.
        cache: Folder that keeps answers by model, prompt and sampling, whichever host gave them;
            where two servers call different models by one name, give each its own.
        ledger: Counts tokens and cost, and holds the budget.
        clock: Time and chance.

    Raises:
        UserError: The URL, the key or the cache's folder cannot be used.
    """

    def __init__(
        self,
        server: Server,
        models: Mapping[str, str],
        *,
        policy: CallPolicy | None = None,
        cache: Path | None = None,
        ledger: Ledger | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.ledger = ledger or Ledger()
        self._models = dict(models)
        self._policy = policy or CallPolicy()
        self._cache = open_cache(cache) if cache else None
        self._transport = Transport(server, self._policy, clock or Clock())
        self._lock = threading.Lock()
        self._has_answered = False
        self._n_failed_in_row = 0
        self._limit_name = "max_tokens"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    @property
    def models(self) -> tuple[str, ...]:
        """Names that can be asked: `BASE` first, then the adapters."""
        return tuple(self._models)

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return a chat as a prompt for `generate`: its messages, marked (see `evals.wire`)."""
        return wire.render_messages(messages)

    def generate(
        self,
        model: str,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """Return one answer for each prompt; a call that failed for good is a failed one.

        Raises:
            BudgetError: The next request could exceed the budget.
            EndpointError: The server is not there, or not any more.
            UserError: It refuses the key, or does not know the model.
        """
        name = self._name(model)
        requests = [wire.request_generation(name, prompt, sampling) for prompt in prompts]
        return self._in_order(self._generate_one, requests, progress)

    def token_logprobs(
        self,
        model: str,
        pairs: Sequence[tuple[str, str]],
        *,
        progress: Progress | None = None,
    ) -> list[TokenLogprobs]:
        """Return the log-probabilities of each (context, continuation)'s continuation tokens.

        Raises:
            BudgetError: The next request could exceed the budget.
            EndpointError: A call failed for good, or the server does not score prompts.
            UserError: It refuses the key, or does not know the model.
        """
        name = self._name(model)
        requests = [wire.request_logprobs(name, *pair) for pair in pairs]
        return self._in_order(self._score_one, requests, progress)

    def _name(self, model: str) -> str:
        if model not in self._models:
            raise EndpointError(f"no model `{model}` here; there are: {', '.join(self._models)}")
        return self._models[model]

    def _in_order(
        self,
        ask: Callable[[Request, threading.Event], ResultT],
        requests: Sequence[Request],
        progress: Progress | None,
    ) -> list[ResultT]:
        """Return what each was answered, in order; after an error nothing new is sent."""
        stop = threading.Event()
        errors: list[ImitateError] = []  # the first is the reason, others only follow from it

        def work(request: Request) -> ResultT:
            try:
                return ask(request, stop)
            except ImitateError as error:
                errors.append(error)
                stop.set()
                raise

        pool = ThreadPoolExecutor(self._policy.max_in_flight)
        try:
            futures = [pool.submit(work, request) for request in requests]
            for future in as_completed(futures):
                if errors:
                    raise errors[0]
                future.result()
                if progress:
                    progress(1)
            return [future.result() for future in futures]
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)  # what is under way is paid: it is kept

    def _generate_one(self, request: Request, stop: threading.Event) -> Generation:
        try:
            return Generation(**self._answer(request, wire.read_generation, stop))
        except CallError as error:
            return Generation("", 0, "error", str(error))

    def _score_one(self, request: Request, stop: threading.Event) -> TokenLogprobs:
        answer = self._answer(request, wire.read_logprobs, stop)
        return TokenLogprobs(
            np.array(answer["logprobs"], dtype=np.float64),
            np.array(answer["starts"], dtype=np.int64),
            bool(answer["is_greedy"]),
        )

    def _answer(self, request: Request, read: Reader, stop: threading.Event) -> dict[str, Any]:
        """Return an answer as plain values, from the cache if it is there."""
        known = read_answer(self._cache, request.digest) if self._cache else None
        if known is not None:
            self.ledger.record(request.model, Spending(n_cached=1))
            return known
        try:
            answer = self._ask(request, read, stop)
        except CallError as error:
            if not stop.is_set():
                self.ledger.record(request.model, Spending(n_failed=1))
                self._count_failure(error.fault)
            raise
        if self._cache and not answer.get("error"):
            write_answer(self._cache, request.digest, answer)
        return answer

    def _ask(self, request: Request, read: Reader, stop: threading.Event) -> dict[str, Any]:
        with self.ledger.reserve(request.model, request.at_most):
            reply = self._post(request, stop)
            usage = wire.read_usage(request, reply)
            self.ledger.record(request.model, Spending(n_answered=1, usage=usage))
        answer = read(request, reply)
        with self._lock:
            self._has_answered, self._n_failed_in_row = True, 0
        if not request.continuation and wire.is_refusal(reply):
            self.ledger.record(request.model, Spending(n_refused=1))
        return answer

    def _post(self, request: Request, stop: threading.Event) -> dict[str, Any]:
        """Return the reply, under the other name of the token limit where the server wants that."""
        n_tokens = request.at_most.total_tokens
        try:
            return self._transport.post(request.path, self._named(request.body), stop, n_tokens)
        except CallError as error:
            is_misnamed = error.fault.code == "unsupported_parameter"
            if not is_misnamed or error.fault.parameter != "max_tokens":
                raise
        self._limit_name = "max_completion_tokens"
        return self._transport.post(request.path, self._named(request.body), stop, n_tokens)

    def _named(self, body: dict[str, Any]) -> dict[str, Any]:
        return {self._limit_name if key == "max_tokens" else key: body[key] for key in body}

    def _count_failure(self, fault: Fault) -> None:
        """Let one call fail; raise if the server answers nobody."""
        with self._lock:
            has_answered = self._has_answered
            self._n_failed_in_row += fault.is_transient or not has_answered
            n_failed = self._n_failed_in_row
        if fault.is_unreachable and not has_answered:
            raise EndpointError(f"{fault.message}; is the server up, and the URL right?")
        if fault.status == 403 and not has_answered:
            raise UserError(
                fault.message, hint="check that the key may use this model, and from here"
            )
        if n_failed >= self._policy.max_failed_in_row:
            raise EndpointError(f"{n_failed} calls failed one after another; last: {fault.message}")
