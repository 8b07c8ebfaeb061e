"""A finished run -> the pairs that are rated, in an order and under ids that tell nothing.

Which arms meet is the user's choice, or every imitator against its teacher and its own base. Items
are dealt so that a request comes back as seldom as possible: whoever sees the same answer win three
times knows who wrote it. In each contest an arm stands first as often as second.
"""

from __future__ import annotations

import dataclasses
import json
import random
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.errors import DataError, UserError
from evals.judges.pairs import Order
from evals.records import Axis, Completion, Format, Item, read_records
from imitate.plan import TEACHER
from imitate.rating.sheet import Check, Rated, Texts

__all__ = ["Contest", "Drawing", "RunTexts", "draw_pairs", "find_contests", "read_run_texts"]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Attributes:
        tasks: From which tasks; those of the style axis where empty.
        contests: Which arms meet, as `ARM:ARM`; the default ones where empty.
        n_items: Items of each contest and task, at most.
        n_checks: Attention checks.
        seed: Seed of all that is random. Nobody who rates may know it: it tells the order.
    """

    tasks: tuple[str, ...] = ()
    contests: tuple[str, ...] = ()
    n_items: int = 20
    n_checks: int = 8
    seed: int = dataclasses.field(default_factory=lambda: secrets.randbits(48))


@dataclasses.dataclass(frozen=True)
class Contest:
    """Two arms that meet."""

    arm: str
    against: str


@dataclasses.dataclass(frozen=True)
class RunTexts:
    """What a run has to be rated: its arms, its items that score, and what was answered in chat."""

    name: str
    arms: tuple[Mapping[str, Any], ...]
    items: tuple[Item, ...]
    texts: Texts

    def has(self, arm: str, item: Item) -> bool:
        """Whether an arm has answered an item."""
        return (arm, item.item_id) in self.texts.answers


def read_run_texts(folder: Path) -> RunTexts:
    """Return what a finished run can have rated.

    Raises:
        DataError: The run has no records.
    """
    records = folder / "records"
    if not (records / "completions.parquet").is_file():
        raise DataError(
            "there is no `records/` in this run",
            where=str(folder),
            hint="give `imitate run` again: it reuses all cells and writes the records",
        )
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    items = [i for i in read_records(records / "items.parquet", Item) if not i.is_development]
    answers = {
        (one.arm, one.item_id): one.text
        for one in read_records(records / "completions.parquet", Completion)
        if one.format is Format.CHAT and one.sample == 0 and one.finish_reason != "error"
    }
    texts = Texts({item.item_id: item.prompt for item in items}, answers)
    return RunTexts(results["name"], tuple(results["arms"]), tuple(items), texts)


def find_contests(run: RunTexts, wanted: Sequence[str]) -> list[Contest]:
    """Return which arms meet.

    By default every imitator, planted arms and controls apart, meets the teacher and its own base;
    a teacher without answers meets nobody.

    Raises:
        UserError: A contest names no two arms that have answered.
    """
    answered = {arm for arm, _ in run.texts.answers}
    if wanted:
        return [_parse(text, answered) for text in dict.fromkeys(wanted)]
    found = [
        Contest(entry["arm"], other)
        for entry in run.arms
        if entry["kind"] == "imitator" and not entry["is_planted"] and not entry["is_control"]
        for other in (TEACHER, entry["base"])
    ]
    there = [one for one in found if {one.arm, one.against} <= answered]
    if not there:
        raise UserError(
            "this run has no imitator to rate", hint="name two of its arms: --pairs ARM:ARM"
        )
    return there


def draw_pairs(run: RunTexts, contests: Sequence[Contest], drawing: Drawing) -> list[Rated]:
    """Return the pairs and the checks, shuffled, under random ids.

    Raises:
        UserError: A task is not there, or there are too few answers.
    """
    rng = random.Random(drawing.seed)
    tasks = _tasks(run, drawing.tasks)
    pairs: list[Rated] = []
    for task in tasks:
        items = [item for item in run.items if item.task == task]
        rng.shuffle(items)
        pairs += _deal(run, contests, items, drawing.n_items, rng)
    if not pairs:
        raise UserError(f"no item of {_listed(tasks)} was answered in chat by two arms that meet")
    items = [item for item in run.items if item.task in tasks]
    checks = _draw_checks(run, contests, items, drawing.n_checks, rng)
    shuffled = rng.sample([*pairs, *checks], len(pairs) + len(checks))
    named = zip(shuffled, _ids(rng), strict=False)
    return [dataclasses.replace(pair, id=new) for pair, new in named]


def _parse(text: str, answered: Iterable[str]) -> Contest:
    known = sorted(answered)
    arm, _, against = text.partition(":")
    wrong = [name for name in (arm, against) if name not in known]
    if wrong:
        raise UserError(
            f"`--pairs {text}`: no arm `{wrong[0]}` has answered",
            hint=f"two of these with a colon between: {', '.join(known)}",
        )
    if arm == against:
        raise UserError(f"`--pairs {text}`: an arm cannot meet itself")
    return Contest(arm, against)


def _tasks(run: RunTexts, wanted: Sequence[str]) -> list[str]:
    axes = {item.task: item.axis for item in run.items}
    unknown = [task for task in wanted if task not in axes]
    if unknown:
        raise UserError(f"`--task {unknown[0]}`: no such task", hint=f"tasks: {', '.join(axes)}")
    found = list(dict.fromkeys(wanted)) or [t for t, axis in axes.items() if axis is Axis.STYLE]
    if not found:
        raise UserError("this run has no task of style", hint=f"--task, one of {', '.join(axes)}")
    return found


def _deal(
    run: RunTexts,
    contests: Sequence[Contest],
    items: Sequence[Item],
    n_items: int,
    rng: random.Random,
) -> list[Rated]:
    """Return the pairs of one task: each contest gets the items that were dealt least so far."""
    n_dealt: Counter[str] = Counter()
    pairs = []
    for one in contests:
        able = [item for item in items if run.has(one.arm, item) and run.has(one.against, item)]
        hand = sorted(able, key=lambda item: n_dealt[item.item_id])[:n_items]
        n_dealt.update(item.item_id for item in hand)
        orders = [Order.FIRST, Order.SECOND] * (len(hand) // 2 + 1)
        start = rng.randrange(2)  # of an odd number, who stands first once more
        places = rng.sample(orders[start : start + len(hand)], len(hand))
        pairs += [_pair(item, one, order) for item, order in zip(hand, places, strict=True)]
    return pairs


def _pair(item: Item, contest: Contest, order: Order) -> Rated:
    return Rated(
        id="",
        item_id=item.item_id,
        task=item.task,
        cluster_id=item.cluster_id,
        arm=contest.arm,
        against=contest.against,
        order=order,
    )


def _draw_checks(
    run: RunTexts,
    contests: Sequence[Contest],
    items: Sequence[Item],
    n_checks: int,
    rng: random.Random,
) -> list[Rated]:
    """Return the attention checks, by the teacher's answers where it meets anybody."""
    arms = [one.against for one in contests] + [one.arm for one in contests]
    arm = TEACHER if TEACHER in arms else arms[0]
    able = [item for item in items if run.has(arm, item) and run.texts.answers[arm, item.item_id]]
    rng.shuffle(able)
    if len(able) < n_checks:
        raise UserError(
            f"{n_checks} attention checks need as many items that `{arm}` has answered, "
            f"there are {len(able)}",
            hint="give a smaller --attention",
        )
    checks: list[Rated] = []
    for number, item in enumerate(able[:n_checks]):
        check = _pair(item, Contest(arm, arm), Order(rng.randrange(2)))
        kind = (Check.OTHER, Check.SAME)[number % 2]
        used = {one.other_item for one in checks}
        other = _farthest(run, item, able, arm, used) if kind is Check.OTHER else ""
        checks.append(dataclasses.replace(check, check=kind, other_item=other))
    return checks


def _farthest(
    run: RunTexts, item: Item, able: Sequence[Item], arm: str, used: Collection[str]
) -> str:
    """Return the item least like another, one that has not served yet where there is any."""
    own = run.texts.answers[arm, item.item_id]
    others = [
        other
        for other in able
        if other.cluster_id != item.cluster_id and run.texts.answers[arm, other.item_id] != own
    ]
    if not others:
        raise UserError(
            f"no attention check can be made: `{arm}` answers everything alike",
            hint="--attention 0 leaves the checks out",
        )
    words = _words(item.prompt)
    return min(
        others, key=lambda one: (one.item_id in used, len(words & _words(one.prompt)))
    ).item_id


def _words(text: str) -> set[str]:
    return set(text.lower().split())


def _ids(rng: random.Random) -> Iterable[str]:
    seen: set[str] = set()
    while True:
        new = f"p{rng.getrandbits(40):010x}"  # a letter: no spreadsheet takes it for a number
        if new not in seen:
            seen.add(new)
            yield new


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
