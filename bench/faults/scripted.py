"""A scripted chat server: speaks OpenAI's chat completions over real HTTP, and generates nothing.

    python -m bench.faults.scripted PORT [TIMES [BESIDE]]

Its answer is a function of the question, so that a checker knows every character of it, and it costs next to no CPU,
so that a bench measures the network and not a model. Rows that were taken with it say so.

Rules
1. The question holds `Script KEY pieces N pause MS`; the answer is `pieces_of(KEY, N)`, one piece each MS.
2. Without a pause the pieces come as fast as they can be written.
3. A trailing assistant message is continued exactly where it stops, as a model does that continues its own text. One
   that is no beginning of the answer is answered by `WRONG`: text was doubled, lost or mixed up on the way.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import zlib
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
from aiohttp import web

from bench.daemon import LOOPBACK
from bench.faults import child

MODEL = "scripted"
WRONG = "<<this is not how the answer began>>"
_ANSWERING: web.AppKey[set[tuple[str, object]]] = web.AppKey("answering")
_PACE: web.AppKey[tuple[float, float]] = web.AppKey("pace")
_ASKED = re.compile(r"Script (\S+) pieces (\d+) pause (\d+)")


def question(key: str, pieces: int, pause_ms: int) -> str:
    """Return the question that is answered by `pieces_of(key, pieces)`."""
    return f"Script {key} pieces {pieces} pause {pause_ms}"


def pieces_of(key: str, count: int) -> list[str]:
    """Return the answer's pieces; each is unlike the others, so that one too many or too few is seen."""
    return [f" {number}:{zlib.crc32(f'{key}/{number}'.encode()) & 0xFFFF:04x}" for number in range(1, count + 1)]


def text_of(key: str, count: int) -> str:
    """Return the whole answer, as a reader sees it."""
    return "".join(pieces_of(key, count))


def settings(port: int) -> str:
    """Return the TOML that gives a cognitive node this server as its only engine."""
    return f'[[cognitive.engines]]\nkind = "openai"\nurl = "http://{LOOPBACK}:{port}/v1"\n'


def remaining(pieces: Sequence[str], partial: str) -> list[str]:
    """Return what is left to say after `partial` (rule 2)."""
    if not "".join(pieces).startswith(partial):
        return [WRONG]
    left, shown = [], len(partial)
    for piece in pieces:
        if shown < len(piece):
            left.append(piece[shown:])
        shown = max(0, shown - len(piece))
    return left


def app(times: float = 1.0, beside: float = 0.0) -> web.Application:
    """Return the server (rule 4)."""
    made = web.Application()
    made.router.add_get("/v1/models", _models)
    made.router.add_post("/v1/chat/completions", _complete)
    made.router.add_get("/busy", _busy)
    made[_ANSWERING] = set()
    made[_PACE] = (times, beside)
    return made


async def _busy(request: web.Request) -> web.Response:
    """Tell the keys of the answers that run: a bench that hurts the node which answers asks here which one it is."""
    return web.json_response([key for key, _ in request.app[_ANSWERING]])


async def is_answering(session: aiohttp.ClientSession, port: int, key: str) -> bool:
    """Return whether the server at `port` is answering the question with this key."""
    async with session.get(f"http://{LOOPBACK}:{port}/busy") as response:
        return key in await response.json()


async def _models(_request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})


async def _complete(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    key, left, pause_s, reason = _script_of(body)
    if not body.get("stream"):
        await asyncio.sleep(pause_s * len(left))
        message = {"role": "assistant", "content": "".join(left)}
        return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": reason}]})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    answering, me = request.app[_ANSWERING], (key, object())
    answering.add(me)
    try:
        await _write(request, response, left, pause_s, reason)
    except ConnectionError:  # whoever asked was killed, or wants no more
        pass
    finally:
        answering.discard(me)
    return response


async def _write(
    request: web.Request, response: web.StreamResponse, left: Sequence[str], pause_s: float, reason: str
) -> None:
    await response.prepare(request)
    times, beside = request.app[_PACE]
    for piece in left:
        await asyncio.sleep(pause_s * times * (1 + beside * (len(request.app[_ANSWERING]) - 1)))
        await _send(response, {"content": piece})
    await _send(response, {}, reason)
    await response.write(b"data: [DONE]\n\n")


def _script_of(body: dict[str, Any]) -> tuple[str, list[str], float, str]:
    """Return the key, the pieces left to say, the seconds before each, and why it will end."""
    said = [message["content"] for message in body["messages"] if message["role"] == "user"]
    found = [match for text in said for match in _ASKED.findall(text)]
    if not found:
        return "", [" No script."], 0.0, "stop"
    key, count, pause_ms = found[-1]
    last = body["messages"][-1]
    left = remaining(pieces_of(key, int(count)), last["content"] if last["role"] == "assistant" else "")
    most = int(body.get("max_tokens") or len(left))
    return key, left[:most], int(pause_ms) / 1000, "stop" if most >= len(left) else "length"


async def _send(response: web.StreamResponse, delta: dict[str, str], reason: str | None = None) -> None:
    chunk = {"model": MODEL, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def running(
    port: int, prefix: Sequence[str] = (), *, times: float = 1.0, beside: float = 0.0
) -> AbstractAsyncContextManager[Process]:
    """Run the server as a child process while the block runs; `prefix` is a command that runs it elsewhere."""
    return child.running("bench.faults.scripted", str(port), str(times), str(beside), prefix=prefix)


async def serve(port: int, times: float = 1.0, beside: float = 0.0) -> None:
    """Serve until killed."""
    runner = web.AppRunner(app(times, beside))
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), *map(float, sys.argv[2:4])))
