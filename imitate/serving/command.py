"""`imitate serve`: the models of a run behind one endpoint, until Ctrl-C."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import dedent

from rich.console import Console
from rich.table import Table

from evals.errors import UserError
from evals.server import checked_key
from imitate.plan import TEACHER, Arm
from imitate.serving.arms import ServedRun, read_served_run
from imitate.serving.front import build_app, serve_front
from imitate.serving.note import announced, check_unserved
from imitate.serving.relay import Upstream
from imitate.serving.upstreams import open_upstreams

__all__ = ["KEY_VARIABLE", "key_from_environment", "serve"]

KEY_VARIABLE = "IMITATE_SERVE_KEY"


def serve(
    path: Path,
    overrides: Sequence[str],
    *,
    runs: Path,
    base: str | None,
    with_teacher: bool,
    port: int | None,
) -> int:
    """Serve a run's arms until Ctrl-C, which is no failure."""
    run = read_served_run(path, overrides, runs=runs)
    check_unserved(run.folder)
    arms = _wanted(run, base, with_teacher=with_teacher)
    key = key_from_environment() or secrets.token_urlsafe(24)
    report = run.folder / "report.html"
    print(f"starting {len(arms)} arms: a large model takes minutes", file=sys.stderr)
    with (
        open_upstreams(run, arms) as upstreams,
        serve_front(build_app(upstreams, key=key, report=report), port) as url,
        announced(run.folder, f"{url}/v1", key),
    ):
        _print_arms(run, upstreams)
        print("\n".join(_ways_to_ask(run, url, key, _example(upstreams))), flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("\nstopping", file=sys.stderr)
    return 0


def key_from_environment() -> str | None:
    """Return the key that the environment gives, None where it gives none.

    Raises:
        UserError: It is none that HTTP could carry.
    """
    try:
        return checked_key(os.environ.get(KEY_VARIABLE))
    except UserError as error:
        raise UserError(error.message, hint=f"check `{KEY_VARIABLE}`") from None


def _wanted(run: ServedRun, base: str | None, *, with_teacher: bool) -> list[Arm]:
    """Return the arms to serve.

    Raises:
        UserError: There is no such base.
    """
    names = [one.name for one in run.config.bases]
    if base is not None and base not in names:
        raise UserError(f"no base `{base}` in this run", hint=f"there are: {', '.join(names)}")
    arms = [
        arm
        for arm in run.arms
        if (with_teacher if arm.name == TEACHER else base in {None, arm.base})
    ]
    assert arms, "every run has a base"
    return arms


def _print_arms(run: ServedRun, upstreams: Mapping[str, Upstream]) -> None:
    console = Console(highlight=False, markup=False)
    table = Table("arm", "kind", box=None, padding=(0, 2, 0, 0))
    for name, upstream in upstreams.items():
        table.add_row(name, upstream.kind)
    console.print(table)
    if run.left_out:
        console.print("\nnot served:")
        for name, reason in run.left_out.items():
            console.print(f"  {name}: {reason}", soft_wrap=True)


def _example(upstreams: Mapping[str, Upstream]) -> str:
    """Return the arm of the lines to paste: an imitator where there is one."""
    imitators = [name for name, upstream in upstreams.items() if upstream.kind == "imitator"]
    return imitators[-1] if imitators else next(iter(upstreams))


def _ways_to_ask(run: ServedRun, url: str, key: str, arm: str) -> Iterator[str]:
    """Yield ready-to-paste lines, the only ones that have the key."""
    message = {"role": "user", "content": "What is the tallest tree?"}
    body = json.dumps({"model": arm, "messages": [message], "max_tokens": 128})
    yield dedent(f"""
        # curl
        curl {url}/v1/chat/completions \\
          -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
          -d {shlex.quote(body)}

        # python, pip install openai
        from openai import OpenAI
        client = OpenAI(base_url="{url}/v1", api_key="{key}")
        reply = client.chat.completions.create(
            model="{arm}", messages=[{json.dumps(message)}], max_tokens=128
        )
        print(reply.choices[0].message.content)

        # side by side in a terminal
        imitate spot {shlex.quote(str(run.folder))} "What is the tallest tree?"
    """)
    if (run.folder / "report.html").is_file():
        yield f"# in the report\n{url}/report.html#key={key}\n"
    else:
        yield "# no report yet: `imitate run` writes one when the run is finished\n"
    yield "Ctrl-C stops it."
