"""The verdict on three axes: every row of the table, and planted worlds in reduced form."""

import dataclasses
import importlib.util
import itertools
import json
import sys
from pathlib import Path

import pytest

from evals.decision import AxisDecision, Bounds, Decision
from evals.records import Axis
from evals.verdict import VerdictWord, conclude

SURE = Bounds(gain_lower=0.1, gain_upper=0.2, family_lower=0.09, loss_uppers=(0.2,))
LUCKY = dataclasses.replace(SURE, family_lower=-0.001)
SHORT = dataclasses.replace(SURE, closing_lower=-0.3, closing_upper=-0.1)
OPEN = dataclasses.replace(SURE, closing_lower=-0.1, closing_upper=0.1)

CLOSED, GAIN, NO_GAIN, LOSS = Decision.CLOSED, Decision.GAIN, Decision.NO_GAIN, Decision.LOSS
UNINFORMATIVE, UNRESOLVED = Decision.UNINFORMATIVE, Decision.UNRESOLVED
REFUSED = Decision.REFUSED


def verdict_of(style, factuality, capability, style_bounds=SURE, bounds=SURE, n_seeds=1):
    decided = [
        AxisDecision(Axis.STYLE, style, "", bounds=style_bounds, n_seeds=n_seeds),
        AxisDecision(Axis.FACTUALITY, factuality, "", bounds=bounds, n_seeds=n_seeds),
        AxisDecision(Axis.CAPABILITY, capability, "", bounds=bounds, n_seeds=n_seeds),
    ]
    return conclude([d for d in decided if d.decision is not None])


@pytest.mark.parametrize(
    ("style", "factuality", "capability", "word"),
    [
        (CLOSED, NO_GAIN, NO_GAIN, VerdictWord.STYLE_ONLY),
        (CLOSED, LOSS, NO_GAIN, VerdictWord.STYLE_ONLY_WITH_LOSS),
        (CLOSED, NO_GAIN, LOSS, VerdictWord.STYLE_ONLY_WITH_LOSS),
        (CLOSED, CLOSED, CLOSED, VerdictWord.CLOSED_BOTH),
        (CLOSED, CLOSED, GAIN, VerdictWord.PARTLY),
        (CLOSED, GAIN, NO_GAIN, VerdictWord.PARTLY),
        (CLOSED, LOSS, GAIN, VerdictWord.PARTLY),
        (CLOSED, GAIN, UNRESOLVED, VerdictWord.PARTLY),
        (CLOSED, UNINFORMATIVE, CLOSED, VerdictWord.PARTLY),
        (NO_GAIN, GAIN, NO_GAIN, VerdictWord.SUBSTANCE_ONLY),
        (LOSS, CLOSED, CLOSED, VerdictWord.SUBSTANCE_ONLY),
        (NO_GAIN, NO_GAIN, NO_GAIN, VerdictWord.NEITHER),
        (NO_GAIN, LOSS, NO_GAIN, VerdictWord.NEITHER),
    ],
)
def test_decisions_bring_the_verdict_of_the_table(style, factuality, capability, word):
    found = verdict_of(style, factuality, capability)
    assert (found.word, found.open_axes) == (word, ())


@pytest.mark.parametrize("why", [UNRESOLVED, UNINFORMATIVE, REFUSED, None])
def test_open_axis_is_named(why):
    found = verdict_of(CLOSED, why, NO_GAIN)
    assert found.word is VerdictWord.UNRESOLVED
    assert found.open_axes == (Axis.FACTUALITY,)
    assert f"factuality: {why or 'not measured'}" in found.sentence
    found = verdict_of(why, NO_GAIN, why)
    assert found.word is VerdictWord.UNRESOLVED
    assert found.open_axes == (Axis.STYLE, Axis.CAPABILITY)


def test_style_shown_short_of_closing_is_not_closed():
    assert verdict_of(GAIN, NO_GAIN, NO_GAIN, SHORT).word is VerdictWord.NEITHER
    assert verdict_of(GAIN, GAIN, NO_GAIN, SHORT).word is VerdictWord.SUBSTANCE_ONLY
    assert verdict_of(UNRESOLVED, NO_GAIN, NO_GAIN, SHORT).word is VerdictWord.NEITHER


