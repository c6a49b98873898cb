"""The caller's connections: pooled by node, and one that the other side ends is told of at once.

Rules
1. Connections are pooled by the node at the other end, whose name TLS has checked; there is no bound here, since it
   would be a queue: the callee bounds the calls.
2. A connection that the other side ends, idle or not, is told: the kernel of a PC whose process was killed says so
   within milliseconds, long before a probe is missed. One that this side closes is not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from tarsd.identity import Identity
from tarsd.identity.contexts import NOTICE_HEADER
from tarsd.identity.peer import server_name_of
from tarsd.identity.revocations import told
from tarsd.names import NodeId

# Shorter than the callee's (`server.KEEP_ALIVE_S`).
KEEP_ALIVE_S = 60.0

_SUFFIX = server_name_of(NodeId(""))

OnLost = Callable[[NodeId], None]


class Connections:
    """Counts the connections to each node and tells of those that are lost."""

    def __init__(self, on_lost: OnLost | None) -> None:
        self._on_lost = on_lost
        self._open: Counter[NodeId] = Counter()

    def to(self, node: NodeId) -> int:
        """Return how many connections to `node` are open, in use or not."""
        return self._open[node]

    def made(self, node: NodeId) -> None:
        """Count one."""
        self._open[node] += 1

    def ended(self, node: NodeId, *, lost: bool) -> None:
        """Count one less; `lost` says that the other side ended it (rule 2)."""
        self._open[node] -= 1
        if self._open[node] <= 0:
            del self._open[node]
        if lost and self._on_lost is not None:
            self._on_lost(node)


class Connection(ResponseHandler):
    """One connection; `node` is known once it was handed out for a request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connections: Connections) -> None:
        super().__init__(loop)
        self._connections = connections
        self._node: NodeId | None = None

    def belongs_to(self, node: NodeId) -> None:
        """Note who is at the other end."""
        if self._node is None and self.transport is not None:
            self._node = node
            self._connections.made(node)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`; aiohttp lets go of the transport before it closes one itself."""
        lost = self.transport is not None
        super().connection_lost(exc)
        if self._node is not None:
            self._connections.ended(self._node, lost=lost)
            self._node = None


class Pool(aiohttp.TCPConnector):
    """A connector whose connections are `Connection`s."""

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        # no public way to choose the protocol; without it nothing is told, which a test holds
        self._factory = partial(Connection, self._loop, connections)  # type: ignore[assignment]

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """Return a connection for one request, and note whose it is."""
        connection = await super().connect(req, traces, timeout)
        if isinstance(connection.protocol, Connection) and req.server_hostname:
            connection.protocol.belongs_to(NodeId(req.server_hostname.removesuffix(_SUFFIX)))
        return connection


def new_session(
    identity: Identity, connect_s: float, connections: Connections, *, pooled: bool
) -> aiohttp.ClientSession:
    """Return a session that keeps its connections, or one that makes a fresh one each time."""
    context = identity.client_context()
    if pooled:
        connector = Pool(connections, ssl=context, limit=0, keepalive_timeout=KEEP_ALIVE_S)
    else:
        connector = Pool(connections, ssl=context, limit=0, force_close=True)
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_reused)
    trace.on_connection_create_end.append(_connected)
    trace.on_request_end.append(partial(_ended, identity))
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        trace_configs=[trace],
    )


async def _ended(
    identity: Identity, _session: aiohttp.ClientSession, _: SimpleNamespace, params: aiohttp.TraceRequestEndParams
) -> None:
    """Learn why we are refused, where the callee says so with proof: this node was revoked."""
    if notice := params.response.headers.get(NOTICE_HEADER):
        identity.notices.take([told(notice)])


async def _reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.connected(reused=True)


async def _connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.connected(reused=False)
