"""One try of a call at one member: times it, counts it, and says how it went."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from tarsd import calls
from tarsd.errors import Unavailable
from tarsd.gossip.member import Member

if TYPE_CHECKING:
    from tarsd.dispatch.dispatch import Dispatch

ItemT = TypeVar("ItemT", bound=msgspec.Struct)

QUEUE_ITEMS = 16


def has_begun(item: Any) -> bool:
    """Tell whether an item is part of the answer; a place in a queue, or who will answer, is not yet."""
    return not isinstance(item, calls.ChatItem) or bool(item.text or item.finish_reason)


class Attempt(Generic[ItemT]):
    """A try at `member`; `items` may be iterated once. A failure is noted here and raised to whoever iterates."""

    def __init__(
        self, dispatch: Dispatch, member: Member, spec: calls.CallSpec[Any, ItemT], source: AsyncGenerator[ItemT, None]
    ) -> None:
        self.member = member
        self._dispatch = dispatch
        self._spec = spec
        self._source = source

    async def items(self) -> AsyncGenerator[ItemT, None]:
        """Yield the items; closing it before the answer began says nothing about the member."""
        note, node, name = self._dispatch.observations, self.member.node, self._spec.name
        began = self._dispatch.now()
        first_s, count = 0.0, 0
        note.began(node, name, began)
        try:
            async with aclosing(self._source) as source:
                async for item in source:
                    if count or has_begun(item):
                        count += 1
                        if count == 1:
                            first_s = self._dispatch.now() - began
                            note.first_item(name, first_s)
                    yield item
            self._dispatch.served(self.member, name, count, first_s, self._dispatch.now() - began)
        except GeneratorExit:  # the reader has what it wanted
            if count:
                self._dispatch.served(self.member, name, count, first_s, self._dispatch.now() - began)
            raise
        except Unavailable as error:
            self._dispatch.failed(self.member, name, error, self._dispatch.now() - began)
            raise
        finally:
            note.ended(node, name, began, self._dispatch.now())
            if self._spec is calls.CHAT:
                self._dispatch.look_for_free()


class Rival(Generic[ItemT]):
    """An attempt in a task of its own, beside one that is overdue. `on_begun` is told once its answer begins."""

    def __init__(self, attempt: Attempt[ItemT], on_begun: Callable[[], None]) -> None:
        self.member = attempt.member
        self.has_begun = False
        self.error: Unavailable | None = None  # it failed before its answer began
        self._attempt = attempt
        self._on_begun = on_begun
        self._queue: asyncio.Queue[ItemT | _End] = asyncio.Queue(QUEUE_ITEMS)
        self._task = asyncio.create_task(self._pump(), name=f"hedge at {attempt.member.name}")

    @property
    def is_running(self) -> bool:
        """Whether it may still begin, or has begun."""
        return self.error is None

    async def items(self) -> AsyncGenerator[ItemT, None]:
        """Yield what came so far and what comes; raises what it raised."""
        try:
            while True:
                item = await self._queue.get()
                if isinstance(item, _End):
                    if item.error is not None:
                        raise item.error
                    return
                yield item
        finally:
            await self.close()

    async def close(self) -> None:
        """Cancel it and wait until it has ended."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _pump(self) -> None:
        error: Exception | None = None
        try:
            async with aclosing(self._attempt.items()) as items:
                async for item in items:
                    if not self.has_begun and isinstance(item, calls.ChatItem) and not (has_begun(item) or item.engine):
                        continue  # nobody reads yet: places in its queue, or a model that loads, would fill ours
                    await self._queue.put(item)
                    if not self.has_begun and has_begun(item):
                        self.has_begun = True
                        self._on_begun()
        except Exception as raised:  # raised again where the items are read
            error = raised
        if isinstance(error, Unavailable) and not self.has_begun:
            self.error = error
        await self._queue.put(_End(error))


class _End:
    def __init__(self, error: Exception | None) -> None:
        self.error = error
