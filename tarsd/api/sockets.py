"""The open chat connections of a node: how many there may be, what all of them are told, how they are closed.

Rules
1. At most `MAX_CONNECTIONS`; one more is refused with `Overloaded`.
2. Each is told the peers where its client can go whenever they change. Who reads slowly holds up nobody.
3. A node that stops closes them with "going away": clients go on elsewhere at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from aiohttp import WSCloseCode, web

from tarsd import errors
from tarsd.api.passes import Passes
from tarsd.api.peers import peer_urls
from tarsd.api.services import ApiServices
from tarsd.api.session import Sessions

MAX_CONNECTIONS = 128
LOOK_S = 1.0  # who is held back or one-way changes by time alone
TELL_S = 0.5


class Connection(Protocol):
    """What is needed of an open chat connection."""

    @property
    def answering(self) -> bool: ...  # noqa: D102
    async def tell_peers(self, peers: list[str]) -> None: ...  # noqa: D102
    async def close(self, code: WSCloseCode) -> None: ...  # noqa: D102


class OpenSockets:
    """The open chat connections of this node."""

    def __init__(self, services: ApiServices) -> None:
        self.sessions = Sessions()
        self.passes = Passes(services)
        self._members = services.members
        self._open: set[Connection] = set()
        self._changed = asyncio.Event()

    def add(self, connection: Connection) -> None:
        """Count a connection; raises `Overloaded` at the bound (rule 1)."""
        if len(self._open) >= MAX_CONNECTIONS:
            raise errors.Overloaded(f"{MAX_CONNECTIONS} chats are open here already", retry_after_s=5.0)
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        """Count a connection no more."""
        self._open.discard(connection)

    def peers(self) -> list[str]:
        """Return where a client can go when this node is lost, the best first."""
        return peer_urls(self._members())

    def members_changed(self) -> None:
        """Look at the peers now; to be called by gossip's subscription."""
        self._changed.set()

    async def run(self) -> None:
        """Keep the clients up to date about the peers, until cancelled (rule 2)."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.passes.run(), name="passes")
            while True:
                self._changed.clear()
                if self._open:
                    peers = self.peers()
                    await asyncio.gather(*(_tell(one, peers) for one in self._open))
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._changed.wait()
                        self.passes.members_changed()
                except TimeoutError:
                    continue

    async def close(self, *, idle_only: bool) -> None:
        """Close the connections, or those without an answer, with "going away": clients go on elsewhere."""
        leaving = [one for one in self._open if not (idle_only and one.answering)]
        await asyncio.gather(*(one.close(WSCloseCode.GOING_AWAY) for one in leaving))


async def _tell(connection: Connection, peers: list[str]) -> None:
    with contextlib.suppress(TimeoutError):  # it is on its way, behind what the reader has not taken yet
        async with asyncio.timeout(TELL_S):
            await connection.tell_peers(peers)


OPEN_SOCKETS = web.AppKey("open_sockets", OpenSockets)
