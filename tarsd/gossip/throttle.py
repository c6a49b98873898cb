"""How many datagrams with a peer's name on them may fail to open before they are refused unread. Pure.

Rules
1. Where a peer's authentic datagrams have come from is never throttled: whoever forges that address must not be able to
   silence the peer. (What such a forger costs is bounded by how many datagrams are read at all: see `udp`.)
2. Any other source may fail `SOURCE_BURST` times at once and `SOURCE_PER_S` times a second; all of them together, for
   one peer, `PEER_BURST` and `PEER_PER_S`, since sources can be made up.
3. Only what fails counts, so a peer that moves to another address gets through.
4. Tables are bounded: whoever fails from ever new sources pushes out others who failed, nobody else.
"""

from __future__ import annotations

from tarsd.gossip.member import Address
from tarsd.names import NodeId

SOURCE_BURST, SOURCE_PER_S = 20.0, 5.0
PEER_BURST, PEER_PER_S = 200.0, 1000.0
MAX_SOURCES = 1024
HOMES = 4  # addresses of one peer: two interfaces, two families


class Bucket:
    """Tokens that come back with time."""

    __slots__ = ("_at", "_per_s", "_size", "_tokens")

    def __init__(self, size: float, per_s: float, now: float) -> None:
        self._size, self._per_s = size, per_s
        self._tokens, self._at = size, now

    def has(self, now: float) -> bool:
        """Whether there is a token."""
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        return self._tokens >= 1.0

    def take(self) -> None:
        """Take a token, where there is one."""
        self._tokens = max(0.0, self._tokens - 1.0)


class Throttle:
    """Counts the failures of each source."""

    def __init__(self) -> None:
        self.refused = 0  # datagrams that were not even tried
        self._homes: dict[NodeId, tuple[Address, ...]] = {}
        self._sources: dict[Address, Bucket] = {}  # by when they failed first
        self._peers: dict[NodeId, Bucket] = {}

    def allows(self, node: NodeId, source: Address, now: float) -> bool:
        """Whether a datagram from `source` that names `node` may be tried."""
        if source in self._homes.get(node, ()):
            return True
        peer, bucket = self._peers.get(node), self._sources.get(source)
        if (peer is None or peer.has(now)) and (bucket is None or bucket.has(now)):
            return True
        self.refused += 1
        return False

    def failed(self, node: NodeId, source: Address, now: float) -> None:
        """A datagram from `source` that names `node` did not open."""
        if source in self._homes.get(node, ()):
            return
        if node not in self._peers:
            self._peers[node] = Bucket(PEER_BURST, PEER_PER_S, now)
        if source not in self._sources:
            if len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
            self._sources[source] = Bucket(SOURCE_BURST, SOURCE_PER_S, now)
        self._peers[node].take()
        self._sources[source].take()

    def proved(self, node: NodeId, source: Address) -> None:
        """An authentic datagram of `node` came from `source`."""
        homes = self._homes.get(node, ())
        if homes[:1] != (source,):
            self._homes[node] = (source, *(home for home in homes if home != source))[:HOMES]

    def forget(self, node: NodeId) -> None:
        """`node` may not send datagrams any more."""
        self._homes.pop(node, None)
        self._peers.pop(node, None)
