"""Examples -> training rows: token ids, and from where on the loss counts.

A row is what the engine will ask the model with, token for token, followed by the response and the
token that ends it. Examples without a prompt are plain documents: loss on all tokens, no template.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evals.errors import DataError, ModelError
from evals.records import Example
from imitate.tokens import encode, render_chat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Row", "encode_examples", "length_grouped_order"]

MEGABATCH = 32
"""Batches within which rows are grouped by length: more of them pad less and shuffle less."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Token ids of one example; the loss counts from place `n_prompt` on."""

    example_id: str
    ids: tuple[int, ...]
    n_prompt: int

    @property
    def n_scored(self) -> int:
        """Number of tokens that the loss counts; the first token of a row is never predicted."""
        return len(self.ids) - max(self.n_prompt, 1)


def encode_examples(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    end_ids: Sequence[int],
    *,
    max_length: int,
    truncate: bool,
) -> list[Row]:
    """Return one row for each example, cut to `max_length` tokens if `truncate`.

    Raises:
        ModelError: The chat template has no assistant turn, or the prompt's tokens are no prefix of
            the row's.
        DataError: An example is longer than `max_length`, or its prompt alone is.
    """
    rows = [_encode(tokenizer, example, end_ids) for example in examples]
    longer = [row for row in rows if len(row.ids) > max_length]
    if longer and not truncate:
        longest = max(longer, key=lambda row: len(row.ids))
        raise DataError(
            f"{len(longer)} of {len(rows)} examples are longer than {max_length} tokens, such as "
            f"`{longest.example_id}` with {len(longest.ids)}",
            hint="raise `train.max_length` (within the model's context), filter with "
            "`data.max_chars`, or set `train.truncate: true` to cut them",
        )
    full = [row for row in longer if row.n_prompt >= max_length]
    if full:
        raise DataError(
            f"the prompts of {len(full)} examples fill `train.max_length` of {max_length} tokens, "
            f"such as `{full[0].example_id}` with {full[0].n_prompt}: nothing is left to learn",
            hint="raise `train.max_length` or filter with `data.max_chars`",
        )
    return [dataclasses.replace(row, ids=row.ids[:max_length]) for row in rows]


def length_grouped_order(
    lengths: Sequence[int], *, epochs: int, batch_size: int, seed: int
) -> list[int]:
    """Return indices of all rows, `epochs` times, in the order of training.

    Each epoch is shuffled, and runs of `MEGABATCH` batches are sorted by length into batches of
    like lengths, which are shuffled in turn. The whole order is fixed beforehand, so a resumed run
    takes up where it stopped.
    """
    rng = random.Random(seed)
    unrolled: list[int] = []
    for _ in range(epochs):
        epoch = list(range(len(lengths)))
        rng.shuffle(epoch)
        unrolled += epoch
    order: list[int] = []
    run = batch_size * MEGABATCH
    for start in range(0, len(unrolled), run):
        grouped = sorted(unrolled[start : start + run], key=lambda index: -lengths[index])
        batches = [grouped[i : i + batch_size] for i in range(0, len(grouped), batch_size)]
        last = batches.pop() if len(batches[-1]) < batch_size else []
        rng.shuffle(batches)  # the last batch of all may be short, so it stays last
        order += [index for batch in batches for index in batch] + last
    return order


def _encode(tokenizer: PreTrainedTokenizerBase, example: Example, end_ids: Sequence[int]) -> Row:
    if not example.prompt:
        ids = encode(tokenizer, example.response)
        return Row(example.example_id, _ended(ids, 0, end_ids, tokenizer), 0)
    question = {"role": "user", "content": example.prompt}
    answer = {"role": "assistant", "content": example.response}
    prompt = render_chat(tokenizer, [question])
    whole = render_chat(tokenizer, [question, answer], is_finished=True)
    if example.response.strip() not in whole:
        raise ModelError(
            "the chat template has no assistant turn: the response of example "
            f"`{example.example_id}` is not in the rendered chat {_shown(whole)}",
            hint="name another Jinja file in the base's `chat_template`",
        )
    prompt_ids, ids = encode(tokenizer, prompt), encode(tokenizer, whole)
    if ids[: len(prompt_ids)] != prompt_ids:
        raise ModelError(
            f"the tokens of the prompt are no prefix of prompt and response in example "
            f"`{example.example_id}`: the model would be trained on other tokens than it is asked "
            f"with; prompt ends {_shown(prompt[-60:])}, the chat begins {_shown(whole)}",
            hint="use a chat template that renders the prompt the same with and without an answer, "
            "and whose generation prompt ends at a token boundary (no space or newline that the "
            "response could merge with)",
        )
    n_prompt = len(prompt_ids)
    return Row(example.example_id, _ended(ids, n_prompt, end_ids, tokenizer), n_prompt)


def _ended(
    ids: Sequence[int], n_prompt: int, end_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> tuple[int, ...]:
    """Return a row that ends with the first token that ends an answer, or else with EOS.

    What a template writes behind that token, such as a newline, is never generated.
    """
    ends = [place for place, token in enumerate(ids) if token in end_ids and place >= n_prompt]
    if ends:
        return tuple(ids[: ends[0] + 1])
    eos = tokenizer.eos_token_id
    assert isinstance(eos, int), eos
    return (*ids, eos)


def _shown(text: str, limit: int = 200) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "...")
