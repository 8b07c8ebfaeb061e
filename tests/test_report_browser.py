"""The report in a real browser: it runs without errors, and its filters do what they say."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakeserver import Body, FakeServer, Reply, chat_events, chunk, event
from test_report_contract import make_outputs, make_small_results, write_run

from reports.render import write_report

if TYPE_CHECKING:
    from imitate.serving.relay import Upstream

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
        self.visit(path.resolve().as_uri(), width=width, is_dark=is_dark)

    def visit(self, url: str, *, width: int = 1280, is_dark: bool = False) -> None:
        """Open a page, afresh even where only what follows its # is new."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._emulate("setDeviceMetricsOverride", size)
        self._emulate("setEmulatedMedia", {"features": [scheme]})
        for address in ("about:blank", url):
            self._post(f"{self.session}/url", {"url": address})

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

    def press(self, *keys: str) -> None:
        """Press keys together."""
        actions = [{"type": "keyDown", "value": key} for key in keys]
        actions += [{"type": "keyUp", "value": key} for key in reversed(keys)]
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


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Yield a browser of its own."""
    with tempfile.TemporaryDirectory() as profile, driver_url() as url:
        opened = Browser(url, profile)
        try:
            yield opened
        finally:
            opened.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


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


# --- the spot check -------------------------------------------------------------------------------

FRONT_KEY = "front-key-0123456789"
BASE, LEAD = "medium", "medium/broad-1000-s0"
STATE = "return document.getElementById('spot-state').textContent"
ANSWERS = (
    "return [...document.querySelectorAll('#spot-answers .answer')]"
    ".map(a => [a.querySelector('b').textContent, a.querySelector('pre').textContent])"
)
never = threading.Event()


def spoken(body: Body, _: int) -> Reply:
    """Answer as the fake models do: by name, hostile, endless, or not at all."""
    if body["model"] == "broken":
        return Reply({"error": {"message": HOSTILE}}, 500)
    prompt = body["messages"][-1]["content"]
    if prompt == "endless":
        return Reply(pieces=(event(chunk("on and on")) for _ in range(200) if not never.wait(0.05)))
    said = HOSTILE if prompt == "hostile" else f"{body['model']} at {body['temperature']}: {prompt}"
    return Reply(pieces=chat_events(*said))


@contextmanager
def fronted(page: Path, **names: str) -> Iterator[str]:
    """Serve a page and its base, lead and teacher; `names` are the models behind them."""
    pytest.importorskip("starlette", reason="needs the extra vllm, which brings starlette")
    pytest.importorskip("uvicorn", reason="needs the extra vllm, which brings uvicorn")
    from imitate.serving.front import build_app, serve_front
    from imitate.serving.relay import Upstream

    server = FakeServer(spoken)
    models = {BASE: "one", LEAD: "two", "teacher": "three"} | names
    arms: dict[str, Upstream] = {arm: Upstream(server.url, name) for arm, name in models.items()}
    try:
        with serve_front(build_app(arms, key=FRONT_KEY, report=page), 0) as url:
            yield url
    finally:
        server.close()


@pytest.fixture(scope="module")
def front(page: Path) -> Iterator[str]:
    with fronted(page) as url:
        yield url


def state_that(browser: Browser, *words: str) -> str:
    """Return what the panel says once it says some words."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = str(browser.run(STATE))
        if any(word in state for word in words):
            return state
        time.sleep(0.05)
    raise TimeoutError(f"the panel says {state!r}")


def ask(browser: Browser, prompt: str, **settings: str) -> None:
    """Fill the panel in and press its button."""
    for name, value in {"prompt": prompt, **settings}.items():
        browser.run(
            f"document.forms['spot-form'].elements[{json.dumps(name)}].value = {json.dumps(value)}"
        )
    browser.run("document.getElementById('spot-ask').click()")


@pytest.mark.parametrize("place", ["served", "file"])
def test_panel_shows_what_the_arms_answer(
    browser: Browser, page: Path, front: str, place: str
) -> None:
    port = front.rpartition(":")[2]
    link = f"#key={FRONT_KEY}&port={port}"
    address = f"{front}/report.html" if place == "served" else page.resolve().as_uri()
    browser.visit(address + link)
    assert "3 arms" in state_that(browser, "Connected")
    assert browser.run("return location.href") == f"{address}#spot"
    assert browser.run("return document.getElementById('spot-hint').hidden") is True
    ask(browser, "What is new?", temperature="0.5")
    assert state_that(browser, "answered") == "3 of 3 answered."
    assert browser.run(ANSWERS) == [
        [BASE, "one at 0.5: What is new?"],
        [LEAD, "two at 0.5: What is new?"],
        ["teacher", "three at 0.5: What is new?"],
    ]
    assert browser.complaints() == []
    assert FRONT_KEY not in browser.run("return document.documentElement.outerHTML")


