"""The keeper: records come over from peers, whole, once, and again after a failure."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import time
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import RecordsRequest
from tarsd.errors import InvalidInput, PeerLost
from tarsd.identity import PeerIdentity
from tarsd.memory.bodies import DOCUMENT, PASSAGE, DocumentBody, PassageBody
from tarsd.memory.store import Store
from tarsd.names import Capability, NodeId, NodeName, Zone
from tarsd.passes import MAX_OF_EACH, VALID_S, PassBook, digest_of
from tarsd.roles.keeper import Keeper
from tarsd.roles.nightly import NightlyRunner
from tests.roles.role_help import ME, SERVED, one, services
from tests.test_routing import member

SHA = "a" * 64


class OtherNode:
    """A peer whose `records` are served by the real handler over its own store; it can be made to fail."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.failures = 0
        self.asked = 0

    async def call(
        self, addresses: Any, expected: NodeId, spec: Any, request: Any, headers: Any, upload: Any = None
    ) -> AsyncGenerator[Any, None]:
        self.asked += 1
        if self.failures:
            self.failures -= 1
            raise PeerLost("gone")
        async for item in self._keeper.handlers()[spec.name](request, SERVED):
            yield item


def keeper(store: Store, client: Any, members: list[Any], folder: Path) -> Keeper:
    runner = NightlyRunner(folder / "n.json", time(3, 0), {})
    return Keeper(services(store, client, members, data_dir=folder), dict, list, runner)


async def written(store: Store, passages: int) -> None:
    await store.append_many([(PASSAGE, "", PassageBody(SHA, 1, n, n + 1, f"word{n}")) for n in range(passages)])
    await store.append(DOCUMENT, "", DocumentBody(SHA, "a.pdf", passages=passages))


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncGenerator[tuple[Store, Keeper, OtherNode], None]:
    there = await Store.open(tmp_path / "there.db", NodeId("b" * 32))
    here = await Store.open(tmp_path / "here.db", ME)
    other = OtherNode(keeper(there, None, [], tmp_path))
    peer = member("b", capabilities={Capability("records"): {}})
    mine = keeper(here, other, [peer], tmp_path)
    await written(there, 1200)
    yield here, mine, other
    await mine.stop()
    await here.close()
    await there.close()


async def until_there(store: Store) -> None:
    changed = asyncio.Event()
    store.subscribe(lambda change: changed.set())
    async with asyncio.timeout(30):
        while not await store.has_document(SHA):
            changed.clear()
            if not await store.has_document(SHA):
                await changed.wait()


async def test_all_records_of_a_peer_come_over(pair: tuple[Store, Keeper, OtherNode]) -> None:
    here, mine, _ = pair
    await mine.start()
    await until_there(here)
    counts = await here.counts()
    assert (counts["documents"], counts["passages"]) == (1, 1200)
    assert [p for p, _ in await here.keyword_search("word7", 5)]


async def test_a_peer_that_fails_is_asked_again(pair: tuple[Store, Keeper, OtherNode]) -> None:
    here, mine, other = pair
    other.failures = 1
    await mine.start()
    await asyncio.sleep(0)
    mine.member_changed(member("b"))  # it came alive again: asked at once, not after the usual pause
    await until_there(here)
    assert other.asked >= 2


async def test_what_the_caller_has_is_not_sent_again(pair: tuple[Store, Keeper, OtherNode]) -> None:
    here, mine, other = pair
    await mine.start()
    await until_there(here)
    items = [i async for i in other._keeper.handlers()[calls.RECORDS.name](RecordsRequest(await here.vector()), SERVED)]
    assert [len(item.records) for item in items] == [0]


async def test_a_node_tells_how_it_is(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "m.db", ME)
    try:
        mine = keeper(store, None, [], tmp_path)
        status = await one(mine.handlers()[calls.STATUS.name], calls.StatusRequest())
        assert (status.node, status.healthy, status.problems) == (ME, True, [])
        assert status.parts["records"]["documents"] == 0
    finally:
        await store.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    opened = await Store.open(tmp_path / "m.db", ME)
    yield opened
    await opened.close()


async def test_passes_of_other_nodes_are_let_in_by_who_told_them_and_bounded(store: Store, tmp_path: Path) -> None:
    book = PassBook()
    role = Keeper(
        services(store, None, [], data_dir=tmp_path), dict, list, NightlyRunner(tmp_path / "n", time(3), {}), book
    )
    giver = PeerIdentity(NodeId("2" * 32), NodeName("pc2"), Zone.CORE)
    context = msgspec.structs.replace(SERVED, caller=giver)

    async def told(digests: list[bytes], valid_s: float) -> None:
        async for _ in role.handlers()[calls.PASS.name](calls.PassRequest(digests, valid_s), context):
            pass

    await told([digest_of("secret")], 1e12)
    assert book.giver_of("secret", monotonic() + VALID_S - 1) == giver.node_id
    assert book.giver_of("secret", monotonic() + VALID_S + 1) is None  # nobody opens a door here for ever
    await told([digest_of("ended")], -5.0)
    assert book.giver_of("ended", monotonic()) is None
    for wrong in ([b"short"], [digest_of("x")] * (MAX_OF_EACH + 1)):
        with pytest.raises(InvalidInput, match="digests"):
            await told(wrong, 60.0)
    assert calls.PASS.name in role.adverts()
