"""The rating page in a real browser: rated by keys, kept over a reload, saved and imported."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ratedruns import BASE, IMITATOR, prefers, shown_pairs, write_run
from test_rating import export, ratings_of, take_in
from test_report_browser import CHROMIUM, DRIVER, HOSTILE, Browser, driver_url

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="needs Debian's chromium and chromium-driver",
    ),
]

LEFT, RIGHT, BACKSPACE, ENTER = "\ue012", "\ue014", "\ue003", "\ue007"
KEYS = {"a": "1", "b": "2", "tie": "3"}
ODD = "  spaces   kept\n\n\ttab **not bold** <b>not bold</b> &amp; `code`\n" + "long line " * 900


class Rater:
    """Somebody at the page."""

    def __init__(self, browser: Browser, page: Path) -> None:
        self.browser, self.page, self.pairs = browser, page, shown_pairs(page)["pairs"]

    def open(self, **how: Any) -> None:
        """Open the page, as if for the first time today."""
        self.browser.open(self.page, **how)

    def start(self, name: str) -> None:
        """Type a name and begin."""
        self.browser.run("document.getElementById('name').value = ''")
        for letter in name:
            self.browser.press(letter)
        self.browser.press(ENTER)

    def text(self, element: str) -> str:
        """Return what an element says."""
        return str(self.browser.run(f"return document.getElementById('{element}').textContent"))

    def is_seen(self, element: str) -> bool:
        """Whether an element is shown."""
        query = f"return document.getElementById('{element}').checkVisibility()"
        return bool(self.browser.run(query))

    def pressed(self) -> list[str]:
        """Return the choice that is marked."""
        query = "[...document.querySelectorAll('[aria-pressed=true]')].map(b => b.dataset.choice)"
        return list(self.browser.run(f"return {query}"))

    def save(self) -> Path:
        """Return the file that the page saves."""
        before = set(self.page.parent.glob("ratings-*.json"))
        self.browser.save_into(self.page.parent)
        self.browser.run("document.querySelector('#bar .save').click()")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            new = set(self.page.parent.glob("ratings-*.json")) - before
            if new:
                return new.pop()
            time.sleep(0.05)
        raise TimeoutError("nothing was saved")


class Downloading(Browser):
    """A browser that saves files where it is told."""

    def save_into(self, folder: Path) -> None:
        """Let files that pages save go into a folder."""
        parameters = {"behavior": "allow", "downloadPath": str(folder)}
        body = {"cmd": "Browser.setDownloadBehavior", "params": parameters}
        self._post(f"{self.session}/goog/cdp/execute", body)


@pytest.fixture(scope="module")
def browser() -> Iterator[Downloading]:
    with tempfile.TemporaryDirectory() as profile, driver_url() as url:
        opened = Downloading(url, profile)
        try:
            yield opened
        finally:
            opened.close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    texts = {(IMITATOR, "chat-0"): HOSTILE, (BASE, "chat-0"): ODD, (BASE, "chat-1"): " \n"}
    folder = write_run(tmp_path / "run", n_items=6, texts=texts)
    assert export(folder, "--attention", "4") == 0
    return folder


@pytest.fixture
def rater(browser: Downloading, run: Path) -> Rater:
    return Rater(browser, run / "ratings" / "rate.html")


def test_two_raters_rate_by_keys_and_are_imported(
    rater: Rater, run: Path, browser: Downloading
) -> None:
    rater.open()
    assert rater.is_seen("intro")
    assert not rater.is_seen("rating")
    files = []
    for name, choose in (("Ann", sure), ("Bo", lambda pair: "a")):
        rater.open()
        rater.start(name)
        for pair in rater.pairs:
            assert rater.text("prompt") == pair["prompt"]
            browser.press(KEYS[choose(pair)])
        assert rater.text("end-title") == "All pairs are answered"
        files.append(rater.save())
    assert browser.complaints() == []
    assert take_in(run, *files) == 0
    told = ratings_of(run)
    ann, bo = told["raters"]
    assert [(one["rater"], one["n_missing"]) for one in (ann, bo)] == [("Ann", 0), ("Bo", 0)]
    assert (ann["attention"]["n_passed"], ann["is_inattentive"]) == (4, False)
    assert bo["is_inattentive"] is True
    assert (bo["first"]["value"], told["agreement"]["nominal"]["n"]) == (1, 12)
    assert told["agreement"]["nominal"]["value"] is not None
    assert 0 <= ann["median_seconds"] < 10


def sure(pair: dict[str, str]) -> str:
    """Return a choice, whatever the texts; `prefers` knows only the usual ones."""
    usual = all(
        side.split()[:1] in (["poor"], ["fine"], ["best"]) for side in (pair["a"], pair["b"])
    )
    return prefers(pair) if usual else "a"


def test_reload_keeps_the_answers_of_each_rater(rater: Rater, browser: Downloading) -> None:
    rater.open()
    rater.start("Hal")
    for key in "12=":
        browser.press(key)
    rater.open()
    assert browser.run("return document.getElementById('name').value") == "Hal"
    assert rater.text("resumed").startswith("3 of 16 pairs are answered under this name")
    rater.start("Hal")
    assert rater.text("place") == "Pair 4 of 16"
    for expected in (["tie"], ["b"], ["a"]):
        browser.press(LEFT)
        assert rater.pressed() == expected
    rater.open()
    rater.start("Ida")
    assert rater.text("place") == "Pair 1 of 16"
    assert rater.pressed() == []


def test_back_changes_an_answer_and_on_leaves_one_open(rater: Rater, browser: Downloading) -> None:
    rater.open()
    rater.start("Cy")
    browser.press("a")
    browser.press(BACKSPACE)
    browser.press("b")
    browser.press(RIGHT)
    assert rater.text("place") == "Pair 3 of 16"
    assert rater.text("count") == "1 of 16 answered"
    for _ in range(14):
        browser.press("3")
    assert rater.text("end-title") == "1 pair is still open"
    told = json.loads(rater.save().read_text(encoding="utf-8"))
    choices = {one["id"]: one["choice"] for one in told["answers"]}
    assert choices[rater.pairs[0]["id"]] == "b"
    assert rater.pairs[1]["id"] not in choices
    browser.run("document.getElementById('open').click()")
    assert rater.text("place") == "Pair 2 of 16"


def test_buttons_do_what_keys_do(rater: Rater, browser: Downloading) -> None:
    rater.open()
    rater.start("Di")
    browser.run("document.querySelector('[data-choice=tie]').click()")
    browser.run("document.getElementById('back').click()")
    assert rater.pressed() == ["tie"]
    browser.press("\ue009", "1")  # with Ctrl held it is the browser's own key
    assert rater.text("place") == "Pair 1 of 16"


def test_answers_are_shown_as_they_are_and_never_as_markup(
    rater: Rater, browser: Downloading
) -> None:
    rater.open()
    rater.start("Ed")
    seen = set()
    for pair in rater.pairs:
        for side in "ab":
            expected = pair[side] if pair[side].strip() else "(nothing was answered)"
            assert rater.text(side) == expected
            style = f"getComputedStyle(document.getElementById('{side}')).whiteSpace"
            assert browser.run(f"return {style}") == "pre-wrap"
            seen.add(pair[side])
            if pair[side] == ODD:
                box = f"document.getElementById('{side}')"
                assert browser.run(f"return {box}.scrollHeight > {box}.clientHeight")
                assert browser.run(f"return {box}.scrollWidth <= {box}.clientWidth")
        browser.press("3")
    assert {HOSTILE, ODD, " \n"} <= seen
    assert browser.run("return document.title") == "Which answer is better?"
    assert browser.run("return document.querySelectorAll('img, b, main script').length") == 0
    assert browser.complaints() == []


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("is_dark", [False, True])
def test_page_fits_its_screen(
    rater: Rater, browser: Downloading, width: int, is_dark: bool
) -> None:
    rater.open(width=width, is_dark=is_dark)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    rater.start("Flo")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    bottom = "document.querySelector('[data-choice=tie]').getBoundingClientRect().bottom"
    assert browser.run(f"return {bottom} <= innerHeight")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    assert (browser.run(f"return {paper}") == "rgb(20, 24, 29)") is is_dark


def test_a_browser_that_keeps_nothing_says_so(rater: Rater, browser: Downloading) -> None:
    rater.open()
    browser.run("Storage.prototype.setItem = () => { throw new Error('full') }")
    rater.start("Gus")
    assert rater.is_seen("warning")
    assert "before you have saved your ratings as a file" in rater.text("warning")
    browser.press("1")
    assert rater.text("count") == "1 of 16 answered"
