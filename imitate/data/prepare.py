"""Examples to training data: every step in its order, each counted in the data card.

The order: normalise, empty, too long, exact duplicates, near duplicates, language, contamination,
category mix, held-out prompts, amount. A row is parked on disk while it is decided on
(`imitate.data.scan`), so that memory holds what is kept and some 40 bytes for each row read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evals.errors import DataError
from evals.records import Example, Item
from imitate.config import DataConfig
from imitate.data.card import DataCard, SourceCard
from imitate.data.decontaminate import Decontaminator
from imitate.data.dedup import find_near_duplicates
from imitate.data.funnel import Funnel, Origin, make_card
from imitate.data.language import is_kept
from imitate.data.scan import scan_rows
from imitate.data.select import (
    Strata,
    draw_keys,
    hold_out,
    keep_quotas,
    order_examples,
    stratify,
)
from imitate.data.spill import Spill

__all__ = ["Prepared", "prepare"]

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """Training examples in order, held-out ones of other prompts, and how both came about.

    A smaller amount is a prefix of `train`.
    """

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    card: DataCard


def prepare(
    examples: Iterable[Example],
    data: DataConfig,
    *,
    items: Sequence[Item] = (),
    support: Mapping[str, Sequence[str]] | None = None,
    amount: int | None = None,
    seed: int = 0,
    sources: Sequence[SourceCard] = (),
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Return the training data that these examples make.

    Args:
        examples: Examples as they come; read once.
        data: What each step does.
        items: Every evaluation item that must not be given away.
        support: Keys that an item asks for, by `item_id`, where the source knows its rows' keys.
        amount: Training examples wanted; all that there are where empty.
        seed: Seed of the order, the held-out prompts and the category mix.
        sources: Cards of the sources, complete once `examples` is read to its end.
        progress: Called with the number of rows read so far.

    Raises:
        DataError: Nothing is left, or less than the amount; the message says what took it.
    """
    index = None
    if data.decontaminate and items:
        index = Decontaminator(items, ngram=data.decontaminate_ngram, support=support)
    with tempfile.TemporaryDirectory(prefix="imitate-data-") as folder:
        table, spill = scan_rows(examples, data, index, Path(folder), progress or _ignore)
        funnel = Funnel(table)
        _drop_rows(funnel, data, is_decontaminated=index is not None)
        keys = draw_keys(table.rows["content"], seed, "order")
        strata = _mix(funnel, data, keys)
        held_out = _hold_out(funnel, data, keys, seed)
        train = _take_amount(funnel, keys, strata, amount)
        checked = items if index else ()
        n_exact = sum(bool(support and support.get(item.item_id)) for item in checked)
        origin = Origin(tuple(sources), len(checked), n_exact, seed)
        card = make_card(funnel, train, held_out, spill, origin)
        return Prepared(_fetch(spill, train), _fetch(spill, held_out), card)


def _drop_rows(funnel: Funnel, data: DataConfig, *, is_decontaminated: bool) -> None:
    """Take the steps from exact duplicates to contamination."""
    table = funnel.table
    if data.exact_duplicates:
        _, first_seen = np.unique(table.rows["content"], return_index=True)
        is_repeated = np.ones(len(table.rows), np.bool_)
        is_repeated[first_seen] = False
        funnel.drop("exact_duplicate", is_repeated)
    else:
        funnel.skip("exact_duplicate")
    if data.near_duplicates.enabled and len(table.rows):
        threshold = data.near_duplicates.threshold
        repeated = find_near_duplicates(table.open_signatures(), funnel.left, threshold)
        funnel.drop("near_duplicate", repeated)
    else:
        funnel.skip("near_duplicate")
    funnel.note_languages()
    kept = [is_kept(name, data.language) for name in table.language_names]
    is_foreign = ~np.array([*kept, True])[table.rows["language"]]
    funnel.drop("language", is_foreign, is_enabled=data.language != "any")
    is_hit = np.zeros(len(table.rows), np.bool_)
    is_hit[list(table.hits)] = True
    funnel.contaminated = funnel.drop("contaminated", is_hit, is_enabled=is_decontaminated)


def _mix(funnel: Funnel, data: DataConfig, keys: Hashes) -> Strata | None:
    """Bring the categories to their shares, and return each row's stratum."""
    table, rows = funnel.table, funnel.rows()
    if not data.category_shares or not len(rows):
        funnel.skip("category_mix")
        return None
    codes = table.rows["category"].astype(np.int64)
    strata = stratify(table.category_names, codes, funnel.left, data.category_shares)
    is_surplus = np.zeros(len(table.rows), np.bool_)
    is_surplus[rows] = ~keep_quotas(keys[rows], strata.at(rows))
    funnel.drop("category_mix", is_surplus)
    return strata


def _hold_out(funnel: Funnel, data: DataConfig, keys: Hashes, seed: int) -> Ints:
    """Move the held-out prompts' rows out of training, and return them in order."""
    rows = funnel.rows()
    rows = rows[funnel.table.rows["prompt_chars"][rows] > 0]  # documents answer no prompt
    prompts = funnel.table.rows["prompt"][rows]
    is_held_out = np.zeros(len(funnel.left), np.bool_)
    is_held_out[rows] = hold_out(prompts, data.held_out, data.max_held_out, seed)
    held_out = funnel.drop("held_out", is_held_out, is_enabled=data.held_out > 0)
    return held_out[np.argsort(keys[held_out], kind="stable")]


def _take_amount(funnel: Funnel, keys: Hashes, strata: Strata | None, amount: int | None) -> Ints:
    """Return the training rows in order.

    Raises:
        DataError: There are fewer than asked for, or none.
    """
    rows = funnel.rows()
    if not len(rows):
        raise DataError(
            f"no training example is left: {funnel.tell()}",
            hint="loosen or switch off the step that took most, under `data`",
        )
    if amount is not None and len(rows) < amount:
        raise DataError(
            f"{amount:,} training examples are wanted, {len(rows):,} are left: {funnel.tell()}",
            hint=f"add sources, loosen a step under `data`, or ask for at most {len(rows):,}",
        )
    order = rows[order_examples(keys[rows], strata.at(rows) if strata else None)][:amount]
    is_beyond = funnel.left.copy()
    is_beyond[order] = False
    funnel.drop("beyond_amount", is_beyond, is_enabled=amount is not None)
    return order


def _fetch(spill: Spill, order: Ints) -> tuple[Example, ...]:
    """Return the parked examples of these rows, in this order."""
    place = np.argsort(order, kind="stable")
    fetched: list[Example | None] = [None] * len(order)
    taken = spill.take(order[place].tolist())
    for position, (_, example) in zip(place.tolist(), taken, strict=True):
        fetched[position] = example
    return tuple(example for example in fetched if example is not None)


def _ignore(rows: int) -> None:
    """Tell nobody."""