def test_only_what_is_served_can_be_ticked(browser: Browser, front: str) -> None:
    browser.visit(f"{front}/report.html#key={FRONT_KEY}")
    state_that(browser, "Connected")
    ticks = "return [...document.querySelectorAll('#spot-form [name=arm]')]"
    ticks += ".map(box => [box.value, box.disabled])"
    found = dict(browser.run(ticks))
    assert found == {BASE: False, LEAD: False, "teacher": False, "medium/shuffled-1000-s0": True}


def test_what_models_say_is_never_executed(browser: Browser, page: Path) -> None:
    with fronted(page, teacher="broken") as url:
        browser.visit(f"{url}/report.html#key={FRONT_KEY}")
        state_that(browser, "Connected")
        ask(browser, "hostile")
        assert state_that(browser, "answered") == "2 of 3 answered."
    assert browser.run(ANSWERS) == [[BASE, HOSTILE], [LEAD, HOSTILE], ["teacher", ""]]
    fault = "return document.querySelector('#spot-answers .fault').textContent"
    assert browser.run(fault) == HOSTILE
    assert "sound like their teacher" in browser.run("return document.title")
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert not [said for said in browser.complaints() if "status of 500" not in said]


def test_a_hint_stands_where_no_endpoint_runs(browser: Browser, page: Path) -> None:
    browser.open(page)
    hint = browser.run("return document.getElementById('spot-hint').innerText")
    assert "imitate serve runs/quickstart" in hint
    assert browser.complaints() == []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ask(browser, "Is there anybody?", key="some-key", port=str(port))
    told = state_that(browser, "No endpoint")
    assert told.startswith(f"No endpoint answers at http://127.0.0.1:{port}.")
    assert browser.run("return document.getElementById('spot-hint').hidden") is False
    browser.complaints()


def test_a_wrong_key_is_told(browser: Browser, front: str) -> None:
    browser.visit(f"{front}/report.html#key=wrong")
    assert "refuses this key" in state_that(browser, "key")
    ask(browser, "And now?", key=FRONT_KEY)
    assert state_that(browser, "answered") == "3 of 3 answered."
    browser.complaints()


def test_an_answer_can_be_stopped(browser: Browser, front: str) -> None:
    browser.visit(f"{front}/report.html#key={FRONT_KEY}")
    state_that(browser, "Connected")
    ask(browser, "endless")
    deadline = time.monotonic() + 10
    while "on and on" not in str(browser.run(ANSWERS)) and time.monotonic() < deadline:
        time.sleep(0.05)
    browser.run("document.getElementById('spot-stop').click()")
    assert state_that(browser, "answered") == "0 of 3 answered."
    assert "on and on" in browser.run(ANSWERS)[0][1]


def test_panel_is_asked_from_the_keyboard(browser: Browser, front: str) -> None:
    browser.visit(f"{front}/report.html#key={FRONT_KEY}")
    state_that(browser, "Connected")
    browser.run("document.forms['spot-form'].elements.prompt.focus()")
    for key in "hi":
        browser.press(key)
    browser.press("\ue009", "\ue007")
    assert state_that(browser, "answered") == "3 of 3 answered."
    assert browser.run(ANSWERS)[0][1] == "one at 0: hi"


@pytest.mark.parametrize("width", [320, 768])
def test_panel_with_answers_never_scrolls_sideways(
    browser: Browser, front: str, width: int
) -> None:
    browser.visit(f"{front}/report.html#key={FRONT_KEY}", width=width)
    state_that(browser, "Connected")
    ask(browser, "x" * 500)
    state_that(browser, "answered")
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_page_reaches_nobody_but_this_machine(browser: Browser, page: Path, front: str) -> None:
    browser.visit(f"{front}/report.html")
    port = front.rpartition(":")[2]
    for url in (
        f"http://localhost:{port}/health",
        "https://example.com/",
        f"ws://127.0.0.1:{port}",
    ):
        browser.run(f"try {{ new WebSocket({json.dumps(url)}) }} catch {{}}")
        browser.run(f"fetch({json.dumps(url)}).catch(() => 0)")
    blocked = "Content Security Policy directive: \"connect-src 'self' http://127.0.0.1:*\""
    deadline, said = time.monotonic() + 10, ""
    while said.count(blocked) < 4 and time.monotonic() < deadline:
        said += "".join(browser.complaints())
        time.sleep(0.05)
    assert said.count(blocked) >= 4


def test_a_published_page_has_no_panel_and_reaches_nobody(tmp_path: Path) -> None:
    folder = write_run(tmp_path, make_small_results(), make_outputs())
    written = write_report(folder, n_excerpts=1)
    page, told = written.html.read_text(), written.markdown.read_text()
    assert "connect-src" not in page
    assert "spot" not in page.partition("</style>")[2]
    assert "imitate spot" not in told
    assert "imitate spot" in write_report(folder).markdown.read_text()
