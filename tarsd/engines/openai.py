"""Engine `openai`: any server that speaks OpenAI's chat completions: vLLM, Ray Serve, llama.cpp's server, and others.

Asked with aiohttp, which a node has anyway: the `openai` package takes 0.6 s to import.

Rules of continuation (`partial`), since the protocol has none
1. A trailing assistant message is sent with `continue_final_message`, which vLLM and SGLang know; llama.cpp's own
   server and others continue such a message by themselves.
2. A server that refuses these extra fields is asked again without them.
3. One that begins anew by repeating the text has the repetition dropped (`RepetitionFilter`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

import aiohttp
import msgspec

from tarsd import calls, config
from tarsd.engines import remote
from tarsd.engines.base import EngineInfo
from tarsd.engines.remote import Piece
from tarsd.engines.sse import EventReader
from tarsd.errors import ConfigError, EngineUnavailable, InvalidInput, Overloaded, TarsdError, WireError

_ERROR_CHARS = 300


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None  # vLLM's addition


class _Models(msgspec.Struct):
    data: list[_Model]


class OpenAIEngine:
    """Chat by an OpenAI-compatible server at `url` (with its /v1); an empty `model` is the first that it lists."""

    def __init__(self, settings: config.Engine, *, name: str) -> None:
        if not settings.url:
            raise ConfigError(
                'cognitive.engines: an engine of kind "openai" needs `url`, such as "http://host:8000/v1"'
            )
        self.name = name
        self.settings = settings
        self._url = settings.url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._info: EngineInfo | None = None

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
                    raise self._refusal(response.status, await response.text())
                models = msgspec.json.decode(await response.read(), type=_Models).data
        except TimeoutError:
            raise EngineUnavailable(f"{self._url} does not answer") from None
        except (aiohttp.ClientError, msgspec.DecodeError, OSError) as error:
            raise EngineUnavailable(f"{self._url}: {_why(error)}") from error
        self._info = self._chosen(models)

    async def stop(self) -> None:
        """Close the connections."""
        session, self._session, self._info = self._session, None, None
        if session is not None:
            await session.close()

    def info(self) -> EngineInfo | None:
        """Return the model in use; None while the server was not reached."""
        return self._info

    async def generate(self, request: calls.ChatRequest, deadline_s: float) -> AsyncGenerator[calls.ChatItem, None]:
        """Yield the answer; see `ChatEngine.generate`. Closing the generator closes the connection to the server."""
        if self._info is None:
            raise EngineUnavailable(f"{self.name} was not reached")
        pieces = self._pieces(request, self._info)
        async with aclosing(remote.answer(pieces, request, self._info, deadline_s)) as items:
            async for item in items:
                yield item

    async def _pieces(self, request: calls.ChatRequest, info: EngineInfo) -> AsyncGenerator[Piece, None]:
        try:
            response = await self._post(request, info)
            try:
                async with aclosing(_pieces_of(response)) as pieces:
                    async for piece in pieces:
                        yield piece
            finally:
                response.close()
        except (aiohttp.ClientError, WireError, msgspec.DecodeError, OSError) as error:
            raise EngineUnavailable(f"{self._url}: {_why(error)}") from error

    async def _post(self, request: calls.ChatRequest, info: EngineInfo) -> aiohttp.ClientResponse:
        """Return the open response, asked without the extra fields where the server refuses them (rule 2)."""
        assert self._session is not None
        body = _body(request, info.model)
        extras = {"continue_final_message": True, "add_generation_prompt": False} if request.partial else {}
        extras["stream_options"] = {"include_usage": True}  # type: ignore[assignment]
        response = await self._session.post(f"{self._url}/chat/completions", json=body | extras)
        if response.status in (400, 422):
            response.release()
            response = await self._session.post(f"{self._url}/chat/completions", json=body)
        if response.status != 200:
            text = await response.text()
            raise self._refusal(response.status, text)
        return response

    def _refusal(self, status: int, text: str) -> TarsdError:
        said = " ".join(text[:_ERROR_CHARS].split())
        if status in (400, 413, 422):
            return InvalidInput(f"{self._url} refused the request ({status}): {said}")
        if status in (429, 503):
            return Overloaded(f"{self._url} is busy ({status})", retry_after_s=2.0)
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
                return EngineInfo("openai", model.id, min(most, self.settings.context_tokens))
        raise EngineUnavailable(f"{self._url} has no model {wanted!r}, but {[model.id for model in models]}")


def _body(request: calls.ChatRequest, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": remote.messages_for(request),
        "stream": True,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
    }
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = request.stop
    return body


async def _pieces_of(response: aiohttp.ClientResponse) -> AsyncGenerator[Piece, None]:
    """Yield the pieces of a stream; the last one waits for the usage, which comes after the reason, or never."""
    events = EventReader()
    reason: Literal["", "stop", "length"] = ""
    usage = _Usage()
    async for data in response.content.iter_any():
        for event in events.feed(data):
            if event == b"[DONE]":
                break
            chunk = msgspec.json.decode(event, type=_Chunk)
            if chunk.error is not None:
                raise EngineUnavailable(f"the server failed in mid-answer: {str(chunk.error)[:_ERROR_CHARS]}")
            usage = chunk.usage or usage
            for choice in chunk.choices[:1]:
                if choice.delta.content:
                    yield Piece(choice.delta.content)
                if choice.finish_reason:
                    reason = "length" if choice.finish_reason == "length" else "stop"
    if reason:
        yield Piece("", reason, usage.prompt_tokens, usage.completion_tokens)


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
