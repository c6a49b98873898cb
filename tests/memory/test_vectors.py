"""The index with a real worker process beside a real store."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest
from memory_help import add_document, sha
from test_store import vector

from tarsd.errors import InvalidInput, Unavailable
from tarsd.memory.forgetting_files import delete_files
from tarsd.memory.store import Store
from tarsd.memory.vector_messages import AddRequest, VectorSettings, VectorState
from tarsd.memory.vector_worker import VectorWorker
from tarsd.memory.vectors import VectorIndex
from tarsd.names import RecordId
from tarsd.wire import encode
from tarsd.workers import Worker

MODEL = "m"
AXES = [vector(1, 0, 0), vector(0, 1, 0), vector(0, 0, 1)]


@asynccontextmanager
async def running(store: Store, folder: Path, save_after_s: float = 60.0) -> AsyncIterator[VectorIndex]:
    index = VectorIndex(store, folder, save_after_s=save_after_s)
    await index.start(MODEL, 3)
    try:
        await settled(index)
        yield index
    finally:
        await index.stop()


async def settled(index: VectorIndex) -> None:
    async with asyncio.timeout(30):
        await index.settled()


async def found(index: VectorIndex, query: bytes) -> set[RecordId]:
    return {identity for identity, _ in await index.search(query, 10)}


async def add(store: Store, name: str, count: int = 3) -> list[RecordId]:
    ids = await add_document(store, name, [f"{name} {number}" for number in range(count)])
    await store.put_vectors(MODEL, list(zip(ids, AXES, strict=False)))
    return ids


async def test_it_is_filled_from_the_store_and_follows_it(store: Store, tmp_path: Path) -> None:
    ids = await add(store, "boiler", 2)
    async with running(store, tmp_path) as index:
        assert await index.search(vector(0.8, 0.6, 0), 5) == [
            (ids[0], pytest.approx(0.8)),
            (ids[1], pytest.approx(0.6)),
        ]
        more = await add(store, "roof", 1)
        await settled(index)
        assert await found(index, vector(1, 0, 0)) == {*ids, *more}
        assert index.status().vectors == 3


async def test_what_is_forgotten_is_never_returned_and_leaves_the_file_at_once(store: Store, tmp_path: Path) -> None:
    secret = vector(0.123, 0.456, 0.789)
    ids = await add(store, "boiler", 2)
    (hidden,) = await add_document(store, "secret", ["secret"])
    await store.put_vectors(MODEL, [(hidden, secret)])
    async with running(store, tmp_path / "index"):
        pass
    (file,) = files(tmp_path / "index")
    assert secret in file.read_bytes()
    async with running(store, tmp_path / "index") as index:
        await store.forget_document(sha("secret"))
        assert await found(index, vector(0.8, 0.6, 0)) == set(ids)
        await settled(index)
        assert index.status().vectors == 2
        assert secret not in file.read_bytes()


async def test_what_the_index_holds_beyond_the_store_is_never_returned(store: Store, tmp_path: Path) -> None:
    ids = await add(store, "boiler", 1)
    async with running(store, tmp_path) as index:
        assert index._worker is not None
        async with aclosing(index._worker.call("add", AddRequest([999], AXES[0]), deadline_s=5)) as items:
            assert [item async for item in items] == []
        assert await found(index, AXES[0]) == set(ids)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.vectors"))


async def test_it_is_saved_at_stop_and_made_up_at_start(store: Store, tmp_path: Path) -> None:
    ids = await add(store, "boiler", 2)
    await add(store, "secret", 1)
    async with running(store, tmp_path / "index"):
        pass
    assert files(tmp_path / "index")
    await store.forget_document(sha("secret"))
    more = await add(store, "roof", 3)
    async with running(store, tmp_path / "index") as index:
        assert [identity for identity, _ in await index.search(vector(0, 0, 1), 1)] == [more[2]]
        assert index.status().vectors == 5
        assert await found(index, vector(0.9, 0.1, 0)) == {*ids, *more}


async def test_a_damaged_file_is_filled_again(store: Store, tmp_path: Path) -> None:
    ids = await add(store, "boiler")
    async with running(store, tmp_path / "index"):
        pass
    (file,) = files(tmp_path / "index")
    file.write_bytes(b"\xff" * 100)
    async with running(store, tmp_path / "index") as index:
        assert await found(index, vector(1, 0, 0)) == set(ids)


async def ask_for_ever(index: VectorIndex) -> None:
    while True:
        await index.search(vector(1, 0, 0), 5)


async def test_a_killed_worker_comes_back_whole(store: Store, tmp_path: Path) -> None:
    ids = await add(store, "boiler", 1)
    async with running(store, tmp_path / "index") as index:
        assert index._worker is not None
        pid = index._worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(Unavailable):
            await ask_for_ever(index)
        await settled(index)
        assert await found(index, vector(1, 0, 0)) == set(ids)  # nothing had been saved
        assert index.status().restarts == 1


async def test_a_worker_that_came_back_unnoticed_is_not_believed(store: Store, tmp_path: Path) -> None:
    ids = await add(store, "boiler", 1)
    async with running(store, tmp_path / "index") as index:
        worker = index._worker
        assert worker is not None
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while worker.state == "ready":  # noqa: ASYNC110 - the death of a process
                await asyncio.sleep(0)
            await worker.start()
        # It is back, empty: nothing had been saved. Whoever asks hears that, or gets all.
        with suppress(Unavailable):
            assert await found(index, AXES[0]) == set(ids)
        await settled(index)
        assert await found(index, AXES[0]) == set(ids)


async def test_it_can_be_rebuilt(store: Store, tmp_path: Path) -> None:
    ids = await add(store, "boiler")
    async with running(store, tmp_path) as index:
        assert await index.rebuild() == 3
        assert await found(index, vector(1, 0, 0)) == set(ids)


async def test_another_model_has_its_own_vectors_and_file(store: Store, tmp_path: Path) -> None:
    ids = await add(store, "boiler")
    async with running(store, tmp_path) as index:
        await index.start("other", 2)
        await store.put_vectors("other", [(ids[1], vector(1, 0))])
        await settled(index)
        assert await found(index, vector(1, 0)) == {ids[1]}
        with pytest.raises(InvalidInput):
            await index.search(vector(1, 0, 0), 5)


async def test_before_it_is_started_and_after_it_is_stopped_it_says_why(store: Store, tmp_path: Path) -> None:
    index = VectorIndex(store, tmp_path)
    with pytest.raises(Unavailable, match="not started"):
        await index.search(vector(1, 0, 0), 5)
    await index.start(MODEL, 3)
    await index.stop()
    with pytest.raises(Unavailable, match="stopped"):
        await index.search(vector(1, 0, 0), 5)
    assert not index.status().ready


async def test_a_worker_that_is_killed_while_it_saves_leaves_a_whole_file(store: Store, tmp_path: Path) -> None:
    await add(store, "boiler")
    async with running(store, tmp_path / "index"):
        pass
    (file,) = files(tmp_path / "index")
    rng = random.Random(11)
    for round_number in range(8):
        async with running(store, tmp_path / "index") as index:
            assert index.status().vectors == 3
            worker = index._worker
            assert worker is not None
            assert worker.pid is not None
            pid = worker.pid
            before = file.stat().st_ino
            saving = asyncio.create_task(_save_until_lost(worker))
            async with asyncio.timeout(30):
                while file.stat().st_ino == before:  # noqa: ASYNC110 - another process writes it, again and again
                    await asyncio.sleep(0)
            await asyncio.sleep(rng.random() * 0.003)  # anywhere within a save
            os.kill(pid, signal.SIGKILL)
            await saving
            whole = VectorWorker(encode(VectorSettings(str(file), MODEL, 3)))
            assert (whole.state(b"").__next__(), round_number) == (encode(VectorState(3, "")), round_number)


async def _save_until_lost(worker: Worker) -> None:
    with suppress(Unavailable):
        while True:
            async with aclosing(worker.call("save", b"", deadline_s=5)) as items:
                async for _ in items:
                    pass


async def test_it_lets_go_by_saving_its_file_where_it_is_in_step(store: Store, tmp_path: Path) -> None:
    await add(store, "boiler", 2)
    secret = vector(0.123, 0.456, 0.789)
    (hidden,) = await add_document(store, "secret", ["secret"])
    await store.put_vectors(MODEL, [(hidden, secret)])
    async with running(store, tmp_path / "index", save_after_s=0.0) as index:
        await store.forget_document(sha("secret"))
        await index.let_go(20)
        (file,) = files(tmp_path / "index")
        assert secret not in file.read_bytes()
        assert index.holds(file)
        assert not index.holds(file.with_name("other.vectors"))


async def test_an_index_that_is_not_in_step_lets_go_of_its_whole_file(store: Store, tmp_path: Path) -> None:
    await add(store, "boiler", 1)
    index = VectorIndex(store, tmp_path / "index")
    await index.start(MODEL, 3)
    await settled(index)
    await index.stop()
    assert len(files(tmp_path / "index")) == 1
    await index.let_go(0.01)
    assert files(tmp_path / "index") == []


def test_files_that_nobody_keeps_clean_are_deleted_unfinished_ones_too(tmp_path: Path) -> None:
    for name in ("kept.vectors", "kept.vectors.new", "old.vectors", "old.vectors.new", "other.txt"):
        (tmp_path / name).write_bytes(b"?")
    assert delete_files(tmp_path, lambda path: path.name == "kept.vectors") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.vectors", "kept.vectors.new", "other.txt"]
