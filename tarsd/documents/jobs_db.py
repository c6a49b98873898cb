"""The table of ingest jobs, in its own SQLite file: what must be known after a restart.

One connection, so SQLite's WAL-reset bug cannot strike; `synchronous=FULL` since a row says that a document is safe;
`secure_delete` since a file's name is a person's text too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec

from tarsd.calls import IngestItem
from tarsd.errors import StorageError

_KEEP_ENDED = 500

_MIGRATIONS = (
    """CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        job TEXT NOT NULL UNIQUE,
        file TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        language TEXT NOT NULL,
        stage TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        done INTEGER NOT NULL DEFAULT 0,
        total INTEGER NOT NULL DEFAULT 0,
        passages INTEGER NOT NULL DEFAULT 0,
        reason TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE UNIQUE INDEX one_active_job_per_document ON jobs (sha256)
        WHERE stage IN ('queued', 'parsing', 'embedding');""",
)
_COLUMNS = "job, file, size_bytes, sha256, language, stage, attempts, done, total, passages, reason"


class Job(msgspec.Struct, frozen=True):
    """One row: a document that was taken in, and what became of it."""

    job: str
    file: str
    size_bytes: int
    sha256: str
    language: str = ""
    stage: str = "queued"
    attempts: int = 0  # how often reading it was begun
    done: int = 0
    total: int = 0
    passages: int = 0
    reason: str = ""

    def item(self) -> IngestItem:
        """Return the job as callers see it."""
        return msgspec.convert({**msgspec.structs.asdict(self), "document": self.sha256}, IngestItem, strict=True)


class JobsDb:
    """The open database. Every method raises `StorageError` when the disk fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: aiosqlite.Connection | None = None

    async def open(self) -> None:
        """Open or create it, readable by this user only."""
        try:
            self._path.touch(mode=0o600)
            self._db = await aiosqlite.connect(self._path, isolation_level=None)
            await self._db.executescript("PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;")
            await self._migrate(self._db)
        except (sqlite3.Error, OSError) as error:
            await self.close()
            raise StorageError(f"{self._path} cannot be used: {error}") from error

    async def close(self) -> None:
        """Close it; it may be opened again."""
        db, self._db = self._db, None
        if db is not None:
            await db.close()

    async def insert(self, job: Job) -> bool:
        """Add a job; False when the same document is waiting already (rule of the table's index)."""
        values = msgspec.structs.astuple(job)
        rows = await self._run(
            f"INSERT INTO jobs ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})"  # noqa: S608
            " ON CONFLICT DO NOTHING RETURNING job",
            values,
        )
        return bool(rows)

    async def update(self, job: Job) -> None:
        """Write what changed, keyed by `job.job`."""
        await self._run(
            "UPDATE jobs SET stage = ?, attempts = ?, done = ?, total = ?, passages = ?, reason = ? WHERE job = ?",
            (job.stage, job.attempts, job.done, job.total, job.passages, job.reason, job.job),
        )

    async def find(self, job: str) -> Job | None:
        """Return the job of that id."""
        rows = await self._select("WHERE job = ?", (job,))
        return rows[0] if rows else None

    async def active(self, sha256: str = "") -> list[Job]:
        """Return the jobs that have not ended, oldest first; only that of one document where it is given."""
        where = "WHERE stage IN ('queued', 'parsing', 'embedding')"
        if sha256:
            return await self._select(f"{where} AND sha256 = ?", (sha256,))
        return await self._select(f"{where} ORDER BY number", ())

    async def newest(self, limit: int) -> list[Job]:
        """Return the latest jobs, newest first."""
        return await self._select("ORDER BY number DESC LIMIT ?", (limit,))

    async def forget(self, sha256: str) -> list[str]:
        """Delete every job of a document, and return their ids."""
        return [str(row[0]) for row in await self._run("DELETE FROM jobs WHERE sha256 = ? RETURNING job", (sha256,))]

    async def prune(self) -> None:
        """Delete the oldest ended jobs beyond the newest `_KEEP_ENDED`."""
        await self._run(
            "DELETE FROM jobs WHERE stage NOT IN ('queued', 'parsing', 'embedding') AND number <= "
            "(SELECT coalesce(max(number), 0) FROM jobs) - ?",
            (_KEEP_ENDED,),
        )

    async def _select(self, where: str, values: Sequence[object]) -> list[Job]:
        rows = await self._run(f"SELECT {_COLUMNS} FROM jobs {where}", values)  # noqa: S608 - only words of this file
        return [Job(*row) for row in rows]

    async def _run(self, statement: str, values: Sequence[object]) -> list[Any]:
        if self._db is None:
            raise StorageError("the table of ingest jobs is not open")
        try:
            async with self._db.execute(statement, values) as cursor:
                return list(await cursor.fetchall())
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from error

    async def _migrate(self, db: aiosqlite.Connection) -> None:
        async with db.execute("PRAGMA user_version") as cursor:
            row = await cursor.fetchone()
        version = int(row[0]) if row else 0
        for number, script in enumerate(_MIGRATIONS[version:], version + 1):
            await db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
