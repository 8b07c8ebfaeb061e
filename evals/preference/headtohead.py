"""Two arms alone: how often one is rated at least as good as the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evals.estimates import Estimate, share_estimate
from evals.judges.pairs import Pair, gather_votes
from evals.records import Judgement

__all__ = ["rated_at_least"]


def rated_at_least(
    pairs: Sequence[Pair], judgements: Iterable[Judgement], arm: str, against: str
) -> Estimate:
    """Return the share of verdicts that find an arm's answer equal to another's or better.

    Undefined where the two never met. A judge that calls everything equal gives 1: read it beside
    the win rate, which counts a tie one half.

    Source: Gudibande et al. (2023), arXiv 2305.15717, figure 1: "equal to or better than ChatGPT".
    """
    meetings = {(arm, against): 1.0, (against, arm): -1.0}
    rows = [
        (meetings[votes.pair.arm, votes.pair.against] * (vote - 0.5) >= 0, votes.pair.cluster)
        for votes in gather_votes(pairs, judgements)
        if (votes.pair.arm, votes.pair.against) in meetings
        for vote in votes.said
    ]
    return share_estimate([float(is_fine) for is_fine, _ in rows], [name for _, name in rows])
