"""The join port: open only while an invitation is, and the only place where somebody without certificate is heard.

Rules
1. Without an open invitation nothing listens.
2. An address that failed `MAX_FAILURES` times within a minute is not heard until a minute has passed since; nor is
   anybody once `MAX_FAILURES_ALL` have failed.
3. Who has nothing valid to say learns the root certificate, which is no secret, and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Sequence

from aiohttp import web

from tarsd import wire
from tarsd.errors import InvalidInput, InviteError, NotFound, Overloaded, TarsdError, to_wire
from tarsd.identity import enrol, invites
from tarsd.identity.contexts import join_context
from tarsd.identity.identity import Identity
from tarsd.identity.listen import BACKLOG, listen_tcp

log = logging.getLogger(__name__)

MAX_FAILURES = 5
MAX_FAILURES_ALL = 60
WINDOW_S = 60.0
# A whole handshake, and a whole request: slow strangers must not hold the port.
HANDSHAKE_S = 5.0
REQUEST_S = 5.0


class JoinServer:
    """Lets new nodes in. Call `refresh` after each new invitation; the port closes by itself once none is open."""

    def __init__(self, identity: Identity, listen: Sequence[str], port: int, *, peer_port: int = 0) -> None:
        """`peer_port`: where this node listens to peers, told to who joins; 0 = not known."""
        self._identity = identity
        self._peer_port = peer_port
        self._addresses = listen
        self.port = port
        self._failures: deque[tuple[float, str]] = deque(maxlen=MAX_FAILURES_ALL)
        self._http: web.Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the port is listened on now."""
        return bool(self._listeners)

    async def start(self) -> None:
        """Open the port if an invitation is open already; raises `ConfigError` where it cannot be listened on."""
        self._http = web.Server(self._serve, access_log=None, keepalive_timeout=REQUEST_S, auto_decompress=False)
        await self._apply()
        self._watching = asyncio.create_task(self._watch(), name="join port")

    async def refresh(self) -> None:
        """Open or close the port as the invitations now say; raises `ConfigError` as `start` does."""
        await self._apply()
        self._changed.set()

    async def stop(self) -> None:
        """Close the port and what is open on it."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._close()
        if self._http is not None:
            await self._http.shutdown(timeout=1.0)

    async def _watch(self) -> None:
        """Close the port when the last invitation expires or was used."""
        while True:
            self._changed.clear()
            try:
                open_s = await self._apply()
            except TarsdError as error:
                log.warning("the join port: %s", error)
                open_s = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(open_s):
                    await self._changed.wait()

    async def _apply(self) -> float | None:
        """Bring the port to what the invitations say; return for how long that holds, None for ever."""
        async with self._lock:
            now = time.time()
            pending = await asyncio.to_thread(invites.pending, self._identity.data_dir, now=now)
            if pending and not self._listeners:
                await self._open()
            elif not pending:
                self._close()
            return pending[-1].expires - now + 0.05 if pending else None

    async def _open(self) -> None:
        context = await asyncio.to_thread(join_context, self._identity.folder)
        loop = asyncio.get_running_loop()
        assert self._http is not None, "start comes first"
        sockets = listen_tcp(self._addresses, self.port)
        self.port = int(sockets[0].getsockname()[1])
        for sock in sockets:
            listener = await loop.create_server(
                self._http, sock=sock, ssl=context, backlog=BACKLOG, ssl_handshake_timeout=HANDSHAKE_S
            )
            self._listeners.append(listener)
        log.info("the join port %d is open: an invitation is", self.port)

    def _close(self) -> None:
        if self._listeners:
            log.info("the join port %d is closed: no invitation is open", self.port)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        host = str((request.get_extra_info("peername") or ("",))[0])
        try:
            async with asyncio.timeout(REQUEST_S):
                return web.Response(body=wire.encode(await self._reply(request, host)))
        except TimeoutError:
            return _refusal(InvalidInput("the request took too long"))
        except TarsdError as error:
            if isinstance(error, (InviteError, InvalidInput)):
                self._failures.append((time.monotonic(), host))
                log.warning("%s wanted to join and was refused: %s", host, error)
            return _refusal(error)
        except Exception as error:
            log.exception("a request to join failed")
            return _refusal(error)

    async def _reply(self, request: web.BaseRequest, host: str) -> enrol.RootReply | enrol.JoinReply:
        data_dir = self._identity.data_dir
        match request.method, request.path:
            case "GET", "/root":
                return await asyncio.to_thread(enrol.root_reply, data_dir)
            case "POST", "/join":
                self._refuse_many(host)
                message = wire.decode(await _body(request), enrol.JoinRequest)
                await asyncio.to_thread(self._identity.notices.save)  # `admit` reads the files
                reply = await asyncio.to_thread(enrol.admit, data_dir, message, peer_port=self._peer_port)
                log.info("%s joined from %s as node %s in zone %s", message.name, host, reply.node_id, reply.zone)
                self._changed.set()
                return reply
            case _:
                raise NotFound("here nodes join, and nothing else")

    def _refuse_many(self, host: str) -> None:
        """Rule 2."""
        since = time.monotonic() - WINDOW_S
        recent = [who for when, who in self._failures if when > since]
        if recent.count(host) >= MAX_FAILURES or len(recent) >= MAX_FAILURES_ALL:
            raise Overloaded("too many refused attempts to join: come again in a minute", retry_after_s=WINDOW_S)


async def _body(request: web.BaseRequest) -> bytes:
    body = b""
    while not request.content.at_eof():
        body += await request.content.readany()
        if len(body) > enrol.MAX_MESSAGE_BYTES:
            raise InvalidInput(f"a request to join is at most {enrol.MAX_MESSAGE_BYTES} bytes")
    return body


def _refusal(error: BaseException) -> web.Response:
    response = web.Response(status=403, body=wire.encode(wire.ErrorBody(*to_wire(error))))
    response.force_close()
    return response
