"""Rate limits -> when the next request may be sent; and the clock by which that is told.

Requests are spaced evenly rather than sent in a burst and then held back: many servers enforce a
limit per minute over seconds, and a burst would only be answered with refusals.
"""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Callable

__all__ = ["Clock", "Pacer"]


@dataclasses.dataclass(frozen=True)
class Clock:
    """Time and chance, so that tests need neither.

    Args:
        now: Seconds from an arbitrary start.
        wait: Waits so many seconds, or until the event is set.
        chance: A number in [0, 1).
    """

    now: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Event, float], object] = threading.Event.wait
    chance: Callable[[], float] = random.random


class Pacer:
    """Lets requests pass one by one, as the limits allow; shared by threads.

    A request keeps the way shut for as long as the limits give it: 60 s / requests, or 60 s times
    its share of the tokens, whichever is longer. So no minute has more requests than the limit, nor
    more tokens than the limit and what its last request may take.

    Args:
        clock: Time.
        requests_per_minute: Requests that may be sent in a minute; `None` is no limit.
        tokens_per_minute: Tokens that they may take together; `None` is no limit.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self._clock = clock
        self._request_s = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token_s = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._lock = threading.Lock()
        self._free_at_s = clock.now()

    def wait(self, stop: threading.Event, n_tokens: int) -> float:
        """Wait for a request's turn, or until the event is set; return the seconds waited.

        Args:
            stop: Ends the wait; the turn is not given to another.
            n_tokens: Tokens that the request may take, of prompt and answer.
        """
        arrived_s = self._clock.now()
        with self._lock:
            start_s = max(arrived_s, self._free_at_s)
            self._free_at_s = start_s + max(self._request_s, n_tokens * self._token_s)
        if start_s <= arrived_s:
            return 0.0
        self._clock.wait(stop, start_s - arrived_s)
        return self._clock.now() - arrived_s
