"""Keeps the records on several disks: puts together who gives, who takes, who mends and who knows.

Rules
1. New records are pushed at once (`pushing`); what a push does not bring is pulled (`pulling`).
2. Records given to us are on disk before the answer that says so.
3. At most `MAX_SYNCS` nodes are served records at a time; the others are told to come again.
4. A node that starts anew pulls everything in batches, each applied whole, so it goes on where it was cut off. That was
   measured to be fast enough (6,000 records of 2 kB a second with keywords on one core of two) to need no snapshot of
   the file, which would carry along what derives from the log, and could not be resumed across a change of version.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from tarsd.calls import Copies, PushItem, PushRequest, Record, RecordsItem, RecordsRequest, Refused
from tarsd.errors import InvalidInput, Overloaded
from tarsd.gossip.member import Member
from tarsd.memory.copies import Agreement, Heads
from tarsd.names import NodeId
from tarsd.roles.base import Services
from tarsd.roles.holders import Holders
from tarsd.roles.mending import Mender
from tarsd.roles.pulling import MAX_RECORDS_PER_CALL, Puller
from tarsd.roles.pushing import MAX_RECORDS, Pusher
from tarsd.rpc import CallContext

BATCH_RECORDS = 500
MAX_SYNCS = 2
COME_AGAIN_S = 0.5


class Replicator:
    """One node's part in replication."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.holders = Holders(services, on_fork=lambda node, origins: self.mender.suspect(node, origins))
        self.puller = Puller(
            services,
            parted=lambda node, origins: self.mender.suspect(node, origins),
            brought=lambda node: self.pusher.greet(node),
        )
        self.pusher = Pusher(services, self.holders, ahead=self.puller.ask)
        self.mender = Mender(services, moved=self.puller.ask, stayed=self.pusher.greet)
        self._serving = 0

    async def start(self) -> None:
        """Begin."""
        await self.holders.start()
        self.mender.start()
        self.pusher.start()
        self.puller.start()

    async def stop(self) -> None:
        """End within a moment."""
        for part in (self.puller, self.pusher, self.mender, self.holders):
            await part.stop()

    async def confirm(self, records: Sequence[Record]) -> Copies:
        """See `Holders.confirm`."""
        return await self.holders.confirm(records)

    def member_changed(self, member: Member) -> None:
        """Look at once at who came, went or has something new."""
        self.holders.member_changed(member)
        self.pusher.member_changed(member)
        self.puller.member_changed(member)

    def problems(self) -> list[str]:
        """Return which of the tasks ended, which none may."""
        ended = {"pull": self.puller.ended, "push": self.pusher.ended, "fork": self.mender.ended}
        return [f"records: the {name} task ended" for name, has_ended in ended.items() if has_ended]

    def note(self) -> str:
        """Return what a person should look at, though the node is well."""
        return "; ".join(self.mender.notes)

    def status(self) -> dict[str, Any]:
        """Return how it goes, as plain data."""
        return {
            "pulled": self.puller.pulled,
            "pushed": self.pusher.pushed,
            "moved": self.mender.moved_records,
            "syncing": self.puller.progress,
            "last_error": self.puller.last_error,
        }

    # --- what others ask --------------------------------------------------------------------------------------------

    async def records(self, request: RecordsRequest, context: CallContext) -> AsyncGenerator[RecordsItem, None]:
        """Give records to a node that asks for them."""
        if request.limit <= 1:  # one record to compare is no sync
            yield RecordsItem(await self._services.store.records_since(request.have, 1, only=request.only))
            return
        if self._serving >= MAX_SYNCS:
            raise Overloaded("two nodes are being given records already", COME_AGAIN_S)
        self._serving += 1
        try:
            sealed = {origin: (seq, request.seals.get(origin, b"")) for origin, seq in request.have.items()}
            await self._note(context, {origin: head for origin, head in sealed.items() if head[1]})
            async for item in self._batches(request):
                yield item
        finally:
            self._serving -= 1

    async def _batches(self, request: RecordsRequest) -> AsyncGenerator[RecordsItem, None]:
        store = self._services.store
        have, left = dict(request.have), min(request.limit, MAX_RECORDS_PER_CALL)
        while left > 0:
            batch = await store.records_since(have, min(BATCH_RECORDS, left), only=request.only)
            left -= len(batch)
            yield RecordsItem(batch, more=bool(batch), total=sum(seq for seq, _ in store.heads().values()))
            if not batch:
                return
            for record in batch:
                have[record.origin] = record.seq

    async def push(self, request: PushRequest, context: CallContext) -> AsyncGenerator[PushItem, None]:
        """Take what a node gives; it is on disk when the answer goes out (rule 2)."""
        if len(request.records) > MAX_RECORDS:
            raise InvalidInput(f"records: expected up to {MAX_RECORDS}, got {len(request.records)}")
        store, node = self._services.store, context.caller.node_id if context.caller else NodeId("")
        result = await store.apply(request.records)
        agreement = await self._note(context, request.heads)
        if result.quarantined:
            self.mender.suspect(node, sorted({each.origin for each in result.quarantined}))
        if result.waiting or (agreement is not None and agreement.ahead and not request.records):
            self.puller.ask(node)
        elif request.records:
            self.puller.given_by(node)
        yield PushItem(store.heads(), [Refused(each.origin, each.seq, each.reason) for each in result.quarantined])

    async def _note(self, context: CallContext, heads: Heads) -> Agreement | None:
        return await self.holders.heard(context.caller.node_id, heads) if context.caller and heads else None
