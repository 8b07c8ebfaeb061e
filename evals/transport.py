"""One JSON request to a model server -> its JSON reply, through whatever passes by itself.

Throttling, server errors, timeouts and broken connections are tried again with exponential backoff
and jitter, no sooner than the server asks, until a deadline; every attempt waits for its turn where
the server has rate limits. What no retry mends is a `UserError`
that says what to do; any other failure of one call is a `CallError`. The key is in no message.
"""

from __future__ import annotations

import dataclasses
import email.utils
import json
import threading
from datetime import UTC, datetime
from typing import Any, NoReturn

import httpx2

from evals.errors import EndpointError, ModelError, UserError
from evals.pacing import Clock, Pacer
from evals.server import Server, checked_key, checked_url, is_loopback

__all__ = ["CallError", "CallPolicy", "Clock", "Fault", "Transport"]

TRANSIENT_STATUS = frozenset({408, 425, 429})
"""Statuses below 500 that a later attempt may not meet."""

MAX_CONNECT_S = 10.0
MAX_QUOTED_CHARS = 400


@dataclasses.dataclass(frozen=True)
class CallPolicy:
    """How calls are made.

    Args:
        max_in_flight: Requests under way at a time.
        max_retries: Further attempts of a call after its first.
        timeout_s: Longest wait for an answer, in seconds.
        deadline_s: Longest time of one call with all its attempts, in seconds; waiting for a turn
            does not count.
        backoff_s: Wait before the first retry, doubled for each further one, in seconds; between
            half and all of it is waited, by chance.
        max_backoff_s: Longest wait that the server did not ask for, in seconds.
        max_failed_in_row: Calls that may fail one after another before the server counts as gone.
        requests_per_minute: Requests that may be sent in a minute; `None` is no limit.
        tokens_per_minute: Tokens that they may take together, each counted with its longest
            answer; `None` is no limit.
    """

    max_in_flight: int = 8
    max_retries: int = 5
    timeout_s: float = 120.0
    deadline_s: float = 600.0
    backoff_s: float = 0.5
    max_backoff_s: float = 30.0
    max_failed_in_row: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


@dataclasses.dataclass(frozen=True)
class Fault:
    """Why an attempt failed. `status` is HTTP's, 0 without a reply; `code` is the server's word."""

    message: str
    status: int = 0
    is_transient: bool = False
    is_unreachable: bool = False
    retry_after_s: float = 0.0
    code: str = ""
    parameter: str = ""


