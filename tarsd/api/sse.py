"""Answers as server-sent events: when the stream begins, what it carries while nothing can be said, how it ends.

Rules
1. What fails before the first piece is a plain HTTP error, which clients retry by its status.
2. While an answer waits, comments tell its place: ": queued 3, about 12 s", ": the model is being loaded". They are
   sent whenever that changes and at least every `BEAT_S` seconds; clients skip them, proxies see that it lives.
3. A stream is whole only when every answer in it said why it ended; one that breaks ends with an error.
4. Headers x-tarsd-node and x-tarsd-engine say who generates; where the stream begins before that is known (the answer
   waits), x-tarsd-node is the node that was asked, and the answer's own `tarsd` tells the rest.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from math import ceil
from typing import Protocol

import msgspec
from aiohttp import web

from tarsd import errors
from tarsd.api.choices import Answers, Choice, together
from tarsd.api.inference import Extra, Piece, cut_off, is_waiting
from tarsd.api.replies import batches, send
from tarsd.api.services import SERVICES

HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}


class StreamShape(Protocol):
    """The events of one API for an answer; each returns whole events, or nothing."""

    def opening(self) -> bytes:
        """Begin."""
        ...

    def piece(self, index: int, piece: Piece) -> bytes:
        """Tell a piece of the answer `index`."""
        ...

    def closing(self) -> bytes:
        """End: every answer is whole."""
        ...

    def failure(self, error: errors.TarsdError) -> bytes:
        """End: the stream broke."""
        ...


async def stream(request: web.Request, answers: Answers, shape: StreamShape) -> web.StreamResponse:
    """Stream the answers; raises what fails before the first piece."""
    response = web.StreamResponse(headers=HEADERS)
    async with aclosing(batches(together(answers))) as found:
        first = await anext(found, None)
        if first is None:
            raise cut_off()
        extra = first[0].piece.extra if first else None
        tell_origin(response, [extra] if extra else [], request.app[SERVICES].node_name)
        await response.prepare(request)
        progress = _Progress(shape, len(answers))
        try:
            await send(response, shape.opening() + progress.batch(first))
            await _rest(response, found, progress)
            await send(response, shape.closing())
        except errors.TarsdError as error:
            await send(response, shape.failure(error))
    await response.write_eof()
    return response


async def _rest(response: web.StreamResponse, found: AsyncGenerator[list[Choice], None], progress: _Progress) -> None:
    async for batch in found:
        await send(response, progress.batch(batch))
    if progress.left:
        raise cut_off()


class _Progress:
    """What of the answers was told, and what they wait for."""

    def __init__(self, shape: StreamShape, answers: int) -> None:
        self.left = answers  # that have not said why they ended
        self._shape = shape
        self._waiting: Piece | None = None

    def batch(self, batch: Sequence[Choice]) -> bytes:
        """Return the events of what came together: written at once, they cost little more than one."""
        told = b"".join(self._told(index, piece) for index, piece in batch)
        return told or comment(self._waiting)

    def _told(self, index: int, piece: Piece) -> bytes:
        self.left -= bool(piece.finish_reason)
        said = self._shape.piece(index, piece) if says_something(piece) else b""
        if is_waiting(piece):
            self._waiting = piece
            return said + comment(piece)
        self._waiting = None
        return said


def says_something(piece: Piece) -> bool:
    """Tell whether there is more in a piece than that it waits."""
    return bool(piece.text or piece.finish_reason or piece.tool_calls or piece.extra)


def comment(waiting: Piece | None) -> bytes:
    """Return the comment that tells what is waited for (rule 2)."""
    if waiting is None:
        return b": still working\n\n"
    if waiting.loading:
        what = "the model is being loaded"
    else:
        what = f"queued {waiting.queue_position}"
    about = f", about {ceil(waiting.wait_s)} s" if waiting.wait_s > 0 else ""
    return f": {what}{about}\n\n".encode()


def tell_origin(response: web.StreamResponse, extras: Sequence[Extra], asked: str) -> None:
    """Set the headers that say which nodes and engines generated (rule 4); `asked` is the node that was asked."""
    nodes = dict.fromkeys(extra.generated_by for extra in extras if extra.generated_by)
    engines = dict.fromkeys(extra.engine for extra in extras if extra.engine)
    response.headers["x-tarsd-node"] = ", ".join(nodes) or asked
    if engines:
        response.headers["x-tarsd-engine"] = ", ".join(engines)


def event(value: object, name: str = "") -> bytes:
    """Return one event with `value` as JSON."""
    named = b"event: " + name.encode() + b"\n" if name else b""
    return named + b"data: " + msgspec.json.encode(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"
