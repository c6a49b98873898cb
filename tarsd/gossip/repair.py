"""How facts reach everybody: pushed when they change, repaired where a hash shows that they differ.

Rules
1. A change is sent at once to up to 16 members.
2. Each ping and answer carries 8 bytes of state hash. Where two differ for 1 s, a digest is sent; the receiver answers
   with what the sender lacks, and asks for what it lacks itself.
3. A digest that did not help is followed by the next one later and later, up to 30 s; after 5 s of difference, or
   where facts fit no datagram, a greeting over TCP brings everything.
Sources: Scuttlebutt; quickwit-oss/chitchat ALGORITHM.md.
"""

from __future__ import annotations

from tarsd.errors import WireError
from tarsd.gossip.codec import encode
from tarsd.gossip.messages import Delta, Digest, DigestEntry
from tarsd.gossip.peer import Peer
from tarsd.gossip.prober import Prober
from tarsd.gossip.roster import Roster
from tarsd.names import NodeId

PUSH_TO = 16
DIFFERS_S = 1.0
GREET_AFTER_S = 5.0
DIGEST_DELAY_MAX_S = 30.0
ENTRIES = 48
DELTAS_PER_DIGEST = 8  # guards against a digest of zeros that asks for everything at once


class Repair:
    """Keeps the facts of all members the same everywhere."""

    def __init__(self, roster: Roster, prober: Prober) -> None:
        self._roster = roster
        self._prober = prober
        self._turn = 0

    def push(self, since: int, now: float) -> None:
        """Send this node's facts, changed after version `since`, ahead of any repair."""
        me = self._roster.me
        for peer in self._roster.sample(self._roster.alive(), PUSH_TO):
            self._send(peer, me.facts.since(me.raw, since), now)

    def compare(self, peer: Peer, state_hash: bytes, now: float) -> None:
        """See whether a peer knows what we know, and do something about it."""
        if state_hash == self._roster.state_hash():
            peer.differs_since, peer.digest_delay_s = None, 0.0
            return
        if peer.differs_since is None:
            peer.differs_since = now
        differs_s = now - peer.differs_since
        if differs_s < DIFFERS_S or now < peer.next_digest:
            return
        peer.digest_delay_s = min(max(peer.digest_delay_s * 2, DIFFERS_S), DIGEST_DELAY_MAX_S)
        peer.next_digest = now + peer.digest_delay_s * self._roster.rng.uniform(0.75, 1.25)
        if differs_s >= GREET_AFTER_S:
            self._prober.greet(peer, now, "its view differs from ours", gap_s=peer.digest_delay_s)
        self._roster.send(peer, Digest(self._entries()))

    def digest(self, peer: Peer, digest: Digest, now: float) -> None:
        """Answer a digest: send what it lacks, ask for what we lack."""
        sent, lacking = 0, []
        for entry in digest.entries:
            mine = self._entry(entry.node)
            if mine is None:
                continue
            if (mine.generation, mine.version) > (entry.generation, entry.version) and sent < DELTAS_PER_DIGEST:
                sent += self._send_since(peer, entry, now)
            elif (mine.generation, mine.version) < (entry.generation, entry.version):
                lacking.append(mine)
        if lacking and not digest.answer:
            self._roster.send(peer, Digest(lacking, answer=True))

    def delta(self, delta: Delta, teller: Peer, now: float) -> None:
        """Take facts, from their owner or passed on; only proven ones count."""
        peer = self._roster.peers.get(NodeId(delta.node.hex()))
        if peer is None or not peer.met:
            return
        if delta.generation > peer.generation:
            self._prober.greet(peer, now, f"{teller.name} has facts of a boot we have not met")
        elif delta.generation == peer.generation:
            self.take(peer, delta, now)

    def take(self, peer: Peer, delta: Delta, now: float) -> None:
        """Join facts of the boot that was greeted."""
        joined = peer.facts.joined(delta, peer.signing_key, self._roster.me.notary)
        if joined is not None:
            peer.facts = joined
            self._roster.changed(peer, now)

    def _entries(self) -> list[DigestEntry]:
        """Return what we know; of more than fit, another slice each time. Our own is always in it."""
        me, here = self._roster.me, self._roster.here()
        own = DigestEntry(me.raw[:8], me.facts.generation, me.facts.version)
        if len(here) >= ENTRIES:
            self._turn = (self._turn + ENTRIES - 1) % len(here)
            here = (here[self._turn :] + here[: self._turn])[: ENTRIES - 1]
        return [own, *(DigestEntry(peer.raw[:8], peer.generation, peer.facts.version) for peer in here)]

    def _entry(self, prefix: bytes) -> DigestEntry | None:
        me = self._roster.me
        if prefix == me.raw[:8]:
            return DigestEntry(prefix, me.facts.generation, me.facts.version)
        peer = self._roster.by_prefix.get(prefix)
        return DigestEntry(prefix, peer.generation, peer.facts.version) if peer and peer.met else None

    def _send_since(self, peer: Peer, entry: DigestEntry, now: float) -> int:
        me = self._roster.me
        owner = self._roster.by_prefix.get(entry.node)
        facts, raw = (owner.facts, owner.raw) if owner else (me.facts, me.raw)
        since = entry.version if entry.generation == facts.generation else 0
        self._send(peer, facts.since(raw, since), now)
        return 1

    def _send(self, peer: Peer, delta: Delta, now: float) -> None:
        try:
            encode(delta)
        except WireError:
            self._prober.greet(peer, now, "facts too large for a datagram")
        else:
            self._roster.send(peer, delta)
