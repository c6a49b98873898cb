"""What the worker holds: saved, filled and mended, with a real worker process beside a real store."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from memory_help import add_document
from test_store import vector
from test_vectors import AXES, MODEL, add, files, found, running, settled

from tarsd.memory.store import Store
from tarsd.memory.vector_messages import AddRequest
from tarsd.memory.vectors import VectorIndex


async def test_it_is_saved_when_writing_pauses(store: Store, tmp_path: Path) -> None:
    await add(store, "boiler")
    async with running(store, tmp_path / "index", save_after_s=0.01), asyncio.timeout(30):
        while not files(tmp_path / "index"):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)


async def test_a_wrong_vector_under_a_right_id_is_found_and_mended(store: Store, tmp_path: Path) -> None:
    ids = await add(store, "boiler", 3)
    async with running(store, tmp_path) as index:
        assert await index.mend() == 0
        (first, *_) = await store.vector_ids(MODEL)
        assert index._worker is not None
        for request in (AddRequest([first], vector(0, 0.6, 0.8)), AddRequest([999], AXES[0])):
            async with aclosing(index._worker.call("add", request, deadline_s=5)) as items:
                assert [item async for item in items] == []
        assert await index.mend() == 2
        assert await index.search(AXES[0], 1) == [(ids[0], pytest.approx(1.0))]
        assert index.status().vectors == 3
        assert await index.mend() == 0


async def test_what_is_put_while_the_index_is_filled_is_not_passed_over(store: Store, tmp_path: Path) -> None:
    ids = await add_document(store, "boiler", [f"part {n}" for n in range(3)])
    await store.put_vectors(MODEL, [(ids[0], AXES[0])])
    index = VectorIndex(store, tmp_path)
    reading = store.vector_ids

    async def slow_ids(model: str) -> list[int]:
        found = await reading(model)
        await store.put_vectors(MODEL, [(ids[1], AXES[1])])  # after it was compared, before it is read
        return found

    store.vector_ids = slow_ids  # type: ignore[method-assign]
    await index.start(MODEL, 3)
    try:
        await settled(index)
        assert await found(index, AXES[0]) == {ids[0], ids[1]}
    finally:
        await index.stop()
