"""Wipes the gaps of a database's pages: where SQLite moves a row to another page, its bytes stay in the gap of the old.

`secure_delete` wipes what is deleted, not what was moved; `VACUUM` does, and holds the connection for 10 s a GiB.

Rules
1. The gap of a b-tree page is what lies between its list of cells and the first cell: no byte of it means anything.
2. Only these bytes are written, in place: SQLite itself trusts that a write leaves the bytes beside it alone, also when
   the power fails (its "powersafe overwrite").
3. A page is none of a b-tree when it is one of the pointer map, or begins with the number of another page, as overflow
   and free pages do; so it is told apart up to 2**24 pages, 64 GiB.

Source: sqlite.org/fileformat2.html, sections 1.3 (header), 1.6 (b-tree pages), 1.8 (pointer map).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from tarsd.wire import MIB

MAX_PAGES = 2**24
_CHUNK_BYTES = 4 * MIB
_HEADER_BYTES = 100
_LOCK_BYTE = 2**30
_LEAVES, _INTERIORS = frozenset((10, 13)), frozenset((2, 5))  # of an index and of a table


class Layout(NamedTuple):
    """What the database's header says of its pages."""

    page_bytes: int
    usable_bytes: int
    pages: int
    has_pointer_map: bool

    def is_pointer_map(self, number: int) -> bool:
        """Tell whether a page says whose child each of the following is."""
        if (
            number == _LOCK_BYTE // self.page_bytes + 2
        ):  # the page before is never used: it has moved here, if due there
            return self._is_due(number) or self._is_due(number - 1)
        return self._is_due(number)

    def _is_due(self, number: int) -> bool:
        return self.has_pointer_map and number >= 2 and (number - 2) % (self.usable_bytes // 5 + 1) == 0


def layout_of(header: bytes, file_bytes: int) -> Layout:
    """Read a database's first 100 bytes."""
    page_bytes = int.from_bytes(header[16:18]) if header[16:18] != b"\0\1" else 65536
    return Layout(page_bytes, page_bytes - header[20], file_bytes // page_bytes, any(header[52:56]))


def gap_of(page: memoryview, number: int, layout: Layout) -> tuple[int, int]:
    """Return where a page's gap begins and ends, (0, 0) when it has none (rules 1 and 3)."""
    at = _HEADER_BYTES if number == 1 else 0
    if page[at] in _LEAVES:
        first = at + 8
    elif page[at] in _INTERIORS and not layout.is_pointer_map(number):
        first = at + 12
    else:
        return 0, 0
    first += 2 * (page[at + 3] << 8 | page[at + 4])
    last = (page[at + 5] << 8 | page[at + 6]) or 65536
    return (first, last) if first < last <= layout.usable_bytes else (0, 0)


def uncleared(file: int) -> list[int]:
    """Return the pages whose gap holds bytes; it reads the whole file, so call it beside the event loop."""
    layout = layout_of(os.pread(file, _HEADER_BYTES, 0), os.fstat(file).st_size)
    found: list[int] = []
    step = _CHUNK_BYTES // layout.page_bytes
    zeros = bytes(layout.page_bytes)
    for before in range(0, min(layout.pages, MAX_PAGES), step):
        chunk = memoryview(os.pread(file, _CHUNK_BYTES, before * layout.page_bytes))
        for number in range(before + 1, before + 1 + len(chunk) // layout.page_bytes):
            at = (number - before - 1) * layout.page_bytes
            page = chunk[at : at + layout.page_bytes]
            first, last = gap_of(page, number, layout)
            if page[first:last] != zeros[first:last]:
                found.append(number)
    return found


def clear(file: int, pages: Iterable[int]) -> None:
    """Wipe the gaps of these pages as they are now; nobody may write the database meanwhile, and its WAL is empty."""
    layout = layout_of(os.pread(file, _HEADER_BYTES, 0), os.fstat(file).st_size)
    for number in pages:
        at = (number - 1) * layout.page_bytes
        page = os.pread(file, layout.page_bytes, at)
        if len(page) == layout.page_bytes:  # the file may have become shorter
            first, last = gap_of(memoryview(page), number, layout)
            os.pwrite(file, bytes(last - first), at + first)
