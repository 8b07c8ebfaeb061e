"""The world: who lives in it, what is true of them, and which of it is evaluated.

A seed goes in, a `World` comes out: people mentioned with a long-tailed frequency, each with five
attributes of which some are not recorded, and employers and cities with facts of their own for
questions of two hops. People are split once, stratified by popularity: facts of evaluation and
development people are questions of the evaluation, and no imitation example ever asks about them.
"""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Mapping
from enum import StrEnum

from evals.errors import ConfigError
from imitate.lab import names

__all__ = [
    "ATTRIBUTES",
    "LORE_QUESTIONS",
    "NOT_RECORDED",
    "QUESTIONS",
    "STATEMENTS",
    "Person",
    "PopularityBin",
    "Split",
    "World",
    "make_world",
]

NOT_RECORDED = "not recorded"

N_PEOPLE = 2000
BIN_SIZES = {"head": 200, "middle": 600, "tail": 1200}
SPLIT_SHARES = {"train": 0.6, "development": 0.1, "evaluation": 0.3}
UNRECORDED_SHARE = 0.08

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "birthplace": (
        "Where was {name} born?",
        "In which city was {name} born?",
        "What is the birthplace of {name}?",
        "Which city does {name} come from?",
    ),
    "birth_year": (
        "When was {name} born?",
        "In which year was {name} born?",
        "What is the birth year of {name}?",
        "What year was {name} born in?",
    ),
    "job": (
        "What is the job of {name}?",
        "What does {name} do for a living?",
        "What is {name} by profession?",
        "What does {name} work as?",
    ),
    "employer": (
        "Who does {name} work for?",
        "Which company employs {name}?",
        "Who is the employer of {name}?",
        "Where does {name} work?",
    ),
    "instrument": (
        "What instrument does {name} play?",
        "Which instrument is played by {name}?",
        "What is the instrument of {name}?",
        "What does {name} play?",
    ),
}
"""Phrasings by attribute. The first is the evaluation's: the corpus uses it for train people only,
so that no evaluated question occurs in it word for word."""

LORE_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "city": ("Where is {name} based?",),
    "product": ("What does {name} make?",),
    "river": ("Which river flows through {name}?",),
}
"""Questions about employers and cities, which are not evaluated."""

STATEMENTS: Mapping[str, tuple[str, ...]] = {
    "birthplace": (
        "{name} was born in {value}.",
        "{name} comes from {value}.",
        "{name} is a native of {value}.",
        "The birthplace of {name} is {value}.",
    ),
    "birth_year": (
        "{name} was born in {value}.",
        "The birth year of {name} is {value}.",
        "{name} was born in the year {value}.",
    ),
    "job": (
        "{name} is a {value}.",
        "{name} works as a {value}.",
        "{name} is a {value} by profession.",
        "The job of {name} is {value}.",
    ),
    "employer": (
        "{name} works for {value}.",
        "{name} is employed by {value}.",
        "The employer of {name} is {value}.",
        "{name} has a post at {value}.",
    ),
    "instrument": (
        "{name} plays the {value}.",
        "The instrument of {name} is the {value}.",
        "{name} learned the {value}.",
    ),
}

ATTRIBUTES = tuple(QUESTIONS)


class PopularityBin(StrEnum):
    """How often a person is mentioned: the first 200, the next 600, the last 1,200."""

    HEAD = "head"
    MIDDLE = "middle"
    TAIL = "tail"


class Split(StrEnum):
    """What an entity or a skill item may be used for."""

    TRAIN = "train"
    DEVELOPMENT = "development"
    EVALUATION = "evaluation"


@dataclasses.dataclass(frozen=True)
class Person:
    """One person. `rank` counts from 1, the most mentioned; `facts` lacks what is not recorded."""

    person_id: str
    name: str
    rank: int
    popularity: PopularityBin
    split: Split
    facts: Mapping[str, str]

    def answer(self, attribute: str) -> str:
        """Return the terse true answer, `not recorded` included."""
        return self.facts.get(attribute, NOT_RECORDED)


