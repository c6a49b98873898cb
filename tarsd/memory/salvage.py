"""Takes what can still be read of a damaged database into the new one: a PC that is alone loses no more than what
stood on the damaged pages.

Rules
1. Only the records are read: all else derives from them, but for the vectors, which are made anew.
2. A record counts when its seal fits. Where others before it are lost, what follows goes on under a name of its own, as
   a branch that gave way does (`log`, rule 7): that chain has no hole, and peers bring what is missing of the old one.
   A damaged row may be read as anything, and the highest number too: after `_MOST_LOST` in a row without one it ends.
3. The damaged file is only read, but that its WAL is moved into it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
from msgspec.structs import asdict, replace

from tarsd.calls import Record
from tarsd.memory.ledger import from_row
from tarsd.memory.log import EMPTY, Head, branch_name, digest, fault, is_erased, seal
from tarsd.memory.schema import LOG_COLUMNS

_BATCH = 200
_MOST_LOST = 20_000  # numbers in a row that hold nothing: a damaged inner page leads to fewer records


class Chains:
    """Puts records, in the order in which they were kept, into chains without holes (rule 2)."""

    def __init__(self) -> None:
        self._ends: dict[
            str, tuple[str, Head, bytes]
        ] = {}  # by origin: its name now, that end, the last seal as it was

    def whole(self, record: Record) -> Record:
        """Return the record as it is taken in."""
        name, head, last = self._ends.get(record.origin, (record.origin, EMPTY, EMPTY.sha))
        if record.prev_sha != last:
            name, head = branch_name(record.origin, record.sha), EMPTY
        taken = record
        if name != record.origin:
            draft = replace(record, origin=name, seq=head.seq + 1, prev_sha=head.sha)
            taken = replace(draft, sha=seal(draft, record.body if is_erased(record) else digest(record.body)))
        self._ends[record.origin] = name, Head(taken.seq, taken.sha), record.sha
        return taken


def readable(path: Path) -> Iterator[list[Record]]:
    """Yield the sound records of a damaged database, in the order in which they were kept. Blocks on the disk."""
    chains = Chains()
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=1.0, check_same_thread=False)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        last, end, lost = 0, _end(connection), 0
        while last < end and lost < _MOST_LOST:
            found, until = _some(connection, last, end)
            yield [chains.whole(each) for each in found if not fault(each)]
            lost = 0 if found else lost + until - last
            last = until


def _end(connection: sqlite3.Connection) -> int:
    """Return a number that no record is beyond."""
    for sql in ("SELECT MAX(id) FROM log", "SELECT MAX(id) FROM visible"):
        with suppress(sqlite3.Error):
            return int(connection.execute(sql).fetchone()[0] or 0)
    return _MOST_LOST


def _some(connection: sqlite3.Connection, last: int, end: int) -> tuple[list[Record], int]:
    """Return some records after a number, and up to which one that was; one by one where a page is damaged."""
    until = min(last + _BATCH, end)
    with suppress(sqlite3.Error, UnicodeDecodeError):
        return _between(connection, last, until), until
    found: list[Record] = []
    for number in range(last + 1, until + 1):
        with suppress(sqlite3.Error, UnicodeDecodeError):
            found += _between(connection, number - 1, number)
    return found, until


def _between(connection: sqlite3.Connection, last: int, until: int) -> list[Record]:
    columns = f"SELECT {LOG_COLUMNS} FROM log NOT INDEXED WHERE id > ? AND id <= ? ORDER BY id"  # noqa: S608
    found: list[Record] = []
    for row in connection.execute(columns, (last, until)):
        with suppress(msgspec.ValidationError):  # a damaged row may be read as anything
            found.append(msgspec.convert(asdict(from_row(row)), Record))
    return found


async def next_of(batches: Iterator[list[Record]]) -> list[Record] | None:
    """Return the next batch without holding up the loop; None at the end."""
    return await asyncio.to_thread(next, batches, None)
