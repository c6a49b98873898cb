from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from memory_help import ANA, BOB, OpenStore, add_document

from tarsd.errors import StorageError
from tarsd.memory import database
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.schema import MIGRATIONS
from tarsd.memory.store import Store


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8192] = b"\xa5" * 8192
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["garbage", "holes", "cut"])
async def test_a_damaged_database_is_moved_aside_and_replaced(open_store: OpenStore, tmp_path: Path, how: str) -> None:
    store = await open_store()
    await add_document(store, "boiler", ["text " * 100] * 50)
    await store.close()
    path = tmp_path / "store.db"
    match how:
        case "garbage":
            path.write_bytes(b"this is no database" * 1000)
        case "holes":
            damage(path)
        case "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    bad = path.read_bytes()
    store = await open_store()
    (aside,) = [each for each in files(tmp_path) if "corrupt" in each.name and not each.name.endswith("-wal")]
    assert aside.read_bytes() == bad
    assert aside.name in store.problem
    assert store.problem in (await store.integrity_check())[0]
    await add_document(store, "boiler", ["text"])
    assert await store.document_count() == 1


async def test_a_second_process_cannot_open_it(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="locked"):
        await Store.open(tmp_path / "store.db", ANA)


async def test_a_database_of_a_newer_version_is_left_alone(open_store: OpenStore, tmp_path: Path) -> None:
    await (await open_store()).close()
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(StorageError, match="newer tarsd"):
        await open_store()
    assert [each.name for each in files(tmp_path)] == ["store.db"]


async def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        await Store.open(tmp_path / "file" / "store.db", ANA)


async def test_only_its_owner_may_read_it(store: Store, tmp_path: Path) -> None:
    await add_document(store, "boiler", ["text"])
    assert {path.name: path.stat().st_mode & 0o077 for path in files(tmp_path)} == {
        "store.db": 0,
        "store.db-wal": 0,
    }


async def test_commits_are_on_disk_and_deleted_text_is_overwritten(store: Store) -> None:
    async with store._database.reading():
        pragmas = {
            name: await store._database.value(f"PRAGMA {name}")
            for name in ("journal_mode", "synchronous", "secure_delete", "locking_mode", "temp_store")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "locking_mode": "exclusive",
        "temp_store": 2,
    }


async def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    await add_document(store, "boiler", ["text"])
    before = await store.counts()

    async def fail() -> None:
        async with store._database.writing():
            await store._database.run("DELETE FROM log")
            await store._database.run("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(StorageError):
        await fail()
    assert await store.counts() == before


async def test_a_full_disk_is_a_storage_error_and_nothing_is_half_written(store: Store) -> None:
    await add_document(store, "boiler", ["text"])
    before = await store.vector()
    async with store._database.reading():
        pages = await store._database.value("PRAGMA page_count")
        await store._database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="full"):
        await add_document(store, "large", ["many words " * 2000] * 20)
    assert await store.vector() == before
    async with store._database.reading():
        await store._database.rows("PRAGMA max_page_count = 1000000")
    await add_document(store, "large", ["many words"])
    assert await store.integrity_check() == []


async def test_damage_in_a_file_too_large_to_check_at_each_start_is_met_like_any_other(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store()
    await store.append("memory", "", MemoryBody("m", "text"))
    root = (await store.rows("SELECT rootpage FROM sqlite_master WHERE name = 'log'"))[0][0]
    size = (await store.rows("PRAGMA page_size"))[0][0]
    await store.close()
    with (tmp_path / "store.db").open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    monkeypatch.setattr(database, "_CHECK_UP_TO_BYTES", 0)
    store = await open_store()
    assert "damaged" in store.problem
    await store.append("memory", "", MemoryBody("n", "text"))
    assert len(store.damaged_copies()) == 1


def overwrite(path: Path, page: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


async def root_of(store: Store, name: str) -> tuple[int, int]:
    (root,) = (await store.rows("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)))[0]
    return root, (await store.rows("PRAGMA page_size"))[0][0]


@pytest.mark.parametrize("table", ["meta", "sqlite_autoindex_log_1", "visible", "keywords_data", "memories"])
async def test_damage_elsewhere_costs_no_record_though_no_other_node_is_there(
    open_store: OpenStore, tmp_path: Path, table: str
) -> None:
    store = await open_store()
    await store.append_many([("memory", "", MemoryBody(f"m{each}", f"text {each}")) for each in range(300)])
    await store.forget("memory/m7")
    heads, page = store.heads(), await root_of(store, table)
    await store.close()
    overwrite(tmp_path / "store.db", *page)
    store = await open_store()
    assert "301 records could be read" in store.problem
    assert store.heads() == heads
    assert await store.integrity_check() == [store.problem]
    shown = {name for (name,) in await store.rows("SELECT memory FROM memories")}
    assert shown == {f"m{each}" for each in range(300)} - {"m7"}


async def test_what_follows_a_lost_record_is_kept_and_peers_bring_what_was_lost(
    open_store: OpenStore, tmp_path: Path
) -> None:
    store, peer = await open_store(), await open_store("peer", BOB)
    await store.append_many([("memory", "", MemoryBody(f"m{each}", f"{each} " * 4000)) for each in range(40)])
    records = await store.records_since({})
    await peer.apply(records)
    await store.close()
    path = tmp_path / "store.db"
    data = bytearray(path.read_bytes())
    at = data.index(b"20 20 20 20 20") // 4096 * 4096
    data[at : at + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    store = await open_store()
    shown = {name for (name,) in await store.rows("SELECT memory FROM memories")}
    assert 20 < len(shown) < 40
    assert "m39" in shown
    await store.apply(await peer.records_since(await store.vector()))
    await peer.apply(await store.records_since(await peer.vector()))
    assert [len(await each.rows("SELECT memory FROM memories")) for each in (store, peer)] == [40, 40]
    assert store.mark() == peer.mark()


@pytest.mark.parametrize("table", ["log", "visible", "keywords_idx", "graves", "sqlite_autoindex_memories_1"])
async def test_damage_that_is_met_while_the_node_runs_is_mended_at_the_next_start(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(database, "_CHECK_UP_TO_BYTES", 0)
    store = await open_store()
    await store.append_many([("memory", "", MemoryBody(f"m{each}", f"text {each} " * 40)) for each in range(300)])
    page = await root_of(store, table)
    await store.close()
    store = await open_store()
    overwrite(tmp_path / "store.db", *page)
    await store._database.run("PRAGMA cache_size = 1")
    assert "started again" in (await store.integrity_check())[-1]
    await store.close()
    store = await open_store()
    assert "records could be read" in store.problem
    await store.append("memory", "", MemoryBody("new", "text"))
    assert await store.integrity_check() == [store.problem]
    assert not (tmp_path / "store.db.suspected").exists()
