"""The store: a node's copy of all records, and what it shows of them. SQLite is the truth, all else derives from it.

Rules
1. A record is written once and never changed; its text can be erased.
2. Writing what is visible already writes nothing, so an ingest that was cut off can be done again.
3. Records of peers come in any order and any number of times; the same set gives the same state.
4. A bad record is refused and noted; it never stops the good ones.
5. Forgetting is a tombstone later than all it covers; afterwards no byte of the text is left in the database's files.
6. A node that finds peers to know more of its own records than itself was rolled back: it goes on under a new origin.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from tarsd.calls import Record
from tarsd.errors import InvalidInput, NotFound, WireError
from tarsd.memory import audit, bodies, derive, ledger
from tarsd.memory.database import Database, damaged_copies, open_database, uninterrupted
from tarsd.memory.derive import BATCH_RECORDS
from tarsd.memory.hlc import Clock, is_ahead
from tarsd.memory.ledger import MAX_WAITING
from tarsd.memory.library import Change, Library
from tarsd.memory.log import EMPTY, TOMBSTONE, Head, Linked, Refusal, digest, fault, link, make, refuse
from tarsd.memory.schema import DERIVED_VERSION, LOG_COLUMNS
from tarsd.names import NodeId
from tarsd.wire import MIB, encode

_log = logging.getLogger(__name__)

# What one batch for a peer may hold, so that it fits a frame with the fields around the bodies.
MAX_BATCH_BYTES = 2 * MIB
_FIELDS_BYTES = 400  # of a record beside key and body, at most
_FETCHED = 200
_MERGE_PAGES = 500  # of the keyword index in one go

Entry = tuple[str, str, msgspec.Struct | bytes]
Listener = Callable[[Change], None]


class ApplyResult(msgspec.Struct, frozen=True):
    """What became of peers' records: taken in, refused with reasons, kept until their predecessors come."""

    applied: int = 0
    quarantined: list[Refusal] = []
    waiting: int = 0
    ahead: int = 0  # of the applied: those whose clock is far ahead of ours


class ForgetReceipt(msgspec.Struct, frozen=True):
    """What forgetting did here; `damaged_copies` are files of an earlier damage that may still hold the text."""

    tombstones: list[Record]
    records: int
    damaged_copies: list[str] = []


