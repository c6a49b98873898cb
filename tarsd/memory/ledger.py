"""The log's tables: reading heads, writing accepted records, keeping what waits, digging graves.

All functions run inside a transaction that the caller holds; what they decide comes from `log`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tarsd.calls import Record
from tarsd.memory import bodies
from tarsd.memory.database import Database, Row
from tarsd.memory.log import (
    Grave,
    Head,
    Refusal,
    State,
    ancestors,
    erase,
    graves_of,
    is_covered,
    is_erased,
)
from tarsd.memory.schema import LOG_COLUMNS

_COLUMNS = LOG_COLUMNS
_MARKS = "?, ?, ?, ?, ?, ?, ?, ?, ?"
# Records that came before their predecessors; more are dropped and asked for again.
MAX_WAITING = 10_000
# The newest refusals that are kept for a person to look at.
MAX_QUARANTINED = 1_000

# A key and all below it: "0" is the character after "/".
_UNDER = "(key = ?1 OR (key > ?1 || '/' AND key < ?1 || '0'))"


class Written(msgspec.Struct, frozen=True):
    """What writing did: the keys whose visible record may have changed, and how many bodies were erased."""

    keys: set[str]
    erased: int


def to_row(record: Record) -> tuple[object, ...]:
    """Return the columns of a record."""
    return (
        record.origin,
        record.seq,
        record.hlc,
        record.kind,
        record.key,
        record.version,
        record.body,
        record.prev_sha,
        record.sha,
    )


def from_row(row: Row) -> Record:
    """Return the record of `LOG_COLUMNS`."""
    origin, seq, hlc, kind, key, version, body, prev_sha, sha = row
    return Record(origin, seq, hlc, kind, key, body, prev_sha, sha, version)


def state_of(record: Record) -> State:
    """Say how a sealed record lies in the log."""
    if is_erased(record):
        return State.ERASED
    return State.READABLE if bodies.is_readable(record.kind, record.key, record.body) else State.UNREADABLE


async def heads(database: Database) -> dict[str, Head]:
    """Return the end of each origin's chain."""
    found = await database.rows("SELECT origin, MAX(seq), sha FROM log GROUP BY origin")
    return {origin: Head(seq, sha) for origin, seq, sha in found}


async def seals(database: Database, origin: str, numbers: Sequence[int]) -> dict[int, bytes]:
    """Return the seals of these records of an origin."""
    marks = ", ".join("?" * len(numbers))
    found = await database.rows(f"SELECT seq, sha FROM log WHERE origin = ? AND seq IN ({marks})", (origin, *numbers))  # noqa: S608
    return dict(found)


async def write(database: Database, records: Sequence[Record]) -> Written:
    """Add records to the log, erased where a tombstone covers them, and erase what their tombstones cover.

    A covered text is never written to disk first: a page that left the cache would stay in the WAL.
    """
    old_graves = await _graves_over(database, records)
    graves = graves_of(records, old_graves)
    kept = [erase(record) if is_covered(record, graves) else record for record in records]
    await database.run_many(
        f"INSERT INTO log ({_COLUMNS}, state) VALUES ({_MARKS}, ?)",  # noqa: S608
        [(*to_row(record), state_of(record)) for record in kept],
    )
    keys = {record.key for record in kept}
    dug = {key: grave for key, grave in graves.items() if old_graves.get(key) != grave}
    erased: list[str] = []
    for key, grave in dug.items():
        await database.run("INSERT OR REPLACE INTO graves VALUES (?, ?, ?)", (key, *grave))
        erased += await _erase_under(database, key, grave)
    return Written(keys | set(erased), len(erased))


async def _graves_over(database: Database, records: Iterable[Record]) -> dict[str, Grave]:
    above = sorted({key for record in records for key in ancestors(record.key)})
    found = await database.rows(
        "SELECT key, hlc, origin FROM graves WHERE key IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(above).decode(),),
    )
    return {key: Grave(hlc, origin) for key, hlc, origin in found}


async def _erase_under(database: Database, key: str, grave: Grave) -> list[str]:
    """Erase the bodies of all older records at and below a key; return their keys."""
    older = f"{_UNDER} AND kind <> 'tombstone' AND (hlc, origin) < (?2, ?3)"
    await database.run(
        f"UPDATE waiting SET body = digest(body) WHERE {older} AND length(body) <> 32",  # noqa: S608
        (key, *grave),
    )
    found = await database.rows(
        f"UPDATE log SET body = digest(body), state = {State.ERASED:d} "  # noqa: S608
        f"WHERE {older} AND state <> {State.ERASED:d} RETURNING key",
        (key, *grave),
    )
    return [row[0] for row in found]


async def latest_under(database: Database, key: str) -> int:
    """Return the greatest hlc at and below a key, 0 when nothing is there."""
    newest = [
        await database.value(f"SELECT MAX(hlc) FROM {table} WHERE {_UNDER}", (key,))  # noqa: S608
        for table in ("log", "waiting")
    ]
    return max(each or 0 for each in newest)


async def waiting_after(database: Database, origin: str, head: int, limit: int) -> list[Record]:
    """Return waiting records of an origin from `head` on, in order; those up to `head` have become useless."""
    found = await database.rows(
        f"SELECT {_COLUMNS} FROM waiting WHERE origin = ? AND seq <= ? ORDER BY seq LIMIT ?",  # noqa: S608
        (origin, head + limit, limit),
    )
    return [from_row(row) for row in found]


async def keep_waiting(database: Database, records: Sequence[Record]) -> None:
    """Keep records until their predecessors come, as long as there is room; covered ones without their text."""
    if not records:
        return
    room = MAX_WAITING - int(await database.value("SELECT COUNT(*) FROM waiting"))
    graves = await _graves_over(database, records)
    rows = [to_row(erase(each) if is_covered(each, graves) else each) for each in records[: max(0, room)]]
    await database.run_many(f"INSERT OR IGNORE INTO waiting ({_COLUMNS}) VALUES ({_MARKS})", rows)  # noqa: S608


async def stop_waiting(database: Database, records: Sequence[Record]) -> None:
    """Drop records from the waiting room."""
    await database.run_many(
        "DELETE FROM waiting WHERE origin = ? AND seq = ? AND sha = ?",
        [(each.origin, each.seq, each.sha) for each in records],
    )


async def quarantine(database: Database, refusals: Sequence[Refusal], now_s: float) -> None:
    """Note refused records, without their content; the oldest notes make room."""
    if not refusals:
        return
    await database.run_many(
        "INSERT OR IGNORE INTO quarantine (origin, seq, sha, reason, seen_at) VALUES (?, ?, ?, ?, ?)",
        [(each.origin, each.seq, each.sha, each.reason, now_s) for each in refusals],
    )
    await database.run(
        "DELETE FROM quarantine WHERE number <= (SELECT MAX(number) FROM quarantine) - ?", (MAX_QUARANTINED,)
    )
