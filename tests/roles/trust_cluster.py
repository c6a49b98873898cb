"""Nodes with real certificates, real calls and the real trust role; only gossip is a table that the test writes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tarsd import calls
from tarsd.calls import StatusItem, StatusRequest
from tarsd.config import Config
from tarsd.dispatch import Dispatch
from tarsd.gossip.member import Member, State
from tarsd.identity import Identity, create_invite, init_cluster
from tarsd.identity import authority as ca
from tarsd.identity.enrol import JoinRequest, admit
from tarsd.identity.join import keep
from tarsd.identity.token import decode_token
from tarsd.names import NodeId, Zone
from tarsd.roles.base import Services
from tarsd.roles.trust import Trust
from tarsd.rpc import CallContext, RpcClient, RpcServer
from tests.test_routing import member

DAY_S = 24 * 3600.0


class TrustNode:
    """One node of the little cluster; `state` is how the others see it."""

    def __init__(self, identity: Identity, cluster: TrustCluster, now: float) -> None:
        self.identity = identity
        self.name = identity.name
        self.state = State.ALIVE
        self.is_greeting = True  # others get to see its certificate
        self.now = now
        self.keys_rotated = 0
        self._cluster = cluster
        self._met: set[NodeId] = set()  # in this boot
        self.client = RpcClient(identity, silence_s=2.0)
        self.handlers: dict[Any, Any] = {calls.STATUS.name: self._status}
        self.dispatch = Dispatch(self, self.client, self.handlers)
        services = Services(Config(), identity, None, self.dispatch, self.members)  # type: ignore[arg-type]
        self.trust = Trust(services, certified=self.certified, rotate_keys=self._rotate_keys, now=lambda: self.now)
        self.handlers.update(self.trust.handlers())
        self.server = RpcServer(identity, self.handlers, beat_s=0.2, silence_s=2.0)
        self.port = 0

    def _rotate_keys(self) -> None:
        self.keys_rotated += 1

    async def _status(self, _request: StatusRequest, _context: CallContext) -> AsyncGenerator[StatusItem, None]:
        yield StatusItem(self.identity.node_id, self.name, "", [], 0, True, [], {})

    def members(self) -> Sequence[Member]:
        return [self._seen(node) for node in self._cluster.nodes.values()]

    def certified(self) -> dict[NodeId, Zone]:
        return {**self._table}

    @property
    def _table(self) -> dict[NodeId, Zone]:
        return self._cluster.tables.setdefault(self.identity.node_id, {})

    def _seen(self, node: TrustNode) -> Member:
        revoked = node.identity.node_id in self.identity.notices
        if node.state is not State.DEAD and node.is_greeting:
            self._met.add(node.identity.node_id)
            self._table[node.identity.node_id] = node.identity.zone
        return member(
            node.name,
            node=node.identity.node_id,
            zone=node.identity.zone if node.identity.node_id in self._met else None,
            state=State.REVOKED if revoked else node.state,
            addresses=(("127.0.0.1", node.port),),
            capabilities={name: {} for name in node.handlers},
            is_self=node is self,
        )

    def observed_failure(self, _node: object) -> None:
        pass

    def observed_success(self, _node: object) -> None:
        pass

    async def asks(self, other: TrustNode) -> StatusItem:
        """Call the status of another node; raises what that raises."""
        item: StatusItem = await self.dispatch.one(
            calls.STATUS, StatusRequest(), only=other.identity.node_id, zone=other.identity.zone, deadline_s=5
        )
        return item

    async def start(self) -> None:
        self.port = await self.server.start(["127.0.0.1"], 0)
        self.state = State.ALIVE
        for node in self._cluster.nodes.values():
            node.members()  # it meets the others

    async def stop(self) -> None:
        self.state = State.DEAD
        await self.server.stop()
        await self.client.close()


class TrustCluster:
    """Nodes by name; the first one made the cluster. `now` is the time on every node's wall clock."""

    def __init__(self, folder: Path, *, born: float | None = None) -> None:
        self.nodes: dict[str, TrustNode] = {}
        self.tables: dict[NodeId, dict[NodeId, Zone]] = {}  # whom each node ever met, over its boots
        self._folder = folder
        self._closing = AsyncExitStack()
        self._born = time.time() if born is None else born

    async def __aenter__(self) -> TrustCluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    def __getitem__(self, name: str) -> TrustNode:
        return self.nodes[name]

    async def add(
        self, name: str, zone: Zone = Zone.CORE, *, born: float | None = None, start: bool = True
    ) -> TrustNode:
        """Make a node whose certificate was issued at `born`, and start it."""
        born = self._born if born is None else born
        identity = self._join(name, zone, born) if self.nodes else init_cluster(self._folder / name, name, now=born)
        node = self.nodes[name] = TrustNode(identity, self, time.time())
        self._closing.push_async_callback(node.stop)
        if start:
            await node.start()
        return node

    def _join(self, name: str, zone: Zone, born: float) -> Identity:
        first = next(iter(self.nodes.values())).identity
        token = decode_token(create_invite(first.data_dir, zone, now=born))
        key = ca.new_key()
        reply = admit(first.data_dir, JoinRequest(token.secret, name, ca.make_request(key)), now=born)
        return keep(self._folder / name, (first.folder / "root.crt").read_bytes(), key, zone, name, reply)
