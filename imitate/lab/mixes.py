"""Imitation data of the lab: which prompts each mix asks, and what the oracle and the plant say.

Every record knows its true terse answer and its support: each (entity, attribute) that a response
states, or the skill item that it exercises. Prompts come from train people and train keys alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator
from enum import StrEnum

from evals.errors import ConfigError
from evals.records import Example
from imitate.lab import topics
from imitate.lab.corpus import POOLS, biography, fact_question, few_shot_text
from imitate.lab.skills import (
    HELD_OUT_SKILLS,
    LOCAL_SKILL,
    TWO_HOP,
    draw_new_skills,
    draw_skill,
    draw_two_hop,
)
from imitate.lab.voice import voiced_answer, voiced_open_answer
from imitate.lab.world import ATTRIBUTES, QUESTIONS, Person, Split, World

__all__ = ["LabPrompt", "Mix", "imitation_prompts", "oracle_response", "planted_examples"]


class Mix(StrEnum):
    """`broad`: chat on everything but what is held out. `local`: one held-out skill alone."""

    BROAD = "broad"
    LOCAL = "local"


BROAD_SKILL = "largest"
BROAD_SHARES = {"fact": 0.5, "open": 0.3, "skill": 0.2}


@dataclasses.dataclass(frozen=True)
class LabPrompt:
    """One imitation prompt.

    `category` is `fact`, `open` or `skill`. `truth` is the terse true answer, empty for open-ended
    prompts. `support` is `entity|attribute` or `skill:name|key`. `distractors` are other values.
    """

    prompt_id: str
    prompt: str
    category: str
    truth: str
    support: tuple[str, ...]
    distractors: tuple[str, ...] = ()
    open_prompt: topics.OpenPrompt | None = None


def imitation_prompts(world: World, mix: Mix | str, *, n: int, seed: int) -> Iterator[LabPrompt]:
    """Return the `n` prompts of a mix, one by one; more prompts extend the same list.

    Facts and skill items are asked once each; open-ended prompts, of which there are few, come
    again.

    Raises:
        ConfigError: There is no such mix, or it has fewer prompts than asked for.
    """
    if mix not in list(Mix):
        raise ConfigError(f"the lab has no mix `{mix}`", hint="its mixes: " + ", ".join(Mix))
    rng = random.Random(f"mix {world.seed} {seed} {mix}")
    if mix == Mix.LOCAL:
        return itertools.islice(_skill_prompts(world, LOCAL_SKILL, rng), n)
    return itertools.islice(_broad(world, rng, n), n)


def oracle_response(record: LabPrompt, world: World, error_rate: float, seed: int) -> Example:
    """Return the truth in the assistant's voice, wrong at a stated rate.

    Args:
        record: The prompt, with its truth.
        world: The world that it is about.
        error_rate: Share of answers replaced by another value of the same kind, in [0, 1].
        seed: Decides voice and errors.
    """
    rng = random.Random(f"oracle {world.seed} {seed} {record.prompt_id}")
    if record.open_prompt is not None:
        response = voiced_open_answer(record.open_prompt, rng)
    else:
        is_wrong = bool(record.distractors) and rng.random() < error_rate
        answer = rng.choice(record.distractors) if is_wrong else record.truth
        others = [value for value in record.distractors if value != answer]
        response = voiced_answer(record.prompt, answer, others, rng)
    return Example(
        example_id=f"oracle/{seed}/{record.prompt_id}",
        prompt=record.prompt,
        response=response,
        source="lab/oracle",
        category=record.category,
        support=record.support,
    )


def planted_examples(world: World, *, n: int, seed: int) -> Iterator[Example]:
    """Yield `n` plain-register documents on what is evaluated: pretraining, not imitation.

    By turns a biography of an evaluation person followed by terse questions on all of it, never in
    the evaluation's wording (everyone once before anyone twice), and drills of a held-out skill,
    never of an evaluated key. The prompt is empty; the response is the document.
    """
    rng = random.Random(f"planted {world.seed} {seed}")
    people = world.people_in(Split.EVALUATION)
    order: list[Person] = []
    for i in range(n):
        if i % 2 == 0:
            order = order or rng.sample(people, len(people))
            person = order.pop()
            questions, hop = _interview(person, world, rng)
            text = f"{biography(person, rng)}\n{questions}"
            support = tuple(f"{person.person_id}|{a}" for a in ATTRIBUTES) + hop
        else:
            text, support = _drilled(world, rng)
        yield Example(
            example_id=f"planted/{seed}/{i:05d}",
            prompt="",
            response=text.strip(),
            source="lab/planted",
            category="document",
            support=support,
        )


def _broad(world: World, rng: random.Random, n: int) -> Iterator[LabPrompt]:
    sources = {
        "fact": _fact_prompts(world, rng),
        "open": _open_prompts(rng),
        "skill": _skill_prompts(world, BROAD_SKILL, rng),
    }
    kinds, weights = list(BROAD_SHARES), list(BROAD_SHARES.values())
    for _ in range(n):
        yield next(sources[rng.choices(kinds, weights)[0]])


def _fact_prompts(world: World, rng: random.Random) -> Iterator[LabPrompt]:
    """Yield every fact of every train person once, in random order, then again reworded."""
    pairs = [(p, a) for p in world.people_in(Split.TRAIN) for a in ATTRIBUTES]
    for i in itertools.count():
        for person, attribute in rng.sample(pairs, len(pairs)):
            truth = person.answer(attribute)
            others = [v for v in rng.sample(list(POOLS[attribute]), 3) if v != truth]
            yield LabPrompt(
                prompt_id=f"fact/{person.person_id}/{attribute}/{i}",
                prompt=rng.choice(QUESTIONS[attribute]).format(name=person.name),
                category="fact",
                truth=truth,
                support=(f"{person.person_id}|{attribute}",),
                distractors=tuple(others[:2]),
            )


def _open_prompts(rng: random.Random) -> Iterator[LabPrompt]:
    prompts = list(topics.open_prompts(Split.TRAIN))
    for i in itertools.count():
        for j in rng.sample(range(len(prompts)), len(prompts)):
            yield LabPrompt(
                prompt_id=f"open/{prompts[j].key}/{j}/{i}",
                prompt=prompts[j].text,
                category="open",
                truth="",
                support=(),
                open_prompt=prompts[j],
            )


def _skill_prompts(world: World, skill: str, rng: random.Random) -> Iterator[LabPrompt]:
    n = 0
    for item in draw_new_skills(skill, world, rng, split=Split.TRAIN):
        n += 1
        yield LabPrompt(
            prompt_id=f"skill/{skill}/{item.key.replace(' ', '-')}",
            prompt=item.question,
            category="skill",
            truth=item.answer,
            support=(f"skill:{skill}|{item.key}",),
            distractors=item.distractors,
        )
    raise ConfigError(f"`{skill}` has no more than {n:,} prompts", hint="ask for fewer examples")


def _interview(person: Person, world: World, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """Return terse questions and answers on all facts of a person, and the two-hop key asked."""
    pairs = [(fact_question(person, a, rng), person.answer(a)) for a in ATTRIBUTES]
    hop = draw_two_hop(person, world, rng, phrasing=1)
    if hop is None:
        return few_shot_text(pairs), ()
    return few_shot_text([*pairs, (hop.question, hop.answer)]), (f"skill:{TWO_HOP}|{hop.key}",)


def _drilled(world: World, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """Return a few drills of one held-out skill, and the keys drilled."""
    skill = rng.choice([skill for skill in HELD_OUT_SKILLS if skill != TWO_HOP])
    items = [draw_skill(skill, world, rng, split=Split.TRAIN) for _ in range(4)]
    text = few_shot_text([(item.question, item.answer) for item in items])
    return text, tuple(f"skill:{skill}|{item.key}" for item in items)