class CallError(EndpointError):
    """One call failed for good."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Transport:
    """Open connections to one server; used by many threads at once.

    Raises:
        UserError: The URL or the key cannot be used.
    """

    def __init__(self, server: Server, policy: CallPolicy, clock: Clock) -> None:
        self.url = checked_url(server.url)
        self._key = checked_key(server.api_key)
        self._policy = policy
        self._clock = clock
        self._pacer = Pacer(
            clock,
            requests_per_minute=policy.requests_per_minute,
            tokens_per_minute=policy.tokens_per_minute,
        )
        self._http = httpx2.Client(
            headers={"Content-Type": "application/json"} | self._authorization(),
            limits=httpx2.Limits(max_connections=policy.max_in_flight),
            trust_env=not is_loopback(self.url),  # a proxy cannot reach this machine's servers
        )

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def post(
        self, path: str, body: dict[str, Any], stop: threading.Event, n_tokens: int = 0
    ) -> dict[str, Any]:
        """Return the JSON object that the server replies.

        Args:
            path: Path below the server's URL.
            body: JSON object to send.
            stop: No further attempt is made once it is set.
            n_tokens: Tokens that the request may take: what rate limits count.

        Raises:
            CallError: The call failed for good.
            ModelError: The server does not know the model, or the path.
            UserError: The server refuses the key, or the account has no credit.
        """
        end_s = self._clock.now() + self._policy.deadline_s
        attempt = 0
        while True:
            attempt += 1
            end_s += self._pacer.wait(stop, n_tokens)
            if stop.is_set():
                raise CallError(Fault("not sent: the run is stopping"))
            try:
                return self._attempt(path, body, end_s)
            except CallError as error:
                fault = error.fault
            delay_s = self._delay_s(attempt, fault)
            is_late = self._clock.now() + delay_s >= end_s
            if not fault.is_transient or attempt > self._policy.max_retries or is_late:
                raise CallError(_after(fault, attempt))
            self._clock.wait(stop, delay_s)

    def _attempt(self, path: str, body: dict[str, Any], end_s: float) -> dict[str, Any]:
        timeout_s = max(0.001, min(self._policy.timeout_s, end_s - self._clock.now()))
        try:
            response, text = self._exchange(path, body, timeout_s)
        except httpx2.TimeoutException as error:
            is_unreachable = isinstance(error, httpx2.ConnectTimeout)
            message = f"{self.url} did not answer within {timeout_s:.3g} s"
            fault = Fault(message, is_transient=True, is_unreachable=is_unreachable)
        except httpx2.ConnectError as error:
            message = f"cannot reach {self.url}: {self._quoted(str(error))}"
            fault = Fault(message, is_transient=True, is_unreachable=True)
        except httpx2.HTTPError as error:
            message = f"the connection to {self.url} broke: {self._quoted(str(error))}"
            fault = Fault(message, is_transient=True)
        else:
            return self._content(path, response, text)
        raise CallError(fault)  # outside the handlers: their exceptions hold the request's headers

    def _exchange(
        self, path: str, body: dict[str, Any], timeout_s: float
    ) -> tuple[httpx2.Response, str]:
        """Return the response and its text, read within the time even if it comes in drops."""
        end_s = self._clock.now() + timeout_s
        timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, MAX_CONNECT_S))
        content = bytearray()
        with self._http.stream(
            "POST", self.url + path, content=json.dumps(body), timeout=timeout
        ) as response:
            for piece in response.iter_bytes():
                content += piece
                if self._clock.now() >= end_s:
                    raise httpx2.ReadTimeout("the answer comes too slowly")
        return response, content.decode("utf-8", errors="replace")

    def _content(self, path: str, response: httpx2.Response, text: str) -> dict[str, Any]:
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        error = _error_of(content)
        if response.status_code != 200 or error:
            self._refuse(path, response, error, text)
        if not isinstance(content, dict):
            message = f"{self.url}{path} replied no JSON object: {self._quoted(text)}"
            raise CallError(Fault(message, status=200, is_transient=True))
        return content

    def _refuse(
        self, path: str, response: httpx2.Response, error: dict[str, Any], text: str
    ) -> NoReturn:
        status = _status_of(response, error)
        code = str(error.get("code") or error.get("type") or "")
        told = self._quoted(str(error.get("message") or text))
        if status == 401:
            raise self._bad_key()
        if status == 402 or code == "insufficient_quota":
            raise UserError(
                f"the account at {self.url} has no credit left: {told}",
                hint="run again with credit: answers in the cache are not paid twice",
            )
        if status == 404 or code == "model_not_found":
            raise ModelError(
                f"{self.url}{path} knows no such model or path: {told}",
                hint=f"{self.url}/models lists the models; the URL ends where `/chat/completions` "
                "begins, often in `/v1`",
            )
        raise CallError(
            Fault(
                f"{self.url}{path} replied {status}: {told}",
                status=status,
                is_transient=status in TRANSIENT_STATUS or status >= 500,
                retry_after_s=_retry_after_s(response.headers.get("Retry-After")),
                code=code,
                parameter=str(error.get("param") or ""),
            )
        )

    def _bad_key(self) -> UserError:
        """Return the error of a refused key, without the server's words: they may quote it."""
        if self._key is None:
            return UserError(
                f"{self.url} wants a key",
                hint="put it into an environment variable and name that in `api_key_env`",
            )
        return UserError(
            f"{self.url} refused the key",
            hint="check the environment variable that `api_key_env` names",
        )

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _delay_s(self, attempt: int, fault: Fault) -> float:
        longest = min(self._policy.backoff_s * 2.0 ** (attempt - 1), self._policy.max_backoff_s)
        return max(longest * (0.5 + self._clock.chance() / 2), fault.retry_after_s)

    def _quoted(self, text: str) -> str:
        """Return foreign text on one line, without the key, cut to a readable length."""
        if self._key:
            text = text.replace(self._key, "[key]")
        line = " ".join(text.split())
        return line[:MAX_QUOTED_CHARS] + ("..." if len(line) > MAX_QUOTED_CHARS else "")


def _error_of(content: Any) -> dict[str, Any]:
    """Return the error object of a reply, empty if there is none."""
    error = content.get("error") if isinstance(content, dict) else None
    return error if isinstance(error, dict) else {"message": error} if error else {}


def _status_of(response: httpx2.Response, error: dict[str, Any]) -> int:
    """Return the HTTP status; gateways pass a server's error on in a reply of status 200."""
    if response.status_code != 200:
        return response.status_code
    code = error.get("code")
    return code if isinstance(code, int) else 500


def _retry_after_s(value: str | None) -> float:
    """Return the seconds that a Retry-After header asks for: a number or a date."""
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, float((moment.astimezone(UTC) - datetime.now(UTC)).total_seconds()))


def _after(fault: Fault, attempts: int) -> Fault:
    if attempts == 1:
        return fault
    return dataclasses.replace(fault, message=f"{fault.message} (after {attempts} attempts)")
