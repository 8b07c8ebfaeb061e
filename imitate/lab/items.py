"""The evaluation's questions about a world, as `Item`s.

Tasks: `facts` (factuality, by popularity), `facts_unrecorded` (abstaining is right), one task per
skill (capability), and `chat` (style: held-out open-ended and factual prompts). Items come from
evaluation people and evaluation keys, development items from development ones, so they are
disjoint from each other and from everything that imitation data may contain. Nearly every item has
a cluster of its own; facts and two hops cluster by person.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from evals.errors import ConfigError
from evals.records import Axis, Item
from imitate.lab import topics
from imitate.lab.skills import SKILLS, TWO_HOP, SkillItem, draw_new_skills, draw_two_hop
from imitate.lab.world import ATTRIBUTES, QUESTIONS, Person, PopularityBin, Split, World

__all__ = ["TASKS", "evaluated_prompts", "item_support", "lab_items"]

TASKS = ("facts", "facts_unrecorded", *SKILLS, "chat")


def lab_items(
    world: World, task: str, *, n_items: int, n_development: int, seed: int
) -> list[Item]:
    """Return the items of a task: `n_items` that score, then `n_development` that do not.

    Args:
        world: The world asked about.
        task: One of `TASKS`.
        n_items: Scored items. Facts are spread evenly over the popularity bins.
        n_development: Development items, from other people and other keys.
        seed: Decides which items are drawn; a larger `n_items` extends the same list.

    Raises:
        ConfigError: There is no such task, or it has fewer items than asked for.
    """
    if task not in TASKS:
        raise ConfigError(f"the lab has no task `{task}`", hint="its tasks: " + ", ".join(TASKS))
    scored = _take(_items(world, task, Split.EVALUATION, seed), n_items, task, "scored")
    rest = _take(_items(world, task, Split.DEVELOPMENT, seed), n_development, task, "development")
    return scored + rest


def evaluated_prompts(world: World, task: str, *, at_most: int, seed: int) -> list[str]:
    """Return the prompts of the first scored items of a task, of all where it has fewer."""
    items = _items(world, task, Split.EVALUATION, seed)
    return [item.prompt for item in itertools.islice(items, at_most)]


def _take(items: Iterator[Item], count: int, task: str, what: str) -> list[Item]:
    taken = list(itertools.islice(items, count))
    if len(taken) < count:
        raise ConfigError(
            f"`{task}` has {len(taken)} {what} items, asked for {count}",
            hint="ask for fewer items",
        )
    return taken


def _items(world: World, task: str, split: Split, seed: int) -> Iterator[Item]:
    rng = random.Random(f"items {world.seed} {seed} {task} {split}")
    sources: Mapping[str, Callable[[], Iterator[Item]]] = {
        "facts": lambda: _facts(world, split, rng, is_recorded=True),
        "facts_unrecorded": lambda: _facts(world, split, rng, is_recorded=False),
        "chat": lambda: _chat(world, split, rng),
        TWO_HOP: lambda: _two_hops(world, split, rng),
    }
    return sources[task]() if task in sources else _drills(world, task, split, rng)


def item_support(item: Item, lab_task: str) -> tuple[str, ...]:
    """Return the keys that an item of a lab task asks for, as `Example.support` names them.

    Chat prompts ask for none: they are answered in any way.
    """
    key = item.item_id.rpartition(f"{lab_task}/")[2]
    if lab_task == "chat":
        return ()
    if lab_task in ("facts", "facts_unrecorded"):
        return (key.replace("/", "|"),)
    if lab_task != TWO_HOP:  # whose keys have hyphens of their own, in names, and no space
        key = key.replace("-", " ")
    return (f"skill:{lab_task}|{key}",)


def _facts(world: World, split: Split, rng: random.Random, *, is_recorded: bool) -> Iterator[Item]:
    """Yield one fact per person and round, bins in turn, until every fact was asked."""
    queues = []
    for popularity in PopularityBin:
        people = [p for p in world.people_in(split) if p.popularity is popularity]
        rng.shuffle(people)
        queues.append(_rounds(people, rng, is_recorded=is_recorded))
    while queues:
        for queue in list(queues):
            found = next(queue, None)
            if found is None:
                queues.remove(queue)
            else:
                yield _fact_item(*found, split)


def _rounds(
    people: Sequence[Person], rng: random.Random, *, is_recorded: bool
) -> Iterator[tuple[Person, str]]:
    """Yield (person, attribute), everyone once before anyone twice."""
    orders = {p.person_id: rng.sample(ATTRIBUTES, len(ATTRIBUTES)) for p in people}
    askable = {
        p.person_id: [a for a in orders[p.person_id] if (a in p.facts) is is_recorded]
        for p in people
    }
    for i in range(len(ATTRIBUTES)):
        for person in people:
            if i < len(askable[person.person_id]):
                yield person, askable[person.person_id][i]


def _fact_item(person: Person, attribute: str, split: Split) -> Item:
    value = person.facts.get(attribute)
    task = "facts_unrecorded" if value is None else "facts"
    return Item(
        item_id=f"{task}/{person.person_id}/{attribute}",
        task=task,
        axis=Axis.FACTUALITY,
        cluster_id=person.person_id,
        prompt=QUESTIONS[attribute][0].format(name=person.name),
        answers=() if value is None else (value,),
        group=person.popularity,
        is_development=split is Split.DEVELOPMENT,
    )


def _drills(world: World, skill: str, split: Split, rng: random.Random) -> Iterator[Item]:
    for drawn in draw_new_skills(skill, world, rng, split=split, phrasing=0):
        yield _skill_item(drawn, split)


def _two_hops(world: World, split: Split, rng: random.Random) -> Iterator[Item]:
    """Yield one two-hop question per person, bins in turn, then no more."""
    queues = []
    for popularity in PopularityBin:
        people = [p for p in world.people_in(split) if p.popularity is popularity]
        queues.append(rng.sample(people, len(people)))
    while any(queues):
        for queue in filter(None, queues):
            person = queue.pop()
            drawn = draw_two_hop(person, world, rng, phrasing=0)
            if drawn is not None:
                yield _skill_item(drawn, split, group=person.popularity)


def _skill_item(drawn: SkillItem, split: Split, *, group: str = "") -> Item:
    return Item(
        item_id=f"{drawn.skill}/{drawn.key.replace(' ', '-')}",
        task=drawn.skill,
        axis=Axis.CAPABILITY,
        cluster_id=drawn.cluster,
        prompt=drawn.question,
        answers=(drawn.answer,),
        group=group,
        is_development=split is Split.DEVELOPMENT,
    )


def _chat(world: World, split: Split, rng: random.Random) -> Iterator[Item]:
    """Yield open-ended and factual prompts in turn; open-ended ones are worded once each."""
    prompts = list(topics.open_prompts(split))
    rng.shuffle(prompts)
    people = list(world.people_in(split))
    rng.shuffle(people)
    for prompt, person in zip(prompts, people, strict=False):
        yield _chat_item(prompt.key, prompt.text, split, wording=_wording(prompt))
        attribute = rng.choice(ATTRIBUTES)
        question = QUESTIONS[attribute][0].format(name=person.name)
        yield _chat_item(person.person_id, question, split, wording=attribute)
    for person in people[len(prompts) :]:
        attribute = rng.choice(ATTRIBUTES)
        question = QUESTIONS[attribute][0].format(name=person.name)
        yield _chat_item(person.person_id, question, split, wording=attribute)


def _chat_item(cluster: str, prompt: str, split: Split, *, wording: str) -> Item:
    return Item(
        item_id=f"chat/{cluster}/{wording}",
        task="chat",
        axis=Axis.STYLE,
        cluster_id=cluster,
        prompt=prompt,
        is_development=split is Split.DEVELOPMENT,
    )


def _wording(prompt: topics.OpenPrompt) -> str:
    wordings: Iterable[str] = topics.KINDS[prompt.kind]
    texts = [wording.format(topic=prompt.topic) for wording in wordings]
    return f"wording-{texts.index(prompt.text)}"
