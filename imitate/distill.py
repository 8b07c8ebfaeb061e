"""Prompts and a teacher's endpoint -> Examples: what the teacher answered.

A response that failed, or was cut off at the token limit, is left out and counted: imitating half
a sentence teaches to stop in the middle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from evals.endpoint import BASE, Endpoint, Progress, Sampling
from evals.records import Example
from imitate.config import DistillConfig

__all__ = ["distill"]


def distill(
    endpoint: Endpoint,
    asked: Sequence[Example],
    config: DistillConfig,
    *,
    seed: int,
    progress: Progress | None = None,
) -> tuple[list[Example], int]:
    """Return the examples with the teacher's responses, and how many had none that is whole.

    Args:
        endpoint: The teacher, as the endpoint's base model.
        asked: Examples without a response.
        config: How the teacher samples.
        seed: Seed of the sampling.
        progress: Called with the number of prompts just answered.
    """
    prompts = [endpoint.render_chat([{"role": "user", "content": e.prompt}]) for e in asked]
    sampling = Sampling(config.max_tokens, config.temperature, config.top_p, seed)
    answers = endpoint.generate(BASE, prompts, sampling, progress=progress)
    whole = [
        dataclasses.replace(example, response=answer.text.strip())
        for example, answer in zip(asked, answers, strict=True)
        if answer.finish_reason == "stop" and answer.text.strip()
    ]
    return whole, len(asked) - len(whole)
