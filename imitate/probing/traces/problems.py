"""A traces job -> the problems of training and of every test, and the lines of an arm."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from evals.errors import DataError
from evals.probes.traces.arms import make_traces
from evals.probes.traces.kinds import Arm, Generator, Split, Treatment
from evals.probes.traces.problems import Problem, draw_problems
from evals.probes.traces.tokens import Tokens, Vocabulary
from imitate.config import TracesJob
from imitate.probing.traces.plan import TracesRun

__all__ = ["Lines", "ProblemSet", "TestSet", "draw_all", "lines_of"]

MOST_DRAWN = 20
"""Problems that are drawn for a test, as a multiple of those asked for."""


@dataclasses.dataclass(frozen=True, eq=False)
class TestSet:
    """Problems of one kind in mazes that no network was trained on, each once.

    Attributes:
        problems: What is asked.
        n_known: Left out as their maze is trained on, with whatever start and goal.
        n_repeated: Left out as they were there already.
        n_too_long: Left out as their correct line does not fit the context.
    """

    __test__ = False  # no case of pytest's

    problems: tuple[Problem, ...]
    n_known: int
    n_repeated: int
    n_too_long: int


@dataclasses.dataclass(frozen=True, eq=False)
class ProblemSet:
    """All problems of a job.

    Attributes:
        vocabulary: Their tokens.
        train: What every arm is trained on.
        n_repeated: How many of these are another of them once more.
        n_too_long: Left out as their line, in one of the arms, does not fit the context.
        tests: What is asked, by kind of maze.
    """

    vocabulary: Vocabulary
    train: tuple[Problem, ...]
    n_repeated: int
    n_too_long: int
    tests: Mapping[Generator, TestSet]


@dataclasses.dataclass(frozen=True, eq=False)
class Lines:
    """What a network is trained on.

    Attributes:
        lines: Tokens of every line, in the order of the problems.
        n_query: Of each, how many tokens are the problem.
        n_correct: Of each, how many tokens the correct arm's line has.
    """

    lines: tuple[Tokens, ...]
    n_query: tuple[int, ...]
    n_correct: tuple[int, ...]

    @property
    def n_tokens(self) -> int:
        """Tokens of all lines."""
        return sum(map(len, self.lines))


def draw_all(job: TracesJob) -> ProblemSet:
    """Return all problems of a job.

    Raises:
        DataError: There are too few mazes of the size, or a line is too long and the job says that
            this is an error.
    """
    maze = job.maze
    stream = draw_problems(
        maze.generator, maze.rows, maze.columns, maze.seed, Split.TRAIN, coverage=maze.coverage
    )
    vocabulary = Vocabulary(maze.rows, maze.columns)
    drawn = list(itertools.islice(stream, maze.n_train))
    train = _fitting(job, drawn, vocabulary)
    if len(train) < 2:
        raise DataError(
            f"{len(train)} of {len(drawn):,} lines fit a context of {job.network.context:,} tokens",
            hint="a larger `network.context`, or a smaller grid",
        )
    known = {problem.layout for problem in train}
    return ProblemSet(
        vocabulary=vocabulary,
        train=train,
        n_repeated=len(train) - len({problem.identity for problem in train}),
        n_too_long=len(drawn) - len(train),
        tests={kind: _draw_test(job, kind, known) for kind in job.test.generators},
    )


def lines_of(job: TracesJob, run: TracesRun, problems: ProblemSet) -> Lines:
    """Return what a network is trained on.

    Raises:
        DataError: A line is too long.
    """
    words, context = problems.vocabulary, job.network.context
    traces = make_traces(run.treatment, problems.train, words, run.seed)
    queries = [words.query(problem) for problem in problems.train]
    lines = [
        words.line(query, trace, words.plan(problem.path))
        for query, trace, problem in zip(queries, traces, problems.train, strict=True)
    ]
    longest = max(map(len, lines))
    if longest > context:
        raise DataError(
            f"{run.name}: a line of {longest:,} tokens does not fit a context of {context:,}",
            hint="a larger `network.context`, or `network.too_long: drop`",
        )
    return Lines(
        lines=tuple(lines),
        n_query=tuple(map(len, queries)),
        n_correct=tuple(len(words.correct_line(problem)) for problem in problems.train),
    )


def _fitting(
    job: TracesJob, drawn: Sequence[Problem], vocabulary: Vocabulary
) -> tuple[Problem, ...]:
    """Return the problems to train on whose lines fit the context in all arms.

    Behind any problem of the swapped and the filler arm any other's trace may stand: no trace may
    be longer than what fits behind every problem, and of all such lengths the one is taken that
    leaves most problems.

    Raises:
        DataError: A line of its own does not fit, and the job says that this is an error.
    """
    context = job.network.context
    arms = {treatment.arm for treatment in job.treatments}
    traces = np.array([len(vocabulary.trace(one.events)) for one in drawn])
    rest = np.array([len(vocabulary.correct_line(one)) for one in drawn]) - traces
    own = traces
    if Arm.BREADTH_FIRST in arms:
        other = make_traces(Treatment(Arm.BREADTH_FIRST), drawn, vocabulary, seed=0)
        own = np.maximum(traces, [0 if trace is None else len(trace) for trace in other])
    fits = rest + own <= context
    if job.network.too_long == "error":
        if not fits.all():
            raise _too_long(int((rest + own).max()), context)
        return tuple(drawn)
    if arms & {Arm.SWAPPED, Arm.FILLER} and fits.any():
        limits = np.unique(traces[fits])
        fits = max(
            (fits & (traces <= limit) & (rest + limit <= context) for limit in limits),
            key=np.count_nonzero,
        )
    return tuple(itertools.compress(drawn, fits))


def _too_long(n_tokens: int, context: int) -> DataError:
    return DataError(
        f"a line of {n_tokens:,} tokens does not fit a context of {context:,}",
        hint="a larger `network.context`, or `network.too_long: drop`",
    )


def _fits_correct(job: TracesJob, problem: Problem, vocabulary: Vocabulary) -> bool:
    """Return whether the correct line of a problem fits the context.

    Raises:
        DataError: It does not, and the job says that this is an error.
    """
    correct = vocabulary.correct_line(problem)
    fits = len(correct) <= job.network.context
    if not fits and job.network.too_long == "error":
        raise _too_long(len(correct), job.network.context)
    return fits


def _draw_test(job: TracesJob, kind: Generator, known: set[bytes]) -> TestSet:
    maze, n = job.maze, job.test.n
    stream = draw_problems(
        kind, maze.rows, maze.columns, job.test.seed, Split.TEST, coverage=maze.coverage
    )
    found: dict[bytes, Problem] = {}
    vocabulary = Vocabulary(maze.rows, maze.columns)
    n_known = n_repeated = n_too_long = 0
    for problem in itertools.islice(stream, MOST_DRAWN * n):
        if problem.layout in known:
            n_known += 1
        elif problem.identity in found:
            n_repeated += 1
        elif not _fits_correct(job, problem, vocabulary):
            n_too_long += 1
        else:
            found[problem.identity] = problem
        if len(found) == n:
            return TestSet(tuple(found.values()), n_known, n_repeated, n_too_long)
    raise DataError(
        f"of {MOST_DRAWN * n:,} mazes of {maze.rows} x {maze.columns} by {kind}, {len(found):,} "
        f"are neither trained on nor asked twice nor too long, and {n:,} were asked for",
        hint="a larger grid or `network.context`, or fewer in `maze.n_train` or `test.n`",
    )
