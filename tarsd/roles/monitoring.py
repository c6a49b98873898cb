"""The role `monitoring`: watches the cluster and sees that every core node does its nightly work.

Rules
1. Each live core node is asked for what is due with it; it knows when it last ran, so missed nights are caught up.
2. With several monitoring nodes, each node is asked by the one that rendezvous hashing names.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

from tarsd import calls, routing
from tarsd.calls import NightlyRequest
from tarsd.errors import TarsdError
from tarsd.gossip.member import Member, State
from tarsd.names import Capability, Zone
from tarsd.planning.nightly import next_night
from tarsd.roles.base import Attributes, Role, Services

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0


class Monitoring(Role):
    """Offers `watch`, a mark without a handler by which monitoring nodes share the others among themselves."""

    name = "monitoring"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._task: asyncio.Task[None] | None = None
        self._last: dict[str, str] = {}

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        return {WATCH: {}}

    async def start(self) -> None:
        """See `Role`."""
        self._task = asyncio.create_task(self._look_for_ever(), name="monitoring")

    async def stop(self) -> None:
        """See `Role`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def problems(self) -> list[str]:
        """See `Role`."""
        return ["monitoring: the watch ended"] if self._task is not None and self._task.done() else []

    def status(self) -> dict[str, Any]:
        """See `Role`."""
        hour, minute = map(int, self._services.config.monitoring.nightly_at.split(":"))
        coming = next_night(datetime.now(), time(hour, minute))
        return {"last_night": self._last, "next_night": coming.isoformat(timespec="minutes")}

    async def _look_for_ever(self) -> None:
        while True:
            for member in self._services.members():
                if self._is_mine(member):
                    await self._ask(member)
            await asyncio.sleep(LOOK_EVERY_S)

    def _is_mine(self, member: Member) -> bool:
        if member.state is not State.ALIVE or member.zone is not Zone.CORE:
            return False
        watcher = routing.holder(self._services.members(), WATCH, member.node)
        return watcher == self._services.identity.node_id and calls.NIGHTLY.name in member.capabilities

    async def _ask(self, member: Member) -> None:
        request = NightlyRequest(only_due=True)
        try:
            async with self._services.dispatch.call(calls.NIGHTLY, request, only=member.node) as items:
                async for item in items:
                    self._last[f"{member.name}/{item.job}"] = item.detail if item.ok else f"FAILED: {item.detail}"
        except TarsdError as error:
            log.debug("nightly at %s: %s", member.name, error)


WATCH = Capability("watch")
