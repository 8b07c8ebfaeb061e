"""Proof that an adapter acts, that the base does not change beside it, and that backends agree.

An adapter that loads with no active module, and no error, reads exactly like "imitation added
nothing" (vLLM issues 34186, 48019, 34591, 55193). So before anything is measured, fixed texts are
scored under base and adapter: the log-probabilities must differ by more than a bound and by more
than the base differs from itself. In: an `Endpoint` and (context, continuation) pairs. Out: the
numbers, or a `ModelError`.

All differences are in nats per token: the mean over tokens of |log p - log p'|.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evals.endpoint import BASE, Endpoint, TokenLogprobs
from evals.errors import ModelError

__all__ = ["AdapterProof", "BackendAgreement", "compare_backends", "prove_adapters_act"]

LEAST_SHIFT = 1e-3
"""An adapter that moves log-probabilities less than this does nothing, in nats per token."""
MOST_DRIFT = 1e-4
"""The base may differ from itself by this much, in nats per token: other batches, other kernels."""

Pairs = Sequence[tuple[str, str]]
FloatArray = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class AdapterProof:
    """One adapter acts, and its base is what it was.

    Attributes:
        adapter: Its name at the endpoint.
        shift: Mean |log p_adapter - log p_base| per token.
        largest_shift: The largest such difference of any token.
        base_drift: Mean |log p_base - log p_base| per token, before and after the adapters.
        n_tokens: Tokens compared.
    """

    adapter: str
    shift: float
    largest_shift: float
    base_drift: float
    n_tokens: int


@dataclasses.dataclass(frozen=True)
class BackendAgreement:
    """How far two backends agree on one model.

    Attributes:
        model: The model's name at both endpoints.
        mean_difference: Mean |difference| of log-probabilities per token.
        largest_difference: The largest difference of any token.
        n_tokens: Tokens compared.
        same_greedy: Share of texts on which both agree whether every token was the likeliest.
    """

    model: str
    mean_difference: float
    largest_difference: float
    n_tokens: int
    same_greedy: float


def prove_adapters_act(
    endpoint: Endpoint,
    pairs: Pairs,
    *,
    adapters: Sequence[str] | None = None,
    base_alone: Sequence[TokenLogprobs] | None = None,
    least_shift: float = LEAST_SHIFT,
    most_drift: float = MOST_DRIFT,
) -> list[AdapterProof]:
    """Return a proof for each adapter of an endpoint that it acts.

    The base is scored before the adapters and after them.

    Args:
        endpoint: The base with its adapters loaded.
        pairs: Fixed (context, continuation) texts; teacher responses shift most.
        adapters: Which adapters; all of the endpoint's where None.
        base_alone: The base's log-probabilities of the same pairs where no adapter was loaded; the
            base beside its adapters must equal these too.
        least_shift: Smallest difference that counts as acting, in nats per token. An adapter must
            also shift ten times as much as the base drifts.
        most_drift: Largest difference of the base from itself, in nats per token.

    Raises:
        ModelError: An adapter equals the base, or the base changed.
    """
    if not pairs:
        raise ModelError("adapters cannot be proved to act without texts to score")
    before = endpoint.token_logprobs(BASE, pairs)
    names = adapters or [name for name in endpoint.models if name != BASE]
    scored = {name: endpoint.token_logprobs(name, pairs) for name in names}
    after = endpoint.token_logprobs(BASE, pairs)
    drift = max(
        _differences(before, other).mean() for other in (after, base_alone) if other is not None
    )
    if drift > most_drift:
        raise ModelError(
            f"the base changes when its adapters are used: by {drift:.2g} nats per token, at most "
            f"{most_drift:.2g} allowed",
            hint="an adapter leaks into the base; serve them unmerged, or load the base afresh",
        )
    return [_proof(name, before, scored[name], drift, least_shift) for name in names]


def compare_backends(
    first: Endpoint, second: Endpoint, model: str, pairs: Pairs, *, bound: float
) -> BackendAgreement:
    """Return how far two backends agree on the log-probabilities of fixed texts.

    Args:
        first: One backend.
        second: Another, serving the same model under the same name.
        model: Which model, `BASE` or an adapter.
        pairs: Fixed (context, continuation) texts.
        bound: Largest mean difference allowed, in nats per token; about 1e-4 in float32 and 0.05 in
            bfloat16.

    Raises:
        ModelError: They differ by more than the bound, or split a text into different tokens.
    """
    one, other = first.token_logprobs(model, pairs), second.token_logprobs(model, pairs)
    differences = _differences(one, other)
    agreement = BackendAgreement(
        model=model,
        mean_difference=float(differences.mean()),
        largest_difference=float(differences.max()),
        n_tokens=len(differences),
        same_greedy=float(
            np.mean([a.is_greedy == b.is_greedy for a, b in zip(one, other, strict=True)])
        ),
    )
    if agreement.mean_difference > bound:
        raise ModelError(
            f"two backends disagree on `{model}` by {agreement.mean_difference:.2g} nats per "
            f"token, at most {bound:.2g} allowed",
            hint="check dtype, tokenizer and chat template of both",
        )
    return agreement


def _proof(
    name: str,
    base: Sequence[TokenLogprobs],
    adapter: Sequence[TokenLogprobs],
    drift: float,
    least_shift: float,
) -> AdapterProof:
    differences = _differences(base, adapter)
    shift = float(differences.mean())
    needed = max(least_shift, 10 * drift)
    if not shift > needed:
        raise ModelError(
            f"adapter `{name}` does not act: its log-probabilities differ from the base's by "
            f"{shift:.2g} nats per token, at least {needed:.2g} expected",
            hint="it was loaded with no active module, was never trained, or is another base's; "
            "check its target modules",
        )
    return AdapterProof(name, shift, float(differences.max()), float(drift), len(differences))


def _differences(one: Sequence[TokenLogprobs], other: Sequence[TokenLogprobs]) -> FloatArray:
    """Return |differences| of all tokens of all texts."""
    for place, (a, b) in enumerate(zip(one, other, strict=True)):
        if not np.array_equal(a.starts, b.starts):
            raise ModelError(f"text {place} is split into different tokens: another tokenizer?")
    differences = [a.logprobs - b.logprobs for a, b in zip(one, other, strict=True)]
    return np.abs(np.concatenate(differences))
