"""What the engines that ask a server over HTTP have in common.

What a server cannot hold of a request is `CannotServe`: the next engine of the chain may.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Literal

import msgspec

from tarsd import calls, config
from tarsd.engines.base import EngineInfo
from tarsd.engines.text import RepetitionFilter
from tarsd.engines.toolcalls import as_dicts
from tarsd.errors import DeadlineExceeded, EngineUnavailable

CONNECT_S = 2.0
# A server may load the model and read a long prompt before its first token; a dead one sends nothing for ever.
SILENCE_S = 120.0
SLOTS = 4  # answers at once: servers that can do none in parallel queue them
ASK_S = 5.0  # for questions that a living server answers from memory


class Piece(msgspec.Struct, frozen=True):
    """A piece of a server's answer: text, or (last) why it ended and what it counted (0: it did not say)."""

    text: str = ""
    finish_reason: Literal["", "stop", "length", "tool_calls"] = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    tool_calls: list[calls.ToolCall] = []


class RemoteEngine:
    """What is alike in all of them; a subclass reaches its server at `start` and says how the pieces come."""

    def __init__(self, settings: config.Engine, *, name: str) -> None:
        self.name = name
        self.settings = settings
        self._info: EngineInfo | None = None

    def info(self) -> EngineInfo | None:
        """Return the model in use; None while the server was not reached."""
        return self._info

    async def keep_nothing(self) -> None:
        """What the server keeps is its own: see `ChatEngine.keep_nothing`."""

    async def generate(self, request: calls.ChatRequest, deadline_s: float) -> AsyncGenerator[calls.ChatItem, None]:
        """Yield the answer; see `ChatEngine.generate`. Closing the generator closes the request: the server stops."""
        if self._info is None:
            raise EngineUnavailable(f"{self.name} was not reached")
        pieces = self._pieces(request, self._info)
        async with aclosing(answer(pieces, request, self._info, deadline_s)) as items:
            async for item in items:
                yield item

    def _pieces(self, request: calls.ChatRequest, info: EngineInfo) -> AsyncGenerator[Piece, None]:
        raise NotImplementedError


def messages_for(request: calls.ChatRequest) -> list[dict[str, Any]]:
    """Return the messages as servers take them; a trailing assistant message is what they continue."""
    messages = as_dicts(request.messages)
    if request.partial:
        messages.append({"role": "assistant", "content": request.partial})
    return messages


async def answer(
    pieces: AsyncGenerator[Piece, None], request: calls.ChatRequest, info: EngineInfo, deadline_s: float
) -> AsyncGenerator[calls.ChatItem, None]:
    """Yield a server's answer as `ChatItem`s: named at its start, counted at its end, never repeating `partial`.

    Raises what `pieces` raises, `DeadlineExceeded`, and `EngineUnavailable` when the answer was cut off.
    """
    deadline = asyncio.get_running_loop().time() + deadline_s
    repetition = RepetitionFilter(request.partial)
    written, named = 0, False
    async with aclosing(pieces):
        while (piece := await _next(pieces, deadline)) is not None:
            written += bool(piece.text)
            shown = repetition.feed(piece.text)
            if piece.finish_reason:
                shown += repetition.finish()
            elif not shown:
                continue
            limit: Literal["", "max_tokens", "context"] = ""
            if piece.finish_reason == "length":
                limit = "max_tokens" if (piece.completion_tokens or written) >= request.max_tokens else "context"
            item = calls.ChatItem(
                text=shown, finish_reason=piece.finish_reason, tool_calls=piece.tool_calls, limit=limit
            )
            if not named:
                named = True
                item = msgspec.structs.replace(item, engine=info.engine, model=info.model)
            if piece.finish_reason:
                usage = calls.Usage(piece.prompt_tokens, piece.completion_tokens or written, piece.cached_tokens)
                yield msgspec.structs.replace(item, usage=usage)
                return
            yield item
    raise EngineUnavailable(f"{info.engine}: the server cut the answer off")


async def _next(pieces: AsyncIterator[Piece], deadline: float) -> Piece | None:
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(pieces, None)
    except TimeoutError:
        raise DeadlineExceeded("the server's answer was not complete in time") from None
