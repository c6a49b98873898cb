"""One at a time, in a bounded queue in which the urgent go before the others.

Rules
1. Who is in is never thrown out. Among those waiting the urgent are first, then whoever came first.
2. At most `waiting_most` wait; the next one is `Overloaded`, with the time that the queue will take as it looks now.
3. An urgent one that finds the queue full of others is refused as well: what was accepted is kept.
4. Whoever is in and not urgent is told when an urgent one waits (`wanted`), so that it can step back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

from tarsd.errors import DeadlineExceeded, Overloaded

# How much a new duration counts in the average.
_NEWEST = 0.3


ItemT = TypeVar("ItemT")


async def until_called(event: asyncio.Event, items: AsyncGenerator[ItemT, None]) -> AsyncGenerator[ItemT | None, None]:
    """Yield the items until they end, or until `event`: then None, once, and the items are closed where they are."""
    wanted = asyncio.ensure_future(event.wait())
    try:
        async with aclosing(items):
            while not event.is_set():
                step = asyncio.ensure_future(anext(items))
                try:
                    await asyncio.wait({step, wanted}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not step.done():
                        step.cancel()
                        await asyncio.gather(step, return_exceptions=True)
                if step.cancelled():
                    break
                try:
                    yield step.result()
                except StopAsyncIteration:
                    return
            yield None
    finally:
        wanted.cancel()


class Ticket:
    """A place in the queue; `position` is how many are before it, 0 when it is in."""

    def __init__(self, urgent: bool, number: int) -> None:
        self.order = (not urgent, number)
        self.position = 0
        self.moved = asyncio.Event()
        self.wanted = asyncio.Event()  # it is in and an urgent one waits behind it

    @property
    def urgent(self) -> bool:
        """Whether a person waits for it."""
        return not self.order[0]


class Turnstile:
    """Lets one in at a time."""

    def __init__(self, waiting_most: int) -> None:
        self._waiting_most = waiting_most
        self._inside: Ticket | None = None
        self._waiting: list[Ticket] = []
        self._number = 0
        self._entered_at = 0.0
        self._usual_s = 1.0

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many are in: 0 or 1."""
        return int(self._inside is not None)

    def take(self, *, urgent: bool) -> Ticket:
        """Return a place, which must be given back by `leave`; raises `Overloaded`."""
        self._number += 1
        ticket = Ticket(urgent, self._number)
        if self._inside is None:
            self._enter(ticket)
            return ticket
        if len(self._waiting) >= self._waiting_most:
            raise Overloaded(
                f"{len(self._waiting)} are waiting already", retry_after_s=round(self._usual_s * len(self._waiting), 1)
            )
        self._waiting.append(ticket)
        self._waiting.sort(key=lambda other: other.order)
        if ticket.urgent and not self._inside.urgent:
            self._inside.wanted.set()
        self._count()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place back; the next one is in."""
        if self._inside is ticket:
            took_s = asyncio.get_running_loop().time() - self._entered_at
            self._usual_s += _NEWEST * (took_s - self._usual_s)
            self._inside = None
            if self._waiting:
                self._enter(self._waiting.pop(0))
        elif ticket in self._waiting:
            self._waiting.remove(ticket)
        self._count()

    async def wait(self, ticket: Ticket, deadline: float) -> AsyncGenerator[int, None]:
        """Yield the position at once and whenever it changes, and end when it is 0; `deadline` is of the loop's clock.

        Raises `DeadlineExceeded`. The place is kept in every case: `leave` gives it back.
        """
        while ticket.position > 0:
            ticket.moved.clear()  # before the position is read: a move while the reader is busy is not lost
            yield ticket.position
            try:
                async with asyncio.timeout_at(deadline):
                    await ticket.moved.wait()
            except TimeoutError:
                raise DeadlineExceeded(f"the turn did not come in time, {ticket.position} are before") from None

    @asynccontextmanager
    async def turn(self, *, urgent: bool, deadline: float) -> AsyncGenerator[None, None]:
        """Hold the turn for a `with` block; raises `Overloaded` and `DeadlineExceeded`."""
        ticket = self.take(urgent=urgent)
        try:
            async for _ in self.wait(ticket, deadline):
                pass
            yield
        finally:
            self.leave(ticket)

    def _enter(self, ticket: Ticket) -> None:
        self._inside = ticket
        self._entered_at = asyncio.get_running_loop().time()
        ticket.position = 0
        if not ticket.urgent and any(other.urgent for other in self._waiting):
            ticket.wanted.set()
        ticket.moved.set()

    def _count(self) -> None:
        for position, ticket in enumerate(self._waiting, start=1):
            if ticket.position != position:
                ticket.position = position
                ticket.moved.set()
