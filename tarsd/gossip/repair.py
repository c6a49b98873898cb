"""How facts reach everybody: pushed when they change, repaired where a hash shows that they differ.

Rules
1. A change is sent at once to up to 16 members. In a large cluster whoever learns something by it passes it on to 5.
   Whom that missed is told by the next who notices: what was news here within 5 s goes to whoever differs.
2. Each ping and answer carries 8 bytes of state hash. Where two differ for 1 s, a digest is sent; the receiver answers
   with what the sender lacks, and asks for what it lacks itself.
3. A digest that did not help is followed by the next one later and later, up to 30 s; after 5 s of difference, or
   where facts fit no datagram, a greeting over TCP brings everything. One that did help is followed at once.
4. In a large cluster a digest is a slice of 48, another one each time; who is not known is asked for, and introduced;
   greetings that bring everything are rationed, the more members the rarer.
Sources: Scuttlebutt; quickwit-oss/chitchat ALGORITHM.md.
"""

from __future__ import annotations

from tarsd.errors import WireError
from tarsd.gossip.codec import encode
from tarsd.gossip.introductions import Introductions
from tarsd.gossip.messages import Delta, Digest, DigestEntry, Rumours
from tarsd.gossip.peer import Peer
from tarsd.gossip.prober import Prober
from tarsd.gossip.revocations import News
from tarsd.gossip.roster import Roster

PUSH_TO = 16
FRESH_S = 5.0
FRESH_MAX = 16
FRESH_AT_ONCE = 2  # of these, to one who differs: a quarter of a second later it differs still, or no more
DIFFERS_S = 1.0
GREET_AFTER_S = 5.0
PASS_ON_TO = 5
HELPED_GAP_S = 0.2
UNKNOWN_MANY = 8  # in one digest: then a greeting brings them faster than rumours
PULL_GAP_S = 2.0  # at least, between two greetings that ask for all members
MEMBERS_PER_PULL_S = 16  # beyond that many the gap grows: a pull costs about 100 bytes for each member
DIGEST_DELAY_MAX_S = 30.0
ENTRIES = 48
CARDS_PER_DATAGRAM = 3
DELTAS_PER_DIGEST = 16  # guards against a digest of zeros that asks for everything at once


