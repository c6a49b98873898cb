"""Knows which other nodes have which records on disk, and tells who waits for that.

Rules
1. What counts is in `memory/copies`. It is kept in the database, `KEEP_S` after a change at the latest, so that a
   node that starts anew does not call records unsafe that are not.
2. `confirm` returns as soon as enough nodes have the records; at once when nobody is there who could; else after
   `memory.copies_wait_ms`. It says how many copies there are, never more.
3. A member whose mark equals ours has what we have: so the copies are known without a question.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tarsd import calls
from tarsd.calls import Copies, Record
from tarsd.errors import StorageError, WireError
from tarsd.gossip.member import Member, State
from tarsd.memory.copies import Agreement, Heads, Holdings
from tarsd.names import NodeId, Zone
from tarsd.roles.base import Services

log = logging.getLogger(__name__)

MARK = "mark"  # the attribute of `records` that tells what a node has
FACT = "holdings"
KEEP_S = 5.0
_SHARE = 0.95  # of the time to wait: the rest is for the commit before it and the answer after it
ALONE = "no other node is there that keeps records"
SLOW = "the other nodes have not confirmed it yet"

Parted = Callable[[NodeId, Sequence[str]], None]


def is_keeper(member: Member) -> bool:
    """Say whether a member is another node that keeps records and can be reached."""
    able = member.state is State.ALIVE and member.zone is Zone.CORE and not member.is_self
    return able and calls.RECORDS.name in member.capabilities


def mark_of(member: Member) -> str:
    """Return what a member tells of the records it has."""
    return str(member.capabilities.get(calls.RECORDS.name, {}).get(MARK, ""))


class Holders:
    """Who has what; `on_fork` is told of origins of which another node has another branch."""

    def __init__(self, services: Services, on_fork: Parted = lambda node, origins: None) -> None:
        self._services = services
        self._on_fork = on_fork
        self._news = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._has_stopped = False
        self.holdings = Holdings()

    async def start(self) -> None:
        """Read what was known before."""
        kept = await self._services.store.fact(FACT)
        if not kept:
            return
        try:
            self.holdings = Holdings(msgspec.json.decode(kept, type=dict[NodeId, dict[str, int]]))
        except msgspec.DecodeError:
            log.warning("what was known of other nodes' copies is unreadable; it is asked for anew")

    async def stop(self) -> None:
        """Keep what is known."""
        self._has_stopped = True
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            await self._keep()

    # --- what is heard ----------------------------------------------------------------------------------------------

    async def heard(self, node: NodeId, heads: Heads) -> Agreement:
        """Take a node's heads, which are on disk there."""
        agreement = await self._services.store.agree(heads)
        self._told(node, agreement.have)
        if agreement.forked:
            self._on_fork(node, agreement.forked)
        return agreement

    def member_changed(self, member: Member) -> None:
        """See rule 3; and who waits looks anew at who is there."""
        if is_keeper(member) and mark_of(member) == self._services.store.mark():
            self._told(member.node, {origin: seq for origin, (seq, _) in self._services.store.heads().items()})
        self._wake()

    def _told(self, node: NodeId, have: Mapping[str, int]) -> None:
        if not self.holdings.told(node, have):
            return
        self._wake()
        if not self._has_stopped and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.create_task(self._keep_soon(), name="keep copies")

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # --- what is asked ----------------------------------------------------------------------------------------------

    def counting(self) -> set[NodeId]:
        """Return the other nodes whose copies count, there or away."""
        return {
            member.node
            for member in self._services.members()
            if not member.is_self and member.state is not State.REVOKED and member.zone is not Zone.LAB
        }

    async def confirm(self, records: Sequence[Record]) -> Copies:
        """Return on how many disks these records of ours are; see rule 2. Cancelling loses nothing."""
        settings = self._services.config.memory
        loop = asyncio.get_running_loop()
        until = loop.time() + _SHARE * settings.copies_wait_ms / 1000
        while True:
            news = self._news
            have = self.holdings.holders(records, self.counting())
            copies = 1 + len(have)
            if copies >= settings.copies:
                return Copies(copies, settings.copies)
            if not any(is_keeper(member) and member.node not in have for member in self._services.members()):
                return Copies(copies, settings.copies, ALONE)
            try:
                async with asyncio.timeout_at(until):
                    await news.wait()
            except TimeoutError:
                return Copies(copies, settings.copies, SLOW)

    # --- across a restart -------------------------------------------------------------------------------------------

    async def _keep_soon(self) -> None:
        await asyncio.sleep(KEEP_S)
        await self._keep()

    async def _keep(self) -> None:
        known = {node: self.holdings.of(node) for node in self.holdings.nodes()}
        try:
            await self._services.store.keep_fact(FACT, msgspec.json.encode(known).decode())
        except (StorageError, WireError) as error:
            log.warning("what other nodes have cannot be kept: %s", error)
