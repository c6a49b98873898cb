"""Engine `openai`: any server that speaks OpenAI's chat completions: vLLM, Ray Serve, llama.cpp's server, and others.

Asked with aiohttp, which a node has anyway: the `openai` package takes 0.6 s to import.

Rules of continuation (`partial`), since the protocol has none
1. A trailing assistant message is sent with `continue_final_message`, which vLLM and SGLang know; llama.cpp's own
   server and others continue such a message by themselves.
2. A server that refuses these extra fields is asked again without them.
3. One that begins anew by repeating the text has the repetition dropped (`RepetitionFilter`).

Rules of what servers differ in
4. Sampling fields that OpenAI does not have (top_k, min_p, repetition) are sent until a server refuses them; that is
   remembered. What is refused for the length of the context is not asked again.
5. A server that refuses tools or a schema cannot serve the request (`CannotServe`), nor can any hold a grammar: how it
   is asked for differs from server to server. A bare prompt goes to /completions.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

import aiohttp
import msgspec

from tarsd import calls, config
from tarsd.engines import remote
from tarsd.engines.base import EngineInfo
from tarsd.engines.remote import Piece, RemoteEngine
from tarsd.engines.sse import EventReader
from tarsd.engines.toolcalls import described
from tarsd.errors import (
    CannotServe,
    ConfigError,
    ContextOverflow,
    EngineUnavailable,
    InvalidInput,
    Overloaded,
    TarsdError,
    WireError,
)
from tarsd.wire import KIB

_ERROR_CHARS = 300
_ERROR_BYTES = 4 * KIB  # of a refusal; some proxies send whole pages, and not in UTF-8


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None
    text: str | None = None  # of /completions


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None  # vLLM's addition


class _Models(msgspec.Struct):
    data: list[_Model]


class OpenAIEngine(RemoteEngine):
    """Chat by an OpenAI-compatible server at `url` (with its /v1); an empty `model` is the first that it lists."""

    def __init__(self, settings: config.Engine, *, name: str) -> None:
        if not settings.url:
            raise ConfigError(
                'cognitive.engines: an engine of kind "openai" needs `url`, such as "http://host:8000/v1"'
            )
        super().__init__(settings, name=name)
        self._url = settings.url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._takes_sampling = True

    async def start(self) -> None:
        """Reach the server and choose the model; raises `EngineUnavailable` with the reason."""
        self._info = None
        if self._session is None:
            # Made here and not at import: a daemon that calls no public server carries no public authorities.
            context = ssl.create_default_context() if self._url.startswith("https:") else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context),
                headers=self._headers(),
                timeout=aiohttp.ClientTimeout(sock_connect=remote.CONNECT_S, sock_read=remote.SILENCE_S),
            )
        try:
            async with asyncio.timeout(remote.ASK_S), self._session.get(f"{self._url}/models") as response:
                if response.status != 200:
                    raise self._refusal(response.status, await _beginning(response))
                models = msgspec.json.decode(await response.read(), type=_Models).data
        except TimeoutError:
            raise EngineUnavailable(f"{self._url} does not answer") from None
        except (aiohttp.ClientError, msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise EngineUnavailable(f"{self._url}: {_why(error)}") from error
        self._info = self._chosen(models)

    async def stop(self) -> None:
        """Close the connections."""
        session, self._session, self._info = self._session, None, None
        if session is not None:
            await session.close()

    async def _pieces(self, request: calls.ChatRequest, info: EngineInfo) -> AsyncGenerator[Piece, None]:
        try:
            response = await self._post(request, info)
            try:
                async with aclosing(_pieces_of(response)) as pieces:
                    async for piece in pieces:
                        yield piece
            finally:
                response.close()
        except (aiohttp.ClientError, WireError, msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise EngineUnavailable(f"{self._url}: {_why(error)}") from error

    async def _post(self, request: calls.ChatRequest, info: EngineInfo) -> aiohttp.ClientResponse:
        """Return the open response, asked without the extra fields where the server refuses them (rule 2)."""
        assert self._session is not None
        if request.grammar:
            raise CannotServe(f"grammar: {self._url} is not asked for one")
        body = _body(request, info.model)
        path = f"{self._url}/{'completions' if request.prompt else 'chat/completions'}"
        continuing = _continuing(request)
        attempts = [continuing, {}] if continuing else [continuing]
        if self._takes_sampling:
            attempts.insert(0, continuing | _sampling(request))
        for extras in attempts:
            response = await self._session.post(path, json=body | extras)
            if response.status == 200:
                if extras is continuing:  # nothing but the sampling fields was left out
                    self._takes_sampling = False
                return response
            again = response.headers.get("Retry-After", "")
            refusal = self._refusal(response.status, await _beginning(response), again)
            if response.status not in (400, 422) or isinstance(refusal, ContextOverflow):
                break
        is_special = bool(request.tools or request.json_schema)
        if is_special and response.status in (400, 422, 500) and not isinstance(refusal, ContextOverflow):
            raise CannotServe(str(refusal))  # some servers break at a form that they do not know, rather than refuse it
        raise refusal

    def _refusal(self, status: int, text: str, retry_after: str = "") -> TarsdError:
        said = " ".join(text[:_ERROR_CHARS].split())
        if status in (400, 413, 422):
            kind = ContextOverflow if "context" in said.lower() else InvalidInput
            return kind(f"{self._url} refused the request ({status}): {said}")
        if status in (429, 503):
            after_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 2.0
            return Overloaded(f"{self._url} is busy ({status})", retry_after_s=after_s)
        return EngineUnavailable(f"{self._url} answers {status}: {said}")

    def _headers(self) -> dict[str, str]:
        path = self.settings.api_key_file
        if path is None:
            return {}
        try:
            return {"Authorization": f"Bearer {path.read_text().strip()}"}
        except OSError as error:
            raise EngineUnavailable(f"the key of {self._url} cannot be read: {error}") from error

    def _chosen(self, models: list[_Model]) -> EngineInfo:
        wanted = self.settings.model
        for model in models:
            if not wanted or model.id == wanted:
                most = model.max_model_len or self.settings.context_tokens
                slots = self.settings.slots or remote.SLOTS
                return EngineInfo("openai", model.id, min(most, self.settings.context_tokens), slots)
        raise EngineUnavailable(f"{self._url} has no model {wanted!r}, but {[model.id for model in models]}")


def _body(request: calls.ChatRequest, model: str) -> dict[str, Any]:
    """Return the request in OpenAI's own fields."""
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
    }
    if request.prompt:
        body["prompt"] = request.prompt + request.partial
    else:
        body["messages"] = remote.messages_for(request)
        for message in body["messages"]:
            for call in message.get("tool_calls", ()):
                call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(request, name):
            body[name] = getattr(request, name)
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = request.stop
    return body | _form(request)


