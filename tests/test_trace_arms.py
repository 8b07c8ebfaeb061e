"""Arms: the plan is the same in all, and what stands before it is what the arm says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from evals.errors import DataError
from evals.probes.traces.arms import FILLER, make_traces
from evals.probes.traces.kinds import Arm, Damage, Generator, Split, Treatment
from evals.probes.traces.problems import draw_problems
from evals.probes.traces.reading import read_maze, read_response
from evals.probes.traces.tokens import Tokens, Vocabulary
from evals.probes.traces.validator import TraceFault, validate_trace

WORDS = Vocabulary(6, 6)
PROBLEMS = list(itertools.islice(draw_problems(Generator.SEARCHFORMER, 6, 6, 3, Split.TRAIN), 60))
CORRECT = [WORDS.trace(problem.events) for problem in PROBLEMS]


def made(arm: Arm, damage: Damage | None = None, percent: int = 0, seed: int = 0) -> list[Tokens]:
    """Return the traces of an arm that has some."""
    traces = make_traces(Treatment(arm, damage, percent), PROBLEMS, WORDS, seed)
    found = [trace for trace in traces if trace is not None]
    assert len(found) == len(PROBLEMS)
    return found


def damaged(damage: Damage, percent: int, seed: int = 0) -> list[Tokens]:
    return made(Arm.DAMAGED, damage, percent, seed)


def steps(trace: Tokens) -> NDArray[np.uint16]:
    return trace.reshape(-1, 5)


def share_changed(traces: list[Tokens]) -> float:
    """Return which share of the operations is another than A*'s."""
    changed = [
        (steps(ours) != steps(true)).any(axis=1) for ours, true in zip(traces, CORRECT, strict=True)
    ]
    return float(np.concatenate(changed).mean())


def test_without_a_trace_there_is_none() -> None:
    traces = make_traces(Treatment(Arm.SOLUTION_ONLY), PROBLEMS, WORDS, 0)
    assert traces == [None] * len(PROBLEMS)


def test_swapped_traces_are_all_of_them_once_and_none_at_its_own_problem() -> None:
    swapped = made(Arm.SWAPPED)
    assert sorted(map(bytes, swapped)) == sorted(map(bytes, CORRECT))
    unlike = [bytes(ours) != bytes(own) for ours, own in zip(swapped, CORRECT, strict=True)]
    assert np.mean(unlike) > 0.95  # two problems may have the same search
    assert list(map(bytes, swapped)) == list(map(bytes, made(Arm.SWAPPED)))
    assert list(map(bytes, swapped)) != list(map(bytes, made(Arm.SWAPPED, seed=1)))


def test_two_problems_swap_with_one_another() -> None:
    traces = make_traces(Treatment(Arm.SWAPPED), PROBLEMS[:2], WORDS, 0)
    np.testing.assert_array_equal(traces[0], CORRECT[1])
    with pytest.raises(DataError, match="fewer than two problems"):
        make_traces(Treatment(Arm.SWAPPED), PROBLEMS[:1], WORDS, 0)


@pytest.mark.parametrize("damage", list(Damage))
def test_no_damage_at_all_is_the_correct_trace(damage: Damage) -> None:
    assert list(map(bytes, damaged(damage, 0))) == list(map(bytes, CORRECT))


@pytest.mark.parametrize("damage", [Damage.COORDINATES, Damage.COSTS, Damage.FOREIGN])
@pytest.mark.parametrize("percent", [10, 50, 100])
def test_as_many_operations_are_damaged_as_were_asked_for(damage: Damage, percent: int) -> None:
    assert share_changed(damaged(damage, percent)) == pytest.approx(percent / 100, abs=0.01)


@pytest.mark.parametrize("damage", [Damage.COORDINATES, Damage.COSTS, Damage.FOREIGN])
def test_what_is_damaged_at_a_lower_share_is_damaged_at_a_higher_one(damage: Damage) -> None:
    for low, high, true in zip(damaged(damage, 20), damaged(damage, 60), CORRECT, strict=True):
        touched = (steps(low) != steps(true)).any(axis=1)
        assert (steps(high) != steps(true)).any(axis=1)[touched].all()


