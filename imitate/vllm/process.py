"""One vLLM server for the length of a `with` block: started, watched, started again, stopped.

It runs in a process group of its own, so Ctrl-C reaches us alone and we stop it; all it prints goes
to a log. Every wait has a limit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from evals.errors import RunError
from evals.server import Server
from imitate.config import VllmConfig
from imitate.models import ModelRef
from imitate.vllm.command import HOST, build_launch, require_vllm
from imitate.vllm.faults import Cause, explain_exit, tail_of
from imitate.vllm.leftovers import noted, stop_group, stop_leftovers

__all__ = ["VllmServer"]

_log = logging.getLogger(__name__)

POLL_S, POLL_TIMEOUT_S = 0.2, 5.0
WATCH_PERIOD_S, WATCH_TIMEOUT_S, MOST_SILENT = 15.0, 30.0, 4
"""A server that is up is asked for its health so often, in seconds, each time for so long at most;
so many silences one after another, and it hangs. A busy one on two cores answers in a second."""
PORT_TRIES = 3
"""Another process may take the port between our choice and the server's start."""


class VllmServer:
    """A base and its adapters on one server.

    Args:
        ref: The base.
        adapters: Folder of each adapter, by the name under which it is asked.
        settings: The config's.
        dtype: Of the base's weights, `float32` or `bfloat16`.
        max_length: Longest prompt and answer together, in tokens.
        log: File that what the server prints is appended to.

    Raises:
        MissingExtraError: vLLM is not installed.
    """

    def __init__(
        self,
        ref: ModelRef,
        adapters: Mapping[str, Path],
        settings: VllmConfig,
        *,
        dtype: str,
        max_length: int,
        log: Path,
    ) -> None:
        require_vllm()
        self._ref = ref
        self._adapters = dict(adapters)
        self._settings = settings
        self._dtype = dtype
        self._max_length = max_length
        self.log = log
        self._key = secrets.token_urlsafe(24)
        self._port, self._log_start = 0, 0
        self._process: subprocess.Popen[bytes] | None = None
        self._held = contextlib.ExitStack()
        self._n_restarts = 0
        self._is_stopping = False
        self._on_death: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        stop_leftovers()
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def server(self) -> Server:
        """Where it is, and its key."""
        return Server(f"http://{HOST}:{self._port}/v1", self._key)

    def when_it_dies(self, call: Callable[[], None]) -> None:
        """Have a function called, from another thread, when the server ends by itself."""
        self._on_death = call

    def restart(self, error: Exception) -> None:
        """Start a server that died, or hangs, once more.

        Raises:
            RunError: It has been started again often enough, or does not start.
        """
        has_died = self._process is not None and self._process.poll() is not None
        reason = self._cause().message if has_died else str(error)
        if self._n_restarts >= self._settings.max_restarts:
            raise RunError(
                f"the vLLM server of `{self._ref.name}` failed once more after "
                f"{self._n_restarts} restarts: {reason}\n\n{self._last_words()}"
            ) from error
        self._n_restarts += 1
        _log.warning(
            "the vLLM server of %s failed (%s): starting it again, %d of %d",
            *(self._ref.name, reason, self._n_restarts, self._settings.max_restarts),
        )
        self._stop()
        self._start()

    def _start(self) -> None:
        for attempt in range(PORT_TRIES):
            try:
                self._launch()
                self._wait_until_it_answers()
            except _PortTaken:
                self._stop()
                if attempt == PORT_TRIES - 1:
                    raise
            except BaseException:
                self._stop()
                raise
            else:
                return

    def _launch(self) -> None:
        self._port = _free_port()
        launch = build_launch(
            self._ref,
            self._adapters,
            self._settings,
            dtype=self._dtype,
            max_length=self._max_length,
            port=self._port,
            key=self._key,
        )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                launch.command,
                env=os.environ | launch.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._is_stopping = False
        self._held.enter_context(noted(self._process.pid))

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        end = time.monotonic() + self._settings.start_timeout_s
        while not _is_healthy(self._port, POLL_TIMEOUT_S):
            if self._process.poll() is not None:
                raise self._failure()
            if time.monotonic() > end:
                raise RunError(
                    f"the vLLM server of `{self._ref.name}` did not answer within "
                    f"{self._settings.start_timeout_s} s (`serve.vllm.start_timeout_s`)\n\n"
                    + self._last_words()
                )
            time.sleep(POLL_S)
        watched = (self._process, self._port)
        threading.Thread(target=self._watch, args=watched, daemon=True).start()

    def _failure(self) -> RunError:
        """Return why the server ended before it answered."""
        cause = self._cause()
        kind = _PortTaken if cause.is_port_taken else RunError
        return kind(
            f"vLLM does not serve `{self._ref.name}`: {cause.message}\n\n{self._last_words()}"
        )

    def _cause(self) -> Cause:
        """Return why the server ended, by its log since this start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return explain_exit(log.read().decode("utf-8", errors="replace"))

    def _last_words(self) -> str:
        return f"the last lines of {self.log}:\n{tail_of(self.log)}"

    def _watch(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Wait for a server's end, and bring it about where the server hangs."""
        n_silent = 0
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(WATCH_PERIOD_S)
                break
            n_silent = 0 if _is_healthy(port, WATCH_TIMEOUT_S) else n_silent + 1
            if n_silent >= MOST_SILENT and not self._is_stopping:
                _log.warning("the vLLM server of %s hangs: ending it", self._ref.name)
                stop_group(process.pid)
        if not self._is_stopping and process is self._process:
            self._on_death()

    def _stop(self) -> None:
        process, self._process = self._process, None
        self._is_stopping = True
        if process is not None:
            stop_group(process.pid)
            process.wait()
        self._held.close()


class _PortTaken(RunError):
    """Another process took the port that was free a moment ago."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_healthy(port: int, timeout_s: float) -> bool:
    try:
        reply = httpx2.get(f"http://{HOST}:{port}/health", timeout=timeout_s, trust_env=False)
    except httpx2.HTTPError:
        return False
    return reply.status_code == 200
