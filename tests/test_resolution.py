"""`imitate plan`: what the planned items can tell apart, against the planner's own formulas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.power import PlannedAxis, contrast_deviation, minimal_detectable_effect
from imitate.cli import main
from imitate.configfile import load_config
from imitate.resolution import SEED_SPREAD, Resolution, resolve_plan

QUICKSTART = Path(__file__).parent.parent / "configs" / "quickstart.yaml"


def rows_of(*overrides: str) -> list[Resolution]:
    return resolve_plan(load_config(QUICKSTART, list(overrides)))


def row(rows: list[Resolution], axis: str, task: str = "", mix: str = "broad") -> Resolution:
    return next(one for one in rows if (one.axis, one.task) == (axis, task) and mix in one.mixes)


def effect_of(n: int) -> float:
    planned = PlannedAxis()
    deviation = contrast_deviation((planned.base,) * 2, (-1, 1), overlap=planned.overlap)
    return 100 * minimal_detectable_effect(n, deviation)


def test_task_shows_what_its_items_alone_show() -> None:
    rows = rows_of()
    assert row(rows, "capability_held_out", "sorting").effect_points == pytest.approx(
        effect_of(200)
    )
    assert row(rows, "factuality").effect_points == pytest.approx(effect_of(400))


def test_mix_is_judged_by_the_tasks_that_it_does_not_cover() -> None:
    rows = rows_of()
    names = {one.task for one in rows if one.axis == "capability_held_out" and "local" in one.mixes}
    assert names == {"", "addition", "sorting", "reversal", "largest"}
    covered = [one for one in rows if one.axis == "capability_in_support" and "local" in one.mixes]
    assert [one.task for one in covered] == ["", "translation"]
    assert not any(one.task == "unrecorded" for one in rows), "it is not in the verdict"


def test_thin_task_costs_its_axis_more_than_its_items() -> None:
    rows = rows_of()
    uneven = row(rows, "capability_held_out", mix="local")
    assert uneven.n_items == 700
    n_even = int(4**2 / (3 / 200 + 1 / 100))
    assert uneven.effect_points == pytest.approx(effect_of(n_even))
    assert row(rows, "capability_held_out").effect_points == pytest.approx(effect_of(800))


def test_clusters_are_told_where_the_config_knows_them() -> None:
    rows = rows_of()
    assert row(rows, "capability_held_out", "sorting").n_clusters == 200
    assert row(rows, "factuality").n_clusters is None, "several questions ask about one person"


def test_seeds_enter_from_three_on() -> None:
    one, two, three = (
        row(rows_of(f"mixes.broad.seeds={seeds}"), "factuality")
        for seeds in ("[0]", "[0,1]", "[0,1,2]")
    )
    assert (one.n_seeds, two.n_seeds, three.n_seeds) == (1, 2, 3)
    assert (two.effect_points or 0) < (one.effect_points or 0), "less of the items' luck"
    of_seeds = 100 * minimal_detectable_effect(3, SEED_SPREAD)
    assert (three.effect_points or 0) > of_seeds
    assert three.mixes == ("broad",), "the other mixes have one seed"


def test_too_few_items_for_any_interval_are_told() -> None:
    few = row(rows_of("tasks.1.n_items=9"), "factuality")
    assert (few.effect_points, few.expected, few.is_enough) == (None, "refused", False)


def test_enough_items_are_enough() -> None:
    margin = "analysis.margin_points=15"
    assert not row(rows_of(), "factuality").is_enough
    assert row(rows_of(margin, "tasks.1.n_items=2000"), "factuality").needed is None, (
        "a lead of 30 points is not shown to be twice the margin"
    )
    assert row(rows_of("tasks.1.n_items=2000"), "factuality").is_enough


def test_plan_prints_the_table_of_check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["plan", str(QUICKSTART)]) == 0
    out = capsys.readouterr().out
    assert "what the planned items can resolve" in out
    assert "1,714 (too few)" in out
    assert main(["check", str(QUICKSTART)]) == 0
    assert out.splitlines()[5] in capsys.readouterr().out


def test_plan_as_json_has_rows_rule_and_assumptions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(QUICKSTART), "--json", "--set", "analysis.margin_points=4"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rule"]["margin_points"] == 4
    assert told["assumed"]["factuality"]["gap"] == 0.3
    first = told["resolutions"][0]
    assert (first["axis"], first["task"], first["n_items"]) == ("style", "", 150)


def test_plan_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", str(QUICKSTART)]) == 0
    assert list(tmp_path.iterdir()) == []


def test_plan_of_a_missing_config_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "no-such.yaml"]) == 2
    assert "no config file at `no-such.yaml`" in capsys.readouterr().err
