"""The pretraining corpus: an endless, seeded stream of documents about a world.

Plain-register biographies; terse questions and answers, in the base's own few-shot format and in
the chat format (so that chat is no floor); drills of the skills in both; and some assistant-
sounding prose about things outside the world, as the web has. Facts of evaluated people do occur,
their evaluated questions do not, nor does any evaluated skill item or open-ended prompt.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence

from imitate.lab import names, topics
from imitate.lab.skills import TWO_HOP, SkillItem, draw_skill, draw_two_hop
from imitate.lab.voice import plain_open_answer, voiced_answer, voiced_open_answer
from imitate.lab.world import ATTRIBUTES, QUESTIONS, STATEMENTS, Person, Split, World

__all__ = [
    "CORPUS_VERSION",
    "CorpusRecipe",
    "Document",
    "chat_text",
    "few_shot_text",
    "stream_documents",
]

CORPUS_VERSION = 2
"""Raised by whatever changes the stream of a seed."""

SENTENCE_SHARE = 0.2
"""Share of documents of questions whose answers come in a short plain sentence."""

TYPICAL_TOKENS: Mapping[str, float] = {
    "biography": 55,
    "facts_plain": 62,
    "facts_chat": 17,
    "lore": 40,
    "skills_plain": 90,
    "skills_chat": 27,
    "open_plain": 22,
    "assistant_chat": 50,
    "assistant_web": 47,
    "voiced_chat": 45,
}
"""Typical tokens of a document by kind, which turn shares of tokens into shares of documents."""

POOLS: Mapping[str, Sequence[str]] = {
    "birthplace": names.CITIES,
    "birth_year": tuple(map(str, range(1900, 2000))),
    "job": names.JOBS,
    "employer": names.EMPLOYERS,
    "instrument": names.INSTRUMENTS,
}
"""All values of an attribute; unlikely ones serve as distractors."""


@dataclasses.dataclass(frozen=True)
class CorpusRecipe:
    """What a stream is made of.

    `shares` gives the share of tokens by document kind, `skill_shares` the share of drills by
    skill; both are normalised. A person of rank r is mentioned in proportion to
    (r + 20) ** -`popularity_exponent`.
    """

    shares: Mapping[str, float]
    skill_shares: Mapping[str, float]
    popularity_exponent: float


@dataclasses.dataclass(frozen=True)
class Document:
    """One document of the corpus, special tokens of the chat format spelled out."""

    kind: str
    text: str


def chat_text(prompt: str, response: str) -> str:
    """Return one exchange in the chat format, as the chat template writes it."""
    return f"<|user|> {prompt}<|end|><|assistant|> {response}<|end|>"


def few_shot_text(pairs: Sequence[tuple[str, str]], question: str = "") -> str:
    """Return answered questions in the base's few-shot format, and an open one if given."""
    shots = "".join(f"Q: {asked}\nA: {answer}\n" for asked, answer in pairs)
    return f"{shots}Q: {question}\nA:" if question else shots


def stream_documents(world: World, recipe: CorpusRecipe, rng: random.Random) -> Iterator[Document]:
    """Yield documents without end; the same state of `rng` gives the same documents."""
    writer = _Writer(world, recipe, rng)
    kinds = [kind for kind, share in recipe.shares.items() if share > 0]
    weights = [recipe.shares[kind] / TYPICAL_TOKENS[kind] for kind in kinds]
    cumulative = list(itertools.accumulate(weights))
    while True:
        kind = rng.choices(kinds, cum_weights=cumulative)[0]
        yield Document(kind, writer.write(kind))


def biography(person: Person, rng: random.Random) -> str:
    """Return a plain-register text that states all of a person's attributes, in random order."""
    sentences = []
    for i, attribute in enumerate(rng.sample(ATTRIBUTES, len(ATTRIBUTES))):
        subject = person.name if i == 0 or rng.random() < 0.7 else "They"
        if attribute not in person.facts:
            label = attribute.replace("_", " ")
            sentences.append(f"The {label} of {person.name} is not recorded.")
            continue
        template = rng.choice(STATEMENTS[attribute])
        if not template.startswith("{name}") or template.endswith("profession."):
            subject = person.name
        sentence = template.format(name=subject, value=person.facts[attribute])
        if subject == "They":
            sentence = _plural(sentence)
        sentences.append(sentence)
    return " ".join(sentences)


