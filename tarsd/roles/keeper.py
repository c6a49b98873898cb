"""What every core node does whatever its roles: it keeps a copy of the records, and tells how it is.

Rules
1. Records are given, taken and counted (`roles/replicating`).
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
    MemoryStatusItem,
    MemoryStatusRequest,
    NightlyItem,
    NightlyRequest,
    PassItem,
    PassRequest,
    StatusItem,
    StatusRequest,
)
from tarsd.errors import InvalidInput
from tarsd.gossip.member import Member
from tarsd.names import Capability
from tarsd.passes import DIGEST_BYTES, MAX_OF_EACH, VALID_S, PassBook
from tarsd.roles.base import Attributes, Role, Services
from tarsd.roles.holders import MARK
from tarsd.roles.nightly import NightlyRunner
from tarsd.roles.replicating import Replicator
from tarsd.roles.standing import standing
from tarsd.rpc import CallContext, Handler


class Keeper(Role):
    """Offers `records`, `push`, `status`, `nightly`, `pass`; `parts` tells the status of the daemon's other parts."""

    name = "keeper"

    def __init__(
        self,
        services: Services,
        parts: Callable[[], dict[str, Any]],
        problems: Callable[[], list[str]],
        runner: NightlyRunner,
        passes: PassBook | None = None,
        replicator: Replicator | None = None,
    ) -> None:
        self._services = services
        self._passes = passes if passes is not None else PassBook()
        self._runner = runner
        self._parts = parts
        self._problems = problems
        self._started = time.monotonic()
        self._replicator = replicator if replicator is not None else Replicator(services)

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {
            calls.RECORDS.name: self._replicator.records,
            calls.PUSH.name: self._replicator.push,
            calls.MEMORY_STATUS.name: self._memory_status,
            calls.STATUS.name: self._status,
            calls.NIGHTLY.name: self._nightly,
            calls.PASS.name: self._pass,
        }

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        others: dict[Capability, Attributes] = {
            spec.name: {} for spec in (calls.STATUS, calls.NIGHTLY, calls.PASS, calls.PUSH, calls.MEMORY_STATUS)
        }
        return others | {calls.RECORDS.name: {MARK: self._services.store.mark()}}

    async def start(self) -> None:
        """See `Role`."""
        await self._replicator.start()

    async def stop(self) -> None:
        """See `Role`."""
        await self._replicator.stop()

    def problems(self) -> list[str]:
        """See `Role`."""
        return self._replicator.problems()

    def status(self) -> dict[str, Any]:
        """See `Role`."""
        return self._replicator.status() | {"nightly": self._runner.last_runs()}

    def member_changed(self, member: Member) -> None:
        """Look at once at who came, went or has something new."""
        self._replicator.member_changed(member)

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

    async def _memory_status(
        self, request: MemoryStatusRequest, context: CallContext
    ) -> AsyncGenerator[MemoryStatusItem, None]:
        yield await standing(self._services, self._replicator)

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
