"""Puts a backup in the place of the database, while the node is stopped; and proves that a backup could be.

Rules
1. Everything is verified first: the file by its SHA-256, the database's pages, every record's seal and chain, the
   counts. Until then nothing is touched.
2. What is there now is set aside under another name, never deleted. The exchange is one rename: a crash leaves the old
   or the new, whole.
3. The node goes on under a new name for its chain; what it wrote after the backup comes back from the others.
4. What the present database knows as forgotten stays so: its tombstones are laid over the restored records at once,
   which helps where no other node could tell; and the node tells them again when it starts (`Writer.retell_forgotten`).
5. The schema stays as it is in the backup: the version that made it can be started on it, a newer one migrates it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import msgspec

from tarsd.errors import InvalidInput, StorageError
from tarsd.memory.backup_file import Manifest, account, disk_errors, extract, read_manifest, sync_folder
from tarsd.memory.ledger import from_row
from tarsd.memory.log import EMPTY, Head, digest, fault
from tarsd.memory.schema import ERASE_COVERED, LOG_COLUMNS, MIGRATIONS
from tarsd.memory.store import Store
from tarsd.memory.writer import RETELL_DUE, SCRUB_DUE
from tarsd.names import NodeId

ASIDE = "before-restore"
_KEPT_WITH_THE_NODE = ("origin",)  # facts in `meta` of the node as it was, not of its records


class Restored(msgspec.Struct, frozen=True):
    """What was restored, where the old database lies now ("" when there was none), and how many texts stay forgotten.

    `note` says what could not be done, for a person.
    """

    manifest: Manifest
    aside: str
    forgotten: int
    note: str = ""


def restore(backup: Path, database: Path, node: str, *, any_node: bool = False) -> Restored:
    """Put a backup in place of `database`; raises `StorageError`, `InvalidInput` for a backup of another node."""
    manifest = read_manifest(backup)
    if manifest.node != node and not any_node:
        raise InvalidInput(
            f"{backup} is of another node, {manifest.name} ({manifest.node[:8]}); "
            "--any-node takes it nevertheless: its records are the household's"
        )
    fresh = database.with_name(f"{database.name}.restoring")
    aside: list[Path] = []
    try:
        with disk_errors(fresh):
            _unpack(backup, manifest, fresh)
            aside = _set_aside(database)
            _empty_wal(database)
            forgotten, note = _keep_forgotten(fresh, database)
            _leave_names(fresh)
            _exchange(fresh, database)
    except BaseException:
        for each in aside:
            each.unlink(missing_ok=True)
        raise
    finally:
        fresh.unlink(missing_ok=True)
    return Restored(manifest, aside[0].name if aside else "", forgotten, note)


def _set_aside(database: Path) -> list[Path]:
    """Give the files of the present database further names (rule 2); return those."""
    if not database.exists():
        return []
    stem = f"{database.name}.{ASIDE}-{time.strftime('%Y%m%dT%H%M%S')}"
    names = (stem if not number else f"{stem}-{number}" for number in range(10_000))
    aside = next(path for path in map(database.with_name, names) if not path.exists())
    os.link(database, aside)
    wal = _wal(database)
    if not wal.exists():
        return [aside]
    os.link(wal, _wal(aside))
    return [aside, _wal(aside)]


def _wal(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _empty_wal(database: Path) -> None:
    """Bring the WAL into the present database, so that the file stands alone; refuses while a node has it open."""
    if not database.exists() or not database.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(database, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StorageError(f"{database} is in use: stop tarsd on this PC first") from error
        # a damaged one stays aside as it is


def _unpack(backup: Path, manifest: Manifest, to: Path) -> None:
    """Write out the database of a backup and verify it (rule 1)."""
    if manifest.schema > len(MIGRATIONS):
        raise StorageError(
            f"{backup} was written by a newer tarsd (schema {manifest.schema}): restore it with that one"
        )
    extract(backup, manifest, to)
    with disk_errors(backup), closing(sqlite3.connect(to)) as connection:
        if problems := _problems(connection, manifest):
            raise StorageError(f"{backup} is damaged: {problems[0]}")


def _problems(connection: sqlite3.Connection, manifest: Manifest) -> list[str]:
    found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    if found != ["ok"]:
        return found
    heads, counts = account(connection)
    if connection.execute("PRAGMA user_version").fetchone()[0] != manifest.schema:
        return ["it is of another schema than its manifest says"]
    if heads != manifest.heads or counts != manifest.counts:
        return ["it has not the records that its manifest counts"]
    return [problem for origin in heads if (problem := _broken(connection, origin))]


def _broken(connection: sqlite3.Connection, origin: str) -> str:
    head = EMPTY
    found = connection.execute(f"SELECT {LOG_COLUMNS} FROM log WHERE origin = ? ORDER BY seq", (origin,))  # noqa: S608
    for record in map(from_row, found):
        broken = record.seq != head.seq + 1 or record.prev_sha != head.sha
        if reason := fault(record) or ("the chain is broken" if broken else ""):
            return f"record {origin}:{record.seq}: {reason}"
        head = Head(record.seq, record.sha)
    return ""


def _keep_forgotten(fresh: Path, present: Path) -> tuple[int, str]:
    """Erase what the present database knows as forgotten (rule 4); return how many texts, and why it could not."""
    if not present.exists() or not present.stat().st_size:
        return 0, ""
    try:
        with closing(sqlite3.connect(present)) as connection:
            graves = connection.execute("SELECT key, hlc, origin FROM graves").fetchall()
    except sqlite3.DatabaseError as error:
        return 0, f"what was forgotten since then cannot be read from the present database ({error})"
    with closing(sqlite3.connect(fresh)) as connection, connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.create_function("digest", 1, digest, deterministic=True)
        if graves:  # a peer that was off must hear of it, though the tombstones themselves are not in the backup
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, '1')", (RETELL_DUE,))
        return sum(_lay(connection, grave) for grave in graves), ""


def _lay(connection: sqlite3.Connection, grave: tuple[str, int, str]) -> int:
    connection.execute(
        """INSERT INTO graves VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET hlc = ?2, origin = ?3
           WHERE (hlc, origin) < (?2, ?3)""",
        grave,
    )
    connection.execute(f"UPDATE waiting {ERASE_COVERED}", grave[:2])
    erased = connection.execute(f"UPDATE log {ERASE_COVERED}", grave[:2]).rowcount
    if erased:  # its derived tables, where it has some, show them still; the file is rewritten at the next start
        connection.execute("DELETE FROM meta WHERE name = 'derived'")
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, '1')", (SCRUB_DUE,))
    return int(erased)


def _leave_names(fresh: Path) -> None:
    """Take out what was this node's own at that time (rule 3), and bring the file to the disk."""
    with closing(sqlite3.connect(fresh)) as connection, connection:
        marks = ", ".join("?" * len(_KEPT_WITH_THE_NODE))
        connection.execute(f"DELETE FROM meta WHERE name IN ({marks})", _KEPT_WITH_THE_NODE)  # noqa: S608
    with fresh.open("rb") as file:
        os.fsync(file.fileno())


