"""POST /v1/chat/completions and GET /v1/models: the official `openai` client can use a node unchanged.

    OpenAI(base_url="http://127.0.0.1:7711/v1", api_key="any")        # beyond loopback: the access token

Model `tars` is the whole assistant (documents, sources); a chat model's own name is plain inference by that model.
Headers: x-tarsd-node and x-tarsd-engine say who generates. A stream of `tars` begins before that is known: there
x-tarsd-node is the node that took the question, and the chunk with the finish reason tells the rest in `tarsd`.
While nothing can be said (a queue, a long prompt) a stream carries SSE comments, so that no proxy takes it for dead.
A lost node that generates is replaced unseen; a lost node that took the question is not, since these clients know of no
other: a stream is whole only with its finish reason and `[DONE]`; one that breaks ends in an error or is cut.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from tarsd import errors
from tarsd.api.inference import ASSISTANT, Extra, Piece, assistant_pieces, check_model, merged, model_pieces
from tarsd.api.openai_shapes import (
    CompletionRequest,
    Shapes,
    chat_request,
    check,
    finish_reason_of,
    messages_of,
    question_of,
)
from tarsd.api.replies import batches, error_body, json_reply, read_json, send
from tarsd.api.services import SERVICES


async def complete(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    services = request.app[SERVICES]
    body = await read_json(request, CompletionRequest)
    check(body)
    messages = messages_of(body)
    if body.model == ASSISTANT:
        pieces = assistant_pieces(services, question_of(body, messages))
    else:
        check_model(services, body.model)
        pieces = model_pieces(services, chat_request(body, messages))
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    shapes = Shapes(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), body.model, with_usage=with_usage)
    if body.stream:
        return await _stream(request, shapes, pieces, with_usage)
    return await _whole(shapes, pieces, services.node_name)


async def _whole(shapes: Shapes, pieces: AsyncGenerator[Piece, None], node: str) -> web.Response:
    text: list[str] = []
    extra = Extra()
    last = Piece()
    async with aclosing(pieces):
        async for piece in pieces:
            text.append(piece.text)
            extra = merged(extra, piece.extra)
            last = piece if piece.finish_reason else last
    if not last.finish_reason:
        raise errors.Unavailable("the answer ended without its last part")
    reply = json_reply(shapes.whole("".join(text), finish_reason_of(last.finish_reason), last.usage, extra))
    _tell_origin(reply, extra, node)
    return reply


def _tell_origin(response: web.StreamResponse, extra: Extra, node: str) -> None:
    response.headers["x-tarsd-node"] = extra.generated_by or node
    if extra.engine:
        response.headers["x-tarsd-engine"] = extra.engine


async def _stream(
    request: web.Request, shapes: Shapes, pieces: AsyncGenerator[Piece, None], with_usage: bool
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    async with aclosing(batches(pieces)) as found:
        # what fails before the first piece is a plain HTTP error, which clients retry by its status
        first: list[Piece] = await anext(found, [])
        extra = first[0].extra if first else None
        _tell_origin(response, extra or Extra(), request.app[SERVICES].node_name)
        await response.prepare(request)
        opening = _data(shapes.chunk("", extra=extra, first=True))
        rest = [msgspec.structs.replace(first[0], extra=None), *first[1:]] if first else []
        whole = _is_whole(rest)
        try:
            await send(response, opening + _encoded(shapes, rest, with_usage))
            async for batch in found:
                await send(response, _encoded(shapes, batch, with_usage) if batch else b": still working\n\n")
                whole |= _is_whole(batch)
            if not whole:
                raise errors.Unavailable("the answer ended without its last part")
            await send(response, b"data: [DONE]\n\n")
        except errors.TarsdError as error:
            await send(response, _data(error_body(error, request.path)))
    await response.write_eof()
    return response


def _is_whole(pieces: Sequence[Piece]) -> bool:
    return bool(pieces) and bool(pieces[-1].finish_reason)


def _encoded(shapes: Shapes, pieces: Sequence[Piece], with_usage: bool) -> bytes:
    """Return the events of some pieces: written at once, they cost little more than one."""
    parts: list[bytes] = []
    for piece in pieces:
        if piece.text or (piece.extra is not None and not piece.finish_reason):
            parts.append(_data(shapes.chunk(piece.text or None, extra=None if piece.finish_reason else piece.extra)))
        if piece.finish_reason:
            reason = finish_reason_of(piece.finish_reason)
            parts.append(_data(shapes.chunk(finish_reason=reason, extra=piece.extra)))
            if with_usage:
                parts.append(_data(shapes.usage_chunk(piece.usage)))
    return b"".join(parts)


def _data(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tarsd"}


async def models(request: web.Request) -> web.Response:
    """GET /v1/models."""
    names = [ASSISTANT, *request.app[SERVICES].models()]
    return json_reply({"object": "list", "data": [_model(name) for name in names]})


async def model(request: web.Request) -> web.Response:
    """GET /v1/models/{name}; a name may have slashes."""
    name = request.match_info["name"]
    if name != ASSISTANT:
        check_model(request.app[SERVICES], name)
    return json_reply(_model(name))


def routes() -> list[web.RouteDef]:
    """The routes of the OpenAI-compatible API."""
    return [
        web.post("/v1/chat/completions", complete),
        web.get("/v1/models", models),
        web.get("/v1/models/{name:.+}", model),
    ]
