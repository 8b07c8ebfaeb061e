"""An adapter that does nothing is an error, and so is a base that changed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from evals.adapters import BackendAgreement, compare_backends, prove_adapters_act
from evals.endpoint import BASE, Generation, Message, Progress, Sampling, TokenLogprobs
from evals.errors import EndpointError, ModelError

PAIRS = [("Q: who?\nA:", " Ada Bell"), ("Q: where?\nA:", " Kelsford")]


class LetterEndpoint:
    """Gives every letter a log-probability; each adapter shifts all of them by a constant."""

    def __init__(
        self, shifts: dict[str, float], *, leak: float = 0.0, noise: float = 0.0, step: int = 1
    ) -> None:
        self.shifts = {BASE: 0.0} | shifts
        self.leak, self.noise, self.step = leak, noise, step
        self.n_calls = 0

    @property
    def models(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(self.shifts)

    def render_chat(self, messages: Sequence[Message]) -> str:  # noqa: D102
        raise NotImplementedError

    def generate(  # noqa: D102
        self,
        model: str,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        progress: Progress | None = None,
    ) -> list[Generation]:
        raise NotImplementedError

    def token_logprobs(  # noqa: D102
        self,
        model: str,
        pairs: Sequence[tuple[str, str]],
        *,
        progress: Progress | None = None,
    ) -> list[TokenLogprobs]:
        shift = self.shifts[model] + self.leak * self.n_calls
        self.n_calls += 1
        rng = np.random.default_rng(self.n_calls)
        scored = []
        for _, text in pairs:
            letters = np.array([-ord(c) / 50 for c in text[:: self.step]])
            noise = self.noise * rng.standard_normal(len(letters))
            starts = np.arange(0, len(text), self.step, dtype=np.int64)
            behind = np.full(len(letters), abs(shift))
            logprobs = letters + shift + noise
            scored.append(TokenLogprobs(logprobs, starts, behind == 0, behind))
        return scored


def test_an_adapter_that_acts_is_proved_with_numbers() -> None:
    proofs = prove_adapters_act(LetterEndpoint({"a": 0.3, "b": -0.02}), PAIRS)
    assert [proof.adapter for proof in proofs] == ["a", "b"]
    assert [proof.shift for proof in proofs] == pytest.approx([0.3, 0.02])
    assert proofs[0].base_drift == 0.0
    assert proofs[0].n_tokens == sum(len(text) for _, text in PAIRS)


def test_an_adapter_that_equals_the_base_is_an_error() -> None:
    with pytest.raises(ModelError, match="adapter `idle` does not act") as caught:
        prove_adapters_act(LetterEndpoint({"works": 0.3, "idle": 0.0}), PAIRS)
    assert "target modules" in str(caught.value.hint)


def test_a_shift_within_the_bases_own_drift_proves_nothing() -> None:
    noisy = LetterEndpoint({"idle": 0.0}, noise=0.01)
    with pytest.raises(ModelError, match="does not act"):
        prove_adapters_act(noisy, PAIRS, most_drift=0.05)
    acting = LetterEndpoint({"works": 0.5}, noise=0.01)
    assert prove_adapters_act(acting, PAIRS, most_drift=0.05)[0].base_drift > 0


def test_a_base_that_changes_beside_its_adapters_is_an_error() -> None:
    with pytest.raises(ModelError, match="base changes when its adapters are used"):
        prove_adapters_act(LetterEndpoint({"a": 0.3}, leak=0.01), PAIRS)
    alone = LetterEndpoint({"other": 0.1}).token_logprobs("other", PAIRS)
    with pytest.raises(ModelError, match=r"by 0\.1 nats"):
        prove_adapters_act(LetterEndpoint({"a": 0.3}), PAIRS, base_alone=alone)


def test_a_proof_needs_texts() -> None:
    with pytest.raises(ModelError, match="without texts"):
        prove_adapters_act(LetterEndpoint({"a": 0.3}), [])


def scored(behind: list[float], *, off: float = 0.0, step: int = 1) -> TokenLogprobs:
    """Scores of one text whose tokens lag so far behind the likeliest."""
    lags = np.array(behind)
    starts = np.arange(0, len(lags) * step, step, dtype=np.int64)
    return TokenLogprobs(-1.0 - lags + off, starts, lags == 0, lags)


def agree(reference: TokenLogprobs, served: TokenLogprobs) -> BackendAgreement:
    return compare_backends("broad", [reference], [served], bound=0.01, tie_bound=0.1)


def test_backends_that_differ_by_rounding_agree_with_numbers() -> None:
    found = agree(scored([0.0, 0.0, 2.0]), scored([0.0, 0.005, 2.0], off=0.003))
    assert found.largest_difference == pytest.approx(0.003)
    assert found.mean_difference == pytest.approx((0.003 + 0.002 + 0.003) / 3)
    assert (found.n_tokens, found.n_greedy, found.same_greedy) == (3, 2, 0.5)
    assert found.largest_lag == 0.005  # a tie: one token in two led in one backend alone


def test_backends_that_differ_by_more_than_rounding_are_an_error() -> None:
    with pytest.raises(
        ModelError, match=r"`broad` is not served as PEFT runs it: .* differ by 0.5"
    ):
        agree(scored([0.0, 0.0]), scored([0.0, 0.0], off=0.5))


def test_a_greedy_token_that_is_clearly_beaten_is_no_tie() -> None:
    many = [0.0] * 99
    with pytest.raises(ModelError, match=r"a token that PEFT would say lags 0.3 nats behind"):
        agree(scored([*many, 0.0]), scored([*many, 0.3]))


def test_another_tokenizer_is_noticed() -> None:
    with pytest.raises(ModelError, match="text 0 is split into different tokens"):
        agree(scored([0.0, 0.0]), scored([0.0, 0.0], step=2))


def test_a_text_that_was_not_scored_proves_nothing() -> None:
    nothing = np.zeros(0)
    failed = TokenLogprobs(nothing, nothing.astype(np.int64), nothing > 0, nothing, "timed out")
    with pytest.raises(EndpointError, match="1 of 2 texts were not scored: timed out"):
        agree(scored([0.0]), failed)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_real_adapter_acts_and_an_idle_one_is_caught(
    tiny_model: Path, make_adapter: Callable[..., Path]
) -> None:
    from imitate.config import LabConfig, ServeConfig
    from imitate.models import resolve_model
    from imitate.serve import open_endpoint

    acting, idle = make_adapter(seed=3), make_adapter(scale=0.0)
    ref, serve = resolve_model(str(tiny_model), LabConfig()), ServeConfig(dtype="float32")
    with open_endpoint(serve, ref, {}) as alone:
        base_alone = alone.token_logprobs(BASE, PAIRS)
    with open_endpoint(serve, ref, {"acting": acting}) as endpoint:
        (proof,) = prove_adapters_act(endpoint, PAIRS, base_alone=base_alone)
    assert proof.shift > 0.01
    assert proof.base_drift < 1e-5
    with (
        open_endpoint(serve, ref, {"acting": acting, "idle": idle}) as endpoint,
        pytest.raises(ModelError, match="adapter `idle` does not act"),
    ):
        prove_adapters_act(endpoint, PAIRS)
