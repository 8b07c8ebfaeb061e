"""An OpenAI-compatible server, vLLM's or a hosted one, as an `Endpoint`.

In: prompts. Out: answers in the order of the prompts, some requests under way at a time, each
looked up in a cache first and paid from a budget. One call that fails for good is a failed
`Generation`; a server that is not there, refuses the key or does not know the model is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from evals import wire
from evals.calls import Answer, Caller, Reader
from evals.endpoint import Generation, Message, Progress, Sampling, TokenLogprobs
from evals.errors import EndpointError
from evals.ledger import Ledger
from evals.server import Server
from evals.transport import CallError, CallPolicy, Clock
from evals.wire import Request

__all__ = ["OpenAIEndpoint", "as_generation", "as_logprobs"]


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
        account: Under which it counts them; under the model's name there where empty.
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
        account: str = "",
        clock: Clock | None = None,
    ) -> None:
        self._models = dict(models)
        self._caller = Caller(
            [server], policy=policy, cache=cache, ledger=ledger, account=account, clock=clock
        )

    @property
    def ledger(self) -> Ledger:
        """What was asked and paid so far."""
        return self._caller.ledger

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
        self._caller.close()

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
        answers = self._answers(requests, wire.read_generation, progress)
        return [as_generation(answer) for answer in answers]

    def token_logprobs(
        self,
        model: str,
        pairs: Sequence[tuple[str, str]],
        *,
        progress: Progress | None = None,
    ) -> list[TokenLogprobs]:
        """Return the log-probabilities of each continuation's tokens; a failed call's are empty.

        Raises:
            BudgetError: The next request could exceed the budget.
            EndpointError: The server is not there any more, or does not score prompts.
            UserError: It refuses the key, or does not know the model.
        """
        name = self._name(model)
        requests = [wire.request_logprobs(name, *pair) for pair in pairs]
        answers = self._answers(requests, wire.read_logprobs, progress)
        return [as_logprobs(answer) for answer in answers]

    def _name(self, model: str) -> str:
        if model not in self._models:
            raise EndpointError(f"no model `{model}` here; there are: {', '.join(self._models)}")
        return self._models[model]

    def _answers(
        self, requests: Sequence[Request], read: Reader, progress: Progress | None
    ) -> list[Answer]:
        """Return what each was answered, in their order."""
        found: dict[int, Answer] = {}
        self._caller.ask(requests, read, save=found.__setitem__, progress=progress)
        return [found[place] for place in range(len(requests))]


def as_generation(answer: Answer) -> Generation:
    """Return what `wire.read_generation` read, or a failed generation that says why."""
    if isinstance(answer, CallError):
        return Generation("", 0, "error", str(answer))
    return Generation(**answer)


def as_logprobs(answer: Answer) -> TokenLogprobs:
    """Return what a reader of `wire` read of a scored text, or a failed one that says why."""
    found: dict[str, Any] = {} if isinstance(answer, CallError) else answer
    return TokenLogprobs(
        np.array(found.get("logprobs", ()), dtype=np.float64),
        np.array(found.get("starts", ()), dtype=np.int64),
        np.array(found.get("is_top", ()), dtype=np.bool_),
        np.array(found.get("behind", ()), dtype=np.float64),
        error=str(answer) if isinstance(answer, CallError) else "",
    )
