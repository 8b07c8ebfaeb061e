"""An endpoint as a language model of lm-eval: log-likelihoods and generation through one engine.

In: an open `Endpoint` and a model's name on it. Out: an `lm_eval.api.model.LM`. lm-eval's requests
carry rendered text, so the endpoint decides nothing but how to run them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from evals.endpoint import Endpoint, Generation, Sampling
from evals.errors import EndpointError
from evals.harness import FAILED_ANSWER

__all__ = ["EndpointLM", "endpoint_lm"]

DEFAULT_MAX_TOKENS = 256  # lm-eval's own `max_gen_toks`


def endpoint_lm(
    endpoint: Endpoint, model: str, *, progress: Callable[[int], None] | None = None
) -> EndpointLM:
    """Return a model of an endpoint as lm-eval sees it."""
    return EndpointLM(endpoint, model, progress)


class EndpointLM(LM):  # type: ignore[misc]
    """One model of an endpoint."""

    def __init__(
        self, endpoint: Endpoint, model: str, progress: Callable[[int], None] | None = None
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.model = model
        self.progress = progress

    @property
    def tokenizer_name(self) -> str:
        """The name under which lm-eval caches rendered requests; none are cached."""
        return ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return a chat as text; lm-eval asks for an unfinished turn only to prefill answers."""
        if not add_generation_prompt:
            raise EndpointError("prefilled answers are not supported: remove `gen_prefix`")
        return self.endpoint.render_chat(chat_history)

    def loglikelihood(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return (log-probability in nats, whether it is the greedy continuation) by request."""
        pairs = [request.args for request in requests]
        found = self.endpoint.token_logprobs(self.model, pairs, progress=self.progress)
        return [(one.total, one.is_greedy) for one in found]

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-probability of whole texts, in nats; each must fit into the context."""
        pairs = [("", request.args[0]) for request in requests]
        found = self.endpoint.token_logprobs(self.model, pairs, progress=self.progress)
        return [one.total for one in found]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return the generated texts; requests of equal settings are answered together.

        A call that failed becomes `FAILED_ANSWER`, which is no wrong answer but a failed score.
        """
        texts: dict[int, str] = {}
        groups: dict[Sampling, list[int]] = {}
        for position, request in enumerate(requests):
            groups.setdefault(_sampling(request.args[1]), []).append(position)
        for sampling, positions in groups.items():
            prompts = [requests[position].args[0] for position in positions]
            answers = self.endpoint.generate(self.model, prompts, sampling, progress=self.progress)
            texts |= dict(zip(positions, map(_text, answers), strict=True))
        return [texts[position] for position in range(len(requests))]


def _sampling(settings: dict[str, Any]) -> Sampling:
    """Return lm-eval's generation settings as ours; `do_sample: false` is greedy."""
    until = settings.get("until") or []
    stop = (until,) if isinstance(until, str) else tuple(until)
    does_sample = settings.get("do_sample", False)
    return Sampling(
        max_tokens=int(settings.get("max_gen_toks", DEFAULT_MAX_TOKENS)),
        temperature=float(settings.get("temperature", 1.0)) if does_sample else 0.0,
        top_p=float(settings.get("top_p", 1.0)),
        stop=tuple(text for text in stop if text),
    )


def _text(answer: Generation) -> str:
    return FAILED_ANSWER if answer.finish_reason == "error" else answer.text
