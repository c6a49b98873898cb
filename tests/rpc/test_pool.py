"""Connections that stay open, and whose loss is told."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import pytest

from tarsd import calls
from tarsd.errors import PeerLost
from tarsd.identity import Identity
from tarsd.names import ConversationId, NodeId, Zone
from tarsd.rpc import RpcClient

RECALL = calls.RecallRequest(ConversationId("c"))
CHAT = calls.ChatRequest([calls.Message("user", "hi")])


class Told:
    """What a client said, in order; `wait` until it said something."""

    def __init__(self) -> None:
        self.lost: list[NodeId] = []
        self.loads: list[tuple[NodeId, bytes]] = []
        self._news = asyncio.Event()

    def on_lost(self, node: NodeId) -> None:
        self.lost.append(node)
        self._news.set()

    def on_load(self, node: NodeId, load: bytes) -> None:
        self.loads.append((node, load))

    async def wait(self) -> None:
        async with asyncio.timeout(30):
            await self._news.wait()


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def watching(pc1: Identity, told: Told) -> AsyncIterator[RpcClient]:
    client = RpcClient(pc1, silence_s=0.5, on_lost=told.on_lost, on_load=told.on_load)
    yield client
    await client.close()


async def test_a_killed_process_is_told_by_its_idle_connection(process, watching, told) -> None:
    await watching.keep([process.address], process.node_id)
    assert watching.connections_to(process.node_id) == 1
    os.kill(process.pid, signal.SIGKILL)
    await told.wait()
    assert told.lost == [process.node_id]
    assert watching.connections_to(process.node_id) == 0


async def test_a_killed_process_is_told_by_a_connection_in_use(process, watching, told) -> None:
    async with contextlib.aclosing(process.call(watching, calls.CHAT, CHAT)) as items:
        await anext(items)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(PeerLost):
            async for _ in items:
                pass
    assert told.lost == [process.node_id]


async def test_what_this_side_closes_is_not_told(serve, watching, told, gather_items) -> None:
    async def stream(_request: object, _context: object):
        while True:
            yield calls.ChatItem(text="word")
            await asyncio.sleep(0)

    async def recall(_request: object, _context: object):
        yield calls.RecallItem()

    peer = await serve({"chat": stream, "recall": recall})
    async with contextlib.aclosing(peer.call(watching, calls.CHAT, CHAT)) as items:
        await anext(items)
    await gather_items(peer.call(watching, calls.RECALL, RECALL))
    await watching.close()
    assert watching.connections_to(peer.node_id) == 0
    assert told.lost == []


async def test_a_kept_connection_serves_the_next_call(serve, watching, gather_items) -> None:
    async def recall(_request: object, _context: object):
        yield calls.RecallItem()

    peer = await serve({"recall": recall})
    for _ in range(3):
        await watching.keep([peer.address], peer.node_id)
        await gather_items(peer.call(watching, calls.RECALL, RECALL))
    assert watching.connections_to(peer.node_id) == 1


async def test_a_sign_of_life_brings_the_load_and_counts_as_no_call(serve, watching, told) -> None:
    peer = await serve({}, load=lambda: b"load")
    await watching.keep([peer.address], peer.node_id)
    assert told.loads == [(peer.node_id, b"load")]
    assert peer.server.open_calls == 0


async def test_a_lab_node_may_keep_a_connection_too(serve, add_node) -> None:
    peer = await serve({})
    lab = RpcClient(add_node("lab1", Zone.LAB), silence_s=0.5)
    await lab.keep([peer.address], peer.node_id)
    await lab.close()


async def test_a_frozen_process_gives_no_sign_of_life(process, watching) -> None:
    await watching.keep([process.address], process.node_id)
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(PeerLost):
        await watching.keep([process.address], process.node_id)


async def test_nobody_there_is_told_as_lost(watching, pc2: Identity) -> None:
    with pytest.raises(PeerLost, match="cannot be reached"):
        await watching.keep([("127.0.0.1", 1)], pc2.node_id)
