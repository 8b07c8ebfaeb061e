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

from evals.endpoint import BASE, Endpoint, TokenLogprobs, require_scored
from evals.errors import ModelError

__all__ = [
    "AGREEMENT",
    "AdapterProof",
    "BackendAgreement",
    "compare_backends",
    "prove_adapters_act",
]

LEAST_SHIFT = 1e-3
"""An adapter that moves log-probabilities less than this does nothing, in nats per token."""
MOST_DRIFT = 1e-4
"""The base may differ from itself by this much, in nats per token: other batches, other kernels."""

Pairs = Sequence[tuple[str, str]]
FloatArray = NDArray[np.float64]

AGREEMENT = {"float32": (1e-3, 0.02), "bfloat16": (0.05, 0.75)}
"""By dtype: mean difference of two backends and lag of a greedy token, in nats, at most.

Measured on a CPU, vLLM against PEFT: 5e-6 nats per token in float32. A bfloat16 number has 8 bits,
so logits near 30 come in steps of 0.125 and a sum of several such steps is rounding still.
"""


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
    """How far a backend agrees with a reference on one model.

    Attributes:
        model: The model's name.
        mean_difference: Mean |difference| of log-probabilities per token.
        largest_difference: The largest difference of any token.
        n_tokens: Tokens compared.
        same_greedy: Share of the reference's likeliest tokens that are likeliest here too.
        n_greedy: How many likeliest tokens the reference has.
        largest_lag: The most by which such a token lags behind the likeliest here, in nats.
    """

    model: str
    mean_difference: float
    largest_difference: float
    n_tokens: int
    same_greedy: float
    n_greedy: int
    largest_lag: float


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
    model: str,
    reference: Sequence[TokenLogprobs],
    served: Sequence[TokenLogprobs],
    *,
    bound: float,
    tie_bound: float,
) -> BackendAgreement:
    """Return how far a backend agrees with a reference on the same texts under one model.

    Backends round in different orders, so equal tokens are no fair demand: where two tokens are
    nearly equally likely, either may lead. What must hold is that differences are as small as
    rounding makes them, and that a token that leads in one is at most narrowly beaten in the other.

    Args:
        model: Which model, for the messages.
        reference: Scores by the reference; its own greedy answers among the texts say most.
        served: Scores of the same texts by the backend.
        bound: Largest mean difference allowed, in nats per token; see `AGREEMENT`.
        tie_bound: How far a token that leads in the reference may lag here, in nats.

    Raises:
        EndpointError: A text was not scored.
        ModelError: They differ by more than rounding, or split a text into different tokens.
    """
    differences = _differences(reference, served)
    is_top = np.concatenate([one.is_top for one in reference])
    lags = np.concatenate([one.behind for one in served])[is_top]
    is_same = np.concatenate([one.is_top for one in served])[is_top]
    agreement = BackendAgreement(
        model=model,
        mean_difference=float(differences.mean()),
        largest_difference=float(differences.max()),
        n_tokens=len(differences),
        same_greedy=float(is_same.mean()) if len(is_same) else np.nan,
        n_greedy=len(is_same),
        largest_lag=float(lags.max()) if len(lags) else 0.0,
    )
    if agreement.mean_difference > bound:
        raise ModelError(
            f"`{model}` is not served as PEFT runs it: log-probabilities differ by "
            f"{agreement.mean_difference:.2g} nats per token, at most {bound:.2g} allowed",
            hint="the adapter is loaded in part, or dtype, tokenizer or weights differ",
        )
    if agreement.largest_lag > tie_bound:
        raise ModelError(
            f"`{model}` is not served as PEFT runs it: a token that PEFT would say lags "
            f"{agreement.largest_lag:.2g} nats behind, at most {tie_bound:.2g} allowed",
            hint="no rounding does that: compare dtype, tokenizer and weights of both",
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
    require_scored([*one, *other])
    for place, (a, b) in enumerate(zip(one, other, strict=True)):
        if not np.array_equal(a.starts, b.starts):
            raise ModelError(f"text {place} is split into different tokens: another tokenizer?")
    differences = [a.logprobs - b.logprobs for a, b in zip(one, other, strict=True)]
    return np.abs(np.concatenate(differences))