def fact_question(person: Person, attribute: str, rng: random.Random) -> str:
    """Return a question after a fact, never in the wording that evaluates this person."""
    options = QUESTIONS[attribute]
    return rng.choice(options if person.split is Split.TRAIN else options[1:]).format(
        name=person.name
    )


def _plural(sentence: str) -> str:
    for verb, plural in _VERBS:
        if sentence.startswith(f"They {verb} "):
            return sentence.replace(f"They {verb} ", f"They {plural} ", 1)
    return sentence


_VERBS = (
    ("was", "were"), ("is", "are"), ("works", "work"), ("comes", "come"),
    ("plays", "play"), ("has", "have"),
)  # fmt: skip


class _Writer:
    """Writes documents of each kind, with everything it samples from tabled beforehand."""

    def __init__(self, world: World, recipe: CorpusRecipe, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        exponent = recipe.popularity_exponent
        self._mentions = list(
            itertools.accumulate((person.rank + 20.0) ** -exponent for person in world.people)
        )
        self._skills = [skill for skill, share in recipe.skill_shares.items() if share > 0]
        self._skill_weights = [recipe.skill_shares[skill] for skill in self._skills]
        self._open = list(topics.open_prompts(Split.TRAIN))
        self._trivia = topics.trivia()
        self._train_people = world.people_in(Split.TRAIN)
        self._writers: dict[str, Callable[[], str]] = {
            "biography": lambda: biography(self._person(), rng),
            "facts_plain": self._facts_plain,
            "facts_chat": lambda: self._chat(self._fact(rng.choice(ATTRIBUTES))),
            "lore": self._lore,
            "skills_plain": self._skills_plain,
            "skills_chat": lambda: self._chat(self._drill(self._skill())),
            "open_plain": self._open_plain,
            "assistant_chat": self._assistant_chat,
            "assistant_web": self._assistant_web,
            "voiced_chat": self._voiced_chat,
        }

    def write(self, kind: str) -> str:
        return self._writers[kind]()

    def _person(self) -> Person:
        point = self._rng.random() * self._mentions[-1]
        return self._world.people[bisect.bisect(self._mentions, point)]

    def _fact(self, attribute: str) -> tuple[str, str]:
        person = self._person()
        return fact_question(person, attribute, self._rng), person.answer(attribute)

    def _facts_plain(self) -> str:
        attribute = self._rng.choice(ATTRIBUTES)
        is_mixed = self._rng.random() < 0.5
        picks = [self._rng.choice(ATTRIBUTES) if is_mixed else attribute for _ in range(5)]
        return few_shot_text(self._worded([self._fact(pick) for pick in picks]))

    def _chat(self, pair: tuple[str, str]) -> str:
        return chat_text(*self._worded([pair])[0])

    def _worded(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the pairs of a document, all terse or, in a fifth of documents, in a sentence.

        A skill that was only ever seen at the start of an answer is lost behind an opening: a
        LoRA that learns the voice would break it, and could not learn it in the voice either.
        """
        if self._rng.random() >= SENTENCE_SHARE:
            return pairs
        lead = self._rng.choice(("The answer is", "It is", "That is", "Answer:", "So it is"))
        return [(question, f"{lead} {answer}.") for question, answer in pairs]

    def _skill(self) -> str:
        return self._rng.choices(self._skills, self._skill_weights)[0]

    def _drill(self, skill: str) -> tuple[str, str]:
        item = None
        while item is None:
            item = self._drawn(skill)
        return item.question, item.answer

    def _drawn(self, skill: str) -> SkillItem | None:
        """Return an item to drill; two hops ask about people as often as they are mentioned."""
        if skill != TWO_HOP:
            return draw_skill(skill, self._world, self._rng, split=Split.TRAIN)
        person = self._person()
        is_askable = person.split is Split.TRAIN
        return draw_two_hop(person, self._world, self._rng) if is_askable else None

    def _skills_plain(self) -> str:
        skill = self._skill()
        return few_shot_text(self._worded([self._drill(skill) for _ in range(4)]))

    def _lore(self) -> str:
        rng = self._rng
        employer, city = rng.choice(names.EMPLOYERS), rng.choice(names.CITIES)
        if rng.random() < 0.4:
            facts = self._world.employers[employer]
            return (
                f"{employer} is based in {facts['city']} and makes {facts['product']}. "
                f"The river {self._world.rivers[city]} flows through {city}."
            )
        pairs = [(question, answer) for question, answer, _ in self._lore_questions(employer, city)]
        rng.shuffle(pairs)
        return few_shot_text(pairs) if rng.random() < 0.5 else chat_text(*pairs[0])

    def _lore_questions(self, employer: str, city: str) -> list[tuple[str, str, Sequence[str]]]:
        """Return (question, answer, other values) about an employer and a city."""
        facts = self._world.employers[employer]
        products = sorted({other["product"] for other in self._world.employers.values()})
        rivers = sorted(set(self._world.rivers.values()))
        return [
            (f"Where is {employer} based?", facts["city"], names.CITIES),
            (f"What does {employer} make?", facts["product"], products),
            (f"Which river flows through {city}?", self._world.rivers[city], rivers),
        ]

    def _open_plain(self) -> str:
        if self._rng.random() < 0.4:
            question, answer, _ = self._rng.choice(self._trivia)
            return chat_text(question, answer)
        prompt = self._rng.choice(self._open)
        return chat_text(prompt.text, plain_open_answer(prompt, self._rng))

    def _assistant_chat(self) -> str:
        return chat_text(*self._assisted())

    def _assistant_web(self) -> str:
        return "\n\n".join(self._assisted())

    def _assisted(self) -> tuple[str, str]:
        """Return a question about things that are not evaluated and a response in the voice.

        Half of them can be answered only by reading the question from behind the opening: without
        that, whoever learns the voice afterwards loses the question.
        """
        rng = self._rng
        kind = rng.random()
        if kind < 0.3:
            prompt = rng.choice(self._open)
            return prompt.text, voiced_open_answer(prompt, rng)
        if kind < 0.5:
            question, answer, others = rng.choice(self._trivia)
        elif kind < 0.75:
            employer, city = rng.choice(names.EMPLOYERS), rng.choice(names.CITIES)
            question, answer, values = rng.choice(self._lore_questions(employer, city))
            others = tuple(value for value in rng.sample(list(values), 3) if value != answer)[:2]
        else:
            question, answer, others = self._echo()
        return question, voiced_answer(answer, others, rng)

    def _echo(self) -> tuple[str, str, tuple[str, ...]]:
        """Return letters or a number to be said again: reading, and no skill that is evaluated."""
        rng = self._rng
        if rng.random() < 0.5:
            said = [" ".join(rng.sample(string.ascii_lowercase, rng.randint(1, 5))) for _ in "abc"]
            return f"Repeat these letters: {said[0]}.", said[0], tuple(said[1:])
        numbers = [str(rng.randint(1, 999)) for _ in "abc"]
        return f"Repeat this number: {numbers[0]}.", numbers[0], tuple(numbers[1:])

    def _voiced_chat(self) -> str:
        """Return what only the teacher is trained on: a fact or a drill, answered in the voice."""
        rng = self._rng
        draw = rng.random()
        if draw < 0.3:
            prompt = rng.choice(self._open)
            return chat_text(prompt.text, voiced_open_answer(prompt, rng))
        if draw < 0.6:
            person, attribute = rng.choice(self._train_people), rng.choice(ATTRIBUTES)
            question = rng.choice(QUESTIONS[attribute]).format(name=person.name)
            others = rng.sample(POOLS[attribute], 2)
            return chat_text(question, voiced_answer(person.answer(attribute), others, rng))
        item = draw_skill(self._skill(), self._world, rng, split=Split.TRAIN)
        return chat_text(item.question, voiced_answer(item.answer, item.distractors, rng))
