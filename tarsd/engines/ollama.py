"""Engine `ollama`: a model that an Ollama server holds, by the official client.

The client is imported with the first start, in a thread: a node without this engine does not pay for it.
Source: Ollama's docs/api.md (chat, list, show); a trailing assistant message is continued (ollama issue 6778).
"""

from __future__ import annotations

import asyncio
import importlib
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from tarsd import calls, config
from tarsd.engines import remote
from tarsd.engines.base import EngineInfo
from tarsd.engines.remote import Piece, RemoteEngine
from tarsd.engines.toolcalls import described, is_forced
from tarsd.errors import CannotServe, EngineUnavailable, InvalidInput, Overloaded, TarsdError

_DEFAULT_URL = "http://127.0.0.1:11434"


class OllamaEngine(RemoteEngine):
    """Chat by Ollama; an empty `model` is the first that the server has, an empty `url` this machine."""

    def __init__(self, settings: config.Engine, *, name: str) -> None:
        super().__init__(settings, name=name)
        self._url = settings.url or _DEFAULT_URL
        self._client: Any = None
        self._library: Any = None

    async def start(self) -> None:
        """Reach the server and look at the model; raises `EngineUnavailable` with the reason."""
        self._info = None
        if self._client is None:
            self._library = await asyncio.to_thread(_import_client)
            timeout = self._library.httpx.Timeout(remote.SILENCE_S, connect=remote.CONNECT_S)
            self._client = self._library.ollama.AsyncClient(host=self._url, timeout=timeout, trust_env=False)
        try:
            async with asyncio.timeout(remote.ASK_S):
                model = await self._choose_model()
                shown = await self._client.show(model)
        except TimeoutError:
            raise EngineUnavailable(f"Ollama at {self._url} does not answer") from None
        except Exception as error:
            raise self._translated(error) from error
        self._info = self._described(model, shown)

    async def stop(self) -> None:
        """Close the connections."""
        client, self._client, self._info = self._client, None, None
        if client is not None:
            await client.close()

    async def _pieces(self, request: calls.ChatRequest, info: EngineInfo) -> AsyncGenerator[Piece, None]:
        parts: AsyncIterator[Any] | None = None
        try:
            parts = await self._ask(request, info)
            called: list[calls.ToolCall] = []
            async for part in parts:
                called += _calls_of(part)
                yield _piece(part, called)
        except (GeneratorExit, asyncio.CancelledError):
            raise
        except Exception as error:
            raise self._translated(error) from error
        finally:
            close = getattr(parts, "aclose", None)
            if close is not None:
                await close()

    async def _ask(self, request: calls.ChatRequest, info: EngineInfo) -> AsyncIterator[Any]:
        common: dict[str, Any] = {
            "model": info.model,
            "stream": True,
            "options": _options(request, info.context_tokens),
        }
        if request.grammar or is_forced(request.tools, request.tool_choice):
            raise CannotServe(f"{'grammar' if request.grammar else 'tool_choice'}: Ollama cannot be held to one")
        if request.json_schema:
            schema = msgspec.json.decode(request.json_schema)
            common["format"] = schema or "json"
        if request.keep_alive_s is not None:
            common["keep_alive"] = request.keep_alive_s
        if request.prompt:
            parts = await self._client.generate(prompt=request.prompt + request.partial, raw=True, **common)
        else:
            tools = described(request.tools) if request.tools and request.tool_choice != "none" else None
            parts = await self._client.chat(messages=_messages(request), tools=tools, **common)
        found: AsyncIterator[Any] = parts
        return found

    def _described(self, model: str, shown: Any) -> EngineInfo:
        facts, details = shown.modelinfo or {}, shown.details
        return EngineInfo(
            "ollama",
            model,
            self._context_tokens(facts),
            slots=self.settings.slots or remote.SLOTS,
            architecture=str(facts.get("general.architecture", "")),
            parameters=int(facts.get("general.parameter_count") or 0),
            quantization=str(getattr(details, "quantization_level", None) or ""),
            template=shown.template or "",
            can_use_tools="tools" in (shown.capabilities or ()),
        )

    async def _choose_model(self) -> str:
        present = [str(model.model) for model in (await self._client.list()).models]
        wanted = self.settings.model
        if not wanted and present:
            return present[0]
        for name in (wanted, f"{wanted}:latest"):
            if name in present:
                return name
        if wanted:
            raise EngineUnavailable(f"Ollama at {self._url} has no model {wanted!r}: run `ollama pull {wanted}` there")
        raise EngineUnavailable(f"Ollama at {self._url} has no model: run `ollama pull` there")

    def _context_tokens(self, facts: dict[str, Any]) -> int:
        trained = [int(value) for key, value in facts.items() if key.endswith(".context_length")]
        return min([self.settings.context_tokens, *trained])

    def _translated(self, error: Exception) -> TarsdError:
        """Return what an exception of the client means to us; one that is ours stays."""
        if isinstance(error, TarsdError):
            return error
        status = getattr(error, "status_code", 0)
        if status == 400:
            said = str(getattr(error, "error", error))
            kind = CannotServe if "does not support tools" in said else InvalidInput
            return kind(f"Ollama refused the request: {said}")
        if status in (429, 503):
            return Overloaded(f"Ollama at {self._url} is busy", retry_after_s=2.0)
        why = getattr(error, "error", "") or type(error).__name__
        return EngineUnavailable(f"Ollama at {self._url}: {why}")


class _Library:
    def __init__(self) -> None:
        self.ollama = importlib.import_module("ollama")
        self.httpx = importlib.import_module("httpx")


def _import_client() -> _Library:
    try:
        return _Library()
    except ImportError as error:
        raise EngineUnavailable(f"the ollama client is not installed ({error}): pip install ollama") from error


def _options(request: calls.ChatRequest, context_tokens: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "num_ctx": context_tokens,
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "repeat_penalty": request.repeat_penalty,
    }
    options |= {"top_k": request.top_k, "min_p": request.min_p}
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(request, name):
            options[name] = getattr(request, name)
    if request.seed is not None:
        options["seed"] = request.seed
    if request.stop:
        options["stop"] = request.stop
    return options


def _messages(request: calls.ChatRequest) -> list[dict[str, Any]]:
    """Return the messages in Ollama's form: a tool's message names its tool."""
    messages = remote.messages_for(request)
    for message in messages:
        if message["role"] == "tool":
            message["tool_name"] = message.pop("name")
            del message["tool_call_id"]
        if any(isinstance(call["function"]["arguments"], str) for call in message.get("tool_calls", ())):
            raise CannotServe("messages: Ollama takes the arguments of a call only as a JSON object")
    return messages


def _calls_of(part: Any) -> list[calls.ToolCall]:
    found = getattr(getattr(part, "message", None), "tool_calls", None) or ()
    return [calls.ToolCall(f"call_{secrets.token_hex(12)}", one.function.name, _json(one.function)) for one in found]


def _json(function: Any) -> str:
    return json.dumps(dict(function.arguments), ensure_ascii=False)


def _piece(part: Any, called: list[calls.ToolCall]) -> Piece:
    text = (part.message.content if hasattr(part, "message") else part.response) or ""
    if not part.done:
        return Piece(text)
    reason: Any = "length" if part.done_reason == "length" else "tool_calls" if called else "stop"
    return Piece(text, reason, part.prompt_eval_count or 0, part.eval_count or 0, tool_calls=called)
