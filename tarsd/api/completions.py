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

from tarsd import calls, errors
from tarsd.api.openai_shapes import (
    ASSISTANT,
    CompletionRequest,
    Extra,
    Shapes,
    chat_request,
    check,
    finish_reason_of,
    messages_of,
    question_of,
)
from tarsd.api.replies import ModelUnknown, batches, error_body, json_reply, read_json, send
from tarsd.api.services import SERVICES, ApiServices
from tarsd.gossip.member import Member
from tarsd.host import events


class Piece(msgspec.Struct, frozen=True):
    """What an answer yields to both reply forms: text, how it came about, and (last) why it ended."""

    text: str = ""
    extra: Extra | None = None
    finish_reason: str = ""
    usage: calls.Usage = calls.Usage()


async def complete(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    services = request.app[SERVICES]
    body = await read_json(request, CompletionRequest)
    check(body)
    messages = messages_of(body)
    if body.model == ASSISTANT:
        pieces = _assistant_pieces(services, question_of(body, messages))
    else:
        _check_model(services, body.model)
        pieces = _model_pieces(services, chat_request(body, messages))
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    shapes = Shapes(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), body.model, with_usage=with_usage)
    if body.stream:
        return await _stream(request, shapes, pieces, with_usage)
    return await _whole(shapes, pieces, services.node_name)


def _check_model(services: ApiServices, model: str) -> None:
    known = services.models()
    if model not in known:
        names = ", ".join([ASSISTANT, *known])
        raise ModelUnknown(f"model: {model!r} is not in the cluster right now; there is {names}")


def _model_of(member: Member) -> object:
    return member.capabilities.get(calls.CHAT.name, {}).get("model")


async def _model_pieces(services: ApiServices, request: calls.ChatRequest) -> AsyncGenerator[Piece, None]:
    others = frozenset(m.node for m in services.members() if _model_of(m) != request.model)
    call = services.dispatch.call(calls.CHAT, request, exclude=others)
    async with aclosing(call):
        async for item in call:
            extra = None
            if item.engine:
                node = call.member.name if call.member else services.node_name
                extra = Extra(generated_by=node, engine=item.engine, model=item.model)
            yield Piece(item.text, extra, item.finish_reason, item.usage or calls.Usage())


async def _assistant_pieces(services: ApiServices, question: events.Question) -> AsyncGenerator[Piece, None]:
    # kept until somebody answers or it lasts: a full queue is then a plain 429, which clients know how to take
    known: Extra | None = None
    async with aclosing(services.host.ask(question)) as answer:
        async for event in answer:
            match event:
                case events.TokenEvent():
                    yield Piece(event.text, known)
                    known = None
                case events.RouteEvent():
                    known = Extra(route=event.route, prepared_by=event.prepared_by, trace=event.trace)
                case events.SourcesEvent():
                    known = _merged(known or Extra(), Extra(sources=event.sources))
                case events.NoticeEvent():
                    yield Piece(extra=_merged(known or Extra(), Extra(notices=[event.text])))
                    known = None
                case events.DoneEvent():
                    extra = Extra(
                        generated_by=event.generated_by,
                        prepared_by=event.prepared_by,
                        engine=event.engine,
                        model=event.model,
                        degraded=event.degraded,
                    )
                    yield Piece(
                        extra=_merged(known or Extra(), extra), finish_reason=event.finish_reason, usage=event.usage
                    )
                case events.ErrorEvent():
                    raise _error_of(event)


def _error_of(event: events.ErrorEvent) -> errors.TarsdError:
    return errors.from_wire(event.name, event.sentence, event.retry_after_s)


async def _whole(shapes: Shapes, pieces: AsyncGenerator[Piece, None], node: str) -> web.Response:
    text: list[str] = []
    extra = Extra()
    last = Piece()
    async with aclosing(pieces):
        async for piece in pieces:
            text.append(piece.text)
            extra = _merged(extra, piece.extra)
            last = piece if piece.finish_reason else last
    if not last.finish_reason:
        raise errors.Unavailable("the answer ended without its last part")
    reply = json_reply(shapes.whole("".join(text), finish_reason_of(last.finish_reason), last.usage, extra))
    _tell_origin(reply, extra, node)
    return reply


def _merged(known: Extra, news: Extra | None) -> Extra:
    """Return what is known with the news: lists grow, words are replaced."""
    if news is None:
        return known
    merged: dict[str, Any] = {}
    for name in Extra.__struct_fields__:
        before, now = getattr(known, name), getattr(news, name)
        merged[name] = before + now if isinstance(now, list) else now or before
    return Extra(**merged)


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
        _check_model(request.app[SERVICES], name)
    return json_reply(_model(name))


def routes() -> list[web.RouteDef]:
    """The routes of the OpenAI-compatible API."""
    return [
        web.post("/v1/chat/completions", complete),
        web.get("/v1/models", models),
        web.get("/v1/models/{name:.+}", model),
    ]