def test_other_cells_are_on_the_grid_and_other_costs_leave_the_cells() -> None:
    for moved, priced, true in zip(
        damaged(Damage.COORDINATES, 100), damaged(Damage.COSTS, 100), CORRECT, strict=True
    ):
        response = read_response(WORDS.text(moved).split())
        assert response.is_readable
        assert all(0 <= x < 6 and 0 <= y < 6 for x, y in (one.cell for one in response.operations))
        np.testing.assert_array_equal(steps(moved)[:, [0, 3, 4]], steps(true)[:, [0, 3, 4]])
        np.testing.assert_array_equal(steps(priced)[:, :3], steps(true)[:, :3])
        assert (steps(priced)[:, 3:] != steps(true)[:, 3:]).all()


def test_another_order_has_the_same_operations() -> None:
    traces = damaged(Damage.ORDER, 100)
    for ours, true in zip(traces, CORRECT, strict=True):
        assert sorted(map(bytes, steps(ours))) == sorted(map(bytes, steps(true)))
    assert 0.8 < share_changed(traces) < 1


def test_truncated_traces_are_the_beginning() -> None:
    for ours, true in zip(damaged(Damage.TRUNCATED, 40), CORRECT, strict=True):
        n = len(steps(true))
        assert len(steps(ours)) == n - round(0.4 * n)
        np.testing.assert_array_equal(ours, true[: len(ours)])
    assert all(len(trace) == 0 for trace in damaged(Damage.TRUNCATED, 100))


def test_foreign_words_are_in_no_trace() -> None:
    known = set(np.concatenate(CORRECT).tolist())
    assert not known & set(np.concatenate(damaged(Damage.FOREIGN, 100)).tolist())


def test_filler_is_as_long_as_another_mazes_trace_and_says_nothing() -> None:
    filler = made(Arm.FILLER)
    assert list(map(len, filler)) == list(map(len, made(Arm.SWAPPED)))
    assert sorted(map(len, filler)) == sorted(map(len, CORRECT))
    assert set(np.concatenate(filler).tolist()) == {WORDS.ids[FILLER]}


def test_another_search_closes_cells_as_it_created_them_and_ends_at_the_goal() -> None:
    n_astar = 0
    for problem, trace in zip(PROBLEMS, made(Arm.BREADTH_FIRST), strict=True):
        operations = read_response(WORDS.text(trace).split()).operations
        closed = [one for one in operations if one.is_close]
        created = [one.cell for one in operations if not one.is_close]
        assert [one.cell for one in closed][1:] == created[: len(closed) - 1]
        assert closed[-1].cell == (problem.goal % 6, problem.goal // 6)
        assert closed[-1].cost == len(problem.path) - 1
        query = WORDS.text(WORDS.query(problem)).split()
        line = WORDS.line(WORDS.query(problem), trace, WORDS.plan(problem.path))
        response = read_response(WORDS.text(line).split()[len(query) :])
        verdict = validate_trace(read_maze(query, 6, 6), response)
        assert verdict.fault in (None, TraceFault.NOT_LOWEST)
        n_astar += verdict.is_valid
    assert n_astar < len(PROBLEMS) / 2


@pytest.mark.parametrize(
    ("arm", "damage", "percent", "message"),
    [
        (Arm.DAMAGED, None, 0, "needs a damage"),
        (Arm.CORRECT, Damage.COSTS, 10, "no other arm has one"),
        (Arm.DAMAGED, Damage.COSTS, 101, "0 to 100 %, got 101"),
    ],
)
def test_treatments_that_are_none_are_refused(
    arm: Arm, damage: Damage | None, percent: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Treatment(arm, damage, percent)


def test_names_tell_damages_and_degrees_apart() -> None:
    assert Treatment(Arm.SWAPPED).name == "swapped"
    assert Treatment(Arm.DAMAGED, Damage.COSTS, 50).name == "costs-50"
