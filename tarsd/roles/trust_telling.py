"""How the present nodes are told and asked about trust: notices, authorities, certificates they saw, where the root is.

Rules
1. Only members that are present are told, each within `TELL_S`; who was revoked is told nothing.
2. Who does not answer is None in the answers, never an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from tarsd import calls
from tarsd.calls import TrustItem, TrustRequest
from tarsd.errors import TarsdError
from tarsd.gossip.member import Member, State
from tarsd.identity.rotation import has_root
from tarsd.names import NodeId, Zone
from tarsd.roles.base import Services
from tarsd.roles.rotation import Answers, Certified

log = logging.getLogger(__name__)

TELL_S = 3.0


class TrustTelling:
    """Tells and asks for one node; `certified` is whose certificates this node itself saw."""

    def __init__(self, services: Services, certified: Callable[[], Mapping[NodeId, Zone]]) -> None:
        self._services = services
        self._identity = services.identity
        self._certified_here = certified

    async def tell(self, request: TrustRequest, to: Sequence[Member] | None = None) -> Answers:
        """Say something to all present members (or to those given) at once; None for those that did not answer."""
        present = (State.ALIVE, State.SUSPECT)
        members = [m for m in self._services.members() if m.state in present and not m.is_self and m.zone is not None]
        chosen = [m for m in members if to is None or m.node in {other.node for other in to}]
        answers = await asyncio.gather(*(self._tell_one(member, request) for member in chosen))
        return list(zip(chosen, answers, strict=True))

    async def certified(self) -> Certified:
        """Return everybody whose certificate this node or another core node ever saw, and who is not revoked."""
        identity = self._identity
        core = [m for m in self._services.members() if m.zone is Zone.CORE]
        told = await self.tell(TrustRequest(who=True), core)
        found = {(identity.node_id, identity.zone), *self._certified_here().items()}
        for _, item in told:
            found.update(item.certified.items() if item is not None else ())
        return frozenset((node, zone) for node, zone in found if node not in identity.notices)

    async def where_root_is(self) -> str:
        """Return the name of a node that has the root's key; "" where none is known to."""
        if has_root(self._identity.folder):
            return self._identity.name
        told = await self.tell(TrustRequest())
        return next((m.name for m, item in told if item is not None and item.has_root), "")

    async def _tell_one(self, member: Member, request: TrustRequest) -> TrustItem | None:
        if member.node in self._identity.notices:
            return None
        try:
            return await self._services.dispatch.one(
                calls.TRUST, request, only=member.node, zone=member.zone or Zone.CORE, deadline_s=TELL_S
            )
        except TarsdError as error:
            log.warning("%s did not acknowledge: %s", member.name, error)
            return None
