"""News about members on its way through the cluster: riding on pings and answers, and pushed ahead of them.

Rules
1. A rumour is told 4 ceil(log10(n + 1)) times, then it is old; the least told goes first.
2. What is said about the receiver goes to it before anything else, so that it can refute.
3. One rumour per node, a newer one replaces the older; but of a suspect each accuser is told, since they are counted.
4. While something is untold, up to 3 members get it every 200 ms.
5. At most 128 rumours wait; beyond that the most told is dropped, and the repair of facts brings what was missed.
Sources: SWIM, section 4.1; memberlist `queue.go`; Lifeguard's buddy system (rule 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tarsd.gossip.member import State
from tarsd.gossip.messages import Claim, Rumours, Word
from tarsd.gossip.peer import WORDS, Peer
from tarsd.gossip.roster import Roster

PUSH_EVERY_S = 0.2
PUSH_TO = 3
CLAIMS_PER_DATAGRAM = 6  # of at most 110 bytes each
BYTES_PER_DATAGRAM = 720  # of claims: a ping with as many still fits a path
MAX_WAITING = 128


class Whispers:
    """The queue of rumours of one node."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._told: dict[Claim, int] = {}  # how often
        self._levels: list[dict[Claim, None]] = [{}]  # the same claims, those told so often; each in order of arrival
        self._of: dict[bytes, list[Claim]] = {}  # the same claims, by the node they speak of
        self._next_push = 0.0

    def tell(self, claim: Claim) -> None:
        """Spread `claim`, in place of what was told of its node before (rule 3)."""
        with_it = (Word.SUSPECT, claim.word, claim.incarnation)
        self._drop(claim.node, lambda told: (told.word, Word.SUSPECT, told.incarnation) != with_it)
        if claim in self._told:
            self._forget(claim)
        if size(claim) > BYTES_PER_DATAGRAM:
            return  # it would never ride, and all that is told after it would wait for it
        if len(self._told) >= MAX_WAITING:
            self._forget(next(iter(next(level for level in reversed(self._levels) if level))))
        self._of.setdefault(claim.node, []).append(claim)
        self._told[claim] = 0
        self._levels[0][claim] = None
        self._next_push = 0.0

    def remind(self, claim: Claim) -> None:
        """Spread `claim` again where it is not being told anyway."""
        if claim not in self._told:
            self.tell(claim)

    def accuse(self, peer: Peer, word: Word) -> None:
        """Spread this node's own suspicion or verdict."""
        self.tell(Claim(peer.raw, word, peer.generation, peer.incarnation, self._roster.me.raw))
        peer.accused_at = peer.incarnation

    def withdraw(self, peer: Peer) -> None:
        """Stop spreading what was said against a member."""
        self._drop(peer.raw, lambda told: told.word in (Word.SUSPECT, Word.DEAD))

    def for_receiver(self, peer: Peer) -> list[Claim]:
        """Return what rides on the next datagram to `peer`, and count it as told."""
        claims = self._about(peer)
        if not self._told or peer.state is not State.ALIVE:
            return claims  # what is told to one who may not hear would count as told
        limit = 4 * math.ceil(math.log10(self._roster.count + 1))
        for claim in self._least_told(peer.raw, CLAIMS_PER_DATAGRAM - len(claims)):
            claims.append(claim)
            self._count(claim, limit)
        return claims

    def _least_told(self, receiver: bytes, most: int) -> list[Claim]:
        chosen: list[Claim] = []
        room = BYTES_PER_DATAGRAM
        for level in self._levels:
            for claim in level:
                if claim.node == receiver:
                    continue
                room -= size(claim)
                if room < 0 or len(chosen) == most:
                    return chosen
                chosen.append(claim)
        return chosen

    def _count(self, claim: Claim, limit: int) -> None:
        times = self._told[claim] + 1
        if times >= limit:
            self._forget(claim)
            return
        del self._levels[times - 1][claim]
        if times == len(self._levels):
            self._levels.append({})
        self._levels[times][claim] = None
        self._told[claim] = times

    @property
    def due_at(self) -> float:
        """When there is something to push."""
        return self._next_push if self._told else math.inf

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
            return [Claim(peer.raw, word, peer.generation, peer.accused_at, self._roster.me.raw)]
        against = (Word.SUSPECT, Word.DEAD)
        return [claim for claim in self._of.get(peer.raw, ()) if claim.word in against][:1]

    def _drop(self, node: bytes, outdated: Callable[[Claim], bool]) -> None:
        for claim in [claim for claim in self._of.get(node, ()) if outdated(claim)]:
            self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        del self._levels[self._told.pop(claim)][claim]
        of_node = self._of[claim.node]
        of_node.remove(claim)
        if not of_node:
            del self._of[claim.node]


def size(claim: Claim) -> int:
    """Return how many bytes a claim takes in a datagram, at most."""
    card = claim.card
    size = 51 + len(claim.proof)
    if card:
        size += 55 + len(card.name.encode()) + sum(6 + len(host.encode()) for host, _ in card.addresses)
    return size
