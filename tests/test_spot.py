"""Spot checks in the terminal: streams, side by side, sessions, and who answers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakeserver import KEY, Body, FakeServer, Reply, Serve, chat_events, chunk, event
from rich.console import Console

from evals.endpoint import Message, Sampling
from evals.errors import EndpointError, UserError
from evals.server import Server
from imitate.cli import main
from imitate.plan import build_plan
from imitate.serving.arms import ServedRun, read_served_run
from imitate.serving.note import SERVE_FILE, announced, find_running
from imitate.serving.sse import read_events
from imitate.spot.answers import Answer, State
from imitate.spot.session import Session, choose
from imitate.spot.showing import side_by_side, watched
from imitate.spot.speakers import Speaker, in_process_speakers, recorded_teacher
from imitate.spot.stream import Piece, stream_chat
from imitate.store import FinishedCell
from imitate.terminal import printable

ROOT = Path(__file__).resolve().parent.parent
GREEDY = Sampling(max_tokens=8)
HOSTILE = (
    "red \x1b[31m\x1b]0;taken\x07\x9b2J\r\x08 [bold]not bold[/bold] \u202eesrever\u2066 \ud800"
)
CONFIG = """\
name: tiny
bases:
  - {{name: tiny, model: {model}}}
teacher: {teacher}
mixes:
  broad: {{sources: [{{kind: file, path: data.jsonl}}], amounts: [16]}}
tasks:
  - {{name: chat, axis: style, source: {{kind: file, path: chat.jsonl}}, n_items: 24}}
