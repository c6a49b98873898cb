from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from memory_help import ANA, OpenStore

from tarsd.memory.store import Store
from tarsd.names import NodeId


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[OpenStore]:
    """Opens stores under names; closed after the test."""
    opened: list[Store] = []

    async def open_one(name: str = "store", node: NodeId = ANA, **options: object) -> Store:
        opened.append(await Store.open(tmp_path / f"{name}.db", node, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    return await open_store()
