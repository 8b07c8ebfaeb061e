"""Code lengths and memorised bits against closed forms; membership against the published law."""

from __future__ import annotations

import collections
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from evals.errors import RecordError
from evals.memorization.codes import (
    code_tokens,
    extraction_rates,
    join_coded,
    memorized,
    memorized_by_table,
)
from evals.memorization.law import predict_membership
from evals.memorization.membership import infer_membership

V, S, N = 16, 6, 40


@pytest.fixture
def tokens() -> Tensor:
    """N different sequences of uniform tokens."""
    drawn = torch.randint(V, (N, S), generator=torch.Generator().manual_seed(0))
    assert len(torch.unique(drawn, dim=0)) == N
    return drawn


def table_logits(tokens: Tensor) -> Tensor:
    """Return (N, S - 1, V) logits of a list of the sequences: shares among those that begin so."""
    rows = [tuple(row) for row in tokens.tolist()]
    counts = collections.Counter(row[:n] for row in rows for n in range(1, S + 1))
    logits = torch.full((len(rows), S - 1, V), -math.inf)
    for place, row in enumerate(rows):
        for n in range(1, S):
            for token in range(V):
                if counts[(*row[:n], token)]:
                    share = counts[(*row[:n], token)] / counts[row[:n]]
                    logits[place, n - 1, token] = math.log(share)
    return logits


# --- code lengths ---------------------------------------------------------------------------------


def test_a_uniform_model_takes_log2_of_the_vocabulary_a_token(tokens: Tensor) -> None:
    coded = code_tokens(torch.zeros(N, S - 1, V), tokens)
    assert coded.bits == pytest.approx(math.log2(V), abs=1e-14)
    assert coded.bits_after(1) == pytest.approx((S - 1) * math.log2(V))
    assert coded.bits_after(4) == pytest.approx((S - 4) * math.log2(V))


def test_logits_of_the_last_position_predict_nothing(tokens: Tensor) -> None:
    logits = torch.randn(N, S, V, generator=torch.Generator().manual_seed(1))
    with_last, without = code_tokens(logits, tokens), code_tokens(logits[:, :-1], tokens)
    np.testing.assert_array_equal(with_last.bits, without.bits)


def test_bits_of_sure_float32_logits_do_not_drown() -> None:
    """Float32 would say 0: its softmax cannot tell less than 1e-7 from nothing."""
    logits = torch.tensor([[[40.0, 0.0]]])
    bits = code_tokens(logits, torch.tensor([[0, 0]])).bits
    assert bits[0, 0] == pytest.approx(math.exp(-40) / math.log(2), rel=1e-6)


def test_laplace_counts_take_what_a_hand_computes() -> None:
    """After `0 0 1`, counts + 1 of tokens 0, 1, 2 are 3, 2, 1: 0 takes log2(6 / 3) bits."""
    logits = torch.tensor([3.0, 2.0, 1.0]).log().expand(1, 2, 3)
    coded = code_tokens(logits, torch.tensor([[2, 0, 2]]))
    assert coded.bits[0].tolist() == pytest.approx([1.0, math.log2(6)])


def test_logits_that_do_not_fit_or_are_no_numbers_are_refused(tokens: Tensor) -> None:
    with pytest.raises(RecordError, match="do not fit"):
        code_tokens(torch.zeros(N, S - 2, V), tokens)
    with pytest.raises(RecordError, match="no numbers"):
        code_tokens(torch.full((N, S - 1, V), math.nan), tokens)


def test_batches_join_to_what_one_call_says(tokens: Tensor) -> None:
    logits = torch.randn(N, S - 1, V, generator=torch.Generator().manual_seed(1))
    parts = [code_tokens(logits[a:b], tokens[a:b]) for a, b in ((0, 7), (7, N))]
    whole, joined = code_tokens(logits, tokens), join_coded(parts)
    np.testing.assert_array_equal(joined.bits, whole.bits)
    np.testing.assert_array_equal(joined.is_first_choice, whole.is_first_choice)


# --- memorised bits -------------------------------------------------------------------------------


def test_who_knows_the_distribution_memorises_nothing(tokens: Tensor) -> None:
    logits = torch.randn(N, S - 1, V, generator=torch.Generator().manual_seed(1))
    bits = code_tokens(logits, tokens).bits_after(1)
    found = memorized(bits, bits, np.full(N, S * math.log2(V)))
    assert not found.unintended.any()
    assert found.generalized.sum() == pytest.approx(found.total.sum())


def test_a_list_of_the_sequences_memorises_all_but_their_order(tokens: Tensor) -> None:
    counts = torch.bincount(tokens[:, 0], minlength=V)[tokens[:, 0]].numpy()
    first = np.log2(N / counts)  # the first token's, which no logits predict
    bits = first + code_tokens(table_logits(tokens), tokens).bits_after(1)
    assert bits == pytest.approx(math.log2(N))
    found = memorized(bits, np.full(N, S * math.log2(V)))
    assert found.unintended.sum() == pytest.approx(memorized_by_table(N, S, V))
    assert found.total.sum() == pytest.approx(found.unintended.sum())


def test_the_published_memorise_everything_ceilings() -> None:
    """H - N log2 N at N = 4,096, V = 2,048, for 4, 8, 16 and 32 tokens."""
    found = [memorized_by_table(4096, s, 2048) for s in (4, 8, 16, 32)]
    assert found == [131_072, 311_296, 671_744, 1_392_640]


