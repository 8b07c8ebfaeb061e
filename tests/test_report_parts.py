"""The report's parts one by one: numbers, labels, drawings, questions to the results."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from test_report_contract import make_results, make_small_results, make_verdict

from reports import numbers
from reports.alerts import alerts
from reports.appendix import agreement_tables, arm_table
from reports.figures import facts_entry, knowledge_figure, plane_figures, rate_figures
from reports.labels import CHARACTER_WIDTH, HEIGHT, LabelBox, Placed, place_labels
from reports.paper import gap_tables, style_tables
from reports.plane import Mark, draw_plane
from reports.reading import lead_imitator, recipes, shown_arm, winning_controls
from reports.svg import standalone
from reports.tables import knowledge_table, slope_table, telling_table
from reports.theme import COLOURS, PAGE
from reports.verdicts import axis_cell

# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.042, "+4.2"), (-0.042, "−4.2"), (-0.0001, "0.0"), (None, "–"), (float("nan"), "–")],
)
def test_points_have_a_sign_and_no_negative_zero(value: float | None, shown: str) -> None:
    assert numbers.points(value) == shown


def test_intervals_are_in_points_and_empty_where_unknown() -> None:
    assert numbers.points_interval([-0.031, 0.017]) == "[−3.1, 1.7]"
    assert numbers.points_interval(None) == ""
    assert numbers.points_interval([0.1, float("nan")]) == ""


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(4.24, "4.2 s"), (512.3, "8 min 32 s"), (7_380, "2 h 3 min"), (None, "–")],
)
def test_durations_read_as_one_says_them(seconds: float | None, shown: str) -> None:
    assert numbers.duration(seconds) == shown


def test_counts_and_percents_are_grouped_and_spaced() -> None:
    assert numbers.count(1234567) == "1,234,567"
    assert numbers.percent(0.4567) == "45.7\N{NO-BREAK SPACE}%"


# --- labels ---------------------------------------------------------------------------------------


def extent(label: Placed) -> tuple[float, float, float, float]:
    width = CHARACTER_WIDTH * len(label.text)
    left = label.x - {"left": 0, "center": width / 2, "right": width}[label.align]
    return (left, label.y - HEIGHT / 2, left + width, label.y + HEIGHT / 2)


def test_labels_never_overlap_and_stay_inside() -> None:
    labels = [LabelBox(f"arm {i}", 40 + 13 * (i % 9), 60 + 9 * (i // 9)) for i in range(40)]
    placed = place_labels(labels, width=200, height=160)
    assert len(placed) > 3
    for one, other in itertools.combinations(map(extent, placed), 2):
        is_apart = (
            one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        )
        assert is_apart
    assert all(x0 >= 0 and x1 <= 200 for x0, _, x1, _ in map(extent, placed))


def test_first_label_has_the_first_choice() -> None:
    labels = [LabelBox("first", 50, 50), LabelBox("second", 52, 50)]
    placed = place_labels(labels, width=100, height=100)
    assert placed[0].text == "first"
    assert placed[0].x > 50


def test_neighbours_that_say_the_same_are_labelled_once() -> None:
    labels = [LabelBox("teacher", 50, 50), LabelBox("teacher", 60, 50)]
    assert len(place_labels(labels, width=300, height=100)) == 1


# --- drawings -------------------------------------------------------------------------------------


def test_drawing_uses_only_colours_that_turn_dark() -> None:
    known = {pair[0] for pair in COLOURS.values()} | {"none", "transparent"}
    for figure in plane_figures(make_small_results()):
        root = ET.fromstring(figure.svg)
        used = {e.get(name) for e in root.iter() for name in ("fill", "stroke")} - {None}
        assert used <= known


def test_drawing_fits_a_phone() -> None:
    for figure in plane_figures(make_results()):
        assert float(ET.fromstring(figure.svg).get("width", "inf")) <= 375


def test_hostile_label_stays_text_in_a_drawing() -> None:
    label = '<script>alert("x")</script>'
    mark = Mark(label, "base", "mix", 10.0, 10.0)
    svg = draw_plane([mark], y_title="y", margin=5, series={"base": "blue"}, kinds=["mix"])
    root = ET.fromstring(svg)
    assert not [e for e in root.iter() if e.tag.endswith("script")]
    assert label in "".join(root.itertext())


def test_file_of_a_drawing_has_title_and_caption() -> None:
    figure = plane_figures(make_small_results())[0]
    root = ET.fromstring(standalone(figure.svg, caption="Caption", description="What it shows"))
    texts = ["".join(e.itertext()) for e in root]
    assert texts[0] == "What it shows"
    assert "Caption" in texts


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("is_dark", [False, True])
def test_text_and_marks_stand_out_enough(is_dark: bool) -> None:
    named = COLOURS | PAGE
    for name in ("ink", "muted", "accent", "green-text", "vermillion-text", "orange-text"):
        for ground in ("paper", "surface"):
            assert contrast(named[name][is_dark], named[ground][is_dark]) >= 4.5, name
    for name in ("blue", "vermillion", "green", "purple", "orange", "grey"):
        assert contrast(named[name][is_dark], named["paper"][is_dark]) >= 3, name


# --- questions to the results ---------------------------------------------------------------------


def seeded(n_seeds: int) -> dict[str, Any]:
    verdicts = [make_verdict("medium", "broad", 1000, seed) for seed in range(n_seeds)]
    pooled = verdicts[0] | {"arm": "medium/broad-1000", "seed": None}
    return make_small_results() | {"verdicts": [*verdicts, pooled]}


def test_lead_is_the_last_base_with_most_data_of_the_main_mix() -> None:
    lead = lead_imitator(make_results())
    assert lead is not None
    assert lead["arm"] == "large/broad-1000-s0"


def test_recipe_stands_for_its_seeds_and_shows_the_first_ones_outputs() -> None:
    results = seeded(3)
    assert [entry["arm"] for entry in recipes(results["verdicts"])] == ["medium/broad-1000"]
    lead = lead_imitator(results)
    assert lead is not None
    assert lead["seed"] is None
    assert shown_arm(results, lead) == "medium/broad-1000-s0"


def test_controls_that_gain_over_their_base_are_winners() -> None:
    results = make_small_results()
    names = {control["control"] for control in results["controls"]}
    for control in results["controls"]:
        control["wins"] = ["factuality"]
    won = winning_controls(results)
    assert set(won["factuality"]) == {name.replace("_", " ") for name in names}
    assert list(won["style"]) == ["shuffled"]
    assert list(won["style"]["shuffled"]) == ["medium"]


def test_a_control_with_right_answers_shows_nothing_of_knowledge() -> None:
    results = make_small_results()
    results["controls"] = []
    assert list(winning_controls(results)["style"]) == ["shuffled"]
    results["data_card"]["shuffled"] = {"swapped_from": "broad"}
    assert winning_controls(results) == {}


def test_the_proof_that_an_adapter_acts_is_shown() -> None:
    results = make_small_results()
    results["arms"][-1]["adapter_proof"] = {"shift": 0.37}
    (table,) = arm_table(results)
    place = table.columns.index("Adapter moves")
    assert [row[place].text for row in table.rows][-1] == "0.37"


def agreeing(mean: float, **scored: object) -> dict[str, object]:
    numbers = {"largest_difference": 2e-3, "n_tokens": 171, "n_greedy": 136, "largest_lag": 0.0}
    side = {"mean_difference": mean, "same_greedy": 0.99, **numbers}
    bounds = {"bound": 0.001, "tie_bound": 0.02}
    return {"shift": 0.4, "agreement": {"base": side, "adapter": side, **bounds, **scored}}


def test_how_far_a_server_agrees_with_peft_is_shown() -> None:
    results = make_small_results()
    assert agreement_tables(results) == ()
    first, second = (arm for arm in results["arms"] if arm["training"])
    side = {"hf": 0.95, "served": 0.9, "same": 0.975, "n": 40}
    scored = {"task": "addition", "base": side, "adapter": side}
    first["adapter_proof"] = agreeing(1e-6, lm_eval=scored)
    second["adapter_proof"] = agreeing(3e-6, lm_eval=None)
    table, by_lm_eval = agreement_tables(results)
    assert [row[0].text for row in table.rows] == [first["base"], first["arm"], second["arm"]]
    assert [row[1].text for row in table.rows] == ["1.0e-06", "1.0e-06", "3.0e-06"]
    assert "above 0.001" in table.note
    assert [[cell.text for cell in row] for row in by_lm_eval.rows] == [
        [
            name,
            "95.0\N{NO-BREAK SPACE}%",
            "90.0\N{NO-BREAK SPACE}%",
            "97.5\N{NO-BREAK SPACE}%",
            "40",
        ]
        for name in (first["base"], first["arm"])
    ]


def test_silent_axis_names_the_base_that_it_is_silent_about() -> None:
    results = make_results()
    for verdict in results["verdicts"]:
        if verdict["base"] == "small":
            verdict["axes"]["factuality"] |= {"decision": "uninformative", "reason": "at the floor"}
    assert "Factuality says nothing about imitators of small: at the floor." in alerts(results)


def test_facts_are_shown_in_the_format_that_is_judged() -> None:
    results = make_small_results()
    chosen = {"base": "chat", "imitator": "plain", "teacher": "chat"}
    results["verdicts"][0]["axes"]["factuality"]["best_format"] = chosen
    assert facts_entry(results, "medium")["format"] == "chat"
    assert facts_entry(results, "medium/broad-1000-s0")["format"] == "plain"


def test_knowledge_goes_from_best_to_least_known_whatever_the_keys_order() -> None:
    results = make_small_results()
    for formats in results["factuality"].values():
        for entry in formats.values():
            entry["by_knowledge"] = dict(sorted(entry["by_knowledge"].items()))
    table = knowledge_table(results, "by_knowledge", "By knowledge", "")[0]
    assert table.columns[1:] == ("Highly known", "Maybe known", "Weakly known", "Unknown")
    alt = knowledge_figure(results, "by_knowledge", "known", "Known")[0].alt
    assert alt.index("weakly known") < alt.index("; unknown")


def test_metrics_keep_the_papers_order_and_unknown_ones_come_last() -> None:
    results = make_small_results()
    stylometry = results["style"]["stylometry"]["chat"]
    for arm, metrics in stylometry.items():
        extra = {"a_new_metric": {"value": 0.5, "ci95": None}}
        stylometry[arm] = dict(sorted({**metrics, **extra}.items()))
    names = [row[0].text for row in style_tables(results)[0].rows]
    assert names[0] == "A list where the teacher lists"
    assert names[-1] == "A new metric"


def test_each_style_task_has_tables_of_its_own() -> None:
    results = make_small_results()
    for part in ("stylometry", "discriminator"):
        results["style"][part]["letters"] = results["style"][part]["chat"]
    titles = [table.caption for table in style_tables(results)]
    assert any(" on chat " in title for title in titles)
    assert any(" on letters " in title for title in titles)
    told = [row[0].text for row in telling_table(results)[0].rows]
    assert "teacher from medium on letters" in told


def test_classifier_may_come_as_an_estimate_or_as_a_number() -> None:
    results = make_small_results()
    estimate = {"value": 0.9, "ci95": [0.85, 0.95], "n": 48}
    entry = {"auc": estimate, "accuracy": 0.8, "note": ""}
    results["style"]["discriminator"] = {"chat": {"medium": entry}}
    row = telling_table(results)[0].rows[0]
    assert (row[2].text, row[2].detail) == ("0.900", "[0.85, 0.95]")
    assert row[3].text.startswith("80.0")


def test_slopes_print_points_for_each_doubling() -> None:
    claim = {"name": "slope over log2 examples", "value": 0.012, "ci95": [0.0, 0.03], "p_holm": 0.2}
    results = make_small_results() | {"contrasts": {"slopes": {"broad": {"style": [claim]}}}}
    row = slope_table(results)[0].rows[0]
    assert [cell.text for cell in row] == ["Style", "slope over examples", "+1.20", "0.200"]


def test_mixes_with_other_held_out_tasks_stand_in_rows_of_their_own() -> None:
    results = make_small_results()
    first, second = results["verdicts"][0], results["verdicts"][-1]
    second |= {"base": first["base"], "mix": "other", "amount": 1000}
    for entry, tasks, level in ((first, ("sorting", "largest"), 0.7), (second, ("sorting",), 0.2)):
        measured = {"tasks": {task: {} for task in tasks}, "base": level, "teacher": level + 0.1}
        entry["axes"]["capability_held_out"] |= measured
    ours, _ = gap_tables(results)
    rows = {row[0].detail: row for row in ours.rows if row[0].text == "Held-out capability"}
    assert set(rows) == {"medium: sorting, largest", "medium: sorting"}
    told = {name: (row[1].text, row[-1].text) for name, row in rows.items()}
    assert told["medium: sorting"] == ("20.0\N{NO-BREAK SPACE}%", "30.0\N{NO-BREAK SPACE}%")
    assert [row[2].text for row in rows.values()].count("\N{EN DASH}") == 1


def test_a_cell_tells_both_formats_and_which_is_judged() -> None:
    axis = {
        "decision": "closed",
        "difference": 0.249,
        "difference_ci95": [0.233, 0.264],
        "n_items": 10,
        "n_clusters": 10,
        "formats": {"chat": {"difference": -0.555}, "plain": {"difference": 0.249}},
        "best_format": {"base": "plain", "imitator": "plain"},
    }
    told = axis_cell(axis, (-1.0, 1.0, 0.05)).detail
    assert told.endswith("; chat \N{MINUS SIGN}55.5, plain +24.9; judged in plain")
    axis["best_format"] = {"base": "chat", "imitator": "plain"}
    assert axis_cell(axis, (-1.0, 1.0, 0.05)).detail.endswith(" plain against the base's chat")


def test_a_sweep_that_was_evaluated_at_one_rate_is_not_drawn_as_one() -> None:
    results = make_results()
    group = results["learning_rates"][-1]
    kept = {point["arm"] for point in group["points"]}
    assert any(group["base"] in figure.alt for figure in rate_figures(results)[1:])
    results["sweeps"] = [entry for entry in results["sweeps"] if entry["arm"] not in kept]
    assert not any(f"{group['base']}/" in figure.alt for figure in rate_figures(results)[1:])
