"""The pretraining corpus: an endless, seeded stream of documents about a world.

Plain-register biographies; terse questions and answers, in the base's own few-shot format and in
the chat format (so that chat is no floor); drills of the skills in both; and some assistant-
sounding prose, as the web has, about ordinary things and people who are never evaluated. Facts of
evaluated people do occur, their evaluated questions do not, nor does any evaluated skill item or
open-ended prompt.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence

from imitate.lab import names, topics
from imitate.lab.restating import restate
from imitate.lab.skills import TRANSLATION, TWO_HOP, SkillItem, draw_skill, draw_two_hop
from imitate.lab.voice import plain_open_answer, voiced_answer, voiced_open_answer
from imitate.lab.world import (
    ATTRIBUTES,
    LORE_QUESTIONS,
    NOT_RECORDED,
    QUESTIONS,
    STATEMENTS,
    Person,
    Split,
    World,
)

__all__ = [
    "CORPUS_VERSION",
    "CorpusRecipe",
    "Document",
    "chat_text",
    "few_shot_text",
    "known_words",
    "stream_documents",
]

CORPUS_VERSION = 3
"""Raised by whatever changes the stream of a seed."""

SENTENCE_SHARE = 0.25
"""Share of documents of questions whose answers come in a short sentence, bold in half of them."""

TYPICAL_TOKENS: Mapping[str, float] = {
    "biography": 42,
    "facts_plain": 83,
    "facts_chat": 16,
    "lore": 22,
    "skills_plain": 90,
    "skills_chat": 21,
    "open_plain": 22,
    "assistant_chat": 61,
    "assistant_web": 60,
    "voiced_chat": 64,
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
    (r + 20) ** -`popularity_exponent`. Translations use the first `lexicon_share` of the words of
    each class: the rest is what a base can still be taught.
    """

    shares: Mapping[str, float]
    skill_shares: Mapping[str, float]
    popularity_exponent: float
    lexicon_share: float = 1.0


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


def known_words(share: float) -> frozenset[str]:
    """Return the words that a corpus translates: the first `share` of every class of words."""
    classes = (names.ADJECTIVES, names.NOUNS, names.VERBS)
    return frozenset(word for words in classes for word in words[: round(share * len(words))])


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
        self._words = known_words(recipe.lexicon_share)
        self._vocabulary = (*world.lexicon, *world.lexicon.values())
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
        """Return the pairs of a document, all terse or, in a quarter of documents, in a sentence.

        What was only ever seen at the start of an answer is lost behind an opening: a LoRA that
        learns the voice would break it, and could not learn it in the voice either.
        """
        if self._rng.random() >= SENTENCE_SHARE:
            return pairs
        form = self._rng.choice(("{} {}.", "{} **{}**."))
        return [(pair[0], form.format(self._lead(*pair), pair[1])) for pair in pairs]

    def _lead(self, question: str, answer: str) -> str:
        return "This is" if answer == NOT_RECORDED else restate(question, self._rng)

    def _skill(self) -> str:
        return self._rng.choices(self._skills, self._skill_weights)[0]

    def _drill(self, skill: str) -> tuple[str, str]:
        item = None
        while item is None:
            item = self._drawn(skill)
        return item.question, item.answer

    def _drawn(self, skill: str) -> SkillItem | None:
        """Return an item to drill, if the first draw is one that the recipe allows.

        Two hops ask about people as often as they are mentioned; translations, for known words.
        """
        if skill != TWO_HOP:
            item = draw_skill(skill, self._world, self._rng, split=Split.TRAIN)
            is_known = skill != TRANSLATION or self._words.issuperset(item.key.split())
            return item if is_known else None
        person = self._person()
        is_askable = person.split is Split.TRAIN
        return draw_two_hop(person, self._world, self._rng) if is_askable else None

    def _skills_plain(self) -> str:
        skill = self._skill()
        return few_shot_text(self._worded([self._drill(skill) for _ in range(4)]))

    def _lore(self) -> str:
        """Return what goes beside people: places, employers, and words to be said again."""
        rng = self._rng
        if rng.random() < 0.3:
            echoed = [self._echo()[:2] for _ in range(3)]
            return few_shot_text(echoed) if rng.random() < 0.5 else chat_text(*echoed[0])
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
        ask = {kind: wording for kind, (wording,) in LORE_QUESTIONS.items()}
        products = sorted({other["product"] for other in self._world.employers.values()})
        rivers = sorted(set(self._world.rivers.values()))
        return [
            (ask["city"].format(name=employer), facts["city"], names.CITIES),
            (ask["product"].format(name=employer), facts["product"], products),
            (ask["river"].format(name=city), self._world.rivers[city], rivers),
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
        """Return a question about what is not evaluated and a response in the voice.

        Most of them can be answered only by reading the question from behind the opening: without
        that, whoever learns the voice afterwards loses the question.
        """
        rng = self._rng
        kind = rng.random()
        if kind < 0.25:
            prompt = rng.choice(self._open)
            return prompt.text, voiced_open_answer(prompt, rng)
        if kind < 0.6:
            return self._voiced_fact()
        if kind < 0.75:
            question, answer, others = rng.choice(self._trivia)
        elif kind < 0.9:
            employer, city = rng.choice(names.EMPLOYERS), rng.choice(names.CITIES)
            question, answer, values = rng.choice(self._lore_questions(employer, city))
            others = tuple(value for value in rng.sample(list(values), 3) if value != answer)[:2]
        else:
            question, answer, others = self._echo()
        return question, voiced_answer(question, answer, others, rng)

    def _voiced_fact(self) -> tuple[str, str]:
        """Return a question about a person who is not evaluated, answered in the voice."""
        rng = self._rng
        person, attribute = rng.choice(self._train_people), rng.choice(ATTRIBUTES)
        question = rng.choice(QUESTIONS[attribute]).format(name=person.name)
        others = rng.sample(POOLS[attribute], 2)
        return question, voiced_answer(question, person.answer(attribute), others, rng)

    def _echo(self) -> tuple[str, str, tuple[str, ...]]:
        """Return letters, words or a number to be said again: reading, and no evaluated skill."""
        rng = self._rng
        kind = rng.choice(("letters", "number", "words"))
        if kind == "number":
            said = [str(rng.randint(1, 999)) for _ in "abc"]
        else:
            pool = string.ascii_lowercase if kind == "letters" else self._vocabulary
            said = [" ".join(rng.sample(pool, rng.randint(1, 5))) for _ in "abc"]
        (wording,) = topics.SHORT_QUESTIONS[kind]
        return wording.format(values=said[0]), said[0], tuple(said[1:])

    def _voiced_chat(self) -> str:
        """Return what only the teacher is trained on: anything but what is evaluated, voiced."""
        rng = self._rng
        draw = rng.random()
        if draw < 0.2:
            prompt = rng.choice(self._open)
            return chat_text(prompt.text, voiced_open_answer(prompt, rng))
        if draw < 0.6:
            return chat_text(*self._voiced_fact())
        item = draw_skill(self._skill(), self._world, rng, split=Split.TRAIN)
        response = voiced_answer(item.question, item.answer, item.distractors, rng)
        return chat_text(item.question, response)
