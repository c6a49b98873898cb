"""Keeps the derived tables in step with the log: which record is visible for a key, and what it is shown as.

All functions run inside a transaction that the caller holds. Which record wins is `log`'s rule 6.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from tarsd.memory import bodies
from tarsd.memory.bodies import (
    Body,
    DiaryBody,
    DocumentBody,
    MemoryBody,
    ObeyedBody,
    PassageBody,
    ProjectBody,
    ReceiptBody,
    ReceiptPartBody,
    SettingBody,
    SummaryBody,
    TombstoneBody,
)
from tarsd.memory.database import Database
from tarsd.memory.links import links_of
from tarsd.memory.log import State
from tarsd.memory.schema import DERIVED_BY_ID

# One transaction's worth: large enough to be quick, small enough that a question does not wait for it.
BATCH_RECORDS = 250
_NOT_DERIVED = SettingBody | TombstoneBody | ReceiptBody | ReceiptPartBody | ObeyedBody


class Shown(msgspec.Struct, frozen=True):
    """What changed to the eye: local ids that are visible now and were not, and the reverse."""

    added: list[int]
    removed: list[int]
    hidden: list[tuple[str, int, int]] = []  # of the removed: key, vectors and keyword entries that went with it
    texts: bool = True  # some of it is found by searches


WINNER = """SELECT id FROM log WHERE log.key = touched.key AND state = 0 AND kind <> 'tombstone'
             ORDER BY hlc DESC, origin DESC, seq DESC LIMIT 1"""


async def prepare(database: Database) -> None:
    """Make the scratch table, once a connection."""
    await database.run(
        "CREATE TEMP TABLE IF NOT EXISTS touched (key TEXT PRIMARY KEY, before INTEGER, after INTEGER) WITHOUT ROWID"
    )


async def refresh(database: Database, keys: Iterable[str]) -> Shown:
    """Bring the derived tables in step with the log for these keys."""
    await database.run("DELETE FROM touched")
    await database.run_many("INSERT OR IGNORE INTO touched (key) VALUES (?)", [(key,) for key in keys])
    await database.run(
        f"UPDATE touched SET before = (SELECT id FROM visible WHERE visible.key = touched.key), after = ({WINNER})"  # noqa: S608
    )
    await database.run("DELETE FROM touched WHERE before IS after")
    hidden = await database.rows(
        """SELECT key, (SELECT COUNT(*) FROM vectors WHERE id = before),
                  EXISTS (SELECT 1 FROM keywords_content WHERE id = before) FROM touched WHERE before IS NOT NULL"""
    )
    texts = await database.value(
        """SELECT EXISTS (SELECT 1 FROM touched JOIN log ON log.id IN (before, after)
                           WHERE kind IN ('document', 'passage', 'summary', 'memory'))"""
    )
    removed = await _hide(database)
    counted = [(key, vectors, words) for key, vectors, words in hidden]
    return Shown(await _show(database), removed, counted, bool(texts))


async def _hide(database: Database) -> list[int]:
    gone = [row[0] for row in await database.rows("SELECT before FROM touched WHERE before IS NOT NULL")]
    if gone:
        for table in (*DERIVED_BY_ID, "vectors"):
            await database.run(f"DELETE FROM {table} WHERE id IN (SELECT before FROM touched)")  # noqa: S608
        await database.run_many("DELETE FROM keywords WHERE rowid = ?", [(each,) for each in gone])
        await database.run("DELETE FROM visible WHERE key IN (SELECT key FROM touched)")
    return gone


async def _show(database: Database) -> list[int]:
    await database.run("INSERT INTO visible SELECT key, after FROM touched WHERE after IS NOT NULL")
    found = await database.rows("SELECT id, kind, log.key, body FROM touched JOIN log ON log.id = touched.after")
    rows: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    texts: list[tuple[int, str, str]] = []
    links: list[tuple[str, int]] = []
    for number, kind, key, packed in found:
        body = bodies.read(kind, key, packed)
        if body is None or isinstance(body, _NOT_DERIVED):
            continue
        table, columns = _row(body)
        rows[table].append((number, *columns))
        links += [(named, number) for named in links_of(body)]
        if text := text_of(body):
            texts.append((number, text, getattr(body, "language", "")))
    for table, of_table in rows.items():
        marks = ", ".join("?" * len(of_table[0]))
        await database.run_many(f"INSERT INTO {table} VALUES ({marks})", of_table)  # noqa: S608
    await database.run_many("INSERT INTO links VALUES (?, ?)", links)
    await database.run_many("INSERT INTO keywords (rowid, stems) VALUES (?, index_text(?, ?))", texts)
    return [row[0] for row in found]


def text_of(body: Body) -> str:
    """Return what keywords and vectors are made of, "" for what is not searched."""
    match body:
        case PassageBody():
            return body.text
        case SummaryBody():
            return " ".join((body.title, body.text, *body.tags, *body.keywords))
        case MemoryBody():
            return " ".join((body.text, *body.tags, *body.keywords))
    return ""


def _row(body: Body) -> tuple[str, tuple[object, ...]]:
    """Return the table of a body and its columns after the id."""
    match body:
        case DocumentBody():
            return "documents", _document_row(body)
        case PassageBody():
            return "passages", (body.document, body.page, body.start, body.end, body.language)
        case SummaryBody():
            owner = (body.scope, body.person, body.project)
            last = (body.conversation, body.ended_at, not body.replaced_by)
            return "summaries", (body.id, body.language, *owner, *last)
        case MemoryBody():
            owner = (body.scope, body.person, body.project)
            times = (body.made_at, body.valid_from, body.valid_until)
            place = (not body.replaced_by, body.replaced_by)
            return "memories", (body.id, body.language, body.sort, *owner, *times, *place)
        case ProjectBody():
            return "projects", (body.id, body.name, body.began_at, body.ended_at)
        case DiaryBody():
            return "diary", (body.id, body.job, body.node, body.ended_at)
        case _:
            raise AssertionError(f"{type(body).__name__} is not shown")


def _document_row(body: DocumentBody) -> tuple[object, ...]:
    return body.sha256, body.file, body.size_bytes, body.pages, body.language, body.added_at, body.passages


async def link(database: Database) -> None:
    """Build the links alone anew, for a database that has all else; may be cut off and begun again."""
    last = 0
    while True:
        async with database.writing():
            found = await database.rows(
                """SELECT log.id, kind, log.key, body FROM log
                   JOIN visible ON visible.key = log.key AND visible.id = log.id
                   WHERE log.id > ? AND kind IN ('memory', 'summary') ORDER BY log.id LIMIT ?""",
                (last, BATCH_RECORDS),
            )
            if not found:
                return
            read = ((number, bodies.read(kind, key, packed)) for number, kind, key, packed in found)
            links = [(named, number) for number, body in read if body is not None for named in links_of(body)]
            await database.run_many("INSERT OR IGNORE INTO links VALUES (?, ?)", links)
            last = found[-1][0]


async def clear(database: Database) -> None:
    """Empty the derived tables, but for the vectors, which cost a model to make."""
    for table in (*DERIVED_BY_ID, "visible", "keywords"):
        await database.run(f"DELETE FROM {table}")  # noqa: S608


async def rebuild(database: Database) -> None:
    """Build the derived tables anew from the log, in transactions of its own; may be cut off and begun again."""
    async with database.writing():
        await clear(database)
        await database.run("DELETE FROM meta WHERE name = 'derived'")  # until it is through: a kill must not hide half
    last = 0
    while True:
        async with database.writing():
            found = await database.rows(
                "SELECT id, kind, key, body FROM log WHERE id > ? AND state <> ? ORDER BY id LIMIT ?",
                (last, State.ERASED, BATCH_RECORDS),
            )
            if not found:
                return
            # A body that this version reads and the last one did not, or the reverse, changes its state.
            await database.run_many(
                "UPDATE log SET state = ?2 WHERE id = ?1 AND state <> ?2",
                [(row[0], State.READABLE if bodies.is_readable(*row[1:]) else State.UNREADABLE) for row in found],
            )
            await refresh(database, {row[2] for row in found})
            last = found[-1][0]
