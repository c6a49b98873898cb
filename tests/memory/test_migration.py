"""A database of the version before is backed up, migrated, and can be had back as it was."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from memory_help import ANA, OpenStore, add_document

from tarsd.errors import StorageError
from tarsd.memory import migration
from tarsd.memory.backup_file import FOLDER, read_manifest
from tarsd.memory.restore import restore
from tarsd.memory.schema import LOG_COLUMNS, MIGRATIONS

NAME = "memory.db.schema-1.tarsd-backup"


async def first_version(open_store: OpenStore, tmp_path: Path) -> None:
    """Leave a database as the first version of tarsd made it: its script, with true records."""
    store = await open_store("new")
    await add_document(store, "boiler", ["the boiler", "was serviced"])
    rows = await store.rows(f"SELECT id, {LOG_COLUMNS}, state FROM log")
    origin = store.origin
    await store.close()

    def write() -> None:
        with closing(sqlite3.connect(tmp_path / "memory.db")) as connection, connection:
            connection.executescript(MIGRATIONS[0])
            connection.executemany(f"INSERT INTO log VALUES ({', '.join('?' * 11)})", rows)
            connection.execute("INSERT INTO meta VALUES ('origin', ?)", (origin,))
            connection.execute("INSERT INTO models VALUES ('m', 1)")
            connection.execute("INSERT INTO vectors VALUES (1, 1, 'm', x'00000000')")
            connection.execute("INSERT INTO summaries VALUES (1, 's', 'en')")
            connection.execute("PRAGMA user_version = 1")

    await asyncio.to_thread(write)


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


async def test_it_is_backed_up_before_it_is_migrated(open_store: OpenStore, tmp_path: Path) -> None:
    await first_version(open_store, tmp_path)
    before = await asyncio.to_thread(content, tmp_path / "memory.db")
    store = await open_store("memory")
    assert await store.document_count() == 1
    await store.close()
    backup = tmp_path / FOLDER / NAME
    assert backup.stat().st_mode & 0o077 == 0
    assert await asyncio.to_thread(content, backup) == before
    assert (read_manifest(backup).schema, read_manifest(backup).node) == (1, ANA)


async def test_the_way_back_gives_the_version_before_its_database(open_store: OpenStore, tmp_path: Path) -> None:
    await first_version(open_store, tmp_path)
    before = await asyncio.to_thread(content, tmp_path / "memory.db")
    store = await open_store("memory")
    await add_document(store, "car", ["the car"])
    await store.close()
    done = await asyncio.to_thread(restore, tmp_path / FOLDER / NAME, tmp_path / "memory.db", ANA)
    after = await asyncio.to_thread(content, tmp_path / "memory.db")
    assert after == [line for line in before if "'origin'" not in line]
    assert (done.manifest.schema, "before-restore" in done.aside) == (1, True)
    # and this version can take it forward again
    store = await open_store("memory")
    assert await store.document_count() == 1
    assert await store.integrity_check() == []


async def test_a_database_of_this_version_is_not_backed_up(open_store: OpenStore, tmp_path: Path) -> None:
    await (await open_store()).close()
    await (await open_store()).close()
    assert FOLDER not in os.listdir(tmp_path)


async def test_too_little_room_changes_nothing(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await first_version(open_store, tmp_path)
    before = await asyncio.to_thread(content, tmp_path / "memory.db")
    monkeypatch.setattr(migration.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(StorageError, match=rf"{NAME}: \d+ bytes are needed .* 1000 are free"):
        await open_store("memory")
    assert await asyncio.to_thread(content, tmp_path / "memory.db") == before
    assert os.listdir(tmp_path / FOLDER) == []


async def test_a_copy_that_is_not_the_same_stops_the_migration(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await first_version(open_store, tmp_path)
    before = await asyncio.to_thread(content, tmp_path / "memory.db")
    answers = iter([({}, {}), ({"a": (1, "")}, {})])
    monkeypatch.setattr(migration, "account", lambda connection: next(answers))
    with pytest.raises(StorageError, match=r"not what memory\.db is"):
        await open_store("memory")
    assert await asyncio.to_thread(content, tmp_path / "memory.db") == before
    assert os.listdir(tmp_path / FOLDER) == []