def _exchange(fresh: Path, database: Path) -> None:
    """Give the restored database the place of the present one, which has another name by now (rule 2)."""
    sync_folder(database.parent)
    # Only a damaged database still has a WAL; it must not be played into this one.
    _wal(database).unlink(missing_ok=True)
    fresh.replace(database)
    # The index of vectors names records by their local numbers, which mean others now; it is built anew.
    shutil.rmtree(database.parent / "vectors", ignore_errors=True)
    sync_folder(database.parent)


async def prove(backup: Path, scratch: Path) -> list[str]:
    """Restore a backup into a scratch folder and look whether all is there; return what is wrong, [] = it is good.

    The folder is removed again. Raises nothing: a backup that cannot be restored is what this is to find.
    """
    try:
        return await _prove(backup, scratch)
    except (StorageError, InvalidInput) as error:
        return [str(error)]
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)


def _make_scratch(folder: Path) -> None:
    with disk_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)  # of a proof that was cut off
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


async def _prove(backup: Path, scratch: Path) -> list[str]:
    database = scratch / "memory.db"
    await asyncio.to_thread(_make_scratch, scratch)
    manifest = await asyncio.to_thread(read_manifest, backup)
    await asyncio.to_thread(restore, backup, database, manifest.node, any_node=True)
    store = await Store.open(database, NodeId(manifest.node))
    try:
        # Refused and unreadable records are the node's own trouble and were copied with the rest.
        own = ("quarantine:", "unreadable:")
        problems = [each for each in await store.integrity_check() if not each.startswith(own)]
        heads = {origin: (seq, sha.hex()) for origin, (seq, sha) in store.heads().items()}
        if heads != manifest.heads:
            problems.append("the restored records are not those of the manifest")
        counts = await store.counts()
        if counts["records"] != manifest.counts["records"]:
            problems.append(f"{counts['records']} records were restored of {manifest.counts['records']}")
        return problems
    finally:
        await store.close()
