"""How much of its training responses an adapter holds by rote, in bits.

Two adapters are trained on random halves A and B of the same imitation data. What the adapter of A
knows of a response in A beyond the adapter of B, which learned the same voice from other examples,
is rote; the rest is what the data have in common. In: log-probabilities of every response's tokens
under the adapter that was trained on it (`member`), under the other (`reference`), and before any
training (`base`). Out: bits in all, per example and per token, voice and content tokens apart, and
which part of all that was learned of the responses is rote.

Source: Morris et al. (arXiv 2505.24832), section 2: mem_U(x) = max(0, log2 p_hat(x) - log2 p(x)).
We deviate in four ways: the reference is an adapter of the same size on the *other half* of the
same data instead of a model on all data or a large oracle; the untruncated difference comes first,
because max(0, .) of noise is positive even where nothing is memorised; code lengths are those of a
response given its prompt; and bits are split by token.

Glossary: N responses; T tokens of a response. Bits = nats / ln 2, in float64 throughout.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evals.endpoint import TokenLogprobs
from evals.errors import RecordError
from evals.estimates import Estimate, bootstrap_estimate
from evals.style.masking import Span

__all__ = ["Memorization", "ResponseBits", "ScoredResponse", "measure_memorization"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredResponse:
    """One training response under both adapters.

    Attributes:
        example_id: The example.
        cluster_id: The unit of resampling: its prompt, or what several prompts are about.
        member: Token log-probabilities under the adapter trained on it.
        reference: The same under the adapter trained on the other half.
        base: The same without any adapter.
        content: Spans of the response that hold content (`evals.style.masking.find_content`); every
            token that begins within one, or is the space before it, is a content token.
    """

    example_id: str
    cluster_id: str
    member: TokenLogprobs
    reference: TokenLogprobs
    base: TokenLogprobs
    content: tuple[Span, ...]


@dataclasses.dataclass(frozen=True)
class ResponseBits:
    """Bits of one response: log2 p_member - log2 p_reference, in all and by kind of token.

    `learned_bits` is log2 p_member - log2 p_base: what training on its half gained on it.
    """

    example_id: str
    cluster_id: str
    bits: float
    voice_bits: float
    content_bits: float
    learned_bits: float
    n_tokens: int
    n_content_tokens: int


@dataclasses.dataclass(frozen=True)
class Memorization:
    """Unintended memorisation of one kind of data by one kind of adapter.

    Attributes:
        bits: Untruncated sum over all responses. About 0 where nothing is rote; may be negative.
        truncated_bits: Sum of max(0, bits of a response): above 0 even where nothing is memorised,
            so an upper reading only.
        bits_per_example: `bits` / N.
        bits_per_token: `bits` / number of tokens.
        voice_bits: The part of `bits` on voice tokens.
        content_bits: The part on content tokens: names, numbers, quotes, answers.
        voice_bits_per_token: `voice_bits` / number of voice tokens.
        content_bits_per_token: `content_bits` / number of content tokens.
        learned_bits: What training gained on all responses, rote or not.
        rote_share: `bits` / `learned_bits`. Says little where hardly anything was learned.
        n_tokens: Tokens of all responses.
        n_content_tokens: Content tokens among them.
        responses: The bits of every response, in the order given.
    """

    bits: Estimate
    truncated_bits: Estimate
    bits_per_example: Estimate
    bits_per_token: Estimate
    voice_bits: Estimate
    content_bits: Estimate
    voice_bits_per_token: Estimate
    content_bits_per_token: Estimate
    learned_bits: Estimate
    rote_share: Estimate
    n_tokens: int
    n_content_tokens: int
    responses: tuple[ResponseBits, ...]


def measure_memorization(
    responses: Sequence[ScoredResponse], *, resamples: int = 1000, seed: int = 0
) -> Memorization:
    """Return the memorisation of responses of both halves, each under both adapters.

    Pass both halves in one sequence: `member` is the adapter of the half that the response is in.

    Raises:
        RecordError: There is no response, or the adapters split one into different tokens.
    """
    if not responses:
        raise RecordError("memorisation needs responses that were trained on, got none")
    measured = tuple(_response_bits(response) for response in responses)
    columns = {
        name: np.array([getattr(one, name) for one in measured], dtype=np.float64)
        for name in (
            "bits",
            "voice_bits",
            "content_bits",
            "learned_bits",
            "n_tokens",
            "n_content_tokens",
        )
    }
    columns["truncated"] = np.maximum(columns["bits"], 0.0)
    columns["n_voice_tokens"] = columns["n_tokens"] - columns["n_content_tokens"]
    columns["one"] = np.ones(len(measured))
    clusters = [one.cluster_id for one in measured]

    def estimate(top: str, bottom: str | None = None) -> Estimate:
        statistic = _ratio(columns[top], columns[bottom]) if bottom else _total(columns[top])
        return bootstrap_estimate(statistic, clusters, resamples=resamples, seed=seed)

    return Memorization(
        bits=estimate("bits"),
        truncated_bits=estimate("truncated"),
        bits_per_example=estimate("bits", "one"),
        bits_per_token=estimate("bits", "n_tokens"),
        voice_bits=estimate("voice_bits"),
        content_bits=estimate("content_bits"),
        voice_bits_per_token=estimate("voice_bits", "n_voice_tokens"),
        content_bits_per_token=estimate("content_bits", "n_content_tokens"),
        learned_bits=estimate("learned_bits"),
        rote_share=estimate("bits", "learned_bits"),
        n_tokens=int(columns["n_tokens"].sum()),
        n_content_tokens=int(columns["n_content_tokens"].sum()),
        responses=measured,
    )


def _response_bits(response: ScoredResponse) -> ResponseBits:
    member, reference, base = response.member, response.reference, response.base
    if not all(np.array_equal(member.starts, other.starts) for other in (reference, base)):
        raise RecordError(
            f"the adapters split the response of `{response.example_id}` into different tokens",
            hint="both halves must be scored with the same tokenizer and the same text",
        )
    token_bits = (member.logprobs - reference.logprobs).astype(np.float64) / math.log(2)
    learned = (member.logprobs - base.logprobs).astype(np.float64) / math.log(2)
    is_content = _content_tokens(member.starts, response.content)
    return ResponseBits(
        example_id=response.example_id,
        cluster_id=response.cluster_id,
        bits=math.fsum(token_bits),
        voice_bits=math.fsum(token_bits[~is_content]),
        content_bits=math.fsum(token_bits[is_content]),
        learned_bits=math.fsum(learned),
        n_tokens=len(token_bits),
        n_content_tokens=int(is_content.sum()),
    )


def _content_tokens(starts: IntArray, content: Sequence[Span]) -> NDArray[np.bool_]:
    """Return (T,) whether each token is content; a token may begin with the space before it."""
    is_content = np.zeros(len(starts), dtype=bool)
    for span in content:
        is_content |= (starts >= span.start - 1) & (starts < span.end)
    return is_content


def _total(values: FloatArray) -> Callable[[IntArray], float]:
    """Return the sum, scaled to N rows where a resample drew more or fewer."""
    return lambda i: float(values[i].mean()) * len(values)


def _ratio(top: FloatArray, bottom: FloatArray) -> Callable[[IntArray], float]:
    return lambda i: float(top[i].sum() / total) if (total := bottom[i].sum()) else math.nan
