"""An `Endpoint` as a model of lm-eval, so that its tasks run on whatever serves the arms.

Scores equal those of lm-eval's own `hf` model: pairs are split and scored as it does, generations
stop and are cut as it does.
"""

from __future__ import annotations

import logging
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs

from evals.endpoint import Endpoint, Generation, Message, Progress, Sampling
from evals.harness import FAILED_ANSWER

logger = logging.getLogger(__name__)

__all__ = ["EndpointLM", "endpoint_lm"]

DEFAULT_MAX_TOKENS = 256
"""What lm-eval's `hf` model generates at most where a task does not say."""


def endpoint_lm(endpoint: Endpoint, model: str, *, progress: Progress | None = None) -> LM:
    """Return one model of an endpoint as lm-eval sees models."""
    return EndpointLM(endpoint, model, progress=progress)


class EndpointLM(LM):  # type: ignore[misc]
    """lm-eval's view of one model of an endpoint."""

    def __init__(self, endpoint: Endpoint, model: str, *, progress: Progress | None = None) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._model = model
        self._progress = progress

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Return log-probability of each continuation, in nats, and whether it is greedy."""
        found = self._endpoint.token_logprobs(
            self._model, [request.args for request in requests], progress=self._progress
        )
        return [(one.total, one.is_greedy) for one in found]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Return log-probability of each whole text, in nats.

        A text longer than the model's context is an error of the endpoint: unlike `hf`, which
        scores it in disjoint windows of tokens, an endpoint sees texts. Tasks that ask for this
        measure perplexity, which `evals.capability` refuses: no score of single items in [0, 1].
        """
        pairs = [("", request.args[0]) for request in requests]
        found = self._endpoint.token_logprobs(self._model, pairs, progress=self._progress)
        return [one.total for one in found]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Return each context's continuation up to a stop text.

        Raises:
            EndpointError: The settings cannot be met.
        """
        groups: dict[Sampling, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(_sampling(request.args[1]), []).append(index)
        texts: dict[int, str] = {}
        for sampling, indices in groups.items():
            prompts = [requests[index].args[0] for index in indices]
            answers = self._endpoint.generate(
                self._model, prompts, sampling, progress=self._progress
            )
            for index, answer in zip(indices, answers, strict=True):
                texts[index] = _text(answer, requests[index])
        return [texts[index] for index in range(len(requests))]

    def apply_chat_template(
        self, chat_history: list[Message], add_generation_prompt: bool = True
    ) -> str:
        """Return a chat as text, up to where the assistant begins to answer, or goes on.

        Without a generation prompt the last turn is what a task's `gen_prefix` lets the assistant
        begin with.
        """
        if add_generation_prompt:
            return self._endpoint.render_chat(chat_history)
        *asked, begun = chat_history
        return self._endpoint.render_chat(asked) + begun["content"]

    @property
    def tokenizer_name(self) -> str:
        """Return a name for lm-eval's request cache, which is never used here."""
        return f"endpoint-{self._model}"


def _sampling(gen_kwargs: dict[str, Any]) -> Sampling:
    """Return how to decode, read from a task's `generation_kwargs` as `hf` reads them."""
    wanted = normalize_gen_kwargs(dict(gen_kwargs), DEFAULT_MAX_TOKENS)
    until = wanted.get("until") or []
    return Sampling(
        max_tokens=int(wanted["max_gen_toks"]),
        temperature=float(wanted.get("temperature") or 0.0) if wanted.get("do_sample") else 0.0,
        top_p=float(wanted.get("top_p", 1.0)),
        stop=tuple([until] if isinstance(until, str) else until),
    )


def _text(answer: Generation, request: Instance) -> str:
    if answer.finish_reason == "error":
        logger.warning("%s, document %s: %s", request.task_name, request.doc_id, answer.error)
        return FAILED_ANSWER
    return answer.text
