"""The skills: families of questions with endless fresh items and known answers.

An item has a canonical key: whatever has the same key is the same item (a commuted addition, the
same letters to sort). The key's hash decides its split, in every world alike, so an evaluated item
can occur neither in a corpus nor in imitation data. Two-hop questions are split by their person.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import string
from collections.abc import Callable, Iterable, Iterator, Mapping

from evals.errors import ConfigError
from imitate.lab import names
from imitate.lab.world import Person, Split, World

__all__ = [
    "HELD_OUT_SKILLS",
    "LOCAL_SKILL",
    "SKILLS",
    "TRANSLATION",
    "TWO_HOP",
    "SkillItem",
    "draw_new_skills",
    "draw_skill",
    "draw_two_hop",
    "split_of",
]

SPLIT_BOUNDS = {Split.DEVELOPMENT: 0.05, Split.EVALUATION: 0.25}
"""Upper bounds of the hash in [0, 1) by split; the rest is for training."""


DRAWS_IN_VAIN = 20_000
"""Draws without a new key after which a skill counts as used up."""


@dataclasses.dataclass(frozen=True)
class SkillItem:
    """One question of a skill.

    `key` is canonical: equal keys are the same item. `distractors` are other values that an answer
    might mention on its way. `cluster` is the unit of randomisation.
    """

    skill: str
    key: str
    cluster: str
    question: str
    answer: str
    distractors: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Task:
    key: str
    fields: Mapping[str, str]
    answer: str
    distractors: tuple[str, ...] = ()


PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "addition": (
        "What is {a} + {b}?",
        "Add {a} and {b}.",
        "What is the sum of {a} and {b}?",
    ),
    "largest": (
        "Which number is the largest: {values}?",
        "What is the largest of {values}?",
        "Find the largest number: {values}.",
    ),
    "sorting": (
        "Sort these letters: {values}.",
        "Put these letters in alphabetical order: {values}.",
        "Write these letters in order: {values}.",
    ),
    "reversal": (
        "Reverse these letters: {values}.",
        "Write these letters backwards: {values}.",
        "Spell this from the end: {values}.",
    ),
    "translation": (
        "What is {values} in Velian?",
        "Translate into Velian: {values}.",
        "How do you say {values} in Velian?",
    ),
    "two_hop_city": (
        "In which city is the employer of {name} based?",
        "Where is the company that employs {name} based?",
    ),
    "two_hop_product": (
        "What does the employer of {name} make?",
        "What is made by the company that employs {name}?",
    ),
    "two_hop_river": (
        "Which river flows through the birthplace of {name}?",
        "On which river lies the city where {name} was born?",
    ),
}


def _addition(world: World, rng: random.Random) -> _Task:
    """Two numbers of two to four digits, as long as one another, whose sum carries nothing."""
    columns = [(rng.randrange(1, 5), rng.randrange(1, 6)) for _ in range(rng.randrange(2, 5))]
    a, b = ("".join(map(str, numbers)) for numbers in zip(*columns, strict=True))
    low, high = sorted((int(a), int(b)))
    a, b = rng.sample((str(low), str(high)), 2)
    total = low + high
    return _Task(f"{low}+{high}", {"a": a, "b": b}, str(total), (str(total + 10), str(total + 1)))


def _largest(world: World, rng: random.Random) -> _Task:
    values = rng.sample(range(10, 100), 3)
    key = ",".join(map(str, sorted(values)))
    rest = tuple(str(v) for v in values if v != max(values))
    return _Task(key, {"values": _listed(map(str, values))}, str(max(values)), rest)


def _sorting(world: World, rng: random.Random) -> _Task:
    letters = rng.sample(string.ascii_lowercase, rng.choice((3, 4, 5, 6)))
    ordered = " ".join(sorted(letters))
    return _Task(ordered, {"values": " ".join(letters)}, ordered, (" ".join(letters),))


def _reversal(world: World, rng: random.Random) -> _Task:
    letters = [rng.choice(string.ascii_lowercase) for _ in range(rng.choice((3, 4, 5, 6)))]
    text = " ".join(letters)
    return _Task(text, {"values": text}, " ".join(reversed(letters)), (text,))


def _translation(world: World, rng: random.Random) -> _Task:
    """A phrase of two or three words, each with one word in the other language."""
    words = [rng.choice(names.ADJECTIVES), rng.choice(names.NOUNS), rng.choice(names.VERBS)]
    words = words[: rng.choice((2, 3))]
    text = " ".join(words)
    answer = [world.lexicon[word] for word in words]
    return _Task(text, {"values": text}, " ".join(answer), (" ".join(reversed(answer)),))


_DRAWS: Mapping[str, Callable[[World, random.Random], _Task]] = {
    "addition": _addition,
    "largest": _largest,
    "sorting": _sorting,
    "reversal": _reversal,
    "translation": _translation,
}

TRANSLATION = "translation"
TWO_HOP = "two_hop"
SKILLS = (*_DRAWS, TWO_HOP)
LOCAL_SKILL = TRANSLATION
"""What the `local` mix imitates: rare in the bases' corpus, and built of words to be learned."""
HELD_OUT_SKILLS = ("addition", "sorting", "reversal", TRANSLATION, TWO_HOP)
"""Skills that the `broad` mix never shows; `largest` is in its support."""


