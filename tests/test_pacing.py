"""Rate limits: when requests are let pass, on a clock that needs no time."""

from __future__ import annotations

import threading
import time

import pytest
from fakeserver import Reply, Serve, Waits, answer, ask, echoing, in_turn

from evals.endpoint import Sampling
from evals.pacing import Clock, Pacer
from evals.transport import CallPolicy


def starts(sizes: list[int], **limits: float) -> list[float]:
    """Return when requests of these sizes are sent by one caller that never pauses."""
    waits, found = Waits(), []
    clock = waits.clock()
    pacer = Pacer(clock, **limits)
    for size in sizes:
        pacer.wait(threading.Event(), size)
        found.append(clock.now())
    return found


def test_without_limits_nothing_waits() -> None:
    assert starts([10_000] * 5) == [0.0] * 5


def test_requests_are_spaced_evenly() -> None:
    assert starts([1] * 4, requests_per_minute=30) == [0.0, 2.0, 4.0, 6.0]


def test_tokens_space_requests_by_their_size() -> None:
    assert starts([100, 300, 50, 1], tokens_per_minute=600) == [0.0, 10.0, 40.0, 45.0]


def test_the_narrower_limit_counts() -> None:
    at_s = starts([1, 100, 1], requests_per_minute=60, tokens_per_minute=600)
    assert at_s == [0.0, 1.0, 11.0]


def test_no_minute_has_more_requests_than_allowed() -> None:
    at_s = starts([1] * 40, requests_per_minute=7)
    assert max(sum(a <= b < a + 60 - 1e-9 for b in at_s) for a in at_s) == 7


def test_time_that_passed_by_itself_is_not_waited_again() -> None:
    waits = Waits()
    pacer = Pacer(waits.clock(), requests_per_minute=60)
    pacer.wait(threading.Event(), 1)
    waits.seconds.append(0.75)
    assert pacer.wait(threading.Event(), 1) == 0.25
    waits.seconds.append(100.0)
    assert pacer.wait(threading.Event(), 1) == 0.0


def test_threads_share_one_limit() -> None:
    asked: list[float] = []
    clock = Clock(now=lambda: 0.0, wait=lambda _, seconds: asked.append(seconds))
    pacer = Pacer(clock, requests_per_minute=60)
    threads = [threading.Thread(target=pacer.wait, args=(threading.Event(), 1)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_a_wait_ends_when_the_run_stops() -> None:
    pacer = Pacer(Clock(), requests_per_minute=0.001)
    stop = threading.Event()
    pacer.wait(stop, 1)
    stop.set()
    assert pacer.wait(stop, 1) < 5


def test_calls_keep_to_the_limit(serve: Serve) -> None:
    waits = Waits()
    ask(
        serve(echoing),
        *"abcd",
        policy=CallPolicy(max_in_flight=1, requests_per_minute=20),
        clock=waits.clock(),
    )
    assert waits.seconds == [3.0, 3.0, 3.0]


def test_a_call_counts_with_its_prompt_and_its_longest_answer(serve: Serve) -> None:
    waits, sampling = Waits(), Sampling(max_tokens=98)
    policy = CallPolicy(max_in_flight=1, tokens_per_minute=600)
    ask(serve(echoing), "abcdef", "x", policy=policy, clock=waits.clock(), sampling=sampling)
    assert waits.seconds == [pytest.approx(10.0)]  # 2 of the prompt and 98: a sixth of a minute


def test_every_attempt_waits_for_its_turn(serve: Serve) -> None:
    waits = Waits()
    server = serve(in_turn(Reply({}, 500), answer("ok")))
    ask(server, policy=CallPolicy(max_in_flight=1, requests_per_minute=6), clock=waits.clock())
    assert waits.seconds == [0.5, 9.5]  # the backoff, then what is left of ten seconds


def test_waiting_for_a_turn_takes_no_time_of_the_call(serve: Serve) -> None:
    waits = Waits()
    policy = CallPolicy(max_in_flight=1, deadline_s=5.0, requests_per_minute=1)
    server = serve(lambda body, _: Reply(echoing(body, 0).body, before=lambda: time.sleep(0.05)))
    found = ask(server, "a", "b", "c", policy=policy, clock=waits.clock())
    assert [one.finish_reason for one in found] == ["stop"] * 3
