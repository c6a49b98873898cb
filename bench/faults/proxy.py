"""The reference of a forwarded question: the barest proxy that aiohttp makes, in a process of its own.

    python -m bench.faults.proxy PORT UPSTREAM_URL

It passes a request's body on and streams back what comes: no TLS, no routing, no health, no hand-over.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import Process
from contextlib import AbstractAsyncContextManager

import aiohttp
from aiohttp import web

from bench.daemon import LOOPBACK
from bench.faults import child

_UPSTREAM: web.AppKey[str] = web.AppKey("upstream")
_SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session")


async def _forward(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    headers = {"Content-Type": request.content_type}
    async with request.app[_SESSION].post(request.app[_UPSTREAM] + request.path, data=body, headers=headers) as reply:
        response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.content_type})
        await response.prepare(request)
        async for chunk in reply.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def serve(port: int, upstream: str) -> None:
    """Serve until killed."""
    app = web.Application()
    app[_UPSTREAM], app[_SESSION] = upstream, aiohttp.ClientSession()
    app.router.add_post("/{path:.*}", _forward)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


def running(port: int, upstream: str) -> AbstractAsyncContextManager[Process]:
    """Run the proxy as a child process while the block runs."""
    return child.running("bench.faults.proxy", str(port), upstream)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
