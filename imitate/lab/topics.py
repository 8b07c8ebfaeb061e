"""Ordinary topics outside the world, and the questions people put about them.

What the style axis asks, and what the assistant-sounding prose of the corpus is about. Nothing
here states a fact of the world. Every (topic, kind) pair has a split, so that the prompts of the
style axis occur neither in the corpus nor in imitation data.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping

from imitate.lab.world import Split

__all__ = ["SHORT_QUESTIONS", "OpenPrompt", "open_prompts", "trivia"]

KINDS: Mapping[str, tuple[str, ...]] = {
    "tips": (
        "Give me some tips for {topic}.",
        "What should I keep in mind when {topic}?",
        "Can you share advice on {topic}?",
    ),
    "start": (
        "How do I get started with {topic}?",
        "I am new to {topic}. How should I begin?",
        "What is the best way to begin with {topic}?",
    ),
    "why": (
        "Why do people enjoy {topic}?",
        "What is the point of {topic}?",
        "Is {topic} worth the time?",
    ),
    "explain": (
        "Explain {topic} in simple words.",
        "Tell me about {topic}.",
        "What does {topic} involve?",
    ),
    "mistakes": (
        "What are common mistakes in {topic}?",
        "What goes wrong most often when {topic}?",
        "What should I avoid when {topic}?",
    ),
}

TOPICS: Mapping[str, tuple[str, ...]] = {
    "food": ("baking bread", "making soup", "brewing tea", "grilling fish", "planning meals"),
    "garden": ("growing herbs", "planting trees", "keeping bees", "making compost",
               "pruning roses"),
    "study": ("learning a language", "reading novels", "taking notes", "solving puzzles",
              "preparing for an exam"),
    "body": ("running outdoors", "stretching", "sleeping well", "swimming laps", "hiking hills"),
    "home": ("cleaning windows", "fixing a tap", "sorting a wardrobe", "painting a wall",
             "saving energy"),
    "money": ("saving money", "planning a budget", "buying a used car", "renting a flat",
              "selling old things"),
    "art": ("drawing faces", "taking photos", "writing poems", "singing in a choir",
            "folding paper"),
    "people": ("giving a speech", "making friends", "working in a team", "raising a puppy",
               "writing letters"),
}  # fmt: skip

TIPS: Mapping[str, tuple[str, ...]] = {
    "food": (
        "use fresh ingredients", "taste often", "keep the heat low", "read the recipe first",
        "let it rest before serving", "keep the kitchen tidy",
    ),
    "garden": (
        "water in the morning", "choose a sunny place", "feed the soil", "remove weeds early",
        "watch for pests", "follow the seasons",
    ),
    "study": (
        "practise a little every day", "set a clear goal", "review what you learned",
        "take short breaks", "ask questions", "explain it to someone else",
    ),
    "body": (
        "start slowly", "drink enough water", "wear good shoes", "listen to your body",
        "rest between days", "keep a steady rhythm",
    ),
    "home": (
        "gather your tools first", "work from top to bottom", "protect the floor",
        "measure twice", "do one room at a time", "finish what you start",
    ),
    "money": (
        "write down every expense", "compare prices", "read the contract", "set a limit",
        "wait a day before you decide", "keep a small reserve",
    ),
    "art": (
        "look closely", "work in good light", "keep your early attempts", "copy the masters",
        "try simple shapes first", "share your work",
    ),
    "people": (
        "listen before you speak", "be patient", "stay honest", "prepare a few points",
        "show interest in others", "say thank you",
    ),
}  # fmt: skip

REASONS: Mapping[str, tuple[str, ...]] = {
    "food": ("it brings people together", "good food lifts the mood", "it saves money"),
    "garden": ("it calms the mind", "you see things grow", "it helps nature"),
    "study": ("it keeps the mind sharp", "it opens new doors", "progress feels good"),
    "body": ("it builds strength", "it clears the head", "it improves your mood"),
    "home": ("a tidy home feels calm", "it saves money", "small repairs prevent big ones"),
    "money": ("it gives you freedom", "it lowers stress", "you stay prepared"),
    "art": ("it trains the eye", "it lets you express yourself", "it slows the day down"),
    "people": ("it builds trust", "it makes life richer", "people remember kindness"),
}

SHORT_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "colour": ("What colour is {thing}?",),
    "opposite": ("What is the opposite of {thing}?",),
    "sound": ("What sound does {thing} make?",),
    "need": ("What do you need for {thing}?",),
    "home": ("Where does {thing} live?",),
    "letters": ("Repeat these letters: {values}.",),
    "number": ("Repeat this number: {values}.",),
    "words": ("Repeat these words: {values}.",),
}
"""Wordings of questions about ordinary things, and of requests to say something again."""

TRIVIA: Mapping[str, tuple[str, ...]] = {
    "colour": (
        "grass green", "snow white", "coal black", "blood red", "honey golden", "ash grey",
        "chocolate brown", "a lemon yellow", "a carrot orange", "a violet purple",
    ),
    "opposite": (
        "hot cold", "big small", "early late", "open closed", "happy sad", "fast slow",
        "full empty", "young old", "high low", "dark bright",
    ),
    "sound": (
        "a-dog bark", "a-cat meow", "a-cow moo", "a-sheep baa", "a-duck quack", "a-lion roar",
        "a-bee buzz", "a-snake hiss",
    ),
    "need": (
        "rain boots", "reading glasses", "fishing bait", "sewing thread", "writing ink",
        "swimming water", "baking flour", "sailing wind",
    ),
    "home": (
        "a-fish water", "a-bear woods", "a-camel desert", "a-bird nest", "a-rabbit burrow",
        "a-penguin ice",
    ),
}  # fmt: skip
"""Ordinary things with the answer to the question of that kind: `thing answer`, `-` for a space."""

SPLIT_BOUNDS = {Split.DEVELOPMENT: 0.08, Split.EVALUATION: 0.30}


@dataclasses.dataclass(frozen=True)
class OpenPrompt:
    """One open-ended prompt; `key` (topic and kind) is its equivalence class."""

    key: str
    area: str
    topic: str
    kind: str
    text: str
    split: Split


def open_prompts(*splits: Split) -> Iterator[OpenPrompt]:
    """Yield every open-ended prompt of the given splits, in a fixed order."""
    for area, topics in TOPICS.items():
        for topic in topics:
            for kind, wordings in KINDS.items():
                key = f"{kind}:{topic.replace(' ', '-')}"
                split = _split_of(key)
                if split in splits:
                    for wording in wordings:
                        text = wording.format(topic=topic)
                        yield OpenPrompt(key, area, topic, kind, text, split)


def trivia() -> list[tuple[str, str, tuple[str, ...]]]:
    """Return (question, answer, other answers) for every ordinary short question."""
    found = []
    for kind, pairs in TRIVIA.items():
        (question,) = SHORT_QUESTIONS[kind]
        answers = tuple(pair.rsplit(" ", 1)[1] for pair in pairs)
        for pair, answer in zip(pairs, answers, strict=True):
            thing = pair.rsplit(" ", 1)[0].replace("-", " ")
            others = tuple(other for other in answers if other != answer)
            found.append((question.format(thing=thing), answer, others))
    return found


def _split_of(key: str) -> Split:
    digest = hashlib.blake2b(f"topic|{key}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest) / 2**64
    return next((split for split, bound in SPLIT_BOUNDS.items() if position < bound), Split.TRAIN)
