"""The one connection to the memory database: opening it, transactions, and errors in our words.

Rules
1. One connection writes, reads and checkpoints, and locks the file for itself: SQLite before 3.51.3 can corrupt a
   database in the moment two connections reset its WAL.
2. Who writes or reads several times holds the lock, so nobody sees half a transaction; a transaction is short.
3. A commit is on disk when it returns (synchronous=FULL).
4. Cancelling does not tear a transaction: one that began ends, committed or rolled back, before the next.
5. A database of an older schema is backed up before it is changed (`migration`).
6. A corrupt database is moved aside, never deleted, and a new one made: what can be read of its records is taken over
   (`salvage`), the rest comes back from peers. Damage that is met while the node runs is mended so at the next start.
7. The file is opened beside SQLite for wiping gaps (`gaps`) at most once, and closed after SQLite closed it: to close
   any handle of a file drops all locks that this process has on it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from tarsd.errors import StorageError
from tarsd.memory import gaps, migration, stemming
from tarsd.memory.log import digest
from tarsd.memory.schema import MIGRATIONS
from tarsd.wire import MIB

_log = logging.getLogger(__name__)
# At debug it logs each statement with its values: texts of people.
logging.getLogger("aiosqlite").setLevel(logging.WARNING)

# Below this size the whole file is checked at every start; above, that is the nightly check's work.
_CHECK_UP_TO_BYTES = 32 * MIB
_WAL_KEPT_BYTES = 16 * MIB
_CACHE_KIB = 16 * 1024  # the keyword index and the tables it is read with, of 100,000 memories
_WIPED_AT_ONCE = 1000  # pages: some 10 ms in which nobody else reads

_PRAGMAS = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}",
    f"PRAGMA cache_size = -{_CACHE_KIB}",
)

Row = tuple[Any, ...]
T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end even when the caller is cancelled meanwhile; the cancellation is raised after it."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("a write failed after its caller had left: %s", error)
        raise


class Database:
    """An open database. `rows`, `run` and `run_many` are to be used inside `reading()` or `writing()`."""

    def __init__(self, path: Path, connection: aiosqlite.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = asyncio.Lock()
        self._file = -1  # see rule 7

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[None, None]:
        """Hold the connection, so that several reads see one state; raises `StorageError`."""
        async with self._lock:
            with _our_errors(self.path):
                yield

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[None, None]:
        """Hold a transaction; committed at the end, rolled back on any error; raises `StorageError`.

        To be used within `uninterrupted`, so that a cancelled caller does not lose what was committed.
        """
        async with self._lock:
            with _our_errors(self.path):
                try:
                    await self.run("BEGIN IMMEDIATE")
                    yield
                    await self.run("COMMIT")
                except BaseException:
                    await uninterrupted(self._roll_back())
                    raise

    async def _roll_back(self) -> None:
        """Leave no transaction open, not even one that begins after its caller was cancelled (rule 4)."""
        with suppress(sqlite3.Error, ValueError):
            await self.rows("SELECT 1")  # what was sent before has ended when this has
        if self._connection.in_transaction:
            await self.run("ROLLBACK")

    async def rows(self, sql: str, parameters: Iterable[object] = ()) -> list[Row]:
        """Return all rows of a statement."""
        return [tuple(row) for row in await self._connection.execute_fetchall(sql, tuple(parameters))]

    async def value(self, sql: str, parameters: Iterable[object] = ()) -> Any:
        """Return the first column of the first row, None when there is no row."""
        rows = await self.rows(sql, parameters)
        return rows[0][0] if rows else None

    async def run(self, sql: str, parameters: Iterable[object] = ()) -> None:
        """Run a statement that gives no rows."""
        async with self._connection.execute(sql, tuple(parameters)):
            pass

    async def run_many(self, sql: str, parameters: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each set of parameters."""
        if parameters:
            async with self._connection.executemany(sql, parameters):
                pass

    @property
    def changes(self) -> int:
        """How many rows were changed since opening, those of a virtual table's own tables included."""
        return self._connection.total_changes

    async def empty_wal(self) -> None:
        """Move everything into the database file and cut the WAL to nothing, so no old page is left in it."""
        async with self.reading():
            await self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    async def wipe_gaps(self) -> None:
        """Wipe what SQLite left in the gaps of pages, on disk when it returns; others read and write in between.

        A row that was deleted before this began is in no gap afterwards: what is moved meanwhile was never that row.
        """
        await self.empty_wal()
        with _our_errors(self.path):
            found = await asyncio.to_thread(self._uncleared)
            for first in range(0, len(found), _WIPED_AT_ONCE):
                await uninterrupted(self._wipe(found[first : first + _WIPED_AT_ONCE]))
            if found:
                await asyncio.to_thread(os.fsync, self._file)

    def _uncleared(self) -> list[int]:
        if self._file < 0:
            self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        return gaps.uncleared(self._file)

    async def _wipe(self, pages: Sequence[int]) -> None:
        async with self.reading():
            await self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            await asyncio.to_thread(gaps.clear, self._file, pages)
            await self.rows("PRAGMA shrink_memory")  # a page in the cache still has the gap as it was

    async def close(self) -> None:
        """Close; what was committed is on disk already."""
        async with self._lock:
            await self._connection.close()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


