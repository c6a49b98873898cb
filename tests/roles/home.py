"""Several nodes' replication in one process: real stores and handlers, messages as bytes, links that can be cut."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tarsd import calls, wire
from tarsd.config.schema import Memory
from tarsd.errors import NotFound, PeerLost
from tarsd.gossip.member import Member, State
from tarsd.identity import PeerIdentity
from tarsd.memory.store import Store
from tarsd.names import NodeId, NodeName, Zone
from tarsd.roles.base import Services
from tarsd.roles.holders import MARK
from tarsd.roles.replicating import Replicator
from tarsd.rpc import CallContext
from tests.dispatch.test_dispatch import ScriptedMembership
from tests.roles.role_help import services
from tests.test_routing import member


class HomeNode:
    """One node: its store, its part in replication, and its calls to the others."""

    def __init__(self, home: Home, name: str, store: Store, memory: Memory) -> None:
        self.home, self.name, self.store = home, name, store
        self.id = NodeId(name * 8)
        plain = services(store, self, [])
        self.membership: ScriptedMembership = plain.members.__self__  # type: ignore[attr-defined]
        config = msgspec.structs.replace(plain.config, memory=memory)
        self.services: Services = dataclasses.replace(plain, config=config)
        self.replicator = Replicator(self.services)
        self.handlers = {
            calls.RECORDS.name: self.replicator.records,
            calls.PUSH.name: self.replicator.push,
        }
        self.asked: list[str] = []  # what it was called for
        self.was_asked = asyncio.Event()

    async def call(
        self, addresses: Any, expected: NodeId, spec: Any, request: Any, headers: Any, upload: Any = None
    ) -> AsyncGenerator[Any, None]:
        other = self.home.by_id(expected)
        if other is None or frozenset((self.name, other.name)) in self.home.cut:
            raise PeerLost("no way there")
        if spec.name not in other.handlers:
            raise NotFound(f"no {spec.name} here")
        other.asked.append(spec.name)
        other.was_asked.set()
        context = CallContext(PeerIdentity(self.id, NodeName(self.name), Zone.CORE), headers)
        sent = wire.decode(wire.encode(request), spec.request)
        async for item in other.handlers[spec.name](sent, context):
            yield wire.decode(wire.encode(item), spec.item)

    def seen(self, state: State = State.ALIVE) -> Member:
        """Return this node as the others see it."""
        adverts = {calls.RECORDS.name: {MARK: self.store.mark()}, calls.PUSH.name: {}}
        return member(self.name, capabilities=adverts, state=state)


class Home:
    """All nodes; `gossip` tells each of the others, `settle` until all have the same records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: dict[str, HomeNode] = {}
        self.cut: set[frozenset[str]] = set()
        self.changed = asyncio.Event()

    async def add(self, letter: str, **memory: Any) -> HomeNode:
        """Start the node of a letter, or start it again."""
        name = letter * 4
        store = await Store.open(self.folder / f"{letter}.db", NodeId(name * 8))
        store.subscribe(lambda change: self.changed.set())
        settings = {"pull_s": 3600.0, "copies_wait_ms": 5000} | memory
        node = self.nodes[letter] = HomeNode(self, name, store, Memory(**settings))
        await node.replicator.start()
        return node

    async def remove(self, letter: str) -> Path:
        """Stop a node; return its database."""
        node = self.nodes.pop(letter)
        await node.replicator.stop()
        await node.store.close()
        return self.folder / f"{letter}.db"

    def by_id(self, node: NodeId) -> HomeNode | None:
        return next((each for each in self.nodes.values() if each.id == node), None)

    def part(self, one: str, other: str) -> None:
        """Cut the link between two nodes."""
        self.cut.add(frozenset((one * 4, other * 4)))

    def heal(self) -> None:
        self.cut.clear()

    def gossip(self) -> None:
        """Tell every node how it sees the others now."""
        for node in self.nodes.values():
            others = [each for each in self.nodes.values() if each is not node]
            node.membership._members = tuple(
                each.seen(State.DEAD if frozenset((node.name, each.name)) in self.cut else State.ALIVE)
                for each in others
            )
            for found in node.membership._members:
                node.replicator.member_changed(found)

    async def settle(self, *letters: str, within_s: float = 30.0) -> None:
        """Gossip until all of these (none named: all) have the same records."""
        of = letters or tuple(self.nodes)
        async with asyncio.timeout(within_s):
            while self.gossip() or len({self.nodes[letter].store.mark() for letter in of}) > 1:
                await self._change()
        self.gossip()

    async def come(self, letter: str, records: int, within_s: float = 30.0) -> None:
        """Wait until a node has so many records."""
        async with asyncio.timeout(within_s):
            while sum(seq for seq, _ in self.nodes[letter].store.heads().values()) < records:
                await self._change()

    async def _change(self) -> None:
        with suppress(TimeoutError):  # gossip comes every half second, whatever happens
            async with asyncio.timeout(0.05):
                await self.changed.wait()
        self.changed.clear()

    async def close(self) -> None:
        for letter in list(self.nodes):
            await self.remove(letter)
