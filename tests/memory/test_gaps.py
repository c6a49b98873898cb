"""After an erasure gaps are wiped: SQLite leaves bytes in those of pages that rows were moved from."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

import tarsd.memory.database
from bench.crashes.promises import key_of, text_of
from tarsd.memory import gaps
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.database import Database
from tarsd.memory.store import Store

SEED = 7  # a history that leaves some, found by trying


async def after_a_history(store: Store) -> list[str]:
    """Write and forget in turns; return what was forgotten."""
    random, names, gone = Random(SEED), list[str](), list[str]()
    for turn in range(50):
        new = [f"s{SEED}i{turn}n{number}" for number in range(random.choice((3, 3, 3, 30)))]
        await store.append_many([("memory", key_of(name), MemoryBody(name, text_of(name))) for name in new])
        names += new
        gone.append(names.pop(random.randrange(len(names))))
        await store.forget(key_of(gone[-1]))
    return gone


async def after_a_history_without_wiping(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what was forgotten, and stands in gaps still."""
    with monkeypatch.context() as patched:
        patched.setattr(Database, "wipe_gaps", nothing)
        gone = await after_a_history(store)
    assert left(folder, gone)
    return gone


def left(folder: Path, names: list[str]) -> list[str]:
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("store.db*")))
    return [name for name in names if f"canary{name}x".encode() in content]


async def test_no_byte_stays_in_a_gap(store: Store, tmp_path: Path) -> None:
    assert left(tmp_path, await after_a_history(store)) == []


async def test_what_a_version_before_left_to_the_night_is_done_by_night(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = await after_a_history_without_wiping(store, tmp_path, monkeypatch)
    await store.keep_fact("rewrite_due", "1")
    await store.optimize()
    assert left(tmp_path, gone) == []
    assert not await store.fact("rewrite_due")
    assert await store.integrity_check() == []


async def nothing(database: Database) -> None:
    """Leave the gaps as they are."""


async def test_what_was_read_before_does_not_come_back_when_its_page_is_written_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = await after_a_history_without_wiping(store, tmp_path, monkeypatch)
    await store._database.empty_wal()
    await store.rows("SELECT * FROM log JOIN keywords_content USING (id)")  # its pages are in the cache as they were
    await store._database.wipe_gaps()
    await write_every_page(store._database)
    assert left(tmp_path, gone) == []


async def write_every_page(database: Database) -> None:
    async with database.writing():
        await database.run("UPDATE log SET hlc = hlc + 1")
        await database.run("UPDATE keywords_content SET c0 = upper(c0)")


async def test_what_is_written_between_looking_and_wiping_brings_nothing_back_from_the_wal(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = await after_a_history_without_wiping(store, tmp_path, monkeypatch)
    wipe = store._database._wipe

    async def late(pages: Sequence[int]) -> None:
        await write_every_page(store._database)
        await wipe(pages)

    monkeypatch.setattr(store._database, "_wipe", late)
    await store._database.wipe_gaps()
    await store._database.empty_wal()
    assert left(tmp_path, gone) == []


async def test_people_read_and_write_while_gaps_are_wiped(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = await after_a_history_without_wiping(store, tmp_path, monkeypatch)
    monkeypatch.setattr(tarsd.memory.database, "_WIPED_AT_ONCE", 1)
    wiping = asyncio.create_task(store._database.wipe_gaps())
    written = 0
    while not wiping.done():
        written += 1
        await store.append("memory", "", MemoryBody(f"meanwhile{written}", text_of(f"meanwhile{written}")))
    await wiping
    assert written > 1
    assert await store.body_of(key_of(f"meanwhile{written}"))
    assert left(tmp_path, gone) == []
    assert await store.integrity_check() == []


async def test_a_cancelled_wiping_leaves_a_whole_database(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Database, "wipe_gaps", nothing)
        await after_a_history(store)
    began, may_end, clear = threading.Event(), threading.Event(), gaps.clear
    ended: list[bool] = []

    def slow(file: int, pages: Sequence[int]) -> None:
        began.set()
        may_end.wait(10)
        clear(file, pages)
        ended.append(True)

    monkeypatch.setattr(gaps, "clear", slow)
    wiping = asyncio.create_task(store._database.wipe_gaps())
    await asyncio.to_thread(began.wait)
    wiping.cancel()
    written = asyncio.create_task(store.append("memory", "", MemoryBody("after", "it waits")))
    asyncio.get_running_loop().call_soon(may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await wiping
    assert ended
    await written
    assert await store.integrity_check() == []


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump(), *map(str, connection.execute("PRAGMA integrity_check"))]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("vacuum", ["NONE", "INCREMENTAL"])
@pytest.mark.parametrize("page_bytes", [512, 4096, 65536])
def test_wiping_changes_nothing_that_a_database_says(tmp_path: Path, seed: int, vacuum: str, page_bytes: int) -> None:
    path, random = tmp_path / "any.db", Random(seed)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute(f"PRAGMA auto_vacuum = {vacuum}")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT, data BLOB)")
        connection.execute("CREATE INDEX by_text ON rows (text)")
        connection.execute("CREATE TABLE named (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        for turn in range(random.choice((0, 3, 900))):
            value = (random.randrange(400), str(random.random()), random.randbytes(random.choice((0, 9, 700, 9000))))
            connection.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", value)
            connection.execute("INSERT OR REPLACE INTO named VALUES (?, ?)", (value[1][:4], value[2][:50]))
            if turn % 3 == 0:
                connection.execute("DELETE FROM rows WHERE id = ?", (random.randrange(400),))
    before = content(path)
    with path.open("r+b") as file:
        found = gaps.uncleared(file.fileno())
        gaps.clear(file.fileno(), found)
        assert gaps.uncleared(file.fileno()) == []
    assert content(path) == before


def test_a_page_that_is_none_of_a_tree_has_no_gap() -> None:
    layout = gaps.Layout(512, 512, 1000, has_pointer_map=True)
    full = bytes([5]) + bytes(range(100)) * 5
    assert [number for number in range(1, 300) if layout.is_pointer_map(number)] == [2, 105, 208]
    assert gaps.gap_of(memoryview(full), 2, layout) == (0, 0)
    assert gaps.gap_of(memoryview(bytes(512)), 7, layout) == (0, 0)


def test_the_pointer_map_makes_way_for_the_page_of_the_locks() -> None:
    layout = gaps.Layout(1024, 1024, 2**21, has_pointer_map=True)
    lock = 2**30 // 1024 + 1
    assert [number for number in range(lock - 1, lock + 3) if layout.is_pointer_map(number)] == [lock, lock + 1]


async def test_without_an_erasure_no_page_is_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.append("memory", "", MemoryBody("a", "text"))
    looked: list[int] = []
    monkeypatch.setattr(gaps, "uncleared", looked.append)
    await store.optimize()
    assert looked == []
