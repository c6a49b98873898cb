"""Keeps a node's copy of the records complete: pulls from others what is missing here.

Rules
1. A member tells the mark of what it has. Where that differs from ours its records are pulled: at once when the mark or
   the member comes, then every `memory.pull_s`. Where the marks are the same nobody is asked.
2. A mark at which a pull brought nothing new is not asked about again: that member lacks what we have, not we.
3. Every `BACKSTOP_S` one member is asked whatever its mark says; one that tells no mark is asked every time.
4. A peer that fails is left for the next round; a bad record is quarantined by the store, never a reason to stop.
5. Full batches are followed at once by the next, so that a new node catches up at the speed of the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from random import Random

from tarsd import calls
from tarsd.calls import RecordsRequest
from tarsd.errors import StorageError, TarsdError
from tarsd.gossip.member import Member, State
from tarsd.names import NodeId, Zone
from tarsd.roles.base import Services

log = logging.getLogger(__name__)

MARK = "mark"  # the attribute of `records` that tells what a node has
MAX_RECORDS_PER_CALL = 5000
BACKSTOP_S = 60.0


class Puller:
    """Pulls for ever, from `start` to `stop`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._random = Random()  # noqa: S311 - spreads the backstop, keeps no secret
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._nothing_at: dict[NodeId, str] = {}  # the mark at which a pull from there brought nothing
        self._next_backstop = time.monotonic() + BACKSTOP_S
        self.pulled = 0
        self.last_error = ""

    def start(self) -> None:
        """Begin; needs the running loop."""
        self._task = asyncio.create_task(self._pull_for_ever(), name="keeper")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def ended(self) -> bool:
        """Whether the task ended, which it never should."""
        return self._task is not None and self._task.done()

    def mark(self) -> str:
        """Return the mark of what is here; to be told to the others."""
        return self._services.store.mark()

    def member_changed(self, member: Member) -> None:
        """Look at once when a member comes alive or tells another mark."""
        if self._is_source(member) and self._is_worth_it(member):
            self._wake.set()

    async def _pull_for_ever(self) -> None:
        while True:
            self._wake.clear()
            for member in self._sources():
                await self._pull(member)
            try:
                await asyncio.wait_for(self._wake.wait(), self._services.config.memory.pull_s)
            except TimeoutError:
                continue

    def _sources(self) -> list[Member]:
        able = [member for member in self._services.members() if self._is_source(member)]
        found = [member for member in able if self._is_worth_it(member)]
        if able and not found and time.monotonic() >= self._next_backstop:
            found = [self._random.choice(able)]
        return found

    def _is_source(self, member: Member) -> bool:
        able = member.state is State.ALIVE and member.zone is Zone.CORE and not member.is_self
        return able and calls.RECORDS.name in member.capabilities

    def _is_worth_it(self, member: Member) -> bool:
        mark = _mark_of(member)
        return not mark or mark not in (self.mark(), self._nothing_at.get(member.node))

    async def _pull(self, member: Member) -> None:
        store, more, applied = self._services.store, True, 0
        self._next_backstop = time.monotonic() + BACKSTOP_S
        try:
            while more:
                request = RecordsRequest(await store.vector(), MAX_RECORDS_PER_CALL)
                more = False
                async with self._services.dispatch.call(calls.RECORDS, request, only=member.node) as items:
                    async for item in items:
                        result = await store.apply(item.records)
                        applied += result.applied
                        more = item.more and result.applied > 0
            self.last_error = ""
            if not applied:
                self._nothing_at[member.node] = _mark_of(member)
        except StorageError as error:
            self.last_error = str(error)
            log.warning("records of %s cannot be kept: %s", member.name, error)
        except TarsdError as error:
            self.last_error = f"{member.name}: {error}"
            log.debug("records of %s: %s", member.name, error)
        self.pulled += applied


def _mark_of(member: Member) -> str:
    return str(member.capabilities.get(calls.RECORDS.name, {}).get(MARK, ""))
