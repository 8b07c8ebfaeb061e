"""Which examples train, which are held out, and in which order: pure functions of content hashes.

Every draw is a hash of what the row says and of the seed, never of its place in a file: the same
rows give the same selection in whatever order they come.

Notation: `N` rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evals.errors import ConfigError, DataError
from imitate.data.words import hash_text, mix_hashes

__all__ = [
    "Strata",
    "draw_keys",
    "hold_out",
    "keep_quotas",
    "order_examples",
    "stratify",
]

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def draw_keys(hashes: Hashes, seed: int, purpose: str) -> Hashes:
    """Return a pseudo-random key for each hash, shape (N,): equal hashes get equal keys."""
    return mix_hashes(hashes ^ np.uint64(hash_text(f"{purpose}|{seed}")))


def hold_out(prompts: Hashes, share: float, max_prompts: int, seed: int) -> Mask:
    """Return which rows are held out, shape (N,): all rows of the prompts drawn.

    Args:
        prompts: Hash of each row's normalised prompt, shape (N,).
        share: Share of the distinct prompts to hold out.
        max_prompts: Prompts at most.
        seed: Seed of the draw.
    """
    distinct = np.unique(prompts)
    n_held_out = min(round(share * len(distinct)), max_prompts)
    if n_held_out == 0:
        return np.zeros(len(prompts), np.bool_)
    keys = draw_keys(distinct, seed, "held out")
    drawn = distinct[np.argsort(keys, kind="stable")[:n_held_out]]
    return np.isin(prompts, drawn)


@dataclass(frozen=True)
class Strata:
    """The stratum of each row, shape (N,), and how many rows of each stratum are wanted."""

    of_row: Ints
    quotas: Ints

    def at(self, rows: Ints) -> Strata:
        """Return the strata of some of the rows."""
        return Strata(self.of_row[rows], self.quotas)


def stratify(names: Sequence[str], codes: Ints, left: Mask, shares: Mapping[str, float]) -> Strata:
    """Return a stratum for each category that has a share, and the largest exact mix.

    Where the shares add up to less than 1, all other categories together are one more stratum,
    which fills the rest; where they add up to 1, the others are not wanted.

    Args:
        names: Categories by code.
        codes: Category code of each row, shape (N,).
        left: Which rows there are to choose from, shape (N,).
        shares: Wanted share of each category.

    Raises:
        ConfigError: The shares add up to more than 1.
        DataError: A category with a share has no rows.
    """
    rest = 1 - sum(shares.values())
    if rest < -1e-9:
        raise ConfigError(f"`data.category_shares` add up to {1 - rest:g}, more than 1")
    stratum_of = {name: stratum for stratum, name in enumerate(shares)}
    lookup = np.array([stratum_of.get(name, len(shares)) for name in names], np.int64)
    of_row = lookup[codes]
    counts = np.bincount(of_row[left], minlength=len(shares) + 1)
    absent = [name for name, count in zip(shares, counts, strict=False) if not count]
    if absent:
        raise DataError(
            f"`data.category_shares` names `{absent[0]}`, of which no row is left; "
            f"categories are {', '.join(sorted(filter(None, names))) or 'none'}",
            hint="`category_column` of the source says where categories come from",
        )
    wanted = np.array([*shares.values(), rest if rest > 1e-9 and counts[-1] else 0.0])
    wanted /= max(wanted.sum(), 1e-9)
    asked = wanted > 0
    size = (counts[asked] / wanted[asked]).min(initial=np.inf) if asked.any() else 0.0
    return Strata(of_row, np.floor(size * wanted + 1e-6).astype(np.int64))


def keep_quotas(keys: Hashes, strata: Strata) -> Mask:
    """Return which rows stay, shape (N,): of each stratum its quota, smallest keys first."""
    return _ranks(keys, strata.of_row) < strata.quotas[strata.of_row]


def order_examples(keys: Hashes, strata: Strata | None) -> Ints:
    """Return row positions in training order: a prefix of any length is a fair sample.

    With strata, every prefix holds them in the proportion of their quotas, to within a row each,
    until one runs out.
    """
    if strata is None:
        return np.argsort(keys, kind="stable")
    places = (_ranks(keys, strata.of_row) + 0.5) / np.maximum(strata.quotas, 1)[strata.of_row]
    order: Ints = np.lexsort((keys, places))
    return order


def _ranks(keys: Hashes, groups: Ints) -> Ints:
    """Return the rank of each key within its group, from 0."""
    order = np.lexsort((keys, groups))
    sorted_groups = groups[order]
    starts = np.flatnonzero(np.diff(sorted_groups, prepend=-1))
    ranks = np.empty(len(keys), np.int64)
    sizes = np.diff(np.append(starts, len(keys)))
    ranks[order] = np.arange(len(keys)) - np.repeat(starts, sizes)
    return ranks
