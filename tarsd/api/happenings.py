"""What happens among the members, while it happens: `GET /api/members?watch=1`, one JSON object a line.

    {"node": "pc1", "at": 1763847582.1, "members": […], "happenings": [{"number": 7, "name": "pc2", …}, …]}

Rules
1. A line goes out when something changed, at most one each `GAP_S`; ages, loads and round trips move by themselves, so
   one goes out each `BEAT_S` in any case: a reader that hears nothing for longer may take the node for frozen.
2. A happening is a member's new state, or a new reason for the one it has. The last `KEPT` are told in every line,
   numbered without gaps, so that a reader who comes late, or missed a line, still knows what came before.
3. Who reads slowly gets fewer lines and holds up nobody. Watchers are bounded by `MAX_WATCHERS` (`Overloaded`).
4. A node that stops ends the streams first: nobody who only looks on may hold up the stop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable

import msgspec
from aiohttp import web

from tarsd.errors import Overloaded
from tarsd.gossip.member import Member
from tarsd.names import NodeId, NodeName

GAP_S = 0.2
BEAT_S = 1.0
KEPT = 50
MAX_WATCHERS = 32

Members = Callable[[], tuple[Member, ...]]


class Happening(msgspec.Struct, frozen=True):
    """A member passed from `was` to `state` (both the same where only the reason is new)."""

    number: int
    at: float  # of the wall clock here, seconds since 1970: for people, never compared between nodes
    node: NodeId
    name: NodeName
    was: str  # "" = never seen before
    state: str
    reason: str


class Happenings:
    """Keeps what happened, and wakes those who watch."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._kept: deque[Happening] = deque(maxlen=KEPT)
        self._known: dict[NodeId, tuple[str, str]] = {}
        self._number = 0
        self._watchers: set[asyncio.Event] = set()
        self._over = False

    def note(self, member: Member) -> None:
        """Take a member as it is now; to be subscribed to gossip."""
        self._tell(member)
        for watcher in self._watchers:
            watcher.set()

    def kept(self) -> list[Happening]:
        """Return what happened last, oldest first (rule 2)."""
        return list(self._kept)

    def close(self) -> None:
        """End all streams (rule 4)."""
        self._over = True
        for watcher in self._watchers:
            watcher.set()

    async def watch(self) -> AsyncGenerator[tuple[tuple[Member, ...], list[Happening]], None]:
        """Yield members and happenings as rule 1 says, until closed. Raises `Overloaded` at the bound."""
        if len(self._watchers) >= MAX_WATCHERS:
            raise Overloaded(f"{MAX_WATCHERS} others are watching already")
        news = asyncio.Event()
        self._watchers.add(news)
        try:
            while not self._over:
                news.clear()
                members = self._members()
                for member in members:
                    self._tell(member)  # what only time brings about: it hears us no more
                yield members, self.kept()
                await asyncio.sleep(GAP_S)
                await _set_within(news, BEAT_S - GAP_S)
        finally:
            self._watchers.discard(news)

    def _tell(self, member: Member) -> None:
        """Keep what is new about a member's state (rule 2); facts and loads are shown, not told."""
        was, why = self._known.get(member.node, ("", ""))
        if member.is_self or (was, why) == (member.state, member.reason):
            return
        self._known[member.node] = (member.state, member.reason)
        self._number += 1
        self._kept.append(
            Happening(self._number, time.time(), member.node, member.name, was, member.state, member.reason)
        )


async def _set_within(event: asyncio.Event, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return


HAPPENINGS = web.AppKey("happenings", Happenings)
