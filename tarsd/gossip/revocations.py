"""Notices of the core authority (a node is revoked, authorities are retired): how they spread, what they do to members.

Rules
1. A notice is verified by the book before it counts; who tells it does not matter.
2. A revoked member is REVOKED for good: not greeted, not pinged, not heard; its sessions are closed once it was told.
3. A new notice is pushed `PUSHES` times, to everybody by whom it began, else to a few; it goes with every greeting, and
   to whoever's state hash differs from ours: so who missed it learns of it within seconds.
4. A node that is revoked itself falls silent: nobody listens to it. It goes on for the people at its own computer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from tarsd.errors import WireError
from tarsd.gossip.codec import encode
from tarsd.gossip.effects import Disagree, Remember
from tarsd.gossip.member import State
from tarsd.gossip.messages import MAX_NOTICES_TOLD, Revoked
from tarsd.gossip.peer import Peer
from tarsd.gossip.roster import Roster
from tarsd.identity.notices import MAX_NOTICE_BYTES, Notice, Revocation
from tarsd.names import NodeId, NodeName

PUSHES = 3  # datagrams get lost
PUSH_GAP_S = 0.3
PUSH_TO = 3
FIRST_PUSH_TO = 16
REMIND = 4  # notices for one whose state hash differs, in turn
HELLO_BYTES = MAX_NOTICE_BYTES + 24 * 1024  # of notices in a greeting: a retirement always fits


class Book(Protocol):
    """What is known to be revoked; verifies and keeps. `tarsd.identity.revocations.Notices` is the real one."""

    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def digest(self) -> bytes: ...  # noqa: D102
    @property
    def own(self) -> Revocation | None: ...  # noqa: D102
    def take(self, raws: Iterable[bytes]) -> Sequence[Notice]: ...  # noqa: D102
    def all(self) -> list[bytes]: ...  # noqa: D102
    def revoked(self) -> tuple[Revocation, ...]: ...  # noqa: D102
    def notice_about(self, node: NodeId) -> bytes: ...  # noqa: D102
    def __contains__(self, node: NodeId) -> bool: ...


class NoBook:
    """Nobody is revoked, and no notice is believed: where there is no authority to ask."""

    version = 0
    digest = bytes(8)
    own = None

    def take(self, raws: Iterable[bytes]) -> Sequence[Notice]:
        """Believe nothing."""
        return ()

    def all(self) -> list[bytes]:
        """Return nothing."""
        return []

    def revoked(self) -> tuple[Revocation, ...]:
        """Return nobody."""
        return ()

    def notice_about(self, node: NodeId) -> bytes:
        """Return nothing."""
        return b""

    def save(self) -> None:
        """Keep nothing."""

    def __contains__(self, node: NodeId) -> bool:
        return False


class News:
    """Takes notices, applies them to the members, and tells them on."""

    def __init__(self, roster: Roster, book: Book) -> None:
        self._roster = roster
        self._book = book
        self._seen = 0  # version of the book that was applied
        self._known: dict[bytes, None] = {}
        self._heard: dict[bytes, None] = {}  # by whom it did not begin
        self._pushes: dict[bytes, int] = {}
        self._next_push = 0.0
        self._turn = 0

    def __contains__(self, node: NodeId) -> bool:
        return node in self._book

    # --- what is told -------------------------------------------------------------------------------------------

    def hear(self, raw: bytes, now: float) -> None:
        """Take a notice from a datagram."""
        self.learn([raw], now)

    def learn(self, raws: Iterable[bytes], now: float) -> None:
        """Take notices from whoever tells them (rule 1)."""
        for notice in self._book.take(raws):
            self._heard[notice.raw] = None
        self.apply(now)

    def to_tell(self) -> list[bytes]:
        """Return what goes with a greeting: the newest that fit."""
        told: list[bytes] = []
        room = HELLO_BYTES
        for raw in self._book.all()[:MAX_NOTICES_TOLD]:
            if len(raw) <= room:
                told.append(raw)
                room -= len(raw)
        return told

    def remind(self, peer: Peer) -> None:
        """Tell some notices to one whose state hash differs from ours (rule 3)."""
        raws = self._book.all()
        if not raws:
            return
        for offset in range(min(REMIND, len(raws))):
            self._send(peer, raws[(self._turn + offset) % len(raws)])
        self._turn = (self._turn + REMIND) % len(raws)

    # --- what follows -------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Apply what the book has learned elsewhere, and push what is new."""
        self.apply(now)
        if not self._pushes or now < self._next_push:
            return
        self._next_push = now + PUSH_GAP_S
        for raw in list(self._pushes):
            self._push(raw)

    def apply(self, now: float) -> None:
        """Let the members be as the book says."""
        if self._book.version == self._seen:
            return
        self._seen = self._book.version
        self._roster.know_notices(self._book.digest)
        for raw in self._book.all():
            if raw not in self._known:
                self._known[raw] = None
                self._pushes[raw] = PUSHES
                self._next_push = now
        for revocation in self._book.revoked():
            if revocation.node == self._roster.me.raw:
                self._fall_silent(revocation, now)
            else:
                self.revoke(revocation.node_id, now, revocation.name, revocation.sentence)
        self._roster.effect(Remember())  # the book is written together with the table

    def revoke(self, node: NodeId, now: float, name: str, reason: str) -> None:
        """Let a member be revoked from now on (rule 2)."""
        peer = self._roster.peer(node, now)
        if peer.state is State.REVOKED:
            return
        peer.name = NodeName(name)
        # Twice, since nothing is repeated later. Should both get lost, it is told when it greets somebody.
        notice = self._book.notice_about(node)
        for _ in range(2 if peer.met and notice else 0):
            self._send(peer, notice)
        self._roster.set_state(peer, State.REVOKED, now, reason)
        peer.met = peer.doubted = False
        self._roster.effect(Disagree(peer.node))

    def _fall_silent(self, revocation: Revocation, now: float) -> None:
        me = self._roster.me
        if me.revoked:
            return
        me.revoked = revocation.sentence
        for peer in self._roster.peers.values():
            if peer.state is not State.REVOKED:
                peer.met = False
                self._roster.set_state(peer, State.DEAD, now, "this node was revoked")
                self._roster.effect(Disagree(peer.node))
        self._pushes.clear()
        self._roster.self_changed(now)

    def _push(self, raw: bytes) -> None:
        count = PUSH_TO if raw in self._heard else FIRST_PUSH_TO
        for peer in self._roster.sample(self._roster.here(), count):
            self._send(peer, raw)
        self._pushes[raw] -= 1
        if not self._pushes[raw]:
            del self._pushes[raw]

    def _send(self, peer: Peer, raw: bytes) -> None:
        try:
            encode(message := Revoked(raw))
        except WireError:
            return  # too large for a datagram: a greeting brings it
        self._roster.send(peer, message)
