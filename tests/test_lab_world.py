"""A world and its skill items follow from a seed, split by entity and by equivalence."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from evals.errors import ConfigError
from imitate.lab.skills import SKILLS, draw_skill, split_of
from imitate.lab.world import ATTRIBUTES, NOT_RECORDED, PopularityBin, Split, make_world


def test_a_seed_decides_the_world():
    assert make_world(5, n_people=60) == make_world(5, n_people=60)
    assert make_world(5, n_people=60).people != make_world(6, n_people=60).people


def test_every_bin_has_people_of_every_split():
    world = make_world(1)
    counts = Counter((p.popularity, p.split) for p in world.people)
    for popularity in PopularityBin:
        n_bin = sum(counts[popularity, split] for split in Split)
        assert counts[popularity, Split.TRAIN] == n_bin * 0.6
        assert counts[popularity, Split.EVALUATION] == n_bin * 0.3


def test_names_are_unique_and_some_facts_are_not_recorded():
    world = make_world(1)
    assert len({person.name for person in world.people}) == len(world.people)
    answers = [person.answer(attribute) for person in world.people for attribute in ATTRIBUTES]
    assert 0.05 < answers.count(NOT_RECORDED) / len(answers) < 0.12


def test_a_world_of_too_many_people_is_refused():
    with pytest.raises(ConfigError, match="between 30 and"):
        make_world(1, n_people=10**6)


@pytest.mark.parametrize("skill", SKILLS)
def test_skill_items_belong_to_the_split_asked_for(skill):
    world = make_world(2, n_people=60)
    rng = random.Random(0)
    by_split = {
        split: {draw_skill(skill, world, rng, split=split).key for _ in range(100)}
        for split in Split
    }
    assert not by_split[Split.TRAIN] & by_split[Split.EVALUATION]
    assert not by_split[Split.TRAIN] & by_split[Split.DEVELOPMENT]
    assert not by_split[Split.EVALUATION] & by_split[Split.DEVELOPMENT]


def test_a_commuted_addition_is_the_same_item():
    world, rng = make_world(2, n_people=60), random.Random(3)
    item = draw_skill("addition", world, rng, split=Split.EVALUATION, phrasing=0)
    low, high = item.key.split("+")
    assert int(low) <= int(high)
    assert int(item.answer) == int(low) + int(high)
    assert split_of("addition", item.key) is Split.EVALUATION


def test_letters_to_sort_have_one_key_in_any_order():
    world, rng = make_world(2, n_people=60), random.Random(3)
    item = draw_skill("sorting", world, rng, split=Split.TRAIN)
    assert item.key == item.answer == " ".join(sorted(item.answer.split()))


def test_two_hop_answers_follow_from_two_facts():
    world, rng = make_world(2, n_people=60), random.Random(3)
    people = {person.person_id: person for person in world.people}
    for _ in range(50):
        item = draw_skill("two_hop", world, rng, split=Split.EVALUATION)
        person_id, relation = item.key.split("|")
        facts = people[person_id].facts
        expected = {
            "two_hop_city": lambda f: world.employers[f["employer"]]["city"],
            "two_hop_product": lambda f: world.employers[f["employer"]]["product"],
            "two_hop_river": lambda f: world.rivers[f["birthplace"]],
        }[relation](facts)
        assert item.answer == expected
        assert people[person_id].split is Split.EVALUATION


def test_an_unknown_skill_names_the_known_ones():
    with pytest.raises(ConfigError) as caught:
        draw_skill("juggling", make_world(2, n_people=60), random.Random(0), split=Split.TRAIN)
    assert "reversal" in str(caught.value)
