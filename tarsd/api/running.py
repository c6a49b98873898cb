"""What runs now on behalf of clients, so that a stop can wait for it. The chat counts answers, not open connections."""

from __future__ import annotations

import asyncio
from types import TracebackType

from aiohttp import web

from tarsd.api.guard import Handler


class Running:
    """Counts work: `with running:` around each piece."""

    def __init__(self) -> None:
        self._count = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def __enter__(self) -> None:
        self._count += 1
        self._quiet.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._count -= 1
        if not self._count:
            self._quiet.set()

    async def wait_quiet(self, timeout_s: float) -> bool:
        """Wait until nothing runs, at most `timeout_s`; return whether that came true."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True


RUNNING = web.AppKey("running", Running)


@web.middleware
async def count_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request while it is served; a chat connection may stay for days and is not one."""
    if request.path == "/ws":
        return await handler(request)
    with request.app[RUNNING]:
        return await handler(request)
