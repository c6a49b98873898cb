"""A disk that is really full: nothing acknowledged is lost, and the store goes on when there is room again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from memory_help import ANA

from bench.crashes.promises import NODE, key_of, text_of
from tarsd.errors import StorageError
from tarsd.memory import backup
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.store import Store
from tarsd.memory.writer import SCRUB_DUE


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a disk of its own can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def write_until_full(store: Store) -> list[str]:
    """Return what was acknowledged before the disk was full."""
    names: list[str] = []
    while len(names) < 10_000:
        name = f"n{len(names)}"
        try:
            await store.append("memory", key_of(name), MemoryBody(name, text_of(name)))
        except StorageError:
            return names
        names.append(name)
    raise AssertionError("the disk was never full")


async def shown(store: Store) -> list[str]:
    return sorted(name for (name,) in await store.rows("SELECT memory FROM memories"))


async def test_a_full_disk_loses_nothing_and_the_store_goes_on(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    store = await Store.open(small_disk / "memory.db", NODE)
    names = await write_until_full(store)
    assert len(names) > 10
    with pytest.raises(StorageError):
        await store.append("memory", key_of("again"), MemoryBody("again", "words " * 2000))
    assert await shown(store) == sorted(names)
    ballast.unlink()
    await store.append("memory", key_of("later"), MemoryBody("later", "there is room again"))
    assert await shown(store) == sorted([*names, "later"])
    assert await store.integrity_check() == []
    await store.close()
    store = await Store.open(small_disk / "memory.db", NODE)
    assert (await shown(store), store.problem) == (sorted([*names, "later"]), "")
    await store.close()


async def test_a_backup_that_does_not_fit_is_an_error_and_leaves_nothing(small_disk: Path) -> None:
    store = await Store.open(small_disk / "memory.db", NODE)
    names = await write_until_full(store)
    before = sorted(await asyncio.to_thread(lambda: [path.name for path in small_disk.rglob("*")]))
    with pytest.raises(StorageError):
        await backup.make(store, small_disk / "backups", ANA, "pc1")
    after = sorted(await asyncio.to_thread(lambda: [path.name for path in small_disk.rglob("*")]))
    assert [name for name in after if name not in before] == ["backups"]
    assert await shown(store) == sorted(names)
    await store.close()


async def test_a_node_starts_on_a_full_disk_though_something_forgotten_is_still_to_be_cleaned_away(
    small_disk: Path,
) -> None:
    store = await Store.open(small_disk / "memory.db", NODE)
    await store.append_many([("memory", "", MemoryBody(f"n{each}", "the wine is in the cellar")) for each in range(10)])
    await store._writer.forget(key_of("n0"))
    await store.close()
    await write_until_nothing_fits(small_disk / "ballast")
    store = await Store.open(small_disk / "memory.db", NODE)
    assert "n0" not in await shown(store)
    assert await store.fact(SCRUB_DUE)
    (small_disk / "ballast").unlink()
    await store.scrub()
    assert not await store.fact(SCRUB_DUE)
    await store.close()


async def write_until_nothing_fits(path: Path) -> None:
    def write() -> None:
        with path.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    await asyncio.to_thread(write)
