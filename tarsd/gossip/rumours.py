"""News about members on its way through the cluster: riding on pings and answers, and pushed ahead of them.

Rules
1. A rumour is told 4 ceil(log10(n + 1)) times, then it is old; the least told goes first.
2. What is said about the receiver goes to it before anything else, so that it can refute.
3. One rumour per node: a newer one replaces the older.
4. While something is untold, up to 3 members get it every 200 ms.
Sources: SWIM, section 4.1; memberlist `queue.go`; Lifeguard's buddy system (rule 2).
"""

from __future__ import annotations

import math

from tarsd.gossip.member import State
from tarsd.gossip.messages import Claim, Rumours, Word
from tarsd.gossip.peer import WORDS, Peer
from tarsd.gossip.roster import Roster

PUSH_EVERY_S = 0.2
PUSH_TO = 3
CLAIMS_PER_DATAGRAM = 6  # of at most 110 bytes each


class Whispers:
    """The queue of rumours of one node."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._told: dict[bytes, int] = {}
        self._claims: dict[bytes, Claim] = {}
        self._next_push = 0.0

    def tell(self, claim: Claim) -> None:
        """Spread `claim`, in place of whatever was told of its node before."""
        self._claims[claim.node] = claim
        self._told[claim.node] = 0
        self._next_push = 0.0

    def remind(self, claim: Claim) -> None:
        """Spread `claim` again where it is not being told anyway."""
        if claim.node not in self._told:
            self.tell(claim)

    def accuse(self, peer: Peer, word: Word) -> None:
        """Spread this node's own suspicion or verdict."""
        self.tell(Claim(peer.raw, word, peer.generation, peer.incarnation, self._roster.me.raw))
        peer.accused_at = peer.incarnation

    def withdraw(self, peer: Peer) -> None:
        """Stop spreading what was said against a member."""
        claim = self._claims.get(peer.raw)
        if claim and claim.word in (Word.SUSPECT, Word.DEAD):
            self._forget(peer.raw)

    def for_receiver(self, peer: Peer) -> list[Claim]:
        """Return what rides on the next datagram to `peer`, and count it as told."""
        claims = self._about(peer)
        limit = 4 * math.ceil(math.log10(len(self._roster.here()) + 2))
        for node in sorted(self._told, key=self._told.__getitem__):
            if len(claims) == CLAIMS_PER_DATAGRAM:
                break
            if node == peer.raw:
                continue
            claims.append(self._claims[node])
            self._told[node] += 1
            if self._told[node] >= limit:
                self._forget(node)
        return claims

    def tick(self, now: float) -> None:
        """Push what is untold."""
        if not self._told or now < self._next_push:
            return
        self._next_push = now + PUSH_EVERY_S
        for peer in self._roster.sample(self._roster.alive(), PUSH_TO):
            claims = self.for_receiver(peer)
            if claims:
                self._roster.send(peer, Rumours(claims))

    def _about(self, peer: Peer) -> list[Claim]:
        """Return what was said against the receiver itself (rule 2)."""
        if peer.accused_at >= peer.incarnation:
            # It must learn of it even when the rumour is old here: others may still believe it.
            word = WORDS[peer.state] if peer.state in (State.SUSPECT, State.DEAD) else Word.SUSPECT
            return [Claim(peer.raw, word, peer.generation, peer.incarnation, self._roster.me.raw)]
        claim = self._claims.get(peer.raw)
        return [claim] if claim and claim.word in (Word.SUSPECT, Word.DEAD) else []

    def _forget(self, node: bytes) -> None:
        del self._claims[node]
        del self._told[node]
