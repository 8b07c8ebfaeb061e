"""`benchmarks/statistics_simulation.py` at reduced size: intervals cover, tests keep their size.

A rate may be off its aim by four Monte-Carlo errors of so few data sets: that fails once in 15,000
and finds intervals that cover 80 %, or tests that reject in 20 %.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = ("statistics_simulation", "_judge_worlds", "_tally", "_machine", "verdict_simulation")
DATA_SETS = 100


@pytest.fixture(scope="module")
def simulation() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module("statistics_simulation")
    sys.path.remove(str(BENCHMARKS))
    for name in set(MODULES) - before:
        sys.modules.pop(name, None)


@pytest.fixture
def worlds(simulation: ModuleType) -> ModuleType:
    return sys.modules["_judge_worlds"]


def check(rates: list) -> None:  # type: ignore[type-arg]
    assert rates
    for rate in rates:
        missed = rate.share if rate.kind == "size" else 1 - rate.share
        enough = 0.05 + 4 * math.sqrt(0.05 * 0.95 / max(rate.tried, 1))
        assert rate.tried == 0 or missed <= enough, rate


@pytest.mark.parametrize("n_clusters", [30, 100])
def test_comparisons_of_two_results_hold_what_they_promise(
    simulation: ModuleType, n_clusters: int
) -> None:
    for world in simulation.WORLDS:
        check(simulation.simulate_paired(world, n_clusters, DATA_SETS))


@pytest.mark.parametrize("n_clusters", [30, 100])
def test_shares_families_and_seeds_hold_what_they_promise(
    simulation: ModuleType, n_clusters: int
) -> None:
    for world in simulation.WORLDS:
        if world.n_tasks == 1:
            check(simulation.simulate_shares(world, n_clusters, DATA_SETS))
    check(simulation.simulate_family(n_clusters, DATA_SETS))
    check(simulation.simulate_seeds(n_clusters, DATA_SETS))


def test_interval_that_forgets_its_clusters_is_found_out(simulation: ModuleType) -> None:
    """The simulation would see the usual mistake: items of one cluster taken as independent."""
    tally = sys.modules["_tally"]
    rng = tally.generator("mistake")
    counted = tally.Tally("mistake", "items as clusters", 100)
    world = simulation.World("ten alike", items_per_cluster=10)
    for _ in range(200):
        drawn = simulation.draw_world(rng, world, 100)
        found = simulation.share_estimate(drawn.values[0], list(range(len(drawn.clusters))))
        counted.covers("share", (found.low, found.high), world.rate)
    (rate,) = counted.rates()
    assert rate.is_off
    assert rate.is_risky


def test_no_ratio_has_an_interval_under_20_clusters(simulation: ModuleType) -> None:
    (rate,) = simulation.simulate_few(30)
    assert (rate.kind, rate.hits, rate.tried) == ("given", 0, 30)


@pytest.mark.parametrize("n_clusters", [30, 100])
def test_card_of_a_judge_with_known_biases_holds_the_truth(
    worlds: ModuleType, n_clusters: int
) -> None:
    for judge in worlds.JUDGES:
        check(worlds.simulate_card(judge, n_clusters, DATA_SETS))


def test_corrected_means_hold_the_truth(worlds: ModuleType) -> None:
    for judge in worlds.CORRECTED:
        check(worlds.simulate_corrected(judge, 100, DATA_SETS))


def test_known_biases_of_a_judge_are_recovered(worlds: ModuleType) -> None:
    """Through pairs, judgements and the card: within four Monte-Carlo errors of the planted."""
    rates = worlds.simulate_card(worlds.JUDGES[0], 1000, 20)
    recovered = {rate.statistic: rate for rate in rates}
    assert {"accuracy", "first", "longer", "flips", "kappa"} <= recovered.keys()
    for rate in rates:
        assert abs(rate.error) < 4 * rate.error_of_error, rate
    assert recovered["first"].truth > 0.55
    assert recovered["longer"].truth > 0.55


def test_planted_style_is_style_and_planted_quality_is_not(
    worlds: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through texts, features, pairs and judgements: every arm as it was planted, and the place."""
    monkeypatch.setattr(worlds, "REFITS", 60)
    found = {one.statistic: one for one in worlds.simulate_preference(0, 100, 8 * worlds.PARTS)}
    for name, rate in found.items():
        if math.isfinite(rate.error) and rate.tried == 8:
            spread = max(rate.error_of_error, 0.01)
            assert abs(rate.error) < 4.5 * spread, (name, rate)  # t with 7 degrees of freedom
    assert found["by style, styled"].truth == pytest.approx(1)
    assert found["by style, better"].truth == pytest.approx(0)
    assert found["at equal style, styled"].truth == 0
    assert found["raw, styled"].truth > 0.5, "yet it is preferred"


def test_parts_of_a_row_are_one_rate(worlds: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts add up; the mean error is that of all, its error by the parts' sizes."""
    monkeypatch.setattr(worlds, "REFITS", 20)
    rows = [worlds.simulate_preference(part, 30, 3 * worlds.PARTS) for part in range(2)]
    parts = [{one.statistic: one for one in row} for row in rows]
    merged = sys.modules["_tally"].merge([*rows[0], *rows[1]])
    assert len(merged) == len(parts[0].keys() | parts[1].keys())
    for whole in merged:
        if not all(whole.statistic in part for part in parts):
            continue
        first, second = (part[whole.statistic] for part in parts)
        assert whole.hits == first.hits + second.hits
        assert whole.tried == first.tried + second.tried
        assert whole.data_sets == 6
        if first.tried == second.tried == 3 and math.isfinite(first.error):
            assert whole.error == pytest.approx((first.error + second.error) / 2)
            errors = first.error_of_error, second.error_of_error
            assert whole.error_of_error == pytest.approx(math.hypot(*errors) / 2)
            assert first.error != second.error


def test_command_prints_tables_and_ends_with_a_line_of_json(
    simulation: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "WORLDS", simulation.WORLDS[:1])
    tasks = simulation.list_tasks
    monkeypatch.setattr(simulation, "list_tasks", lambda n: tasks(n, sizes=(30,))[:4])
    assert simulation.main(["--datasets", "10"]) == 0
    *_, last = capsys.readouterr().out.strip().splitlines()
    told = json.loads(last)
    assert (told["data_sets"], told["seed"]) == (10, simulation.SEED)
    assert told["hardware"]["processor"]
