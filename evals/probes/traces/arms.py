"""What stands between a problem and its plan, by arm: the plan is the same in all of them.

Correct traces, none, those of other problems, damaged ones by degrees, as many words that mean
nothing, or the trace of another search.

Source: Stechly et al. (arXiv 2505.13775): solution only, correct and swapped. The others are ours.

Glossary: E operations of a trace, five tokens each; K tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evals.errors import DataError
from evals.probes.traces.kinds import Arm, Damage, Treatment
from evals.probes.traces.problems import Problem
from evals.probes.traces.search import breadth_first
from evals.probes.traces.tokens import Tokens, Vocabulary

__all__ = ["FILLER", "make_traces"]

FILLER = "<unk>"
"""What a filler trace repeats."""
_FOREIGN = ("query", "start", "goal", "wall")
_WIDTH = 5
_CELL, _COSTS = slice(1, 3), slice(3, 5)

Steps = NDArray[np.int64]
"""(E, 5) ids of a trace's tokens."""


def make_traces(
    treatment: Treatment, problems: Sequence[Problem], vocabulary: Vocabulary, seed: int
) -> list[Tokens | None]:
    """Return what each problem's plan is preceded by; None where by nothing.

    The operations that are damaged at a lower share are damaged at a higher one too.

    Raises:
        DataError: There are fewer than two problems to swap traces between.
    """
    match treatment.arm:
        case Arm.SOLUTION_ONLY:
            return [None] * len(problems)
        case Arm.SWAPPED:
            return [*_swapped(problems, vocabulary, seed)]
        case Arm.BREADTH_FIRST:
            return [vocabulary.trace(_breadth_first(one)) for one in problems]
        case Arm.FILLER:
            word = vocabulary.marker(FILLER)
            others = _swapped(problems, vocabulary, seed)
            return [np.repeat(word, len(one)) for one in others]
        case Arm.CORRECT:
            return [vocabulary.trace(one.events) for one in problems]
        case Arm.DAMAGED:
            assert treatment.damage is not None, treatment
            return [
                _damaged(vocabulary.trace(one.events), treatment, vocabulary, [seed, place])
                for place, one in enumerate(problems)
            ]


def _swapped(problems: Sequence[Problem], vocabulary: Vocabulary, seed: int) -> list[Tokens]:
    """Return every trace once, none of them at its own problem: they go round one random circle."""
    if len(problems) < 2:
        raise DataError("traces of fewer than two problems cannot be swapped")
    circle = np.random.default_rng(seed).permutation(len(problems))
    givers = np.empty_like(circle)
    givers[circle] = np.roll(circle, 1)
    return [vocabulary.trace(problems[giver].events) for giver in givers.tolist()]


def _breadth_first(problem: Problem) -> NDArray[np.int64]:
    return breadth_first(problem.free, problem.start, problem.goal, problem.rows, problem.columns)


def _damaged(
    trace: Tokens, treatment: Treatment, vocabulary: Vocabulary, seed: Sequence[int]
) -> Tokens:
    steps = trace.reshape(-1, _WIDTH).astype(np.int64)
    n = round(len(steps) * treatment.percent / 100)
    if treatment.damage is Damage.TRUNCATED:
        return steps[: len(steps) - n].astype(np.uint16).ravel()
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(steps))[:n]
    damage: dict[Damage | None, Callable[..., Steps]] = {
        Damage.COORDINATES: _move,
        Damage.COSTS: _misprice,
        Damage.ORDER: _shuffle,
        Damage.FOREIGN: _babble,
    }
    steps[chosen] = damage[treatment.damage](steps[chosen], vocabulary, rng)
    return steps.astype(np.uint16).ravel()


def _move(steps: Steps, vocabulary: Vocabulary, rng: np.random.Generator) -> Steps:
    """Return operations in other cells of the grid, all of them as likely."""
    first, columns = vocabulary.ids["0"], vocabulary.columns
    n_cells = vocabulary.rows * columns
    cells = (steps[:, 1] - first) + (steps[:, 2] - first) * columns
    others = (cells + rng.integers(1, n_cells, len(steps))) % n_cells
    steps[:, _CELL] = np.column_stack([others % columns, others // columns]) + first
    return steps


def _misprice(steps: Steps, vocabulary: Vocabulary, rng: np.random.Generator) -> Steps:
    """Return operations with other costs and distances, all of them as likely."""
    first, n = vocabulary.ids["c0"], vocabulary.rows * vocabulary.columns
    shifts = rng.integers(1, n, (len(steps), 2))
    steps[:, _COSTS] = (steps[:, _COSTS] - first + shifts) % n + first
    return steps


def _shuffle(steps: Steps, vocabulary: Vocabulary, rng: np.random.Generator) -> Steps:
    return rng.permutation(steps)


def _babble(steps: Steps, vocabulary: Vocabulary, rng: np.random.Generator) -> Steps:
    words = np.array([vocabulary.ids[word] for word in _FOREIGN])
    return rng.choice(words, steps.shape)