async def open_database(path: Path) -> tuple[Database, str]:
    """Open or make the database, with its tables; return it and the problem that was met, "" for none.

    A corrupt one is moved to `<name>.corrupt-<date>` and replaced by an empty one. Raises `StorageError` when the disk
    does not allow either, or another process has the database open.
    """
    try:
        return await _open(path), ""
    except DamagedDatabase as error:
        return await replace_damaged(path, error)


async def replace_damaged(path: Path, error: DamagedDatabase) -> tuple[Database, str]:
    """Move a closed database aside and make an empty one (rule 6); return it and what to tell people."""
    aside = _move_aside(path)
    problem = f"the database was damaged ({error}); it was moved to {aside.name}, records come back from other nodes"
    _log.error("%s: %s", path, problem)
    return await _open(path), problem


class DamagedDatabase(StorageError):
    """The file is not a whole database."""


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # SQLite gives the WAL the same mode


async def _open(path: Path) -> Database:
    with _our_errors(path):
        _make_private(path)
        connection = await aiosqlite.connect(path, isolation_level=None, timeout=1.0)
    database = Database(path, connection)
    try:
        with _our_errors(path):
            await _prepare(database, connection)
    except BaseException:
        await connection.close()
        raise
    return database


async def _prepare(database: Database, connection: aiosqlite.Connection) -> None:
    if not database.path.stat().st_size:
        await database.rows("PRAGMA auto_vacuum = INCREMENTAL")  # only before there is anything in it
    for pragma in _PRAGMAS:
        await database.rows(pragma)
    await connection.create_function("digest", 1, digest, deterministic=True)
    await connection.create_function("index_text", 2, stemming.index_text, deterministic=True)
    suspected = _suspected(database.path)
    if suspected.exists() or database.path.stat().st_size <= _CHECK_UP_TO_BYTES:
        found = await database.value("PRAGMA quick_check(1)")
        suspected.unlink(missing_ok=True)
        if found != "ok":
            raise DamagedDatabase(str(found))
    await _migrate(database, connection)


async def _migrate(database: Database, connection: aiosqlite.Connection) -> None:
    version = int(await database.value("PRAGMA user_version"))
    if version > len(MIGRATIONS):
        raise StorageError(f"{database.path} was written by a newer tarsd (schema {version}); start that version")
    if 0 < version < len(MIGRATIONS):
        await _in_its_thread(connection, migration.back_up, database.path, version)
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        async with database.writing():
            for statement in script.split(";"):
                if statement.strip():
                    await database.run(statement)
            await database.run(f"PRAGMA user_version = {number}")


async def _in_its_thread(
    connection: aiosqlite.Connection, work: Callable[[sqlite3.Connection, Path, int], object], path: Path, number: int
) -> None:
    """Do blocking work with the connection where it lives."""
    run: Any = connection._execute  # noqa: SLF001 - there is no public way to its thread
    await run(work, connection._conn, path, number)  # noqa: SLF001


def _move_aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    with _our_errors(path):
        path.rename(aside)
        _suspected(path).unlink(missing_ok=True)
        for suffix in ("-wal", "-shm"):
            companion = path.with_name(path.name + suffix)
            if companion.exists():
                companion.rename(aside.with_name(aside.name + suffix))
    return aside


def damaged_copies(path: Path) -> list[str]:
    """Return the names of databases that were moved aside, damaged or for a restored one; what is forgotten may still
    stand in them.
    """
    kinds = ("corrupt", "before-restore")
    return sorted(each.name for kind in kinds for each in path.parent.glob(f"{path.name}.{kind}-*"))


def suspect(path: Path) -> None:
    """Have the whole file checked at the next start, however large it is, and mended there (rule 6)."""
    with suppress(OSError):
        _suspected(path).touch(mode=0o600)


def _suspected(path: Path) -> Path:
    return path.with_name(f"{path.name}.suspected")


def newest_damaged(path: Path) -> str:
    """Return the name of the damaged database that was moved aside last."""
    return max((each for each in damaged_copies(path) if ".corrupt-" in each and not each.endswith("-wal")), default="")


@contextmanager
def _our_errors(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not _is_corruption(error):
            raise StorageError(f"{path}: {error}") from error
        suspect(path)
        raise DamagedDatabase(f"{path}: {error}") from error
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        if "connection closed" in str(error).lower() or "no active connection" in str(error).lower():
            raise StorageError(f"{path} is closed") from error
        raise


def _is_corruption(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
