from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tarsd.calls import CallSpec, Headers
from tarsd.identity import Identity, create_invite, init_cluster
from tarsd.identity import authority as ca
from tarsd.identity.enrol import JoinRequest, admit
from tarsd.identity.join import keep
from tarsd.identity.token import decode_token
from tarsd.names import NodeId, TraceId, Zone
from tarsd.rpc import RpcClient, RpcServer

AddNode = Callable[..., Identity]
Serve = Callable[..., Awaitable["Peer"]]
NODE = Path(__file__).parent / "node_process.py"


class Peer:
    """A node that is called, with what a test needs to call it."""

    def __init__(self, node_id: NodeId, port: int, *, server: RpcServer | None = None, pid: int = 0) -> None:
        self.node_id = node_id
        self.address = ("127.0.0.1", port)
        self.pid = pid
        self._server = server

    @property
    def server(self) -> RpcServer:
        assert self._server is not None
        return self._server

    def call(self, client: RpcClient, spec: CallSpec[Any, Any], request: Any, *, deadline_s: float = 10, **more: Any):
        headers = Headers(deadline_s=deadline_s, hops=1, trace=TraceId("t1"))
        return client.call([self.address], self.node_id, spec, request, headers, **more)


async def all_of(items) -> list[Any]:
    return [item async for item in items]


@pytest.fixture
def gather_items() -> Callable[[Any], Awaitable[list[Any]]]:
    return all_of


@pytest.fixture
def pc1(tmp_path: Path) -> Identity:
    return init_cluster(tmp_path / "pc1", "pc1")


@pytest.fixture
def add_node(tmp_path: Path, pc1: Identity) -> AddNode:
    """Joins a further node as the join port would, without sockets."""

    def add(name: str, zone: Zone = Zone.CORE) -> Identity:
        token = decode_token(create_invite(pc1.data_dir, zone))
        key = ca.new_key()
        reply = admit(pc1.data_dir, JoinRequest(token.secret, name, ca.make_request(key)))
        return keep(tmp_path / name, (pc1.folder / "root.crt").read_bytes(), key, zone, name, reply)

    return add


@pytest.fixture
def pc2(add_node: AddNode) -> Identity:
    return add_node("pc2")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as closing:
        yield closing


@pytest.fixture
async def serve(pc2: Identity, stack: AsyncExitStack) -> Serve:
    """Starts pc2 (or another identity) with the given handlers."""

    async def start(handlers: dict[str, Any], identity: Identity | None = None, **options: Any) -> Peer:
        identity = identity or pc2
        server = RpcServer(identity, handlers, **({"beat_s": 0.1, "silence_s": 0.5} | options))
        port = await server.start(["127.0.0.1"], 0)
        stack.push_async_callback(server.stop)
        return Peer(identity.node_id, port, server=server)

    return start


@pytest.fixture
async def client(pc1: Identity, stack: AsyncExitStack) -> RpcClient:
    """pc1 as a caller; a silence of a second is enough here, and ten beats of who is called."""
    caller = RpcClient(pc1, silence_s=1.0)
    stack.push_async_callback(caller.close)
    return caller


@pytest.fixture
async def process(pc2: Identity, stack: AsyncExitStack) -> Peer:
    """pc2 as a process of its own, which a test may freeze or kill."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(NODE), str(pc2.data_dir), stdout=asyncio.subprocess.PIPE
    )

    async def end() -> None:
        if child.returncode is None:
            child.kill()
        await child.wait()

    stack.push_async_callback(end)
    assert child.stdout is not None
    async with asyncio.timeout(30):
        port = int(await child.stdout.readline())
    return Peer(pc2.node_id, port, pid=child.pid)
