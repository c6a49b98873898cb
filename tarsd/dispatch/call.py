"""A running call: who is asked, when another is asked beside it, and when it moves on.

Rules
1. `Unavailable` before the answer began moves on to the next candidate at once; afterwards it is raised: the caller
   knows what it has already shown, we do not. A place in a queue is not yet the beginning.
2. Any other error would be the same everywhere and is raised as it is.
3. Hedging: when a call that may be asked twice is overdue, the next candidate is asked beside the first one. Whose
   answer begins first is read, the other is cancelled. A beat proves that a callee lives, a place in its queue that it
   knows of us; neither is progress, so neither delays the hedge.
4. Only a node that has nothing else to do is asked beside one that generates text: two answers cost twice as much.
5. When gossip doubts the member that has not begun to answer, the next one is asked at once, busy or not.
6. A second attempt of either kind takes from the budget. When that is spent, the error of the first attempt is told.
7. While a call waits in a queue, a node that is free and would have answered it sooner is asked at once, who was asked
   first before the others, and not from the budget: a place in a queue costs nobody anything, so nothing is
   multiplied. The place is kept until the other one begins.
8. Who was asked too and was not needed has not failed: it is not among `tried`, and may go on with a lost answer.
9. When nobody is left: `Overloaded` with the shortest time to come again where anybody was, else the last error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import msgspec

from tarsd import calls
from tarsd.dispatch.attempt import Attempt, Rival, has_begun
from tarsd.errors import DeadlineExceeded, Overloaded, PeerLost, Unavailable
from tarsd.gossip.member import Member
from tarsd.names import ConversationId, NodeId, Zone

if TYPE_CHECKING:
    from tarsd.dispatch.dispatch import Dispatch, Upload

ItemT = TypeVar("ItemT", bound=msgspec.Struct)


class Aim(msgspec.Struct, frozen=True):
    """Whom a call may ask. `conversation` is asked where its prefix is in a cache; `again`: it repeats a lost one."""

    only: NodeId | None = None
    exclude: frozenset[NodeId] = frozenset()
    zone: Zone = Zone.CORE
    conversation: ConversationId = ConversationId("")
    again: bool = False


class _OvertakenError(Exception):
    """The rival's answer began first."""


