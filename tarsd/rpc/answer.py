"""One answer on its way out: frames written at once, and a beat when none was for a while."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from tarsd import wire
from tarsd.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotAllowed,
    NotFound,
    Overloaded,
    Superseded,
    TarsdError,
    Unavailable,
    to_wire,
)
from tarsd.rpc.headers import load_to_http
from tarsd.wire import Kind

CONTENT_TYPE = "application/vnd.tarsd.frames"

_STATUS: tuple[tuple[type[TarsdError], int], ...] = (
    (InvalidInput, 400),
    (NotAllowed, 403),
    (NotFound, 404),
    (Overloaded, 429),
    (Unavailable, 503),
    (DeadlineExceeded, 504),
    (Superseded, 409),
)


class Answer:
    """The response of one call. The HTTP status repeats the error's class for people with curl; frames decide."""

    def __init__(self, request: web.BaseRequest, load: bytes) -> None:
        self._request = request
        self._response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE} | load_to_http(load))
        self._loop = asyncio.get_running_loop()
        self.written_at = self._loop.time()
        self.task = asyncio.current_task()
        self.is_over = False  # the last frame was written

    async def accept(self) -> None:
        """Let the caller know at once that the call was taken: it holds its upload back until then."""
        await self._write(wire.BEAT)

    async def item(self, item: msgspec.Struct) -> None:
        """Send one item; waits while the caller reads slower than the handler yields."""
        await self._write(wire.encode_frame(Kind.ITEM, wire.encode(item)))

    async def end(self) -> web.StreamResponse:
        """Complete the answer."""
        return await self._finish(wire.END)

    async def fail(self, error: BaseException, *, hang_up: bool = False) -> web.StreamResponse:
        """End the answer with an error; `hang_up` where the rest of the request will not be read."""
        if not self._response.prepared:
            self._response.set_status(next((code for kind, code in _STATUS if isinstance(error, kind)), 500))
            if hang_up:
                self._response.force_close()
        return await self._finish(wire.encode_frame(Kind.ERROR, wire.encode(wire.ErrorBody(*to_wire(error)))))

    def abandon(self) -> web.StreamResponse:
        """Leave the answer as it is: its caller has hung up."""
        self.is_over = True
        return self._response

    async def beat_if_quiet(self, quiet_s: float) -> None:
        """Send a sign of life when nothing was sent for `quiet_s`; never waits for a caller that does not read."""
        transport = self._request.transport
        if self._loop.time() - self.written_at < quiet_s or transport is None:
            return
        if transport.get_write_buffer_size() == 0:  # else bytes are on their way, and they are a sign of life too
            await self._write(wire.BEAT)

    async def _write(self, frame: bytes) -> None:
        self.written_at = self._loop.time()
        if not self._response.prepared:
            await self._response.prepare(self._request)
        await self._response.write(frame)

    async def _finish(self, frame: bytes) -> web.StreamResponse:
        self.is_over = True
        if not self._response.prepared:
            await self._response.prepare(self._request)
        await self._response.write_eof(frame)
        return self._response