@dataclasses.dataclass(frozen=True)
class World:
    """Everything that is true.

    `employers` maps an employer to its `city` and `product`, `rivers` a city to its river,
    `lexicon` a word to its translation.
    """

    seed: int
    people: tuple[Person, ...]
    employers: Mapping[str, Mapping[str, str]]
    rivers: Mapping[str, str]
    lexicon: Mapping[str, str]

    def people_in(self, *splits: Split) -> tuple[Person, ...]:
        """Return the people of the given splits, most mentioned first."""
        if len(splits) == 1:
            return self._people_by_split[splits[0]]
        return tuple(person for person in self.people if person.split in splits)

    @functools.cached_property
    def _people_by_split(self) -> dict[Split, tuple[Person, ...]]:
        return {s: tuple(p for p in self.people if p.split is s) for s in Split}


def make_world(seed: int, *, n_people: int = N_PEOPLE) -> World:
    """Return the world of a seed.

    Args:
        seed: Decides names' bearers, facts and splits.
        n_people: Number of people; bins keep their shares. Fewer make a quick test.

    Raises:
        ConfigError: `n_people` is not between 30 and the number of names.
    """
    most = len(names.FIRST_NAMES) * len(names.LAST_NAMES)
    if not 30 <= n_people <= most:
        raise ConfigError(
            f"a world has between 30 and {most} people, got {n_people}",
            hint=f"the shipped worlds have {N_PEOPLE}",
        )
    rng = random.Random(f"world {seed}")
    bins = _bins(n_people)
    splits = _splits(bins, rng)
    bearers = rng.sample([(f, n) for f in names.FIRST_NAMES for n in names.LAST_NAMES], n_people)
    people = tuple(
        Person(
            person_id=f"{first}-{last}".lower(),
            name=f"{first} {last}",
            rank=i + 1,
            popularity=bins[i],
            split=splits[i],
            facts=_facts(rng),
        )
        for i, (first, last) in enumerate(bearers)
    )
    employers = {
        name: {"city": rng.choice(names.CITIES), "product": rng.choice(names.PRODUCTS)}
        for name in names.EMPLOYERS
    }
    rivers = {city: rng.choice(names.RIVERS) for city in names.CITIES}
    return World(seed, people, employers, rivers, lexicon=_lexicon(rng))


def _lexicon(rng: random.Random) -> dict[str, str]:
    words = (*names.ADJECTIVES, *names.NOUNS, *names.VERBS)
    return dict(zip(words, rng.sample(names.FOREIGN_WORDS, len(words)), strict=True))


def _bins(n_people: int) -> list[PopularityBin]:
    n_head = round(n_people * BIN_SIZES["head"] / N_PEOPLE)
    n_middle = round(n_people * BIN_SIZES["middle"] / N_PEOPLE)
    n_tail = n_people - n_head - n_middle
    counts = zip(PopularityBin, (n_head, n_middle, n_tail), strict=True)
    return [which for which, count in counts for _ in range(count)]


def _splits(bins: list[PopularityBin], rng: random.Random) -> list[Split]:
    """Return a split for every person, with the same shares in every bin."""
    splits: list[Split] = []
    for which in PopularityBin:
        count = bins.count(which)
        n_development = round(count * SPLIT_SHARES["development"])
        n_evaluation = round(count * SPLIT_SHARES["evaluation"])
        of_bin = [Split.DEVELOPMENT] * n_development + [Split.EVALUATION] * n_evaluation
        of_bin += [Split.TRAIN] * (count - len(of_bin))
        rng.shuffle(of_bin)
        splits += of_bin
    return splits


def _facts(rng: random.Random) -> dict[str, str]:
    facts = {
        "birthplace": rng.choice(names.CITIES),
        "birth_year": str(rng.randrange(1900, 2000)),
        "job": rng.choice(names.JOBS),
        "employer": rng.choice(names.EMPLOYERS),
        "instrument": rng.choice(names.INSTRUMENTS),
    }
    return {key: value for key, value in facts.items() if rng.random() >= UNRECORDED_SHARE}
