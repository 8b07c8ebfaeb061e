"""The two validators: every fault by a damage made by hand, and any damage of a cost."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.errors import DataError
from evals.probes.traces.kinds import Generator, Split
from evals.probes.traces.problems import Problem, draw_problems
from evals.probes.traces.reading import Maze, read_maze, read_response
from evals.probes.traces.tokens import Vocabulary
from evals.probes.traces.validator import (
    PlanFault,
    TraceFault,
    validate_plan,
    validate_trace,
)

# A corridor with a dead end: start at the upper left, a wall in the middle, goal below.
#   S . .
#   # # .
#   G . .
MAZE = Maze(3, 3, frozenset({(0, 1), (1, 1)}), (0, 0), (0, 2))
TRACE = (
    "close 0 0 c0 c2 create 1 0 c1 c3 close 1 0 c1 c3 create 2 0 c2 c4 close 2 0 c2 c4 "
    "create 2 1 c3 c3 close 2 1 c3 c3 create 2 2 c4 c2 close 2 2 c4 c2 create 1 2 c5 c1 "
    "close 1 2 c5 c1 create 0 2 c6 c0 close 0 2 c6 c0"
)
PLAN = "plan 0 0 plan 1 0 plan 2 0 plan 2 1 plan 2 2 plan 1 2 plan 0 2"


def answer(trace: str = TRACE, plan: str = PLAN) -> list[str]:
    return f"reasoning {trace} solution {plan} end".split()


def faults(words: list[str], maze: Maze = MAZE) -> tuple[str | None, str | None]:
    """Return the published and the strict fault of a trace."""
    response = read_response(words)
    return (
        validate_trace(maze, response).fault,
        validate_trace(maze, response, is_strict=True).fault,
    )


def plan_fault(plan: str) -> str | None:
    return validate_plan(MAZE, read_response(answer(plan=plan))).fault


def test_a_search_and_its_plan_are_valid() -> None:
    assert faults(answer()) == (None, None)
    verdict = validate_plan(MAZE, read_response(answer()))
    assert verdict.is_valid
    assert verdict.n_cells == 7


@pytest.mark.parametrize(
    ("old", "new", "fault", "at"),
    [
        ("create 1 0 c1 c3", "create 1 0 c1", TraceFault.SYNTAX, None),
        ("create 1 0 c1 c3", "create 1 0 1 c3", TraceFault.SYNTAX, None),
        ("create 1 0 c1 c3", "goal 1 0 c1 c3", TraceFault.SYNTAX, None),
        ("close 0 2 c6 c0", "close 0 2 c6", TraceFault.SYNTAX, None),
        ("create 1 0 c1 c3", "create 3 0 c1 c3", TraceFault.OFF_GRID, 1),
        ("create 1 0 c1 c3", "create 0 1 c1 c1", TraceFault.WALL, 1),
        ("close 0 0 c0 c2", "", TraceFault.NOTHING_CLOSED, 0),
        ("create 2 0 c2 c4", "create 2 2 c2 c4", TraceFault.NO_NEIGHBOR, 3),
        ("create 2 0 c2 c4", "create 2 0 c2 c4 create 0 0 c2 c2", TraceFault.CREATE_CLOSED, 4),
        ("close 2 0 c2 c4", "close 2 0 c2 c3", TraceFault.NOT_OPEN, 4),
        ("close 2 0 c2 c4", "close 2 2 c2 c4", TraceFault.NOT_OPEN, 4),
        (" close 0 2 c6 c0", "", TraceFault.NO_GOAL, None),
    ],
)
def test_every_published_fault_is_named(
    old: str, new: str, fault: TraceFault, at: int | None
) -> None:
    response = read_response(answer(TRACE.replace(old, new, 1)))
    found = validate_trace(MAZE, response)
    assert (found.fault, found.at) == (fault, at)
    assert not found.is_valid


def test_closing_another_than_the_lowest_is_a_fault() -> None:
    open_grid = Maze(3, 3, frozenset(), (0, 0), (2, 0))
    trace = "close 0 0 c0 c2 create 1 0 c1 c1 create 0 1 c1 c3 close 0 1 c1 c3"
    assert faults(answer(trace), open_grid)[0] is TraceFault.NOT_LOWEST


def test_a_plan_of_another_length_than_the_trace_found_is_a_fault_of_the_trace() -> None:
    assert faults(answer(plan=PLAN + " plan 0 2"))[0] is TraceFault.PLAN_LENGTH


def test_a_lie_about_costs_passes_the_published_and_not_the_strict_validator() -> None:
    """Every cost after the first is 3 too high: sums are still the lowest open ones."""
    lie = " ".join(
        f"c{int(word[1:]) + 3}" if place % 5 == 3 and place > 3 else word
        for place, word in enumerate(TRACE.split())
    )
    assert faults(answer(lie)) == (None, TraceFault.COST)


def test_a_lie_about_distances_passes_the_published_and_not_the_strict_validator() -> None:
    lie = TRACE.replace("2 1 c3 c3", "2 1 c3 c9")
    assert faults(answer(lie)) == (None, TraceFault.DISTANCE)


def test_a_neighbour_left_out_passes_the_published_and_not_the_strict_validator() -> None:
    grid = Maze(3, 3, frozenset(), (0, 0), (1, 0))
    whole = "close 0 0 c0 c1 create 1 0 c1 c0 create 0 1 c1 c2 close 1 0 c1 c0"
    assert faults(answer(whole, "plan 0 0 plan 1 0"), grid) == (None, None)
    lacking = whole.replace("create 0 1 c1 c2 ", "")
    assert faults(answer(lacking, "plan 0 0 plan 1 0"), grid) == (None, TraceFault.MISSING)


def test_neighbours_may_come_in_any_order_even_for_the_strict_validator() -> None:
    grid = Maze(3, 3, frozenset(), (0, 0), (1, 0))
    other = "close 0 0 c0 c1 create 0 1 c1 c2 create 1 0 c1 c0 close 1 0 c1 c0"
    assert faults(answer(other, "plan 0 0 plan 1 0"), grid) == (None, None)


def test_creating_again_for_nothing_passes_the_published_and_not_the_strict_validator() -> None:
    twice = TRACE.replace("create 1 0 c1 c3", "create 1 0 c1 c3 create 1 0 c1 c3")
    assert faults(answer(twice)) == (None, TraceFault.NEEDLESS)


def test_going_on_after_the_goal_passes_the_published_and_not_the_strict_validator() -> None:
    grid = Maze(3, 3, frozenset(), (0, 0), (1, 0))
    on = "close 0 0 c0 c1 create 1 0 c1 c0 create 0 1 c1 c2 close 1 0 c1 c0 create 2 0 c2 c1"
    assert faults(answer(on, "plan 0 0 plan 1 0"), grid) == (None, TraceFault.AFTER_GOAL)


def test_another_plan_as_long_passes_the_published_and_not_the_strict_validator() -> None:
    grid = Maze(2, 2, frozenset(), (0, 0), (1, 1))
    trace = (
        "close 0 0 c0 c2 create 1 0 c1 c1 create 0 1 c1 c1 close 1 0 c1 c1 create 1 1 c2 c0 "
        "close 0 1 c1 c1 close 1 1 c2 c0"
    )
    assert faults(answer(trace, "plan 0 0 plan 1 0 plan 1 1"), grid) == (None, None)
    other = answer(trace, "plan 0 0 plan 0 1 plan 1 1")
    assert faults(other, grid) == (None, TraceFault.OTHER_PLAN)


def test_a_goal_that_is_the_start_is_closed_at_once() -> None:
    grid = Maze(2, 2, frozenset(), (0, 0), (0, 0))
    assert faults(answer("close 0 0 c0 c0", "plan 0 0"), grid) == (None, None)


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        ("", PlanFault.SYNTAX),
        ("plan 0 0 plan 1", PlanFault.SYNTAX),
        ("plan 0 0 plan close 0", PlanFault.SYNTAX),
        ("plan 0 0 plan x 0", PlanFault.SYNTAX),
        (PLAN.removeprefix("plan 0 0 "), PlanFault.START),
        (PLAN.replace("plan 2 1", "plan 1 1"), PlanFault.MOVE),
        (PLAN.replace("plan 2 1", "plan 2 2"), PlanFault.MOVE),
        (PLAN.replace("plan 2 1", "plan 3 0"), PlanFault.MOVE),
        (PLAN.removesuffix(" plan 0 2"), PlanFault.NO_GOAL),
        (PLAN, None),
        (PLAN.replace("plan 1 0", "plan 1 0 plan 0 0 plan 1 0"), None),
    ],
)
def test_every_fault_of_a_plan_is_named(plan: str, fault: PlanFault | None) -> None:
    assert plan_fault(plan) == fault


def test_steps_within_a_trace_are_no_plan() -> None:
    response = read_response(answer("plan 0 0 " + TRACE))
    assert response.plan is not None
    assert len(response.plan) == 7


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("close 1 0", "close 1 solution 0"),
        ("solution plan", "plan"),
        ("create 1 0 c1 c3", "create 1 0 c1 c3 plan 0 0"),
        (" end", ""),
        (" end", " end end"),
    ],
)
def test_words_out_of_place_pass_the_published_and_not_the_strict_validator(
    old: str, new: str
) -> None:
    words = " ".join(answer()).replace(old, new, 1).split()
    assert faults(words) == (None, TraceFault.SYNTAX)


def test_words_after_the_end_of_sequence_do_not_count() -> None:
    response = read_response([*answer(), "<eos>", "goal"])
    assert (response.plan, response.is_readable) == (read_response(answer()).plan, True)


@pytest.mark.parametrize("words", ["start 0 0", "start 0 0 goal 3 0", "start 0 0 goal 1"])
def test_a_maze_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(DataError, match=r"no cell of a grid of 3 x 3|a start and a goal"):
        read_maze(words.split(), 3, 3)


def drawn(generator: Generator, rows: int, columns: int, n: int) -> list[Problem]:
    found = draw_problems(generator, rows, columns, 5, Split.TRAIN)
    return list(itertools.islice(found, n))


def words_of(problem: Problem) -> tuple[list[str], list[str]]:
    """Return a problem, and its trace and plan, as words."""
    vocabulary = Vocabulary(problem.rows, problem.columns)
    query = vocabulary.query(problem)
    line = vocabulary.line(query, vocabulary.trace(problem.events), vocabulary.plan(problem.path))
    words = vocabulary.text(line).split()
    return words[: len(query)], words[len(query) :]


@pytest.mark.parametrize("generator", list(Generator))
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (7, 5), (15, 15)])
def test_traces_of_the_generators_are_valid_and_strictly_so(
    generator: Generator, rows: int, columns: int
) -> None:
    for problem in drawn(generator, rows, columns, 100):
        query, rest = words_of(problem)
        maze, response = read_maze(query, rows, columns), read_response(rest)
        assert validate_trace(maze, response).fault is None
        assert validate_trace(maze, response, is_strict=True).fault is None
        plan = validate_plan(maze, response)
        assert (plan.fault, plan.n_cells) == (None, len(problem.path))


PROBLEMS = [words_of(one) for one in drawn(Generator.SEARCHFORMER, 6, 6, 40)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(PROBLEMS), st.randoms(use_true_random=False), st.integers(0, 35))
def test_any_changed_cost_or_distance_is_caught_by_the_strict_validator(
    told: tuple[list[str], list[str]], random: object, other: int
) -> None:
    query, rest = told
    costs = [
        place for place, word in enumerate(rest) if word.startswith("c") and word[1:].isdigit()
    ]
    place = costs[random.randrange(len(costs))]  # type: ignore[attr-defined]
    changed = [*rest[:place], f"c{other}", *rest[place + 1 :]]
    found = validate_trace(read_maze(query, 6, 6), read_response(changed), is_strict=True)
    assert found.is_valid == (changed == rest)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(PROBLEMS), st.lists(st.sampled_from(Vocabulary(6, 6).tokens), max_size=60))
def test_any_words_are_judged_and_none_of_them_is_a_search(
    told: tuple[list[str], list[str]], words: list[str]
) -> None:
    maze, response = read_maze(told[0], 6, 6), read_response(words)
    assert not validate_trace(maze, response).is_valid
    assert not validate_trace(maze, response, is_strict=True).is_valid
    validate_plan(maze, response)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(PROBLEMS), st.integers(0, 10_000))
def test_a_trace_that_leaves_a_creation_out_is_no_strict_search(
    told: tuple[list[str], list[str]], drawn_place: int
) -> None:
    query, rest = told
    creations = [place for place, word in enumerate(rest) if word == "create"]
    first = creations[drawn_place % len(creations)]
    lacking = [*rest[:first], *rest[first + 5 :]]
    found = validate_trace(read_maze(query, 6, 6), read_response(lacking), is_strict=True)
    assert not found.is_valid