class Call(Generic[ItemT]):
    """An async iterator of the items. `member` serves it, from the first item on; `tried` are it and who failed."""

    def __init__(
        self,
        dispatch: Dispatch,
        spec: calls.CallSpec[Any, ItemT],
        request: Any,
        headers: calls.Headers,
        aim: Aim,
        upload: Upload | None = None,
    ) -> None:
        self._dispatch = dispatch
        self._spec = spec
        self._request = request
        self._headers = headers
        self._aim = aim
        self._upload = upload
        self._give_up_at = dispatch.now() + headers.deadline_s
        self._for_a_person = spec.hedge and not _is_background(request)
        self._failed: list[Unavailable] = []
        self._has_begun = False
        self.asked_at = 0.0  # of the present attempt
        self._place = 0  # in the queue there, as it told last; 0 = in none
        self._step: asyncio.Timeout | None = None  # while an item is awaited
        self._rival: Rival[ItemT] | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self.tried = aim.exclude
        self.member: Member | None = None
        self._items = self._run()

    def __aiter__(self) -> AsyncIterator[ItemT]:
        return self._items

    async def __anext__(self) -> ItemT:
        return await self._items.__anext__()

    async def one(self) -> ItemT:
        """Return the single item and end the call; raises `PeerLost` when none came."""
        async with self:
            async for item in self:
                return item
        raise PeerLost(f"{self._spec.name}: no item came")

    async def aclose(self) -> None:
        """Cancel the call; the callee stops at its next item."""
        await self._items.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def doubted(self) -> None:
        """Gossip doubts the member that is asked: rule 5."""
        self._hedge(at_once=True)

    def move(self) -> bool:
        """Have a free node asked, if the call waits in a queue (rule 7); return whether one is."""
        before = self._rival
        if self._place:
            self._hedge(at_once=False)
        return self._rival is not before

    async def _run(self) -> AsyncGenerator[ItemT, None]:
        try:
            while True:
                items = self._next_items()
                try:
                    async with aclosing(self._in_time(items)) as timely:
                        async for item in timely:
                            yield item
                    self._dispatch.answered(self._aim.conversation, self.member)
                    return
                except _OvertakenError:
                    self._dispatch.overtaken(self.member, self._spec.name, self.asked_at)
                    self._was_not_needed(self.member)
                except Unavailable as error:
                    if self._has_begun:
                        raise
                    self._failed.append(error)
        finally:
            self._settle()
            if self._rival is not None:
                await self._rival.close()

    def _next_items(self) -> AsyncGenerator[ItemT, None]:
        """Return the items of who is asked next: a rival that is at it already, or the next candidate."""
        rival, self._rival = self._rival, None
        if rival is not None and rival.error is not None:
            self._failed.append(rival.error)
        elif rival is not None:
            self.member = rival.member
            if rival.has_begun:
                self._settle()
            return rival.items()
        attempt = self._next_attempt()
        self.member, self.asked_at, self._place = attempt.member, self._dispatch.now(), 0
        self._watch()
        return attempt.items()

    def _next_attempt(self) -> Attempt[ItemT]:
        """Return an attempt at the best candidate left; raises what the call ends with (rules 6 and 9)."""
        found = self._candidates()
        if not found:
            raise _worst_told(self._failed) or Unavailable(f"no node offers {self._spec.name} right now")
        now = self._dispatch.now()
        if now >= self._give_up_at:
            raise self._too_late()
        if not self._failed and not self._aim.again:
            self._dispatch.budget.called()
        elif not self._dispatch.budget.take(now, urgent=self._for_a_person):
            raise self._spent()
        return self._attempt(found[0])

    def _candidates(self) -> list[Member]:
        return self._dispatch.candidates(
            self._spec.name, self._headers, msgspec.structs.replace(self._aim, exclude=self.tried)
        )

    def _attempt(self, member: Member) -> Attempt[ItemT]:
        self.tried |= {member.node}
        left_s = self._give_up_at - self._dispatch.now()
        headers = msgspec.structs.replace(self._headers, deadline_s=left_s)
        source = self._dispatch.run(member, self._spec, self._request, headers, self._upload)
        return Attempt(self._dispatch, member, self._spec, source)

    async def _in_time(self, items: AsyncGenerator[ItemT, None]) -> AsyncGenerator[ItemT, None]:
        """Yield the items; raises `DeadlineExceeded` when they are not all there in time, `_OvertakenError`.

        rpc keeps the deadline too; this holds for our own handlers as well.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + max(0.0, self._give_up_at - self._dispatch.now())
        async with aclosing(items):
            while True:
                try:
                    async with asyncio.timeout_at(until) as self._step:
                        item = await anext(items)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if self._is_overtaken():
                        raise _OvertakenError from None
                    raise self._too_late() from None
                finally:
                    self._step = None
                if not self._has_begun and has_begun(item):
                    self._settle()
                    await self._drop_rival()
                elif not self._has_begun:
                    self._stands_in_queue(item)
                yield item
                if self._has_begun and self.member is not None and not self.member.is_self:
                    break
                if self._is_overtaken():
                    raise _OvertakenError
            async for item in items:  # a peer's items are held to the deadline by rpc: no second timer for each of them
                yield item

    # --- hedging ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """See to it that an overdue beginning is noticed."""
        if self._for_a_person and self._overdue is None:
            self._dispatch.waiting.add(self)
            after_s = self._dispatch.overdue_s(self._spec)
            self._overdue = asyncio.get_running_loop().call_later(after_s, self._hedge_later)

    def _settle(self) -> None:
        """The answer began, or the call is over: no more hedging."""
        self._has_begun = True
        self._dispatch.waiting.discard(self)
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _hedge_later(self) -> None:
        self._hedge(at_once=False)
        if not self._has_begun:  # nobody was free just now, or the rival is in a queue as well
            after_s = self._dispatch.overdue_s(self._spec)
            self._overdue = asyncio.get_running_loop().call_later(after_s, self._hedge_later)

    def _stands_in_queue(self, item: ItemT) -> None:
        """Take what a callee tells before it begins: rule 7."""
        self._place = item.queue_position if isinstance(item, calls.ChatItem) else 0
        if self._place:
            self._dispatch.look_for_free()

    def _hedge(self, *, at_once: bool) -> None:
        """Ask the next candidate beside the present one (rules 3 to 7)."""
        if self._has_begun or (self._rival is not None and self._rival.is_running):
            return
        found = self._candidates()
        if not at_once and self._spec is calls.CHAT:
            found = [member for member in found if self._is_better(member)]
        moves = bool(self._place) and not at_once
        if found and (moves or self._dispatch.budget.take(self._dispatch.now(), urgent=at_once)):
            if self._rival is not None and self._rival.error is not None:
                self._failed.append(self._rival.error)
            self._rival = Rival(self._attempt(found[0]), self._rival_began)
            note = self._dispatch.moved if moves else self._dispatch.hedged
            note(found[0], self._spec.name, self.asked_at, self._headers.trace)

    def _is_better(self, member: Member) -> bool:
        """Tell whether `member` may be asked beside the present one (rules 4 and 7)."""
        name = self._spec.name
        if not self._dispatch.is_free(member, name):
            return False
        return (
            not self._place or self.member is None or self._dispatch.is_sooner(member, self.member, self._place, name)
        )

    def _rival_began(self) -> None:
        if not self._has_begun and self._step is not None:
            self._step.reschedule(asyncio.get_running_loop().time())

    def _is_overtaken(self) -> bool:
        return not self._has_begun and self._rival is not None and self._rival.has_begun

    async def _drop_rival(self) -> None:
        rival, self._rival = self._rival, None
        if rival is not None:
            if rival.error is None:
                self._was_not_needed(rival.member)
            await rival.close()

    def _was_not_needed(self, member: Member | None) -> None:
        if member is not None:
            self.tried -= {member.node}

    # --- what the call ends with --------------------------------------------------------------------------------

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self._spec.name}: {self._headers.deadline_s:.1f} s were not enough")

    def _spent(self) -> Unavailable:
        """Return the error of the first attempt, with why there was no other."""
        if not self._failed:
            return Unavailable(f"{self._spec.name}: too much has failed of late to try it again now")
        first = self._failed[0]
        sentence = f"{first} (asked: {len(self.tried - self._aim.exclude)}; too much has failed of late to ask another)"
        return Overloaded(sentence, first.retry_after_s) if isinstance(first, Overloaded) else type(first)(sentence)


def _worst_told(failed: list[Unavailable]) -> Unavailable | None:
    """Return what tells a caller most: when to come again, else the last failure (rule 9)."""
    full = [error for error in failed if isinstance(error, Overloaded)]
    return min(full, key=lambda error: error.retry_after_s) if full else failed[-1] if failed else None


def _is_background(request: Any) -> bool:
    """Tell whether nobody waits for what is asked: generated in the background, or vectors of documents."""
    return getattr(request, "background", False) or (
        isinstance(request, calls.EmbedRequest) and request.purpose == "passage"
    )
