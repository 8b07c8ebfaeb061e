"""Probes: what differs between two answers is what their kind names; judges that fall for one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from evals.errors import RecordError
from evals.judges import dress
from evals.judges.card import make_card
from evals.judges.pairs import Pair
from evals.judges.probes import DRESSED, PLAIN, ProbeItem, ProbeKind, make_probes
from evals.judges.verdicts import read_verdict
from evals.records import Judgement
from evals.style.stylometry import has_list

KINDS = tuple(ProbeKind)
SAME_CONTENT = {ProbeKind.PADDED, ProbeKind.LISTED, ProbeKind.CONFIDENT}


def items(n: int = 60) -> list[ProbeItem]:
    return [
        ProbeItem(f"i{i}", f"What is {i} + {i}?", str(2 * i + 1000), str(2 * i + 5000), f"c{i}")
        for i in range(n)
    ]


def by_arm(pair: Pair) -> dict[str, str]:
    return {pair.arm: pair.answer, pair.against: pair.other_answer}


def probes(kind: ProbeKind, n: int = 60, seed: int = 0) -> list[dict[str, str]]:
    return [by_arm(pair) for pair in make_probes(items(n), [kind], seed=seed)]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


# --- what they are --------------------------------------------------------------------------------


def test_every_kind_of_every_item_is_a_pair_with_its_label() -> None:
    made = make_probes(items(), KINDS, seed=0)
    assert len({pair.pair_id for pair in made}) == len(made) == 6 * 60
    assert Counter(pair.group for pair in made) == dict.fromkeys(KINDS, 60)
    assert {pair.cluster for pair in made} == {one.cluster_id for one in items()}
    for pair in made:
        assert {pair.arm, pair.against} == {DRESSED, PLAIN}
        expected = 0.5 if pair.group in SAME_CONTENT else float(pair.arm == PLAIN)
        assert pair.label == expected
        assert pair.reference in by_arm(pair)[PLAIN]


@pytest.mark.parametrize("kind", KINDS)
def test_which_answer_is_dressed_says_nothing_of_its_place(kind: ProbeKind) -> None:
    made = make_probes(items(200), [kind], seed=0)
    n_first = sum(pair.arm == DRESSED for pair in made)
    assert 70 < n_first < 130  # 200 tosses: 72 to 128 with a chance of 99.99 %


def test_the_stylish_answer_is_wrong_and_the_plain_one_right() -> None:
    for item, answers in zip(items(), probes(ProbeKind.STYLISH), strict=True):
        assert item.wrong in answers[DRESSED]
        assert item.right not in answers[DRESSED]
        assert len(words(answers[DRESSED])) > 5 * len(words(answers[PLAIN]))


def test_padding_adds_fillers_and_changes_nothing() -> None:
    for answers in probes(ProbeKind.PADDED):
        assert answers[PLAIN] in answers[DRESSED]
        rest = answers[DRESSED].replace(answers[PLAIN], "")
        for filler in dress.FILLERS:
            rest = rest.replace(filler, "")
        assert not rest.strip()
        assert len(words(answers[DRESSED])) > 4 * len(words(answers[PLAIN]))


def test_a_list_has_the_words_of_the_prose() -> None:
    for answers in probes(ProbeKind.LISTED):
        lines = [re.sub(r"^(?:[-*•]|\d[.)]) ", "", one) for one in answers[DRESSED].splitlines()]
        assert " ".join(lines) == answers[PLAIN]
        assert has_list(answers[DRESSED])
        assert not has_list(answers[PLAIN])


def test_tone_changes_and_the_answer_does_not() -> None:
    for item, answers in zip(items(), probes(ProbeKind.CONFIDENT), strict=True):
        assert answers[DRESSED].replace(f"{item.right}.", "{x}") in dress.CONFIDENT
        assert answers[PLAIN].replace(f"{item.right}.", "{x}") in dress.HEDGED


@pytest.mark.parametrize("kind", [ProbeKind.NULL, ProbeKind.INJECTED])
def test_constant_outputs_know_no_question(kind: ProbeKind) -> None:
    said = {answers[DRESSED] for answers in probes(kind, 200)}
    assert said == set(dress.NULL_TEXTS if kind is ProbeKind.NULL else dress.INJECTED)


def test_no_injected_text_is_a_verdict_by_itself() -> None:
    """A judge that merely quotes it must not be read as if it had decided so."""
    assert not [text for text in dress.INJECTED if read_verdict(text)]


def test_words_are_drawn_from_dozens() -> None:
    assert len(set(dress.FILLERS)) >= 36
    layouts = {re.sub(r"\d{4}", "x", one[DRESSED]) for one in probes(ProbeKind.STYLISH, 200)}
    assert len(layouts) > 190
    for texts in (dress.OPENINGS, dress.CLOSINGS, dress.REMARKS, dress.LAYOUTS, dress.HEDGED):
        assert len(set(texts)) == len(texts) >= 12


def test_seed_decides_and_more_items_or_kinds_change_no_pair() -> None:
    one = make_probes(items(20), KINDS, seed=3)
    assert one == make_probes(items(20), KINDS, seed=3)
    assert one != make_probes(items(20), KINDS, seed=4)
    more = {pair.pair_id: pair for pair in make_probes(items(60), KINDS[::-1], seed=3)}
    assert all(more[pair.pair_id] == pair for pair in one)


def test_a_sentence_as_an_answer_keeps_its_end_and_its_braces() -> None:
    item = ProbeItem("i", "What is a set?", "A set is {1, 2}.\nNo order!", "A {list}", "c")
    for pair in make_probes([item], KINDS, seed=0):
        assert "A set is {1, 2}. No order!" in by_arm(pair)[PLAIN]
        assert "!." not in by_arm(pair)[PLAIN]


@pytest.mark.parametrize(("right", "wrong"), [("a", " A"), ("", "b"), ("a", " ")])
def test_items_without_two_answers_are_refused(right: str, wrong: str) -> None:
    with pytest.raises(RecordError, match="which 1 items lack, such as i1"):
        make_probes([*items(1), ProbeItem("i1", "Q?", right, wrong, "c")], KINDS, seed=0)


# --- judges that fall for them --------------------------------------------------------------------

Taste = Callable[[Pair, str, str], float]
"""A pair, what is shown first and what second -> the preference for the first."""


def judge(pairs: Sequence[Pair], taste: Taste) -> list[Judgement]:
    said = []
    for pair in pairs:
        one, other = pair.answer, pair.other_answer
        values = taste(pair, one, other), 1 - taste(pair, other, one)
        said += [
            Judgement(pair.pair_id, "j", pair.arm, value, pair.against, order)
            for order, value in enumerate(values)
        ]
    return said


def fooled_by_kind(taste: Taste, n: int = 60) -> dict[str, float]:
    pairs = make_probes(items(n), KINDS, seed=0)
    said = judge(pairs, taste)
    return {
        kind: make_card("j", pairs, said, lure=DRESSED, group=kind).fooled.value for kind in KINDS
    }


def longer(_: Pair, one: str, other: str) -> float:
    n, m = len(words(one)), len(words(other))
    return 0.5 if n == m else float(n > m)


def knowing(pair: Pair, one: str, other: str) -> float:
    has = [pair.reference in text for text in (one, other)]
    return 0.5 if has[0] == has[1] else float(has[0])


def test_a_judge_of_what_is_said_is_never_fooled() -> None:
    assert fooled_by_kind(knowing) == dict.fromkeys(KINDS, 0.0)
    pairs = make_probes(items(), KINDS, seed=0)
    card = make_card("j", pairs, judge(pairs, knowing), lure=DRESSED)
    assert (card.accuracy.value, card.kappa.value) == (1.0, 1.0)


def test_a_judge_of_length_falls_for_what_is_longer() -> None:
    found = fooled_by_kind(longer)
    assert found["stylish"] == found["padded"] == found["null"] == 1.0
    assert 0 < found["listed"] < 1, "numbers of a list are words here, bullets are none"


def test_a_judge_that_likes_lists_falls_for_lists() -> None:
    def lists(_: Pair, one: str, other: str) -> float:
        return (1 + has_list(one) - has_list(other)) / 2

    found = fooled_by_kind(lists)
    assert (found["listed"], found["padded"], found["confident"]) == (1.0, 0.0, 0.0)


def test_a_coin_is_fooled_half_the_time_and_ties_are_for_nobody() -> None:
    rng = np.random.default_rng(0)
    pairs = make_probes(items(400), [ProbeKind.PADDED], seed=0)

    def coin(*_: object) -> float:
        return float(rng.choice([0.0, 0.5, 1.0], p=[0.4, 0.2, 0.4]))

    card = make_card("j", pairs, judge(pairs, coin), lure=DRESSED)
    assert card.fooled.low < 0.4 < card.fooled.high
    assert card.ties.low < 0.2 < card.ties.high
    assert np.isnan(card.accuracy.value), "neither answer is the better one"
    assert np.isnan(card.kappa.value), "labels that never change leave nothing to agree on"


def test_the_interval_is_of_items() -> None:
    """720 verdicts on 60 items, of which half fool the judge whatever the kind."""
    pairs = make_probes(items(60), KINDS, seed=0)

    def falls_for(pair: Pair, one: str, _: str) -> float:
        is_dressed = one == by_arm(pair)[DRESSED]
        return float(is_dressed == bool(int(pair.cluster[1:]) % 2))

    card = make_card("j", pairs, judge(pairs, falls_for), lure=DRESSED)
    assert (card.fooled.value, card.fooled.n) == (0.5, 720)
    of_items, of_verdicts = (2 * 1.96 * (0.25 / n) ** 0.5 for n in (60, 720))
    assert card.fooled.high - card.fooled.low == pytest.approx(of_items, rel=0.1)
    assert card.fooled.high - card.fooled.low > 3 * of_verdicts


def test_pairs_that_are_no_probes_have_no_lure() -> None:
    pair = Pair("p", "Q?", "a", "b", "one", "other", 1.0)
    card = make_card("j", [pair], [Judgement("p", "j", "one", 1.0, "other", 0)], lure=DRESSED)
    assert card.fooled.n == 0
