"""Makes backups while the node works: the records alone, consistent, in small steps.

Rules
1. What is rebuilt from the log is left out; so are the node's name for its chain and what it knows of others: a node
   that is restored goes on under a new name, as any that was set back.
2. Rows are copied a few hundred at a time, and questions are answered in between. The last rows are copied while
   nothing can be written. Where something already copied was erased or renamed meanwhile, it is begun again; the third
   time nothing is written until it is through.
3. The oldest ones go when there are more than are to be kept: never the one just made, never those made before a
   migration, never the files of other nodes.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite

from tarsd.memory.backup_file import (
    SUFFIX,
    Backup,
    Manifest,
    account,
    disk_errors,
    finish,
    holds,
    listed,
    read_manifest,
)
from tarsd.memory.log import Grave
from tarsd.memory.schema import LOG_COLUMNS, MIGRATIONS
from tarsd.memory.store import Store

_BATCH = 400
_ATTEMPTS = 3
_AT_THE_END = {
    "waiting": f"{LOG_COLUMNS}, state",
    "graves": "key, hlc, origin",
    "quarantine": "number, origin, seq, sha, reason, seen_at",
}


async def make(
    store: Store, folder: Path, node: str, name: str, now_s: Callable[[], float] = time.time
) -> tuple[Path, Manifest]:
    """Write a backup of the store into `folder`; return its path and manifest. Raises `StorageError`."""
    at = now_s()
    path = _free_name(folder, f"{_file_name(name)}-{time.strftime('%Y%m%dT%H%M%S', time.localtime(at))}")
    draft = path.with_suffix(".part")
    try:
        with disk_errors(path):
            await asyncio.to_thread(_begin, draft)
            async with aiosqlite.connect(draft, isolation_level=None) as target:
                await target.execute("PRAGMA synchronous = OFF")  # it is brought to the disk before it gets its name
                await target.execute("PRAGMA journal_mode = OFF")
                await _copy(store, target)
            heads, counts = await asyncio.to_thread(_counted, draft)
        manifest = Manifest(node=node, name=name, made_at=at, schema=len(MIGRATIONS), heads=heads, counts=counts)
        return path, await asyncio.to_thread(finish, draft, manifest, path)
    finally:
        draft.unlink(missing_ok=True)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:60] or "node"


def _free_name(folder: Path, stem: str) -> Path:
    stems = (stem if not number else f"{stem}-{number}" for number in range(10_000))
    return next(path for path in (folder / f"{each}{SUFFIX}" for each in stems) if not path.exists())


def _begin(draft: Path) -> None:
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    connection = sqlite3.connect(draft)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for script in MIGRATIONS:
            connection.executescript(script)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    finally:
        connection.close()


def _counted(draft: Path) -> tuple[dict[str, tuple[int, str]], dict[str, int]]:
    connection = sqlite3.connect(draft)
    try:
        return account(connection)
    finally:
        connection.close()


async def _copy(store: Store, target: aiosqlite.Connection) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        async with store.unchanged() if attempt == _ATTEMPTS else _nothing():
            before = store.rewrites
            last = await _copy_log(store, target, 0)
            if attempt == _ATTEMPTS:
                return await _end(store, target, last)
        async with store.unchanged():
            if store.rewrites == before:
                return await _end(store, target, last)
        await target.execute("DELETE FROM log")
    return None


@asynccontextmanager
async def _nothing() -> AsyncGenerator[None, None]:
    yield


async def _copy_log(store: Store, target: aiosqlite.Connection, last: int) -> int:
    columns = f"id, {LOG_COLUMNS}, state"
    while True:
        found = await store.rows(
            f"SELECT {columns} FROM log WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608
            (last, _BATCH),
        )
        if not found:
            return last
        await _insert(target, "log", columns, found)
        last = found[-1][0]


async def _end(store: Store, target: aiosqlite.Connection, last: int) -> None:
    """Copy what came meanwhile, and the small tables; nothing is written while this runs."""
    await _copy_log(store, target, last)
    for table, columns in _AT_THE_END.items():
        await _insert(target, table, columns, await store.rows(f"SELECT {columns} FROM {table}"))  # noqa: S608


async def _insert(target: aiosqlite.Connection, table: str, columns: str, found: list[tuple[object, ...]]) -> None:
    if found:
        marks = ", ".join("?" * len(found[0]))
        await target.execute("BEGIN")
        await target.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", found)  # noqa: S608
        await target.execute("COMMIT")


# --- which are kept -------------------------------------------------------------------------------------------------


def surplus(folder: Path, node: str, keep: int) -> list[Path]:
    """Return this node's backups beyond the newest `keep` (rule 3); blocks on the disk."""
    mine = [each for each in listed(folder) if _is_usual(each, node)]
    return [Path(each.path) for each in mine[max(1, keep) :]]


def _is_usual(backup: Backup, node: str) -> bool:
    return backup.manifest is not None and backup.manifest.node == node and ".schema-" not in Path(backup.path).name


async def graves(store: Store) -> dict[str, Grave]:
    """Return all that the store knows as forgotten."""
    found = await store.rows("SELECT key, hlc, origin FROM graves")
    return {key: Grave(hlc, origin) for key, hlc, origin in found}


def with_forgotten(folder: Path, known: dict[str, Grave], fresh: Path) -> list[Path]:
    """Return the backups beside `fresh` in which stands, or may stand, what is forgotten now; blocks on the disk."""
    read_manifest(fresh)
    return [path for path in sorted(folder.glob(f"*{SUFFIX}")) if path != fresh and holds(path, known)]
