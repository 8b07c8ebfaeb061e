"""The tables that the probe learns: operations modulo p, and which of their rows are trained on.

In: an operation's name, p, the share to train on and a seed. Out: a `Table`: pairs, answers, and
which of them are seen. The operations are a closed list, each an expression over a and b; where an
operation is that of a cyclic group, it says in which coordinates it is a sum.

Source: Power et al. (2022), appendix A.1.1, whose list of binary operations this is, with a * b and
a table without a rule beside them; Nanda et al. (2023) train on a + b with p = 113.

Glossary: p modulus; N pairs; n order of the group.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evals.errors import DataError

__all__ = ["OPERATIONS", "Coordinates", "Table", "make_table"]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

LEAST_P = 5

OPERATIONS: dict[str, Callable[[IntArray, IntArray], IntArray]] = {
    "a+b": lambda a, b: a + b,
    "a-b": lambda a, b: a - b,
    "a*b": lambda a, b: a * b,
    "a/b": lambda a, b: a,  # times the inverse of b: `_answers`
    "a^2+b^2": lambda a, b: a**2 + b**2,
    "a^2+ab+b^2": lambda a, b: a**2 + a * b + b**2,
    "a^2+ab+b^2+a": lambda a, b: a**2 + a * b + b**2 + a,
    "a^3+ab": lambda a, b: a**3 + a * b,
    "a^3+ab^2+b": lambda a, b: a**3 + a * b**2 + b,
    "random": lambda a, b: a,  # no rule: `_answers` draws them
}
"""Name to expression, all modulo p. `random` is the table that can only be memorised."""

_SUMS = {"a+b": 1, "a-b": -1, "random": 1}
"""A table without a rule is measured as though it were a sum: a control for the measures."""

_PRODUCTS = {"a*b": 1, "a/b": -1}


@dataclasses.dataclass(frozen=True, eq=False)
class Coordinates:
    """Names of residues in which an operation is x + y modulo n.

    Attributes:
        first: (n,) the residue a of every x.
        second: (n,) the residue b of every y.
        answer: (n,) the residue c of every z = x + y.
    """

    first: IntArray
    second: IntArray
    answer: IntArray

    @property
    def order(self) -> int:
        """The order n of the group."""
        return len(self.answer)


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """All rows of an operation, and which of them are trained on.

    Attributes:
        operation: Its name.
        p: Modulus.
        pairs: (N, 2) a and b, in the order of a, then b.
        answers: (N,).
        is_train: (N,).
    """

    operation: str
    p: int
    pairs: IntArray
    answers: IntArray
    is_train: BoolArray

    @functools.cached_property
    def is_fresh(self) -> BoolArray:
        """(N,) whether a row was neither trained on, nor its mirror where the operation commutes.

        Who has stored a + b can answer b + a without computing anything.
        """
        answer = np.full((self.p, self.p), -1)
        answer[self.pairs[:, 0], self.pairs[:, 1]] = self.answers
        if (answer != answer.T).any():
            return ~self.is_train
        is_seen = np.zeros((self.p, self.p), dtype=bool)
        is_seen[self.pairs[:, 0], self.pairs[:, 1]] = self.is_train
        is_seen |= is_seen.T
        return np.asarray(~is_seen[self.pairs[:, 0], self.pairs[:, 1]])

    @functools.cached_property
    def coordinates(self) -> Coordinates | None:
        """Coordinates in which the operation is a sum; None where it is not a cyclic group's.

        A product is a sum of discrete logarithms, for all residues but 0.
        """
        if self.operation in _SUMS:
            places = np.arange(self.p)
            return Coordinates(places, _SUMS[self.operation] * places % self.p, places)
        if self.operation in _PRODUCTS:
            powers = _powers_of_generator(self.p)
            signs = _PRODUCTS[self.operation] * np.arange(self.p - 1) % (self.p - 1)
            return Coordinates(powers, powers[signs], powers)
        return None


def make_table(operation: str, p: int, train_fraction: float, seed: int) -> Table:
    """Return the table of an operation, with a random share of its rows to train on.

    Raises:
        DataError: p is even or under 5, the operation is none of the list or needs a prime p, or
            the share leaves nothing to train on or nothing to test.
    """
    _refuse_unfit(operation, p)
    a, b = (axis.ravel() for axis in np.meshgrid(np.arange(p), np.arange(p), indexing="ij"))
    if operation == "a/b":
        a, b = a[b > 0], b[b > 0]
    n_train = int(train_fraction * len(a))
    if not 0 < n_train < len(a):
        left = "nothing to test" if n_train else "nothing to train on"
        raise DataError(f"a share of {train_fraction:g} of {len(a):,} pairs leaves {left}")
    rng = np.random.default_rng([seed, p])
    is_train = np.zeros(len(a), dtype=bool)
    is_train[rng.permutation(len(a))[:n_train]] = True
    return Table(
        operation=operation,
        p=p,
        pairs=np.stack([a, b], axis=1),
        answers=_answers(operation, a, b, p, rng),
        is_train=is_train,
    )


def _refuse_unfit(operation: str, p: int) -> None:
    if operation not in OPERATIONS:
        raise DataError(f"no operation `{operation}`: there are {', '.join(OPERATIONS)}")
    if p < LEAST_P or p % 2 == 0:
        raise DataError(
            f"`p` must be odd and at least {LEAST_P}, got {p}", hint="the paper has p = 113"
        )
    if operation in _PRODUCTS and not _is_prime(p):
        raise DataError(
            f"`{operation}` needs a prime p, got {p}", hint="else not every residue has an inverse"
        )


def _answers(
    operation: str, a: IntArray, b: IntArray, p: int, rng: np.random.Generator
) -> IntArray:
    if operation == "random":
        return rng.integers(0, p, len(a))
    if operation == "a/b":
        inverse = np.array([0, *(pow(one, -1, p) for one in range(1, p))])
        return np.asarray(a * inverse[b] % p)
    return np.asarray(OPERATIONS[operation](a, b) % p)


def _powers_of_generator(p: int) -> IntArray:
    """Return (p - 1,) the powers of the least number whose powers are all residues but 0."""
    for base in range(2, p):
        powers = [1]
        while (following := powers[-1] * base % p) != 1:
            powers.append(following)
        if len(powers) == p - 1:
            return np.array(powers)
    raise AssertionError(f"{p} is no prime")


def _is_prime(p: int) -> bool:
    return all(p % divisor for divisor in range(2, int(p**0.5) + 1))