"""


def write_config(folder: Path, model: Path | str = "lab/small", teacher: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = CONFIG.format(model=model, teacher=teacher or "{kind: model, model: lab/teacher}")
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder


def screen(*, width: int = 120, is_terminal: bool = False) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        height=30,
        force_terminal=is_terminal,
        highlight=False,
        color_system="truecolor" if is_terminal else None,
        _environ={"TERM": "xterm-256color"},
    )


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def saying(name: str, *texts: str, kind: str = "imitator", reason: str = "stop") -> Speaker:
    async def ask(_: Sequence[Message], __: Sampling) -> AsyncIterator[Piece]:
        for text in texts:
            yield Piece(text)
        yield Piece(finish_reason=reason)

    return Speaker(name, kind, ask)


def failing(name: str) -> Speaker:
    async def ask(_: Sequence[Message], __: Sampling) -> AsyncIterator[Piece]:
        yield Piece("begun ")
        raise EndpointError("the answer broke off")

    return Speaker(name, "base", ask)


def echo(name: str) -> Speaker:
    """Return a speaker that repeats what it was told, all turns of it."""

    async def ask(messages: Sequence[Message], _: Sampling) -> AsyncIterator[Piece]:
        yield Piece("|".join(message["content"] for message in messages), "stop")

    return Speaker(name, "base", ask)


# --- the protocol ---------------------------------------------------------------------------------


def collected(raw: bytes, size: int) -> list[str]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(raw), size):
            yield raw[start : start + size]

    async def collect() -> list[str]:
        return [data async for data in read_events(pieces())]

    return asyncio.run(collect())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_are_read_from_pieces_of_any_size(end: str, size: int) -> None:
    lines = [": comment", "", "event: x", "data: ä\u2028b", "data:  two", "id: 1", "", "", "data:3"]
    assert collected(end.join(lines).encode(), size) == ["ä\u2028b\n two", "3"]


def ask(server: FakeServer | str, **options: Any) -> list[Piece]:
    url = server if isinstance(server, str) else server.url

    async def collect() -> list[Piece]:
        messages = [{"role": "user", "content": "hello"}]
        stream = stream_chat(Server(url, KEY), "m", messages, GREEDY)
        return [piece async for piece in stream]

    return asyncio.run(collect())


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_an_answer_is_streamed(serve: Serve) -> None:
    server = serve(lambda *_: Reply(pieces=chat_events("Hel", "lo")))
    pieces = ask(server)
    assert text_of(pieces) == "Hello"
    assert [p.finish_reason for p in pieces if p.finish_reason] == ["stop"]
    _, body, headers = server.requests[0]
    assert body["stream"] is True
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (8, 0.0, 0)
    assert headers["Authorization"] == f"Bearer {KEY}"


def test_the_token_limit_takes_its_other_name_where_a_server_wants_that(serve: Serve) -> None:
    def script(body: dict[str, Any], _: int) -> Reply:
        if "max_tokens" in body:
            return Reply({"error": {"message": "use 'max_completion_tokens'"}}, 400)
        return Reply(pieces=chat_events("fine"))

    server = serve(script)
    assert text_of(ask(server)) == "fine"
    assert [body.get("max_completion_tokens") for _, body, _ in server.requests] == [None, 8]


def test_odd_events_say_nothing(serve: Serve) -> None:
    odd = [b"[]", b"null", b"no json", b'{"choices": 3}', b'{"choices": [7]}', b'{"choices": []}']
    pieces = [*map(event, odd), *chat_events("fine")]
    assert text_of(ask(serve(lambda *_: Reply(pieces=pieces)))) == "fine"


def test_an_answer_that_comes_whole_is_one_piece(serve: Serve) -> None:
    whole = {"choices": [{"message": {"content": "all of it"}, "finish_reason": "length"}]}
    assert ask(serve(lambda *_: Reply(whole))) == [Piece("all of it", "length")]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (
            Reply(pieces=[event({"error": {"message": f"out of memory, {KEY}"}})]),
            r"memory, \[key\]",
        ),
        (Reply(pieces=[event({"error": "plain words"})]), "plain words"),
        (Reply(pieces=[event(chunk("half"))]), "the answer broke off"),
        (Reply({"error": {"message": "too long"}}, 400), "too long"),
        (Reply(b"<html>", 503), "the server replied 503: <html>"),
        (Reply({"choices": []}), "the server replied no answer"),
        (Reply(b"", claims=100), "the connection to .* was lost"),
    ],
)
def test_what_is_no_answer_is_an_error(serve: Serve, reply: Reply, told: str) -> None:
    with pytest.raises(EndpointError, match=told):
        ask(serve(lambda *_: reply))


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(EndpointError, match=r"nothing answers at http://127.0.0.1:9/v1"):
        ask("http://127.0.0.1:9/v1")


# --- the terminal ---------------------------------------------------------------------------------


def test_what_acts_on_a_terminal_is_taken_out() -> None:
    assert printable(HOSTILE) == "red [31m]0;taken2J [bold]not bold[/bold] esrever \ufffd"
    assert printable("a\r\nb\tc\u2028d \u200d👩‍🔬 é") == "a\nb\tc\nd \u200d👩‍🔬 é"


def test_answers_stand_side_by_side_in_a_terminal() -> None:
    console = screen(is_terminal=True)
    speakers = [saying("medium", "left"), saying("teacher", "right"), failing("small")]
    Session(speakers, [], GREEDY, console).say("hello")
    last = shown(console).rpartition("medium")[2]
    row = next(line for line in last.splitlines() if "left" in line)
    assert "right" in row
    assert "begun" in row
    assert "the answer broke off" in last


def test_columns_wrap_into_rows_where_they_do_not_fit() -> None:
    answers = [
        Answer(name, "imitator", "said " * 30, State.DONE) for name in ("one", "two", "three")
    ]
    for width, heads in ((120, 1), (80, 2), (30, 3)):
        console = screen(width=width)
        console.print(side_by_side(answers, console))
        lines = shown(console).splitlines()
        assert sum("╭" in line for line in lines) == heads
        assert max(map(len, lines)) <= width


def test_a_long_answer_shows_its_end_while_it_grows() -> None:
    console = screen(width=40)
    text = "\n".join(f"line {number}" for number in range(100))
    console.print(side_by_side([Answer("one", "base", text, State.SPEAKING)], console, height=10))
    assert "line 99" in shown(console)
    assert "line 90\n" not in shown(console)
    assert len(shown(console).splitlines()) == 10


def test_output_reaches_the_terminal_as_text_only() -> None:
    for is_terminal in (True, False):
        console = screen(is_terminal=is_terminal)
        hostile = saying(f"arm{HOSTILE}", HOSTILE, kind="imitator\x1b[2J")
        Session([hostile], [], GREEDY, console).say("hello")
        text = shown(console)
        for sequence in ("\x1b[31m", "\x1b]0;", "\x07", "\x9b", "\x08", "\u202e", "\u2066"):
            assert sequence not in text
        assert "[bold]not bold[/bold]" in text
        text.encode()


def test_without_a_terminal_answers_come_one_after_another() -> None:
    console = screen()
    speakers = [saying("medium", "cut", kind="base", reason="length"), failing("small"), echo("me")]
    Session(speakers, [], GREEDY, console).say("hello")
    assert shown(console) == (
        "== medium (base)\ncut\n[cut off at 8 tokens]\n\n"
        "== small (base)\nbegun\n[failed: the answer broke off]\n\n"
        "== me (base)\nhello\n\n"
    )


def test_what_was_said_stays_when_an_answer_is_stopped() -> None:
    console = screen(is_terminal=True)
    answers = [Answer("medium", "base", "so far", State.SPEAKING)]
    with contextlib.suppress(KeyboardInterrupt), watched(console) as show:
        show(answers)
        raise KeyboardInterrupt
    assert "\x1b[2K" not in shown(console).rpartition("so far")[2]  # nothing erases its last place


# --- a session ------------------------------------------------------------------------------------


def held(speakers: Sequence[Speaker], *lines: str) -> tuple[Session, str]:
    console = screen()
    session = Session(speakers, [], GREEDY, console)
    session.run(iter(lines))
    return session, shown(console)


def test_each_arm_goes_on_with_its_own_conversation() -> None:
    _, text = held([echo("me"), saying("you", "yes")], "one", "two", "/new", "three")
    assert "== me (base)\none|one|two\n" in text
    assert "a new conversation" in text
    assert "== me (base)\nthree\n" in text


def test_an_arm_that_fails_stops_nobody_and_forgets_the_prompt() -> None:
    heard: list[int] = []

    async def ask(messages: Sequence[Message], _: Sampling) -> AsyncIterator[Piece]:
        heard.append(len(messages))
        raise EndpointError("busy")
        yield Piece()

    _, text = held([Speaker("broken", "base", ask), echo("me")], "one", "two")
    assert heard == [1, 1]
    assert "one|one|two" in text


def test_commands_of_a_session(tmp_path: Path) -> None:
    speakers = [echo("medium"), saying("teacher", "ok"), saying("c", "-", kind="control")]
    file = tmp_path / "answers.md"
    session, text = held(
        speakers,
        *("/arms", "/arms nobody", "/arms medi* c", "/seed 7", "/seed x", "/wrong", "/help"),
        *("", "hello ``` there", "/save", f"/save {file}", f"/save {file}", "/quit", "not asked"),
    )
    assert "* medium  base\n* teacher  imitator\n  c  control\n" in text
    assert "error: no arm `nobody` here" in text
    assert [one.name for one in session.chosen] == ["medium", "c"]
    assert session.sampling.seed == 7
    assert "a seed is a whole number from 0, got `x`" in text
    assert "no command `/wrong`" in text
    assert "/save FILE" in text
    assert "`/save` needs a file" in text
    assert "cannot be written: File exists" in text
    assert len(session.turns) == 1
    saved = file.read_text(encoding="utf-8")
    assert "````text\nhello ``` there\n````" in saved
    assert "**medium**" in saved


def test_a_session_is_saved_as_json(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    held([saying("medium", HOSTILE)], "hello", f"/save {file}")
    turn = json.loads(file.read_text(encoding="utf-8"))["turns"][0]
    assert (turn["prompt"], turn["seed"], turn["max_tokens"]) == ("hello", 0, 8)
    assert turn["answers"][0]["text"] == HOSTILE


def test_ctrl_c_stops_an_answer_and_not_the_session() -> None:
    async def ask(_: Sequence[Message], __: Sampling) -> AsyncIterator[Piece]:
        raise KeyboardInterrupt
        yield Piece()

    _, text = held([Speaker("slow", "base", ask)], "hello", "/seed 3")
    assert "stopped" in text
    assert "seed 3" in text


def test_arms_are_chosen_by_pattern_and_controls_by_name_only() -> None:
    speakers = [echo("medium"), saying("medium/broad-1-s0", ""), saying("x", "", kind="sweep")]
    assert [one.name for one in choose(speakers, [])] == ["medium", "medium/broad-1-s0"]
    assert [one.name for one in choose(speakers, ["medium/*", "x"])] == ["medium/broad-1-s0", "x"]
    with pytest.raises(UserError, match="no arm `y` here"):
        choose(speakers, ["y"])


# --- who answers ----------------------------------------------------------------------------------


def test_the_note_of_a_running_endpoint_is_its_owners_alone(tmp_path: Path) -> None:
    with announced(tmp_path, "http://127.0.0.1:1/v1", "secret-key"):
        found = find_running(tmp_path)
        assert found is not None
        assert (found.url, found.key, found.pid) == (
            "http://127.0.0.1:1/v1",
            "secret-key",
            os.getpid(),
        )
        assert "secret-key" not in repr(found)
        assert (tmp_path / SERVE_FILE).stat().st_mode & 0o777 == 0o600
        with (
            pytest.raises(UserError, match="is served already, at http"),
            announced(tmp_path, "http://127.0.0.1:2/v1", "other"),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"started": 1.0}, {"pid": 2**22 + 1}, {"more": 1}, None])
def test_a_stale_note_is_removed(tmp_path: Path, change: dict[str, Any] | None) -> None:
    with announced(tmp_path, "http://127.0.0.1:1/v1", "key"):
        note = json.loads((tmp_path / SERVE_FILE).read_text())
    text = "{" if change is None else json.dumps(note | change)
    (tmp_path / SERVE_FILE).write_text(text)
    assert find_running(tmp_path) is None
    assert not (tmp_path / SERVE_FILE).exists()


def test_models_answer_in_this_process(
    tmp_path: Path, tiny_model: Path, tiny_adapter: Path
) -> None:
    folder = write_config(tmp_path / "run", tiny_model, f"{{kind: model, model: {tiny_model}}}")
    bare = read_served_run(folder, runs=tmp_path)
    assert [arm.name for arm in bare.arms] == ["tiny", "teacher"]
    assert "imitate run" in bare.left_out["tiny/broad-16-s0"]
    trained = {"train/tiny/broad-16-s0": FinishedCell(tiny_adapter.parent, "", 0.0)}
    run = ServedRun(folder, build_plan(bare.config), trained)
    assert run.adapters("tiny") == {"tiny/broad-16-s0": tiny_adapter}
    with in_process_speakers(run) as speakers:
        session = Session(speakers, [], GREEDY, screen())
        answers = session.say("hello")
        again = session.say("hello")
    assert [a.arm for a in answers] == ["tiny", "tiny/broad-16-s0", "teacher"]
    assert [a.state for a in answers + again] == [State.DONE] * 6
    texts = [a.text for a in answers]
    assert texts[0] == texts[2] != texts[1]


def test_a_prompt_that_fills_the_context_is_the_arms_error(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = write_config(tmp_path / "run", tiny_model)
    with in_process_speakers(read_served_run(folder, runs=tmp_path)) as speakers:
        answer = Session(speakers, ["tiny"], GREEDY, screen()).say("a b c " * 200)[0]
    assert answer.state is State.FAILED
    assert "leaves no room in a context of 128" in answer.note


def test_a_teacher_behind_an_endpoint_is_streamed(tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda *_: Reply(pieces=chat_events("from afar")))
    teacher = f"{{kind: endpoint, url: {server.url}, model: big}}"
    folder = write_config(tmp_path / "run", teacher=teacher)
    with in_process_speakers(read_served_run(folder, runs=tmp_path)) as speakers:
        answer = Session(speakers, ["teacher"], GREEDY, screen()).say("hello")[0]
    assert answer.text == "from afar"
    assert server.requests[0][1]["model"] == "big"


def test_a_teacher_of_recorded_outputs_answers_its_prompts(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.jsonl"
    outputs.write_text(json.dumps({"prompt": "hello", "text": "recorded"}) + "\n")
    folder = write_config(tmp_path / "run", teacher=f"{{kind: outputs, path: {outputs}}}")
    run = read_served_run(folder, runs=tmp_path)
    assert "no model here" in run.left_out["teacher"]
    speakers = [recorded_teacher(run.config.teacher)]  # type: ignore[arg-type]
    session = Session(speakers, [], GREEDY, screen())
    known, later = session.say(" hello "), session.say("hello")
    assert known[0].text == "recorded"
    assert "first turns only" in later[0].note
    unknown = Session(speakers, [], GREEDY, screen()).say("something else")[0]
    assert unknown.note.startswith("no recorded output on this prompt")


def test_what_is_no_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spot", str(tmp_path), "hello"]) == 2
    assert f"no run in `{tmp_path}`" in capsys.readouterr().err


def test_an_endpoint_that_refuses_the_key_is_told(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spot", str(tmp_path), "hello", "--url", "http://127.0.0.1:9/v1"]) == 1
    assert "nothing answers at http://127.0.0.1:9/v1" in capsys.readouterr().err


# --- the command against a running endpoint -------------------------------------------------------


def by_name(body: Body, _: int) -> Reply:
    if body["model"] == "broken":
        return Reply({"error": {"message": "this one is broken"}}, 500)
    last = body["messages"][-1]["content"]
    return Reply(pieces=chat_events(f"{body['model']} has {len(body['messages'])}: ", last))


@pytest.fixture
def running(serve: Serve, tmp_path: Path) -> Iterator[Path]:
    """Yield the folder of a run whose endpoint runs."""
    pytest.importorskip("starlette", reason="needs the extra vllm, which brings starlette")
    pytest.importorskip("uvicorn", reason="needs the extra vllm, which brings uvicorn")
    from imitate.serving.front import build_app, serve_front
    from imitate.serving.relay import Upstream

    url = serve(by_name).url
    kinds = {"medium": "base", "medium/broad-1-s0": "imitator", "broken": "base", "c": "control"}
    arms = {name: Upstream(url, name, KEY, kind) for name, kind in kinds.items()}
    folder = write_config(tmp_path / "run")
    with (
        serve_front(build_app(arms, key="front-key"), 0) as front,
        announced(folder, f"{front}/v1", "front-key"),
    ):
        yield folder


def test_one_prompt_is_asked_of_all_arms(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spot", str(running), "hello"]) == 0
    out = capsys.readouterr().out
    assert "== medium (base)\nmedium has 1: hello\n" in out
    assert "== medium/broad-1-s0 (imitator)\nmedium/broad-1-s0 has 1: hello\n" in out
    assert "[failed: this one is broken]" in out
    assert "== c" not in out
    assert main(["spot", str(running), "hello", "--arms", "broken"]) == 1


def test_another_endpoint_is_asked_with_the_key_of_the_environment(
    running: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = find_running(running)
    assert found is not None
    elsewhere = ["spot", str(tmp_path / "none"), "hello", "--url", found.url, "--arms", "m*"]
    monkeypatch.setenv("IMITATE_SERVE_KEY", "front-key")
    assert main(elsewhere) == 0
    monkeypatch.setenv("IMITATE_SERVE_KEY", "wrong")
    assert main(elsewhere) == 2
    assert "refuses the key" in capsys.readouterr().err


def test_lines_on_standard_input_are_a_session(running: Path) -> None:
    lines = "one\ntwo\n/arms broken\n/new\nthree\n/quit\n"
    done = subprocess.run(
        [sys.executable, "-m", "imitate.cli", "spot", str(running), "--arms", "medium"],
        input=lines,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "medium has 1: one" in done.stdout
    assert "medium has 3: two" in done.stdout
    assert "[failed: this one is broken]" in done.stdout


def read_until(terminal: int, wanted: str, timeout_s: float = 30) -> str:
    """Return what a terminal shows until some words have come."""
    text, deadline = "", time.monotonic() + timeout_s
    while wanted not in text:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} did not come: {text!r}"
        text += os.read(terminal, 65536).decode("utf-8", errors="replace")
    return text


def test_a_session_in_a_real_terminal(running: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "imitate.cli", "spot", str(running)]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment
    ) as process:
        os.close(theirs)
        try:
            read_until(ours, "you> ")
            os.write(ours, b"hello\n")
            answered = read_until(ours, "you> ").rpartition("╭")[2]
            os.write(ours, b"/seed 5\n")
            assert "seed 5" in read_until(ours, "you> ")
            os.write(ours, b"\x04")
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
            os.close(ours)
    row = next(line for line in answered.splitlines() if "medium has 1: hello" in line)
    assert "medium/broad-1-s0 has 1" in row
