"""How requests are read and errors are told: JSON bodies by schema, errors that name the field, streams with beats.

Error body below /api: {"error": {"name": "InvalidInput", "message": "…", "field": "messages[0].role"}}; an `Overloaded`
                       tells `retry_after_s` there, and every 429 and 503 has a Retry-After header
Error body below /v1:  OpenAI's, {"error": {"message": "…", "type": "…", "param": "…", "code": "…"}}
Ollama's and Anthropic's own paths have theirs: `error_shapes`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from math import ceil
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from aiohttp import web

from tarsd import errors
from tarsd.api.error_shapes import error_as_expected
from tarsd.api.guard import Handler, TokenNeeded

log = logging.getLogger(__name__)

# A stream that says nothing for so long sends a beat, so that a client may take 3 missing ones for a dead node.
BEAT_S = 5.0
# A client that takes no byte for so long is gone; without a bound it would hold its answer's generation open.
SEND_S = 30.0
# What is unavailable may be back by then: a node is seen to be lost within 4 s, and restarts within 3.
UNAVAILABLE_RETRY_S = 5.0

# An answer that is read slower than it is made is held back by so many items.
BATCH_ITEMS = 64

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_STATUS: tuple[tuple[type[BaseException], int], ...] = (  # first match wins: narrow before wide
    (TokenNeeded, 401),
    (errors.InvalidInput, 400),
    (errors.NotAllowed, 403),
    (errors.NotFound, 404),
    (errors.Overloaded, 429),
    (errors.Unavailable, 503),
    (errors.DeadlineExceeded, 504),
    (errors.StorageError, 507),
    (errors.Superseded, 409),
)
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class FieldError(errors.InvalidInput):
    """One field of a request is wrong; `field` is its path as the client wrote it."""

    def __init__(self, field: str, message: str, code: str = "") -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.code = code


class ModelUnknown(errors.NotFound):
    """No such chat model in the cluster."""


class TooLarge(errors.InvalidInput):
    """A body over its bound."""


def status_of(error: BaseException) -> int:
    """Return the HTTP status that tells `error`."""
    if isinstance(error, TooLarge):
        return 413
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def name_of(error: BaseException) -> str:
    """Return the name that the tree knows for `error`, which may be a narrower class of the API; "" = not ours."""
    if not isinstance(error, errors.TarsdError):
        return ""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)


def error_body(error: BaseException, path: str) -> dict[str, Any]:
    """Return the JSON body that tells `error` below `path`; an error that is not ours keeps its text to itself."""
    name, sentence, again_s = errors.to_wire(error)
    name = name_of(error) or name
    expected = error_as_expected(path, sentence, status_of(error), name)
    if expected is not None:
        return expected
    field = getattr(error, "field", None)
    if not path.startswith("/v1"):
        more = ({"field": field} if field else {}) | ({"retry_after_s": again_s} if again_s else {})
        return {"error": {"name": name, "message": sentence} | more}
    status = status_of(error)
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    param = "model" if isinstance(error, ModelUnknown) else field
    code = "model_not_found" if isinstance(error, ModelUnknown) else getattr(error, "code", "") or name
    if isinstance(error, errors.ContextOverflow):
        param, code = "messages", "context_length_exceeded"  # clients shorten the chat when they see this code
    return {"error": {"message": sentence, "type": kind, "param": param, "code": code}}


def error_reply(error: BaseException, path: str) -> web.Response:
    """Return the whole response that tells `error`."""
    response = json_reply(error_body(error, path), status=status_of(error))
    if isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = str(max(1, ceil(errors.retry_after_s(error) or UNAVAILABLE_RETRY_S)))
    if isinstance(error, TokenNeeded):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


@web.middleware
async def tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises before its response began into a JSON error."""
    try:
        return await handler(request)
    except errors.TarsdError as error:
        return error_reply(error, request.path)
    except web.HTTPException as error:
        kind = errors.NotFound if error.status == 404 else errors.InvalidInput
        body = error_body(kind(f"{request.method} {request.path}: {error.reason}"), request.path)
        reply = json_reply(body, status=error.status)
        if "Allow" in error.headers:
            reply.headers["Allow"] = error.headers["Allow"]
        return reply
    except (ConnectionError, TimeoutError):
        raise  # the client is gone: nobody to tell
    except Exception as error:
        log.error("%s %r failed: %s", request.method, request.path, errors.place_of(error))
        return error_reply(error, request.path)


