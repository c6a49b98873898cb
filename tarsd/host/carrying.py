"""Carries one answer of a model to its end, whoever generates it.

Rules
1. A node that fails is left out, and the next one continues from what was said already.
2. When nobody is left, but one who was asked lost only its engine (a worker that is started again), the answer waits
   for it to be offered again: at most `PATIENCE_S` in all, `SILENT_PATIENCE_S` where nothing was said yet and something
   else can be shown. One PC with a model is a household too. A reader who waits for longer than a moment is told that
   the model is being loaded, and again every few seconds.
3. A full queue is told at once where nothing was said yet: its caller knows how to wait.
4. Otherwise the first failure is raised; what was said until then is a cut answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

import msgspec

from tarsd import calls
from tarsd.calls import ChatItem, ChatRequest
from tarsd.errors import EngineUnavailable, Overloaded, PeerLost, Unavailable, WorkerLost
from tarsd.gossip.member import Member
from tarsd.names import NodeId

PATIENCE_S = 30.0  # a large model is loaded by then
SILENT_PATIENCE_S = 8.0
SETTLE_S = 0.1  # news of a lost engine is here by then, also from another node; doubled when it was not
LOOK_S = 0.02
TELL_AFTER_S = 1.0
RETELL_S = 4.0

_NOBODY: frozenset[NodeId] = frozenset()


class Said(NamedTuple):
    """A part of the answer: the item, the name of the node that it came from, and how many were lost before it."""

    item: ChatItem
    node: str
    losses: int


class Caller(Protocol):
    """What is needed of `dispatch`."""

    @property
    def call(self) -> Callable[..., Any]:
        """Return what makes a running call."""


async def carried(
    dispatch: Caller,
    members: Callable[[], Sequence[Member]],
    ask: Callable[[], ChatRequest],
    *,
    exclude: frozenset[NodeId] = _NOBODY,
    is_continued: bool = False,
    patience_s: float = PATIENCE_S,
    **options: Any,
) -> AsyncGenerator[Said, None]:
    """Yield the parts of the answer to what `ask` returns: asked anew after each loss, it knows what was said.

    `is_continued`: something was said before this began. `options` go to each call. Raises `Unavailable` (rules 3 and
    4), and what a call raises else. Closing the generator ends the generation.
    """
    losses, has_spoken = 0, is_continued
    lost = exclude
    waiting = _Waiting(members, exclude, patience_s)
    first: Unavailable | None = None
    while True:
        is_whole = False
        call = dispatch.call(calls.CHAT, ask(), exclude=lost, again=has_spoken or losses > 0, **options)
        try:
            async with aclosing(call):
                async for item in call:
                    has_spoken |= bool(item.text)
                    yield Said(item, call.member.name if call.member else "", losses)
                    is_whole |= bool(item.finish_reason)
            if is_whole:
                return
            raise PeerLost("the answer ended without its last part")
        except Unavailable as error:
            if isinstance(error, Overloaded) and not has_spoken:
                raise
            first = first or error
            losses += 1
            waiting.note(error)
            if call.tried > lost:
                lost = call.tried
                continue
            async with aclosing(waiting.until_offered(has_spoken=has_spoken)) as tellings:
                async for telling in tellings:
                    yield Said(telling, "", losses)
            if not waiting.is_offered:
                raise first from error
            lost = exclude


class _Waiting:
    """Whether, and for how long still, an engine may come back (rule 2)."""

    def __init__(self, members: Callable[[], Sequence[Member]], exclude: frozenset[NodeId], patience_s: float) -> None:
        self._members = members
        self._exclude = exclude
        self._patience_s = patience_s
        self._waited_s = 0.0
        self._settle_s = SETTLE_S
        self._tell_at_s = TELL_AFTER_S
        self._engine_was_lost = False
        self.is_offered = False  # as `until_offered` found it

    def note(self, error: Unavailable) -> None:
        """Note a failure; that a node is lost is not that its engine comes back."""
        self._engine_was_lost |= isinstance(error, EngineUnavailable | WorkerLost)

    async def until_offered(self, *, has_spoken: bool) -> AsyncGenerator[ChatItem, None]:
        """Wait until somebody offers `chat` again, or that is not to be expected; yield what a reader is told."""
        self.is_offered = False
        if not self._engine_was_lost:
            return
        most_s = self._patience_s if has_spoken else min(self._patience_s, SILENT_PATIENCE_S)
        wait_s, self._settle_s = self._settle_s, self._settle_s * 2
        while self._waited_s + wait_s <= most_s:
            await asyncio.sleep(wait_s)
            self._waited_s += wait_s
            if self._is_offered():
                self.is_offered = True
                return
            if self._waited_s >= self._tell_at_s:
                self._tell_at_s = self._waited_s + RETELL_S
                yield ChatItem(loading=True)
            wait_s = LOOK_S

    def _is_offered(self) -> bool:
        return any(
            member.routable and calls.CHAT.name in member.capabilities and member.node not in self._exclude
            for member in self._members()
        )


async def carried_plainly(
    dispatch: Caller,
    members: Callable[[], Sequence[Member]],
    request: ChatRequest,
    *,
    exclude: frozenset[NodeId] = _NOBODY,
    **options: Any,
) -> AsyncGenerator[Said, None]:
    """Yield the parts of an answer by one model: continued after a loss, its usage counted over all who wrote it."""
    said: list[str] = []

    def ask() -> ChatRequest:
        if not said:
            return request
        left = max(1, request.max_tokens - len(said)) if request.max_tokens else 0
        return msgspec.structs.replace(request, partial=request.partial + "".join(said), max_tokens=left)

    before = losses = 0
    parts = carried(dispatch, members, ask, exclude=exclude, is_continued=bool(request.partial), **options)
    async with aclosing(parts):
        async for part in parts:
            if part.losses > losses:
                before, losses = len(said), part.losses
            if part.item.text:
                said.append(part.item.text)
            yield part._replace(item=_counted(part.item, before))


def _counted(item: ChatItem, before: int) -> ChatItem:
    if item.usage is None or not before:
        return item
    usage = msgspec.structs.replace(item.usage, completion_tokens=item.usage.completion_tokens + before)
    return msgspec.structs.replace(item, usage=usage)