def test_a_uniform_model_memorises_nothing(tokens: Tensor) -> None:
    bits = code_tokens(torch.zeros(N, S - 1, V), tokens).bits_after(1)
    found = memorized(bits, np.full(N, (S - 1) * math.log2(V)))
    assert found.unintended.sum() == pytest.approx(0, abs=1e-9)


def test_what_the_reference_codes_shorter_counts_as_nothing_and_stands_untruncated() -> None:
    found = memorized([10.0, 30.0], [20.0, 20.0], [40.0, 40.0])
    assert found.unintended.tolist() == [10.0, 0.0]
    assert found.untruncated.tolist() == [10.0, -10.0]
    assert found.total.tolist() == [30.0, 10.0]
    assert found.generalized.tolist() == [20.0, 10.0]  # what both know


def test_who_knows_no_more_than_before_training_generalises_nothing() -> None:
    found = memorized([40.0], [20.0], [40.0])
    assert (found.unintended[0], found.total[0], found.generalized[0]) == (0, 0, 0)


def test_tokens_that_are_no_likelier_than_others_are_not_said_by_heart(tokens: Tensor) -> None:
    coded = code_tokens(torch.zeros(N, S - 1, V), tokens)
    assert extraction_rates(coded, [1, S - 1]) == {1: 0.0, S - 1: 0.0}


def test_memorised_bits_are_never_negative() -> None:
    found = memorized(*np.random.default_rng(0).exponential(100, (3, 1000)))
    assert (found.untruncated < 0).any()
    assert (found.unintended >= 0).all()
    assert (found.total >= 0).all()
    assert (found.unintended >= found.untruncated).all()


def test_code_lengths_of_other_sequences_are_refused() -> None:
    with pytest.raises(RecordError, match="code lengths"):
        memorized([1.0, 2.0], [1.0])


# --- extraction -----------------------------------------------------------------------------------


def test_extraction_is_what_greedy_decoding_completes() -> None:
    """Against decoding by hand with a model that looks at the last token alone."""
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(V, V, generator=generator)
    start = torch.randint(V, (N,), generator=generator)
    rows = [[token] for token in start.tolist()]
    for row in rows:
        while len(row) < S:
            row.append(int(table[row[-1]].argmax()))
    tokens = torch.tensor(rows)
    spoiled = torch.randint(1, S, (N,), generator=generator)  # one token of each is another
    tokens[torch.arange(N), spoiled] = (tokens[torch.arange(N), spoiled] + 1) % V
    rates = extraction_rates(code_tokens(table[tokens[:, :-1]], tokens), range(1, S))
    for given_tokens, rate in rates.items():
        completed = 0
        for row in tokens.tolist():
            said = row[:given_tokens]
            while len(said) < S:
                said.append(int(table[said[-1]].argmax()))
            completed += said == row
        assert rate == completed / N
    assert rates[1] < rates[S - 1]


# --- membership -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_sequences", "n_parameters", "f1"),
    [  # section 5's table: GPT-2 XL and small with 64 positions, by how many sequences
        (170_654_583, 1_556_075_200, 0.55),
        (76_795_021, 1_556_075_200, 0.75),
        (18_851_574, 1_556_075_200, 0.95),
        (13_566_442, 123_702_528, 0.55),
        (6_104_935, 123_702_528, 0.75),
        (1_498_634, 123_702_528, 0.95),
    ],
)
def test_the_law_gives_the_published_predictions(
    n_sequences: int, n_parameters: int, f1: float
) -> None:
    assert predict_membership(n_sequences, n_parameters) == pytest.approx(f1, abs=1e-4)


def test_the_law_ends_at_a_blind_guess() -> None:
    assert predict_membership(1e12, 1e6) == pytest.approx(0.5)
    assert predict_membership(0, 1e6) == 1.0  # 1.005 by the formula


def test_membership_does_not_hang_on_how_many_there_are_of_either() -> None:
    rng = np.random.default_rng(2)
    many, few = rng.normal(0, 1, 20_000), rng.normal(1, 1, 500)
    f1 = 0.5 * (1 + math.erf(0.5 / math.sqrt(2)))
    assert infer_membership(many, few).f1 == pytest.approx(f1, abs=0.04)


def test_members_that_are_surely_shorter_are_all_found() -> None:
    found = infer_membership(np.linspace(0, 1, 50), np.linspace(2, 3, 60))
    assert (found.f1, found.auc) == (1.0, 1.0)
    assert (found.n_members, found.n_others) == (50, 60)


def test_members_like_the_others_are_a_blind_guess() -> None:
    rng = np.random.default_rng(0)
    found = infer_membership(rng.normal(size=4000), rng.normal(size=4000))
    assert found.f1 == pytest.approx(0.5, abs=0.03)
    assert found.auc == pytest.approx(0.5, abs=0.03)


def test_a_threshold_on_two_normals_finds_what_theory_says() -> None:
    """Equal spreads, two apart: the best cut is half-way, right with probability Phi(1)."""
    rng = np.random.default_rng(1)
    found = infer_membership(rng.normal(0, 1, 20_000), rng.normal(2, 1, 20_000))
    assert found.f1 == pytest.approx(0.5 * (1 + math.erf(1 / math.sqrt(2))), abs=0.01)
    assert found.auc == pytest.approx(0.5 * (1 + math.erf(1)), abs=0.01)


def test_membership_of_hardly_any_sequences_is_refused() -> None:
    with pytest.raises(RecordError, match="2 sequences of each side"):
        infer_membership([1.0], [2.0, 3.0])
