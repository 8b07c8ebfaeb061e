"""What every measurement talks to: one base and its adapters, by name, wherever they run.

In: rendered prompts. Out: texts, or log-probabilities of given texts. A server outlives its calls,
so whoever opens an endpoint closes it; functions here and in the other modules only use it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evals.errors import EndpointError

__all__ = [
    "BASE",
    "Endpoint",
    "Generation",
    "Message",
    "Progress",
    "Sampling",
    "TokenLogprobs",
    "require_scored",
]

BASE = "base"
"""The name under which an endpoint serves its base model, with no adapter acting."""

Message = dict[str, str]
"""One chat turn: `role` and `content`."""

Progress = Callable[[int], None]
"""Called with the number of items just finished."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to decode. Temperature 0 is greedy. `stop` texts end an answer and are cut off.

    A server that can holds its answer to `json_schema`, a JSON schema as text; others, and models
    in this process, answer freely.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    json_schema: str = ""


@dataclasses.dataclass(frozen=True)
class Generation:
    """One answer. `finish_reason` is "stop", "length" or "error" (with `error` set).

    `is_refused` is the server's word: the model refused, or a filter withheld the answer.
    """

    text: str
    n_tokens: int
    finish_reason: str
    error: str = ""
    is_refused: bool = False


@dataclasses.dataclass(frozen=True)
class TokenLogprobs:
    """Log-probabilities of a continuation's tokens, given its context.

    `logprobs` (T,) are natural logarithms, float32 logits reduced in float64; `starts` (T,) are the
    character offsets of the tokens in the continuation; `is_top` (T,) says of each token whether it
    was the likeliest at its place, and `behind` (T,) by how much the likeliest leads it, in nats.
    Of a call that failed, `error` says why and the rest is empty.
    """

    logprobs: NDArray[np.float64]
    starts: NDArray[np.int64]
    is_top: NDArray[np.bool_]
    behind: NDArray[np.float64]
    error: str = ""

    @property
    def total(self) -> float:
        """Log-probability of the whole continuation, in nats; NaN of a call that failed."""
        return float("nan") if self.error else float(self.logprobs.sum())

    @property
    def is_greedy(self) -> bool:
        """Whether every token was the likeliest at its place: greedy decoding would say it."""
        return bool(self.is_top.all()) and not self.error


def require_scored(found: Sequence[TokenLogprobs]) -> Sequence[TokenLogprobs]:
    """Return the scores of texts, for whoever needs every one of them.

    Raises:
        EndpointError: A call failed.
    """
    errors = [one.error for one in found if one.error]
    if errors:
        raise EndpointError(f"{len(errors)} of {len(found)} texts were not scored: {errors[0]}")
    return found


class Endpoint(Protocol):
    """One base and its adapters. Results come in the order of the prompts."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names that can be asked: `BASE` first, then the adapters."""
        ...

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return a chat as prompt text, up to where the assistant begins to answer.

        A chat whose last turn is the assistant's is rendered whole.
        """
        ...

    def generate(
        self,
        model: str,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """Return one answer for each prompt; a failed call is a failed `Generation`."""
        ...

    def token_logprobs(
        self,
        model: str,
        pairs: Sequence[tuple[str, str]],
        *,
        progress: Progress | None = None,
    ) -> list[TokenLogprobs]:
        """Return the log-probabilities of each (context, continuation)'s continuation tokens.

        A call that failed for good is a failed `TokenLogprobs`.
        """
        ...
