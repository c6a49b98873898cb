"""Keeps a connection to each peer: the loss of its process is known as soon as its kernel closes that connection.

Rules
1. There is one to every peer that may get work, up to `MOST` peers: those that follow this node in the order of ids.
2. It is used every `USE_EVERY_S`: the pool does not give it up, and one that leads nowhere is found out.
3. A peer without one is tried at once, and again after pauses that double up to `USE_EVERY_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from tarsd.errors import TarsdError
from tarsd.gossip.member import Member
from tarsd.names import NodeId

MOST = 16
LOOK_EVERY_S = 0.5
USE_EVERY_S = 25.0  # less than half of what the pool keeps an idle connection for
FIRST_PAUSE_S = 1.0


class Connector(Protocol):
    """What presence needs of rpc."""

    async def keep(self, addresses: Sequence[tuple[str, int]], node: NodeId) -> None: ...  # noqa: D102
    def connections_to(self, node: NodeId) -> int: ...  # noqa: D102


class Presence:
    """Run it beside the rest of a node; cancelling it leaves the connections to the pool."""

    def __init__(self, client: Connector, members: Callable[[], Sequence[Member]], me: NodeId) -> None:
        self._client = client
        self._members = members
        self._me = me
        self._due_s: dict[NodeId, float] = {}
        self._pause_s: dict[NodeId, float] = {}
        self._trying: dict[NodeId, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Keep the connections until cancelled."""
        try:
            while True:
                self.look(asyncio.get_running_loop().time())
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            for task in self._trying.values():
                task.cancel()
            await asyncio.gather(*self._trying.values(), return_exceptions=True)

    def look(self, now: float) -> None:
        """Use the connections that are due, and make those that are missing."""
        wanted = nearest([m for m in self._members() if m.routable and not m.is_self], self._me)
        known = {member.node for member in wanted}
        for gone in self._due_s.keys() - known:
            self._due_s.pop(gone)
            self._pause_s.pop(gone, None)
        for member in wanted:
            failed = member.node in self._pause_s
            due = now >= self._due_s.get(member.node, 0.0)
            missing = not failed and not self._client.connections_to(member.node)
            if (due or missing) and member.node not in self._trying:
                self._try(member)

    def _try(self, member: Member) -> None:
        task = asyncio.create_task(self._keep(member), name=f"presence of {member.name}")
        self._trying[member.node] = task
        task.add_done_callback(lambda _: self._trying.pop(member.node, None))

    async def _keep(self, member: Member) -> None:
        pause_s = USE_EVERY_S
        try:
            await self._client.keep(member.addresses, member.node)
            self._pause_s.pop(member.node, None)
        except TarsdError:
            pause_s = min(2 * self._pause_s.get(member.node, FIRST_PAUSE_S / 2), USE_EVERY_S)
            self._pause_s[member.node] = pause_s
        self._due_s[member.node] = asyncio.get_running_loop().time() + pause_s


def nearest(members: Sequence[Member], me: NodeId) -> list[Member]:
    """Return the `MOST` members that follow `me` in the ring of ids, so that everybody is watched by somebody."""
    return sorted(members, key=lambda m: (m.node < me, m.node))[:MOST]
