"""Gives each chat session a pass and tells the peers of it, so that they let the client in when this node is lost.

Rules
1. The peers that can take people are told the hashes of all passes in force, as soon as there is a new one or a peer
   came, and again before they end. What one peer does not take is told again soon; the others do not wait for it, not
   even with what is new meanwhile.
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
        self._being_told: set[NodeId] = set()
        self._again: asyncio.TimerHandle | None = None
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
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + RENEW_S
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._news.clear()
                if loop.time() >= renew_at:
                    self._told.clear()
                    renew_at = loop.time() + RENEW_S
                if self._given:
                    self._admit_here()
                    for member in self._lacking():
                        self._being_told.add(member.node)
                        tasks.create_task(self._tell(member), name=f"passes to {member.name}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(renew_at):
                        await self._news.wait()

    def _lacking(self) -> list[Member]:
        """Return who does not know all, but for those who are just being told."""
        free = [m for m in self._services.members() if _takes_people(m) and m.node not in self._being_told]
        return [m for m in free if self._told.get(m.node) != m.generation]

    def _admit_here(self) -> None:
        """A client that went elsewhere may come back when that one is lost."""
        own = next((m.node for m in self._services.members() if m.is_self), None)
        if own is not None:
            now = time.monotonic()
            self._services.passes.admit(own, self._given, now + VALID_S, now)

    async def _tell(self, member: Member) -> None:
        self._told[member.node] = member.generation
        try:
            taken = await self._is_taken(member)
        finally:
            self._being_told.discard(member.node)
        if not taken:
            self._told.pop(member.node, None)
            if self._again is None:  # one for all: each look tries all again, and would else set off one more for each
                self._again = asyncio.get_running_loop().call_later(AGAIN_S, self._look_again)
        elif member.node in {lacking.node for lacking in self._lacking()}:
            self._news.set()  # there is more since, or it started again

    def _look_again(self) -> None:
        self._again = None
        self._news.set()

    async def _is_taken(self, member: Member) -> bool:
        request = calls.PassRequest(sorted(self._given), VALID_S)
        call = self._services.dispatch.call(calls.PASS, request, deadline_s=TELL_S, only=member.node)
        try:
            async with contextlib.aclosing(call) as items:
                async for _ in items:
                    return True
        except TarsdError as error:
            log.debug("%s does not take the passes: %s", member.name, error)
        return False


def _takes_people(member: Member) -> bool:
    return member.routable and not member.is_self and bool(member.api) and calls.PASS.name in member.capabilities
