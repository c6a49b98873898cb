from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from memory_help import ANA, BOB, OpenStore, add_document, sha

from tarsd.errors import InvalidInput, StorageError
from tarsd.memory import backup, restore
from tarsd.memory.backup_file import FOLDER, Manifest, backups_with, finish, listed, opened, read_manifest
from tarsd.memory.bodies import document_key
from tarsd.memory.schema import MIGRATIONS
from tarsd.memory.store import Store
from tarsd.memory.writer import RETELL_DUE
from tarsd.names import NodeId

KEY = document_key(sha("boiler"))


async def backed_up(store: Store, folder: Path) -> Path:
    return (await backup.make(store, folder / FOLDER, ANA, "pc1"))[0]


async def put_back(path: Path, database: Path, node: NodeId, *, any_node: bool = False) -> restore.Restored:
    return await asyncio.to_thread(restore.restore, path, database, node, any_node=any_node)


def count_of(path: Path, sql: str) -> int:
    with closing(opened(path)) as connection:
        return int(connection.execute(sql).fetchone()[0])


async def meet(one: Store, other: Store) -> None:
    """Bring all records to both, as peers do."""
    for _ in range(3):
        await other.apply(await one.records_since(await other.vector()))
        await one.apply(await other.records_since(await one.vector()))


async def test_a_backup_is_whole_and_for_its_owner_alone(store: Store, tmp_path: Path) -> None:
    await add_document(store, "boiler", ["the boiler", "is hot"])
    path, manifest = await backup.make(store, tmp_path / FOLDER, ANA, "pc 1/../x")
    assert path.parent == tmp_path / FOLDER
    assert path.name.startswith("pc_1_.._x-")
    assert path.stat().st_mode & 0o077 == 0
    assert read_manifest(path) == manifest
    assert manifest.heads == {store.origin: (3, store.heads()[store.origin][1].hex())}
    assert (manifest.schema, manifest.counts["records"], manifest.counts["with text"]) == (len(MIGRATIONS), 3, 3)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert await restore.prove(path, tmp_path / "scratch") == []
    assert not (tmp_path / "scratch").exists()


async def test_what_is_rebuilt_is_left_out(store: Store, tmp_path: Path) -> None:
    await add_document(store, "boiler", ["the boiler"])
    await store.keep_fact("known", "something of others")
    path = await backed_up(store, tmp_path)
    for table in ("meta", "keywords", "passages", "visible", "vectors"):
        assert await asyncio.to_thread(count_of, path, f"SELECT COUNT(*) FROM {table}") == 0


