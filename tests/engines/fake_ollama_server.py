"""A FAKE of Ollama's server, written from its API documentation (docs/api.md): list, show, chat (streamed).

It generates nothing: it replays the words it was given. No real Ollama stands behind these tests; what they hold is our
side of the documented contract, through the official client.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

WORDS = ["The", " sky", " is", " blue."]


@dataclass
class FakeOllama:
    models: list[str] = field(default_factory=lambda: ["tiny:latest"])
    words: list[str] = field(default_factory=lambda: list(WORDS))
    status: int = 200  # of /api/chat
    error_after: int | None = None  # words before an {"error": …} line
    cut_after: int | None = None  # words before the connection is closed
    hang_after: int | None = None  # words before silence
    done_reason: str = "stop"
    calls: list[dict[str, Any]] = field(default_factory=list)  # of tools, told before the last line
    asked: list[dict[str, Any]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)  # the client went away in mid-answer

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/tags", self._tags)
        app.router.add_post("/api/show", self._show)
        app.router.add_post("/api/chat", self._chat)
        app.router.add_post("/api/generate", self._generate)
        return app

    async def _tags(self, request: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": name, "model": name} for name in self.models]})

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response({"details": {}, "model_info": {"general.architecture": "x", "x.context_length": 2048}})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        if self.status != 200:
            return web.json_response({"error": "the fake was told to refuse"}, status=self.status)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            await self._words(request, response)
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        return response

    async def _words(self, request: web.Request, response: web.StreamResponse) -> None:
        for index, word in enumerate(self.words):
            if index == self.error_after:
                await response.write(json.dumps({"error": "the runner crashed"}).encode() + b"\n")
                return
            if index == self.cut_after:
                assert request.transport is not None
                request.transport.abort()
                return
            if index == self.hang_after:
                await asyncio.Event().wait()
            await response.write(self._line({"role": "assistant", "content": word}, done=False))
        if self.calls:
            await response.write(self._line({"role": "assistant", "content": "", "tool_calls": self.calls}, done=False))
        counts = {"done_reason": self.done_reason, "prompt_eval_count": 11, "eval_count": len(self.words)}
        await response.write(self._line({"role": "assistant", "content": ""}, done=True, **counts))

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for word in self.words:
            await response.write(json.dumps({"model": "tiny", "response": word, "done": False}).encode() + b"\n")
        last = {"model": "tiny", "response": "", "done": True, "done_reason": "stop", "eval_count": len(self.words)}
        await response.write(json.dumps(last).encode() + b"\n")
        return response

    def _line(self, message: dict[str, Any], **fields: Any) -> bytes:
        created = "2026-01-01T00:00:00.000000Z"
        return json.dumps({"model": "tiny", "created_at": created, "message": message} | fields).encode() + b"\n"
