"""The callee's side of calls: `POST /rpc/<capability>` over mutual TLS, frames both ways.

Rules
1. Who calls is read from the verified certificate. A zone that the capability does not name gets `NotAllowed`
   before the request is read, in `_admit`, whatever the handler is: this is the only place where zones are enforced.
   A revoked caller does not come so far (`identity.contexts`), and gets nothing here either.
2. While a call is open, the caller hears a frame at least every `beat_s`, from the event loop: a loop that stands
   still, or a process that does, falls silent.
3. The connection closed by the caller closes the handler's generator, at its next await.
4. The caller's deadline ends the handler too.
5. A capability that nobody here offers is `NotFound`; the bound on open calls is `Overloaded`.
6. What a handler raises goes over as class and sentence; what is not ours stays in the log.
7. Any node of the cluster may keep a connection open, by asking for a sign of life now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from tarsd import wire
from tarsd.calls import ALL, CallSpec, Headers
from tarsd.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotAllowed,
    NotFound,
    Overloaded,
    PeerLost,
    TarsdError,
    WireError,
    place_of,
)
from tarsd.identity import Identity, PeerIdentity, peer_of
from tarsd.identity.listen import BACKLOG, address_of, listen_tcp
from tarsd.names import Capability
from tarsd.rpc.answer import Answer
from tarsd.rpc.context import CallContext, Handler, Hello
from tarsd.rpc.frames import FrameStream
from tarsd.rpc.headers import ALIVE_PATH, HELLO_PATH, PREFIX, from_http, load_to_http
from tarsd.wire import Kind

log = logging.getLogger(__name__)

MAX_HELLO_BYTES = 512 * wire.KIB  # 1,000 members with notices need up to 200 KiB

# A stranger may hold a half-made handshake for so long.
HANDSHAKE_S = 5.0
# Longer than the callers' own (`pool.KEEP_ALIVE_S`), so that a connection is seldom closed under a request.
KEEP_ALIVE_S = 120.0
# What is left of a request that was refused is read for so long before the connection is cut.
LINGER_S = 1.0
# Guards memory and file descriptors; a household's nodes have a handful open.
MAX_CALLS = 256


class RpcServer:
    """Serves `handlers` to the nodes of this cluster. `handlers` may change while it runs."""

    def __init__(
        self,
        identity: Identity,
        handlers: Mapping[Capability, Handler],
        *,
        beat_s: float,
        load: Callable[[], bytes] = bytes,
        hello: Hello | None = None,
        silence_s: float = 2.0,
        max_calls: int = MAX_CALLS,
    ) -> None:
        self._identity = identity
        self._handlers = handlers
        self._beat_s = beat_s
        self._load = load
        self._hello = hello
        self._silence_s = silence_s
        self._max_calls = max_calls
        self._open: set[Answer] = set()
        self._all_over = asyncio.Event()
        self._http: web.Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._beats: asyncio.Task[None] | None = None

    @property
    def open_calls(self) -> int:
        """How many calls are being served."""
        return len(self._open)

    async def start(self, listen: Sequence[str], port: int) -> int:
        """Listen on all addresses that the PC has; return the port. Raises `ConfigError`."""
        sockets = listen_tcp(listen, port)
        loop = asyncio.get_running_loop()
        self._http = web.Server(
            self._serve,
            handler_cancellation=True,  # off by default: rule 3 rests on it
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
            auto_decompress=False,
            access_log=None,
        )
        for sock in sockets:
            listener = await loop.create_server(
                self._http,
                sock=sock,
                ssl=self._identity.server_context(),
                backlog=BACKLOG,
                ssl_handshake_timeout=HANDSHAKE_S,
            )
            self._listeners.append(listener)
        self._beats = asyncio.create_task(self._beat(), name="rpc beats")
        return int(sockets[0].getsockname()[1])

    async def stop(self, drain_s: float = 0.0) -> None:
        """Take no more calls, give those that are open `drain_s` to end, then cut them off."""
        for listener in self._listeners:
            listener.close()
        if self._http is not None:
            self._http.pre_shutdown()
        if self._open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self._all_over.wait()
        if self._beats is not None:
            self._beats.cancel()
            await asyncio.gather(self._beats, return_exceptions=True)
        if self._http is not None:
            cut = [answer.task for answer in self._open if answer.task is not None]
            for task in cut:
                task.cancel()
            await self._http.shutdown(timeout=1.0)
        self._listeners.clear()

    async def _beat(self) -> None:
        """Rule 2, for all open calls at once: one timer costs less than one for each."""
        while True:
            await asyncio.sleep(self._beat_s / 2)
            for answer in tuple(self._open):
                with contextlib.suppress(ConnectionError, RuntimeError):  # it ended, or its caller left: not our matter
                    if not answer.is_over:
                        await answer.beat_if_quiet(self._beat_s / 2)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == HELLO_PATH:
            return await self._greet(request)
        if request.path == ALIVE_PATH:
            return self._live(request)
        answer = Answer(request, self._load())
        try:
            caller = peer_of(request.get_extra_info("ssl_object"))
            spec, handler = self._admit(request, caller)
            headers = from_http(request.headers)
        except TarsdError as error:
            return await answer.fail(error, hang_up=True)
        self._open.add(answer)
        self._all_over.clear()
        try:
            return await self._answer(answer, request, spec, handler, caller, headers)
        finally:
            self._open.discard(answer)
            if not self._open:
                self._all_over.set()

    def _admit(self, request: web.BaseRequest, caller: PeerIdentity) -> tuple[CallSpec[Any, Any], Handler]:
        """Return what is called, or raise: rules 1 and 5."""
        name = Capability(request.path.removeprefix(PREFIX))
        spec = ALL.get(name)
        if spec is None or request.method != "POST" or not request.path.startswith(PREFIX):
            raise NotFound(f"there is no capability {name[:40]!r}")
        if refusal := self._identity.notices.refusal(caller):
            raise NotAllowed(refusal)
        if caller.zone not in spec.zones:
            raise NotAllowed(f"{name} is not for nodes of zone {caller.zone}")
        handler = self._handlers.get(name)
        if handler is None:
            raise NotFound(f"{self._identity.name} does not offer {name}")
        if len(self._open) >= self._max_calls:
            raise Overloaded(f"{self._identity.name} has {self._max_calls} calls open")
        return spec, handler

    async def _answer(
        self,
        answer: Answer,
        request: web.BaseRequest,
        spec: CallSpec[Any, Any],
        handler: Handler,
        caller: PeerIdentity,
        headers: Headers,
    ) -> web.StreamResponse:
        frames = FrameStream(request.content, self._silence_s, caller.name)
        until = asyncio.get_running_loop().time() + headers.deadline_s
        try:
            async with asyncio.timeout_at(until):
                first = await frames.next(until)
                if first.kind is not Kind.REQUEST:
                    raise WireError(f"expected a REQUEST frame, got {first.kind.name}")
                body = wire.decode(first.body, spec.request)
                upload = _upload(frames, until) if spec.uploads else None
                if spec.uploads:
                    await answer.accept()
                async with contextlib.aclosing(handler(body, CallContext(caller, headers, upload))) as items:
                    async for item in items:
                        await answer.item(item)
            return await answer.end()
        except TarsdError as error:
            return await answer.fail(error, hang_up=isinstance(error, WireError))
        except Exception as error:
            if request.transport is None or request.transport.is_closing():
                return answer.abandon()  # the caller is gone, there is nobody to tell
            if isinstance(error, TimeoutError) and asyncio.get_running_loop().time() >= until:
                return await answer.fail(DeadlineExceeded(f"{spec.name}: {headers.deadline_s:g} s were not enough"))
            log.error("%s for %s (trace %s): %s", spec.name, caller.name, headers.trace, place_of(error))
            return await answer.fail(error)

    def _live(self, request: web.BaseRequest) -> web.Response:
        """Say no more than that this node lives, and its load: a caller keeps a connection open by asking (rule 7)."""
        try:
            peer_of(request.get_extra_info("ssl_object"))
        except TarsdError:
            return web.Response(status=403)
        return web.Response(status=204, headers=load_to_http(self._load()))

    async def _greet(self, request: web.BaseRequest) -> web.StreamResponse:
        """Hand a greeting to the hook; its errors go back as any call's."""
        answer = Answer(request, self._load())
        try:
            caller = peer_of(request.get_extra_info("ssl_object"))
            if (address := request.get_extra_info("peername")) is None:
                return web.Response(status=410)  # it hung up before we came to it: nobody reads this
            if self._hello is None:
                raise NotFound("nobody greets here")
            async with asyncio.timeout(self._silence_s):
                body = await request.content.read(MAX_HELLO_BYTES + 1)
                while not request.content.at_eof() and len(body) <= MAX_HELLO_BYTES:
                    body += await request.content.readany()
                if len(body) > MAX_HELLO_BYTES:
                    raise WireError(f"a greeting is at most {MAX_HELLO_BYTES} bytes")
                return web.Response(body=await self._hello(body, caller, address_of(address)))
        except TimeoutError:
            return await answer.fail(DeadlineExceeded("the greeting took too long"), hang_up=True)
        except TarsdError as error:
            return await answer.fail(error, hang_up=isinstance(error, InvalidInput))


async def _upload(frames: FrameStream, until: float) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of an upload until its END; raises `PeerLost` when it is cut off."""
    while True:
        frame = await frames.next(until)
        match frame.kind:
            case Kind.CHUNK:
                yield frame.body
            case Kind.END:
                return
            case Kind.ERROR:
                raise PeerLost("the caller could not go on with its upload")
            case _:
                raise WireError(f"expected CHUNK or END in an upload, got {frame.kind.name}")
