"""A few at a time, in a bounded queue in which the urgent go before the others.

Rules
1. At most `at_once` are in; who is in is never thrown out. Among those waiting the urgent are first, then whoever came.
2. At most `waiting_most` wait; the next one is `Overloaded`, with the time that the queue will take as it looks now.
3. An urgent one that finds the queue full of others is refused as well: what was accepted is kept.
4. One that is not urgent comes in only while no urgent one is in or waits, and alone: what it takes of the machine is
   taken from nobody. It is told when an urgent one comes (`wanted`), so that it can step back.
5. Who waits is told its position and the expected wait at once, whenever the position changes, and every `RETELL_S`.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple, TypeVar

from tarsd.errors import DeadlineExceeded, Overloaded

RETELL_S = 4.0
# How much a new duration counts in the average.
_NEWEST = 0.3
_FIRST_GUESS_S = 1.0
_LEAST_LEFT_S = 0.5  # who stays longer than usual may leave at any time

ItemT = TypeVar("ItemT")


class Place(NamedTuple):
    """Where one stands in the queue: how many are before it, and how long that will take as it looks now."""

    position: int
    wait_s: float


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


def expected_wait_s(stayed_s: Sequence[float], usual_s: float, at_once: int, position: int) -> float:
    """Return when a place is free for the one at `position` (from 1), those inside having stayed for `stayed_s`.

    Each stays `usual_s` in all; a place that is free now counts as one that gets free at once.
    """
    free_at = [max(_LEAST_LEFT_S, usual_s - stayed) for stayed in stayed_s]
    free_at += [0.0] * (at_once - len(free_at))
    heapq.heapify(free_at)
    for _ in range(position - 1):
        heapq.heapreplace(free_at, free_at[0] + usual_s)
    return free_at[0]


class Ticket:
    """A place in the queue; `position` is how many are before it, 0 when it is in."""

    def __init__(self, urgent: bool, number: int) -> None:
        self.order = (not urgent, number)
        self.position = 0
        self.entered_at = 0.0
        self.moved = asyncio.Event()
        self.wanted = asyncio.Event()  # it is in and an urgent one waits for it to leave

    @property
    def urgent(self) -> bool:
        """Whether a person waits for it."""
        return not self.order[0]


class Turnstile:
    """Lets `at_once` in at a time."""

    def __init__(self, waiting_most: int, at_once: int = 1) -> None:
        self._waiting_most = waiting_most
        self._at_once = at_once
        self._inside: list[Ticket] = []
        self._waiting: list[Ticket] = []
        self._number = 0
        self._usual_s = _FIRST_GUESS_S
        self._has_measured = False

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many are in."""
        return len(self._inside)

    @property
    def urgent(self) -> tuple[int, int]:
        """How many urgent ones wait, and are in: what another urgent one has before it."""
        return sum(one.urgent for one in self._waiting), sum(one.urgent for one in self._inside)

    @property
    def at_once(self) -> int:
        """How many may be in."""
        return self._at_once

    def widen(self, at_once: int) -> None:
        """Let another number in at a time; who is in stays."""
        self._at_once = max(1, at_once)
        self._let_in()

    def take(self, *, urgent: bool) -> Ticket:
        """Return a place, which must be given back by `leave`; raises `Overloaded`."""
        self._number += 1
        ticket = Ticket(urgent, self._number)
        enters = self._may_enter(ticket) and (ticket.urgent or not self._waiting)
        if not enters and len(self._waiting) >= self._waiting_most:
            wait_s = self._expected_s(len(self._waiting))
            raise Overloaded(f"{len(self._waiting)} are waiting already", retry_after_s=round(max(1.0, wait_s), 1))
        self._waiting.append(ticket)
        self._waiting.sort(key=lambda other: other.order)
        self._let_in()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place back; the next one is in."""
        if ticket in self._inside:
            self._inside.remove(ticket)
            self._learn(asyncio.get_running_loop().time() - ticket.entered_at, ticket)
        elif ticket in self._waiting:
            self._waiting.remove(ticket)
        self._let_in()

    async def wait(self, ticket: Ticket, deadline: float) -> AsyncGenerator[Place, None]:
        """Yield the place (rule 5) and end when the ticket is in; `deadline` is of the loop's clock.

        Raises `DeadlineExceeded`. The place is kept in every case: `leave` gives it back.
        """
        loop = asyncio.get_running_loop()
        while ticket.position > 0:
            ticket.moved.clear()  # before the position is read: a move while the reader is busy is not lost
            yield Place(ticket.position, round(self._expected_s(ticket.position), 1))
            if loop.time() >= deadline:
                raise DeadlineExceeded(f"the turn did not come in time, {ticket.position} are before")
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + RETELL_S)):
                    await ticket.moved.wait()
            except TimeoutError:
                continue

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

    def _may_enter(self, ticket: Ticket) -> bool:
        """Tell whether it may come in now, were it the next one (rules 1 and 4)."""
        if len(self._inside) >= self._at_once:
            return False
        return ticket.urgent or not self._inside

    def _let_in(self) -> None:
        while self._waiting and self._may_enter(self._waiting[0]):
            self._enter(self._waiting.pop(0))
        if any(ticket.urgent for ticket in (*self._inside, *self._waiting)):
            for ticket in self._inside:
                if not ticket.urgent:
                    ticket.wanted.set()
        for position, ticket in enumerate(self._waiting, start=1):
            if ticket.position != position:
                ticket.position = position
                ticket.moved.set()

    def _enter(self, ticket: Ticket) -> None:
        ticket.entered_at = asyncio.get_running_loop().time()
        ticket.position = 0
        ticket.moved.set()
        self._inside.append(ticket)

    def _learn(self, stayed_s: float, ticket: Ticket) -> None:
        if not ticket.urgent and ticket.wanted.is_set():
            return  # it stepped back: how long it would have stayed is not known
        weight = _NEWEST if self._has_measured else 1.0
        self._has_measured = True
        self._usual_s += weight * (stayed_s - self._usual_s)

    def _expected_s(self, position: int) -> float:
        now = asyncio.get_running_loop().time()
        stayed_s = [now - ticket.entered_at for ticket in self._inside]
        usual_s = self._usual_s
        if not self._has_measured:
            usual_s = max([usual_s, *stayed_s])  # nobody left yet: at least so long
        return expected_wait_s(stayed_s, usual_s, max(self._at_once, len(stayed_s)), position)
