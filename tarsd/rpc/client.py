"""The caller's side of calls: pooled connections to the nodes that are meant, answers as async generators.

Rules
1. The node at the other end is verified in the handshake, before a byte of the request goes out: the node id is the
   host name that TLS checks, and connections are pooled by it.
2. Addresses are tried in turn as long as no connection comes about, within a bound for all of them together: a PC
   that is cut off must not cost its addresses times its silence. Once one has, its failure is the call's.
3. A pooled connection that turns out closed before a byte of the answer came is replaced by a fresh one, once.
4. Silence for `silence_s`, a reset or a stream without END is `PeerLost`; the deadline is `DeadlineExceeded`.
5. Closing the generator closes the connection, which cancels the call at the callee. One that had just ended goes
   back to the pool instead.
6. An upload is not read before the callee has taken the call, and no faster than the callee takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from functools import lru_cache

import aiohttp
import msgspec
from yarl import URL

from tarsd import wire
from tarsd.calls import CallSpec, Headers, ItemT, RequestT
from tarsd.errors import DeadlineExceeded, PeerLost, TarsdError, Unavailable, WireError, from_wire
from tarsd.identity import Identity, PeerIdentity, peer_of
from tarsd.names import NodeId
from tarsd.rpc.attempt import Attempt
from tarsd.rpc.failures import NotConnected, broken
from tarsd.rpc.frames import FrameStream
from tarsd.rpc.headers import ALIVE_PATH, HELLO_PATH, load_from_http, to_http
from tarsd.rpc.pool import Connections, OnLost, new_session
from tarsd.rpc.upload import Upload
from tarsd.wire import Kind

Address = tuple[str, int]

CONNECT_S = 1.0
CONNECT_SHARES = 1.5  # of the time for one address: as much have all addresses of a node together
MAX_HELLO_BYTES = 512 * wire.KIB  # 1,000 members with notices need up to 200 KiB
# How long a reader that stops early waits for END: long enough for one that is on its way.
LAST_FRAME_S = 0.01


class RpcClient:
    """Calls other nodes of the cluster.

    `on_load` is told the load figure that comes with each answer, `on_lost` each node that ended a connection.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        silence_s: float,
        connect_s: float = CONNECT_S,
        on_load: Callable[[NodeId, bytes], None] | None = None,
        on_lost: OnLost | None = None,
    ) -> None:
        self._identity = identity
        self._silence_s = silence_s
        self._connect_s = connect_s
        self._on_load = on_load
        self._connections = Connections(on_lost)
        self._pooled: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def call(
        self,
        addresses: Sequence[Address],
        expected: NodeId,
        spec: CallSpec[RequestT, ItemT],
        request: RequestT,
        headers: Headers,
        upload: AsyncIterator[bytes] | None = None,
    ) -> AsyncGenerator[ItemT, None]:
        """Yield the items of a call to the node `expected`, which is reached at one of `addresses`.

        Raises `PeerLost` (of this callee only), `DeadlineExceeded`, `NotAllowed`, or what the callee raised. `upload`
        is read, not closed; what it raises ends the call. Closing the generator cancels the call.
        """
        until = asyncio.get_running_loop().time() + headers.deadline_s
        body = wire.encode_frame(Kind.REQUEST, wire.encode(request))
        sending = Upload(body, upload, beat_s=self._silence_s / 4) if spec.uploads else None
        path = f"/rpc/{spec.name}"
        try:
            response = await self._post(addresses, expected, path, body, sending, to_http(headers), until)
            async with contextlib.aclosing(self._items(response, expected, spec, sending, until)) as items:
                async for item in items:
                    yield item
        except TimeoutError:
            raise DeadlineExceeded(f"{spec.name}: {headers.deadline_s:g} s were not enough") from None

    async def hello(self, address: Address, body: bytes, expected: NodeId | None = None) -> tuple[PeerIdentity, bytes]:
        """Greet whoever is at `address` (`expected` where that is known); return who it is and its answer.

        Raises `PeerLost` for nobody, a stranger or another node; else what the other side's hook raised.
        """
        if expected is None:
            expected = (await self._who_is_at(address)).node_id
        until = asyncio.get_running_loop().time() + self._connect_s + self._silence_s
        try:
            async with asyncio.timeout_at(until):
                response = await self._post([address], expected, HELLO_PATH, body, None, {}, until)
                async with response:
                    answer = await response.content.read(MAX_HELLO_BYTES + 1)
                    while not response.content.at_eof() and len(answer) <= MAX_HELLO_BYTES:
                        answer += await response.content.readany()
        except TimeoutError:
            raise PeerLost(f"{expected[:8]}: no answer to the greeting") from None
        except (aiohttp.ClientError, OSError) as error:
            raise broken(error) from error
        if len(answer) > MAX_HELLO_BYTES:
            raise WireError(f"the answer to a greeting is at most {MAX_HELLO_BYTES} bytes")
        if response.status != 200:
            raise _error_in(answer)
        return self._identity.client_context().met[expected], answer

    async def keep(self, addresses: Sequence[Address], node: NodeId) -> None:
        """Have a pooled connection to `node`, so that its loss is told; raises `PeerLost` when there can be none."""
        until = asyncio.get_running_loop().time() + self._connect_s + self._silence_s
        try:
            async with asyncio.timeout_at(until):
                response = await self._post(addresses, node, ALIVE_PATH, b"", None, {}, until)
                async with response:
                    self._tell_load(node, response)
                    await response.read()
        except TimeoutError:
            raise PeerLost(f"{node[:8]}: no sign of life") from None
        except (aiohttp.ClientError, OSError) as error:
            raise broken(error) from error

    def connections_to(self, node: NodeId) -> int:
        """Return how many connections to `node` are open."""
        return self._connections.to(node)

    async def close(self) -> None:
        """Close all connections; calls that are open end with `PeerLost`."""
        for session in (self._pooled, self._fresh):
            if session is not None:
                await session.close()
        self._pooled = self._fresh = None

    async def _post(
        self,
        addresses: Sequence[Address],
        expected: NodeId,
        path: str,
        body: bytes,
        sending: Upload | None,
        headers: dict[str, str],
        until: float,
    ) -> aiohttp.ClientResponse:
        """Return the response of the first address where a connection comes about (rule 2)."""
        failures = []
        loop = asyncio.get_running_loop()
        connect_until = loop.time() + self._connect_s * CONNECT_SHARES
        for address in addresses:
            url = _url(address, path)
            connect_s = min(self._connect_s, connect_until - loop.time())
            if connect_s <= 0:
                failures.append(f"{address[0]}:{address[1]}: no time was left to try it")
                continue
            try:
                attempt = Attempt(connect_s, self._silence_s, until)
                try:
                    return await attempt.post(self._session(), url, expected, sending or body, headers)
                except PeerLost:
                    if not attempt.found_closed:
                        raise
                    again = Attempt(connect_s, self._silence_s, until)
                    return await again.post(self._session(fresh=True), url, expected, sending or body, headers)
            except NotConnected as error:
                failures.append(f"{address[0]}:{address[1]}: {error}")
        raise PeerLost(f"{expected[:8]} cannot be reached: {'; '.join(failures) or 'no address is known'}")

    async def _items(
        self,
        response: aiohttp.ClientResponse,
        expected: NodeId,
        spec: CallSpec[RequestT, ItemT],
        sending: Upload | None,
        until: float,
    ) -> AsyncGenerator[ItemT, None]:
        """Yield the items of a response; its connection goes back to the pool, or is closed (rule 5)."""
        self._tell_load(expected, response)
        frames = FrameStream(response.content, self._silence_s, expected[:8])
        if sending is not None:
            sending.accepted.set()
        try:
            while True:
                frame = await frames.next(until)
                match frame.kind:
                    case Kind.ITEM:
                        yield wire.decode(frame.body, spec.item)
                    case Kind.END:
                        await frames.finish(LAST_FRAME_S)
                        return
                    case Kind.ERROR:
                        await frames.finish(LAST_FRAME_S)
                        raise _as_error(frame.body)
                    case _:
                        raise WireError(f"expected ITEM, END or ERROR in an answer, got {frame.kind.name}")
        except TarsdError as error:
            if sending is not None and sending.error is not None:
                raise sending.error from error
            raise
        except GeneratorExit:
            await frames.finish(LAST_FRAME_S)
            raise
        finally:
            response.close()  # a body that was read to its end has given its connection back already

    def _tell_load(self, node: NodeId, response: aiohttp.ClientResponse) -> None:
        if self._on_load is not None and (load := load_from_http(response.headers)):
            self._on_load(node, load)

    async def _who_is_at(self, address: Address) -> PeerIdentity:
        """Return which node of the cluster listens at `address`, by a handshake alone."""
        context = self._identity.client_context(any_node=True)
        try:
            async with asyncio.timeout(self._connect_s):
                _, writer = await asyncio.open_connection(*address, ssl=context)
        except (OSError, TimeoutError) as error:
            reason = "no connection in time" if isinstance(error, TimeoutError) else str(error)
            raise PeerLost(f"{address[0]}:{address[1]}: {reason}") from error
        peer = peer_of(writer.get_extra_info("ssl_object"))
        writer.transport.abort()
        return peer

    def _session(self, *, fresh: bool = False) -> aiohttp.ClientSession:
        """Return the session that pools, or the one that never does (rule 3)."""
        if fresh:
            self._fresh = self._fresh or self._new_session(pooled=False)
            return self._fresh
        self._pooled = self._pooled or self._new_session(pooled=True)
        return self._pooled

    def _new_session(self, *, pooled: bool) -> aiohttp.ClientSession:
        return new_session(self._identity, self._connect_s, self._connections, pooled=pooled)


@lru_cache(maxsize=1024)
def _url(address: Address, path: str) -> URL:
    return URL.build(scheme="https", host=address[0], port=address[1], path=path)


def _as_error(body: bytes) -> TarsdError:
    """Return the callee's error; a `PeerLost` that it met itself becomes `Unavailable`: the callee is not lost."""
    error = from_wire(*msgspec.structs.astuple(wire.decode(body, wire.ErrorBody)))
    return Unavailable(str(error)) if isinstance(error, PeerLost) else error


def _error_in(answer: bytes) -> TarsdError:
    """Return the error of an answer that is one ERROR frame."""
    for frame in wire.FrameReader().feed(answer):
        if frame.kind is Kind.ERROR:
            return _as_error(frame.body)
    return WireError("an answer that is no frame of ours")
