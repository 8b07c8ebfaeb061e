"""A prompt to several arms at once -> their answers, while they grow."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from evals.endpoint import Message, Sampling
from evals.errors import ImitateError, UserError
from imitate.spot.speakers import Speaker

__all__ = ["Answer", "Show", "State", "ask_all"]

REFRESH_S = 0.08


class State(StrEnum):
    """How far an answer is."""

    WAITING = "waiting"
    SPEAKING = "speaking"
    DONE = "done"
    FAILED = "failed"


@dataclasses.dataclass
class Answer:
    """One arm's answer as it grows. `note` says why it failed, or that it was cut off."""

    arm: str
    kind: str
    text: str = ""
    state: State = State.WAITING
    note: str = ""
    seconds: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in {State.DONE, State.FAILED}


Show = Callable[[Sequence[Answer]], None]
"""Called again and again while answers grow, and once when all are over."""


async def ask_all(
    speakers: Sequence[Speaker],
    conversations: Mapping[str, Sequence[Message]],
    sampling: Sampling,
    show: Show,
) -> list[Answer]:
    """Return the answers of all speakers, each to its own conversation; errors stay the arm's."""
    answers = [Answer(speaker.name, speaker.kind) for speaker in speakers]
    listening = {
        asyncio.create_task(_listen(speaker, conversations[speaker.name], sampling, answer))
        for speaker, answer in zip(speakers, answers, strict=True)
    }
    waiting = listening
    while waiting:
        show(answers)
        _, waiting = await asyncio.wait(waiting, timeout=REFRESH_S)
    show(answers)
    for task in listening:
        task.result()
    return answers


async def _listen(
    speaker: Speaker, messages: Sequence[Message], sampling: Sampling, answer: Answer
) -> None:
    started = time.monotonic()
    try:
        async for piece in speaker.ask(messages, sampling):
            answer.state = State.SPEAKING
            answer.text += piece.text
            if piece.finish_reason == "length":
                answer.note = f"cut off at {sampling.max_tokens} tokens"
            answer.seconds = time.monotonic() - started
        answer.state = State.DONE
    except ImitateError as error:
        answer.state = State.FAILED
        answer.note = error.message if isinstance(error, UserError) else str(error)