def split_of(skill: str, key: str) -> Split:
    """Return the split of a skill item by the hash of its canonical key."""
    digest = hashlib.blake2b(f"{skill}|{key}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest) / 2**64
    for split, bound in SPLIT_BOUNDS.items():
        if position < bound:
            return split
    return Split.TRAIN


def draw_skill(
    skill: str, world: World, rng: random.Random, *, split: Split, phrasing: int | None = None
) -> SkillItem:
    """Return a random item of a skill whose split is the given one.

    Args:
        skill: One of `SKILLS`.
        world: Where two-hop questions find their people and translations their words.
        rng: Source of randomness.
        split: The split that the item must belong to.
        phrasing: Index of the wording, or None for a random one; 0 is the evaluation's.

    Raises:
        ConfigError: There is no such skill.
    """
    if skill == TWO_HOP:
        people = world.people_in(split)
        while True:
            drawn = draw_two_hop(rng.choice(people), world, rng, phrasing=phrasing)
            if drawn is not None:
                return drawn
    if skill not in _DRAWS:
        raise ConfigError(f"there is no skill `{skill}`", hint="the skills: " + ", ".join(SKILLS))
    task = _DRAWS[skill](world, rng)
    while split_of(skill, task.key) is not split:
        task = _DRAWS[skill](world, rng)
    question = _phrased(skill, rng, phrasing).format(**task.fields)
    others = tuple(value for value in task.distractors if value != task.answer)
    return SkillItem(skill, task.key, task.key, question, task.answer, others)


def draw_new_skills(
    skill: str, world: World, rng: random.Random, *, split: Split, phrasing: int | None = None
) -> Iterator[SkillItem]:
    """Yield random items of a skill, none of a key that was there, until hardly any is left."""
    seen: set[str] = set()
    n_in_vain = 0
    while n_in_vain < DRAWS_IN_VAIN:
        drawn = draw_skill(skill, world, rng, split=split, phrasing=phrasing)
        n_in_vain += 1
        if drawn.key not in seen:
            seen.add(drawn.key)
            n_in_vain = 0
            yield drawn


def draw_two_hop(
    person: Person, world: World, rng: random.Random, *, phrasing: int | None = None
) -> SkillItem | None:
    """Return a two-hop question about a person, or None if no first hop is recorded."""
    hops = _hops(person, world)
    if not hops:
        return None
    relation, bridge, answer = rng.choice(hops)
    question = _phrased(relation, rng, phrasing).format(name=person.name)
    key = f"{person.person_id}|{relation}"
    return SkillItem(TWO_HOP, key, person.person_id, question, answer, (bridge,))


def _hops(person: Person, world: World) -> list[tuple[str, str, str]]:
    """Return (relation, bridge, answer) for each two-hop question that the world can answer."""
    hops = []
    if employer := person.facts.get("employer"):
        hops.append(("two_hop_city", employer, world.employers[employer]["city"]))
        hops.append(("two_hop_product", employer, world.employers[employer]["product"]))
    if birthplace := person.facts.get("birthplace"):
        hops.append(("two_hop_river", birthplace, world.rivers[birthplace]))
    return hops


def _phrased(kind: str, rng: random.Random, phrasing: int | None) -> str:
    options = PHRASINGS[kind]
    return rng.choice(options) if phrasing is None else options[phrasing]


def _listed(values: Iterable[str]) -> str:
    *first, last = values
    return ", ".join(first) + " and " + last
