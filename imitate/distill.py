"""Prompts and a teacher's endpoint -> Examples: what the teacher answered.

A response that failed, or was cut off at the token limit, is left out and counted: imitating half
a sentence teaches to stop in the middle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from evals.endpoint import BASE, Endpoint, Generation, Progress, Sampling
from evals.records import Example
from imitate.config import DistillConfig

__all__ = ["ask_teacher", "distill", "is_whole"]


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
    sampling = Sampling(config.max_tokens, config.temperature, config.top_p, seed)
    answers = ask_teacher(endpoint, [example.prompt for example in asked], sampling, progress)
    whole = [
        dataclasses.replace(example, response=answer.text.strip())
        for example, answer in zip(asked, answers, strict=True)
        if is_whole(answer)
    ]
    return whole, len(asked) - len(whole)


def ask_teacher(
    endpoint: Endpoint, prompts: Sequence[str], sampling: Sampling, progress: Progress | None
) -> list[Generation]:
    """Return the teacher's answer to each prompt, asked as a user asks in a chat."""
    chats = [endpoint.render_chat([{"role": "user", "content": prompt}]) for prompt in prompts]
    return endpoint.generate(BASE, chats, sampling, progress=progress)


def is_whole(answer: Generation) -> bool:
    """Return whether an answer ended by itself and says something."""
    return answer.finish_reason == "stop" and bool(answer.text.strip())
