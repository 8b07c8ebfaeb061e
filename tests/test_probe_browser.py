"""A probe's report in a real browser: it runs without errors, and its slider moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from proberuns import run
from test_probing_capacity import SMALL as CAPACITY
from test_probing_grokking import SMALL
from test_probing_traces import SMALL as TRACES
from test_report_browser import CHROMIUM, DRIVER, Browser, open_browser

from imitate.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="needs Debian's chromium and chromium-driver",
    ),
]

MOVE = """
const slider = document.querySelector('.slider');
const seed = slider.querySelector('select'), range = slider.querySelector('input');
seed.value = '1';
seed.dispatchEvent(new Event('change'));
range.value = range.max;
range.dispatchEvent(new Event('input'));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


def test_slider_goes_through_the_snapshots(browser: Browser, tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(SMALL, encoding="utf-8")
    run(config, tmp_path / "runs")
    browser.open(tmp_path / "runs" / "small" / "report.html")
    told = "return document.querySelector('.slider .note').textContent"
    bars = (
        "return [...document.querySelectorAll('.slider rect')].map(r => r.getAttribute('height'))"
    )
    assert browser.run(told).startswith("Epoch 0: train loss ")
    before = browser.run(bars)
    assert len(before) == 6  # three frequencies of the embedding, three of the readout
    browser.run(MOVE)
    assert browser.run(told).startswith("Epoch 60: train loss ")
    assert browser.run(bars) != before
    browser.open(tmp_path / "runs" / "small" / "report.html", width=390, is_dark=True)
    width = "return document.documentElement.scrollWidth"
    assert browser.run(width) <= 390
    assert browser.complaints() == []


def test_capacity_report_fits_a_phone_and_says_nothing_wrong(
    browser: Browser, tmp_path: Path
) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(CAPACITY, encoding="utf-8")
    run(config, tmp_path / "runs")
    page = tmp_path / "runs" / "small" / "report.html"
    browser.open(page, width=390, is_dark=True)
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    assert browser.run("return document.querySelectorAll('figure svg').length") == 3
    assert browser.complaints() == []


FIRST = """
const range = document.querySelector('.slider input');
range.value = 1;
range.dispatchEvent(new Event('input'));
"""
OTHER_ARM = """
const arm = document.querySelectorAll('.slider select')[1];
arm.value = 'solution_only';
arm.dispatchEvent(new Event('change'));
"""


def test_viewer_goes_through_a_trace(browser: Browser, tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(TRACES, encoding="utf-8")
    run(config, tmp_path / "runs", "--set", "seeds=[0]", "--set", "arms=[{kind: swapped}]")
    folder = tmp_path / "runs" / "small"
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    fault = {"fault": "create_non_neighbor", "at": 1}
    found["examples"][0]["answers"] = {
        "swapped": {
            "operations": [[1, 0, 0, 0, 3], [0, 3, 3, 1, 3]],
            "plan": [[0, 0], [0, 1]],
            "plan_fault": "goal_not_reached",
            "published": fault,
            "strict": fault,
        },
        "solution_only": {
            "operations": [],
            "plan": [],
            "plan_fault": "plan_syntax_error",
            "published": None,
            "strict": None,
        },
    }
    (folder / "results.json").write_text(json.dumps(found), encoding="utf-8")
    assert main(["report", str(folder)]) == 0
    browser.open(folder / "report.html", width=390, is_dark=True)
    verdicts = "return [...document.querySelectorAll('.slider li')].map(one => one.textContent)"
    cells = "return document.querySelectorAll('.slider svg.maze rect').length"
    told = "return document.querySelector('.slider .note').textContent"
    drawn = "return document.querySelectorAll('.slider svg.maze {}').length"
    browser.run(OTHER_ARM)
    assert browser.run(verdicts)[1:] == [
        "published validator: no trace to judge",
        "strict validator: no trace to judge",
    ]
    assert browser.run(told) == "Operation 0 of 0: the problem"
    assert browser.run(cells) == 16
    browser.run(OTHER_ARM.replace("solution_only", "swapped"))
    assert browser.run(told) == "Operation 2 of 2: create 3 3, cost 1, distance 3"
    assert browser.run(verdicts)[1] == "published validator: create_non_neighbor at operation 2"
    assert browser.run(drawn.format("circle")) == browser.run(drawn.format("polyline")) == 1
    browser.run(FIRST)
    assert browser.run(told) == "Operation 1 of 2: close 0 0, cost 0, distance 3"
    assert browser.run(drawn.format("circle")) == browser.run(drawn.format("polyline")) == 0
    assert browser.run(cells) == 17
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    assert browser.complaints() == []