async def test_a_backup_is_of_one_moment_whatever_is_written_and_forgotten_meanwhile(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_BATCH", 10)
    store = await open_store()
    for number in range(30):
        await add_document(store, f"d{number}", ["words " * 5] * 4)
    done = asyncio.Event()

    async def disturb() -> int:
        turn = 0
        while not done.is_set():
            await add_document(store, f"new{turn}", ["more words"])
            if turn < 20:
                await store.forget_document(sha(f"d{turn}"))
            turn += 1
        return turn

    disturbing = asyncio.create_task(disturb())
    path = await backed_up(store, tmp_path)
    done.set()
    assert await disturbing > 0
    assert await restore.prove(path, tmp_path / "scratch") == []
    covered = """SELECT COUNT(*) FROM log JOIN graves ON log.key = graves.key OR log.key LIKE graves.key || '/%'
                 WHERE kind <> 'tombstone' AND state = 0 AND log.hlc < graves.hlc"""
    assert await asyncio.to_thread(count_of, path, covered) == 0


async def test_questions_are_answered_and_writes_go_on_while_it_is_made(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_BATCH", 1)
    store = await open_store()
    await add_document(store, "boiler", ["the boiler"] * 200)
    making = asyncio.create_task(backed_up(store, tmp_path))
    answered = 0
    while not making.done():
        assert await store.keyword_search("boiler", 1)
        await add_document(store, f"d{answered}", ["words"])
        answered += 1
    assert answered > 5
    assert await restore.prove(await making, tmp_path / "scratch") == []


async def test_a_failed_backup_leaves_no_file(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(draft: Path, manifest: Manifest, path: Path) -> Manifest:
        raise StorageError("full")

    monkeypatch.setattr(backup, "finish", full)
    with pytest.raises(StorageError):
        await backed_up(store, tmp_path)
    assert list((tmp_path / FOLDER).iterdir()) == []


async def test_what_a_crash_left_of_a_backup_goes_with_the_next(store: Store, tmp_path: Path) -> None:
    for left in (tmp_path / FOLDER / "pc1.part", tmp_path / "scratch" / "memory.db"):
        left.parent.mkdir()
        left.write_text("the secret canary")
    path = await backed_up(store, tmp_path)
    assert os.listdir(tmp_path / FOLDER) == [path.name]
    assert await restore.prove(path, tmp_path / "scratch") == []
    assert "scratch" not in os.listdir(tmp_path)


async def test_only_the_newest_of_this_node_are_kept(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    paths = [(await backup.make(store, folder, ANA, "pc1", lambda at=at: at))[0] for at in (1000.0, 3000.0, 2000.0)]
    other = (await backup.make(store, folder, BOB, "pc2", lambda: 1.0))[0]
    before_migration = folder / "memory.db.schema-1.tarsd-backup"
    shutil.copy(paths[0], before_migration)
    assert await asyncio.to_thread(backup.surplus, folder, ANA, 2) == [paths[0]]
    assert await asyncio.to_thread(backup.surplus, folder, ANA, 0) == [paths[2], paths[0]]
    assert other.exists()


# --- restoring ------------------------------------------------------------------------------------------------------


async def test_a_restored_node_goes_on_under_a_new_name_and_gets_back_what_it_wrote_later(
    open_store: OpenStore, tmp_path: Path
) -> None:
    ana, bob = await open_store("memory"), await open_store("bob", BOB)
    await add_document(ana, "boiler", ["the boiler"])
    path = await backed_up(ana, tmp_path)
    await add_document(ana, "later", ["written after the backup"])
    await meet(ana, bob)
    origin = ana.origin
    await ana.close()
    done = await put_back(path, tmp_path / "memory.db", ANA)
    assert (tmp_path / done.aside).stat().st_size > 0
    ana = await open_store("memory")
    assert await ana.document_count() == 1
    assert ana.origin != origin
    await add_document(ana, "new", ["written after restoring"])
    await meet(ana, bob)
    assert await ana.document_count() == await bob.document_count() == 3
    assert ana.mark() == bob.mark()
    assert await ana.integrity_check() == await bob.integrity_check() == []


async def test_what_peers_know_as_forgotten_stays_forgotten(open_store: OpenStore, tmp_path: Path) -> None:
    ana, bob = await open_store("memory"), await open_store("bob", BOB)
    await add_document(ana, "boiler", ["the secret canary"])
    path = await backed_up(ana, tmp_path)
    await meet(ana, bob)
    await bob.forget(KEY)
    await ana.close()
    await put_back(path, tmp_path / "memory.db", ANA)
    ana = await open_store("memory")
    assert await ana.document_count() == 1  # it cannot know yet
    await meet(ana, bob)
    assert await ana.document_count() == await bob.document_count() == 0
    assert ana.mark() == bob.mark()
    assert b"canary" not in (tmp_path / "memory.db").read_bytes() + (tmp_path / "memory.db-wal").read_bytes()


async def test_what_was_forgotten_here_stays_forgotten_without_any_peer(open_store: OpenStore, tmp_path: Path) -> None:
    ana = await open_store("memory")
    await add_document(ana, "boiler", ["the secret canary"])
    await add_document(ana, "car", ["the car"])
    path = await backed_up(ana, tmp_path)
    await ana.forget(KEY)
    await ana.close()
    assert (await put_back(path, tmp_path / "memory.db", ANA)).forgotten == 2
    ana = await open_store("memory")
    assert [each.body.file for each in await ana.documents()] == ["car.pdf"]
    assert b"canary" not in (tmp_path / "memory.db").read_bytes() + (tmp_path / "memory.db-wal").read_bytes()
    assert await ana.integrity_check() == []


async def test_a_running_node_is_not_restored(store: Store, tmp_path: Path) -> None:
    path = await backed_up(store, tmp_path)
    before = (tmp_path / "store.db").read_bytes()
    with pytest.raises(StorageError, match="stop tarsd"):
        await put_back(path, tmp_path / "store.db", ANA)
    assert (tmp_path / "store.db").read_bytes() == before


async def test_a_damaged_database_is_set_aside_with_its_wal(open_store: OpenStore, tmp_path: Path) -> None:
    ana = await open_store("memory")
    await add_document(ana, "boiler", ["the boiler"])
    path = await backed_up(ana, tmp_path)
    await ana.close()
    (tmp_path / "memory.db").write_bytes(b"no database " * 1000)
    (tmp_path / "memory.db-wal").write_bytes(b"no wal " * 1000)
    done = await put_back(path, tmp_path / "memory.db", ANA)
    assert (tmp_path / done.aside).read_bytes().startswith(b"no database")
    assert (tmp_path / f"{done.aside}-wal").read_bytes().startswith(b"no wal")
    assert done.note
    ana = await open_store("memory")
    assert (await ana.document_count(), ana.problem) == (1, "")


def _torn(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-100])
    return "not a whole backup"


def _bit(path: Path) -> str:
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    return "SHA-256"


def _longer(path: Path) -> str:
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(4096) + data[4096:])
    return "the size"


def _newer(path: Path) -> str:
    _reseal(path, schema=99)
    return "newer tarsd"


def _forged(path: Path) -> str:
    _reseal(path, "UPDATE log SET body = x'00' WHERE seq = 1")
    return "seal"


def _unlike(path: Path) -> str:
    _reseal(path, "DELETE FROM log WHERE seq = 2")
    return "counts"


def _reseal(path: Path, change: str = "", **fields: object) -> None:
    """Give a backup another content with a fitting SHA-256."""
    manifest = read_manifest(path)
    draft = path.with_suffix(".draft")
    draft.write_bytes(path.read_bytes()[: manifest.database_bytes])
    if change:
        with sqlite3.connect(draft) as connection:
            connection.execute(change)
        connection.close()
    finish(draft, msgspec.structs.replace(manifest, **fields), path)


@pytest.mark.parametrize("harm", [_torn, _bit, _longer, _newer, _forged, _unlike])
async def test_a_backup_that_is_not_right_changes_nothing(open_store: OpenStore, tmp_path: Path, harm: object) -> None:
    ana = await open_store("memory")
    await add_document(ana, "boiler", ["the boiler"])
    path = await backed_up(ana, tmp_path)
    await ana.close()
    said = await asyncio.to_thread(harm, path)
    before = (tmp_path / "memory.db").read_bytes()
    with pytest.raises(StorageError, match=said):
        await put_back(path, tmp_path / "memory.db", ANA)
    assert (tmp_path / "memory.db").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == [FOLDER, "memory.db"]
    assert said in (await restore.prove(path, tmp_path / "scratch"))[0]


async def test_a_backup_of_another_node_is_taken_only_when_it_is_meant(open_store: OpenStore, tmp_path: Path) -> None:
    ana = await open_store("ana")
    await add_document(ana, "boiler", ["the boiler"])
    path = await backed_up(ana, tmp_path)
    with pytest.raises(InvalidInput, match="another node, pc1"):
        await put_back(path, tmp_path / "memory.db", BOB)
    await put_back(path, tmp_path / "memory.db", BOB, any_node=True)
    bob = await open_store("memory", BOB)
    assert await bob.document_count() == 1
    assert bob.origin.startswith(BOB)


async def test_the_index_of_vectors_goes_since_it_names_other_records(store: Store, tmp_path: Path) -> None:
    path = await backed_up(store, tmp_path)
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "index").touch()
    await put_back(path, tmp_path / "memory.db", ANA)
    assert not (tmp_path / "vectors").exists()


# --- what is in them ------------------------------------------------------------------------------------------------


async def test_backups_with_a_text_are_named(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    await add_document(store, "boiler", ["the secret canary"])
    with_it = await backed_up(store, tmp_path)
    await store.forget(KEY)
    without = await backed_up(store, tmp_path)
    torn = folder / "torn.tarsd-backup"
    torn.write_bytes(b"torn")
    assert await asyncio.to_thread(backups_with, folder, [KEY]) == sorted([with_it.name, torn.name])
    assert await asyncio.to_thread(backups_with, folder, [document_key(sha("other"))]) == [torn.name]
    assert await asyncio.to_thread(backups_with, folder, []) == []
    known = await backup.graves(store)
    assert await asyncio.to_thread(backup.with_forgotten, folder, known, without) == sorted([with_it, torn])
    assert b"canary" not in without.read_bytes()


async def test_a_text_written_again_after_forgetting_is_not_forgotten(store: Store, tmp_path: Path) -> None:
    await add_document(store, "boiler", ["the boiler"])
    await store.forget(KEY)
    known = await backup.graves(store)
    await add_document(store, "boiler", ["the boiler"])
    again = await backed_up(store, tmp_path)
    other = await backed_up(store, tmp_path)
    assert await asyncio.to_thread(backup.with_forgotten, tmp_path / FOLDER, known, other) == []
    assert again.exists()


async def test_they_are_listed_newest_first_with_what_is_wrong(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    old, new = [(await backup.make(store, folder, ANA, "pc1", lambda at=at: at))[0] for at in (1000.0, 2000.0)]
    (folder / "torn.tarsd-backup").write_bytes(b"torn")
    found = await asyncio.to_thread(listed, folder)
    assert [each.path for each in found] == [str(new), str(old), str(folder / "torn.tarsd-backup")]
    assert [bool(each.problem) for each in found] == [False, False, True]


async def test_a_peer_that_was_off_hears_what_was_forgotten_though_the_restored_records_do_not_tell(
    open_store: OpenStore, tmp_path: Path
) -> None:
    ana, bob = await open_store("memory"), await open_store("bob", BOB)
    await add_document(ana, "boiler", ["the secret canary"])
    await add_document(ana, "car", ["the car"])
    await meet(ana, bob)
    path = await backed_up(ana, tmp_path)
    await ana.forget(KEY)
    await ana.close()
    await put_back(path, tmp_path / "memory.db", ANA)
    ana = await open_store("memory")
    await meet(ana, bob)
    assert [each.body.file for each in await bob.documents()] == ["car.pdf"]
    assert ana.mark() == bob.mark()
    assert b"canary" not in (tmp_path / "bob.db").read_bytes() + (tmp_path / "bob.db-wal").read_bytes()
    assert await ana.fact(RETELL_DUE) == ""
    records = sum((await ana.vector()).values())
    await ana.close()
    ana = await open_store("memory")
    assert sum((await ana.vector()).values()) == records


async def test_what_was_written_after_a_forgetting_outlives_that_it_is_told_again(
    open_store: OpenStore, tmp_path: Path
) -> None:
    ana, bob = await open_store("memory"), await open_store("bob", BOB)
    await add_document(ana, "boiler", ["the boiler"])
    path = await backed_up(ana, tmp_path)
    await ana.forget(KEY)
    await add_document(ana, "boiler", ["the boiler"])
    await bob.apply(await ana.records_since({}))
    await ana.close()
    await put_back(path, tmp_path / "memory.db", ANA)
    ana = await open_store("memory")
    await meet(ana, bob)
    assert await ana.document_count() == await bob.document_count() == 1
