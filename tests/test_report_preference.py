"""What the report says of judges: preferences, what sways them, and whom not to trust."""

from typing import Any

from test_report_contract import make_preference

from reports.preference import preference_alerts, preference_section


def section_of(*entries: dict[str, Any]) -> Any:
    return preference_section({"preference": list(entries)})


def test_run_without_judges_says_so() -> None:
    section = preference_section({"preference": []})
    assert "No judge compared answers" in section.paragraphs[0]
    assert not section.tables
    assert preference_alerts({}) == []


def test_each_arm_stands_raw_at_equal_length_and_at_equal_style() -> None:
    table = section_of(make_preference()).tables[0]
    row = {cell.text: cells for cells in table.rows for cell in cells[:1]}["medium/broad-1000-s0"]
    assert [cell.text.replace("\xa0", " ") for cell in row[1:]] == [
        "80.2 %",
        "72.7 %",
        "69.8 %",
        "40 %",
        "55.0 %",
    ]
    assert row[1].detail == "[78.2, 82.2]"


def test_base_stands_last_with_what_it_is_beside_the_teacher() -> None:
    rows = section_of(make_preference()).tables[0].rows
    assert [cell.text.replace("\xa0", " ") for cell in rows[-1]] == ["medium", *["–"] * 4, "20.0 %"]


def test_one_order_is_told_at_the_top_and_in_the_table() -> None:
    entry = make_preference()
    for name in ("flips", "first"):
        entry["card"][name] = {"value": None, "ci95": None, "n": 0}
    entry["first"] = {"value": None, "ci95": None, "n": 0}
    (alert,) = preference_alerts({"preference": [entry]})
    assert alert.startswith(
        "grader saw each pair in one order only: position bias is not estimable"
    )
    judges = section_of(entry).tables[1]
    assert [cell.text for cell in judges.rows[0][1:3]] == ["not estimable", "one order"]


def test_unsteady_judge_is_named_at_the_top() -> None:
    entry = make_preference()
    assert preference_alerts({"preference": [entry]}) == []
    entry["card"]["flips"] = {"value": 0.31, "ci95": [0.2, 0.4], "n": 80}
    (alert,) = preference_alerts({"preference": [entry]})
    assert "grader (31\xa0% of pairs)" in alert


def test_judge_that_prefers_a_constant_text_is_named_at_the_top() -> None:
    entry = make_preference()
    entry["arms"][2]["win_rate"] = {"value": 0.7, "ci95": [0.55, 0.8], "n": 160}
    (alert,) = preference_alerts({"preference": [entry]})
    assert "grader (70\xa0% against medium)" in alert
    entry["arms"][2]["win_rate"]["ci95"] = [0.45, 0.8]
    assert preference_alerts({"preference": [entry]}) == []


def test_order_that_hangs_on_a_third_arm_is_noted() -> None:
    entry = make_preference()
    change = {"without": "medium+null", "stronger": "teacher", "weaker": "medium/broad-1000-s0"}
    entry["changes"] = [change]
    (note,) = section_of(entry).notes
    assert note.startswith("grader: without medium+null, medium/broad-1000-s0 comes before teacher")


def test_reason_stands_where_there_is_no_preference() -> None:
    entry = make_preference()
    entry |= {"arms": [], "reason": "no judgement has a verdict, so there is no preference"}
    section = section_of(entry)
    assert section.tables[0].note == entry["reason"]
    assert not section.figures


def test_judge_to_whom_a_constant_text_never_lost_is_named_too() -> None:
    entry = make_preference()
    null = entry["arms"][2]
    null["win_rate"] = {"value": None, "ci95": None, "n": 160}
    entry["boundless"] = entry["unbeaten"] = [null["arm"]]
    (alert,) = preference_alerts({"preference": [entry]})
    assert "grader (whenever it met them, against medium)" in alert


def test_orders_drawn_by_a_coin_are_no_single_order() -> None:
    entry = make_preference()
    for name in ("flips", "first"):
        entry["card"][name] = {"value": None, "ci95": None, "n": 0}
    assert preference_alerts({"preference": [entry]}) == []
    assert section_of(entry).tables[1].rows[0][1].detail == "by the model: one order a pair"
