"""Calls to real daemons as another node of their cluster makes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from bench.cluster import Cluster
from bench.daemon import LOOPBACK, Daemon, Plan
from tarsd import calls
from tarsd.identity import load_identity
from tarsd.names import NodeId, TraceId
from tarsd.rpc import RpcClient


class Caller:
    """A node with a certificate of the cluster that is never started: it only calls."""

    def __init__(self, nodes: Cluster, client: RpcClient, ids: dict[str, NodeId]) -> None:
        self._nodes = nodes
        self._client = client
        self.ids = ids

    async def one(self, at: str, spec: calls.CallSpec[Any, Any], request: Any) -> Any:
        """Return the single item of a call to the node named `at`; raises what it raised."""
        headers = calls.Headers(deadline_s=10.0, hops=0, trace=TraceId("test"))
        addresses = [(LOOPBACK, self._nodes[at].port)]
        items = [item async for item in self._client.call(addresses, self.ids[at], spec, request, headers)]
        assert len(items) == 1
        return items[0]


@asynccontextmanager
async def caller_into(nodes: Cluster) -> AsyncGenerator[Caller, None]:
    """Let one more node into the cluster, and call as it."""
    first = nodes.daemons[0].name
    daemon = Daemon(Plan("caller"), nodes.folder / "caller")
    await daemon.command("join", (await nodes[first].command("invite")).split()[0])
    members = await nodes.clients[first].members()
    ids = {name: NodeId(member["node"]) for name, member in members.items()}
    client = RpcClient(load_identity(daemon.folder / "data"), silence_s=5.0)
    try:
        yield Caller(nodes, client, ids)
    finally:
        await client.close()