class Store(Library):
    """A node's memory. Use `Store.open`; every method raises `StorageError` when the disk or database fails."""

    def __init__(self, database: Database, node: NodeId, clock: Callable[[], float]) -> None:
        super().__init__(database)
        self.problem = ""  # what was met at opening, for people
        self.origin = ""
        self._node = node
        self._now_s = clock
        self._clock = Clock()
        self._heads: dict[str, Head] = {}
        self._waiting = 0  # an upper bound; 0 spares looking
        self._order = asyncio.Lock()  # held from reading a head to committing what continues it
        self._listeners: list[Listener] = []

    @classmethod
    async def open(cls, path: Path, node_id: NodeId, *, clock: Callable[[], float] = time.time) -> Store:
        """Open or make the store; `problem` tells of a damaged database that was moved aside."""
        database, problem = await open_database(path)
        store = cls(database, node_id, clock)
        store.problem = problem
        try:
            await store._load()
        except BaseException:
            await database.close()
            raise
        return store

    async def close(self) -> None:
        """Finish the write that is on its way, then close."""
        async with self._order:
            await self._database.close()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after every commit that changed something, on the event loop; returns how to stop it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # --- writing ----------------------------------------------------------------------------------------------

    async def append(self, kind: str, key: str, body: msgspec.Struct | bytes) -> Record:
        """Write one record; see `append_many`."""
        return (await self.append_many([(kind, key, body)]))[0]

    async def append_many(self, entries: Sequence[Entry]) -> list[Record]:
        """Write records, on disk when this returns; one transaction for each 500.

        `key` "" is the one that the body dictates (`bodies.key_of`). An entry that is visible already with the same
        body is returned as it is (rule 2). Raises `InvalidInput` before anything is written. Cancelling does not
        undo: what began is finished.
        """
        checked = [_check(*entry) for entry in entries]
        return await uninterrupted(self._append(checked))

    async def apply(self, records: Sequence[Record]) -> ApplyResult:
        """Take in records of peers, on disk when this returns (rules 3 and 4)."""
        return await uninterrupted(self._apply(records))

    async def forget_document(self, sha256: str) -> ForgetReceipt:
        """Forget a document with its passages, vectors and keywords; raises `NotFound` when nothing is known of it."""
        return await self.forget(bodies.document_key(sha256))

    async def forget(self, key: str) -> ForgetReceipt:
        """Forget a key and all below it (rule 5); raises `NotFound`."""
        return await uninterrupted(self._forget(key))

    # --- for peers --------------------------------------------------------------------------------------------

    def vector(self) -> dict[str, int]:
        """Return how far each origin's records are here, without gaps."""
        return {origin: head.seq for origin, head in self._heads.items()}

    async def records_since(self, have: Mapping[str, int], limit: int = 5000) -> list[Record]:
        """Return records that someone with the vector `have` lacks, in (origin, seq) order; [] when none.

        May return fewer than `limit`, to fit a frame: ask again with the new vector until nothing comes.
        """
        chosen: list[Record] = []
        room = MAX_BATCH_BYTES
        for origin, head in sorted(self._heads.items()):
            after = have.get(origin, 0)
            while after < head.seq and len(chosen) < limit:
                for record in await self._after(origin, after, min(_FETCHED, limit - len(chosen))):
                    room -= len(record.body) + len(record.key.encode()) + _FIELDS_BYTES
                    if room < 0 and chosen:
                        return chosen
                    chosen.append(record)
                    after = record.seq
        return chosen

    async def _after(self, origin: str, seq: int, limit: int) -> list[Record]:
        found = await self._rows(
            f"SELECT {LOG_COLUMNS} FROM log WHERE origin = ? AND seq > ? ORDER BY seq LIMIT ?",  # noqa: S608
            (origin, seq, limit),
        )
        return [ledger.from_row(row) for row in found]

    # --- upkeep -----------------------------------------------------------------------------------------------

    async def optimize(self) -> None:
        """Merge the keyword index step by step, so that no removed word stays in it, and empty the WAL."""
        async with self._database.writing():
            await self._database.run("INSERT INTO keywords (keywords, rank) VALUES ('merge', ?)", (-_MERGE_PAGES,))
        while True:
            async with self._database.writing():
                before = self._database.changes
                await self._database.run("INSERT INTO keywords (keywords, rank) VALUES ('merge', ?)", (_MERGE_PAGES,))
                if self._database.changes - before < 2:  # as SQLite's manual says: nothing was left to merge
                    break
        async with self._database.reading():
            await self._database.rows("PRAGMA optimize")
        await self._database.empty_wal()

    async def integrity_check(self) -> list[str]:
        """Return what is wrong with database, chains, derived tables and keyword index; [] when all is well."""
        return ([self.problem] if self.problem else []) + await audit.find_problems(self._database, dict(self._heads))

    async def rebuild_derived(self) -> None:
        """Build all that derives from the log anew; the vectors stay."""
        async with self._order:
            await derive.rebuild(self._database)
            async with self._database.writing():
                await self._set_meta("derived", DERIVED_VERSION)
                await self._database.run("DELETE FROM vectors WHERE id NOT IN (SELECT id FROM passages)")

    # --- within -----------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        async with self._database.writing():
            await derive.prepare(self._database)
            meta = dict(await self._database.rows("SELECT name, value FROM meta"))
            self._heads = await ledger.heads(self._database)
            self._waiting = await self._database.value("SELECT COUNT(*) FROM waiting")
            stamps = await self._database.rows("SELECT origin, MAX(hlc) FROM log GROUP BY origin")
            self.origin = meta.get("origin", "")
            if self.origin.partition(".")[0] != self._node:  # new, or a copy of another node's database
                await self._new_origin()
        for origin, hlc in stamps:
            if origin == self.origin:
                self._clock.pass_by_force(hlc)
            else:
                self._clock.observe(hlc, self._now_ms())
        if meta.get("derived") != DERIVED_VERSION:
            await self.rebuild_derived()

    async def _new_origin(self) -> None:
        self.origin = f"{self._node}.{secrets.token_hex(4)}"
        await self._set_meta("origin", self.origin)

    async def _set_meta(self, name: str, value: str) -> None:
        await self._database.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def _now_ms(self) -> int:
        return int(self._now_s() * 1000)

    def _notify(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(change)
            except Exception:  # what was committed stays committed, whatever a listener does
                _log.exception("a listener of the store failed")

    async def _append(self, entries: Sequence[tuple[str, str, bytes]]) -> list[Record]:
        written: list[Record] = []
        for first in range(0, len(entries), BATCH_RECORDS):
            async with self._order:
                written += await self._append_batch(entries[first : first + BATCH_RECORDS])
        return written

    async def _append_batch(self, entries: Sequence[tuple[str, str, bytes]]) -> list[Record]:
        shown = await self._shown({key for _, key, _ in entries})
        new: list[Record] = []
        results: list[Record] = []
        for kind, key, body in entries:
            record = shown.get(key)
            if record is None or record.kind != kind or record.body != body:
                record = self._make(new[-1] if new else None, kind, key, body)
                shown[key] = record
                new.append(record)
            results.append(record)
        await self._commit(new)
        return results

    def _make(self, previous: Record | None, kind: str, key: str, body: bytes) -> Record:
        head = Head(previous.seq, previous.sha) if previous else self._heads.get(self.origin, EMPTY)
        return make(self.origin, head, self._clock.tick(self._now_ms()), kind, key, body)

    async def _shown(self, keys: set[str]) -> dict[str, Record]:
        found = await self._rows(
            f"""SELECT {LOG_COLUMNS} FROM log WHERE id IN
                (SELECT id FROM visible WHERE key IN (SELECT value FROM json_each(?)))""",  # noqa: S608
            (msgspec.json.encode(sorted(keys)).decode(),),
        )
        return {record.key: record for record in map(ledger.from_row, found)}

    async def _commit(
        self, records: Sequence[Record], linked: Linked | None = None, *, new_origin: bool = False
    ) -> int:
        """Write records that continue their chains, and what else became of a batch; return the bodies erased."""
        origin = self.origin
        try:
            async with self._database.writing():
                written = await ledger.write(self._database, records)
                if linked is not None:
                    await ledger.stop_waiting(self._database, records)
                    await ledger.keep_waiting(self._database, linked.waiting)
                    await ledger.quarantine(self._database, linked.refused, self._now_s())
                if new_origin:
                    await self._new_origin()
                shown = await derive.refresh(self._database, written.keys)
        except BaseException:
            self.origin = origin
            raise
        for record in records:
            if record.seq > self._heads.get(record.origin, EMPTY).seq:
                self._heads[record.origin] = Head(record.seq, record.sha)
        if shown.added or shown.removed:
            self._notify(Change(tuple(shown.added), tuple(shown.removed)))
        return written.erased