class Repair:
    """Keeps the facts of all members the same everywhere."""

    def __init__(self, roster: Roster, prober: Prober, news: News, introductions: Introductions) -> None:
        self._roster = roster
        self._prober = prober
        self._news = news
        self._introductions = introductions
        self._fresh: dict[bytes, tuple[Delta, float, bytes]] = {}  # what was news: until when, and who told us
        self._turn = 0
        self._next_pull = 0.0

    def push(self, since: int, now: float) -> None:
        """Send this node's facts, changed after version `since`, ahead of any repair."""
        me = self._roster.me
        delta = me.facts.since(me.raw, since)
        self._keep_fresh(delta, me.raw, now)
        for peer in self._roster.sample(self._roster.alive(), PUSH_TO):
            self._send(peer, delta, now)

    def compare(self, peer: Peer, state_hash: bytes, now: float) -> None:
        """See whether a peer knows what we know, and do something about it."""
        if state_hash == self._roster.state_hash():
            peer.differs_since, peer.digest_delay_s = None, 0.0
            return
        self._tell_fresh(peer, now)
        if peer.differs_since is None:
            peer.differs_since = now
        differs_s = now - peer.differs_since
        if differs_s < DIFFERS_S or now < peer.next_digest:
            return
        peer.digest_delay_s = min(max(peer.digest_delay_s * 2, DIFFERS_S), DIGEST_DELAY_MAX_S)
        peer.next_digest = now + peer.digest_delay_s * self._roster.rng.uniform(0.75, 1.25)
        if differs_s >= GREET_AFTER_S:
            self._pull(peer, now)
        self._roster.send(peer, Digest(self._entries()))
        self._news.remind(peer)

    def digest(self, peer: Peer, digest: Digest, now: float) -> None:
        """Answer a digest: send what it lacks, ask for what we lack."""
        sent, unknown, lacking = 0, 0, []
        strangers: list[Peer] = []
        for entry in digest.entries:
            mine = self._entry(entry.node)
            if mine is None and not self._roster.is_large:
                continue
            if mine is None:
                unknown += 1
                lacking.append(DigestEntry(entry.node, 0, 0))
                continue
            if entry.generation == 0 and entry.node in self._roster.by_prefix:
                strangers.append(self._roster.by_prefix[entry.node])
            if (mine.generation, mine.version) > (entry.generation, entry.version) and sent < DELTAS_PER_DIGEST:
                sent += self._send_since(peer, entry, now)
            elif (mine.generation, mine.version) < (entry.generation, entry.version):
                lacking.append(mine)
        if strangers and self._roster.is_large:
            self._introduce(strangers, peer)
        if unknown > UNKNOWN_MANY and self._roster.is_large:
            self._pull(peer, now)
        elif lacking and not digest.answer:
            self._roster.send(peer, Digest(lacking, answer=True))

    def pulled(self, news: int, now: float) -> None:
        """A greeting told of all members; where many were news, more may be elsewhere."""
        seldom_s = PULL_GAP_S if news > UNKNOWN_MANY else self._roster.count / MEMBERS_PER_PULL_S
        self._next_pull = now + max(PULL_GAP_S, seldom_s) * self._roster.rng.uniform(0.75, 1.25)

    def _pull(self, peer: Peer, now: float) -> None:
        """Ask for everything by a greeting (rule 4)."""
        if self._roster.is_large:
            if now < self._next_pull:
                return
            self._next_pull = now + PULL_GAP_S
            self._roster.wants_members = True
        self._prober.greet(peer, now, "its view differs from ours", gap_s=peer.digest_delay_s)

    def _introduce(self, strangers: list[Peer], receiver: Peer) -> None:
        claims = [self._introductions.claim(peer) for peer in strangers if peer.known]
        for first in range(0, len(claims), CARDS_PER_DATAGRAM):
            self._roster.send(receiver, Rumours(claims[first : first + CARDS_PER_DATAGRAM]))

    def delta(self, delta: Delta, teller: Peer, now: float) -> None:
        """Take facts, from their owner or passed on; only proven ones count."""
        peer = self._roster.by_raw.get(delta.node)
        if peer is None or not peer.known:
            return
        if delta.generation > peer.generation:
            self._prober.greet(peer, now, f"{teller.name} has facts of a boot we have not met")
        elif delta.generation == peer.generation and self.take(peer, delta, now):
            teller.digest_delay_s, teller.next_digest = 0.0, now + HELPED_GAP_S
            self._keep_fresh(delta, teller.raw, now)
            if self._roster.is_large:
                for other in self._roster.sample(self._roster.alive(), PASS_ON_TO):
                    if other is not teller and other is not peer:
                        self._send(other, delta, now)

    def _keep_fresh(self, delta: Delta, teller: bytes, now: float) -> None:
        self._fresh.pop(delta.node, None)
        if len(self._fresh) >= FRESH_MAX:
            del self._fresh[next(iter(self._fresh))]
        self._fresh[delta.node] = delta, now + FRESH_S, teller

    def _tell_fresh(self, peer: Peer, now: float) -> None:
        """Send the newest of the news to one whose view differs, unless it comes from there."""
        if not self._fresh:
            return
        for node in [node for node, (_, until, _) in self._fresh.items() if now >= until]:
            del self._fresh[node]
        news = [delta for delta, _, teller in self._fresh.values() if peer.raw not in (teller, delta.node)]
        for delta in news[-FRESH_AT_ONCE:]:
            self._send(peer, delta, now)

    def take(self, peer: Peer, delta: Delta, now: float) -> bool:
        """Join facts of the boot that is known; says whether they were news."""
        joined = peer.facts.joined(delta, peer.signing_key, self._roster.me.notary)
        if joined is None:
            return False
        peer.facts = joined
        self._roster.changed(peer, now)
        return True

    def _entries(self) -> list[DigestEntry]:
        """Return what we know; of more than fit, another slice each time. Our own is always in it."""
        me, here = self._roster.me, self._roster.here()
        own = DigestEntry(me.raw[:8], me.facts.generation, me.facts.version)
        if len(here) >= ENTRIES:
            self._turn = (self._turn + ENTRIES - 1) % len(here)
            here = [here[(self._turn + place) % len(here)] for place in range(ENTRIES - 1)]
        return [own, *(DigestEntry(peer.raw[:8], peer.generation, peer.facts.version) for peer in here)]

    def _entry(self, prefix: bytes) -> DigestEntry | None:
        me = self._roster.me
        if prefix == me.raw[:8]:
            return DigestEntry(prefix, me.facts.generation, me.facts.version)
        peer = self._roster.by_prefix.get(prefix)
        return DigestEntry(prefix, peer.generation, peer.facts.version) if peer and peer.known else None

    def _send_since(self, peer: Peer, entry: DigestEntry, now: float) -> int:
        me = self._roster.me
        owner = self._roster.by_prefix.get(entry.node)
        facts, raw = (owner.facts, owner.raw) if owner else (me.facts, me.raw)
        since = entry.version if entry.generation == facts.generation else 0
        if not facts.version:
            return 0
        self._send(peer, facts.since(raw, since), now)
        return 1

    def _send(self, peer: Peer, delta: Delta, now: float) -> None:
        try:
            encode(delta)
        except WireError:
            self._prober.greet(peer, now, "facts too large for a datagram")
        else:
            self._roster.send(peer, delta)