def json_reply(value: object, status: int = 200) -> web.Response:
    """Return `value` (structs or plain data) as a JSON response."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


async def read_json(request: web.Request, as_type: type[T]) -> T:
    """Return the body as `as_type`; raises `FieldError` naming what does not fit."""
    if request.content_type != "application/json":
        # also keeps out a cross-site form, the one POST a browser sends without asking us first
        raise FieldError("Content-Type", f"expected application/json, got {request.content_type}")
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLarge(f"body: {error.text}") from error
    return decode_json(body, as_type)


def decode_json(body: bytes | str, as_type: type[T]) -> T:
    """Return JSON `body` as `as_type`; raises `FieldError`."""
    try:
        return msgspec.json.decode(body, type=as_type)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        what = "it is empty" if what == "Expected `str` of length >= 1" else what
        raise FieldError(where.rstrip("`").removeprefix("$").lstrip(".") or "body", what) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FieldError("body", f"not valid JSON: {error}") from error


def query_int(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """Return the query parameter `name` as a number within its bounds; raises `FieldError`."""
    found = request.query.get(name, "")
    if not found:
        return default
    if not found.isascii() or not found.isdigit() or len(found) > 9 or not low <= int(found) <= high:
        raise FieldError(name, f"expected a number from {low} to {high}, got {found[:40]!r}")
    return int(found)


class Items(Protocol[T_co]):
    """What can be iterated once and closed early: an async generator or a call."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def aclose(self) -> Awaitable[None]:
        """End it early."""
        ...


async def with_beats(items: Items[T], beat_s: float = BEAT_S) -> AsyncGenerator[T | None, None]:
    """Yield the items, and None whenever `beat_s` passed without one. Closing it closes `items`."""
    async with aclosing(batches(items, beat_s)) as found:
        async for batch in found:
            if not batch:
                yield None
            for item in batch:
                yield item


async def batches(items: Items[T], beat_s: float = BEAT_S) -> AsyncGenerator[list[T], None]:
    """Yield in order whatever items are at hand: what came together can be written together, which costs a fraction.

    An empty list says that `beat_s` passed without one. Closing it closes `items`.
    """
    pump = _Pump(items)
    try:
        while True:
            await pump.wait(beat_s)
            batch = pump.take()
            if not batch and pump.has_ended:
                break
            yield batch
    finally:
        await pump.close()
    if pump.error is not None:
        raise pump.error


class _Pump(Generic[T]):
    """Runs all steps of `items` in one task of its own: a generator may hold timeouts, which belong to a task."""

    def __init__(self, items: Items[T]) -> None:
        self.has_ended = False
        self.error: Exception | None = None
        self._ready: list[T] = []
        self._waiter: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._task = asyncio.create_task(self._run(items))

    async def wait(self, seconds: float) -> None:
        """Return when there is an item, or no more will come, or the time is over."""
        if self._ready or self.has_ended:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()

    def take(self) -> list[T]:
        """Return what is at hand."""
        batch, self._ready = self._ready, []
        self._room.set()
        return batch

    async def close(self) -> None:
        """Close the items, wherever they are."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self, items: Items[T]) -> None:
        try:
            async with aclosing(items):
                async for item in items:
                    self._ready.append(item)
                    self._wake()
                    if len(self._ready) >= BATCH_ITEMS:
                        self._room.clear()
                        await self._room.wait()
        except Exception as raised:  # it is raised again where the items are read
            self.error = raised
        finally:
            self.has_ended = True
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def send(response: web.StreamResponse, data: bytes) -> None:
    """Write to a stream; a client that takes nothing for `SEND_S` counts as gone (`ConnectionResetError`)."""
    if not data:
        return  # an empty chunk would be the end of the body
    try:
        async with asyncio.timeout(SEND_S):
            await response.write(data)
    except TimeoutError as error:
        raise ConnectionResetError("the client takes no data") from error


async def ndjson(request: web.Request, items: Items[Any], beat: bytes = b"") -> web.StreamResponse:
    """Stream items as one JSON object a line; a beat is an empty line or `beat`, an error the last line."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    async with aclosing(with_beats(items)) as beaten:
        # the first item decides: a call refused at once is a plain HTTP error
        first = await first_of(beaten)
        await response.prepare(request)
        if first is not None:
            await send(response, msgspec.json.encode(first) + b"\n")
        try:
            async for item in beaten:
                await send(response, (msgspec.json.encode(item) if item is not None else beat) + b"\n")
        except errors.TarsdError as error:
            await send(response, msgspec.json.encode(error_body(error, request.path)) + b"\n")
    await response.write_eof()
    return response


async def first_of(items: AsyncIterator[T]) -> T | None:
    """Return the first item (a beat counts as one: the reply must start then), or None when there is none."""
    async for item in items:
        return item
    return None


async def only_item(items: Items[T], what: str) -> T:
    """Return the one item of a call that has one; raises `Unavailable` when the response was empty."""
    async with aclosing(items):
        async for item in items:
            return item
    raise errors.Unavailable(f"{what}: the answer was empty")
