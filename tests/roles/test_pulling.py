"""Whom a node asks for records, and when it leaves others in peace."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.config.schema import Memory
from tarsd.errors import TarsdError
from tarsd.gossip.member import Member
from tarsd.memory.bodies import PASSAGE, PassageBody
from tarsd.memory.store import Store
from tarsd.names import Capability, NodeId
from tarsd.roles import pulling
from tarsd.roles.holders import MARK
from tarsd.roles.pulling import Puller
from tests.dispatch.test_dispatch import ScriptedMembership
from tests.roles.role_help import ME, services
from tests.test_routing import member

SHA = "a" * 64
RECORDS = Capability("records")
B = NodeId("b" * 8)


class ServingNode:
    """A peer that serves the records of a real store and counts how often it is asked."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.asked = asyncio.Semaphore(0)
        self.times = 0
        self.seals: list[dict[str, bytes]] = []
        self.is_in_pieces = False

    async def call(
        self, addresses: Any, expected: NodeId, spec: Any, request: Any, headers: Any, upload: Any = None
    ) -> AsyncGenerator[Any, None]:
        self.times += 1
        self.asked.release()
        self.seals.append(request.seals)
        records = await self.store.records_since(request.have, 1) if self.is_in_pieces else None
        yield calls.RecordsItem(records or await self.store.records_since(request.have), more=bool(records))

    async def wait_asked(self) -> None:
        async with asyncio.timeout(30):
            await self.asked.acquire()


class House:
    """This node's puller, one other node, and what gossip says of it."""

    def __init__(self, here: Store, there: Store, pull_s: float = 3600.0) -> None:
        self.here, self.other = here, ServingNode(there)
        plain = services(here, self.other, [])
        config = msgspec.structs.replace(plain.config, memory=Memory(pull_s=pull_s))
        self.given = dataclasses.replace(plain, config=config)
        self.membership: ScriptedMembership = self.given.members.__self__  # type: ignore[attr-defined]
        self.puller = Puller(self.given)

    def tell(self, mark: str | None) -> Member:
        """Let gossip say that the other node is at `mark` (None: it tells none, as an older one)."""
        found = member("b", capabilities={RECORDS: {} if mark is None else {MARK: mark}})
        self.membership._members = (found,)
        self.puller.member_changed(found)
        return found


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[House, None]:
    there = await Store.open(tmp_path / "there.db", NodeId("b" * 32))
    here = await Store.open(tmp_path / "here.db", ME)
    found = House(here, there)
    yield found
    await found.puller.stop()
    await here.close()
    await there.close()


async def passages(store: Store, first: int, count: int) -> None:
    await store.append_many(
        [(PASSAGE, "", PassageBody(SHA, 1, n, n + 1, f"w{n}")) for n in range(first, first + count)]
    )


async def test_the_mark_is_the_same_exactly_where_the_vectors_are(house: House) -> None:
    here, there = house.here, house.other.store
    assert here.mark() == there.mark()
    await passages(there, 0, 3)
    assert here.mark() != there.mark()
    await here.apply(await there.records_since({}))
    assert here.mark() == there.mark()


async def test_a_new_mark_is_pulled_at_once_and_a_known_one_is_left_alone(house: House) -> None:
    await passages(house.other.store, 0, 3)
    house.tell(house.other.store.mark())
    house.puller.start()
    await house.other.wait_asked()
    await passages(house.other.store, 3, 2)
    house.tell(house.other.store.mark())
    await house.other.wait_asked()
    await until_same(house)
    house.tell(house.other.store.mark())
    await rounds(house.puller)
    assert house.other.times == 2


async def test_a_mark_at_which_nothing_new_was_is_not_asked_about_again(house: House) -> None:
    await passages(house.here, 0, 3)
    house.tell(house.other.store.mark())
    house.puller.start()
    await house.other.wait_asked()
    await rounds(house.puller)
    assert house.other.times == 1


async def test_a_member_without_a_mark_is_asked_each_time(house: House) -> None:
    house.tell(None)
    house.puller.start()
    await house.other.wait_asked()
    house.tell(None)
    await house.other.wait_asked()


async def test_now_and_then_one_is_asked_whatever_its_mark_says(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "BACKSTOP_S", 0.0)
    house.puller = Puller(house.given)
    house.tell(house.here.mark())
    house.puller.start()
    await house.other.wait_asked()


async def test_who_catches_up_asks_until_nothing_is_missing_and_says_what_it_has(house: House) -> None:
    await passages(house.here, 0, 1)
    await passages(house.other.store, 0, 3)
    house.tell(None)
    house.other.is_in_pieces = True
    assert await house.puller.catch_up(B)
    here, there = house.here.heads(), house.other.store.heads()
    assert there.items() <= here.items()
    assert house.other.times > 1
    ours = next(origin for origin in here if origin not in there)
    assert all(seals[ours] == here[ours][1] for seals in house.other.seals)


async def test_who_catches_up_is_told_when_that_fails_and_when_nothing_was_missing(house: House) -> None:
    house.tell(None)
    assert not await house.puller.catch_up(B)
    house.membership._members = ()
    with pytest.raises(TarsdError):
        await house.puller.catch_up(B)


async def until_same(house: House) -> None:
    """Wait until what the other has is on disk here."""
    changed = asyncio.Event()
    house.here.subscribe(lambda change: changed.set())
    async with asyncio.timeout(30):
        while house.here.mark() != house.other.store.mark():
            await changed.wait()
            changed.clear()


async def rounds(puller: Puller) -> None:
    """Let the puller look around twice, as after `pull_s`."""
    for _ in range(2):
        puller._wake.set()
        for _ in range(50):
            await asyncio.sleep(0)


@pytest.mark.parametrize("ticks", range(6))
async def test_it_stops_though_it_is_woken_at_that_moment(house: House, ticks: int) -> None:
    house.puller.start()
    await rounds(house.puller)
    house.puller.ask(NodeId("nobody"))
    for _ in range(ticks):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await house.puller.stop()
