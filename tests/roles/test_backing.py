"""A node's backups by day and by night, on real files."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path

import msgspec
import pytest

from tarsd.memory import restore
from tarsd.memory.backup_file import FOLDER, backups_with
from tarsd.memory.bodies import document_key
from tarsd.memory.store import Store
from tarsd.roles.backing import Backing
from tests.memory.memory_help import add_document, sha
from tests.roles.role_help import ME, services


@pytest.fixture
async def store(tmp_path: Path):
    store = await Store.open(tmp_path / "memory.db", ME)
    yield store
    await store.close()


def backing(store: Store, folder: Path, keep: int = 7) -> Backing:
    given = services(store, None, [], data_dir=folder)
    memory = msgspec.structs.replace(given.config.memory, backups=keep)
    return Backing(dataclasses.replace(given, config=msgspec.structs.replace(given.config, memory=memory)))


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / FOLDER))


async def test_a_night_makes_a_backup_and_proves_it(store: Store, tmp_path: Path) -> None:
    await add_document(store, "boiler", ["the boiler"])
    result = await backing(store, tmp_path).nightly()["health_check"]()
    assert result.ok
    assert "2 records made and proven" in result.detail
    (name,) = names(tmp_path)
    assert await restore.prove(tmp_path / FOLDER / name, tmp_path / "again") == []
    assert sorted(os.listdir(tmp_path)) == [FOLDER, "memory.db", "memory.db-wal"]


async def test_no_more_than_wanted_are_kept(store: Store, tmp_path: Path) -> None:
    kept = backing(store, tmp_path, keep=2)
    made = [Path((await kept.make()).path).name for _ in range(4)]
    assert names(tmp_path) == sorted(made[2:])


async def test_backups_with_forgotten_texts_go_the_next_night(store: Store, tmp_path: Path) -> None:
    await add_document(store, "boiler", ["the secret canary"])
    kept, key = backing(store, tmp_path), document_key(sha("boiler"))
    first = Path((await kept.make()).path)
    await store.forget(key)
    await kept.make()
    assert first.name in names(tmp_path)  # not before a fresh one was proven
    result = await kept.back_up()
    assert "1 older ones with forgotten texts removed" in result.detail
    assert first.name not in names(tmp_path)
    assert len(names(tmp_path)) == 2
    assert await asyncio.to_thread(backups_with, tmp_path / FOLDER, [key]) == []
    for name in names(tmp_path):
        assert b"canary" not in (tmp_path / FOLDER / name).read_bytes()


async def test_nothing_goes_while_the_fresh_one_cannot_be_restored(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_document(store, "boiler", ["the secret canary"])
    kept = backing(store, tmp_path, keep=1)
    first = Path((await kept.make()).path)
    await store.forget(document_key(sha("boiler")))
    sound = Store.integrity_check

    async def unsound(self: Store) -> list[str]:
        return ["a page is gone"]

    monkeypatch.setattr(Store, "integrity_check", unsound)
    result = await kept.back_up()
    assert (result.ok, first.name in names(tmp_path)) == (False, True)
    assert "cannot be restored: a page is gone" in kept.note()
    assert kept.problems() == []  # the watchdog would restart the node for it, again and again
    monkeypatch.setattr(Store, "integrity_check", sound)
    assert (await kept.back_up()).ok
    assert (kept.note(), first.name in names(tmp_path)) == ("", False)


async def test_two_at_once_are_made_one_after_the_other(store: Store, tmp_path: Path) -> None:
    kept = backing(store, tmp_path)
    one, other = await asyncio.gather(kept.make(), kept.make())
    assert one.path != other.path
