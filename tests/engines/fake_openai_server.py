"""A FAKE OpenAI-compatible server, for the faults and refusals that a real one does not give on demand.

Written from OpenAI's API reference (chat completions, streaming, stream_options) and vLLM's (`max_model_len`,
`continue_final_message`). It generates nothing: it replays the words it was given.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

_OWN_FIELDS = {"continue_final_message", "add_generation_prompt", "top_k", "min_p", "repetition_penalty"}


@dataclass
class FakeOpenAI:
    words: list[str] = field(default_factory=lambda: ["The", " sky", " is", " blue."])
    key: str = ""
    status: int = 200
    strict: bool = False  # refuses fields that OpenAI does not have
    counts: bool = True  # sends the usage chunk when it is asked for
    refuses: str = ""  # a field that it does not take at all
    said: str = "refused"
    page: bytes = b""  # a refusal as some proxies send it
    stays_open: bool = False  # after it said that it is done
    calls: list[dict[str, Any]] = field(default_factory=list)  # deltas of tool calls, told before the end
    error_after: int | None = None
    cut_after: int | None = None
    end_after: int | None = None
    hang_after: int | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._chat)
        return app

    def _refusal(self, request: web.Request, body: dict[str, Any]) -> web.Response | None:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        if self.status != 200 or (self.strict and _OWN_FIELDS & body.keys()) or self.refuses in body:
            if self.page:
                return web.Response(status=self.status, body=self.page, content_type="text/html", charset="utf-8")
            headers = {"Retry-After": "7"} if self.status == 429 else {}
            return web.json_response({"error": {"message": self.said}}, status=max(self.status, 400), headers=headers)
        return None

    async def _models(self, request: web.Request) -> web.Response:
        model = {"id": "big", "object": "model", "max_model_len": 4096}
        return self._refusal(request, {}) or web.json_response({"object": "list", "data": [model]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        if (refusal := self._refusal(request, body)) is not None:
            return refusal
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await self._stream(request, response, body)
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse, body: dict[str, Any]) -> None:
        await self._send(response, {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for index, word in enumerate(self.words):
            if index == self.error_after:
                await self._send(response, {"error": {"message": "the engine died"}})
            if index == self.end_after:
                return
            if index == self.cut_after:
                assert request.transport is not None
                request.transport.abort()
                return
            if index == self.hang_after:
                await asyncio.Event().wait()
            said = {"text": word} if "prompt" in body else {"delta": {"content": word}}
            await self._send(response, {"choices": [{"index": 0, "finish_reason": None} | said]})
        for call in self.calls:
            await self._send(response, {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
        await self._send(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if self.counts and body.get("stream_options", {}).get("include_usage"):
            usage = {"prompt_tokens": 11, "completion_tokens": len(self.words), "total_tokens": 15}
            usage["prompt_tokens_details"] = {"cached_tokens": 5}
            await self._send(response, {"choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        if self.stays_open:
            await asyncio.Event().wait()

    async def _send(self, response: web.StreamResponse, chunk: dict[str, Any]) -> None:
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
