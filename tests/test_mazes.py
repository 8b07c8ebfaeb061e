"""Mazes, the search in them, and their text: the public generator's, byte for byte.

The hashes are of what the public generator printed (beyond-semantics-maze-visualizer at 9f64d5d,
`node headless_gen/cli.js -g GENERATOR -s astar -r ROWS -c COLUMNS --seed SEED -m SPLIT -n COUNT`).
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque

import numpy as np
import pytest

from evals.errors import DataError
from evals.probes.traces.kinds import Generator, Split
from evals.probes.traces.mazes import draw_mazes
from evals.probes.traces.problems import Problem, draw_problems
from evals.probes.traces.search import CLOSE, CREATE
from evals.probes.traces.tokens import Vocabulary, published_line

PUBLISHED = """
dfs 12 12 42 test 200 89d9918568c17a0e155217668c69c2d4b54644e7fa2a8aa460105cb2f786e5dc
dfs 12 12 42 train 200 b39eb0ae2234e0474ed0cc4ffca2bcbe52f071b92abc5c9fdf1681f221eb4990
dfs 30 30 42 test 60 a8d6a5571ff5fa073ab2dddb20afb8938404b9540f594de056c5843b5ad9fd06
dfs 30 30 42 train 60 ee9bf0f01c3073c7be2f13f98f83782720e80080a4e0fc863e442b6e1d308f09
dfs 5 5 42 test 200 9961e41e8eb695624f0d68c2f5346b3eb4105a1308b2ed40fcba9b8e6572c7ce
dfs 5 5 42 train 200 e994e4af96d3190684110f11ba8714a945ebe6f188b6aa4e00507b73fae49f36
dfs 7 11 7 test 100 900119c3a776196cb03dc40f346513e20cd12732e0da38430296dd4ad05f3f83
dfs 7 11 7 train 100 7efd906769a49677c595ba91803ea26b0138e3573d30ff40b215455d80a33751
drunkards_walk 12 12 42 test 200 14f0be8e703627d65a6319e0b66ae4baa78692836652d3b22f053f7cdbd44e55
drunkards_walk 12 12 42 train 200 222ea32523f2b858030b3ba0ad945e81c77af5aee3630410387d83052585db57
drunkards_walk 30 30 42 test 60 3f9e0e18ccbb74e8f045d25d64083744d3416c10af7dc1a20d36509657ac1d18
drunkards_walk 30 30 42 train 60 baf57919df1cae03f7b03f3cba189c3cc5d24596326b6a88f6e17d7017b6a1ee
drunkards_walk 5 5 42 test 200 39b11d06c6f665480d0bee2057a08615e2bd3d5de28d730c37e19d019eed74ef
drunkards_walk 5 5 42 train 200 96b718cc20cdcf1730c7e8a6093cacf22afa0723d18fa55dc1886508d0ba7ff6
drunkards_walk 7 11 7 test 100 31e8761d31195a03f59e6b5cbf9a0d9efc71c6ccec2243cddd4fdcca7566fa01
drunkards_walk 7 11 7 train 100 e841c48e6462968946993b1ae8144a29abea0d3c4662e13f4546c28f272f7141
kruskal 12 12 42 test 200 98ae680b53f673ec98d7891da2e876ab601926462788017d3da432b36bb64b82
kruskal 12 12 42 train 200 2f1dda0370538e07e261be75c602682019dab8d5c4f7e30579bbef571560fad7
kruskal 30 30 42 test 60 7934ae289788de714a0f21f9beff0ffe645efb4c8f69082d15ff65b5f3b48cb1
kruskal 30 30 42 train 60 82b1b5c953acb70c9c96bbcfc49a53021ad9c2c98c61ed3448d7d089a70584a3
kruskal 5 5 42 test 200 d7c4645b5a63704311681aea9ea08fd684c688009c85d36ff610d3a60353d48b
kruskal 5 5 42 train 200 9067b8e2e06163d763be3c8360acf6da4c75124091df33006dba25f07fb741fa
kruskal 7 11 7 test 100 102fe4ffc0cda203edf9bad5a2476fe1e54f4616a637fa7fc179ae9174f766ab
kruskal 7 11 7 train 100 e9741ef43f7105578e747cff07731ea7e521a6d878bc8225c9565210b51bb9b8
searchformer 12 12 42 test 200 937d58f3a2b60ecb607bae86ecb640ffce5996d8f5e2d1cc8a404cfc9cc8799b
searchformer 12 12 42 train 200 a04d6ab02d31997a366549dd2d46ece8bc8df372418371d02e6927bec4834d57
searchformer 30 30 42 test 60 bab6ca2bb89215e57a506bc0bfd2c5c0a8695b1f56f49807f6351f8b12cc1a26
searchformer 30 30 42 train 60 8c52e55513ded8e2e27422381b706f80b8be53017e60e4258e69ee3cbe0f7cf9
searchformer 5 5 42 test 200 e4bc1f667aed87fff9f4265205c4da861a6ffaab274befa9d9751e2fe45e2026
searchformer 5 5 42 train 200 68c6006a610f9701ffb78418eefed00b1208dd1942e6c355b90e0b0d2b21fab5
searchformer 7 11 7 test 100 8fefbb2bf0e1d8917324ab41c6b269ca8422a5bb27e0644ab64b32e034dda4e6
searchformer 7 11 7 train 100 1cf58ffd3121fe3d83e4fb458321b03e8818eb1e6381204a235fc4f684611088
wilson 12 12 42 test 200 599bfb2b424626517a68554c5dd269513032e35595c0d88c9942bd457d4bfc92
wilson 12 12 42 train 200 14cdb44030ceae038d2583951f4d906cea673c074c12788522bfe8569fce5c50
wilson 30 30 42 test 60 a659a96406f9eba7e51a178df44af0d2cd8f2aeffa3db2dc7e9f06ddf111e565
wilson 30 30 42 train 60 0fae5974df85e3e326eaf1dd76b91d0191782a149fcdd6af18db6ed96bf1886b
wilson 5 5 42 test 200 f8423d51fb4a036f4c0c5db9d381e6c66d687439ab19ec73aa1b5a4feeda7fa8
wilson 5 5 42 train 200 ffad3ac60facf227faf753099d1a2773256a696c47e55ac692d0aca891c1e903
wilson 7 11 7 test 100 8b3abdb865e845053479acf299d34677215d8b7470a543332e98e02b03da9968
wilson 7 11 7 train 100 4e76f51289bfb1b6d8d4370eceaebb62bd4f06f7ea0c287a89ae71c602135466
"""


def published() -> list[tuple[str, ...]]:
    return [tuple(line.split()) for line in PUBLISHED.strip().splitlines()]


def drawn(
    generator: str, rows: int, columns: int, seed: int = 42, split: str = "train", n: int = 20
) -> list[Problem]:
    """Return the first problems of a stream."""
    found = draw_problems(Generator(generator), rows, columns, seed, Split(split))
    return list(itertools.islice(found, n))


@pytest.mark.parametrize("told", published(), ids=lambda told: "-".join(told[:5]))
def test_lines_are_those_of_the_public_generator(told: tuple[str, ...]) -> None:
    generator, rows, columns, seed, split, count, expected = told
    vocabulary = Vocabulary(int(rows), int(columns))
    problems = drawn(generator, int(rows), int(columns), int(seed), split, int(count))
    lines = "".join(published_line(problem, vocabulary) for problem in problems)
    assert hashlib.sha256(lines.encode()).hexdigest() == expected


def test_a_share_of_free_cells_is_the_public_generators_too() -> None:
    found = draw_problems(Generator.DRUNKARD, 10, 10, 42, Split.TRAIN, coverage=0.7)
    vocabulary = Vocabulary(10, 10)
    lines = "".join(published_line(one, vocabulary) for one in itertools.islice(found, 50))
    expected = "89854e70840b6ec93c9dc399751e07776a033d67d428b0383f3219cae687e9de"
    assert hashlib.sha256(lines.encode()).hexdigest() == expected


def test_how_many_are_drawn_at_once_changes_nothing() -> None:
    few = draw_mazes(Generator.WILSON, 5, 6, 1, Split.TRAIN, at_once=3)
    (many,) = itertools.islice(draw_mazes(Generator.WILSON, 5, 6, 1, Split.TRAIN, at_once=6), 1)
    first, second = itertools.islice(few, 2)
    np.testing.assert_array_equal(np.concatenate([first.free, second.free]), many.free)
    np.testing.assert_array_equal(np.concatenate([first.goals, second.goals]), many.goals)


def shortest(problem: Problem) -> int:
    """Return the cells of a shortest path, by breadth-first search of our own."""
    seen, queue = {problem.start: 1}, deque([problem.start])
    while queue:
        here = queue.popleft()
        y, x = divmod(here, problem.columns)
        for row, column in ((y - 1, x), (y, x + 1), (y + 1, x), (y, x - 1)):
            there = row * problem.columns + column
            inside = 0 <= row < problem.rows and 0 <= column < problem.columns
            if inside and problem.free[there] and there not in seen:
                seen[there] = seen[here] + 1
                queue.append(there)
    return seen[problem.goal]


@pytest.mark.parametrize("generator", list(Generator))
def test_paths_are_shortest_and_walk_on_free_cells(generator: Generator) -> None:
    for problem in drawn(generator, 8, 6):
        assert (problem.path[0], problem.path[-1]) == (problem.start, problem.goal)
        assert len(problem.path) == shortest(problem)
        assert problem.free[problem.path].all()
        steps = np.abs(np.diff(problem.path))
        assert np.isin(steps, [1, problem.columns]).all()


def test_a_search_creates_what_it_closes_and_closes_the_goal_last() -> None:
    for problem in drawn("searchformer", 8, 8):
        created = {problem.start}
        for kind, cell, cost, distance in problem.events.tolist():
            if kind == CLOSE:
                assert cell in created
            else:
                assert kind == CREATE
                created.add(cell)
            y, x = divmod(cell, 8)
            goal_y, goal_x = divmod(problem.goal, 8)
            assert distance == abs(y - goal_y) + abs(x - goal_x)
            assert cost <= len(problem.events)
        kind, cell, cost, distance = problem.events[-1].tolist()
        assert (kind, cell, cost, distance) == (CLOSE, problem.goal, len(problem.path) - 1, 0)


@pytest.mark.parametrize("generator", list(Generator))
def test_the_smallest_grid_has_mazes(generator: Generator) -> None:
    assert len(drawn(generator, 4, 4, n=300)) == 300


def test_a_grid_too_small_is_refused() -> None:
    with pytest.raises(DataError, match="at least 4 rows and columns, got 3 x 9"):
        drawn("wilson", 3, 9)


def test_vocabularies_are_as_large_as_published_and_as_needed() -> None:
    assert len(Vocabulary(30, 30).tokens) == 944
    assert len(Vocabulary(4, 6).tokens) == 4 + 10 + 6 + 24
    assert len(set(Vocabulary(12, 7).tokens)) == len(Vocabulary(12, 7).tokens)


def test_text_and_tokens_are_one_another() -> None:
    vocabulary = Vocabulary(6, 6)
    (problem,) = drawn("dfs", 6, 6, n=1)
    line = vocabulary.line(vocabulary.query(problem), None, vocabulary.plan(problem.path))
    words = vocabulary.text(line).split()
    assert "reasoning" not in words
    np.testing.assert_array_equal(vocabulary.encode(words), line)
    assert vocabulary.encode(["c36"]).tolist() == [vocabulary.ids["<unk>"]]


def test_only_the_same_maze_with_the_same_ends_is_the_same_problem() -> None:
    identities = [problem.identity for problem in drawn("wilson", 9, 9, n=200)]
    assert len(set(identities)) == 200
    (first, *_) = drawn("wilson", 9, 9)
    assert first.identity == identities[0]
