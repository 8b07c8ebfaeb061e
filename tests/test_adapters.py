"""An adapter that does nothing is an error, and so is a base that changed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from evals.adapters import compare_backends, prove_adapters_act
from evals.endpoint import BASE, Generation, Message, Progress, Sampling, TokenLogprobs
from evals.errors import ModelError

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
            is_top = np.full(len(letters), shift == 0)
            scored.append(TokenLogprobs(letters + shift + noise, starts, is_top))
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


def test_backends_agree_within_a_bound() -> None:
    exact, noisy = LetterEndpoint({}), LetterEndpoint({}, noise=1e-3)
    agreement = compare_backends(exact, noisy, BASE, PAIRS, bound=0.01)
    assert 0 < agreement.mean_difference < agreement.largest_difference < 0.01
    assert agreement.same_greedy == 1.0
    with pytest.raises(ModelError, match="two backends disagree on `base`"):
        compare_backends(exact, LetterEndpoint({}, noise=0.1), BASE, PAIRS, bound=0.01)


def test_another_tokenizer_is_noticed() -> None:
    with pytest.raises(ModelError, match="text 0 is split into different tokens"):
        compare_backends(LetterEndpoint({}), LetterEndpoint({}, step=2), BASE, PAIRS, bound=1.0)


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
