"""Gives each chat session a pass and tells the peers of it, so that they let the client in when this node is lost.

Rules
1. The peers that can take people are told the hashes of all passes in force, as soon as there is a new one or a peer
   came, and again before they end. What one peer does not take is told again soon; the others do not wait for it.
2. A session that ends is not renewed: its pass opens the others for `passes.VALID_S` more, which is when it is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time

from tarsd import calls
from tarsd.api.services import ApiServices
from tarsd.errors import TarsdError
from tarsd.gossip.member import Member
from tarsd.names import NodeId
from tarsd.passes import RENEW_S, VALID_S, digest_of

log = logging.getLogger(__name__)

AGAIN_S = 5.0  # after a peer did not take them
TELL_S = 3.0  # a peer's time to take them

_Told = dict[NodeId, int]  # who knows the passes in force, in which of its starts


class Passes:
    """The passes of the sessions that are open here."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._given: set[bytes] = set()
        self._told: _Told = {}
        self._news = asyncio.Event()

    def give(self) -> str:
        """Return the pass of a new session; the peers are told at once, in the background."""
        secret = secrets.token_urlsafe(32)
        self._given.add(digest_of(secret))
        self._told.clear()
        self._news.set()
        return secret

    def end(self, secret: str) -> None:
        """The session is over (rule 2)."""
        self._given.discard(digest_of(secret))

    def members_changed(self) -> None:
        """Somebody may have come who knows no pass yet."""
        self._news.set()

    async def run(self) -> None:
        """Tell the peers, until cancelled."""
        while True:
            self._news.clear()
            wait_s = RENEW_S if await self._tell() else AGAIN_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                self._told.clear()

    async def _tell(self) -> bool:
        """Tell those who do not know; return whether everybody does now."""
        if not self._given:
            return True
        self._admit_here()
        lacking = [m for m in self._services.members() if _takes_people(m) and self._told.get(m.node) != m.generation]
        for member in lacking:
            self._told[member.node] = member.generation
        taken = await asyncio.gather(*(self._tell_one(member) for member in lacking))
        return all(taken)

    def _admit_here(self) -> None:
        """A client that went elsewhere may come back when that one is lost."""
        own = next((m.node for m in self._services.members() if m.is_self), None)
        if own is not None:
            now = time.monotonic()
            self._services.passes.admit(own, self._given, now + VALID_S, now)

    async def _tell_one(self, member: Member) -> bool:
        request = calls.PassRequest(sorted(self._given), VALID_S)
        call = self._services.dispatch.call(calls.PASS, request, deadline_s=TELL_S, only=member.node)
        try:
            async with contextlib.aclosing(call) as items:
                async for _ in items:
                    return True
        except TarsdError as error:
            log.debug("%s does not take the passes: %s", member.name, error)
        self._told.pop(member.node, None)
        return False


def _takes_people(member: Member) -> bool:
    return member.routable and not member.is_self and bool(member.api) and calls.PASS.name in member.capabilities
