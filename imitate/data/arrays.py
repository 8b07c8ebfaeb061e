"""A JSON array, cut into its elements while it is read, so that no file need fit in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["ArrayCutter"]

_STRUCTURE = re.compile(rb'["{}\[\],]')
_INSIDE_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)


class ArrayCutter:
    """Cuts chunks of a JSON array into elements; it matches brackets and strings, no more.

    Args:
        max_bytes: Longer elements come out as None; their bytes are not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._parts: list[bytes] = []
        self._n_bytes = 0
        self._n_newlines = 0
        self.line = 1
        """Line at which the element being read starts."""
        self.is_closed = False
        """Whether the array has ended."""

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes | None]]:
        """Yield line and bytes of each element that ends in this chunk."""
        begin = position = 0
        while (mark := self._next_mark(chunk, position)) is not None:
            kind, position = mark
            if kind in b"{[":
                self._depth += 1
                if self._depth == 1:
                    self._keep(chunk[begin : position - 1])
                    self._start_element()
                    begin = position
            elif kind in b"}]":
                self._depth -= 1
                self.is_closed = self._depth == 0
            if self.is_closed or (kind == b"," and self._depth == 1):
                self._keep(chunk[begin : position - 1])
                begin = position
                yield from self._end_element()
            if self.is_closed:
                return
        self._keep(chunk[begin:])

    def _next_mark(self, chunk: bytes, position: int) -> tuple[bytes, int] | None:
        """Return the next bracket or comma outside strings and where it ends, or None."""
        while position < len(chunk):
            if self._in_string:
                position = self._leave_string(chunk, position)
                continue
            found = _STRUCTURE.search(chunk, position)
            if found is None:
                return None
            if found.group() != b'"':
                return found.group(), found.end()
            self._in_string = True
            position = found.end()
        return None

    def _leave_string(self, chunk: bytes, position: int) -> int:
        """Return the position behind the string's end, or the chunk's length."""
        position += self._is_escaped
        self._is_escaped = False
        found = _INSIDE_STRING.match(chunk, position)
        position = found.end() if found else position
        if position < len(chunk):
            # What stops the pattern is the closing mark, or a backslash at the chunk's end.
            self._in_string = chunk[position : position + 1] == b"\\"
            self._is_escaped = self._in_string
        return position + 1

    def _keep(self, part: bytes) -> None:
        if self._n_bytes == 0:
            bare = part.lstrip()
            self.line += part[: len(part) - len(bare)].count(b"\n")
            part = bare
        self._n_bytes += len(part)
        self._n_newlines += part.count(b"\n")
        if self._n_bytes <= self._max_bytes:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _end_element(self) -> Iterator[tuple[int, bytes | None]]:
        line, element = self.line, b"".join(self._parts)
        is_oversize = self._n_bytes > self._max_bytes
        is_nothing = self._n_bytes == 0 and self.is_closed
        self._start_element()
        if not is_nothing:
            yield line, None if is_oversize else element

    def _start_element(self) -> None:
        self.line += self._n_newlines
        self._parts, self._n_bytes, self._n_newlines = [], 0, 0
