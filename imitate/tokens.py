"""Text -> token ids, one way for training, generation and scoring.

A model is asked with exactly the tokens that it was trained on, and scored on the tokens that
lm-eval's `hf` model scores; both hang on the details kept here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evals.endpoint import Generation, Message
from evals.errors import EndpointError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "EncodedPair",
    "answer_text",
    "encode",
    "encode_pair",
    "prefix_token_id",
    "render_chat",
    "stop_ids",
    "too_long",
]


@dataclasses.dataclass(frozen=True)
class EncodedPair:
    """A context and its continuation as token ids; `starts` as in `TokenLogprobs`."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]
    starts: tuple[int, ...]


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the ids of a text, with the special tokens of its tokenizer unless it brings them."""
    return list(tokenizer(text, add_special_tokens=_adds_special(tokenizer, text))["input_ids"])


def encode_pair(tokenizer: PreTrainedTokenizerBase, context: str, continuation: str) -> EncodedPair:
    """Return a context and its continuation as ids, split as lm-eval splits them.

    Spaces that end the context belong to the continuation's first token; the pair is encoded as one
    text and cut where the context alone would end; an empty context is the prefix token.

    Raises:
        EndpointError: The continuation has no token of its own, so it has no score.
    """
    if not context:
        return _encode_without_context(tokenizer, continuation)
    context_ids = encode(tokenizer, context.rstrip()) if context.strip() else []
    if not context_ids:
        return _encode_without_context(tokenizer, context + continuation, offset=len(context))
    whole = tokenizer(
        context + continuation,
        add_special_tokens=_adds_special(tokenizer, context),
        return_offsets_mapping=True,
    )
    ids = whole["input_ids"][len(context_ids) :]
    starts = [max(0, s - len(context)) for s, _ in whole["offset_mapping"][len(context_ids) :]]
    return _checked(context_ids, ids, starts, continuation)


def prefix_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that stands before a text without context: BOS, else EOS."""
    bos = tokenizer.bos_token_id
    return int(tokenizer.eos_token_id if bos is None else bos)


def render_chat(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, is_finished: bool = False
) -> str:
    """Return a chat as text, up to where the assistant begins to answer unless it `is_finished`.

    Raises:
        ModelError: There is no chat template, or it does not take these messages.
    """
    import jinja2

    if not tokenizer.chat_template:
        raise ModelError(
            "the model's tokenizer has no chat template",
            hint="name a Jinja file in the base's `chat_template`",
        )
    try:
        text: Any = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=not is_finished
        )
    except jinja2.TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ModelError(
            f"the chat template fails on a chat of {roles}: {error}",
            hint="name another Jinja file in the base's `chat_template`",
        ) from error
    return str(text)


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation_config: Any) -> tuple[int, ...]:
    """Return the tokens that end an answer: the tokenizer's EOS and the checkpoint's own list."""
    listed = getattr(generation_config, "eos_token_id", None)
    ids = {int(tokenizer.eos_token_id)}
    if listed is not None:
        ids.update([listed] if isinstance(listed, int) else listed)
    return tuple(sorted(ids))


def answer_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], stop: Sequence[str]) -> str:
    """Return an answer's text up to its first stop text, without special tokens."""
    text = str(tokenizer.decode(list(ids), skip_special_tokens=True))
    ends = [text.index(one) for one in stop if one in text]
    return text[: min(ends)] if ends else text


def too_long(n_tokens: int, max_length: int) -> Generation:
    """Return the failed answer to a prompt that fills the context."""
    error = f"a prompt of {n_tokens} tokens leaves no room in a context of {max_length}"
    return Generation("", 0, "error", error)


def _encode_without_context(
    tokenizer: PreTrainedTokenizerBase, continuation: str, *, offset: int = 0
) -> EncodedPair:
    whole = tokenizer(continuation, add_special_tokens=False, return_offsets_mapping=True)
    ids = whole["input_ids"]
    starts = [max(0, start - offset) for start, _ in whole["offset_mapping"]]
    prefix = prefix_token_id(tokenizer)
    if ids and ids[0] == prefix:  # the text brings the prefix token itself
        return _checked(ids[:1], ids[1:], starts[1:], continuation)
    return _checked([prefix], ids, starts, continuation)


def _checked(
    context: Sequence[int], ids: Sequence[int], starts: Sequence[int], continuation: str
) -> EncodedPair:
    if not ids and continuation:
        raise EndpointError(
            f"the continuation {continuation!r} has no token of its own after its context"
        )
    return EncodedPair(tuple(context), tuple(ids), tuple(starts))


def _adds_special(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """A rendered chat often starts with BOS; a second one would be a prompt never trained on."""
    bos = tokenizer.bos_token
    return not (bos and text.startswith(bos))
