"""Plain inference over OpenAI's shapes, with the time of everything that comes: the same client for every server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import aiohttp

Messages = list[dict[str, str]]
ANSWER_S = 300.0


@dataclass
class Reply:
    """One answer; times are of `time.perf_counter`."""

    began: float
    times: list[float] = field(default_factory=list)  # when each piece of text came
    pieces: list[str] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    finish_reason: str = ""
    max_tokens: int = 0
    error: str = ""

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(self.pieces)

    @property
    def whole(self) -> bool:
        """Whether it came to its end."""
        return bool(self.finish_reason) and not self.error

    @property
    def first_token_s(self) -> float:
        """How long the first piece took; endless for an answer without text."""
        return self.times[0] - self.began if self.times else float("inf")

    @property
    def ended(self) -> float:
        """When the last piece came."""
        return self.times[-1] if self.times else self.began

    @property
    def tokens(self) -> int:
        """How many tokens it has: as the server counts, else by its cut, else by pieces."""
        counted = int(self.usage.get("completion_tokens") or 0)
        return counted or (self.max_tokens if self.finish_reason == "length" else len(self.pieces))

    @property
    def tokens_per_s(self) -> float:
        """The speed after the first token; 0 for an answer too short to have one."""
        took_s = self.ended - self.times[0] if self.times else 0.0
        return (self.tokens - 1) / took_s if took_s > 0 else 0.0

    def longest_gap_s(self, since: float = 0.0, until: float = float("inf")) -> float:
        """Return the longest silence between two pieces that reached into the time from `since` to `until`."""
        gaps = (later - sooner for sooner, later in pairwise(self.times) if later >= since and sooner <= until)
        return max(gaps, default=0.0)


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    model: str,
    messages: Messages,
    max_tokens: int,
    *,
    heard: Callable[[Reply], None] = lambda reply: None,
    within_s: float = ANSWER_S,
) -> Reply:
    """Ask for one streamed answer at temperature 0; `heard` is called after each piece.

    What the server refuses or breaks off is in `error`; raises nothing but `TimeoutError` of the caller's own.
    """
    body = {
        "model": model,
        "messages": messages,
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    reply = Reply(time.perf_counter(), max_tokens=max_tokens)
    timeout = aiohttp.ClientTimeout(total=within_s)
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body, timeout=timeout) as response:
            if response.status >= 400:
                reply.error = f"{response.status}: {(await response.text()).strip()[:200]}"
                return reply
            async for line in response.content:
                if line.startswith(b"data: {"):
                    _take(reply, json.loads(line[6:]), heard)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reply.error = f"{type(error).__name__} {error}".strip()
    return reply


def _take(reply: Reply, event: dict[str, Any], heard: Callable[[Reply], None]) -> None:
    if "error" in event:
        reply.error = str(event["error"])
    reply.usage = event.get("usage") or reply.usage
    for choice in event.get("choices") or []:
        reply.finish_reason = choice.get("finish_reason") or reply.finish_reason
        if piece := choice.get("delta", {}).get("content"):
            reply.times.append(time.perf_counter())
            reply.pieces.append(piece)
            heard(reply)


@dataclass(frozen=True)
class Burst:
    """Answers that were asked for at one time."""

    replies: list[Reply]

    @property
    def took_s(self) -> float:
        """From asking until the last piece of the last one."""
        return max(reply.ended for reply in self.replies) - min(reply.began for reply in self.replies)

    @property
    def tokens_per_s(self) -> float:
        """What all of them had together, prompts included in the time."""
        return sum(reply.tokens for reply in self.replies) / self.took_s

    @property
    def errors(self) -> list[str]:
        """What went wrong; empty for answers that all came to their end."""
        return [reply.error or "it was cut" for reply in self.replies if not reply.whole]


async def burst(
    session: aiohttp.ClientSession, url: str, model: str, prompts: Sequence[Messages], max_tokens: int
) -> Burst:
    """Ask them all at once; raises `RuntimeError` where one has no end."""
    found = Burst(list(await asyncio.gather(*(ask(session, url, model, one, max_tokens) for one in prompts))))
    if found.errors:
        raise RuntimeError(f"{url}: {len(found.errors)} of {len(prompts)} answers failed: {found.errors[0]}")
    return found


def story(number: int, words: int = 0) -> Messages:
    """Return a prompt that begins with its own number, so that no cache of another one's prefix helps."""
    things = ("lamp", "river", "table", "engine", "garden", "letter", "winter", "bridge", "copper", "window")
    filler = " ".join(things[(number + step * 7) % len(things)] for step in range(words))
    return [
        {"role": "system", "content": f"{number} is the number of this request. {filler}".strip()},
        {"role": "user", "content": "Tell a very long story about a lighthouse keeper and the sea."},
    ]


def connections() -> aiohttp.ClientSession:
    """Return a session that lets any number be asked at once."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
