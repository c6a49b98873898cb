"""Frames out of an HTTP body, with the wait for each bounded. Used by caller (answers) and callee (uploads).

Rules
1. Any frame, a beat too, is a sign of life; silence is counted only while somebody waits here.
2. A silence during which this process itself stood still proves nothing about the peer: it is counted anew.
3. A body that ends without END or ERROR was cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from aiohttp import ClientError, StreamReader
from aiohttp.web import RequestPayloadError

from tarsd.errors import PeerLost, WireError
from tarsd.wire import Frame, FrameReader, Kind

# A timer that fires later than this says that our own event loop (or the whole PC) stood still.
OWN_STALL_S = 0.25


class FrameStream:
    """The frames of one HTTP body."""

    def __init__(self, content: StreamReader, silence_s: float, sender: str) -> None:
        self._content = content
        self._sender = sender  # for error messages
        self._silence_s = silence_s
        self._reader = FrameReader()
        self._ready: deque[Frame] = deque()
        self._loop = asyncio.get_running_loop()

    async def next(self, until: float) -> Frame:
        """Return the next frame that is not a beat.

        Raises `PeerLost` on silence, reset or an end that is none; `TimeoutError` when the loop's time passes `until`;
        `WireError` on bytes that are no frame of ours.
        """
        while True:
            while self._ready:
                frame = self._ready.popleft()
                if frame.kind is not Kind.BEAT:
                    return frame
            data = await self._read(until)
            if not data:
                raise PeerLost(f"{self._sender}: the stream was cut off")
            self._ready.extend(self._reader.feed(data))

    async def finish(self, seconds: float) -> None:
        """Read on to the end of the body, which frees its connection: for at most `seconds`, until an item comes."""
        with contextlib.suppress(TimeoutError, ClientError, OSError, WireError):
            async with asyncio.timeout(seconds):
                while not self._content.at_eof() and all(frame.kind is not Kind.ITEM for frame in self._ready):
                    self._ready.extend(self._reader.feed(await self._content.readany()))

    async def _read(self, until: float) -> bytes:
        """Return whatever bytes come next, empty at the end."""
        while True:
            silent_at = self._loop.time() + self._silence_s
            try:
                data = self._content.read_nowait(-1)
                if data:
                    return data
                async with asyncio.timeout_at(min(until, silent_at)):
                    return await self._content.readany()
            except TimeoutError:
                now = self._loop.time()
                if now >= until:
                    raise
                if now - silent_at < OWN_STALL_S:
                    raise PeerLost(f"{self._sender}: silent for {self._silence_s:g} s") from None
            except (ClientError, RequestPayloadError, OSError) as error:
                raise PeerLost(f"{self._sender}: the connection broke: {error}") from error
