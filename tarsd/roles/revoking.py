"""Throws a node out for good: what a core node says of another one, signed by the core authority, and who knows of it.

Rules
1. Only a core node that was not revoked itself may; a node cannot revoke itself.
2. What it says must be believed by the others: it is signed by the authorities that count now, and signed anew where
   those were replaced since.
3. The report says who has acknowledged, and who will learn it on return.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from tarsd.calls import TrustRequest
from tarsd.errors import InvalidInput, NotAllowed, NotFound, Unavailable
from tarsd.gossip.member import Member, State
from tarsd.identity import Identity
from tarsd.identity.identity import read_authority, read_file
from tarsd.identity.notices import MAX_REASON, Notice, Revocation, plain, write_notice
from tarsd.names import NodeId, Zone
from tarsd.roles.rotation import Tell

NOT_YET = "the authorities were replaced while this node was off, and the new ones are not here yet: try again"


class RevokeReport(msgspec.Struct, frozen=True):
    """How a revocation went. `waiting`: who was not reached, and learns it on return, before it is given any work."""

    node: NodeId
    name: str
    zone: str  # "" where its certificate was never seen
    reason: str
    already: bool
    acknowledged: list[str]
    waiting: list[str]
    held_authorities: bool  # it was a core node: it can still make certificates, until authorities are replaced


class Revoking:
    """Revokes for one node. `now`: seconds since 1970. `fetch_authorities` gets those that count now, or raises."""

    def __init__(
        self,
        identity: Identity,
        members: Callable[[], Sequence[Member]],
        tell: Tell,
        fetch_authorities: Callable[[], Awaitable[None]],
        now: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._members = members
        self._tell = tell
        self._fetch_authorities = fetch_authorities
        self._now = now

    async def revoke(self, name: str, reason: str = "") -> RevokeReport:
        """Throw a node out for good, by its name or id; returns who knows by now.

        Raises `NotFound`, `InvalidInput` (itself, two of that name), `NotAllowed` on lab and revoked nodes,
        `Unavailable` on one that has not yet got the authorities that were made while it was off.
        """
        identity = self._identity
        refuse_where_no_authority(identity)
        if len(reason) > MAX_REASON:
            raise InvalidInput(f"reason: at most {MAX_REASON} characters")
        if reason != plain(reason):
            raise InvalidInput("reason: one line of plain text")
        node, known_as, zone = self._named(name)
        if node == identity.node_id:
            raise InvalidInput("a node cannot revoke itself: run this on another core node")
        already = node in identity.notices
        if not identity.notices.is_believed(node):
            await self._fetch_authorities()
            identity.notices.say(await asyncio.to_thread(self._write_revocation, node, known_as, reason))
            if not identity.notices.is_believed(node):
                raise Unavailable(NOT_YET)
            await asyncio.to_thread(identity.notices.save)
        told = await self._tell(TrustRequest(notices=identity.notices.all()[::-1]))
        knows = [m.name for m, item in told if item is not None and item.digest == identity.notices.digest]
        others = [m.name for m in self._members() if not m.is_self and m.node not in identity.notices]
        return RevokeReport(
            node=node,
            name=known_as,
            zone=zone,
            reason=reason,
            already=already,
            acknowledged=sorted(knows),
            waiting=sorted(set(others) - set(knows)),
            held_authorities=zone != Zone.LAB,
        )

    def _write_revocation(self, node: NodeId, name: str, reason: str) -> Notice:
        name, by = plain(name)[:64], plain(self._identity.name)
        return sign(self._identity, Revocation(bytes.fromhex(node), name, int(self._now()), reason, by))

    def _named(self, name: str) -> tuple[NodeId, str, str]:
        """Return id, name and zone of the node that a person means."""
        found = [m for m in self._members() if name in (m.name, m.node)]
        alive = [m for m in found if m.state is not State.REVOKED] or found[:1]
        if len(alive) > 1:
            raise InvalidInput(
                f"{len(alive)} nodes have the name {name}: give the id, of {', '.join(m.node for m in alive)}"
            )
        if alive:
            return alive[0].node, alive[0].name, str(alive[0].zone or "")
        if len(name) == 32 and set(name) <= set("0123456789abcdef"):
            return NodeId(name), name[:8], ""
        raise NotFound(f"no node {name!r} is known here; `tarsd members` lists them")


def sign(identity: Identity, body: Revocation) -> Notice:
    """Return the notice, signed by the core authority that this node uses."""
    return write_notice(body, read_authority(identity.folder, Zone.CORE), read_file(identity.folder / "root.crt"))


def refuse_where_no_authority(identity: Identity) -> None:
    """Raise `NotAllowed` on lab nodes and on those that were revoked."""
    if identity.zone is not Zone.CORE:
        raise NotAllowed("only core nodes can do this: run it on one of them")
    if identity.notices.own is not None:
        raise NotAllowed("this node was revoked: run this on one that was not")
