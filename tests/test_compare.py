"""Several runs side by side: each as it is, none pooled, gaps shown as gaps."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from test_report_contract import make_results, make_small_results, write_run

from imitate.cli import main
from reports.compare import comparison
from reports.numbers import points, points_interval
from reports.page import Table
from reports.reading import AXES
from reports.render import comparison_markdown


def table(section_tables: tuple[Table, ...], caption: str) -> Table:
    return next(t for t in section_tables if t.caption.startswith(caption))


def test_each_run_keeps_its_own_numbers_in_its_own_column() -> None:
    first, second = make_results(), copy.deepcopy(make_results())
    entry = second["verdicts"][0]
    entry["verdict"] = "neither"
    entry["axes"]["factuality"] |= {"difference": 0.123, "difference_ci95": [0.1, 0.15]}
    section = comparison({"world-101": first, "world-102": second})
    verdicts = table(section.tables, "Verdicts")
    assert verdicts.columns == ("Arm", "world-101", "world-102")
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in verdicts.rows}
    assert rows[entry["arm"]] == [first["verdicts"][0]["verdict"], "neither"]
    facts = {row[0].text: row[1:] for row in table(section.tables, AXES["factuality"]).rows}
    measured = first["verdicts"][0]["axes"]["factuality"]
    told = f"{points(measured['difference'])} {points_interval(measured['difference_ci95'])}"
    assert [cell.text for cell in facts[entry["arm"]]] == [told, "+12.3 [10.0, 15.0]"]


def test_what_one_run_lacks_is_a_dash_not_a_zero() -> None:
    section = comparison({"whole": make_results(), "small": make_small_results()})
    cells = [cell.text for t in section.tables for row in t.rows for cell in row]
    assert "\N{EN DASH}" in cells
    assert all(len(row) == len(t.columns) for t in section.tables for row in t.rows)


def test_markup_in_names_is_escaped() -> None:
    told = comparison_markdown(comparison({"a|b<i>": make_results()}))
    assert r"a\|b&lt;i&gt;" in told


def test_command_prints_or_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(write_run(tmp_path / name, make_results())) for name in ("one", "two")]
    assert main(["report", *runs]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# 2 runs side by side")
    assert json.loads(printed.splitlines()[-1]) == {"runs": runs, "comparison": None}
    assert main(["report", *runs, "--out", str(tmp_path / "out")]) == 0
    written = (tmp_path / "out" / "comparison.md").read_text()
    assert printed.startswith(written)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["missing"], "no results in"),
        (["elsewhere/one"], "more than one is named `one`"),
        (["two", "--excerpts", "1"], "`--excerpts` goes with one run"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    others: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two", "elsewhere/one"):
        write_run(tmp_path / name, make_results())
    rest = [str(tmp_path / o) if not o.startswith(("-", "1")) else o for o in others]
    assert main(["report", str(tmp_path / "one"), *rest]) == 2
    assert message in capsys.readouterr().err
