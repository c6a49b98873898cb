"""What every core node does whatever its roles: it keeps a copy of the records, and tells how it is.

Rules
1. Records are pulled (`roles/pulling`), and given to who pulls them here.
2. People whose node was lost are let in here by the pass that it gave them: the others tell of theirs, bounded.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

import msgspec

from tarsd import __version__, calls
from tarsd.calls import (
    NightlyItem,
    NightlyRequest,
    PassItem,
    PassRequest,
    RecordsItem,
    RecordsRequest,
    StatusItem,
    StatusRequest,
)
from tarsd.errors import InvalidInput
from tarsd.gossip.member import Member
from tarsd.names import Capability
from tarsd.passes import DIGEST_BYTES, MAX_OF_EACH, VALID_S, PassBook
from tarsd.roles.base import Attributes, Role, Services
from tarsd.roles.nightly import NightlyRunner
from tarsd.roles.pulling import MARK, MAX_RECORDS_PER_CALL, Puller
from tarsd.rpc import CallContext, Handler

BATCH_RECORDS = 500


class Keeper(Role):
    """Offers `records`, `status`, `nightly` and `pass`; `parts` is asked for the status of the daemon's other parts."""

    name = "keeper"

    def __init__(
        self,
        services: Services,
        parts: Callable[[], dict[str, Any]],
        problems: Callable[[], list[str]],
        runner: NightlyRunner,
        passes: PassBook | None = None,
    ) -> None:
        self._services = services
        self._passes = passes if passes is not None else PassBook()
        self._runner = runner
        self._parts = parts
        self._problems = problems
        self._started = time.monotonic()
        self._puller = Puller(services)

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {
            calls.RECORDS.name: self._records,
            calls.STATUS.name: self._status,
            calls.NIGHTLY.name: self._nightly,
            calls.PASS.name: self._pass,
        }

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        others: dict[Capability, Attributes] = {spec.name: {} for spec in (calls.STATUS, calls.NIGHTLY, calls.PASS)}
        return others | {calls.RECORDS.name: {MARK: self._puller.mark()}}

    async def start(self) -> None:
        """See `Role`."""
        self._puller.start()

    async def stop(self) -> None:
        """See `Role`."""
        await self._puller.stop()

    def problems(self) -> list[str]:
        """See `Role`."""
        return ["records: the pull task ended"] if self._puller.ended else []

    def status(self) -> dict[str, Any]:
        """See `Role`."""
        return {
            "pulled": self._puller.pulled,
            "last_error": self._puller.last_error,
            "nightly": self._runner.last_runs(),
        }

    def member_changed(self, member: Member) -> None:
        """Pull at once when a member comes alive or has something new."""
        self._puller.member_changed(member)

    async def _records(self, request: RecordsRequest, context: CallContext) -> AsyncGenerator[RecordsItem, None]:
        have, left = dict(request.have), min(request.limit, MAX_RECORDS_PER_CALL)
        while left > 0:
            batch = await self._services.store.records_since(have, min(BATCH_RECORDS, left))
            left -= len(batch)
            yield RecordsItem(batch, more=bool(batch))
            if not batch:
                return
            for record in batch:
                have[record.origin] = record.seq

    async def _status(self, request: StatusRequest, context: CallContext) -> AsyncGenerator[StatusItem, None]:
        identity, problems = self._services.identity, self._problems()
        yield StatusItem(
            node=identity.node_id,
            name=identity.name,
            version=__version__,
            roles=[str(role) for role in self._services.config.node.roles],
            uptime_s=round(time.monotonic() - self._started, 1),
            healthy=not problems,
            problems=problems,
            parts=self._parts() | {"records": msgspec.to_builtins(await self._services.store.counts()) | self.status()},
        )

    async def _nightly(self, request: NightlyRequest, context: CallContext) -> AsyncGenerator[NightlyItem, None]:
        run = self._runner.run(request.jobs, only_due=request.only_due, now=datetime.now())
        async with aclosing(run) as items:
            async for item in items:
                yield item

    async def _pass(self, request: PassRequest, context: CallContext) -> AsyncGenerator[PassItem, None]:
        if len(request.digests) > MAX_OF_EACH or any(len(digest) != DIGEST_BYTES for digest in request.digests):
            raise InvalidInput(f"digests: expected up to {MAX_OF_EACH} of {DIGEST_BYTES} bytes each")
        now = time.monotonic()
        giver = context.caller.node_id if context.caller else self._services.identity.node_id
        self._passes.admit(giver, request.digests, now + max(0.0, min(request.valid_s, VALID_S)), now)
        yield PassItem()
