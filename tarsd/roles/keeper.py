"""What every core node does whatever its roles: it keeps a copy of the records, and tells how it is.

Rules
1. Records are pulled: from each live core peer every `memory.pull_s`, and at once when one comes alive.
2. A peer that fails is left for the next round; a bad record is quarantined by the store, never a reason to stop.
3. Full batches are followed at once by the next, so that a new node catches up at the speed of the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

import msgspec

from tarsd import __version__, calls
from tarsd.calls import NightlyItem, NightlyRequest, RecordsItem, RecordsRequest, StatusItem, StatusRequest
from tarsd.errors import StorageError, TarsdError
from tarsd.gossip.member import Member, State
from tarsd.names import Capability, Zone
from tarsd.roles.base import Attributes, Role, Services
from tarsd.roles.nightly import NightlyRunner
from tarsd.rpc import CallContext, Handler

log = logging.getLogger(__name__)

BATCH_RECORDS = 500
MAX_RECORDS_PER_CALL = 5000


class Keeper(Role):
    """Offers `records`, `status` and `nightly`; `parts` is asked for the status of the daemon's other parts."""

    name = "keeper"

    def __init__(
        self,
        services: Services,
        parts: Callable[[], dict[str, Any]],
        problems: Callable[[], list[str]],
        runner: NightlyRunner,
    ) -> None:
        self._services = services
        self._runner = runner
        self._parts = parts
        self._problems = problems
        self._started = time.monotonic()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pulled = 0
        self._last_error = ""

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {
            calls.RECORDS.name: self._records,
            calls.STATUS.name: self._status,
            calls.NIGHTLY.name: self._nightly,
        }

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        return {calls.RECORDS.name: {}, calls.STATUS.name: {}, calls.NIGHTLY.name: {}}

    async def start(self) -> None:
        """See `Role`."""
        self._task = asyncio.create_task(self._pull_for_ever(), name="keeper")

    async def stop(self) -> None:
        """See `Role`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def problems(self) -> list[str]:
        """See `Role`."""
        return ["records: the pull task ended"] if self._task is not None and self._task.done() else []

    def status(self) -> dict[str, Any]:
        """See `Role`."""
        return {"pulled": self._pulled, "last_error": self._last_error, "nightly": self._runner.last_runs()}

    def member_changed(self, member: Member) -> None:
        """Pull at once when a member comes alive."""
        if member.state is State.ALIVE and not member.is_self:
            self._wake.set()

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

    async def _pull_for_ever(self) -> None:
        while True:
            self._wake.clear()
            for member in self._services.members():
                if self._is_source(member):
                    await self._pull(member)
            try:
                await asyncio.wait_for(self._wake.wait(), self._services.config.memory.pull_s)
            except TimeoutError:
                continue

    def _is_source(self, member: Member) -> bool:
        able = member.state is State.ALIVE and member.zone is Zone.CORE and not member.is_self
        return able and calls.RECORDS.name in member.capabilities

    async def _pull(self, member: Member) -> None:
        store, more = self._services.store, True
        try:
            while more:
                request = RecordsRequest(await store.vector(), MAX_RECORDS_PER_CALL)
                more = False
                async with self._services.dispatch.call(calls.RECORDS, request, only=member.node) as items:
                    async for item in items:
                        result = await store.apply(item.records)
                        self._pulled += result.applied
                        more = item.more and result.applied > 0
            self._last_error = ""
        except StorageError as error:
            self._last_error = str(error)
            log.warning("records of %s cannot be kept: %s", member.name, error)
        except TarsdError as error:
            self._last_error = f"{member.name}: {error}"
            log.debug("records of %s: %s", member.name, error)
