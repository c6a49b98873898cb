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
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from tarsd.calls import Record
from tarsd.errors import InvalidInput, StorageError, WireError
from tarsd.memory import audit, bodies, derive, ledger, repair, salvage
from tarsd.memory.bodies import TOMBSTONE, Body
from tarsd.memory.database import (
    DamagedDatabase,
    Database,
    Row,
    damaged_copies,
    newest_damaged,
    open_database,
    replace_damaged,
    uninterrupted,
)
from tarsd.memory.forgetting import Forgotten, Removal
from tarsd.memory.history import History
from tarsd.memory.library import Change
from tarsd.memory.schema import DERIVED_VERSION
from tarsd.memory.sharing import Sharing
from tarsd.memory.writer import RETELL_DUE, REWRITE_DUE, SCRUB_DUE, ApplyResult, Writer, set_meta
from tarsd.names import NodeId
from tarsd.wire import encode

_log = logging.getLogger(__name__)

_FREE_PAGES = 1000  # unused pages that are worth giving back, and how many in one go
LINKED = "linked"  # in `meta` since the table of links is filled: a version before had none
_MERGE_PAGES = 500  # of the keyword index in one go

T = TypeVar("T")
Entry = tuple[str, str, msgspec.Struct | bytes]
Listener = Callable[[Change], None]
OwnListener = Callable[[Sequence[Record]], None]


class ForgetReceipt(msgspec.Struct, frozen=True):
    """What forgetting did here; `damaged_copies` are files of an earlier damage that may still hold the text."""

    tombstones: list[Record]
    records: int
    damaged_copies: list[str] = []


