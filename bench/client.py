"""A person's program, as the benches need it: asks, ingests and looks, with the time of everything it hears."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import aiohttp
import msgspec

from tarsd.cli.client import ApiClient, Target
from tarsd.errors import TarsdError

POLL_S = 0.02
NOT_THE_ANSWER = ("session", "peers", "beat")


class ApiError(Exception):
    """The node answered with an error; the text is its status and what it said."""


@dataclass
class Answer:
    """What came back for one question: each event with the seconds since asking."""

    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The answer as it was shown."""
        return "".join(event["text"] for _, event in self.events if event["type"] == "token")

    @property
    def token_times_s(self) -> list[float]:
        """When each piece of text came."""
        return [at for at, event in self.events if event["type"] == "token"]

    @property
    def first_token_s(self) -> float:
        """How long the reader waited; endless for an answer without text."""
        return self.token_times_s[0] if self.token_times_s else float("inf")

    @property
    def longest_gap_s(self) -> float:
        """The longest silence the reader saw between two pieces of text."""
        times = self.token_times_s
        return max((later - sooner for sooner, later in pairwise(times)), default=0.0)

    @property
    def total_s(self) -> float:
        """When the last event came."""
        return self.events[-1][0] if self.events else 0.0

    @property
    def end(self) -> dict[str, Any]:
        """The last event: `done`, `error` or `stopped`."""
        return self.events[-1][1] if self.events else {"type": "error", "name": "none", "sentence": "no event"}

    @property
    def finished(self) -> bool:
        """Whether the answer is complete."""
        return bool(self.end["type"] == "done")

    def add(self, event: dict[str, Any], began: float, heard: Callable[[dict[str, Any]], None] | None) -> None:
        """Take an event of the answer to what was asked at `began` (of `time.monotonic`), and tell `heard` of it."""
        if event["type"] in NOT_THE_ANSWER:
            return
        self.events.append((time.monotonic() - began, event))
        if heard:
            heard(event)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one type."""
        return [event for _, event in self.events if event["type"] == kind]


class Client:
    """An open session with a node's API: `async with Client(url) as client`."""

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url
        self._token = token
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=aiohttp.ClientTimeout(total=None, connect=5)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    @property
    def url(self) -> str:
        """Where the node's API is."""
        return self._url

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open HTTP session, for what has no method here."""
        return self._session

    async def get(self, path: str, within_s: float = 30.0) -> Any:
        """Return the JSON at `path`."""
        timeout = aiohttp.ClientTimeout(total=within_s)
        async with self._session.get(self._url + path, timeout=timeout) as response:
            if response.status >= 400:
                raise ApiError(f"{response.status}: {(await response.text()).strip()}")
            return await response.json()

    async def get_text(self, path: str, within_s: float = 30.0) -> str:
        """Return the text at `path`."""
        timeout = aiohttp.ClientTimeout(total=within_s)
        async with self._session.get(self._url + path, timeout=timeout) as response:
            if response.status >= 400:
                raise ApiError(f"{response.status}: {(await response.text()).strip()}")
            return await response.text()

    async def members(self) -> dict[str, dict[str, Any]]:
        """Return the members by name, as this node sees them."""
        return {member["name"]: member for member in (await self.get("/api/members"))["members"]}

    async def wait_members(
        self, wanted: Callable[[dict[str, dict[str, Any]]], bool], within_s: float, what: str
    ) -> float:
        """Look at the members until `wanted` says yes; return the seconds it took, raise `TimeoutError` with `what`."""
        began = time.monotonic()
        members: dict[str, dict[str, Any]] = {}
        try:
            async with asyncio.timeout(within_s):
                while not wanted(members := await self.members()):  # noqa: ASYNC110 - another process has no event for us
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            seen = {name: (member["state"], sorted(member["capabilities"])) for name, member in members.items()}
            raise TimeoutError(f"not within {within_s:.0f} s: {what}; seen: {seen}") from error
        return time.monotonic() - began

    async def ask(
        self,
        text: str,
        *,
        within_s: float = 120.0,
        heard: Callable[[dict[str, Any]], None] | None = None,
        until: str = "",
    ) -> Answer:
        """Ask over the chat WebSocket and return the whole answer; `heard` is called with each event as it comes.

        With `until`, leave at the first event of that type, as a person who closes the page.
        """
        answer = Answer()
        async with asyncio.timeout(within_s), self._session.ws_connect(self._url + "/ws") as socket:
            began = time.monotonic()
            await socket.send_json({"type": "ask", "text": text})
            async for message in socket:
                event = json.loads(message.data)
                answer.add(event, began, heard)
                if event["type"] in ("done", "error", "stopped", until):
                    break
        return answer

    async def ask_surviving(
        self, text: str, *, within_s: float = 120.0, heard: Callable[[dict[str, Any]], None] | None = None
    ) -> Answer:
        """Ask as `tarsd ask` does: when the node is lost, another one goes on; `moved` among the events says so.

        When no node goes on, the answer ends with an `error` of the client's own.
        """
        answer = Answer()
        async with asyncio.timeout(within_s), ApiClient(Target(self._url, self._token)) as client:
            talk = client.talk()
            began = time.monotonic()
            try:
                async with aclosing(talk.ask(text)) as events:
                    async for event in events:
                        answer.add(msgspec.to_builtins(event), began, heard)
            except TarsdError as error:
                answer.add({"type": "error", "name": type(error).__name__, "sentence": str(error)}, began, heard)
            finally:
                await talk.close()
        return answer

    async def ingest(self, file: Path, *, within_s: float = 600.0) -> AsyncGenerator[dict[str, Any], None]:
        """Send a document in and yield its progress; the last item has stage done, duplicate or failed."""
        with file.open("rb") as data:
            async for item in self._ingest(file.name, data, within_s):
                yield item

    async def ingest_bytes(
        self, name: str, content: bytes, *, within_s: float = 600.0
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Do the same with a document that is in memory."""
        async for item in self._ingest(name, content, within_s):
            yield item

    async def _ingest(self, name: str, data: bytes | BinaryIO, within_s: float) -> AsyncGenerator[dict[str, Any], None]:
        timeout = aiohttp.ClientTimeout(total=within_s)
        request = self._session.post(f"{self._url}/api/documents", params={"file": name}, data=data, timeout=timeout)
        async with request as response:
            if response.status >= 400:
                raise ApiError(f"{response.status}: {(await response.text()).strip()}")
            async for line in response.content:
                if line.strip():
                    yield json.loads(line)
