"""How the pieces of an answer become a stream in whatever form an API has.

Rules
1. What fails before the first piece is a plain HTTP error, which clients retry by its status.
2. A stream is whole only with the piece that says why the answer ended; one that breaks ends in an error.
3. A stream that has nothing to say beats, so that no client and no proxy takes it for dead.
4. x-tarsd-node and x-tarsd-engine say who generates. A stream may begin before that is known (a queue, the assistant):
   then x-tarsd-node is the node that took the question, and the last piece tells the rest.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from aiohttp import web

from tarsd import errors
from tarsd.api.inference import Extra, Piece, cut_off, merged
from tarsd.api.replies import batches, send
from tarsd.api.services import SERVICES
from tarsd.api.sse import tell_origin


class Form(Protocol):
    """What a stream of one API looks like."""

    @property
    def content_type(self) -> str:
        """Return the type of the body."""
        ...

    def opening(self) -> bytes:
        """Return what comes before everything."""
        ...

    def encoded(self, pieces: Sequence[Piece]) -> bytes:
        """Return what tells these pieces; the last of an answer may close it."""
        ...

    def beat(self) -> bytes:
        """Return what says that there is nothing to say yet."""
        ...

    def failed(self, error: errors.TarsdError) -> bytes:
        """Return what tells an error after the stream began."""
        ...


async def stream(request: web.Request, form: Form, pieces: AsyncGenerator[Piece, None]) -> web.StreamResponse:
    """Stream an answer in `form`. A client that leaves cancels the answer."""
    response = web.StreamResponse(headers={"Content-Type": form.content_type, "X-Accel-Buffering": "no"})
    async with aclosing(batches(pieces)) as found:
        first = await anext(found, None)
        if first is None:
            raise cut_off()
        extra = Extra()
        for piece in first:
            extra = merged(extra, piece.extra)
        tell_origin(response, [extra], request.app[SERVICES].node_name)
        await response.prepare(request)
        whole = _is_whole(first)
        try:
            await send(response, form.opening() + (form.encoded(first) if first else form.beat()))
            async for batch in found:
                await send(response, form.encoded(batch) if batch else form.beat())
                whole |= _is_whole(batch)
            if not whole:
                raise cut_off()
        except errors.TarsdError as error:
            await send(response, form.failed(error))
    await response.write_eof()
    return response


def _is_whole(pieces: Sequence[Piece]) -> bool:
    return bool(pieces) and bool(pieces[-1].finish_reason)
