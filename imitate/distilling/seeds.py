"""A few seed questions -> new pairs of question and answer, which the teacher writes.

Each call shows seed questions in another order and asks for some pairs; what repeats a seed or an
earlier question is dropped. Calls do not build on one another, so they can be under way together
and be resumed, and the pairs come out in the order of the calls.

Source: Gudibande et al. 2023, arXiv 2305.15717, "NQ-synthetic": 10 seed questions, 6,000 pairs, 5
pairs a call at temperature 1.0, duplicates dropped. The wording of the request is ours, and near
copies are dropped too.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence

import numpy as np

from evals.endpoint import Generation, Progress, Sampling
from evals.records import Example
from imitate.config import DistillJob, NearDuplicates
from imitate.distilling.duplicates import find_near, sign
from imitate.distilling.gathering import Fate, Gathered, Response
from imitate.distilling.pairs import Pair, parse_pairs
from imitate.distilling.prompts import Seeds
from imitate.distilling.refusals import is_refusal
from imitate.distilling.teacher import Ask

__all__ = ["gather_pairs"]

_SHINGLE_WORDS = 2
"""Questions have some ten words: in longer shingles one changed word hides a copy."""

_REQUEST = """\
Here are examples of questions:

{shown}

Write {n} new questions of the same kind, each with its correct answer. Ask about other things \
than the examples do, and ask no question twice. This is list {number} of many: let it differ from \
all others. Begin each question with "Q:" and its answer, on the next line, with "A:"."""


def gather_pairs(job: DistillJob, seeds: Seeds, ask: Ask, progress: Progress) -> Gathered:
    """Return as many new pairs as are wanted, or as came before calls brought nothing new."""
    prompts = seeds.config
    found, seen = Gathered(), _Seen(seeds.questions, job.near_duplicates)
    sampling = Sampling(job.sampling.max_tokens, job.temperature, job.sampling.top_p, job.seed)
    n_calls = n_idle = 0
    while (missing := prompts.pairs - len(found.responses)) > 0 and not found.stopped:
        if n_idle >= prompts.max_idle_calls:
            found.note = f"{n_idle} calls in a row brought nothing new"
            break
        wave = min(math.ceil(missing / prompts.pairs_per_call), prompts.max_idle_calls)
        numbers = range(n_calls, n_calls + wave)
        requests = [_request(seeds, job.seed, number) for number in numbers]
        replies = ask(requests, sampling, _ignore)
        found.stopped = replies.stopped
        new = seen.keep_new(_read_all(replies.answers, n_calls, found), found)
        last = _add(job, prompts.pairs, new, found)
        n_calls += wave
        n_idle = n_idle + wave if last is None else n_calls - 1 - last
        progress(missing - (prompts.pairs - len(found.responses)))
    return found


@dataclasses.dataclass(frozen=True)
class _Draw:
    """A pair, and its place: the call that it came from, and where in that."""

    pair: Pair
    call: int
    place: int


class _Seen:
    """Questions that are there already, the seeds among them."""

    def __init__(self, questions: Sequence[str], near: NearDuplicates) -> None:
        self._near = near
        self._keys = {_key(question) for question in questions}
        self._signatures = sign(questions, near, _SHINGLE_WORDS)

    def keep_new(self, draws: Sequence[_Draw], found: Gathered) -> list[_Draw]:
        """Return the draws that repeat nothing, and count the others."""
        is_exact = np.array([not self._take_key(draw) for draw in draws], np.bool_)
        n_before = len(self._signatures)
        questions = [draw.pair.question for draw in draws]
        signatures = np.concatenate([self._signatures, sign(questions, self._near, _SHINGLE_WORDS)])
        alive = np.concatenate([np.ones(n_before, np.bool_), ~is_exact])
        is_near = find_near(signatures, alive, self._near)[n_before:] & ~is_exact
        is_new = ~is_exact & ~is_near
        self._signatures = signatures[np.concatenate([np.ones(n_before, np.bool_), is_new])]
        found.n_exact_duplicates += int(is_exact.sum())
        found.n_near_duplicates += int(is_near.sum())
        return [draw for draw, new in zip(draws, is_new, strict=True) if new]

    def _take_key(self, draw: _Draw) -> bool:
        """Take note of a question, and return whether it is new."""
        n_before = len(self._keys)
        self._keys.add(_key(draw.pair.question))
        return len(self._keys) > n_before


def _request(seeds: Seeds, seed: int, number: int) -> str:
    n_shown = min(seeds.config.shown, len(seeds.questions))
    drawn = random.Random(f"{seed}|{number}").sample(seeds.questions, n_shown)
    shown = "\n".join(f"{place}. {question}" for place, question in enumerate(drawn, 1))
    return _REQUEST.format(shown=shown, n=seeds.config.pairs_per_call, number=number + 1)


def _read_all(
    answers: Sequence[Generation | None], first_call: int, found: Gathered
) -> list[_Draw]:
    """Return the pairs of all answers, in their order; a last one that was cut off is left."""
    draws = []
    for call, answer in enumerate(answers, first_call):
        fate = found.count(answer, _call_id(call), 0)
        if answer is None or fate not in (Fate.ANSWERED, Fate.CUT_OFF):
            continue
        pairs = parse_pairs(answer.text)
        found.n_unreadable += not pairs
        whole = pairs if fate is Fate.ANSWERED else pairs[:-1]
        draws += [_Draw(pair, call, place) for place, pair in enumerate(whole)]
    return draws


def _add(job: DistillJob, wanted: int, draws: Sequence[_Draw], found: Gathered) -> int | None:
    """Add pairs until there are enough; return the last call that brought one, if any did."""
    last = None
    for draw in draws:
        n_before = len(found.responses)
        if n_before == wanted:
            break
        pair, call_id = draw.pair, _call_id(draw.call)
        example = Example(f"{call_id}.{draw.place}", pair.question, pair.answer, job.name)
        response = Response(example, call_id, draw.place, is_refusal(pair.answer))
        found.add(response, drop_refusals=job.drop_refusals)
        last = draw.call if len(found.responses) > n_before else last
    return last


def _call_id(call: int) -> str:
    return f"call:{call}"


def _key(question: str) -> str:
    """Return a question as it is compared: punctuation counts, since 12 + 7 is not 12 - 7."""
    return " ".join(question.lower().split()).rstrip("?.! ")


def _ignore(_: int) -> None:
    """Tell nobody: pairs are counted, not calls."""