class Store(Sharing, History):
    """A node's memory. Use `Store.open`; every method raises `StorageError` when the disk or database fails."""

    def __init__(self, database: Database, node: NodeId, clock: Callable[[], float]) -> None:
        super().__init__(database, Writer(database, node, clock, self._notify, self._wrote, self._tell_forgotten))
        self.problem = ""  # what was met at opening, for people
        self._listeners: list[Listener] = []
        self._own_listeners: list[OwnListener] = []
        self._forgetters: list[Callable[[Forgotten], None]] = []
        self._scrubbing = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, node_id: NodeId, *, clock: Callable[[], float] = time.time) -> Store:
        """Open or make the store; `problem` tells of a damaged database that was moved aside."""
        database, problem = await open_database(path)
        try:
            store = await cls._begun(database, problem, node_id, clock)
        except DamagedDatabase as error:  # in a file too large to be checked whole at each start
            store = await cls._begun(*(await replace_damaged(path, error)), node_id, clock)
        if store.problem:
            try:
                await store.salvage()
            except BaseException:
                await store.close()
                raise
        return store

    @classmethod
    async def _begun(cls, database: Database, problem: str, node_id: NodeId, clock: Callable[[], float]) -> Store:
        store = cls(database, node_id, clock)
        store.problem = problem
        try:
            await store._begin()
        except BaseException:
            await database.close()
            raise
        return store

    async def close(self) -> None:
        """Finish the write that is on its way, then close."""
        async with self._writer.order:
            await self._database.close()

    @property
    def origin(self) -> str:
        """The origin that this node's next record carries."""
        return self._writer.origin

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after every commit that changed something, on the event loop; returns how to stop it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def on_forgotten(self, listener: Callable[[Forgotten], None]) -> Callable[[], None]:
        """Call `listener` after every commit that forgot something, on the event loop; returns how to stop it."""
        self._forgetters.append(listener)
        return lambda: self._forgetters.remove(listener)

    def subscribe_own(self, listener: OwnListener) -> Callable[[], None]:
        """Call `listener` with this node's own records once they are on disk; returns how to stop it."""
        self._own_listeners.append(listener)
        return lambda: self._own_listeners.remove(listener)

    # --- writing ----------------------------------------------------------------------------------------------

    async def append(self, kind: str, key: str, body: msgspec.Struct | bytes) -> Record:
        """Write one record; see `append_many`."""
        return (await self.append_many([(kind, key, body)]))[0]

    async def append_many(self, entries: Sequence[Entry]) -> list[Record]:
        """Write records, on disk when this returns; one transaction for each 250.

        `key` "" is the one that the body dictates (`bodies.key_of`). An entry that is visible already with the same
        body is returned as it is (rule 2). Raises `InvalidInput` before anything is written. Cancelling does not
        undo: what began is finished.
        """
        checked = [_check(*entry) for entry in entries]
        return await uninterrupted(self._writer.append(checked))

    async def append_as_read(self, entries: Sequence[Entry], read: Mapping[str, Body]) -> list[Record] | None:
        """Write records of what was made of others, if each of these keys still shows what was read of it.

        Else None, and nothing is written: what somebody changed or forgot meanwhile must not come back with it.
        """
        checked = [_check(*entry) for entry in entries]
        return await uninterrupted(self._writer.append_as_read(checked, _as_read(read), set(read)))

    async def append_as_known(self, entries: Sequence[Entry], forgettings: int) -> list[Record] | None:
        """Write records if nothing was forgotten since `forgettings` was that; else None, and nothing is written."""
        checked = [_check(*entry) for entry in entries]
        return await uninterrupted(
            self._writer.append_as_read(checked, lambda shown: self._writer.forgettings == forgettings, set())
        )

    async def apply(self, records: Sequence[Record]) -> ApplyResult:
        """Take in records of peers, on disk when this returns (rules 3 and 4)."""
        result, erased = await uninterrupted(self._writer.apply(records))
        if erased:
            await self.scrub()
        return result

    async def forget_document(self, sha256: str) -> ForgetReceipt:
        """Forget a document with its passages, vectors and keywords; raises `NotFound` when nothing is known of it."""
        return await self.forget(bodies.document_key(sha256))

    async def forget(self, key: str) -> ForgetReceipt:
        """Forget a key and all below it (rule 5); again is allowed. Raises `NotFound` when nothing is known of it."""
        tombstones, erased = await uninterrupted(self._writer.forget(key))
        await self.scrub()
        return ForgetReceipt(tombstones, erased, damaged_copies(self._database.path))

    async def forget_all(self, keys: Sequence[str], entries: Sequence[Entry] = ()) -> ForgetReceipt:
        """Forget keys, and write entries that are later than that, in one commit: a text goes on without a sentence.

        What is known nowhere here is forgotten all the same: a peer may bring it later.
        """
        receipt = await self.forget_as_read(keys, entries, {})
        assert receipt is not None, "nothing was read"
        return receipt

    async def forget_as_read(
        self, keys: Sequence[str], entries: Sequence[Entry], read: Mapping[str, Body]
    ) -> ForgetReceipt | None:
        """Do as `forget_all` if each key of `read` still shows what was read of it; else None, and nothing is done."""
        checked = [_check(*entry) for entry in entries]
        done = await uninterrupted(self._writer.forget_all(keys, checked, _as_read(read), set(read)))
        if done is None:
            return None
        await self.scrub()
        return ForgetReceipt(*done, damaged_copies(self._database.path))

    async def is_known(self, key: str) -> bool:
        """Say whether a text stands at a key or below it, shown or not."""
        async with self._database.reading():
            return await ledger.is_anything_left(self._database, key)

    def removed(self, keys: Sequence[str]) -> Removal:
        """Return what was removed for these forgotten keys since the start."""
        return self._writer.removals.of(keys)

    def damaged_copies(self) -> list[str]:
        """Return the names of databases that were moved aside: what is forgotten may still stand in them."""
        return damaged_copies(self._database.path)

    async def scrub(self) -> None:
        """End what an erasure left to be done, here or before the last start; returns when no byte is left."""
        async with self._scrubbing:
            if await self._rows("SELECT 1 FROM meta WHERE name = ?", (SCRUB_DUE,)):
                await self._optimize()

    # --- upkeep -----------------------------------------------------------------------------------------------

    async def optimize(self) -> None:
        """Merge the keyword index step by step, so that no removed word stays in it, and empty the WAL.

        After an erasure the gaps of pages are wiped too: where SQLite moves a row to another page, its bytes stay in
        the gap of the old one, whatever `secure_delete` says.
        """
        async with self._scrubbing:
            await self._optimize()

    async def _optimize(self) -> None:
        due = [value for (value,) in await self._rows("SELECT value FROM meta WHERE name = ?", (SCRUB_DUE,))]
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
        await self._shrink()
        await self._wipe_if_due()
        await self._database.empty_wal()
        async with self._database.writing():
            for value in due:  # an erasure that came meanwhile wrote another one
                await self._database.run("DELETE FROM meta WHERE name = ? AND value = ?", (SCRUB_DUE, value))

    async def _wipe_if_due(self) -> None:
        if not await self.fact(SCRUB_DUE) and not await self.fact(REWRITE_DUE):
            return
        await self._database.wipe_gaps()
        async with self._database.writing():
            await self._database.run("DELETE FROM meta WHERE name = ?", (REWRITE_DUE,))

    async def _shrink(self) -> None:
        """Give unused pages back to the disk, some at a time."""
        while True:
            async with self._database.writing():
                free = await self._database.value("PRAGMA freelist_count")
                if free < _FREE_PAGES:
                    return
                await self._database.rows(f"PRAGMA incremental_vacuum({_FREE_PAGES})")
                if await self._database.value("PRAGMA freelist_count") >= free:
                    return

    async def integrity_check(self) -> list[str]:
        """Return what is wrong with database, chains, derived tables and keyword index; [] when all is well."""
        return ([self.problem] if self.problem else []) + await audit.find_problems(
            self._database, dict(self._writer.heads)
        )

    async def rebuild_derived(self) -> None:
        """Build all that derives from the log anew; the vectors stay."""
        async with self._writer.order:
            await derive.rebuild(self._database)
            async with self._database.writing():
                await set_meta(self._database, "derived", DERIVED_VERSION)
                await set_meta(self._database, LINKED, "1")
                await self._drop_unwanted_vectors()

    async def mend(self, records: Sequence[Record]) -> int:
        """Put damaged records right by those of a peer; return how many fitted. Call `rebuild_derived` afterwards."""
        return await uninterrupted(self._mend(records))

    async def _mend(self, records: Sequence[Record]) -> int:
        async with self._writer.order, self._database.writing():
            return sum([await repair.put_right(self._database, record) for record in records])

    @property
    def forgettings(self) -> int:
        """A number that grows when something is forgotten."""
        return self._writer.forgettings

    # --- for backups ------------------------------------------------------------------------------------------

    @property
    def rewrites(self) -> int:
        """A number that grows when records that stand in the log are erased or renamed."""
        return self._writer.rewrites

    @asynccontextmanager
    async def unchanged(self) -> AsyncGenerator[None, None]:
        """Let nobody write records while the block runs; reading goes on."""
        async with self._writer.order:
            yield

    async def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return the rows of a SELECT."""
        return await self._rows(sql, parameters)

    # --- within -----------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        meta = await self._writer.load()
        if meta.get("derived") != DERIVED_VERSION:
            await self.rebuild_derived()
        elif LINKED not in meta:
            await derive.link(self._database)
            await self.keep_fact(LINKED, "1")
        if RETELL_DUE in meta:
            await self._writer.retell_forgotten()
        if SCRUB_DUE in meta:  # a forgetting was cut off before its last bytes were gone
            try:
                await self.optimize()
            except StorageError as error:  # a disk without room for it: it stays due, and the node is there
                _log.warning("what was forgotten could not be cleaned away yet: %s", error)

    async def salvage(self) -> None:
        """Take in what can be read of the database that was moved aside last."""
        aside = self._database.path.with_name(newest_damaged(self._database.path))
        batches, saved = salvage.readable(aside), 0
        try:
            while (records := await salvage.next_of(batches)) is not None:
                saved += (await self.apply(records)).applied
        except StorageError as error:  # the node is there all the same
            self.problem += f"; taking over its records ended early ({error})"
        self.problem += f"; {saved} records could be read and are here"

    def _notify(self, change: Change) -> None:
        _tell(self._listeners, change)

    def _wrote(self, records: Sequence[Record]) -> None:
        _tell(self._own_listeners, records)

    def _tell_forgotten(self, forgotten: Forgotten) -> None:
        _tell(self._forgetters, forgotten)


def _tell(listeners: Sequence[Callable[[T], None]], news: T) -> None:
    for listener in tuple(listeners):
        try:
            listener(news)
        except Exception:  # what was committed stays committed, whatever a listener does
            _log.exception("a listener of the store failed")


def _as_read(read: Mapping[str, Body]) -> Callable[[Mapping[str, Record]], bool]:
    def is_as_read(shown: Mapping[str, Record]) -> bool:
        now = {key: bodies.read(record.kind, key, record.body) for key, record in shown.items()}
        return all(now.get(key) == body for key, body in read.items())

    return is_as_read


def _check(kind: str, key: str, body: msgspec.Struct | bytes) -> tuple[str, str, bytes]:
    """Return the entry as it is written; raises `InvalidInput` when peers would not read it."""
    if kind == TOMBSTONE:
        raise InvalidInput("a tombstone is written by `forget`")
    if not key and isinstance(body, Body):
        key = bodies.key_of(body)
    packed = body if isinstance(body, bytes) else encode(body)
    try:
        bodies.read(kind, key, packed)
    except WireError as error:
        raise InvalidInput(f"record {kind} {key!r}: {error}") from error
    return kind, key, packed
