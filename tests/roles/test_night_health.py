"""The nightly look at a node's health, on a real database that is damaged on purpose."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tarsd import calls
from tarsd.calls import RecordsItem, StatusItem
from tarsd.gossip.member import State
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.store import Store
from tarsd.names import NodeId, NodeName
from tarsd.roles import health
from tarsd.roles.base import JobResult
from tests.roles.night_help import ScriptedNight
from tests.roles.role_help import FAR, ME, services
from tests.test_routing import member


class Peer:
    """Another core node: it gives its records, and its status with a clock."""

    def __init__(self, store: Store, *, clock_off_s: float = 0.0, mark: str = "") -> None:
        self._store = store
        self._clock_off_s = clock_off_s
        self.member = member(
            "p", capabilities={calls.RECORDS.name: {health.MARK: mark or store.mark()}, calls.STATUS.name: {}}
        )

    async def call(
        self, addresses: Any, expected: Any, spec: Any, request: Any, headers: Any, upload: Any = None
    ) -> Any:
        if spec is calls.RECORDS:
            yield RecordsItem(await self._store.records_since(request.have, request.limit, only=request.only))
        else:
            parts = {health.CLOCK: time.time() + self._clock_off_s}
            yield StatusItem(self.member.node, NodeName("p"), "1", [], 1.0, True, [], parts)


@pytest.fixture
async def peer_store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "peer.db", NodeId("p" * 32))
    bodies = [MemoryBody(f"m{number}", f"Memory number {number} of the house", language="en") for number in range(5)]
    await store.append_many([("memory", "", body) for body in bodies])
    yield store
    await store.close()


async def copy_of(peer_store: Store, path: Path, damage: str = "") -> Store:
    store = await Store.open(path, ME)
    await store.apply(await peer_store.records_since({}))
    if damage:
        await store.close()
        with sqlite3.connect(path) as connection:
            connection.execute(damage)
        connection.close()
        store = await Store.open(path, ME)
    return store


async def check(store: Store, tmp_path: Path, peer: Peer | None = None, end: datetime = FAR, *more: Any) -> JobResult:
    members = [peer.member, *more] if peer else list(more)
    given = services(store, peer, members, data_dir=tmp_path)
    try:
        return await health.check(given, lambda: end, ScriptedNight(job="health_check"))
    finally:
        await store.close()


async def test_a_sound_node_among_others_is_told_so(peer_store: Store, tmp_path: Path) -> None:
    result = await check(await copy_of(peer_store, tmp_path / "memory.db"), tmp_path, Peer(peer_store))
    assert result.ok, result.detail
    assert "database sound" in result.detail


async def test_a_damaged_record_is_fetched_from_a_peer(peer_store: Store, tmp_path: Path) -> None:
    changed = "CAST(replace(CAST(body AS TEXT), 'number 2', 'number 7') AS BLOB)"
    damage = f"UPDATE log SET body = {changed} WHERE key = 'memory/m2'"
    store = await copy_of(peer_store, tmp_path / "memory.db", damage)
    (problem,) = await store.integrity_check()
    assert ":3: " in problem
    result = await check(store, tmp_path, Peer(peer_store))
    assert (result.ok, result.changed) == (True, 1), result.detail
    assert "1 damaged records fetched" in result.detail
    again = await Store.open(tmp_path / "memory.db", ME)
    try:
        assert await again.integrity_check() == []
        mended = await again.memory("memory/m2")
        assert mended is not None
        assert mended.text == "Memory number 2 of the house"
    finally:
        await again.close()


async def test_a_damaged_record_that_nobody_has_needs_a_person(peer_store: Store, tmp_path: Path) -> None:
    damage = "UPDATE log SET body = x'00' WHERE key = 'memory/m2'"
    result = await check(await copy_of(peer_store, tmp_path / "memory.db", damage), tmp_path)
    assert not result.ok
    assert ":3: the seal does not fit its content" in result.detail


async def test_a_peers_forged_record_does_not_take_its_place(peer_store: Store, tmp_path: Path) -> None:
    store = await copy_of(peer_store, tmp_path / "memory.db")
    other = await Store.open(tmp_path / "forged.db", NodeId("p" * 32))
    try:
        await other.append("memory", "", MemoryBody("m0", "Something else", language="en"))
        (forged,) = await other.records_since({})
        (mine, *_) = await store.records_since({})
        assert await store.mend([forged]) == 0
        assert await store.mend([mine]) == 0  # nothing to mend
        assert await store.integrity_check() == []
    finally:
        await other.close()
        await store.close()


@pytest.mark.parametrize(
    "damage", ["DELETE FROM visible WHERE key = 'memory/m1'", "DELETE FROM keywords WHERE rowid = 1"]
)
async def test_derived_tables_are_built_anew(peer_store: Store, tmp_path: Path, damage: str) -> None:
    store = await copy_of(peer_store, tmp_path / "memory.db", damage)
    assert await store.integrity_check()
    result = await check(store, tmp_path)
    assert (result.ok, result.changed) == (True, 1), result.detail
    assert "derived tables rebuilt from the log" in result.detail


async def test_another_clock_needs_a_person(peer_store: Store, tmp_path: Path) -> None:
    store = await copy_of(peer_store, tmp_path / "memory.db")
    result = await check(store, tmp_path, Peer(peer_store, clock_off_s=60.0))
    assert (result.ok, result.detail) == (False, "p: its clock is +60 s off this one's")


async def test_records_that_differ_all_the_time_need_a_person(
    peer_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LAG_S", 0.0)
    store = await copy_of(peer_store, tmp_path / "memory.db")
    result = await check(store, tmp_path, Peer(peer_store, mark="another"))
    assert (result.ok, result.detail) == (False, "records differ from those of p for more than 0 s")


async def test_being_alone_is_told_where_others_belong(peer_store: Store, tmp_path: Path) -> None:
    store = await copy_of(peer_store, tmp_path / "memory.db")
    result = await check(store, tmp_path, None, FAR, member("d", state=State.DEAD))
    assert not result.ok
    assert "one copy only" in result.detail


async def test_a_certificate_that_ends_soon_needs_a_person(peer_store: Store, tmp_path: Path) -> None:
    end = datetime.now(UTC) + timedelta(days=3, minutes=1)
    result = await check(await copy_of(peer_store, tmp_path / "memory.db"), tmp_path, None, end)
    assert (result.ok, result.detail) == (False, "this node's certificate ends in 3 days")
