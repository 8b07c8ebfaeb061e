"""Controls made of imitation data: whose response stands under a prompt, whose explanation.

Both permute what the teacher said across prompts. A shuffled row has the whole response of another,
so nothing in it is about its prompt. A swapped row keeps the sentences that state its own answer
and takes everything else from another: what is true stays, what explains it is foreign.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from evals.errors import DataError
from evals.extraction import Sentence, join_sentences, split_response
from evals.records import Example
from imitate.data.words import hash_text

__all__ = ["Swapped", "shuffle_responses", "swap_explanations"]


@dataclasses.dataclass(frozen=True)
class Swapped:
    """Examples under foreign explanations.

    Attributes:
        examples: In the order of the originals.
        n_extracted: Rows in which one answer was found; of the others the first sentence that is
            no pleasantry was kept.
        n_same: Of these rows, those whose answer is read as the same under the other explanation.
        foreign_share: Share of the words of all responses that come from another row.
    """

    examples: tuple[Example, ...]
    n_extracted: int
    n_same: int
    foreign_share: float


def shuffle_responses(train: Sequence[Example], seed: int) -> tuple[Example, ...]:
    """Return the examples with their responses permuted across prompts: a control.

    No prompt gets its own response, nor another one of the same text, as far as that is possible:
    it is unless one text makes up more than half of the responses. What the response states is no
    longer about the prompt: `support` is dropped, and the source says that the row is shuffled.

    Raises:
        DataError: There are fewer than two examples.
    """
    donors = _donors(train, [example.response for example in train], seed)
    return tuple(
        dataclasses.replace(
            example,
            example_id=f"{example.example_id}~{train[donor].example_id}",
            response=train[donor].response,
            source=f"{example.source} (shuffled)",
            support=(),
        )
        for example, donor in zip(train, donors, strict=True)
    )


def swap_explanations(train: Sequence[Example], seed: int) -> Swapped:
    """Return the examples with each answer under the explanation of another row: a control.

    A response is split into the sentences that state its answer and the rest
    (`evals.extraction.split_response`). The rest is permuted as whole responses are in
    `shuffle_responses`; in it, the row's own sentences stand where the other's first stood.

    Raises:
        DataError: There are fewer than two examples.
    """
    split = [split_response(example.response, prompt=example.prompt) for example in train]
    rest = ["".join(str(s) for s in parts.sentences if not s.states_answer) for parts in split]
    donors = _donors(train, rest, seed)
    examples = tuple(
        dataclasses.replace(
            example,
            example_id=f"{example.example_id}~{train[donor].example_id}",
            response=_under(split[donor].sentences, parts.statement),
            source=f"{example.source} (explanation swapped)",
        )
        for example, donor, parts in zip(train, donors, split, strict=True)
    )
    read = [split_response(example.response, prompt=example.prompt) for example in examples]
    n_words = sum(len(example.response.split()) for example in examples)
    n_foreign = sum(len(text.split()) for text in rest)
    return Swapped(
        examples=examples,
        n_extracted=sum(parts.is_extracted for parts in split),
        n_same=sum(
            own.is_extracted and now.is_extracted and own.answer == now.answer
            for own, now in zip(split, read, strict=True)
        ),
        foreign_share=n_foreign / max(n_words, 1),
    )


def _donors(train: Sequence[Example], texts: Sequence[str], seed: int) -> list[int]:
    """Return from which row each takes its text: a permutation without equal texts, if it can be.

    Raises:
        DataError: There are fewer than two examples.
    """
    if len(train) < 2:
        raise DataError(f"responses of {len(train)} example cannot be permuted across prompts")
    order = sorted(range(len(train)), key=lambda i: hash_text(f"{seed}|{train[i].example_id}|{i}"))
    groups: dict[str, list[int]] = {}
    for i in order:
        groups.setdefault(texts[i], []).append(i)
    # Rows of one text stand side by side; a step as long as the longest group leaves every group.
    ring = [i for group in groups.values() for i in group]
    step = max(map(len, groups.values()))
    donor_of = {i: ring[(place + step) % len(ring)] for place, i in enumerate(ring)}
    return [donor_of[i] for i in range(len(train))]


def _under(explanation: Sequence[Sentence], statement: str) -> str:
    """Return a response with a statement in place of what it stated itself."""
    said: list[Sentence] = []
    is_stated = False
    for sentence in explanation:
        if not sentence.states_answer:
            said.append(sentence)
        elif not is_stated:
            said.append(dataclasses.replace(sentence, text=statement))
            is_stated = True
    return join_sentences(said).strip()
