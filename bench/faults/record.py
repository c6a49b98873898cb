"""Asks questions and records everything that comes back, so that a checker can judge the run afterwards.

A record begins when the question is sent and ends with the answer's end, or with how the reader lost it. After the end
the reader listens on for `LINGER_S`: an answer that ends twice is seen.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import aiohttp
import msgspec

from bench.client import Client

LINGER_S = 0.05
ENDS = ("done", "error", "stopped")
ASIDE = ("session", "answer", "peers", "beat")  # about the connection, not of the answer


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A question to send. `expected` is its whole answer, where that is known; "" = unknown."""

    text: str
    expected: str = ""
    front: Literal["ws", "v1"] = "ws"  # /v1 takes a temperature: there a model repeats itself word for word
    max_tokens: int = 0
    model: str = "tars"


class Question(msgspec.Struct, kw_only=True):
    """The record of one question; times are seconds since the run began."""

    number: int
    node: str
    ask: Ask
    asked_at: float
    events: list[tuple[float, dict[str, Any]]] = []
    lost: str = ""  # how the reader lost the connection before the end
    ended_at: float = 0.0

    @property
    def tokens(self) -> list[tuple[float, str]]:
        """When each piece of text came."""
        return [(at, event["text"]) for at, event in self.events if event["type"] == "token"]

    @property
    def text(self) -> str:
        """What the reader saw."""
        return "".join(text for _, text in self.tokens)

    @property
    def end(self) -> dict[str, Any]:
        """The first end that came, or an empty one."""
        return next((event for _, event in self.events if event["type"] in ENDS), {"type": ""})

    @property
    def total_s(self) -> float:
        """How long the reader waited for the end."""
        return self.ended_at - self.asked_at

    @property
    def first_token_s(self) -> float:
        """How long the reader waited for the first piece of text; endless without any."""
        return self.tokens[0][0] - self.asked_at if self.tokens else float("inf")

    @property
    def longest_gap_s(self) -> float:
        """The longest silence in the middle of the text."""
        times = [at for at, _ in self.tokens]
        return max((later - sooner for sooner, later in pairwise(times)), default=0.0)


class Recorder:
    """Holds the records of a run; times count from its making."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self._began = time.monotonic()

    def now(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self._began

    async def ask(
        self, client: Client, node: str, ask: Ask, *, within_s: float = 120.0, heard: Callable[[], None] | None = None
    ) -> Question:
        """Ask and return the record; never raises for what happens to the question. `heard` is called at each event."""
        question = Question(number=len(self.questions) + 1, node=node, ask=ask, asked_at=self.now())
        self.questions.append(question)
        read = _over_ws if ask.front == "ws" else _over_v1
        try:
            async with asyncio.timeout(within_s), aclosing(read(client, ask)) as events:
                async for event in events:
                    question.events.append((self.now(), event))
                    if event["type"] in ENDS and not question.ended_at:
                        question.ended_at = self.now()
                    if heard:
                        heard()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            question.lost = f"{type(error).__name__}: {error}".strip(": ")
        if question.end["type"] == "" and not question.lost:
            question.lost = "the connection was closed before the end"
        question.ended_at = question.ended_at or self.now()
        return question

    def write(self, file: Path) -> None:
        """Write a line of JSON for each question."""
        file.write_bytes(b"".join(msgspec.json.encode(question) + b"\n" for question in self.questions))


def read(file: Path) -> list[Question]:
    """Return the questions of a written record."""
    return [msgspec.json.decode(line, type=Question) for line in file.read_bytes().splitlines()]


async def stream(recorder: Recorder, client: Client, node: str, asks: Iterable[Ask], every_s: float) -> None:
    """Send a question each `every_s`, whether or not the ones before are answered; return when all have ended."""
    async with asyncio.TaskGroup() as open_ones:
        due = time.monotonic()
        for ask in asks:
            open_ones.create_task(recorder.ask(client, node, ask))
            due += every_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _over_ws(client: Client, ask: Ask) -> AsyncGenerator[dict[str, Any], None]:
    async with client.session.ws_connect(client.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": ask.text})
        ended = False
        while True:
            try:
                async with asyncio.timeout(LINGER_S if ended else None):
                    message = await socket.receive()
            except TimeoutError:
                return
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            event = json.loads(message.data)
            if event["type"] not in ASIDE:
                yield event
            ended = ended or event["type"] in ENDS


async def _over_v1(client: Client, ask: Ask) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the answer of /v1 as the events of /ws; temperature 0."""
    messages = [{"role": "user", "content": ask.text}]
    body = {"model": ask.model, "stream": True, "temperature": 0, "seed": 1, "messages": messages}
    if ask.max_tokens:
        body["max_tokens"] = ask.max_tokens
    async with client.session.post(f"{client.url}/v1/chat/completions", json=body) as response:
        if response.status != 200:
            sentence = (await response.text()).strip()
            yield {"type": "error", "name": str(response.status), "sentence": sentence}
            return
        async for line in response.content:
            if line.startswith(b"data: {"):
                for event in _events_of(json.loads(line.removeprefix(b"data: "))):
                    yield event


def _events_of(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    if "error" in chunk:
        return [
            {"type": "error", "name": chunk["error"].get("type", ""), "sentence": chunk["error"].get("message", "")}
        ]
    told = chunk.get("tarsd") or {}
    events = [{"type": "notice", "code": "", "text": text} for text in told.get("notices", [])]
    for choice in chunk.get("choices", []):
        if text := choice["delta"].get("content"):
            events.append({"type": "token", "text": text})
        if reason := choice.get("finish_reason"):
            events.append({"degraded": [], "generated_by": ""} | told | {"type": "done", "finish_reason": reason})
    return events
