"""A node in a process of its own: prints its port, then serves until it is killed."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from tarsd import calls
from tarsd.identity import load_identity
from tarsd.rpc import RpcServer


async def stream(request: calls.ChatRequest, context):
    while True:
        yield calls.ChatItem(text="word")
        await asyncio.sleep(0.05)


async def at_once(request: calls.RecallRequest, context):
    yield calls.RecallItem(summary=request.conversation)


async def block_the_loop(request: calls.StatusRequest, context):
    time.sleep(30)  # noqa: ASYNC251
    yield None


async def main() -> None:
    handlers = {"chat": stream, "recall": at_once, "status": block_the_loop}
    server = RpcServer(load_identity(Path(sys.argv[1])), handlers, beat_s=0.1)
    print(await server.start(["127.0.0.1"], 0), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
