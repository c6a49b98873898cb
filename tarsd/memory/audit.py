"""The nightly look at the database: pages, chains, what is visible against the log, the keyword index.

Each step holds the connection for one batch only, so questions go on meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from tarsd.memory.database import DamagedDatabase, Database, suspect
from tarsd.memory.derive import WINNER
from tarsd.memory.ledger import from_row
from tarsd.memory.log import EMPTY, Head, fault
from tarsd.memory.schema import LOG_COLUMNS, SEARCHED

_BATCH = 500


async def find_problems(database: Database, heads: Mapping[str, Head]) -> list[str]:
    """Return what is wrong, as sentences for a person; [] when all is well."""
    if problems := await _pages(database):  # all else that is found would only follow from that
        suspect(database.path)
        return [*problems, "database: it is mended when tarsd is started again"]
    for origin in heads:
        problems += await _chain(database, origin)
    problems += await _visible(database)
    problems += await _keywords(database)
    problems += await _quarantine(database)
    return problems


async def _pages(database: Database) -> list[str]:
    try:
        async with database.reading():
            found = [row[0] for row in await database.rows("PRAGMA quick_check(10)")]
    except DamagedDatabase as error:
        return [f"database: {error}"]
    return [] if found == ["ok"] else [f"database: {line}" for line in found]


async def _chain(database: Database, origin: str) -> list[str]:
    head = EMPTY
    while True:
        async with database.reading():
            found = await database.rows(
                f"SELECT {LOG_COLUMNS} FROM log WHERE origin = ? AND seq > ? ORDER BY seq LIMIT ?",  # noqa: S608
                (origin, head.seq, _BATCH),
            )
        if not found:
            return []
        for record in map(from_row, found):
            broken = record.seq != head.seq + 1 or record.prev_sha != head.sha
            if reason := fault(record) or ("the chain is broken" if broken else ""):
                return [f"record {origin}:{record.seq}: {reason}"]
            head = Head(record.seq, record.sha)


async def _visible(database: Database) -> list[str]:
    wrong, last = 0, 0
    while True:
        async with database.reading():
            end = await database.value("SELECT MAX(id) FROM (SELECT id FROM log WHERE id > ? LIMIT ?)", (last, _BATCH))
            if end is None:
                break
            wrong += await database.value(
                f"""SELECT COUNT(*) FROM (SELECT DISTINCT key FROM log WHERE id > ? AND id <= ?) AS touched
                    WHERE ({WINNER}) IS NOT (SELECT id FROM visible WHERE visible.key = touched.key)""",  # noqa: S608
                (last, end),
            )
            last = end
    return [f"derived tables: {wrong} keys show the wrong record"] if wrong else []


async def _keywords(database: Database) -> list[str]:
    async with database.reading():
        try:
            await database.run("INSERT INTO keywords (keywords) VALUES ('integrity-check')")
        except sqlite3.DatabaseError as error:
            return [f"keyword index: {error}"]
        indexed = await database.value("SELECT COUNT(*) FROM keywords")
        tables = " UNION ALL ".join(f"SELECT id FROM {table}" for table in SEARCHED)  # noqa: S608
        shown = await database.value(f"SELECT COUNT(*) FROM ({tables})")  # noqa: S608
    return [] if indexed == shown else [f"keyword index: {indexed} texts indexed of {shown}"]


async def _quarantine(database: Database) -> list[str]:
    async with database.reading():
        found = await database.rows(
            "SELECT origin, reason, COUNT(*), MIN(seq) FROM quarantine GROUP BY origin, reason ORDER BY origin"
        )
        unreadable = await database.rows("SELECT origin, COUNT(*), MIN(seq) FROM log WHERE state = 2 GROUP BY origin")
    return [f"quarantine: {many} from {origin}, first {seq}: {reason}" for origin, reason, many, seq in found] + [
        f"unreadable: {many} from {origin}, first {seq}" for origin, many, seq in unreadable
    ]
