"""Loops over cells and tokens, compiled once a machine.

Numbers and arrays of numbers in, the same out. Annotations are for the reader: types are found at
the first call. A compiled function calls none of another file: what is kept on disk is not made
again when that one changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

__all__ = ["compiled"]


Given = ParamSpec("Given")
Found = TypeVar("Found")


def compiled(function: Callable[Given, Found]) -> Callable[Given, Found]:
    """Return a function as machine code, kept on disk for the next process."""
    found: Callable[Given, Found] = numba.njit(cache=True, nogil=True)(function)
    return found
