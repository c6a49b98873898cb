"""Gives this node's new records to the others the moment they are on disk.

Rules
1. Each node that keeps records has a lane of its own: a slow one holds up nobody else. All get all records: a
   household has a handful of nodes, and each of them must be able to go on alone.
2. What is committed while a push is under way goes with the next one: at most `MAX_RECORDS`, `MAX_BATCH_BYTES`.
3. A push goes on from what the other said last that it has. Where it lacks more than `FAR_RECORDS`, or cannot take
   what it was given, it is left to its own pulls, which bring the records of all origins.
4. A node that came alive, or that nothing is known of, is greeted first: both say how far they have each origin.
5. A push that failed is tried again every `AGAIN_S` while the other is alive.
6. The newest records are given from memory. When something is forgotten that memory is emptied: what comes from the
   disk then is without its text.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from tarsd import calls
from tarsd.calls import PushRequest, Record
from tarsd.errors import TarsdError
from tarsd.gossip.member import Member
from tarsd.memory.library import Change
from tarsd.memory.sharing import MAX_BATCH_BYTES
from tarsd.names import NodeId
from tarsd.roles.base import Services
from tarsd.roles.holders import Holders, is_keeper

log = logging.getLogger(__name__)

MAX_RECORDS = 500
FAR_RECORDS = 2000
AGAIN_S = 1.0
_TAIL_RECORDS = 250
_TAIL_BYTES = MAX_BATCH_BYTES // 2
_FIELDS_BYTES = 1000  # of a record beside its body, at most


class Pusher:
    """Pushes from `start` to `stop`."""

    def __init__(
        self, services: Services, holders: Holders, ahead: Callable[[NodeId], None] = lambda node: None
    ) -> None:
        self.services = services
        self.holders = holders
        self.ahead = ahead  # told of a node that has more than we have, as a greeting showed
        self.pushed = 0
        self._lanes: dict[NodeId, Lane] = {}
        self._tail: deque[Record] = deque()
        self._tail_bytes = 0

    def start(self) -> None:
        """Begin; needs the running loop."""
        store = self.services.store
        self._stops = [store.subscribe_own(self._committed), store.subscribe(self._changed)]
        for member in self.services.members():
            self.member_changed(member)

    async def stop(self) -> None:
        """End; what was not given is pulled later."""
        for stop in getattr(self, "_stops", ()):
            stop()
        tasks = [lane.task for lane in self._lanes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def ended(self) -> bool:
        """Whether a lane's task ended, which none should."""
        return any(lane.task.done() for lane in self._lanes.values())

    def member_changed(self, member: Member) -> None:
        """Greet a member that came alive (rule 4)."""
        if is_keeper(member) and calls.PUSH.name in member.capabilities:
            lane = self._lanes.get(member.node)
            if lane is None:
                self._lanes[member.node] = Lane(self, member.node)
            elif lane.generation != member.generation or not lane.is_on:
                lane.greet()
            self._lanes[member.node].generation = member.generation
            self._lanes[member.node].is_on = True
        elif lane := self._lanes.get(member.node):
            lane.is_on = False

    def greet(self, node: NodeId) -> None:
        """Exchange heads with a node soon."""
        if lane := self._lanes.get(node):
            lane.greet()

    def _committed(self, records: Sequence[Record]) -> None:
        for record in records:
            self._tail.append(record)
            self._tail_bytes += len(record.body) + _FIELDS_BYTES
        while len(self._tail) > _TAIL_RECORDS or self._tail_bytes > _TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft().body) + _FIELDS_BYTES
        for lane in self._lanes.values():
            lane.wake.set()

    def _changed(self, change: Change) -> None:
        if change.removed:
            self._tail.clear()
            self._tail_bytes = 0

    async def after(self, origin: str, seq: int) -> list[Record]:
        """Return this node's records after `seq`, as many as one push takes."""
        if self._tail and self._tail[0].origin == origin and self._tail[0].seq <= seq + 1:
            return [record for record in self._tail if record.origin == origin and record.seq > seq]
        return await self.services.store.records_since({origin: seq}, MAX_RECORDS, only=origin)


class Lane:
    """What is on its way to one node."""

    def __init__(self, pusher: Pusher, node: NodeId) -> None:
        self._pusher = pusher
        self._node = node
        self._greets = True
        self.generation = 0
        self.is_on = True
        self.wake = asyncio.Event()
        self.wake.set()
        self.task = asyncio.create_task(self._run(), name="push")

    def greet(self) -> None:
        """Exchange heads, whatever else there is to give."""
        self._greets = True
        self.wake.set()

    async def _run(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            if not self.is_on:
                continue
            try:
                await self._give()
            except TarsdError as error:
                log.debug("a push was not taken: %s", error)
                await asyncio.sleep(AGAIN_S)
                self.wake.set()

    async def _give(self) -> None:
        store, holdings = self._pusher.services.store, self._pusher.holders.holdings
        if self._greets or holdings.of(self._node) is None:
            self._greets = False
            await self._exchange([])
        last = -1
        while True:
            origin = store.origin
            seq = (holdings.of(self._node) or {}).get(origin, 0)
            end = store.heads().get(origin, (0, b""))[0]
            if seq >= end or end - seq > FAR_RECORDS or seq == last:
                return
            await self._exchange(await self._pusher.after(origin, seq))
            last = seq

    async def _exchange(self, records: Sequence[Record]) -> None:
        services = self._pusher.services
        request = PushRequest(list(records), services.store.heads())
        try:
            item = await services.dispatch.call(calls.PUSH, request, only=self._node).one()
        except BaseException:
            self._greets = self._greets or not records
            raise
        self._pusher.pushed += len(records)
        agreement = await self._pusher.holders.heard(self._node, item.heads)
        if agreement.ahead and not records:
            self._pusher.ahead(self._node)
