"""`imitate spot`: what base, imitators and teacher answer, side by side in the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from evals.endpoint import Sampling
from evals.errors import RunError
from evals.server import Server, checked_url
from imitate.config import OutputsTeacher
from imitate.configfile import load_config
from imitate.plan import TEACHER
from imitate.serving.arms import read_served_run
from imitate.serving.command import key_from_environment
from imitate.serving.note import find_running
from imitate.spot.answers import State
from imitate.spot.session import Session, typed_lines
from imitate.spot.speakers import (
    Speaker,
    in_process_speakers,
    recorded_teacher,
    running_speakers,
)

__all__ = ["spot"]


def spot(
    run: Path, prompt: str | None, *, url: str | None, arms: Sequence[str], sampling: Sampling
) -> int:
    """Ask a run's arms one prompt, or hold a session where none is given.

    Raises:
        RunError: No arm answered the prompt.
    """
    console = Console(highlight=False)
    with _speakers(run, url) as speakers:
        session = Session(speakers, arms, sampling, console)
        if prompt is None:
            session.run(_greeted(session))
            return 0
        answers = session.say(prompt)
    if all(answer.state is State.FAILED for answer in answers):
        raise RunError("no arm answered")
    return 0


@contextlib.contextmanager
def _speakers(run: Path, url: str | None) -> Iterator[list[Speaker]]:
    """Yield who answers: at a URL, at the run's endpoint if there is one, else in this process."""
    running = find_running(run) if url is None else None
    if url is not None:
        yield running_speakers(Server(checked_url(url), key_from_environment()))
    elif running is not None:
        yield [*running_speakers(Server(running.url, running.key)), *_recorded(run)]
    else:
        served = read_served_run(run, runs=Path("runs"))
        recorded = _recorded(run)
        _say(
            f"no endpoint runs (imitate serve {run} starts one): answers come whole, from this "
            "process, one arm after another"
        )
        for arm in served.plan.arms:
            reason = served.why_not(arm)
            if reason and not arm.control and not (recorded and arm.name == TEACHER):
                _say(f"{arm.name}: {reason}")
        with in_process_speakers(served) as speakers:
            yield [*speakers, *recorded]


def _recorded(run: Path) -> list[Speaker]:
    path = run / "config.yaml"
    teacher = load_config(path).teacher if path.is_file() else None
    if not isinstance(teacher, OutputsTeacher) or teacher.id_column:
        return []  # outputs that go by id answer no typed prompt
    return [recorded_teacher(teacher)]


def _greeted(session: Session) -> Iterator[str]:
    names = ", ".join(speaker.name for speaker in session.chosen)
    _say(f"asking {names}; /help lists the commands")
    yield from typed_lines()


def _say(text: str) -> None:
    print(text, file=sys.stderr)
