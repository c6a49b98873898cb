"""An upload on its way out: the request, then chunks as the callee takes them, beats while the source has none.

A source that fails ends the upload with an ERROR frame; what it raised stays here in `error`, for the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from tarsd import wire
from tarsd.wire import UPLOAD_CHUNK_BYTES, Kind

_GIVEN_UP = wire.encode_frame(Kind.ERROR)


class Upload:
    """A request and the bytes that follow it. `accepted` is set once the callee has taken the call."""

    def __init__(self, request: bytes, source: AsyncIterator[bytes] | None, *, beat_s: float) -> None:
        self._request = request
        self._source = source
        self._beat_s = beat_s
        self.accepted = asyncio.Event()
        self.error: Exception | None = None

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield the frames of the body; can be begun again as long as `accepted` is not set."""
        yield self._request
        await self.accepted.wait()
        try:
            if self._source is not None:
                async for piece in self._pieces(self._source):
                    yield piece
        except Exception as error:
            self.error = error
            yield _GIVEN_UP
        else:
            yield wire.END

    async def _pieces(self, source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        while True:
            waiting = asyncio.ensure_future(anext(source, None))
            try:
                while not (await asyncio.wait({waiting}, timeout=self._beat_s))[0]:
                    yield wire.BEAT
                chunk = waiting.result()
            finally:
                waiting.cancel()
            if chunk is None:
                return
            for start in range(0, len(chunk), UPLOAD_CHUNK_BYTES):
                yield wire.encode_frame(Kind.CHUNK, chunk[start : start + UPLOAD_CHUNK_BYTES])
