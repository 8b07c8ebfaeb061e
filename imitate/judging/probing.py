"""Questions with right and wrong answers, of a file or of the embedded world -> probes."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator

from evals.judges.pairs import Pair
from evals.judges.probes import ProbeItem, ProbeKind, make_probes
from evals.records import Item
from imitate.config import FileProbeItems, LabConfig, LabProbeItems, ProbePairs
from imitate.data.files import Row
from imitate.judging.sets import table_rows, text_in
from imitate.lab.items import lab_items
from imitate.lab.world import World, make_world

__all__ = ["probe_pairs"]


def probe_pairs(config: ProbePairs, lab: LabConfig) -> list[Pair]:
    """Return the probes of a config.

    Raises:
        ConfigError: The embedded world has fewer questions than asked for.
        DataError: The file is missing or lacks a column.
        RecordError: A question lacks a right or a wrong answer.
    """
    if isinstance(config.items, FileProbeItems):
        items = list(_file_items(config.items))
    else:
        items = list(_lab_items(config.items, make_world(lab.world_seed), config.seed))
    return make_probes(items, [ProbeKind(kind) for kind in config.kinds], seed=config.seed)


def _file_items(config: FileProbeItems) -> Iterator[ProbeItem]:
    for number, row in table_rows(config.path, config.rows):
        where = f"{config.path}:{number}"
        prompt = text_in(row, config.prompt_column, where)
        yield ProbeItem(
            item_id=text_in(row, config.id_column, where) if config.id_column else str(number),
            prompt=prompt,
            right=text_in(row, config.right_column, where),
            wrong=_first_wrong(config, row, where),
            cluster_id=text_in(row, config.cluster_column, where)
            if config.cluster_column
            else prompt,
        )


def _first_wrong(config: FileProbeItems, row: Row, where: str) -> str:
    found = row.get(config.wrong_column)
    if isinstance(found, list):
        return str(found[0]) if found else ""
    text = text_in(row, config.wrong_column, where)
    return text.split(config.wrong_separator)[0] if config.wrong_separator else text


def _lab_items(config: LabProbeItems, world: World, seed: int) -> Iterator[ProbeItem]:
    """Yield the questions of all tasks, as many of each; the first tasks have one more."""
    whole, rest = divmod(config.n, len(config.tasks))
    for place, task in enumerate(config.tasks):
        n_items = whole + (place < rest)
        for item in lab_items(world, task, n_items=n_items, n_development=0, seed=seed):
            rng = random.Random(f"wrong {seed} {item.item_id}")
            yield ProbeItem(
                item_id=item.item_id,
                prompt=item.prompt,
                right=item.answers[0],
                wrong=_wrong_answer(item, world, rng),
                cluster_id=f"{task}/{item.cluster_id}",
            )


def _wrong_answer(item: Item, world: World, rng: random.Random) -> str:
    """Return a wrong answer that is like the right one."""
    right = item.answers[0]
    match item.task:
        case "facts":
            attribute = item.item_id.rpartition("/")[2]
            values = {
                person.facts[attribute] for person in world.people if attribute in person.facts
            }
            return rng.choice(sorted(values - {right}))
        case "addition":
            return str(int(right) + rng.choice((-10, -1, 1, 10)))
        case "largest":
            return str(rng.choice(sorted(set(re.findall(r"\d+", item.prompt)) - {right})))
        case _:
            return _swapped(right.split(), rng)


def _swapped(parts: list[str], rng: random.Random) -> str:
    """Return a row of letters or words with two neighbours swapped, or with another last letter."""
    places = [i for i in range(len(parts) - 1) if parts[i] != parts[i + 1]]
    if not places:
        others = sorted(set(string.ascii_lowercase) - {parts[-1]})
        return " ".join([*parts[:-1], rng.choice(others)])
    i = rng.choice(places)
    return " ".join([*parts[:i], parts[i + 1], parts[i], *parts[i + 2 :]])
