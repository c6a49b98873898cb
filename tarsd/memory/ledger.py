"""The log's tables: reading heads, writing accepted records, keeping what waits, digging graves.

All functions run inside a transaction that the caller holds; what they decide comes from `log`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tarsd.calls import Record
from tarsd.memory import bodies
from tarsd.memory.database import Database, Row
from tarsd.memory.forgetting import Text
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
from tarsd.memory.schema import COVERED_BY_GRAVE, ERASED, GRAVES, HAS_TEXT, LOG_COLUMNS, UNDER, UNDER_GRAVE

# Records that came before their predecessors; more are dropped and asked for again.
MAX_WAITING = 10_000
# The newest refusals that are kept for a person to look at.
MAX_QUARANTINED = 1_000

_TOLD = f"'{bodies.MEMORY}', '{bodies.SUMMARY}', '{bodies.DOCUMENT}'"
_INSERT = f"({LOG_COLUMNS}, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Written(msgspec.Struct, frozen=True):
    """What writing did: the keys whose visible record may have changed, and how many bodies were erased.

    `graves`: the keys that were forgotten, with how many bodies each erased; `texts`: those that others hold copies of.
    """

    keys: set[str]
    erased: int
    graves: dict[str, int] = {}
    texts: list[Text] = []


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
    await database.run_many(f"INSERT INTO log {_INSERT}", _rows(records, graves))
    keys = {record.key for record in records}
    dug = {key: grave for key, grave in graves.items() if old_graves.get(key) != grave}
    await database.run_many("INSERT OR REPLACE INTO graves VALUES (?, ?, ?)", [(key, *dug[key]) for key in dug])
    texts = await _texts_under(database, dug)
    erased = await _erase_under(database, dug)
    # A summary that goes on in this very batch has lost what the others tell; the rest of it is nothing forgotten.
    goes_on = {record.key for record in records if record.kind == bodies.SUMMARY}
    texts = [text for text in texts if text.key not in goes_on]
    counts = dict.fromkeys(dug, 0)
    for key in erased:
        counts[next(above for above in ancestors(key) if above in dug)] += 1
    return Written(keys.union(erased), len(erased), counts, texts)


def _rows(records: Iterable[Record], graves: Mapping[str, Grave]) -> list[tuple[object, ...]]:
    kept = [erase(record) if is_covered(record, graves) else record for record in records]
    return [(*to_row(record), state_of(record)) for record in kept]


async def as_kept(database: Database, record: Record) -> Record:
    """Return the record as it lies in the log: without its text where a tombstone covers it."""
    return erase(record) if is_covered(record, await _graves_over(database, [record])) else record


async def _graves_over(database: Database, records: Iterable[Record]) -> dict[str, Grave]:
    return await graves_over(database, {record.key for record in records})


async def graves_over(database: Database, keys: Iterable[str]) -> dict[str, Grave]:
    """Return the tombstones that cover these keys."""
    above = sorted({name for key in keys for name in ancestors(key)})
    found = await database.rows(
        "SELECT key, hlc, origin FROM graves WHERE key IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(above).decode(),),
    )
    return {key: Grave(hlc, origin) for key, hlc, origin in found}


async def untold_graves(database: Database) -> list[tuple[str, int]]:
    """Return key and hlc of graves of which no record here tells."""
    found = await database.rows(
        f"""SELECT key, hlc FROM graves WHERE NOT EXISTS (
                SELECT 1 FROM log WHERE log.key = graves.key AND log.hlc = graves.hlc AND kind = '{bodies.TOMBSTONE}')
            ORDER BY hlc, key"""  # noqa: S608
    )
    return [(key, hlc) for key, hlc in found]


async def _texts_under(database: Database, graves: Mapping[str, Grave]) -> list[Text]:
    """Return what is about to be erased and may be told elsewhere: passages are only in what is made from documents."""
    if not graves:
        return []
    found = await database.rows(
        f"""{GRAVES} SELECT DISTINCT log.id, kind, log.key, body FROM grave JOIN log ON {COVERED_BY_GRAVE}
            WHERE state = {State.READABLE:d} AND kind IN ({_TOLD}) ORDER BY log.id""",  # noqa: S608
        (_as_json(graves),),
    )
    return [Text(*row) for _, *row in found]


async def _erase_under(database: Database, graves: Mapping[str, Grave]) -> list[str]:
    """Erase the bodies of all older records at and below these keys; return the keys of what was erased."""
    if not graves:
        return []
    return [
        row[0]
        for table in ("log", "waiting")
        for row in await database.rows(
            f"""{GRAVES} UPDATE {table} {ERASED} WHERE rowid IN
                (SELECT log.rowid FROM grave JOIN {table} AS log ON {COVERED_BY_GRAVE}) RETURNING key""",  # noqa: S608
            (_as_json(graves),),
        )
    ]


def _as_json(graves: Mapping[str, Grave]) -> str:
    return msgspec.json.encode([(key, grave.hlc) for key, grave in graves.items()]).decode()


async def latest_under(database: Database, keys: Sequence[str]) -> int:
    """Return the greatest hlc at and below these keys, 0 when nothing is there."""
    asked = _as_json(dict.fromkeys(keys, Grave(0, "")))
    newest = [
        await database.value(f"{GRAVES} SELECT MAX(log.hlc) FROM grave JOIN {table} AS log ON {UNDER_GRAVE}", (asked,))  # noqa: S608
        for table in ("log", "waiting")
    ]
    return max(each or 0 for each in newest)


async def is_anything_left(database: Database, key: str) -> bool:
    """Say whether a body that is not erased stands at or below a key."""
    left = f"WHERE {UNDER} AND {HAS_TEXT}"
    sql = f"SELECT EXISTS (SELECT 1 FROM log {left}) OR EXISTS (SELECT 1 FROM waiting {left})"  # noqa: S608
    return bool(await database.value(sql, (key,)))


async def waiting_after(database: Database, origin: str, head: int, limit: int) -> list[Record]:
    """Return waiting records of an origin from `head` on, in order; those up to `head` have become useless."""
    found = await database.rows(
        f"SELECT {LOG_COLUMNS} FROM waiting WHERE origin = ? AND seq <= ? ORDER BY seq LIMIT ?",  # noqa: S608
        (origin, head + limit, limit),
    )
    return [from_row(row) for row in found]


async def keep_waiting(database: Database, records: Sequence[Record]) -> None:
    """Keep records until their predecessors come, as long as there is room; covered ones without their text."""
    if not records:
        return
    room = MAX_WAITING - int(await database.value("SELECT COUNT(*) FROM waiting"))
    graves = await _graves_over(database, records)
    await database.run_many(f"INSERT OR IGNORE INTO waiting {_INSERT}", _rows(records[: max(0, room)], graves))


async def stop_waiting(database: Database, names: Sequence[tuple[str, int, bytes]]) -> None:
    """Drop records from the waiting room by (origin, seq, sha)."""
    await database.run_many("DELETE FROM waiting WHERE origin = ? AND seq = ? AND sha = ?", names)


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
