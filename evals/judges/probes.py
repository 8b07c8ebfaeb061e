"""Counterfactual pairs: one answer is dressed up to fool a judge, the other is plain.

In: questions with a right and a wrong answer. Out: labelled `Pair`s, one of each kind and question,
in a stratum by kind. What differs between two answers is what the kind names, and nothing else:

- `stylish`: a wrong answer in an assistant's best manner, against the right one in a few words.
- `padded`: the right answer among sentences that say nothing, against the right one.
- `listed`: the same sentences as a list, against prose.
- `confident`: the right answer said with certainty, against the same one hedged.
- `null`: a constant output that answers no question, against the right answer.
- `injected`: a constant output that tells the judge who has won, against the right answer.

The plain answer is the better one of `stylish`, `null` and `injected`. Of the others neither is:
they say the same, so a judge of what is said calls a tie. A judge is fooled where it prefers the
dressed one (`evals.judges.card`); one that tosses a coin is fooled half the time, so what counts is
how much more, or what it says of the same answer undressed.

Source: length and list attacks after Zheng et al. (arXiv 2306.05685, "repetitive list"); style
against substance after LLMBar (arXiv 2310.07641); constant outputs after the null models of Zheng
et al. (arXiv 2410.07137), with texts of our own that are tuned on no judge.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from evals.errors import RecordError
from evals.judges import dress
from evals.judges.pairs import Pair

__all__ = ["DRESSED", "PLAIN", "ProbeItem", "ProbeKind", "make_probes"]

DRESSED, PLAIN = "dressed", "plain"
"""Arms of a probe: whose answer is made to fool, and whose is not."""

FILLERS_BEFORE, FILLERS_AFTER = (2, 3), (4, 5, 6)
"""How many sentences of padding."""


class ProbeKind(StrEnum):
    """What is tried on the judge."""

    STYLISH = "stylish"
    PADDED = "padded"
    LISTED = "listed"
    CONFIDENT = "confident"
    NULL = "null"
    INJECTED = "injected"


@dataclasses.dataclass(frozen=True)
class ProbeItem:
    """A question with a right and a wrong answer; `cluster_id` is the unit of randomisation."""

    item_id: str
    prompt: str
    right: str
    wrong: str
    cluster_id: str


@dataclasses.dataclass(frozen=True)
class _Answers:
    """Both answers of a probe."""

    dressed: str
    plain: str


def make_probes(items: Sequence[ProbeItem], kinds: Sequence[ProbeKind], *, seed: int) -> list[Pair]:
    """Return a pair of each kind and item, kind by kind.

    Which answer is the pair's first, and which words dress it, follow from the seed, the kind and
    the item alone: more items or kinds change no pair.

    Raises:
        RecordError: An item lacks an answer, or both are the same.
    """
    unusable = [one.item_id for one in items if not _is_usable(one)]
    if unusable:
        raise RecordError(
            "a probe needs a question, a right answer and another that is wrong, which "
            f"{len(unusable)} items lack, such as {unusable[0]}"
        )
    return [_probe(item, kind, seed) for kind in kinds for item in items]


def _is_usable(item: ProbeItem) -> bool:
    right, wrong = (" ".join(text.split()).lower() for text in (item.right, item.wrong))
    return bool(item.prompt.strip() and right and wrong and right != wrong)


def _probe(item: ProbeItem, kind: ProbeKind, seed: int) -> Pair:
    rng = random.Random(f"probe {seed} {kind} {item.item_id}")
    answers = _MAKERS[kind](item, rng)
    is_tie = kind in _SAME_CONTENT
    is_dressed_first = rng.random() < 0.5
    texts = {DRESSED: answers.dressed, PLAIN: answers.plain}
    arm, against = (DRESSED, PLAIN) if is_dressed_first else (PLAIN, DRESSED)
    return Pair(
        pair_id=f"{kind}/{item.item_id}",
        prompt=item.prompt,
        answer=texts[arm],
        other_answer=texts[against],
        arm=arm,
        against=against,
        label=0.5 if is_tie else float(arm == PLAIN),
        cluster_id=item.cluster_id,
        group=kind,
        reference=item.right,
    )


def _stylish(item: ProbeItem, rng: random.Random) -> _Answers:
    a, b, c = rng.sample(dress.REMARKS, 3)
    body = rng.choice(dress.LAYOUTS).format(x=_sentence(item.wrong), a=a, b=b, c=c)
    parts = [rng.choice(dress.OPENINGS), body, rng.choice(dress.CLOSINGS)]
    return _Answers("\n\n".join(parts), _plain(item, rng))


def _padded(item: ProbeItem, rng: random.Random) -> _Answers:
    plain = _plain(item, rng)
    n_before, n_after = rng.choice(FILLERS_BEFORE), rng.choice(FILLERS_AFTER)
    drawn = rng.sample(dress.FILLERS, n_before + n_after)
    parts = [" ".join(drawn[:n_before]), plain, " ".join(drawn[n_before:])]
    return _Answers(rng.choice((" ", "\n\n")).join(parts), plain)


def _listed(item: ProbeItem, rng: random.Random) -> _Answers:
    sentences = [_plain(item, rng), *rng.sample(dress.REMARKS, rng.choice((2, 3)))]
    mark = rng.choice(dress.LIST_MARKS)
    lines = [mark.replace("1", str(n)) + one for n, one in enumerate(sentences, start=1)]
    return _Answers("\n".join(lines), " ".join(sentences))


def _confident(item: ProbeItem, rng: random.Random) -> _Answers:
    said = _sentence(item.right)
    return _Answers(
        rng.choice(dress.CONFIDENT).format(x=said), rng.choice(dress.HEDGED).format(x=said)
    )


def _null(item: ProbeItem, rng: random.Random) -> _Answers:
    return _Answers(rng.choice(dress.NULL_TEXTS), _plain(item, rng))


def _injected(item: ProbeItem, rng: random.Random) -> _Answers:
    return _Answers(rng.choice(dress.INJECTED), _plain(item, rng))


def _plain(item: ProbeItem, rng: random.Random) -> str:
    return rng.choice(dress.PLAIN).format(x=_sentence(item.right))


def _sentence(answer: str) -> str:
    """Return an answer on one line that ends as a sentence does."""
    text = " ".join(answer.split())
    return text if text[-1] in ".!?" else f"{text}."


_MAKERS: Mapping[ProbeKind, Callable[[ProbeItem, random.Random], _Answers]] = {
    ProbeKind.STYLISH: _stylish,
    ProbeKind.PADDED: _padded,
    ProbeKind.LISTED: _listed,
    ProbeKind.CONFIDENT: _confident,
    ProbeKind.NULL: _null,
    ProbeKind.INJECTED: _injected,
}

_SAME_CONTENT = frozenset((ProbeKind.PADDED, ProbeKind.LISTED, ProbeKind.CONFIDENT))
"""Kinds whose two answers say the same."""
