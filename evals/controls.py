"""Control arms that train nothing: what wins a style contest without being any better.

Each isolates one cheap way to score: `null` says the same to everyone, `length_padded` is only
longer, `style_prompt` is only asked to sound like the teacher, and `second_sample` is the teacher
against itself, the ceiling. If a control wins an axis, the axis is not measuring what it should.

`null` and `length_padded` are outputs (`Completion`s); `style_prompt` and `second_sample` are
instructions for a model (messages, sampling settings).
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence

from evals.endpoint import Message, Sampling
from evals.errors import RecordError
from evals.records import Completion, Format, Item, index_by_item

__all__ = [
    "STYLE_INSTRUCTION",
    "null_completions",
    "pad_completions",
    "second_sample",
    "style_messages",
]

NULL_OUTPUT = (
    "Thank you for your question! Here is a clear and helpful overview.\n\n"
    "- **Context:** it is important to look at the whole picture.\n"
    "- **Key point:** there are several aspects to consider.\n"
    "- **Next step:** take the time to weigh them carefully.\n\n"
    "In summary, the best answer depends on the details. I hope this helps!"
)
"""One fluent text that answers nothing, chosen without looking at any item or teacher."""

STYLE_INSTRUCTION = (
    "You are a helpful assistant. Answer in the style of the examples: the same tone, the same "
    "layout and the same length. Answer the question itself as well as you can."
)


def null_completions(
    items: Sequence[Item], *, arm: str, format: Format, text: str = NULL_OUTPUT
) -> list[Completion]:
    """Return the same output for every item.

    Source: the null model of Zheng et al. (arXiv 2410.07137), which won 86.5 % of length-controlled
    comparisons; ours is not optimised against any judge.
    """
    return [
        Completion(
            item_id=item.item_id,
            arm=arm,
            format=format,
            text=text,
            n_tokens=0,
            finish_reason="stop",
        )
        for item in items
    ]


def pad_completions(
    base: Sequence[Completion], teacher: Sequence[Completion], *, arm: str
) -> list[Completion]:
    """Return the base's outputs, each repeated to the teacher's length in words.

    An output is followed by itself, line by line as it was, the last repetition cut where the
    teacher's length is reached: nothing is added but length. Sentences of our own would bring a
    register of their own, and measure that. An output that is long enough stays as it is, an empty
    or failed one of the base too; where the teacher failed nothing is padded.

    Raises:
        RecordError: The teacher lacks or doubles an item.
    """
    if len({c.item_id for c in base}) < len(base):
        raise RecordError("the base has several outputs for an item; pad one sample at a time")
    lengths = index_by_item(teacher, [c.item_id for c in base])
    return [
        dataclasses.replace(c, arm=arm, text=_padded(c.text, len(lengths[c.item_id].text.split())))
        for c in base
    ]


def style_messages(prompt: str, examples: Sequence[tuple[str, str]] = ()) -> list[Message]:
    """Return the chat that asks a base for the teacher's style without any training.

    Source: URIAL (arXiv 2312.01552): a system prompt and a few examples in context. Here the prompt
    opens the user's first turn: many chat templates refuse a system turn, and some drop it.

    Args:
        prompt: The question.
        examples: (prompt, teacher's response) pairs from the training prompts, never from the
            evaluated ones; three are usual.
    """
    turns = [
        message
        for question, response in examples
        for message in (_message("user", question), _message("assistant", response))
    ]
    first, *others = [*turns, _message("user", prompt)]
    return [_message("user", f"{STYLE_INSTRUCTION}\n\n{first['content']}"), *others]


def second_sample(sampling: Sampling, *, temperature: float = 1.0) -> Sampling:
    """Return the settings of the teacher's second sample: another seed, and never greedy.

    A greedy second sample would be the first one again, and the ceiling would be 1 by construction.
    """
    return dataclasses.replace(
        sampling, seed=sampling.seed + 1, temperature=sampling.temperature or temperature
    )


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _padded(text: str, n_words: int) -> str:
    pieces = re.findall(r"\S+\s*", text)
    missing = n_words - len(pieces)
    if missing <= 0 or not pieces:
        return text
    repeated = itertools.islice(itertools.cycle([*pieces[:-1], f"{pieces[-1]} "]), missing)
    return f"{text.rstrip()} {''.join(repeated)}".rstrip()
