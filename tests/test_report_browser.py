"""The report in a real browser: it runs without errors, and its filters do what they say."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_report_contract import make_outputs, make_small_results, write_run

from reports.render import write_report

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
HOSTILE = '</script><script>document.title="taken"</script><img src=x onerror="document.title=1">'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="needs Debian's chromium and chromium-driver",
    ),
]


class Browser:
    """A headless Chromium behind the WebDriver protocol."""

    def __init__(self, driver_url: str, profile: str) -> None:
        self.url = driver_url
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        opened = self._post("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{opened['sessionId']}"

    def open(self, path: Path, *, width: int = 1280, is_dark: bool = False) -> None:
        """Open a file, as a phone or a desktop, light or dark."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._emulate("setDeviceMetricsOverride", size)
        self._emulate("setEmulatedMedia", {"features": [scheme]})
        self._post(f"{self.session}/url", {"url": path.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """Return what a function body of JavaScript returns in the page."""
        return self._post(f"{self.session}/execute/sync", {"script": script, "args": []})

    def choose(self, field: str, value: str) -> None:
        """Set a field of the filters as a reader would."""
        self.run(
            f"const field = document.forms.filters.elements[{json.dumps(field)}];"
            f"field.value = {json.dumps(value)};"
            "field.dispatchEvent(new Event('input', {bubbles: true}));"
        )

    def press(self, key: str) -> None:
        """Press a key."""
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": actions}
        self._post(f"{self.session}/actions", {"actions": [keyboard]})

    def shown(self) -> str:
        """Return how many items the browser of outputs says that it shows."""
        return str(self.run("return document.getElementById('shown').textContent"))

    def complaints(self) -> list[str]:
        """Return what the console has said since the last call."""
        logged = self._post(f"{self.session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in logged]

    def close(self) -> None:
        """End the session."""
        request = urllib.request.Request(self.url + self.session, method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()

    def _emulate(self, command: str, parameters: dict[str, Any]) -> None:
        body = {"cmd": f"Emulation.{command}", "params": parameters}
        self._post(f"{self.session}/goog/cdp/execute", body)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]


@contextmanager
def driver_url() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert DRIVER is not None
    command = [DRIVER, f"--port={port}", "--silent"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(f"{url}/status")
            yield url
        finally:
            process.terminate()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise TimeoutError(f"no driver at {url}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with tempfile.TemporaryDirectory() as profile, driver_url() as url:
        opened = Browser(url, profile)
        try:
            yield opened
        finally:
            opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return write_report(write_run(folder, make_small_results(), make_outputs(40))).html


def test_page_opens_without_a_complaint(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.complaints() == []
    assert browser.run("return document.getElementById('filters').hidden") is False
    assert browser.run("return document.getElementById('examples').hidden") is True


def test_first_view_is_what_was_won_on_style_and_lost_on_fact(browser: Browser, page: Path) -> None:
    browser.open(page)
    view = browser.run("return document.forms.filters.elements.show.selectedOptions[0].text")
    assert view == "won on style, lost on fact (14)"
    assert browser.shown() == "1–10 of 14 items"
    outcomes = "return [...document.querySelectorAll('.pair')].map(p => p.textContent)"
    assert all("right" in text and "wrong" in text for text in browser.run(outcomes))


def test_filters_narrow_by_task_and_by_words(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.choose("show", "all")
    assert browser.shown() == "1–10 of 40 items"
    browser.choose("task", "facts")
    assert browser.shown() == "1–10 of 20 items"
    browser.choose("search", "PERSON 17 ")
    assert browser.shown() == "1–1 of 1 items"
    browser.choose("search", "no such words")
    assert browser.shown() == "No item matches."


def test_pages_turn_and_stop_at_the_end(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.getElementById('next').click()")
    assert browser.shown() == "11–14 of 14 items"
    assert browser.run("return document.getElementById('next').disabled") is True
    browser.choose("task", "facts")
    assert browser.shown().startswith("1–")


def test_arm_decides_whose_outputs_are_shown(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.choose("arm", "medium/shuffled-1000-s0")
    heads = "return [...document.querySelectorAll('.pair:first-of-type b')].map(b => b.textContent)"
    assert browser.run(heads)[:3] == ["base medium", "medium/shuffled-1000-s0", "teacher"]


def test_keyboard_reaches_the_skip_link_first(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.press("\ue004")
    assert browser.run("return document.activeElement.className") == "skip"


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_page_never_scrolls_sideways(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_drawings_turn_dark_with_the_page(browser: Browser, page: Path) -> None:
    fill = "return getComputedStyle(document.querySelector('figure text')).fill"
    browser.open(page)
    bright = browser.run(fill)
    browser.open(page, is_dark=True)
    assert browser.run(fill) != bright
    paper = "return getComputedStyle(document.documentElement).backgroundColor"
    assert browser.run(paper) == "rgb(20, 24, 29)"


def test_hostile_outputs_stay_text(browser: Browser, tmp_path: Path) -> None:
    outputs = make_outputs()
    for item in outputs["items"]:
        item["prompt"] = item["task"] = HOSTILE
        for output in item["outputs"].values():
            output["text"] = HOSTILE
    browser.open(write_report(write_run(tmp_path, make_small_results(), outputs)).html)
    assert "sound like their teacher" in browser.run("return document.title")
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert browser.run("return document.querySelector('.pair .prompt').textContent") == HOSTILE
    assert browser.complaints() == []
