"""Of two streams that give the same thing, the newer one stays: its reader is the one who is still there.

Rules
1. A stream that begins under a key ends the older one of that key, whether that waits for its source or for its reader.
2. The older one's source is closed before the newer one begins, so that what it held is free; then its reader is told,
   by `Superseded`.
3. Streams without a key, and streams of other keys, are left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Generic, TypeVar

from tarsd.errors import Superseded

ItemT = TypeVar("ItemT")

CLOSE_S = 1.0  # a source that does not close is not waited for longer


class Newest(Generic[ItemT]):
    """The streams that are being given, at most one for each key."""

    def __init__(self) -> None:
        self._given: dict[str, _Stream[ItemT]] = {}

    def __len__(self) -> int:
        return len(self._given)

    def give(self, key: str, items: AsyncGenerator[ItemT, None]) -> AsyncGenerator[ItemT, None]:
        """Return the items; they raise `Superseded` once a newer stream of `key` began. Closing it closes `items`."""
        return self._give(key, items) if key else items

    async def _give(self, key: str, items: AsyncGenerator[ItemT, None]) -> AsyncGenerator[ItemT, None]:
        older, stream = self._given.get(key), _Stream(items)
        self._given[key] = stream
        try:
            if older is not None:
                await older.end()
            async with aclosing(items):
                while (item := await stream.next()) is not None:
                    yield item
        finally:
            stream.closed.set()
            if self._given.get(key) is stream:
                del self._given[key]
        if stream.has_ended:
            raise Superseded("it is given to a newer reader")


class _Stream(Generic[ItemT]):
    def __init__(self, items: AsyncGenerator[ItemT, None]) -> None:
        self._items = items
        self._waiting: asyncio.Timeout | None = None  # while its source makes the next item
        self.has_ended = False
        self.closed = asyncio.Event()

    async def next(self) -> ItemT | None:
        """Return the next item, None when there is none or the stream was ended."""
        if self.has_ended:
            return None
        try:
            async with asyncio.timeout(None) as self._waiting:
                return await anext(self._items, None)
        except TimeoutError:
            if not self.has_ended:
                raise
            return None
        finally:
            self._waiting = None

    async def end(self) -> None:
        """Close the source wherever it is."""
        self.has_ended = True
        if self._waiting is None:
            with contextlib.suppress(RuntimeError):  # its reader is closing it already
                await self._items.aclose()  # its reader is busy with an item; the source need not wait for it
                return
        else:
            self._waiting.reschedule(asyncio.get_running_loop().time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.closed.wait()