def _form(request: calls.ChatRequest) -> dict[str, Any]:
    """Return what says which form the answer must have."""
    form: dict[str, Any] = {}
    if request.tools and request.tool_choice != "none":
        form["tools"] = described(request.tools)
        named = {"type": "function", "function": {"name": request.tool_choice}}
        form["tool_choice"] = request.tool_choice if request.tool_choice in ("auto", "required") else named
    if request.json_schema:
        schema = msgspec.json.decode(request.json_schema)
        whole: dict[str, Any] = {"name": "answer", "schema": schema, "strict": True}
        form["response_format"] = {"type": "json_schema", "json_schema": whole} if schema else {"type": "json_object"}
    return form


def _continuing(request: calls.ChatRequest) -> dict[str, Any]:
    """Return the fields that ask for a continuation (rule 1)."""
    if not request.partial or request.prompt:
        return {}
    return {"continue_final_message": True, "add_generation_prompt": False}


def _sampling(request: calls.ChatRequest) -> dict[str, Any]:
    """Return how to sample, in fields that not every server knows (rule 4)."""
    extras: dict[str, Any] = {"top_k": request.top_k, "min_p": request.min_p}
    if request.repeat_penalty != 1.0:
        # vLLM's and SGLang's name, then llama.cpp's
        extras |= {"repetition_penalty": request.repeat_penalty, "repeat_penalty": request.repeat_penalty}
    return extras


class _Calls:
    """The calls of tools that a stream tells in pieces."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[str, str, str]] = {}

    def add(self, delta: _CallDelta) -> None:
        """Take one piece: id and name come once, the arguments bit by bit."""
        identifier, name, arguments = self._parts.get(delta.index, ("", "", ""))
        self._parts[delta.index] = (
            delta.id or identifier,
            delta.function.name or name,
            arguments + (delta.function.arguments or ""),
        )

    def all(self) -> list[calls.ToolCall]:
        """Return the calls in order."""
        return [calls.ToolCall(*self._parts[index]) for index in sorted(self._parts)]


async def _pieces_of(response: aiohttp.ClientResponse) -> AsyncGenerator[Piece, None]:
    """Yield the pieces of a stream; the last one waits for the usage, which comes after the reason, or never."""
    called = _Calls()
    reason: Literal["", "stop", "length", "tool_calls"] = ""
    usage = _Usage()
    async with aclosing(_chunks_of(response)) as chunks:
        async for chunk in chunks:
            if chunk.error is not None:
                raise EngineUnavailable(f"the server failed in mid-answer: {str(chunk.error)[:_ERROR_CHARS]}")
            usage = chunk.usage or usage
            for choice in chunk.choices[:1]:
                if text := choice.delta.content or choice.text:
                    yield Piece(text)
                for delta in choice.delta.tool_calls or ():
                    called.add(delta)
                if choice.finish_reason:
                    reason = "length" if choice.finish_reason == "length" else "stop"
    if reason:
        found = called.all()
        cached = (usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0) or 0
        ended: Any = "tool_calls" if found and reason == "stop" else reason
        yield Piece("", ended, usage.prompt_tokens, usage.completion_tokens, cached, found)


async def _chunks_of(response: aiohttp.ClientResponse) -> AsyncGenerator[_Chunk, None]:
    """Yield the chunks until the server says that it is done; it may hold the connection open after that."""
    events = EventReader()
    async for data in response.content.iter_any():
        for event in events.feed(data):
            if event == b"[DONE]":
                return
            yield msgspec.json.decode(event, type=_Chunk)


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """Return the beginning of a body, and end it."""
    found = b""
    async with response:
        while len(found) < _ERROR_BYTES and (data := await response.content.read(_ERROR_BYTES - len(found))):
            found += data
    return found.decode(errors="replace")


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
