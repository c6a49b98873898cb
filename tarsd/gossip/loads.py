"""Who has how much to do: in every ping and answer, and in a large cluster of others too.

Rules
1. A member's own word is taken as it comes. It is never versioned or repaired: the next one is half a second away.
2. Up to `mesh_up_to` members nothing is passed on. Beyond that an answer carries the freshest 8 loads of others, each
   with its age, so that no clocks are compared; what is older than 3 s is not told, and a younger word is not replaced.
"""

from __future__ import annotations

from collections import OrderedDict

from tarsd.gossip.messages import MAX_LOADS, Ack, LoadOf, Ping
from tarsd.gossip.peer import STALE_LOAD_S, Peer
from tarsd.gossip.roster import Roster

REMEMBERED = 64


class Loads:
    """Takes loads, and passes on the freshest."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._recent: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()  # by id; the freshest last

    def take(self, peer: Peer, message: Ping | Ack, now: float) -> None:
        """Take what rides on a datagram of `peer`."""
        peer.load, peer.load_at = message.load, now
        if not self._roster.is_large:
            return
        self._keep(peer, now, message.load)
        if isinstance(message, Ack):
            for told in message.loads:
                self._hear(told, now)

    def freshest(self, receiver: Peer, now: float) -> list[LoadOf]:
        """Return what to tell `receiver` of others (rule 2)."""
        loads: list[LoadOf] = []
        for raw, (at, packed) in reversed(self._recent.items()):
            if now - at > STALE_LOAD_S or len(loads) == MAX_LOADS:
                break
            if raw != receiver.raw:
                loads.append(LoadOf(raw[:8], int((now - at) * 1000), packed))
        return loads

    def _hear(self, told: LoadOf, now: float) -> None:
        peer, at = self._roster.by_prefix.get(told.node), now - told.age_ms / 1000
        if peer is not None and at > peer.load_at and now - at <= STALE_LOAD_S:
            peer.load, peer.load_at = told.load, at

    def _keep(self, peer: Peer, now: float, packed: bytes) -> None:
        self._recent[peer.raw] = (now, packed)
        self._recent.move_to_end(peer.raw)
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
