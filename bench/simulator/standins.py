"""Stand-ins that cost little, for many nodes and long runs. They protect nothing and exist for simulations only.

Rules
1. A plain session writes the same header and as many bytes as a sealed one, but neither hides nor proves anything: in
   place of the tag stand the boots of both ends, so that a datagram of another boot does not open either.
2. It takes each counter once, as the sealed one does, so that a duplicated datagram is refused.
3. A plain notary's proof is a hash that anybody could make; in a simulation nobody forges.
"""

from __future__ import annotations

import hashlib
import struct

from tarsd.gossip.member import Address
from tarsd.gossip.sessions import NOBODY, NOWHERE, Opened, Sessions, Stranger
from tarsd.names import NodeId

WINDOW = 2048
_HEADER = struct.Struct(">BB8sQ")
_HEAD_BYTES = _HEADER.size + 16


class PlainSession:
    """Counters and boots of one pair; no keys."""

    __slots__ = ("boot", "counter", "highest", "inbound", "outbound", "seen")

    def __init__(self, own_boot: bytes, boot: bytes) -> None:
        self.boot = boot
        self.outbound = own_boot + boot
        self.inbound = boot + own_boot
        self.counter = 0
        self.highest = 0
        self.seen = 0

    def accepts(self, counter: int) -> bool:
        """Whether `counter` is new; it counts as used from now on."""
        ahead = counter - self.highest
        if ahead > 0:
            self.seen = (self.seen << ahead | 1) & ((1 << WINDOW) - 1) if ahead < WINDOW else 1
            self.highest = counter
            return True
        if ahead <= -WINDOW or self.seen >> -ahead & 1:
            return False
        self.seen |= 1 << -ahead
        return True


class PlainSessions(Sessions):
    """`Sessions` without agreement, without sealing, and so without keys to renew."""

    def __init__(self, node: NodeId, boot: bytes, private_key: bytes) -> None:
        """`private_key`: 32 random bytes, shown as the public key."""
        self._boot = boot
        self._prefix = bytes.fromhex(node)[:8]
        self._shown = private_key
        self._plain: dict[NodeId, PlainSession] = {}
        self._nodes: dict[bytes, NodeId] = {}

    def agree(self, node: NodeId, boot: bytes, public_key: bytes, epoch: int, now: float = 0.0) -> bool:
        """Begin to talk with this boot of `node`."""
        known = self._plain.get(node)
        if known is None or known.boot != boot:
            self._plain[node] = PlainSession(self._boot, boot)
            self._nodes[bytes.fromhex(node)[:8]] = node
        return known is None

    def close(self, node: NodeId) -> None:
        """Talk with `node` no more."""
        if self._plain.pop(node, None):
            del self._nodes[bytes.fromhex(node)[:8]]

    @property
    def senders(self) -> frozenset[bytes]:
        """What the headers of those may say who can be opened."""
        return frozenset(self._nodes)

    @property
    def public_key(self) -> bytes:
        """Return 32 bytes that mean nothing."""
        return self._shown

    @property
    def epoch(self) -> int:
        """Return the only one."""
        return 0

    def wants_renewal(self, now: float) -> bool:
        """There is nothing to renew."""
        return False

    def retire(self, now: float) -> None:
        """There is nothing to drop."""

    def behind(self) -> list[NodeId]:
        """Everybody knows the only key."""
        return []

    @property
    def throttled(self) -> int:
        """Nobody is throttled."""
        return 0

    def seal(self, node: NodeId, message: bytes) -> bytes | None:
        """Return the datagram for `node`, or None when it was not greeted yet."""
        session = self._plain.get(node)
        if session is None:
            return None
        session.counter += 1
        return _HEADER.pack(0, 0, self._prefix, session.counter) + session.outbound + message

    def open(self, datagram: bytes, source: Address = NOWHERE, now: float = 0.0) -> Opened | Stranger:
        """Return what the datagram holds, or that nobody we know sent it."""
        if len(datagram) < _HEAD_BYTES:
            return NOBODY
        _, _, prefix, counter = _HEADER.unpack_from(datagram)
        node = self._nodes.get(prefix)
        if node is None:
            return NOBODY
        session = self._plain[node]
        if datagram[_HEADER.size : _HEAD_BYTES] != session.inbound or not session.accepts(counter):
            return Stranger(node)
        return Opened(node, datagram[_HEAD_BYTES:])


class PlainNotary:
    """A `Notary` whose proofs cost a hash."""

    def __init__(self, private_key: bytes) -> None:
        self.public_key = hashlib.blake2b(private_key, digest_size=32).digest()

    def sign(self, statement: bytes) -> bytes:
        """Return a hash in place of a signature."""
        return hashlib.blake2b(statement, key=self.public_key, digest_size=64).digest()

    def holds(self, public_key: bytes, statement: bytes, proof: bytes) -> bool:
        """Check the hash."""
        return hashlib.blake2b(statement, key=public_key, digest_size=64).digest() == proof