def test_style_that_may_be_closed_or_not_keeps_the_verdict_open():
    found = verdict_of(GAIN, NO_GAIN, NO_GAIN, OPEN)
    assert (found.word, found.open_axes) == (VerdictWord.UNRESOLVED, (Axis.STYLE,))
    found = verdict_of(GAIN, NO_GAIN, NO_GAIN, SURE)  # no teacher, so closing has no bounds
    assert found.open_axes == (Axis.STYLE,)


def test_style_without_information_is_not_shown_short():
    found = verdict_of(UNINFORMATIVE, NO_GAIN, NO_GAIN, SHORT)
    assert found.open_axes == (Axis.STYLE,)


def test_gain_on_one_of_two_axes_must_hold_at_half_the_error():
    found = verdict_of(CLOSED, GAIN, NO_GAIN, bounds=LUCKY)
    assert (found.word, found.open_axes) == (VerdictWord.UNRESOLVED, (Axis.FACTUALITY,))


def test_all_closed_is_a_conjunction_and_needs_no_correction():
    assert verdict_of(CLOSED, CLOSED, CLOSED, bounds=LUCKY).word is VerdictWord.CLOSED_BOTH


def test_every_combination_has_a_verdict_and_only_open_ones_name_axes():
    for decisions in itertools.product(Decision, repeat=3):
        found = verdict_of(*decisions)
        assert bool(found.open_axes) == (found.word is VerdictWord.UNRESOLVED)
        assert found.sentence.endswith("for this adapter.")


@pytest.mark.parametrize(
    ("n_seeds", "scope"),
    [
        (1, "for this adapter"),
        (2, "for these 2 adapters"),
        (3, "for this recipe, over 3 training seeds"),
    ],
)
def test_scope_says_adapter_or_recipe(n_seeds, scope):
    assert verdict_of(CLOSED, NO_GAIN, NO_GAIN, n_seeds=n_seeds).scope == scope


def test_sentence_names_what_gained_and_what_was_lost():
    assert "(factuality: loss; capability: gain)" in verdict_of(CLOSED, LOSS, GAIN).sentence


def test_verdict_is_ready_for_json():
    text = json.dumps(dataclasses.asdict(verdict_of(CLOSED, LOSS, GAIN)))
    assert json.loads(text)["axes"]["factuality"]["decision"] == "loss"


# --- planted worlds, as in docs/verdict.md but fewer


@pytest.fixture(scope="module")
def simulation():
    path = Path(__file__).parents[1] / "benchmarks" / "verdict_simulation.py"
    spec = importlib.util.spec_from_file_location("verdict_simulation", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    "name",
    [
        "style only",
        "style only, 10 points lost",
        "both, 1 of the gap",
        "partly, 0.2 of the gap",
        "null",
        "teacher 5 points ahead",
        "base guesses facts, 0.5 of the gap",
        "base guesses facts, no rise",
    ],
)
def test_planted_world_is_found(simulation, name):
    world = next(w for w in simulation.WORLDS if w.name == name)
    row = simulation.simulate_world(simulation.WorldTask(world, 0.2, 40, 300))
    assert row["right"] >= 0.8  # 0.95 in truth: fewer than 32 of 40 comes once in 3,000
    assert row["false"] <= 0.2


def test_style_on_the_boundary_is_mostly_left_open(simulation):
    world = next(w for w in simulation.WORLDS if "boundary" in w.name)
    row = simulation.simulate_world(simulation.WorldTask(world, 0.2, 40, 300))
    assert row["unresolved"] >= 0.7


@pytest.mark.parametrize("n_clusters", [15, 100])
def test_intervals_cover_the_truth(simulation, n_clusters):
    row = simulation.simulate_coverage(simulation.CoverageTask(n_clusters, 0.2, 500, 400))
    assert 0.92 <= row["ours"] <= 0.98
    assert row["above lower"] >= 0.92
    assert row["below upper"] >= 0.92


def test_command_prints_both_tables_and_their_origin(simulation, capsys, tmp_path):
    path = tmp_path / "numbers.json"
    simulation.main(["--simulations", "2", "--resamples", "50", "--json", str(path)])
    lines = capsys.readouterr().out.splitlines()
    numbers = json.loads(path.read_text())
    assert len(numbers["verdicts"]) == len(simulation.WORLDS) * len(simulation.CORRELATIONS)
    n_lines = len(simulation.WORLDS) + len(numbers["coverage"])
    assert sum(line.startswith("|") for line in lines) == n_lines + 4  # two heads and their rules
    assert json.loads(lines[-1])["simulations"] == 2
