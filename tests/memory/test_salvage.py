"""What is taken over of a damaged database: sound records only, whatever the damaged rows are read as."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tarsd.memory import salvage
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.store import Store
from tarsd.names import NodeId

NODE = NodeId("a" * 32)


async def some_records(path: Path, count: int) -> None:
    store = await Store.open(path, NODE)
    for number in range(count):
        await store.append("memory", "", MemoryBody(f"m{number}", f"text {number}"))
    await store.close()


def changed(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'log'"
        )  # a damaged row heeds no constraint
    with closing(sqlite3.connect(path)) as connection, connection:
        for name in [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(sql)


def keys(path: Path) -> list[str]:
    return [record.key for batch in salvage.readable(path) for record in batch]


@pytest.mark.parametrize("column", ["seq", "hlc", "kind", "body", "sha"])
async def test_a_row_that_reads_as_nothing_is_left_out(tmp_path: Path, column: str) -> None:
    path = tmp_path / "memory.db"
    await some_records(path, 5)
    await asyncio.to_thread(changed, path, f"UPDATE log SET {column} = NULL WHERE id = 3")
    assert len(await asyncio.to_thread(keys, path)) == 4


async def test_a_highest_number_that_is_read_wrong_does_not_keep_it_looking_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    await some_records(path, 5)
    await asyncio.to_thread(changed, path, f"UPDATE log SET id = {2**62} WHERE id = 5")
    assert len(await asyncio.to_thread(keys, path)) == 4


async def test_a_salvage_that_fails_leaves_no_open_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "memory.db"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)

    def broken(path: Path) -> None:
        raise RuntimeError("cannot")

    monkeypatch.setattr(salvage, "readable", broken)
    with pytest.raises(RuntimeError):
        await Store.open(path, NODE)
    store = await Store.open(path, NODE)  # which would wait for the lock
    await store.close()
