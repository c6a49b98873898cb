"""After an erasure the file is rewritten: SQLite leaves bytes in the gaps of pages that rows were moved from."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from memory_help import OpenStore

import tarsd.memory.store
from bench.crashes.promises import key_of, text_of
from tarsd.memory.bodies import MemoryBody
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


def left(folder: Path, names: list[str]) -> list[str]:
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("store.db*")))
    return [name for name in names if f"canary{name}x".encode() in content]


async def test_no_byte_stays_in_a_gap(store: Store, tmp_path: Path) -> None:
    assert left(tmp_path, await after_a_history(store)) == []


async def test_a_large_database_is_rewritten_when_there_is_time(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tarsd.memory.store, "_REWRITTEN_AT_ONCE_BYTES", 0)
    store = await open_store()
    gone = await after_a_history(store)
    assert left(tmp_path, gone)
    assert await store.fact("rewrite_due")
    await store.close()
    store = await open_store()  # it is not forgotten that it is due
    await store.optimize(rewrite=True)
    assert left(tmp_path, gone) == []
    assert not await store.fact("rewrite_due")
    await store.append("memory", "", MemoryBody("again", "written after it"))
    assert await store.integrity_check() == []


async def test_without_an_erasure_nothing_is_rewritten(store: Store, tmp_path: Path) -> None:
    await store.append("memory", "", MemoryBody("a", "text"))
    statements: list[str] = []
    plain = store._database.rows

    async def noted(sql: str, *parameters: object) -> list[tuple[object, ...]]:
        statements.append(sql)
        return await plain(sql, *parameters)  # type: ignore[arg-type]

    store._database.rows = noted  # type: ignore[method-assign]
    await store.optimize(rewrite=True)
    assert "PRAGMA optimize" in statements
    assert "VACUUM" not in statements
