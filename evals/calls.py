"""Requests to model servers -> their answers as plain values, some under way at a time.

Each request is looked up in a cache first and paid from a budget. Where several servers hold the
same models, requests take turns among them, and one that cannot be reached is passed over. A call
that fails for good is told by its `CallError`; servers that answer nobody are an error.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from evals import wire
from evals.answercache import open_cache, read_answer, write_answer
from evals.endpoint import Progress
from evals.errors import EndpointError, ImitateError, UserError
from evals.ledger import Ledger, Spending
from evals.server import Server
from evals.transport import CallError, CallPolicy, Clock, Fault, Transport
from evals.wire import Request

__all__ = ["Answer", "Caller", "Reader"]

Answer = dict[str, Any] | CallError
"""What a `Reader` made of a reply, or why there is none."""

_SCHEMA_WORDS = re.compile(r"response_format|json_schema|structured.output|guided", re.IGNORECASE)
"""How servers name what they refuse, where it is the form of the answer."""

Reader = Callable[[Request, dict[str, Any]], dict[str, Any]]


class Caller:
    """Open connections to servers that hold the same models; used until closed.

    Args:
        servers: Where they are, and their keys.
        policy: How calls are made.
        cache: Folder that keeps answers by request, whichever server gave them.
        ledger: Counts tokens and cost, and holds the budget.
        account: Under which it counts them; under the model's name where empty.
        clock: Time and chance.

    Raises:
        UserError: A URL, a key or the cache's folder cannot be used.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        policy: CallPolicy | None = None,
        cache: Path | None = None,
        ledger: Ledger | None = None,
        account: str = "",
        clock: Clock | None = None,
    ) -> None:
        assert servers, "a caller needs a server"
        self.ledger = ledger or Ledger()
        self._account = account
        self._policy = policy or CallPolicy()
        self._cache = open_cache(cache) if cache else None
        self._transports = [Transport(one, self._policy, clock or Clock()) for one in servers]
        self._turns = itertools.count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._is_lost = False
        self._has_answered = False
        self._n_failed_in_row = 0
        self._limit_name = "max_tokens"
        self._takes_schemas = True

    def close(self) -> None:
        """Close all connections."""
        for transport in self._transports:
            transport.close()

    def give_up(self) -> None:
        """End the calls under way from another thread: the servers are gone for good."""
        self._is_lost = True
        self._stop.set()

    def ask(
        self,
        requests: Sequence[Request],
        read: Reader,
        *,
        save: Callable[[int, Answer], object],
        progress: Progress | None = None,
    ) -> None:
        """Ask all, and hand each answer with its request's place to `save`, as they come.

        After an error nothing new is sent; what was saved by then stays good.

        Raises:
            BudgetError: The next request could exceed the budget.
            EndpointError: No server is there, or not any more.
            UserError: It refuses the key, or does not know the model.
        """
        self._stop = threading.Event()
        errors: list[ImitateError] = []  # the first is the reason, others only follow from it

        def work(place: int) -> tuple[int, Answer]:
            try:
                return place, self._answer(requests[place], read)
            except ImitateError as error:
                errors.append(error)
                self._stop.set()
                raise

        pool = ThreadPoolExecutor(self._policy.max_in_flight)
        try:
            futures = [pool.submit(work, place) for place in range(len(requests))]
            for future in as_completed(futures):
                if future.exception() is None:
                    save(*future.result())
                    if progress:
                        progress(1)
                elif errors:
                    raise errors[0]
                else:
                    future.result()
        finally:
            self._stop.set()
            pool.shutdown(cancel_futures=True)  # what is under way is paid: it is kept

    def _answer(self, request: Request, read: Reader) -> Answer:
        """Return an answer as plain values, from the cache if it is there."""
        known = read_answer(self._cache, request.digest) if self._cache else None
        if known is not None:
            self._record(request, Spending(n_cached=1))
            return known
        try:
            answer = self._pay(request, read)
        except CallError as error:
            if self._is_lost:
                raise EndpointError("the server is gone") from error
            if self._stop.is_set():
                raise
            self._record(request, Spending(n_failed=1))
            self._count_failure(error.fault)
            return error
        if self._cache and not answer.get("error"):
            write_answer(self._cache, request.digest, answer)
        return answer

    def _pay(self, request: Request, read: Reader) -> dict[str, Any]:
        with self.ledger.reserve(self._account or request.model, request.at_most):
            reply = self._post(request)
            usage = wire.read_usage(request, reply)
            self._record(request, Spending(n_answered=1, usage=usage))
        answer = read(request, reply)
        with self._lock:
            self._has_answered, self._n_failed_in_row = True, 0
        if not request.is_scoring and wire.is_refusal(reply):
            self._record(request, Spending(n_refused=1))
        return answer

    def _record(self, request: Request, more: Spending) -> None:
        self.ledger.record(self._account or request.model, more)

    def _post(self, request: Request) -> dict[str, Any]:
        """Return the reply of the server whose turn it is, or of the next that can be reached."""
        first = next(self._turns)
        for offset in range(len(self._transports)):
            transport = self._transports[(first + offset) % len(self._transports)]
            try:
                return self._post_to(transport, request)
            except CallError as error:
                is_last = offset == len(self._transports) - 1
                if is_last or not error.fault.is_unreachable:
                    raise
        raise AssertionError("unreachable")

    def _post_to(self, transport: Transport, request: Request) -> dict[str, Any]:
        """Return the reply, asked for in the words that the server takes."""
        n_tokens = request.at_most.total_tokens
        while True:
            sent = self._worded(request.body)
            try:
                return transport.post(request.path, sent, self._stop, n_tokens)
            except CallError as error:
                self._learn(error.fault)
                if self._worded(request.body) == sent:
                    raise

    def _worded(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body without what the servers were found not to take."""
        return {
            self._limit_name if key == "max_tokens" else key: value
            for key, value in body.items()
            if key != "response_format" or self._takes_schemas
        }

    def _learn(self, fault: Fault) -> None:
        """Note that the servers want another word for the limit, or know no schemas."""
        if fault.code == "unsupported_parameter" and fault.parameter == "max_tokens":
            self._limit_name = "max_completion_tokens"
        is_refused = fault.status in (400, 422) and not fault.is_transient
        if is_refused and _SCHEMA_WORDS.search(f"{fault.parameter} {fault.message}"):
            self._takes_schemas = False

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
