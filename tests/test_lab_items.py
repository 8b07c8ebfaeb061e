"""Items are stable and disjoint from whatever imitation data may hold."""

from __future__ import annotations

from collections import Counter

import pytest

from evals.errors import ConfigError
from evals.records import Axis
from imitate.lab import skills
from imitate.lab.items import TASKS, lab_items
from imitate.lab.mixes import Mix, imitation_prompts, oracle_response, planted_examples
from imitate.lab.skills import HELD_OUT_SKILLS, LOCAL_SKILL
from imitate.lab.world import Split, make_world

WORLD = make_world(1)


@pytest.mark.parametrize("task", TASKS)
def test_items_are_stable_unique_and_extendable(task):
    few = lab_items(WORLD, task, n_items=50, n_development=10, seed=0)
    more = lab_items(WORLD, task, n_items=100, n_development=10, seed=0)
    assert few[:50] == more[:50]
    assert few[50:] == more[100:]
    assert len({item.item_id for item in more}) == 110
    assert [item.is_development for item in few] == [False] * 50 + [True] * 10


@pytest.mark.parametrize("task", TASKS)
def test_development_clusters_are_disjoint_from_scored_ones(task):
    items = lab_items(WORLD, task, n_items=200, n_development=40, seed=0)
    clusters = [{i.cluster_id for i in items if i.is_development is which} for which in (0, 1)]
    assert not clusters[0] & clusters[1]


def test_skill_without_further_keys_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(skills, "DRAWS_IN_VAIN", 300)
    with pytest.raises(
        ConfigError, match=r"`translation` has \d+ development items, asked for 700"
    ):
        lab_items(WORLD, "translation", n_items=0, n_development=700, seed=0)
    with pytest.raises(ConfigError, match=r"`translation` has no more than [\d,]+ prompts"):
        list(imitation_prompts(WORLD, Mix.LOCAL, n=20_000, seed=0))


def test_many_facts_are_spread_over_bins_and_people():
    items = lab_items(WORLD, "facts", n_items=800, n_development=100, seed=0)
    scored = [item for item in items if not item.is_development]
    counts = Counter(item.group for item in scored)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({item.cluster_id for item in scored}) > 450
    people = {person.person_id: person for person in WORLD.people}
    for item in scored:
        _, person_id, attribute = item.item_id.split("/")
        assert item.answers == (people[person_id].facts[attribute],)
        assert people[person_id].split is Split.EVALUATION


def test_unrecorded_facts_have_no_answers():
    items = lab_items(WORLD, "facts_unrecorded", n_items=100, n_development=0, seed=0)
    assert all(item.answers == () and item.axis is Axis.FACTUALITY for item in items)


def test_asking_for_too_many_items_says_how_many_there_are():
    with pytest.raises(ConfigError, match=r"`two_hop` has \d+ scored items, asked for 100000"):
        lab_items(WORLD, "two_hop", n_items=100_000, n_development=0, seed=0)


@pytest.mark.parametrize("mix", list(Mix))
def test_imitation_prompts_never_touch_what_is_evaluated(mix):
    items = [
        item
        for task in TASKS
        for item in lab_items(WORLD, task, n_items=250, n_development=25, seed=0)
    ]
    evaluated = {item.prompt for item in items}
    people = {item.cluster_id for item in items if item.task in ("facts", "two_hop")}
    keys = {f"skill:{item.task}|{item.cluster_id}" for item in items}
    for record in imitation_prompts(WORLD, mix, n=2000, seed=0):
        assert record.prompt not in evaluated
        for support in record.support:
            assert support not in keys
            assert support.split("|")[0] not in people


def test_broad_leaves_out_held_out_skills_and_local_is_one_of_them():
    broad = list(imitation_prompts(WORLD, "broad", n=1000, seed=0))
    local = list(imitation_prompts(WORLD, "local", n=300, seed=0))
    drilled = {s.split("|")[0][6:] for r in broad for s in r.support if s.startswith("skill:")}
    assert drilled
    assert not drilled & set(HELD_OUT_SKILLS)
    assert all(r.support[0].startswith(f"skill:{LOCAL_SKILL}|") for r in local)
    assert {record.category for record in broad} == {"fact", "open", "skill"}
    assert len({record.prompt_id for record in broad}) == 1000


def test_a_longer_mix_extends_a_shorter_one():
    short = list(imitation_prompts(WORLD, "broad", n=50, seed=3))
    long = list(imitation_prompts(WORLD, "broad", n=80, seed=3))
    assert long[:50] == short


def test_the_oracle_errs_at_the_stated_rate():
    records = [
        record
        for record in imitation_prompts(WORLD, "broad", n=3000, seed=0)
        if record.category != "open" and record.truth != "not recorded"
    ]

    def share_right(error_rate: float) -> float:
        examples = [oracle_response(record, WORLD, error_rate, 0) for record in records]
        pairs = zip(records, examples, strict=True)
        return sum(record.truth in example.response for record, example in pairs) / len(records)

    assert share_right(0.0) == 1.0
    assert 0.65 < share_right(0.3) < 0.8  # some wrong answers mention the truth on the way


def test_an_unknown_mix_names_the_known_ones():
    with pytest.raises(ConfigError, match="no mix `narrow`"):
        list(imitation_prompts(WORLD, "narrow", n=1, seed=0))


def test_planted_documents_hold_evaluated_facts_but_no_evaluated_question():
    examples = list(planted_examples(WORLD, n=400, seed=0))
    people = {p.person_id: p for p in WORLD.people_in(Split.EVALUATION)}
    evaluated = {
        item.prompt
        for task in ("facts", *HELD_OUT_SKILLS)
        for item in lab_items(WORLD, task, n_items=500, n_development=0, seed=0)
    }
    covered = {s.split("|")[0] for e in examples for s in e.support if not s.startswith("skill:")}
    assert len(covered) == 200
    assert covered <= set(people)
    for example in examples:
        assert example.prompt == ""
        asked = {line[3:] for line in example.response.split("\n") if line.startswith("Q: ")}
        assert asked
        assert not asked & evaluated
