"""What is told of answers and decides nothing."""

from __future__ import annotations

import pytest

from evals.records import Completion, Format
from imitate.describe import describe_termination


def completion(reason: str, n_tokens: int, format: Format = Format.CHAT) -> Completion:
    return Completion(f"{reason}-{n_tokens}", "base", format, "x", n_tokens, reason)


def test_endings_are_told_by_arm_and_format() -> None:
    chat = [completion("stop", n) for n in range(1, 9)]
    chat += [completion("length", 64), completion("error", 0)]
    plain = [completion("stop", 5, Format.PLAIN)]
    told = describe_termination({"base": [*chat, *plain], "silent": [completion("error", 0)]})
    base = told["base"]["chat"]
    assert base["n"] == 10
    assert [base[key] for key in ("eos_rate", "truncated_rate", "error_rate")] == [0.8, 0.1, 0.1]
    assert base["tokens_p50"] == pytest.approx(5)
    assert told["base"]["plain"]["eos_rate"] == 1
    assert told["silent"]["chat"]["tokens_p50"] is None
