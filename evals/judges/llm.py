"""A language model as a judge: every pair is shown in both orders.

In: pairs, a rubric and the endpoint that serves the judge. Out: two `Judgement`s a pair, each the
preference for the pair's `arm`, with the judge's own words. A reply in which no verdict can be read
is a failed judgement with its text kept, and so is a call that failed. What an `OpenAIEndpoint` has
answered stands in its cache, so whoever is interrupted asks for the rest alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from evals.endpoint import Endpoint, Generation, Progress, Sampling
from evals.errors import RecordError
from evals.judges.pairs import Order, Pair
from evals.judges.rubric import Rubric
from evals.judges.verdicts import Winner, read_verdict
from evals.records import Judgement

__all__ = ["REFUSED", "UNREADABLE", "JudgeModel", "is_answered", "judge_pairs"]

UNREADABLE = "no verdict can be read in the reply"
REFUSED = "the judge refused"


@dataclasses.dataclass(frozen=True)
class JudgeModel:
    """The judge: a model of an endpoint, what it is told, and how long it may answer.

    Attributes:
        name: Under which its judgements are kept.
        endpoint: Where it is asked.
        model: Its name there.
        rubric: What it judges.
        max_tokens: Longest reply.
    """

    name: str
    endpoint: Endpoint
    model: str
    rubric: Rubric
    max_tokens: int = 256


def judge_pairs(
    judge: JudgeModel, pairs: Sequence[Pair], *, progress: Progress | None = None
) -> list[Judgement]:
    """Return two judgements of each pair, one for each order, side by side.

    Args:
        judge: Who judges, greedily.
        pairs: What is judged.
        progress: Called with the number of replies that came.

    Raises:
        BudgetError: The next request could exceed the budget.
        EndpointError: The server is not there, or not any more.
        RecordError: The rubric needs a reference that a pair lacks.
    """
    lacking = [one.pair_id for one in pairs if judge.rubric.needs_reference and not one.reference]
    if lacking:
        raise RecordError(
            f"the rubric `{judge.rubric.name}` needs a reference, which {len(lacking)} pairs lack, "
            f"such as {lacking[0]}"
        )
    shown = [(pair, order) for pair in pairs for order in Order]
    prompts = [judge.endpoint.render_chat(judge.rubric.render(*one)) for one in shown]
    sampling = Sampling(judge.max_tokens, json_schema=judge.rubric.schema)
    replies = judge.endpoint.generate(judge.model, prompts, sampling, progress=progress)
    return [_judgement(judge, *one, reply) for one, reply in zip(shown, replies, strict=True)]


def is_answered(judgement: Judgement) -> bool:
    """Return whether the judge said something, if no verdict: asked again it would say the same."""
    error = judgement.error
    return not error or error == REFUSED or error.startswith(UNREADABLE)


def _judgement(judge: JudgeModel, pair: Pair, order: Order, reply: Generation) -> Judgement:
    winner = read_verdict(reply.text) if reply.finish_reason != "error" else None
    return Judgement(
        item_id=pair.pair_id,
        judge=judge.name,
        arm=pair.arm,
        against=pair.against,
        order=int(order),
        value=_preference(winner, order),
        text=reply.text,
        error="" if winner else _why_none(reply),
    )


def _preference(winner: Winner | None, order: Order) -> float:
    """Return the preference for the answer that was shown at this place."""
    if winner is None:
        return math.nan
    own = Winner.A if order is Order.FIRST else Winner.B
    return 0.5 if winner is Winner.TIE else float(winner is own)


def _why_none(reply: Generation) -> str:
    if reply.is_refused:
        return REFUSED
    if reply.finish_reason == "error":
        return reply.error
    at_limit = f" ({reply.n_tokens} tokens, the most allowed)"
    return UNREADABLE + (at_limit if reply.finish_reason == "length" else "")
